"""The predictor that shifts the local density of states: exact for a shift of everything, smooth, and of use."""

import numpy as np
import pytest

from mlnegf import Device, solve
from mlnegf.scf.point import Point
from mlnegf.scf.predictors import shifted_density
from mlnegf.scf.problem import Problem

DEVICE = Device(width=4.0, thickness=3.0, gate_length=8.0, spacing=(0.25, 0.5, 0.5))


@pytest.fixture(scope="module", params=[(0.4, 0.3), (0.8, 0.05)], ids=["resonances", "bound states"])
def point(request: pytest.FixtureRequest) -> Point:
    problem = Problem.of(DEVICE, *request.param)
    return problem.evaluate(problem.semiclassical())


def test_the_cases_differ() -> None:
    problem = Problem.of(DEVICE, 0.8, 0.05)
    assert len(problem.evaluate(problem.semiclassical()).charge.lines.bound.mode) > 0


@pytest.mark.parametrize("shift", [-0.1, -0.01, 0.003, 0.1])
def test_a_uniform_shift_is_predicted_exactly(point: Point, shift: float) -> None:
    """All levels move with the potential, and all that a level holds is what it held at the other filling."""
    predicted, _ = shifted_density(point.charge, point.potential)(point.potential + shift)
    exact = point.problem.evaluate(point.potential + shift).charge.density
    assert abs(predicted - exact).max() < 5e-5 * exact.max()


def test_without_a_shift_it_is_the_charge_and_its_local_slope(point: Point) -> None:
    density, slope = shifted_density(point.charge, point.potential)(point.potential)
    assert np.allclose(density, point.charge.density, rtol=1e-12, atol=1e-15)
    assert np.allclose(slope, point.charge.slope, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("shift", [-2.0, -0.6, -0.013, 0.2, 0.6])
def test_the_slope_is_the_derivative_inside_the_table_and_beyond(point: Point, shift: float) -> None:
    density, step = shifted_density(point.charge, point.potential), 1e-5
    high, low = (density(point.potential + shift + sign * step)[0] for sign in (1, -1))
    _, slope = density(point.potential + shift)
    assert np.allclose((high - low) / (2 * step), slope, rtol=1e-4, atol=1e-6 * slope.max() + 1e-12)
    assert (slope >= 0).all()


def test_it_saves_half_of_gummel_s_solves() -> None:
    plain, shifted = (solve(DEVICE, 0.4, 0.3, scheme=scheme) for scheme in ("gummel", "gummel-shift"))
    assert plain.converged
    assert shifted.converged
    assert abs(shifted.potential - plain.potential).max() < 2e-3
    assert shifted.negf_solves <= 0.7 * plain.negf_solves
