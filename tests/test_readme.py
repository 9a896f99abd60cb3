"""What README and model card say is what the code prints and what the stored results hold."""

import json
import math
import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mlnegf
from mlnegf import LearnedGuess
from mlnegf.warmstart.scores import table
from mlnegf.warmstart.trials import read

README = Path(__file__).parent.parent / "README.md"
RESULTS = README.parent / "book" / "results"
SCHEMES = ["auto", "newton"]


def test_the_ten_lines_do_what_is_said_of_them() -> None:
    text = README.read_text()
    names: dict[str, Any] = {}
    found = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert found
    exec(found.group(1), names)
    cold, learned = names["cold"], names["learned"]
    said = re.search(
        r"converged in (\d+) NEGF solves to ([\d.]+) μA, with an estimated error of ([\d.]+) mV, and that the\s+"
        r"learned one took (\d+)",
        text,
    )
    assert said
    assert cold.converged
    assert (cold.negf_solves, learned.negf_solves) == (int(said[1]), int(said[4]))
    assert f"{1e6 * cold.current:.2f}" == said[2]
    assert f"{1e3 * cold.error_estimate:.2f}" == said[3]


def test_the_file_of_a_device_is_one() -> None:
    found = re.search(r"```toml\n(.*?)```", README.read_text(), re.DOTALL)
    assert found
    device = mlnegf.Device.from_dict(tomllib.loads(found.group(1)))
    assert (device.gate_length, device.width) == (9.3, 5.0)
    assert device.grid.permittivity.max() == 22.0


def test_the_table_is_that_of_the_stored_comparison() -> None:
    trials, text = read(RESULTS / "unseen.json"), README.read_text()
    names = {
        ("auto", "semiclassical"): "a semiclassical start",
        ("auto", "previous"): "the nearest solved bias",
        ("auto", "learned"): "**the learned guess**",
        ("newton", "semiclassical"): "a semiclassical start, by Newton's steps",
        ("newton", "learned"): "the learned guess, by Newton's steps",
    }
    cases = {(trial.device, trial.gate, trial.drain) for trial in trials}
    assert f"On {len(cases)} random biases of {len({case[0] for case in cases})} random devices" in " ".join(
        text.split()
    )
    rows = {
        (row["scheme"], row["guess"]): row for row in table(trials, ["semiclassical", "previous", "learned"], SCHEMES)
    }
    assert rows.keys() >= names.keys(), "every guess met every case"
    for (scheme, guess), words in names.items():
        mine = [trial for trial in trials if (trial.scheme, trial.guess) == (scheme, guess)]
        solves = np.array([t.charge_evaluations if t.outcome == "right" else math.inf for t in mine])
        shares = " | ".join(f"{np.mean(solves <= most):.0%}".replace("%", " %") for most in (1, 2))
        row = rows[scheme, guess]
        work = " | ".join(str(row[name]) for name in ("passes", "products", "seconds"))
        line = f"{row['right']} | {row['NEGF solves']} | {shares} | {work}"
        assert f"| {words} | {line} |" in text, line


def test_the_model_card_says_what_its_weights_say() -> None:
    metadata = LearnedGuess.pretrained().metadata
    card = " ".join((RESULTS.parents[1] / "mlnegf/warmstart/weights/README.md").read_text().split())
    errors = json.loads(metadata["errors"])
    assert f"Of {', '.join(f'{share:.0%}' for share in errors['shares'])} of the cases" in card
    for name, words in (("training", "training"), ("validation", "validation"), ("start", "the semiclassical start")):
        assert f"{words} {', '.join(f'{error * 1e3:.1f}' for error in errors[name])} mV" in card
    for name in ("command", "data"):
        assert metadata[name] in card


def test_what_is_said_of_devices_outside_the_training_is_what_was_stored() -> None:
    text = " ".join(README.read_text().split())
    solves = {
        guess: np.array(
            [
                trial.charge_evaluations if trial.outcome == "right" else math.inf
                for trial in read(RESULTS / "outside.json")
                if trial.guess == guess
            ]
        )
        for guess in ("semiclassical", "learned")
    }
    one, two, cold = (
        f"{np.mean(solves[guess] <= most):.0%}".replace("%", " %")
        for guess, most in (("learned", 1), ("learned", 2), ("semiclassical", 2))
    )
    count = len(solves["learned"])
    assert f"On {count} biases of 25 devices outside" in text
    assert f"one solve suffices for {one} of the cases, two for {two} (from the cold start {cold})" in text
    both = np.isfinite(solves["semiclassical"])
    assert (solves["learned"][both] <= solves["semiclassical"][both] + 1).all()


@pytest.mark.parametrize("name", ["known", "unseen", "outside", "precise"])
def test_the_comparison_is_of_the_weights_that_are_shipped(name: str) -> None:
    about = json.loads((RESULTS / f"{name}.json").read_text())
    assert about["weights"] == LearnedGuess.pretrained().fingerprint


def test_what_is_said_of_time_is_stored() -> None:
    text = " ".join(README.read_text().split())
    costs = json.loads((RESULTS / "costs.json").read_text())
    assert 2 < (costs["data"]["core_seconds"] + costs["references"]["core_seconds"]) / 3600 < 3
    assert "two to three core hours" in text
    assert round(costs["training"]["core_seconds"] / 60, -1) == 20
    assert "twenty core minutes" in text
    spent = {name: round(seconds / 60) for name, seconds in costs["checks"]["seconds"].items()}
    assert f"took {spent['all']} minutes in a fresh clone, install included: {spent['tests']} for the tests," in text
    assert f"{spent['pages']} to run the pages, {spent['browser']} in the browser" in text


def test_a_pass_costs_about_a_quarter_of_a_solve() -> None:
    rows = json.loads((RESULTS / "passes.json").read_text())["rows"]
    assert 0.2 < np.median([row["pass"] / row["solve"] for row in rows]) < 0.3
    assert "about a quarter of a NEGF solve" in " ".join(README.read_text().split())
