"""The self-consistent solution of a device: one bias, or a sweep of biases by continuation."""

import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray
from tqdm import tqdm

from mlnegf.acceleration import SCHEMES, Scheme
from mlnegf.bound_states import FILLINGS
from mlnegf.device import Device
from mlnegf.grid import Floats
from mlnegf.guess import ExtrapolatedBias, Guess, PreviousBias, as_guess
from mlnegf.problem import Point, Problem, Work
from mlnegf.units import PER_CUBIC_CENTIMETRE

CERTIFICATE = 1e-4
"""Relative residual of the linear solve that certifies convergence."""


@dataclass(frozen=True)
class Iteration:
    """One NEGF solve of the outer loop.

    Attributes
    ----------
    residual : float
        Largest residual put through the screened Poisson operator, V.
    error_estimate : float
        V; NaN where the exact response was not asked.
    current : float
        A.
    """

    residual: float
    error_estimate: float
    current: float


@dataclass(frozen=True, eq=False)
class Solution:
    """Potential, charge and current of one and the same NEGF solve, and how good they are.

    Attributes
    ----------
    gate, drain : float
        V.
    converged : bool
        Whether both error estimates are under their tolerances.
    status : str
        One word, and one sentence that says why and what to try.
    error_estimate : float
        Estimated largest distance of the potential from the fixed point, V; see `problem.Correction`.
    current_error : float
        Relative change of the current under the same correction.
    work : Work
        What it cost.
    history : tuple of Iteration
        One for each NEGF solve of the outer loop.
    warnings : tuple of str
        What the equations cannot tell: contacts that are not flat, wells below a lead's edge, charge left out, a guess not used.
    potential, charge : ndarray, (nx, ny, nz)
        On `device.grid`: V; electrons per cm³.
    current : float
        Drain current, A.
    """

    device: Device
    gate: float
    drain: float
    converged: bool
    status: str
    error_estimate: float
    current_error: float
    work: Work
    history: tuple[Iteration, ...]
    warnings: tuple[str, ...]
    potential: Floats
    charge: Floats
    current: float

    @property
    def negf_solves(self) -> int:
        """NEGF solves, the first and the certifying one included."""
        return self.work.charge_evaluations


def solve(
    device: Device,
    gate: float,
    drain: float,
    guess: Any = "semiclassical",
    scheme: str | Scheme = "auto",
    tolerance: float = 1e-3,
    current_tolerance: float = 1e-2,
    filling: str = "threshold",
    max_solves: int = 60,
) -> Solution:
    """Solve NEGF and Poisson self-consistently at one bias.

    Parameters
    ----------
    device : Device
    gate, drain : float
        V; the source is at 0.
    guess : str, Solution, ndarray or Guess
        "semiclassical", "flat", a solution or a potential (nx, ny, nz) in V to start from, or any object of `mlnegf.guess`.
    scheme : str or Scheme
        "auto", "gummel", "anderson", "newton", or any object of `mlnegf.acceleration`.
    tolerance : float
        Of the estimated error of the potential, V.
    current_tolerance : float
        Of the estimated relative error of the current.
    filling : str
        How states bound below both contacts are filled, a name in `bound_states.FILLINGS`.
    max_solves : int
        NEGF solves allowed.

    Returns
    -------
    Solution
        Also when it did not converge: ask `converged`, read `status`.

    Raises
    ------
    ValueError
        For an argument out of range, naming it, its value and what to try.
    """
    for name, value in (("gate", gate), ("drain", drain)):
        _require(_finite(value) and abs(value) <= 2.0, name, value, "volts between −2 and 2")
    for name, value in (("tolerance", tolerance), ("current_tolerance", current_tolerance)):
        _require(_finite(value) and value > 0, name, value, "a positive number")
    _require(isinstance(max_solves, int) and max_solves >= 1, "max_solves", max_solves, "a whole number, 1 or more")
    _require(filling in FILLINGS, "filling", filling, f"one of {sorted(FILLINGS)}")
    if isinstance(scheme, str):
        _require(scheme in SCHEMES, "scheme", scheme, f"one of {sorted(SCHEMES)} or a Scheme object")
        scheme = SCHEMES[scheme]
    problem = Problem(device, float(gate), float(drain), filling)
    start = as_guess(guess)(problem)
    notes = [start.note] if start.note else []
    points: deque[Point] = deque(maxlen=max(1, scheme.memory))
    history: list[Iteration] = []
    potential, threshold = start.potential, 2 * tolerance
    if start.seen is not None:
        history.append(_iteration(start.seen))
    while True:
        point = problem.evaluate(potential)
        if start.seen is not None and not points and point.distance > start.seen.distance:
            notes.append(
                f"the guess left a residual of {point.distance:.1e} V, more than the {start.seen.distance:.1e} V of the start it "
                "read, and was not used"
            )
            history.append(_iteration(point))
            point = start.seen
        points.append(point)
        known = point.corrections[-1].error if point.corrections else math.inf
        converged = False
        if min(point.distance, known) <= threshold:
            correction = point.correct(CERTIFICATE)
            converged = correction.error <= tolerance and correction.current_error <= current_tolerance
            # A certificate that failed is not asked again before the residual has fallen as far as it must.
            excess = max(correction.error / tolerance, correction.current_error / current_tolerance)
            threshold = point.distance * min(0.5, 0.7 / excess)
        over = problem.work.charge_evaluations >= max_solves
        if not converged and not over:
            potential = scheme.propose(list(points))
        history.append(_iteration(point))
        if converged or over or not np.isfinite(potential).all():
            return _solution(point, converged, history, notes, over)


