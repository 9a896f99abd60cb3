"""The learned guess helps, or says that it did not."""

import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mlnegf import Device, Solution, solve
from mlnegf.learning.networks import save
from mlnegf.learning.training import Trained
from mlnegf.scf.guesses import Semiclassical
from mlnegf.scf.problem import Problem
from mlnegf.warmstart.samples import FILLING, START, Sample, first_iteration
from mlnegf.warmstart.slice_guess import SliceGuess
from mlnegf.warmstart.slices import untrained
from mlnegf.warmstart.storage import Case
from mlnegf.warmstart.trained_range import describe

BIAS = (0.3, 0.1)


def spoiled(learned: SliceGuess, log_ratio: float, correction: float) -> SliceGuess:
    """Return a guess that predicts the same nonsense everywhere."""
    model = deepcopy(learned.model)
    with torch.no_grad():
        model.leave.bias.copy_(torch.tensor([log_ratio, correction]))  # type: ignore[operator, union-attr]
    return SliceGuess(model, learned.metadata)


@pytest.fixture(scope="module")
def solution(learned: SliceGuess, device: Device) -> Solution:
    return solve(device, *BIAS, guess=learned, tolerance=1e-5)


def test_the_guess_differs_from_the_start_it_read(learned: SliceGuess, device: Device) -> None:
    problem = Problem.of(device, *BIAS)
    start = learned(problem)
    assert start.evaluated is not None
    assert 1e-4 < abs(start.potential - start.evaluated.potential).max() < 0.2


def test_the_guess_costs_one_solve(learned: SliceGuess, device: Device) -> None:
    problem = Problem.of(device, *BIAS)
    learned(problem)
    assert problem.work.charge_evaluations == 1


def test_the_solution_counts_the_solve_that_was_read(solution: Solution) -> None:
    assert solution.converged
    assert solution.negf_solves == len(solution.history) >= 2


def test_the_first_solve_is_that_of_the_start(solution: Solution, device: Device) -> None:
    problem = Problem.of(device, *BIAS, tolerance=1e-5)
    start = problem.evaluate(Semiclassical()(problem).potential)
    assert solution.history[0].residual == pytest.approx(start.distance, rel=1e-6)


def test_both_guesses_lead_to_one_fixed_point(solution: Solution, device: Device) -> None:
    other = solve(device, *BIAS, tolerance=1e-5)
    np.testing.assert_allclose(solution.potential, other.potential, atol=2e-5)
    assert solution.current == pytest.approx(other.current, rel=1e-3)


