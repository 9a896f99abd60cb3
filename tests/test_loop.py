"""The outer loop's ways of starting again."""

from dataclasses import dataclass

import numpy as np
import pytest

from mlnegf import Device, Solution, solve
from mlnegf._common import Floats
from mlnegf.scf.guesses import Semiclassical, Start
from mlnegf.scf.loop import Limits, Outcome, from_off_state, from_warmth, iterate
from mlnegf.scf.point import Point
from mlnegf.scf.problem import Problem
from mlnegf.scf.schemes import Automatic

BIAS = 0.4, 0.3


@dataclass(frozen=True)
class Stubborn:
    """A scheme that stays where it is."""

    memory: int = 1
    patience: int | None = 2

    def propose(self, points: list[Point]) -> Floats:
        return points[-1].potential


def test_the_way_from_the_closed_channel_ends_at_the_same_solution(device: Device, solution: Solution) -> None:
    problem = Problem.of(device, *BIAS)
    run = from_off_state(problem, Automatic(), Limits(1e-5, 1e-2, 60))
    assert run.converged
    assert run.point.problem is problem
    np.testing.assert_allclose(device.grid.unfold(run.potential), solution.potential, atol=2e-5)
    # The whole way is counted, and it is a way: more than one bias.
    assert problem.work.charge_evaluations == len(run.history) > solution.negf_solves


@pytest.mark.parametrize("work_function", [None, 4.35])
def test_the_way_starts_where_the_gate_closes_the_channel(
    device: Device, work_function: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    gates: list[float] = []

    def note(problem: Problem, start: Start, scheme: object, limits: Limits) -> object:
        gates.append(problem.gate)
        return iterate(problem, start, scheme, limits)  # type: ignore[arg-type]

    monkeypatch.setattr("mlnegf.scf.loop.iterate", note)
    changed = Device(**{**device.to_dict(), "work_function": work_function})
    assert from_off_state(Problem.of(changed, 0.4, 0.1), Automatic(), Limits(1e-3, 1e-2, 60)).converged
    assert gates[0] == pytest.approx(0.0 if work_function is None else 0.3)
    assert gates == sorted(gates)
    assert gates[-1] == 0.4


def test_a_way_that_leads_nowhere_says_so_and_tries_the_others(device: Device) -> None:
    found = solve(device, *BIAS, guess="flat", scheme=Stubborn())
    assert not found.converged
    assert found.status.startswith("stalled:")
    assert "come from a nearby bias" in found.status
    assert sum("led nowhere" in words for words in found.warnings) == 3
    assert any("600 K" in words for words in found.warnings)
    assert any("started again, semiclassically" in words for words in found.warnings)
    assert any("from the closed channel" in words for words in found.warnings)
    assert len(found.history) == found.negf_solves


def test_a_cold_device_starts_warm() -> None:
    """At 114 K Newton's method is caught in a false minimum of the residual; one step at 200 K leads past it."""
    cold = Device(width=3.7, thickness=4.2, gate_length=20.5, doping=6.1e19, temperature=114.0, spacing=(0.5, 0.5, 0.5))
    warmed = solve(cold, 0.262, 0.095)
    assert warmed.converged
    assert warmed.negf_solves <= 12
    problem = Problem.of(cold, 0.262, 0.095)
    start = Semiclassical()(problem)
    assert problem.work.charge_evaluations == 1, "the solve at 200 K is counted"
    assert abs(start.potential - problem.semiclassical()).max() > 1e-3


def test_cooling_and_raising_the_gate_meet(device: Device) -> None:
    limits = Limits(1e-5, 1e-2, 100)
    one, other = (way(Problem.of(device, *BIAS), Automatic(), limits) for way in (from_off_state, from_warmth))
    assert one.converged
    assert other.converged
    assert abs(one.potential - other.potential).max() < 2e-5


def test_a_scheme_without_patience_is_left_alone(device: Device) -> None:
    found = solve(device, *BIAS, guess="flat", scheme=Stubborn(patience=None), max_solves=7)
    assert found.status.startswith("unconverged:")
    assert found.negf_solves == 7
    assert not any("led nowhere" in words for words in found.warnings)


@pytest.mark.parametrize("solves", [3, 8, 20])
def test_a_failure_returns_the_best_of_all_points(device: Device, solves: int) -> None:
    wild = 0.6 * np.random.default_rng(1).normal(size=device.grid.shape)
    found = solve(device.at(20.0), *BIAS, guess=wild, max_solves=solves)
    assert found.negf_solves <= solves + 1  # one more where the guess itself took the last
    there = Problem.of(device.at(20.0), *BIAS).evaluate(device.grid.fold(found.potential)).distance
    assert there <= min(step.residual for step in found.history[:2]) * (1 + 1e-6)


@pytest.mark.parametrize("solves", [1, 3, 6])
def test_solves_spent_on_the_way_still_answer_for_the_bias_asked(device: Device, solves: int) -> None:
    problem = Problem.of(device, *BIAS)
    run = from_off_state(problem, Automatic(), Limits(1e-3, 1e-2, solves))
    assert run.outcome is Outcome.unconverged
    assert run.point.problem is problem
    assert len(run.history) == problem.work.charge_evaluations == solves
