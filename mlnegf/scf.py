"""The self-consistent solution of a device at one bias."""

import math
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mlnegf.acceleration import SCHEMES, Scheme
from mlnegf.bound_states import FILLINGS
from mlnegf.device import Device
from mlnegf.grid import Floats
from mlnegf.guess import Semiclassical, as_guess
from mlnegf.poisson import PoissonError
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
        What the equations cannot tell: contacts that are not flat, wells below a lead's edge, charge left out, a guess
        not used.
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
        "semiclassical", "flat", a solution or a potential (nx, ny, nz) in V to start from, or any object of
        `mlnegf.guess`.
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
        require(is_finite(value) and abs(value) <= 2.0, name, value, "volts between −2 and 2")
    for name, value in (("tolerance", tolerance), ("current_tolerance", current_tolerance)):
        require(is_finite(value) and value > 0, name, value, "a positive number")
    require(
        isinstance(max_solves, (int, np.integer)) and max_solves >= 1,
        "max_solves",
        max_solves,
        "a whole number, 1 or more",
    )
    require(filling in FILLINGS, "filling", filling, f"one of {sorted(FILLINGS)}")
    if isinstance(scheme, str):
        require(scheme in SCHEMES, "scheme", scheme, f"one of {sorted(SCHEMES)} or a Scheme object")
        scheme = SCHEMES[scheme]
    problem = Problem(device, float(gate), float(drain), filling)
    guess = as_guess(guess)
    start = guess(problem)
    notes = [start.note] if start.note else []
    points: deque[Point] = deque(maxlen=max(1, scheme.memory))
    history: list[Iteration] = []
    potential, threshold = start.potential, 2 * tolerance
    least, spent, patience = math.inf, 0, None if isinstance(guess, Semiclassical) else scheme.patience
    seen = start.seen
    if seen is not None and potential is not seen.potential:
        history.append(_iteration(seen))
    while True:
        # A guess that evaluated a point and fell back on it is not charged for it twice.
        point = seen if seen is not None and potential is seen.potential else problem.evaluate(potential)
        if seen is not None and point.distance > seen.distance:
            notes.append(
                f"the guess left a residual of {point.distance:.1e} V, more than the {seen.distance:.1e} V "
                "of the start it read, and was not used"
            )
            # The start follows at the end of this turn, as the point from which the loop goes on.
            history = [_iteration(point)]
            point = seen
        seen = None
        points.append(point)
        least, spent = (point.distance, 0) if point.distance < least / 2 else (least, spent + 1)
        converged = False
        if point.distance <= threshold:
            correction = point.correct(CERTIFICATE)
            converged = correction.error <= tolerance and correction.current_error <= current_tolerance
            # A certificate that failed is not asked again before the residual has fallen as far as it must.
            excess = max(correction.error / tolerance, correction.current_error / current_tolerance)
            threshold = point.distance * min(0.5, 0.7 / excess)
        over = problem.work.charge_evaluations >= max_solves
        if not converged and not over:
            if patience is not None and spent >= patience:
                notes.append(f"the guess led nowhere in {len(history) + 1} NEGF solves; started again, semiclassically")
                potential, threshold, patience = problem.semiclassical(), 2 * tolerance, None
                points.clear()
            else:
                try:
                    potential = scheme.propose(list(points))
                except PoissonError:
                    potential = np.full_like(point.potential, np.nan)
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
        status = f"diverged: no next potential after {solves} NEGF solves; try a nearer guess or scheme='auto'."
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
    """Say what marks the branch that equilibrium does not lead to, and of charge that was lost; limits in eV."""
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
            yield (
                f"the {name} is not flat: its lowest subband moves {slope * 1e3:.0f} meV in 1 nm; "
                f"lengthen {name}_length"
            )
        if depth > deep:
            yield (
                f"a well {depth * 1e3:.0f} meV below the lead's edge lies in the {name}: this may not be the solution "
                "that equilibrium leads to; come from a lower bias"
            )
    chains, contacts = charge.chains, charge.contacts
    band_top = float((torch.minimum(*chains.edges) + 4 * chains.hopping).min())
    filled = max(contacts.source, contacts.drain) + 8 * contacts.kT
    if band_top < filled:
        yield (
            f"the lattice has no states of the heaviest subband above {band_top:.2f} eV, yet contacts are filled up to "
            f"{filled:.2f} eV: charge is lost; use a smaller spacing[0] than {device.grid.dx} nm"
        )
    if charge.injected.unresolved > 0:
        yield f"the energy integral missed its tolerance {charge.injected.unresolved:.1g} times over"
    if int(charge.rank.max()) + 1 == charge.negf.basis.energies.shape[1]:
        yield "the highest transverse function is in use: the section is too large for the basis; charge is left out"
    if (overlap := charge.continuity) < 0.7:
        yield (
            f"a subband changes its shape within one step (overlap {overlap:.2f}): modes couple there, which uncoupled "
            "modes do not know, and the error estimate does not hold"
        )


def is_finite(value: object) -> bool:
    """Say whether a value is a finite number."""
    return isinstance(value, (int, float, np.integer, np.floating)) and math.isfinite(value)


def require(condition: bool, name: str, value: object, expected: str, caller: str = "solve") -> None:
    """Refuse an argument, naming it, its value and what was expected."""
    if not condition:
        raise ValueError(f"{caller}: {name} = {value!r}, expected {expected}.")
