"""The outer loop: one fixed point whatever the way, certificates against the truth, and honest failures."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from mlnegf import LearnedGuess
from mlnegf._common import Floats
from mlnegf.nanosheet.charge import Negf
from mlnegf.nanosheet.device import Device
from mlnegf.scf.coupling import coupling
from mlnegf.scf.equations import Equations
from mlnegf.scf.guesses import GUESSES, ExtrapolatedBias, PreviousBias, Start
from mlnegf.scf.loop import Limits, Outcome, iterate
from mlnegf.scf.problem import Problem
from mlnegf.scf.schemes import SCHEMES, Automatic, Newton, ShiftedAnderson, ShiftedGummel
from mlnegf.scf.solve import Solution, solve

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
    assert true <= solution.error_estimate + 1e-6  # below a microvolt the energy integrals decide
    assert abs(solution.current / exact.current - 1) <= 1.5 * solution.current_error + 1e-4


def test_every_scheme_and_guess_finds_the_same_solution(references: dict[tuple[float, float], Solution]) -> None:
    exact = references[0.3, 0.5]
    guesses = ["flat", "semiclassical", exact.potential + 0.01, references[0.05, 0.05]]
    for scheme in SCHEMES:
        for guess in guesses[1:] if scheme in ("newton", "frozen") else guesses:
            solution = solve(DEVICE, 0.3, 0.5, guess=guess, scheme=scheme)
            assert solution.converged, (scheme, solution.status)
            assert abs(solution.potential - exact.potential).max() < 1e-3


def test_newton_is_quadratic(references: dict[tuple[float, float], Solution]) -> None:
    solution = solve(DEVICE, 0.3, 0.5, scheme=Newton(tolerance=1e-6), tolerance=1e-7)
    residuals = np.array([step.residual for step in solution.history])
    assert len(residuals) <= 6
    assert residuals[-1] < 1e-3 * residuals[-2] ** 0.9, residuals


def test_potential_charge_and_current_belong_to_one_solve() -> None:
    solution = solve(DEVICE, 0.3, 0.5, corrected=False)
    assert not solution.corrected
    again = Problem.of(DEVICE, 0.3, 0.5).evaluate(DEVICE.grid.fold(solution.potential)).charge
    assert np.allclose(DEVICE.grid.unfold(again.density) / 1e-21, solution.charge, rtol=1e-10)
    assert again.current == pytest.approx(solution.current, rel=1e-10)
    assert solution.charge.shape == solution.potential.shape == DEVICE.grid.shape


def test_a_corrected_answer_is_the_first_order_about_its_last_solve(
    references: dict[tuple[float, float], Solution],
) -> None:
    start, problem = references[0.3, 0.5].potential + 0.003, Problem.of(DEVICE, 0.3, 0.5)
    solution = solve(DEVICE, 0.3, 0.5, guess=start)
    found = iterate(problem, Start(problem.folded(start)), Automatic(), Limits(1e-3, 1e-2, 50))
    point, step = found.point, found.point.corrections[-1].step
    assert solution.corrected
    assert solution.negf_solves == 1
    assert abs(step).max() > 2e-3, "more than the tolerance"
    assert np.array_equal(problem.unfolded(point.potential + step), solution.potential)
    density, current = point.charge.respond(step)
    charge = np.maximum(point.charge.density + density, 0.0)
    assert np.allclose(DEVICE.grid.unfold(charge) / 1e-21, solution.charge, rtol=1e-9)
    assert point.charge.current + current == pytest.approx(solution.current, rel=1e-9)


def test_a_correction_saves_a_solve_and_is_of_second_order(references: dict[tuple[float, float], Solution]) -> None:
    saved = []
    for bias, exact in references.items():
        plain, corrected = (solve(DEVICE, *bias, exact.potential + 0.002, corrected=way) for way in (False, True))
        saved.append(plain.negf_solves - corrected.negf_solves)
        for found in (plain, corrected):
            assert abs(found.potential - exact.potential).max() <= found.error_estimate < 1e-3
            assert found.current == pytest.approx(exact.current, rel=0.01)
    assert min(saved) >= 0
    assert np.median(saved) == 1


def test_what_did_not_converge_is_a_point_of_its_own() -> None:
    found = solve(DEVICE, 0.3, 0.5, max_solves=1, tolerance=1e-6)
    assert not found.converged
    assert not found.corrected
    point = Problem.of(DEVICE, 0.3, 0.5, tolerance=1e-6).evaluate(DEVICE.grid.fold(found.potential))
    assert point.charge.current == pytest.approx(found.current, rel=1e-10)


@pytest.mark.parametrize("push", [1e-3, 3e-3])
@pytest.mark.parametrize("bias", BIASES)
def test_the_second_order_says_what_the_first_leaves(
    bias: tuple[float, float], push: float, references: dict[tuple[float, float], Solution]
) -> None:
    problem, exact = Problem.of(DEVICE, *bias), DEVICE.grid.fold(references[bias].potential)
    x = DEVICE.grid.x[:, None]
    point = problem.evaluate(exact + push * np.sin(x / 2.0))
    step = point.correct(1e-8).step
    left = exact - point.potential - step
    assert point.second_order is not None
    assert abs(left - point.second_order.step).max() < 0.5 * abs(left).max() + 2e-6
    charge = point.charge
    moved = charge.current + charge.respond(step)[1] + point.second_order.current
    left_of_current = references[bias].current - charge.current - charge.respond(step)[1]
    assert abs(moved - references[bias].current) < 0.5 * abs(left_of_current) + 1e-4 * charge.current


def test_a_step_too_long_for_an_expansion_has_no_second_order() -> None:
    problem = Problem.of(DEVICE, 0.5, 0.5)
    point = problem.evaluate(problem.semiclassical() - 0.1)
    assert point.correct(1e-2).size > point.thermal_voltage
    assert point.second_order is None
    assert point.errors(corrected=True).potential > point.correct(1e-2).size


def test_work_is_counted() -> None:
    problem = Problem.of(DEVICE, 0.3, 0.5)
    point = problem.evaluate(problem.semiclassical())
    before = problem.work.poisson_solves
    point.correct(1e-2)
    assert problem.work.charge_evaluations == 1
    # One multigrid cycle follows each product, and one the residual that they start from.
    assert problem.work.linearised_applications == problem.work.poisson_solves - before - 1 > 0
    assert problem.work.chain_passes == 0
    point.respond_frozen(np.zeros_like(point.potential))
    assert problem.work.chain_passes == 1
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
    assert plain.guess_used
    assert not misled.guess_used
    assert np.allclose(misled.potential, plain.potential, atol=1e-6)


def test_a_hopeless_guess_is_given_up_once_and_charged() -> None:
    noise = np.random.default_rng(0).normal(scale=1.5, size=DEVICE.grid.shape).clip(-3, 3)
    solution, plain = solve(DEVICE, 0.3, 0.5, guess=noise, scheme=Automatic(patience=3)), solve(DEVICE, 0.3, 0.5)
    assert solution.converged, solution.status
    assert abs(solution.potential - plain.potential).max() < 2e-3
    assert solution.negf_solves > plain.negf_solves
    assert len(solution.history) == solution.negf_solves
    assert not solution.guess_used


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
        ({"max_solves": True}, "max_solves = True"),
        ({"device": 0}, r"solve: device = 0, expected an mlnegf.Device"),
        ({"gate": True}, "gate = True"),
        ({"gate": np.array([0.3])}, r"gate = array\(\[0.3\]\)"),
        ({"drain": None}, "drain = None"),
        ({"tolerance": True}, "tolerance = True"),
        ({"scheme": None}, "scheme = None.*anderson"),
        ({"scheme": Newton}, "scheme = <class.*Scheme object"),
        ({"guess": None}, "guess = None"),
        ({"guess": PreviousBias}, "guess = <class"),
        ({"guess": lambda problem: 3}, "guess = <function.*returns a Start"),
        ({"guess": lambda problem: Start(np.zeros(3))}, "guess = <function.*returns a Start"),
        ({"modes": "coupled", "filling": "source"}, "filling = 'source', expected 'threshold'"),
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


@pytest.mark.parametrize("shift", [-1e308, -50.0, 10.0, 300.0])
@pytest.mark.parametrize("polarity", ["n", "p"])
def test_a_start_in_the_wrong_unit_is_refused(shift: float, polarity: str) -> None:
    device = replace(DEVICE, polarity=polarity)
    start = np.full(device.grid.shape, shift)
    with pytest.raises(ValueError, match=r"solve: guess reaches from .* to .* V, expected no more than 3 V beyond"):
        solve(device, 0.3, 0.5, guess=start)


def test_the_bounds_of_a_start_are_those_of_gate_source_and_drain() -> None:
    problem = Problem.of(replace(DEVICE, work_function=4.55), 1.0, 2.0)
    gate, source = problem.gate_potential, problem.neutral_potential()
    assert gate == pytest.approx(0.5)
    for edge, inside in ((min(gate, source) - 2.99, True), (min(gate, source) - 3.01, False)):
        assert problem.holds(np.full(3, edge)) == inside
    for edge, inside in ((source + 2.0 + 2.99, True), (source + 2.0 + 3.01, False), (np.nan, False)):
        assert problem.holds(np.full(3, edge)) == inside


def test_a_guess_out_of_bounds_stands_aside_for_what_it_read() -> None:
    def wild(problem: Problem) -> Start:
        point = problem.evaluate(problem.semiclassical())
        return Start(point.potential + 20.0, evaluated=point)

    found, plain = solve(DEVICE, 0.3, 0.5, guess=wild), solve(DEVICE, 0.3, 0.5)
    assert found.converged
    assert not found.guess_used
    assert any("was not used" in warning for warning in found.warnings)
    assert found.negf_solves == plain.negf_solves


def test_a_line_that_leaves_all_bounds_is_not_used(references: dict[tuple[float, float], Solution]) -> None:
    second = references[0.6, 0.05]
    first = replace(second, gate=0.5999, potential=second.potential - 0.1)
    start = ExtrapolatedBias(first, second)(Problem.of(DEVICE, 0.7, 0.05))
    assert not start.used
    assert np.array_equal(start.potential, DEVICE.grid.fold(second.potential))


def test_numbers_may_come_from_numpy(references: dict[tuple[float, float], Solution]) -> None:
    found = solve(DEVICE, np.array(0.3), np.float32(0.5), tolerance=np.array(1e-3), max_solves=np.int64(50))  # type: ignore[arg-type]
    assert found.converged
    assert type(found.gate) is type(found.drain) is float
    assert found.current == pytest.approx(references[0.3, 0.5].current, rel=0.01)


def test_the_sign_of_a_p_type_device_is_turned_at_one_place() -> None:
    holes = replace(DEVICE, polarity="p")
    found = solve(holes, -0.3, -0.5, corrected=False)
    problem = Problem.of(holes, found.gate, found.drain)
    assert (problem.gate, problem.drain) == (0.3, 0.5)
    assert problem.bias == (found.gate, found.drain) == (-0.3, -0.5)
    point = problem.evaluate(problem.folded(found.potential))
    point.correct(1e-2)
    assert point.errors(corrected=False).potential == pytest.approx(found.error_estimate, rel=1e-3)
    assert problem.own(point.charge.current) == pytest.approx(found.current, rel=1e-10)
    assert np.allclose(problem.unfolded(point.potential), found.potential)
    assert found.current < 0, "out of the drain"
    assert found.history[-1].current == found.current
    # Continuing a line over the device's own voltages.
    before = solve(holes, -0.25, -0.5)
    line = ExtrapolatedBias(before, found)(Problem.of(holes, -0.35, -0.5)).potential
    assert np.allclose(problem.unfolded(line), 2 * found.potential - before.potential)


def test_a_copied_problem_shares_equations_work_and_clock() -> None:
    problem = Problem.of(DEVICE, 0.3, 0.5)
    for copy in (replace(problem, gate=0.2), problem.at(400.0), problem.filled("threshold")):
        assert copy.work is problem.work
        assert copy.started == problem.started
        assert copy.poisson is problem.poisson
    assert replace(problem, gate=0.2).equations is problem.equations
    assert problem.at(400.0).device == DEVICE.at(400.0)
    assert problem.at(400.0).negf.contacts(0.1).kT == DEVICE.at(400.0).thermal_energy
    assert problem.filled("threshold").negf.filling == "threshold"


def test_equations_made_before_serve_as_their_device() -> None:
    equations = Equations.of(DEVICE, "threshold")
    one, other = solve(equations, 0.3, 0.5), solve(DEVICE, 0.3, 0.5, filling="threshold")
    assert np.array_equal(one.potential, other.potential)
    assert one.filling == other.filling == "threshold"
    with pytest.raises(ValueError, match=r"filling = 'source', expected 'threshold', that of the equations"):
        solve(equations, 0.3, 0.5, filling="source")
    with pytest.raises(ValueError, match=r"modes = 'coupled', expected 'uncoupled'"):
        solve(equations, 0.3, 0.5, modes="coupled")


def test_without_a_rule_coupled_modes_use_the_one_they_know(device: Device) -> None:
    assert Equations.of(device, modes="coupled").filling == "threshold"
    assert solve(device, 0.3, 0.2, max_solves=1).filling == Equations.of(device).filling == Negf.filling


def test_an_outcome_carries_its_advice(references: dict[tuple[float, float], Solution]) -> None:
    assert list(Outcome.__members__) == ["converged", "unconverged", "stalled", "diverged", "coarse", "failed"]
    assert len(set(Outcome)) == 6, "two with the same advice would be one"
    for outcome in set(Outcome) - {Outcome.converged, Outcome.failed}:
        found = replace(references[0.3, 0.5], outcome=outcome)
        assert found.status.startswith(f"{outcome.name}: estimated errors ")
        assert found.status.endswith(f"; {outcome.value}.")
        assert not found.converged


def test_guesses_and_schemes_are_known_by_the_names_of_their_classes(device: Device) -> None:
    assert set(SCHEMES) >= {"auto", "gummel", "gummel-shift", "anderson", "anderson-shift", "newton", "frozen"}
    assert {SCHEMES[name]().name == name for name in SCHEMES} == {True}
    assert SCHEMES["gummel-shift"]() == ShiftedGummel("shifted")
    assert ShiftedGummel().predictor == ShiftedAnderson().predictor == "shifted"
    assert {"flat", "semiclassical", "learned"} <= set(GUESSES)
    assert GUESSES["learned"].default() is LearnedGuess.default(), "the shipped weights are loaded once"
    assert solve(device, 0.3, 0.2, guess="learned").converged


def test_a_barrier_above_the_lattice_s_band_is_not_certified() -> None:
    """The current over it is 2.3e-29 A; a lattice whose band ends below the barrier's top has 1e-20 of that."""
    device = Device(
        polarity="p",
        gate_length=20.0,
        width=3.0,
        thickness=3.0,
        doping=5e19,
        source_length=12.0,
        drain_length=12.0,
        spacing=(0.5, 0.5, 0.5),
    )
    coarse = solve(device, 1.2, -0.1)
    assert coarse.outcome is Outcome.coarse
    assert coarse.current_error > 1e19
    assert any("spacing[0] = 0.23 nm cures it" in warning for warning in coarse.warnings)
    cured = solve(replace(device, spacing=(0.23, 0.5, 0.5)), 1.2, -0.1)
    assert cured.converged
    assert cured.current == pytest.approx(-2.31e-29, rel=0.05)
    assert not any("cures it" in warning for warning in cured.warnings)


def test_python_threads_solve_to_the_same_bits(device: Device) -> None:
    """Several at once, with the caller's threads as they were: the numbers of one alone."""
    biases = [(0.1, 0.1), (0.3, 0.2), (0.4, 0.3), (0.5, 0.4)]
    alone = [solve(device, *bias) for bias in biases]
    before = [library["num_threads"] for library in threadpool_info()]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda bias: solve(device, *bias), biases))
    assert [library["num_threads"] for library in threadpool_info()] == before
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one.potential, other.potential)
        assert (one.current, one.error_estimate) == (other.current, other.error_estimate)
