"""A sample of the stored results of the book, computed anew: what a page reads is what the code does."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mlnegf
from mlnegf.atomistic.conductance import conductances
from mlnegf.atomistic.hard_cases import chain, two_necks
from mlnegf.atomistic.ldos import local_densities
from mlnegf.atomistic.prediction import Scores
from mlnegf.crystal.aluminium import CUBE, ELECTRONS, AshcroftLindhard
from mlnegf.crystal.bands import energies
from mlnegf.crystal.cohen_bergstresser import RYDBERG
from mlnegf.crystal.compounds import EDGES, LATTICE, PUBLISHED, atoms_of, target
from mlnegf.crystal.form_factors import Faded, FourParameters, LearnedFormFactors
from mlnegf.crystal.lattice import Crystal
from mlnegf.crystal.local_density import local_density, mesh
from mlnegf.line.exchange import exact
from mlnegf.line.grid import Line, Molecule
from mlnegf.line.motion import carried, superposed
from mlnegf.scf.equations import Equations
from mlnegf.scf.loop import Outcome
from mlnegf.scf.problem import Problem
from mlnegf.warmstart.design import Design
from mlnegf.warmstart.trials import Trial, read

RESULTS = Path(__file__).parent.parent / "book" / "results"
GUESSES = {"semiclassical": "semiclassical", "learned": mlnegf.LearnedGuess.pretrained()}


@pytest.fixture(scope="module")
def devices() -> dict[str, mlnegf.Device]:
    """Devices of the design, by the label that stored runs carry; no two of one label."""
    plans = Design.read("nanosheets").plans
    named = [(f"{d.thickness:g}×{d.width:g} nm, {d.gate_length:g} nm gate", d) for d in (p.device for p in plans)]
    once = {name for name, count in Counter(name for name, _ in named).items() if count == 1}
    return {name: device for name, device in named if name in once}


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_a_result_names_its_origin(path: Path) -> None:
    found = json.loads(path.read_text())
    for part in found.values() if path.stem == "costs" else [found]:
        assert part["command"].startswith(("mlnegf ", "python benchmarks/", "benchmarks/", ".ci/run"))
        assert part["version"]


def sample(name: str, count: int) -> list[Trial]:
    """Draw stored runs of a comparison, none of them long."""
    short = [run for run in read(RESULTS / f"{name}.json") if run.outcome == "right" and run.charge_evaluations <= 4]
    picked = np.random.default_rng(7).permutation(len(short))
    runs = [short[k] for k in picked if short[k].guess in GUESSES]
    return runs[:count]


@pytest.mark.parametrize(
    ("name", "run"), [(name, run) for name in ("unseen", "outside", "known", "precise") for run in sample(name, 4)]
)
def test_a_run_of_the_comparison_comes_out_again(name: str, run: Trial, devices: dict[str, mlnegf.Device]) -> None:
    again = mlnegf.solve(
        devices[run.device], run.gate, run.drain, GUESSES[run.guess], run.scheme, tolerance=run.tolerance
    )
    assert again.converged
    assert abs(again.negf_solves - run.charge_evaluations) <= 1
    assert again.current == pytest.approx(run.current, rel=1e-3), name
    assert again.guess_used != run.fallback


@pytest.mark.parametrize("guess", ["extrapolated", "learned"])
def test_a_row_of_the_whole_map_comes_out_again(guess: str, devices: dict[str, mlnegf.Device]) -> None:
    whole = json.loads((RESULTS / "sweep.json").read_text())
    gates, drains = whole["gates"], whole["drains"]
    row = whole["rows"][0]
    counts = np.array(row["sweeps"][guess]["solves"]).reshape(len(gates), len(drains))
    again = mlnegf.sweep(devices[row["device"]], gates[:4], drains[:2], guess=guess)
    assert bool(again.converged.all())
    assert abs(again.charge_evaluations.values - counts[:4, :2]).max() <= 1


def test_the_classical_ladder_comes_out_again(devices: dict[str, mlnegf.Device]) -> None:
    rows = json.loads((RESULTS / "ladder.json").read_text())["rows"]
    short = [row for row in rows if row["right"] and row["charge_evaluations"] <= 9]
    for scheme in ("gummel", "anderson", "newton"):
        for row in [row for row in short if row["scheme"] == scheme][:2]:
            again = mlnegf.solve(
                devices[row["device"]], row["gate"], row["drain"], "semiclassical", scheme, corrected=row["corrected"]
            )
            assert abs(again.negf_solves - row["charge_evaluations"]) <= 1


def test_corrections_and_their_bounds_come_out_again() -> None:
    """At the semiclassical start of a few random devices: the correction, and what is said of its error."""
    first: dict[tuple[int, int], dict[str, Any]] = {}
    for line in (RESULTS / "corrected.jsonl").read_text().splitlines():
        row = json.loads(line)
        first.setdefault((row["seed"], row["index"]), row)
    for row in list(first.values())[:4]:
        equations = Equations.of(mlnegf.Device.from_dict(row["device"]), tolerance=2e-6)
        problem = Problem.of(equations, row["gate"], row["drain"])
        point = problem.evaluate(problem.semiclassical())
        assert point.correct(1e-3).size == pytest.approx(row["step"], rel=0.02)
        # The bound has gained a small part since the rows were stored.
        assert 0.98 < point.errors(corrected=True).potential / row["estimate"] < 1.3


def test_two_workers_do_nearly_twice_as_much() -> None:
    rows = json.loads((RESULTS / "scale.json").read_text())["rows"]
    rate = {row["workers"]: row["devices_per_second"] for row in rows if row["kind"] == "throughput"}
    assert rate[2] / rate[1] >= 1.8
    assert max(row["tasks"] for row in rows if row["kind"] == "overhead" and row["done"] == row["tasks"]) >= 10_000
    assert (
        max(row["memory"] for row in rows if row["kind"] == "throughput") < 1024
    )  # MiB; a worker may take four times it
    (spread,) = (row for row in rows if row["kind"] == "spread")
    assert spread["seconds"] == pytest.approx(
        json.loads((RESULTS / "costs.json").read_text())["data"]["core_seconds"], rel=0.01
    )


def test_no_case_of_the_soak_ended_in_silence_and_memory_stayed_flat() -> None:
    """Converged and true, or coarse, stalled or refused with a reason; the first rows come out again."""
    rows = json.loads((RESULTS / "soak.json").read_text())["rows"]
    assert [row["seed"] for row in rows] == list(range(len(rows)))
    assert {row["ended"] for row in rows} <= {*Outcome.__members__, "refused"} - {"failed"}
    assert all(row["words"] for row in rows)
    assert all(row["sound"] for row in rows if row["ended"] != "refused")
    assert all(row["true_error"] is None or row["true_error"] < 1e-3 for row in rows if "true_error" in row)
    held = [row["held"] for row in rows]
    assert len(rows) == 500
    assert max(held[100:]) - held[20] < 10  # MiB
    for row in rows[:3]:
        again = mlnegf.solve(mlnegf.Device.from_dict(row["parameters"]), row["gate"], row["drain"], tolerance=1e-3)
        assert (again.outcome.name, again.negf_solves) == (row["ended"], row["solves"])


def stored_rows(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((RESULTS / name).read_text())["rows"]
    return found


def test_what_gradients_cost() -> None:
    rows = stored_rows("gradients.json")
    for row in rows:
        if row["kind"] == "device":
            assert row["gradient"] < 0.5 * row["cold"]
    assert max(row["doped_cells"] for row in rows if row["kind"] == "device") > 50_000
    (repeats,) = (row for row in rows if row["kind"] == "repeats")
    assert repeats["gradients"] == 100
    assert repeats["memory"][-1] - repeats["memory"][0] < 20  # MiB
    surfaces = {(row["block"], row["unrolled"]): row for row in rows if row["kind"] == "surface"}
    for block in (18, 36, 54, 72, 90, 126):
        implicit, unrolled = surfaces[block, False], surfaces[block, True]
        # Both differentiate the same lead; decimation stops at a broadening, where its own derivative is rougher.
        assert implicit["norms"] == pytest.approx(unrolled["norms"], rel=1e-6)
        assert implicit["seconds"] < 1.1 * unrolled["seconds"]
    assert surfaces[90, True]["memory"] > 18 * surfaces[90, False]["memory"]
    (entries,) = (row for row in rows if row["kind"] == "entries")
    assert entries["entries"] >= 8100
    assert entries["error"] < 1e-6
    assert entries["differences"] > 1960 * entries["gradient"]


def test_gradients_foretell_the_spread_of_off_currents() -> None:
    (gradient,), devices = (
        [row for row in stored_rows("variability.json") if row["kind"] == kind] for kind in ("gradient", "device")
    )
    assert len(devices) == 500
    solved = [row["off"]["log_ratio"] for row in devices if row["off"]["ended"] == "converged"]
    assert len(solved) > 480
    assert gradient["spread"]["off"] == pytest.approx(float(np.std(solved, ddof=1)), rel=0.1)


def test_error_bars_hold_the_truth() -> None:
    about = json.loads((RESULTS / "recovery.json").read_text())
    draws = [row for row in about["rows"] if row["kind"] == "draw"]
    deviations = np.array([(np.array(row["values"]) - about["truth"]) / row["errors"] for row in draws])
    assert len(draws) == 20
    assert 0.5 < (abs(deviations) < 1).mean() < 0.85
    assert (abs(deviations) < 2).mean() > 0.88
    assert all(row["chi_square"] < 40 for row in draws)  # of 13 degrees of freedom


def test_gradients_close_the_ribbon() -> None:
    """Figures of Zhou et al. 2023: 1.338 at first, 0.148 after six steps, 0.093 after a hundred."""
    rows = stored_rows("ribbon.json")
    assert rows[0]["mean"] == pytest.approx(1.338, abs=0.005)
    for free in ("all", "hoppings"):
        mine = [r for r in rows if (r["kind"], r.get("box"), r.get("free")) == ("gradient", 2.0, free)]
        assert len(mine) == 3
        assert np.median([row["best"][6] for row in mine]) < 0.148
        assert all(row["best"][-1] < 0.093 for row in mine)
    assert all(row["metric"] > 0.5 for row in rows if row.get("free") == "hoppings")
    assert {row["kind"] for row in rows} == {"pristine", "gradient", "evolution", "bayes"}


def wire_rows(**wanted: object) -> list[dict[str, Any]]:
    return [row for row in stored_rows("wires.json") if all(row.get(key) == value for key, value in wanted.items())]


def test_wires_were_pulled_and_predicted_in_the_numbers_told() -> None:
    compact, full = (wire_rows(kind="pulls", of=kind)[0] for kind in ("compact", "full"))
    assert len(compact["end"]) == 57
    assert len(full["end"]) >= 100
    assert sum(compact["snapshots"]) > 11_408
    assert max(compact["end"]) <= 76
    assert max(full["end"]) > 175
    seeds = [row for row in wire_rows(kind="production") if row["seed"] != "mean"]
    assert len(seeds) == 3
    for row in seeds:
        assert row["wires"] == sum(row["true_histogram"]) > 100_000
    # Every snapshot of the compact pulls was counted, whatever split.
    tests = [row["tests"] for row in wire_rows(kind="compact", split="random")]
    assert set(tests) == {sum(compact["snapshots"]) - round(0.8 * sum(compact["snapshots"]))}


def test_scores_of_wires_are_those_of_the_stored_pairs() -> None:
    rows = [row for row in wire_rows(kind="compact") if "said" in row]
    assert len(rows) >= 16
    for row in rows:
        scores = Scores.of(np.array(row["said"]), np.array(row["true"]))
        assert scores.mae == pytest.approx(row["mae"], abs=1e-3)
        assert scores.r2 == pytest.approx(row["r2"], abs=1e-3)
        assert row["mae_range"][0] < row["mae"] < row["mae_range"][1]


def test_conductances_of_hard_wires_come_out_again() -> None:
    (row,) = wire_rows(kind="hard", model="local, max")
    made = {"necks": two_necks, "chain": lambda n: chain(n, 4.4), "tunnelling": lambda n: chain(n, 6.1)}
    for kind, make in made.items():
        for place in (0, 3):
            wire = make(row[kind]["size"][place])
            (found,) = conductances(wire.positions[None], wire.held)
            assert found == pytest.approx(row[kind]["true"][place], rel=1e-6)


def test_the_network_in_the_place_of_a_potential() -> None:
    rows = stored_rows("neural_potential.json")
    errors = {row["of"]: row for row in rows if row["kind"] == "errors"}
    assert errors["other pulls"]["energy"] < 1.0  # meV/atom
    assert errors["other pulls"]["force"] < 0.1 * errors["other pulls"]["of_forces"]
    drifts = [row for row in rows if row["kind"] == "drift"]
    assert {row["by"] for row in drifts} == {"network", "metal"}
    assert all(row["steps"] >= 10_000 and abs(row["drift"]) < 1e-3 for row in drifts)  # meV/atom/ps
    (metal,) = (row for row in rows if row["kind"] == "pull" and row["by"] == "metal")
    assert metal["energy"] == pytest.approx(metal["metal_energy"], abs=1e-3)


def rows_of(name: str, **wanted: Any) -> list[dict[str, Any]]:
    return [row for row in stored_rows(name) if all(row.get(key) == value for key, value in wanted.items())]


@pytest.mark.parametrize(("group", "name"), [("CdSe", "CdSe"), ("III-V", "GaAs")])
@pytest.mark.parametrize("kind", ["published formula", "formula", "network"])
def test_bands_of_a_fit_come_out_again(group: str, name: str, kind: str) -> None:
    row = rows_of("form_factors.json", group=group, model=kind)[0]
    atoms = dict.fromkeys(atom for one in LATTICE if (one == "CdSe") == (group == "CdSe") for atom in atoms_of(one))
    rows = {atom: PUBLISHED[atom] for atom in atoms}
    model = Faded(LearnedFormFactors(rows), 3.0) if kind == "network" else FourParameters(rows)
    model.load_state_dict({key: torch.tensor(value, dtype=torch.float64) for key, value in row["weights"].items()})
    some = target(name, 6.0)
    bands = energies(some.crystal, some.cutoff, model, some.k, 8)
    np.testing.assert_allclose(bands, row[name]["bands"], atol=2e-4)
    error = bands - some.energies
    assert 1e3 * np.sqrt((error**2).mean()) == pytest.approx(row[name]["all"], abs=0.1)
    assert 1e3 * np.sqrt((error[:, EDGES] ** 2).mean()) == pytest.approx(row[name]["edges"], abs=0.1)


def test_a_density_of_states_comes_out_again() -> None:
    (row,) = rows_of("local_density.json", kind="example")
    whole = CUBE.repeated(row["cells"])
    crystal = Crystal(whole.vectors, row["fractions"], whole.species)
    k = mesh([max(1, 4 // count) for count in row["cells"]])
    electrons = ELECTRONS * len(crystal.species)
    found = local_density(crystal, AshcroftLindhard(), electrons, 8 * RYDBERG, k, np.arange(-10.0, 6.5, 0.15), 0.3)
    assert found.band_energy(0.1) == pytest.approx(row["band_energy"], abs=1e-6)
    assert found.fermi_level(0.1) == pytest.approx(row["fermi"], abs=1e-6)


def test_every_cell_was_asked_and_holds_its_electrons() -> None:
    rows = rows_of("local_density.json", kind="scores")
    assert len(rows) == 4 * 2 * (2 * 5 + 3 * 2)
    assert max(abs(value) for row in rows for value in row["electrons"]) < 1e-10
    own = [row for row in rows if row["taught"] == row["state"] == "298 K" and row["taught_at"] == 16]
    assert {row["atoms"] for row in own} == {16, 32, 64, 128, 256}
    assert max(np.abs(row["band_energy"]).mean() for row in own) < 6
    assert max(np.mean(row["density"]) for row in own) < 0.01


def test_densities_of_a_wire_come_out_again() -> None:
    (row,) = rows_of("wire_density.json", broadening=0.1)
    wire, energies_there = row["wire"], json.loads((RESULTS / "wire_density.json").read_text())["energies"]
    found = local_densities([wire["positions"]], wire["held"], energies_there, 0.1)[0]
    np.testing.assert_allclose(found[wire["atom"]], wire["densities"][1], rtol=1e-3, atol=2e-4)


def test_the_peak_of_a_stretched_bond_comes_out_again() -> None:
    (row,) = rows_of("kohn_sham.json", kind="stretching", lesson="short")
    for bond, middle, *_ in row["rows"][3::4]:
        one = exact(Line(12.0, 128), Molecule.stretched(1.2, 1.2, bond))
        assert one.exchange[64] == pytest.approx(middle, abs=1e-6)


def test_an_operator_is_good_for_bonds_between_those_it_was_shown() -> None:
    rows = rows_of("kohn_sham.json", kind="scores", lesson="short", part="unseen bonds")
    assert {row["seed"] for row in rows} == {0, 1, 2}
    assert max(np.median(row["potential"]) for row in rows) < 3.0  # mHartree
    assert max(np.median(row["density"]) for row in rows) < 0.01
    for row in rows_of("kohn_sham.json", kind="search"):
        assert all(one["least"] < 1e-9 for start in ("half of Hartree", "operator") for one in row[start])


def test_steps_of_a_wave_come_out_again() -> None:
    line, levels = Line(8.0, 64), (0, 1)
    (row,) = rows_of("electron_dynamics.json", way="Crank and Nicolson", levels=list(levels), points=64)
    found = carried(line, superposed(levels, line.x, 0.0), lambda t: 0.5 * line.x**2, 2 * np.pi, row["steps"], 20)
    true = superposed(levels, line.x[None], np.linspace(0.0, 2 * np.pi, 21)[:, None])
    inside = abs(line.x) <= np.pi
    error = ((abs(found) ** 2 - abs(true) ** 2)[:, inside] ** 2).mean()
    assert error == pytest.approx(row["density"], rel=1e-3)


@pytest.mark.parametrize(("levels", "mark"), [((0, 1), 1.07e-3), ((1, 3), 1.26e-2)])
def test_waves_told_their_equation_beat_the_marks(levels: tuple[int, int], mark: float) -> None:
    rows = rows_of("electron_dynamics.json", way="least squares, 8 parts", levels=list(levels))
    assert {row["seed"] for row in rows} == {0, 1, 2}
    assert max(row["scores"]["1"]["density"] for row in rows) < mark / 1000


def test_an_operator_was_tried_as_a_start_on_the_same_cases() -> None:
    rows = {(row["model"], row["cases"]): row for row in rows_of("operator_start.json")}
    learned = {(model, count) for model, count in rows if count}
    assert {model for model, _ in learned} == {"network", "operator"}
    assert {count for model, count in learned if model == "operator"} == {c for m, c in learned if m == "network"}
    assert len({(row["tests"], row["solved"]) for row in rows.values()}) == 1
    assert rows["box", 0]["largest_errors"]["50%"] < 0.006  # V
    assert rows["semiclassical", 0]["within"]["1"] == 0.0
