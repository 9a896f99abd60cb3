"""The equations with frozen subbands: consistent with the solver, and what they are good for."""

from dataclasses import replace

import numpy as np
import pytest

from mlnegf._common import Floats
from mlnegf.nanosheet.device import Device
from mlnegf.scf.frozen import CLOSE, PASSES, settle
from mlnegf.scf.point import Point
from mlnegf.scf.problem import Problem
from mlnegf.scf.solve import Solution, solve

DEVICE = Device(width=4.0, gate_length=8.0, source_length=6.0, drain_length=6.0, spacing=(0.25, 0.5, 0.5))


def start(gate: float, drain: float) -> Point:
    problem = Problem.of(DEVICE, gate, drain)
    return problem.evaluate(problem.semiclassical())


def distance(point: Point, potential: Floats) -> float:
    """Residual after one more NEGF solve, V."""
    return point.problem.evaluate(potential).distance


def test_a_frozen_residual_is_that_of_the_solver_where_subbands_do_not_change() -> None:
    point = start(0.3, 0.3)
    problem = point.problem
    # The same shift across the whole section moves levels and leaves shapes alone.
    change = 0.01 * np.sin(DEVICE.grid.x / 4)[:, None] * np.ones_like(point.potential)
    moved = problem.evaluate(point.potential + change)
    linear = point.residual + (problem.poisson.operator @ change.ravel()).reshape(change.shape)
    linear = linear + problem.poisson.source * point.charge.respond(change)[0]
    frozen = point.frozen_residual(change)
    assert abs(frozen - moved.residual).max() < 2e-3 * abs(linear - moved.residual).max()


@pytest.mark.parametrize("bias", [(0.1, 0.4), (0.4, 0.4), (0.6, 0.05), (0.7, 0.5)])
def test_a_settled_step_comes_nearer_than_newtons(bias: tuple[float, float]) -> None:
    point = start(*bias)
    x = settle(point, 1e-2, 4.0)
    newton = point.correct(1e-2).step
    frozen, linear = (distance(point, point.potential + step) for step in (x, newton))
    assert frozen < 0.5 * linear
    assert frozen < 0.1 * point.distance


def test_the_frozen_equations_hold_where_it_settles() -> None:
    point = start(0.4, 0.4)
    x = settle(point, 1e-2, 4.0)
    assert point.problem.work.chain_passes <= PASSES
    left = point.solve_linearised(point.preconditioned(-point.frozen_residual(x)), 1e-2)
    assert abs(left).max() < CLOSE * point.thermal_voltage


def test_a_small_step_is_newtons_with_its_second_order() -> None:
    exact = solve(DEVICE, 0.3, 0.3, tolerance=1e-6)
    problem = Problem.of(DEVICE, 0.3, 0.3)
    point = problem.evaluate(problem.folded(exact.potential) + 1e-3)
    x, second = settle(point, 1e-4, 4.0), point.second_order
    assert second is not None
    assert abs(x - point.correct(1e-4).step - second.step).max() < 0.1 * abs(second.step).max() + 1e-7


def test_where_no_pass_comes_nearer_the_step_is_newtons_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    point = start(0.4, 0.4)
    monkeypatch.setattr(Point, "frozen_residual", lambda self, change: 10 * self.residual)
    step, newton = settle(point, 1e-2, 0.5), point.correct(1e-2).step
    assert abs(step).max() == pytest.approx(0.5 * point.thermal_voltage)
    assert np.allclose(step / abs(step).max(), newton / abs(newton).max())


def test_what_leaves_the_range_of_numbers_ends_the_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    point = start(0.4, 0.4)
    monkeypatch.setattr(Point, "frozen_residual", lambda self, change: np.full_like(self.residual, np.nan))
    assert np.isfinite(settle(point, 1e-2, 4.0)).all()


def soft() -> tuple[Device, tuple[float, float]]:
    """A wire whose open channel answers softly to the degenerate source: Newton overshoots there."""
    device = replace(DEVICE, width=6.0, thickness=5.0, gate_length=14.0, doping=1.5e20)
    return device, (0.65, 0.2)


def test_a_cold_start_takes_two_solves_where_newton_takes_more() -> None:
    device, bias = soft()
    newton, frozen = (solve(device, *bias, scheme=scheme) for scheme in ("newton", "frozen"))
    assert both_right(newton, frozen)
    assert frozen.negf_solves < newton.negf_solves


def both_right(one: Solution, other: Solution) -> bool:
    bound = one.error_estimate + other.error_estimate
    return one.converged and other.converged and bool(abs(one.potential - other.potential).max() <= bound)