def test_a_perfect_prediction_is_the_fixed_point(
    learned: SliceGuess, found: list[Case], device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    (case,) = [case for case in found if (case.device, case.gate, case.drain) == (device, 0.5, 0.4)]
    answer = case.sample()
    monkeypatch.setattr("mlnegf.warmstart.slice_guess.predict", lambda model, slices: (answer.charge, answer.potential))
    start = learned(Problem.of(device, 0.5, 0.4))
    # The label itself is right to 1e-5 V.
    np.testing.assert_allclose(start.potential, device.grid.fold(case.solved().potential), atol=1e-4)


def test_a_good_guess_is_used_without_a_word(solution: Solution) -> None:
    assert not any("guess" in words for words in solution.warnings)


@pytest.mark.parametrize("drain", [0.05, 0.45])
def test_outside_the_training_the_start_is_semiclassical(learned: SliceGuess, device: Device, drain: float) -> None:
    problem = Problem.of(device, 0.3, drain)
    assert np.array_equal(learned(problem).potential, Semiclassical()(problem).potential)
    assert problem.work.charge_evaluations == 0


def test_a_doubt_is_said(learned: SliceGuess, device: Device) -> None:
    found = solve(device, 0.3, 0.45, guess=learned)
    words = "the guess of slices was not used: drain = 0.45 to 0.45 is outside the trained 0.1 to 0.4"
    assert words in found.warnings
    assert found.converged
    assert found.negf_solves == solve(device, 0.3, 0.45).negf_solves


@pytest.mark.parametrize(("gate", "same"), [(0.3, True), (0.5, False)])
def test_the_network_reads_the_filling_of_its_data(
    learned: SliceGuess, device: Device, gate: float, same: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The point it read serves the solve as well if no state is bound there, so that the rule changes nothing."""
    monkeypatch.setattr("mlnegf.warmstart.slice_guess._same", lambda problem, point: same)
    own, other = (learned(Problem.of(device, gate, 0.3, filling)) for filling in (FILLING, "mean"))
    assert np.array_equal(own.potential, other.potential)
    assert (other.evaluated is not None) == same
    assert solve(device, gate, 0.3, guess=learned, filling="mean").converged


@pytest.mark.parametrize(
    ("log_ratio", "correction"), [(0.0, 10.0), (0.0, -10.0), (5.0, 0.0), (30.0, 0.0), (-30.0, 0.0)]
)
def test_a_bad_guess_is_dropped_for_the_start(
    learned: SliceGuess, device: Device, log_ratio: float, correction: float
) -> None:
    found = solve(device, *BIAS, guess=spoiled(learned, log_ratio, correction))
    assert found.converged
    assert any("of the start it read, and was not used" in words for words in found.warnings)
    # One for the start, one for the guess, and no more than the start needs alone.
    assert found.negf_solves == len(found.history) <= solve(device, *BIAS).negf_solves + 1


@pytest.mark.parametrize(
    ("value", "words"), [(float("nan"), "its prediction is not finite"), (1e30, "no potential fits its prediction")]
)
def test_an_impossible_guess_is_dropped_for_the_start(
    learned: SliceGuess, device: Device, value: float, words: str
) -> None:
    found = solve(device, *BIAS, guess=spoiled(learned, value, value))
    assert found.converged
    assert any(words in warning for warning in found.warnings)
    assert found.negf_solves == len(found.history)


def test_a_dropped_guess_changes_no_result(learned: SliceGuess, device: Device, solution: Solution) -> None:
    found = solve(device, *BIAS, guess=spoiled(learned, 0.0, 10.0), tolerance=1e-5)
    np.testing.assert_allclose(found.potential, solution.potential, atol=2e-5)


def test_weights_say_what_they_were_trained_on(learned: SliceGuess, training: list[Sample]) -> None:
    assert learned.metadata["data"] == "the tests"
    assert {case.device.width for case in training} == {3.0}
    assert learned.model.ranges["width"] == (3.0, 3.0)


def test_weights_of_another_start_are_refused(trained: Trained, tmp_path: Path) -> None:
    save(tmp_path / "weights", trained.model, {"start": "flat"})
    with pytest.raises(ValueError, match=r"SliceGuess: start = 'flat', expected 'semiclassical.*train again"):
        SliceGuess.load(tmp_path / "weights")


def test_weights_without_a_start_are_refused(trained: Trained) -> None:
    with pytest.raises(ValueError, match="start = None, expected"):
        SliceGuess(trained.model, {})


def test_weights_of_another_version_are_refused(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlnegf.learning.weights.FORMAT_VERSION", "next")
    with pytest.raises(ValueError, match=r"tiny.safetensors: format .*expected 'mlnegf network next'; train again"):
        SliceGuess.load(weights)


def test_weights_of_other_conditions_are_refused(learned: SliceGuess) -> None:
    ranges = dict(reversed(json.loads(learned.metadata["ranges"]).items()))
    with pytest.raises(ValueError, match=r"SliceGuess: conditions = .*expected .*misread them; train again"):
        SliceGuess(learned.model, {**learned.metadata, "ranges": json.dumps(ranges)})


@pytest.mark.parametrize("polarity", ["n", "p"])
def test_a_network_that_corrects_nothing_gives_the_next_iteration(device: Device, polarity: str) -> None:
    """Either sign: the exponential predictor on the first charge is the Gummel map of the first point."""
    device = replace(device, polarity=polarity)
    gate, drain = device.polarity_sign * 0.3, device.polarity_sign * 0.1
    card = describe([first_iteration(device, gate, drain)], START, "one case")
    problem = Problem.of(device, gate, drain, FILLING)
    start = SliceGuess(untrained("slice_autoencoder"), card)(problem)
    assert start.note == ""
    point = problem.evaluate(Semiclassical()(problem).potential)
    assert abs(point.image - point.potential).max() > 1e-3
    np.testing.assert_allclose(start.potential, point.image, atol=1e-4)
