"""Derivatives of whole solutions against central differences of whole solutions."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

import mlnegf
from mlnegf.nanosheet.charge import Negf
from mlnegf.nanosheet.poisson import Poisson
from mlnegf.nanosheet.subbands import TransverseBasis, empty_section
from mlnegf.scf.equations import Equations
from mlnegf.scf.inputs import INPUTS, Case, Field
from mlnegf.scf.linearisation import OUTPUTS, Linearisation, Outputs
from mlnegf.scf.problem import Problem
from mlnegf.scf.sensitivity import sensitivity
from mlnegf.units import PER_CUBIC_CENTIMETRE

SHORT = {"gate_length": 4.0, "source_length": 3.0, "drain_length": 3.0, "spacing": (0.25, 0.5, 0.5)}
CASES = {
    # A square section has degenerate subbands, here those of two valleys and two mirror symmetries.
    "square": Case(mlnegf.Device(width=3.0, thickness=3.0, **SHORT), 0.4, 0.3),
    "bound states": Case(mlnegf.Device(width=4.0, thickness=3.0, **SHORT | {"gate_length": 6.0}), 0.9, 0.02),
    "scattering": Case(mlnegf.Device(width=4.0, thickness=3.0, mean_free_path=5.0, **SHORT), 0.3, 0.2),
    "p-type": Case(mlnegf.Device(width=3.0, thickness=3.0, polarity="p", work_function=5.0, **SHORT), -0.4, -0.3),
    "T, hafnia, penetration": Case(
        mlnegf.Device(
            width=3.0,
            thickness=2.5,
            cross_section="T",
            penetration=True,
            temperature=200.0,
            regions=(mlnegf.Region("hafnium dioxide", x=(3.0, 7.0)),),
            **SHORT,
        ),
        0.4,
        0.3,
    ),
}
STEPS = {"gate": 0.1, "drain": 0.1, "work_function": 0.1, "temperature": 30.0, "doping": 3e18, "permittivity": 1.0}
ROUGH = {"T, hafnia, penetration": ("gate", "mass_y", "permittivity"), "p-type": ("gate", "drain", "mass_x", "doping")}
"""Of the other cases every input is compared, of these some."""


def solved(case: Case, name: str, start: np.ndarray | None = None) -> Linearisation:
    """The self-consistent solution to the last digits, in the basis of the undisturbed device."""
    device, sizes = case.device, sizes_of(name)
    negf = Negf(device, TransverseBasis.of(empty_section(device), sizes), tolerance=1e-12, left_out=1e-13)
    problem = Problem.of(Equations(negf, Poisson.of(device)), case.gate, case.drain)
    if start is None:
        start = problem.folded(mlnegf.solve(device, case.gate, case.drain, tolerance=1e-5).potential)
    for _ in range(12):
        point = problem.evaluate(start)
        step = point.correct(1e-11)
        if step.size < 1e-13:
            break
        start = start + step.step
    return Linearisation(point, energies(name))


@cache
def sizes_of(name: str) -> tuple[int, ...]:
    return Equations.of(CASES[name].device).negf.basis.sizes


@cache
def energies(name: str) -> torch.Tensor:
    """Three, as far from all edges of subbands in the leads as can be."""
    case, solution = CASES[name], solution_of(name)
    problem = Problem.of(case.device, case.gate, case.drain)
    edges = problem.evaluate(problem.folded(solution.potential)).charge.lines.chains.onsite[:, [0, -1]].reshape(-1)
    edges = edges[edges < 0.3].sort().values
    widest = (edges[1:] - edges[:-1]).argsort(descending=True)[:3]
    return (edges[widest] + edges[widest + 1]) / 2


@cache
def at_the_case(name: str) -> Linearisation:
    return solved(CASES[name], name)


def direction(case: Case, name: str) -> np.ndarray:
    """A change of an input of sensible size; of a field at random, with the mirror symmetry of the device."""
    value, grid = INPUTS[name].value(case), case.device.grid
    if issubclass(INPUTS[name], Field):
        noise = np.random.default_rng(0).standard_normal(value.shape)
        return STEPS[name] * grid.unfold(grid.fold(noise)) * (grid.semiconductor if name == "doping" else 1.0)
    return STEPS[name] * np.ones(()) if value.ndim == 0 else value * np.linspace(1.0, -0.5, len(value))


def weights(linear: Linearisation) -> Outputs:
    random, outputs = np.random.default_rng(1), linear.outputs()
    return Outputs(
        0.3 / outputs.current,
        random.standard_normal(outputs.charge.shape) * 1e-20,
        random.standard_normal(outputs.potential.shape),
        np.array([0.3, 1.0, -0.5]),
    )


def pairs() -> list[tuple[str, str]]:
    return [(name, to) for name in CASES for to in ROUGH.get(name, INPUTS)]


@pytest.mark.parametrize(("name", "to"), pairs())
def test_every_output_follows_every_input(name: str, to: str) -> None:
    case, linear = CASES[name], at_the_case(name)
    change = direction(case, to)
    found, weighted = linear.push(to, change), weights(linear)
    pulled = float((linear.pull(weighted, to)[to] * change).sum())
    errors: dict[str, list[float]] = {of: [] for of in (*OUTPUTS, "pulled")}
    value, potential = INPUTS[to].value(case), linear.point.potential
    tangent = case.device.polarity_sign * case.device.grid.fold(found.potential)
    for step in (1e-3, 2e-4, 4e-5):
        sides = [
            solved(
                INPUTS[to].put(case, value + sign * step * change), name, potential + sign * step * tangent
            ).outputs()
            for sign in (1, -1)
        ]
        exact = {of: (getattr(sides[0], of) - getattr(sides[1], of)) / (2 * step) for of in OUTPUTS}
        for of, difference in exact.items():
            errors[of].append(float(np.abs(getattr(found, of) - difference).max() / np.abs(difference).max()))
        total = sum(float(np.sum(getattr(weighted, of) * difference)) for of, difference in exact.items())
        errors["pulled"].append(abs(pulled / total - 1))
    best = {of: min(found) for of, found in errors.items()}
    assert max(best.values()) < 1e-6, best


def test_the_cases_are_what_they_say() -> None:
    assert len(at_the_case("bound states").point.charge.lines.bound.mode) > 0
    assert at_the_case("scattering").point.charge.lines.chains.scattering is not None
    gap = at_the_case("square").point.charge.lines.chains.onsite.sort(0).values.diff(dim=0).abs().amin()
    assert float(gap) < 1e-9


def test_one_cell_is_one_cell() -> None:
    """A single dopant breaks the mirror symmetry, and with it the folding; the derivative knows nothing of that."""
    case = CASES["square"]
    found = at_the_case("square").pull(Outputs(**vars(at_the_case("square").nothing()) | {"current": 1.0}), "doping")
    grid, step = case.device.grid, 1e17
    cell = (5, 4, 3)
    currents = []
    for sign in (1, -1):
        profile = grid.donors / PER_CUBIC_CENTIMETRE
        profile[cell] += sign * step
        device = replace(case.device, doping_profile=profile)
        assert device.grid.mirrored == (False, False)
        equations = Equations.of(device)
        equations = replace(equations, negf=replace(equations.negf, tolerance=1e-10))
        solution = mlnegf.solve(equations, case.gate, case.drain, tolerance=1e-7)
        currents.append(solution.current)
    exact = (currents[0] - currents[1]) / (2 * step)
    assert found["doping"][cell] == pytest.approx(exact, rel=1e-4)


@pytest.mark.parametrize("to", INPUTS)
@pytest.mark.parametrize("of", OUTPUTS)
def test_sensitivity_is_labelled_and_says_its_unit(of: str, to: str) -> None:
    case, kind = CASES["square"], INPUTS[to]
    solution = solution_of("square")
    asked = {"energies": energies("square").numpy()} if of == "transmission" else {}
    if of in ("charge", "potential") and kind.dimensions == ("x", "y", "z"):
        with pytest.raises(ValueError, match="of = "):
            sensitivity(solution, of, to)
        return
    found = sensitivity(solution, of, to, **asked)
    sizes = {"valley": 3, "energy": 3, **dict(zip("xyz", case.device.grid.shape, strict=True))}
    own = {"current": (), "transmission": ("energy",)}.get(of, ("x", "y", "z"))
    assert found.dims == own + kind.dimensions
    assert found.shape == tuple(sizes[name] for name in found.dims)
    assert found.attrs["units"] == {"1": OUTPUTS[of]}.get(kind.unit, f"{OUTPUTS[of]}/({kind.unit})")
    assert np.isfinite(found.values).all()


@cache
def solution_of(name: str, guess: str = "semiclassical") -> mlnegf.Solution:
    case = CASES[name]
    return mlnegf.solve(case.device, case.gate, case.drain, guess=guess, tolerance=1e-6)


def test_sensitivity_is_that_of_the_solutions_themselves() -> None:
    case, step = CASES["square"], 1e-3
    above, below = (
        mlnegf.solve(case.device, case.gate + sign * step, case.drain, tolerance=1e-7).current for sign in (1, -1)
    )
    found = sensitivity(solution_of("square"))
    assert float(found) == pytest.approx((above - below) / (2 * step), rel=1e-4)


def test_a_work_function_is_a_gate_voltage() -> None:
    solution = solution_of("square")
    assert float(sensitivity(solution, to="work_function")) == pytest.approx(-float(sensitivity(solution)), rel=1e-9)


def test_pull_is_the_transpose_of_push() -> None:
    """Two ways to one number: the doping of all cells at once, pulled cell by cell or pushed as a field."""
    linear = at_the_case("square")
    change = direction(CASES["square"], "doping")
    pulled = linear.pull(Outputs(**vars(linear.nothing()) | {"current": 1.0}), "doping")["doping"]
    assert float((pulled * change).sum()) == pytest.approx(linear.push("doping", change).current, rel=1e-8)


WRONG = {
    "a potential": ({"solution": np.zeros(3)}, "solution = "),
    "no output": ({"of": "voltage"}, "of = 'voltage'"),
    "no input": ({"to": "gate_length"}, "to = 'gate_length'"),
    "a list of inputs": ({"to": ["gate"]}, "to = "),
    "energies of a current": ({"energies": [0.1]}, "energies = "),
    "no energies": ({"of": "transmission"}, "energies = None"),
    "energies that are none": ({"of": "transmission", "energies": "all"}, "energies = 'all'"),
    "no tolerance": ({"tolerance": 0.0}, "tolerance = 0.0"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_has_no_derivative_is_refused_by_name(wrong: str) -> None:
    arguments, words = WRONG[wrong]
    with pytest.raises(ValueError, match=words):
        sensitivity(**{"solution": solution_of("square")} | arguments)


def test_coupled_modes_and_what_did_not_converge_are_refused() -> None:
    case = CASES["square"]
    with pytest.raises(ValueError, match="modes = 'coupled'"):
        sensitivity(replace(solution_of("square"), modes="coupled"))
    with pytest.raises(ValueError, match="converged"):
        sensitivity(mlnegf.solve(case.device, case.gate, case.drain, max_solves=1, guess="flat"))


def test_a_learned_start_leads_to_the_same_derivatives() -> None:
    device = mlnegf.Device(gate_length=8.0, width=4.0, thickness=3.0, spacing=(0.5, 0.5, 0.5))
    found = []
    for guess in ("learned", "semiclassical"):
        solution = mlnegf.solve(device, 0.45, 0.4, guess=guess, tolerance=1e-5)
        assert solution.converged
        assert solution.guess_used
        found.append(sensitivity(solution, to="doping").values)
    assert abs(found[0] - found[1]).max() < 2e-3 * abs(found[1]).max()