def _iteration(point: Point) -> Iteration:
    error = point.corrections[-1].error if point.corrections else math.nan
    return Iteration(point.distance, error, point.charge.current)


def _solution(point: Point, converged: bool, history: list[Iteration], notes: list[str], over: bool) -> Solution:
    problem = point.problem
    correction = point.correct(CERTIFICATE)
    solves = problem.work.charge_evaluations
    found = f"estimated errors {correction.error * 1e3:.2g} mV and {correction.current_error:.1%} of the current"
    if converged:
        status = f"converged: {found} after {solves} NEGF solves."
    elif over:
        status = f"unconverged: {found} after all {solves} NEGF solves; try a nearer guess, or scheme='auto'."
    else:
        status = f"diverged: the potential is no longer finite after {solves} NEGF solves; try scheme='auto'."
    problem.work.seconds = time.perf_counter() - problem.started
    unfold = problem.device.grid.unfold
    return Solution(
        device=problem.device,
        gate=problem.gate,
        drain=problem.drain,
        converged=converged,
        status=status,
        error_estimate=correction.error,
        current_error=correction.current_error,
        work=problem.work,
        history=tuple(history),
        warnings=(*notes, *_warnings(point)),
        potential=unfold(point.potential),
        charge=unfold(point.charge.density) / PER_CUBIC_CENTIMETRE,
        current=point.charge.current,
    )


def _warnings(point: Point, flat: float = 0.01, deep: float = 0.05) -> Iterator[str]:
    """Marks of the branch that equilibrium does not lead to, and of charge that was lost; limits in eV."""
    charge, device = point.charge, point.problem.device
    lowest = charge.chains.onsite.numpy()[charge.chains.onsite[:, 0].argmin()]
    away = max(1, round(1.0 / device.grid.dx))
    ends = (
        ("source", lowest[: round(device.source_length / device.grid.dx)]),
        ("drain", lowest[::-1][: round(device.drain_length / device.grid.dx)]),
    )
    for name, energy in ends:
        slope, depth = abs(energy[0] - energy[min(away, len(energy) - 1)]), energy[0] - energy.min()
        if slope > flat:
            yield f"the {name} is not flat: its lowest subband moves {slope * 1e3:.0f} meV in 1 nm; lengthen {name}_length"
        if depth > deep:
            yield (
                f"a well {depth * 1e3:.0f} meV below the lead's edge lies in the {name}: this may not be the solution that "
                "equilibrium leads to; come from a lower bias"
            )
    if charge.injected.unresolved > 0:
        yield f"the energy integral missed its tolerance {charge.injected.unresolved:.1g} times over"
    if charge.dropped > 10 * charge.negf.left_out:
        yield f"subbands left out may hold {charge.dropped:.1e} of the charge"


