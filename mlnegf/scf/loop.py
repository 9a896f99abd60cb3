"""The outer loop: points, each one NEGF solve, until one is certified, or until it is clear that none will be."""

import math
from collections import deque
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from mlnegf._common import Floats
from mlnegf.nanosheet.device import HOTTEST
from mlnegf.nanosheet.poisson import PoissonError
from mlnegf.scf.guesses import Start
from mlnegf.scf.problem import Point, Problem
from mlnegf.scf.schemes import Scheme

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


@dataclass(frozen=True)
class Limits:
    """When to stop.

    Attributes
    ----------
    tolerance, current_tolerance : float
        Of the estimated errors: V, and relative.
    solves : int
        NEGF solves that `problem.work` may have counted at the end.
    patience : int, optional
        NEGF solves in which the least residual must halve.
    """

    tolerance: float
    current_tolerance: float
    solves: int
    patience: int | None = None


@dataclass(frozen=True, eq=False)
class Run:
    """How a run of the loop ended, and where.

    Attributes
    ----------
    point : Point
        The certified one, or else that with the least residual.
    ended : str
        "converged", "stalled", "over" the number of solves allowed, or "diverged": there is no next potential.
    history : tuple of Iteration
    notes : tuple of str
        What the solution should say of the way.
    """

    point: Point
    ended: Literal["converged", "stalled", "over", "diverged"]
    history: tuple[Iteration, ...]
    notes: tuple[str, ...] = ()

    @property
    def converged(self) -> bool:
        """Whether both error estimates are under their tolerances."""
        return self.ended == "converged"


def iterate(problem: Problem, start: Start, scheme: Scheme, limits: Limits) -> Run:
    """Follow a scheme from a start.

    A start that has seen a point with a smaller residual than its own potential leaves is not used.
    """
    notes = [start.note] if start.note else []
    points: deque[Point] = deque(maxlen=max(1, scheme.memory))
    history: list[Iteration] = []
    potential, threshold, seen = start.potential, 2 * limits.tolerance, start.seen
    least, spent = math.inf, 0
    best: Point | None = None
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
        best = point if best is None or point.distance < best.distance else best
        least, spent = (point.distance, 0) if point.distance < least / 2 else (least, spent + 1)
        ended: Literal["converged", "stalled", "over", "diverged"] | None = None
        if point.distance <= threshold:
            correction = point.correct(CERTIFICATE)
            # A certificate that failed is not asked again before the residual has fallen as far as it must.
            excess = max(correction.error / limits.tolerance, correction.current_error / limits.current_tolerance)
            threshold = point.distance * min(0.5, 0.7 / max(excess, 1e-300))
            ended = "converged" if excess <= 1 else None
        if ended is None and problem.work.charge_evaluations >= limits.solves:
            ended = "over"
        if ended is None and limits.patience is not None and spent >= limits.patience:
            ended = "stalled"
        if ended is None:
            potential = _next(scheme, points)
            ended = None if np.isfinite(potential).all() else "diverged"
        history.append(_iteration(point))
        if ended is not None:
            return Run(point if ended == "converged" else best, ended, tuple(history), tuple(notes))


def _next(scheme: Scheme, points: deque[Point]) -> Floats:
    try:
        return scheme.propose(list(points))
    except PoissonError:
        return np.full_like(points[-1].potential, np.nan)


def _iteration(point: Point) -> Iteration:
    error = point.corrections[-1].error if point.corrections else math.nan
    return Iteration(point.distance, error, point.charge.current)


def from_off_state(problem: Problem, scheme: Scheme, limits: Limits, step: float = 0.06) -> Run:
    """Raise the gate voltage by `step` (V) at a time from where the channel is closed.

    A closed channel keeps source and drain apart, each at its own equilibrium, so that the solution there is unique:
    this follows the branch that equilibrium leads to.
    """
    off = min(problem.gate, problem.gate - problem.gate_potential)
    gates = np.linspace(off, problem.gate, 1 + math.ceil((problem.gate - off) / step))
    path = [(float(gate), replace(problem, gate=float(gate))) for gate in gates[:-1]]
    return _along(path, (problem.gate, problem), scheme, limits)


def from_warmth(problem: Problem, scheme: Scheme, limits: Limits, ratio: float = 1.5) -> Run:
    """Cool the device from 600 K, by less than `ratio` at a time: warm contacts smooth the charge."""
    device = problem.device
    count = 1 + math.ceil(math.log(HOTTEST / device.temperature) / math.log(ratio) - 1e-9)
    temperatures = np.geomspace(HOTTEST, device.temperature, count)[:-1]
    path = [(float(kelvin), replace(problem, device=device.at(float(kelvin)))) for kelvin in temperatures]
    return _along(path, (device.temperature, problem), scheme, limits)


def _along(path: list[tuple[float, Problem]], last: tuple[float, Problem], scheme: Scheme, limits: Limits) -> Run:
    """Solve the problems of a path, each with its coordinate and started from the line through the last two solved.

    On the way a coarse solution will do; a place that has none, where the branch folds back, is stepped over.
    """
    tolerance, before = max(5e-3, limits.tolerance), limits.solves - 1  # one is kept for the problem asked
    coarse = replace(limits, tolerance=tolerance, current_tolerance=math.inf, solves=before)
    history: tuple[Iteration, ...] = ()
    line: list[tuple[float, Floats]] = []
    run: Run | None = None
    for place, problem in [*path, last]:
        if problem is not last[1] and problem.work.charge_evaluations >= before:
            continue
        there = problem is last[1]
        nearest = run.point.potential if run else problem.semiclassical()
        start = _extrapolated(line, place) if line else nearest
        run = iterate(problem, Start(start), scheme, limits if there else coarse)
        history += run.history
        if run.converged:
            line = [*line[-1:], (place, run.point.potential)]
    assert run is not None
    return replace(run, history=history)


def _extrapolated(line: list[tuple[float, Floats]], place: float) -> Floats:
    (last, potential), (before, earlier) = line[-1], line[0]
    slope = (potential - earlier) / (last - before) if len(line) > 1 else np.zeros_like(potential)
    return np.asarray(potential + (place - last) * slope)
