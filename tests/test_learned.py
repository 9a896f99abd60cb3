"""The learned guess: from parameters alone to a start that one or two NEGF solves certify."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mlnegf import Device, LearnedGuess, solve
from mlnegf.learning.networks.separable import SeparableNetwork
from mlnegf.scf.equations import Equations
from mlnegf.scf.problem import Problem
from mlnegf.warmstart.description import ACROSS, ALONG, CONDITIONS, Shape
from mlnegf.warmstart.learned import fill_oxide
from mlnegf.warmstart.start_training import Settings, largest_errors, lessons, train, voters
from mlnegf.warmstart.storage import Case

BIAS = (0.35, 0.4)


@pytest.fixture(scope="module")
def inside() -> Device:
    """None of those trained on, and within their ranges."""
    return Device(width=5.0, thickness=3.5, gate_length=9.0, temperature=310.0, spacing=(0.4, 0.5, 0.5))


@pytest.fixture(scope="module")
def shipped() -> LearnedGuess:
    return LearnedGuess.pretrained()


def untrained(seed: int = 0) -> SeparableNetwork:
    torch.manual_seed(seed)
    return SeparableNetwork(len(CONDITIONS), ALONG, ACROSS)


def test_the_guess_costs_no_solve(shipped: LearnedGuess, inside: Device) -> None:
    problem = Problem.of(inside, *BIAS)
    start = shipped(problem)
    assert start.used
    assert problem.work.charge_evaluations == 0
    assert problem.work.poisson_solves > 0
    assert abs(start.potential - problem.semiclassical()).max() > 5e-3


def test_auto_is_learned_inside_and_semiclassical_outside(inside: Device) -> None:
    learned, auto = (solve(inside, *BIAS, guess=guess) for guess in ("learned", "auto"))
    assert np.array_equal(auto.potential, learned.potential)
    outside = replace(inside, semiconductor="silicon germanium 30 %")
    cold, auto = (solve(outside, *BIAS, guess=guess) for guess in ("semiclassical", "auto"))
    assert np.array_equal(auto.potential, cold.potential)
    assert auto.warnings == cold.warnings
    assert auto.guess_used, "nobody asked for the learned one"


def test_the_names_are_known_without_the_public_face() -> None:
    code = (
        "from mlnegf.scf.guesses import GUESSES, as_guess; assert 'learned' not in GUESSES;"
        "as_guess('learned'); assert 'learned' in GUESSES"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_two_solves_suffice_and_agree(shipped: LearnedGuess, inside: Device) -> None:
    exact = solve(inside, *BIAS, tolerance=1e-5)
    learned = solve(inside, *BIAS, guess=shipped)
    assert learned.converged
    assert learned.guess_used
    assert learned.negf_solves <= 2
    assert abs(learned.potential - exact.potential).max() < learned.error_estimate + 1e-5
    assert learned.current == pytest.approx(exact.current, rel=0.01)


def test_the_start_is_nearer_than_the_semiclassical_one(shipped: LearnedGuess, inside: Device) -> None:
    exact, problem = solve(inside, *BIAS, tolerance=1e-5), Problem.of(inside, *BIAS)
    learned, plain = (
        abs(problem.unfolded(start) - exact.potential).max()
        for start in (shipped(problem).potential, problem.semiclassical())
    )
    assert learned < 0.5 * plain
    assert learned < 0.02


@pytest.mark.parametrize("dx", [0.25, 0.5])
def test_one_set_of_weights_serves_several_grids(shipped: LearnedGuess, inside: Device, dx: float) -> None:
    found = solve(replace(inside, spacing=(dx, 0.5, 0.5)), *BIAS, guess=shipped)
    assert found.guess_used
    assert found.negf_solves <= 3


def test_a_work_function_only_shifts_the_gate(shipped: LearnedGuess, inside: Device) -> None:
    shifted = replace(inside, work_function=inside.channel.affinity + 0.1)
    one, other = (
        shipped(Problem.of(device, gate, BIAS[1])).potential for device, gate in ((inside, 0.3), (shifted, 0.4))
    )
    assert np.allclose(one, other, atol=1e-7)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"width": 18.0}, "width = 18 is outside the trained"),
        ({"temperature": 490.0}, "temperature = 490 is outside the trained"),
        ({"spacing": (0.4, 0.8, 0.5)}, "dy = 0.714286 is outside the trained"),
        ({"penetration": True}, "penetration = True is none of the trained"),
        ({"oxide": "hafnium dioxide"}, "oxide = 'hafnium dioxide' is none of the trained"),
        ({"mean_free_path": 10.0}, "mean_free_path = 10.0 is none of the trained"),
    ],
)
def test_outside_the_training_the_start_is_semiclassical(
    shipped: LearnedGuess, inside: Device, change: dict[str, Any], words: str
) -> None:
    problem = Problem.of(replace(inside, **change), *BIAS)
    start = shipped(problem)
    assert not start.used
    assert words in start.note
    assert np.array_equal(start.potential, problem.semiclassical())


def test_somewhat_outside_the_training_networks_that_agree_are_trusted(shipped: LearnedGuess, inside: Device) -> None:
    wide, alone = replace(inside, width=13.0), LearnedGuess(shipped.models[:1], shipped.metadata)
    start = LearnedGuess([*alone.models, *alone.models], shipped.metadata)(Problem.of(wide, *BIAS))
    assert start.used
    assert "agree, but width = 13 is outside the trained" in start.note
    assert not alone(Problem.of(wide, *BIAS)).used, "one network cannot disagree"
    cross = replace(inside, cross_section=[[False, True, False], [True, True, True], [False, True, False]])
    start = LearnedGuess([*alone.models, *alone.models], shipped.metadata)(Problem.of(cross, *BIAS))
    assert start.used
    assert "agree, but cross_section = " in start.note
    assert not alone(Problem.of(cross, *BIAS)).used


def test_another_filling_is_outside(shipped: LearnedGuess, inside: Device) -> None:
    assert "filling = 'mean' is not the trained" in shipped(Problem.of(inside, *BIAS, filling="mean")).note


def test_coupled_modes_start_from_it_too(shipped: LearnedGuess, inside: Device) -> None:
    assert shipped(Problem.of(inside, *BIAS, modes="coupled")).used


def test_networks_that_disagree_are_not_trusted(shipped: LearnedGuess, inside: Device) -> None:
    split = LearnedGuess([*shipped.models, untrained()], {**shipped.metadata, "doubt": "0.001"})
    found = solve(inside, *BIAS, guess=split)
    assert found.converged
    assert not found.guess_used
    assert any("its networks disagree by" in words for words in found.warnings)


def test_the_oxide_carries_no_charge(inside: Device) -> None:
    problem = Problem.of(inside, *BIAS)
    cells, potential = inside.grid.doped_cells, problem.semiclassical()
    pushed = potential.copy()
    pushed[:, cells] += 0.03 * np.sin(inside.grid.x / 3.0)[:, None]
    filled = fill_oxide(problem.poisson, pushed, cells, problem.gate_potential)
    assert np.array_equal(filled[:, cells], pushed[:, cells])
    residual = problem.poisson.residual(filled, problem.poisson.donors, problem.gate_potential)
    before = problem.poisson.residual(pushed, problem.poisson.donors, problem.gate_potential)
    oxide = np.setdiff1d(np.arange(filled.shape[1]), cells)
    assert abs(residual[:, oxide]).max() < 1e-3 * abs(before[:, oxide]).max()


@pytest.mark.parametrize("section", ["rectangle", "ellipse", "T", "L"])
def test_every_section_is_described_in_the_same_words(inside: Device, section: str) -> None:
    device = replace(inside, cross_section=section)
    shape = Shape.of(device)
    told = shape.at(0.3, 0.2, np.full((len(device.grid.x), len(device.grid.doped_cells)), 0.3))
    assert told.conditions.shape == (len(CONDITIONS),)
    assert told.along.shape == (ALONG, len(shape.even))
    assert told.across.shape == (len(device.grid.doped_cells), ACROSS)
    assert np.allclose(shape.steps @ np.sin(shape.even / 3), np.sin(shape.x / 3), atol=2e-3)
    assert shape.weights.sum() == pytest.approx(1.0)
    assert shape.core.sum() == pytest.approx(1.0)


def test_an_untrained_network_corrects_nothing(inside: Device) -> None:
    told = Shape.of(inside).at(0.3, 0.2, np.full((len(inside.grid.x), len(inside.grid.doped_cells)), 0.3))
    field = untrained()(told.conditions, told.along, told.across, told.steps)
    assert field.shape == (len(inside.grid.x), len(inside.grid.doped_cells))
    assert not field.any()


def test_lessons_come_in_the_order_of_their_cases(found: list[Case]) -> None:
    known = [case for case in found if case.converged]
    mixed = [known[place] for place in np.random.default_rng(0).permutation(len(known))]
    for case, lesson in zip(mixed, lessons(mixed), strict=True):
        assert lesson.device == case.device
        (alone,) = lessons([case])
        assert torch.equal(lesson.answer, alone.answer)


def test_training_makes_the_error_small(found: list[Case]) -> None:
    some = lessons([case for case in found if case.converged])
    guess = voters([train(some, some, Settings(epochs=60), progress=False).model], some, some, command="the tests")
    nothing = LearnedGuess([untrained()], guess.metadata)
    assert np.median(largest_errors(guess, some)) < 0.3 * np.median(largest_errors(nothing, some))
    assert guess.metadata["command"] == "the tests"


def test_weights_survive_a_file(shipped: LearnedGuess, inside: Device, tmp_path: Path) -> None:
    shipped.save(tmp_path / "weights")
    again = LearnedGuess.load(tmp_path / "weights")
    assert again.fingerprint == shipped.fingerprint
    problem = Problem.of(Equations.of(inside), *BIAS)
    assert np.array_equal(again(problem).potential, shipped(problem).potential)


def test_other_files_are_refused(weights: Path, shipped: LearnedGuess, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected 'mlnegf start networks"):
        LearnedGuess.load(weights)
    other = dict(reversed(json.loads(shipped.metadata["ranges"]).items()))
    LearnedGuess(shipped.models, {**shipped.metadata, "ranges": json.dumps(other)}).save(tmp_path / "other")
    with pytest.raises(ValueError, match=r"conditions = .*train again"):
        LearnedGuess.load(tmp_path / "other")
    LearnedGuess(shipped.models[:1], shipped.metadata).save(tmp_path / "fewer")
    wrong = SeparableNetwork(len(CONDITIONS), ALONG + 1, ACROSS)
    wrong.config = shipped.models[0].config
    LearnedGuess([wrong], shipped.metadata).save(tmp_path / "wrong")
    with pytest.raises(ValueError, match="weights do not fit their network"):
        LearnedGuess.load(tmp_path / "wrong")