def continuation(
    device: Device, gates: Sequence[float], drains: Sequence[float], guess: str = "extrapolated", **options: Any
) -> Iterator[Solution]:
    """Solve a grid of biases, each from solved ones: for every drain voltage all gate voltages, in the order given.

    The first bias starts from the semiclassical guess and the first two gate voltages from lower drain voltages; any
    other from the last two gate voltages. When one fails, the step is halved, up to three times. Ascending from low bias,
    this follows the solution that is connected to equilibrium.

    Parameters
    ----------
    guess : str
        "extrapolated", or "previous" for the last solution as it is.
    **options
        For `solve`.

    Yields
    ------
    Solution
        For each bias; `work` includes the biases inserted on the way.
    """
    solved: dict[tuple[int, int], Solution] = {}
    for column, drain in enumerate(drains):
        for row, gate in enumerate(gates):
            line = [solved[key] for key in ((row - 2, column), (row - 1, column)) if key in solved]
            if len(line) < 2 and column:
                line = [solved[key] for key in ((row, column - 2), (row, column - 1)) if key in solved]
            solution = _reach(device, gate, drain, line[-1:] if guess == "previous" else line, options, halvings=3)
            solved[row, column] = solution
            yield solution


def _reach(
    device: Device, gate: float, drain: float, line: list[Solution], options: dict[str, Any], halvings: int
) -> Solution:
    guess: str | Guess = "semiclassical"
    if line:
        guess = ExtrapolatedBias(*line) if len(line) == 2 else PreviousBias(line[0])
    solution = solve(device, gate, drain, guess=guess, **options)
    if solution.converged or halvings == 0 or not line:
        return solution
    middle = (gate + line[-1].gate) / 2, (drain + line[-1].drain) / 2
    half = _reach(device, *middle, line, options, halvings - 1)
    final = _reach(device, gate, drain, [line[-1], half], options, halvings - 1)
    for name, value in vars(final.work).items():
        setattr(final.work, name, value + getattr(solution.work, name) + getattr(half.work, name))
    return final


def sweep(
    device: Device,
    gates: Sequence[float],
    drains: Sequence[float],
    guess: Any = "extrapolated",
    progress: bool = False,
    **options: Any,
) -> xarray.Dataset:
    """Solve a device on a grid of biases.

    Parameters
    ----------
    gates, drains : sequence of float
        V.
    guess : str, ndarray or Guess
        "extrapolated" or "previous" follow the grid by `continuation`; anything else starts every bias afresh, see `solve`.
    progress : bool
        Whether to draw a progress bar.
    **options
        For `solve`.

    Returns
    -------
    xarray.Dataset
        Over gate and drain: current (A), converged, status, error_estimate (V), current_error, and the four counts of `Work`.
    """
    biases = [_voltages("gates", gates), _voltages("drains", drains)]
    solutions: Iterator[Solution]
    if isinstance(guess, str) and guess in ("extrapolated", "previous"):
        solutions = continuation(device, *biases, guess, **options)
    else:
        start = as_guess(guess)
        solutions = (solve(device, gate, drain, start, **options) for drain in biases[1] for gate in biases[0])
    shape = len(biases[1]), len(biases[0])
    bar = tqdm(solutions, total=shape[0] * shape[1], disable=not progress, unit="bias")
    return tabulate(list(bar), *biases)


def tabulate(solutions: Sequence[Solution], gates: Sequence[float], drains: Sequence[float]) -> xarray.Dataset:
    """Lay solutions, drain by drain, out as a labelled dataset."""
    columns: dict[str, list[Any]] = {
        name: [getattr(s, name) for s in solutions]
        for name in ("current", "converged", "status", "error_estimate", "current_error")
    }
    columns |= {name: [getattr(s.work, name) for s in solutions] for name in vars(Work())}
    data = {name: (("drain", "gate"), np.reshape(values, (len(drains), len(gates)))) for name, values in columns.items()}
    table = xarray.Dataset(data, coords={"gate": list(gates), "drain": list(drains)})
    units = {"current": "A", "error_estimate": "V", "gate": "V", "drain": "V", "seconds": "s"}
    for name, unit in units.items():
        table[name].attrs["units"] = unit
    return table.transpose("gate", "drain")


def _voltages(name: str, values: Sequence[float]) -> list[float]:
    array = np.asarray(values, dtype=np.float64)
    _require(
        array.ndim == 1 and array.size > 0 and bool(np.isfinite(array).all()),
        name,
        f"array of shape {array.shape}",
        "a list of finite voltages, one dimension",
        caller="sweep",
    )
    return [float(value) for value in array]


def _finite(value: object) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and math.isfinite(value)


def _require(condition: bool, name: str, value: object, expected: str, caller: str = "solve") -> None:
    if not condition:
        raise ValueError(f"{caller}: {name} = {value!r}, expected {expected}.")
