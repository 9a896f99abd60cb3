"""The outer loop: one fixed point whatever the way, certificates against the truth, and honest failures."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import mlnegf
from mlnegf._common import Floats
from mlnegf.nanosheet.device import Device
from mlnegf.scf.coupling import coupling
from mlnegf.scf.guesses import ExtrapolatedBias, PreviousBias, Start
from mlnegf.scf.problem import Problem
from mlnegf.scf.schemes import SCHEMES, Newton
from mlnegf.scf.solve import Solution, solve
from mlnegf.scf.sweep import continuation, neighbours

DEVICE = Device(width=4.0, gate_length=8.0, source_length=6.0, drain_length=6.0, spacing=(0.25, 0.5, 0.5))
BIASES = [(0.05, 0.05), (0.3, 0.5), (0.6, 0.05), (0.6, 0.6)]


@pytest.fixture(scope="module")
def references() -> dict[tuple[float, float], Solution]:
    found = {bias: solve(DEVICE, *bias, tolerance=1e-7) for bias in BIASES}
    assert all(solution.converged for solution in found.values())
    return found


@pytest.mark.parametrize("bias", BIASES)
@pytest.mark.parametrize("tolerance", [1e-2, 1e-3, 1e-4])
def test_the_estimated_error_bounds_the_true_one(
    bias: tuple[float, float], tolerance: float, references: dict[tuple[float, float], Solution]
) -> None:
    solution, exact = solve(DEVICE, *bias, tolerance=tolerance), references[bias]
    assert solution.converged
    assert solution.error_estimate <= tolerance
    true = abs(solution.potential - exact.potential).max()
    assert true <= 1.05 * solution.error_estimate + 2e-7
    assert abs(solution.current / exact.current - 1) <= 1.5 * solution.current_error + 1e-4


def test_every_scheme_and_guess_finds_the_same_solution(references: dict[tuple[float, float], Solution]) -> None:
    exact = references[0.3, 0.5]
    guesses = ["flat", "semiclassical", exact.potential + 0.01, references[0.05, 0.05]]
    for scheme in SCHEMES:
        for guess in guesses[1:] if scheme == "newton" else guesses:
            solution = solve(DEVICE, 0.3, 0.5, guess=guess, scheme=scheme)
            assert solution.converged, (scheme, solution.status)
            assert abs(solution.potential - exact.potential).max() < 1e-3


def test_newton_is_quadratic(references: dict[tuple[float, float], Solution]) -> None:
    solution = solve(DEVICE, 0.3, 0.5, scheme=Newton(tolerance=1e-6), tolerance=1e-7)
    residuals = np.array([step.residual for step in solution.history])
    assert len(residuals) <= 6
    assert residuals[-1] < 1e-3 * residuals[-2] ** 0.9, residuals


def test_potential_charge_and_current_belong_to_one_solve() -> None:
    solution = solve(DEVICE, 0.3, 0.5)
    again = Problem.of(DEVICE, 0.3, 0.5).evaluate(DEVICE.grid.fold(solution.potential)).charge
    assert np.allclose(DEVICE.grid.unfold(again.density) / 1e-21, solution.charge, rtol=1e-10)
    assert again.current == pytest.approx(solution.current, rel=1e-10)
    assert solution.charge.shape == solution.potential.shape == DEVICE.grid.shape


def test_work_is_counted() -> None:
    problem = Problem.of(DEVICE, 0.3, 0.5)
    point = problem.evaluate(problem.semiclassical())
    before = problem.work.poisson_solves
    point.correct(1e-2)
    assert problem.work.charge_evaluations == 1
    assert problem.work.linearised_applications == problem.work.poisson_solves - before > 0
    solution = solve(DEVICE, 0.3, 0.5)
    assert solution.negf_solves == solution.work.charge_evaluations == len(solution.history)
    assert solution.work.seconds > 0


def test_failure_is_a_status() -> None:
    solution = solve(DEVICE, 0.6, 0.6, scheme="gummel", max_solves=3)
    assert not solution.converged
    assert solution.status.startswith("unconverged:")
    assert "try" in solution.status
    assert solution.negf_solves == 3
    assert np.isfinite(solution.error_estimate)


@dataclass(frozen=True)
class Broken:
    """A scheme that loses its way."""

    memory: int = 1
    patience: int | None = None

    def propose(self, points: Any) -> Floats:
        return np.full_like(points[-1].potential, np.nan)


def test_divergence_is_a_status_and_returns_the_last_finite_point() -> None:
    solution = solve(DEVICE, 0.3, 0.5, scheme=Broken())
    assert not solution.converged
    assert solution.status.startswith("diverged:")
    assert np.isfinite(solution.potential).all()


@dataclass(frozen=True)
class Misled:
    """A guess that reads one solve and then proposes something worse."""

    def __call__(self, problem: Problem) -> Start:
        point = problem.evaluate(problem.semiclassical())
        return Start(point.potential + np.linspace(-0.3, 0.3, len(point.potential))[:, None], evaluated=point)


def test_a_guess_worse_than_what_it_read_is_dropped_and_charged() -> None:
    misled, plain = solve(DEVICE, 0.3, 0.5, guess=Misled()), solve(DEVICE, 0.3, 0.5)
    assert misled.converged
    assert misled.negf_solves == plain.negf_solves + 1 == len(misled.history)
    assert any("was not used" in warning for warning in misled.warnings)
    assert np.allclose(misled.potential, plain.potential, atol=1e-6)


def test_a_hopeless_guess_is_given_up_once_and_charged() -> None:
    noise = np.random.default_rng(0).normal(scale=0.5, size=DEVICE.grid.shape)
    solution, plain = solve(DEVICE, 0.3, 0.5, guess=noise), solve(DEVICE, 0.3, 0.5)
    assert solution.converged, solution.status
    assert abs(solution.potential - plain.potential).max() < 2e-3
    assert solution.negf_solves > plain.negf_solves
    assert len(solution.history) == solution.negf_solves


@dataclass(frozen=True)
class Reader:
    """A guess that reads one solve and goes on from it."""

    def __call__(self, problem: Problem) -> Start:
        point = problem.evaluate(problem.semiclassical())
        return Start(point.potential, "nothing better was found", evaluated=point)


def test_a_guess_that_falls_back_on_what_it_read_pays_once() -> None:
    read, plain = solve(DEVICE, 0.3, 0.5, guess=Reader()), solve(DEVICE, 0.3, 0.5)
    assert read.negf_solves == plain.negf_solves == len(read.history)


def test_modes_that_couple_are_warned_of() -> None:
    # Two lobes with a thin bridge: levels of one cross levels of the other, which an asymmetry lets mix.
    lobes = np.ones((9, 4), dtype=bool)
    lobes[4, [0, 3]] = lobes[5:, 3] = False
    crooked = Device(
        width=9.0,
        thickness=4.0,
        cross_section=lobes,
        gate_length=6.0,
        source_length=5.0,
        drain_length=5.0,
        spacing=(0.25, 0.5, 0.5),
    )
    assert any("modes couple" in warning for warning in solve(crooked, 0.3, 0.4, max_solves=2).warnings)
    assert not any("modes couple" in warning for warning in solve(DEVICE, 0.3, 0.4, max_solves=2).warnings)


def test_a_deep_well_is_warned_of() -> None:
    start = solve(DEVICE, 0.3, 0.5).potential
    bump = 0.4 * np.exp(-(((DEVICE.grid.x - 3.0) / 1.0) ** 2))[:, None, None]
    solution = solve(DEVICE, 0.3, 0.5, guess=start + bump, max_solves=1)
    assert any("well" in warning for warning in solution.warnings)


def test_short_contacts_are_warned_of() -> None:
    short = Device(width=4.0, gate_length=8.0, source_length=1.0, drain_length=1.0, spacing=(0.5, 0.5, 0.5))
    assert any("not flat" in warning for warning in solve(short, 0.05, 0.05, max_solves=8).warnings)


def test_a_lattice_too_coarse_for_the_bias_is_warned_of() -> None:
    coarse = Device(width=4.0, gate_length=8.0, spacing=(0.5, 0.5, 0.5))
    assert any("smaller spacing" in warning for warning in solve(coarse, 0.4, 0.7, max_solves=1).warnings)
    assert not any("smaller spacing" in warning for warning in solve(DEVICE, 0.4, 0.7, max_solves=1).warnings)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"gate": float("nan")}, "gate = nan"),
        ({"drain": 5.0}, "drain = 5.0"),
        ({"guess": "hopeful"}, "guess = 'hopeful'.*semiclassical"),
        ({"guess": np.zeros((2, 2, 2))}, r"shape \(2, 2, 2\)"),
        ({"guess": np.full(DEVICE.grid.shape, np.nan)}, "not finite"),
        ({"scheme": "magic"}, "scheme = 'magic'.*anderson"),
        ({"tolerance": 0.0}, "tolerance = 0.0"),
        ({"current_tolerance": -1.0}, "current_tolerance = -1.0"),
        ({"max_solves": 0}, "max_solves = 0"),
        ({"filling": "half"}, "filling = 'half'.*threshold"),
    ],
)
def test_bad_input_is_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        solve(**{"device": DEVICE, "gate": 0.3, "drain": 0.5, **options})


def test_a_solution_of_another_grid_is_refused() -> None:
    other = solve(Device(width=3.0, gate_length=8.0, spacing=(0.5, 0.5, 0.5)), 0.3, 0.05, max_solves=1)
    with pytest.raises(ValueError, match="same spacing"):
        solve(DEVICE, 0.3, 0.05, guess=other)


def test_extrapolation_is_a_line_through_two_biases(references: dict[tuple[float, float], Solution]) -> None:
    first, second = references[0.6, 0.05], references[0.6, 0.6]
    start = ExtrapolatedBias(first, second)(Problem.of(DEVICE, 0.6, 0.875)).potential
    expected = second.potential + 0.5 * (second.potential - first.potential)
    assert np.allclose(start, DEVICE.grid.fold(expected))
    with pytest.raises(ValueError, match="two different biases"):
        ExtrapolatedBias(first, first)(Problem.of(DEVICE, 0.6, 0.7))
    assert np.allclose(PreviousBias(first)(Problem.of(DEVICE, 0.6, 0.1)).potential, DEVICE.grid.fold(first.potential))


def test_sweep_is_labelled_and_follows_the_biases() -> None:
    gates, drains = [0.1, 0.25, 0.4], [0.05, 0.3]
    table = mlnegf.sweep(DEVICE, gates, drains)
    assert dict(table.sizes) == {"gate": 3, "drain": 2}
    assert bool(table["converged"].all())
    assert table["current"].attrs["units"] == "A"
    assert (np.diff(table["current"], axis=0) > 0).all(), "the gate opens"
    assert (np.diff(table["current"], axis=1) > 0).all(), "the drain pulls"
    alone = solve(DEVICE, 0.4, 0.3)
    assert float(table["current"].sel(gate=0.4, drain=0.3)) == pytest.approx(alone.current, rel=1e-2)


def test_extrapolation_saves_solves_on_a_fine_sweep() -> None:
    gates = [0.3, 0.32, 0.34, 0.36, 0.38]
    near, cold = (mlnegf.sweep(DEVICE, gates, [0.3], guess=guess) for guess in ("extrapolated", "semiclassical"))
    assert int(near["charge_evaluations"].sum()) < int(cold["charge_evaluations"].sum())


def test_the_gate_cannot_beat_the_thermal_limit() -> None:
    table = mlnegf.sweep(DEVICE, [0.0, 0.05, 0.1], [0.05])
    slope = 0.05 / np.diff(np.log10(table["current"].values[:, 0]))
    assert (slope > 0.99 * DEVICE.thermal_energy * np.log(10)).all()


def test_known_biases_are_started_from_and_not_solved_again() -> None:
    first = list(continuation(DEVICE, [0.1, 0.2], [0.05]))
    rest = list(continuation(DEVICE, [0.1, 0.2, 0.3], [0.05], known=first))
    assert [(s.gate, s.drain) for s in rest] == [(0.3, 0.05)]


def test_each_bias_starts_from_its_nearest_neighbours() -> None:
    assert neighbours(0, 0) == []
    assert neighbours(1, 0) == [(0, 0)]
    assert neighbours(5, 3) == [(3, 3), (4, 3)]
    assert neighbours(0, 1) == [(0, 0)]
    assert neighbours(1, 4) == [(1, 2), (1, 3)]


@pytest.mark.parametrize("gates", [[[0.1, 0.2]], [], [0.1, float("nan")]])
def test_biases_of_the_wrong_shape_are_refused(gates: Any) -> None:
    with pytest.raises(ValueError, match="gates"):
        mlnegf.sweep(DEVICE, gates, [0.05])


def test_a_failed_step_is_halved() -> None:
    """Three solves do not reach 0.7 V from 0.1 V; with biases inserted on the way they do."""
    plain = list(continuation(DEVICE, [0.1, 0.75], [0.4], max_solves=3))
    assert plain[-1].work.charge_evaluations > 3


def test_coupling_refuses_what_coupled_modes_do_not_know() -> None:
    scattering = Device(**{**DEVICE.to_dict(), "mean_free_path": 5.0})
    solution = solve(scattering, 0.3, 0.2)
    with pytest.raises(ValueError, match=r"coupling: mean_free_path = 5.0"):
        coupling(solution)
    with pytest.raises(ValueError, match=r"solve: modes = 'coupled'"):
        solve(scattering, 0.3, 0.2, modes="coupled")


def test_a_channel_too_long_for_numbers_is_named() -> None:
    long = Device(width=3.0, thickness=2.0, gate_length=250.0, spacing=(0.5, 0.5, 0.5))
    with pytest.raises(ValueError, match=r"gate_length = 250.0 nm at gate = 0.1"):
        solve(long, 0.1, 0.2)
