"""The outer loop: points, each one NEGF solve, until one is certified, or until it is clear that none will be."""

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final, NamedTuple

import numpy as np

from mlnegf._common import Floats, require
from mlnegf.nanosheet.device import HOTTEST
from mlnegf.nanosheet.poisson import PoissonError
from mlnegf.scf.guesses import Start
from mlnegf.scf.point import ROUGH, TIGHT, Errors, Point
from mlnegf.scf.problem import Problem
from mlnegf.scf.schemes import Scheme

FARTHEST: Final = 1e3
"""Potentials of this size or more, V, are none of a device's."""


class Outcome(Enum):
    """How a solve ended; the value says what to do about it."""

    converged = "both estimated errors are under their tolerances"
    unconverged = "all solves allowed are spent: try a nearer guess, scheme='auto' or more max_solves"
    stalled = "the residual fell no further: come from a nearby bias, with sweep"
    diverged = "there is no next potential: try a nearer guess or scheme='auto'"
    coarse = (
        "a barrier lies above the lattice's band, whose end cuts the current: take the spacing[0] that is warned of"
    )
    failed = "this bias raised an error: mend what it says, or leave the bias out"


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
    corrected : bool
        Whether the answer is the last point with its correction, or the point itself.
    """

    tolerance: float
    current_tolerance: float
    solves: int
    corrected: bool = True


@dataclass(frozen=True, eq=False)
class Attempt:
    """Where following a scheme from one start has led.

    Attributes
    ----------
    point : Point
        The certified one, or else that with the least residual.
    outcome : Outcome
    history : tuple of Iteration
    notes : tuple of str
        What the solution should say of the way.
    guess_used : bool
        Whether it went on from where the guess said.
    corrected : bool
        Whether the answer is `point` with its correction.
    """

    point: Point
    outcome: Outcome
    history: tuple[Iteration, ...]
    notes: tuple[str, ...] = ()
    guess_used: bool = True
    corrected: bool = False

    @property
    def converged(self) -> bool:
        """Whether both error estimates are under their tolerances."""
        return self.outcome is Outcome.converged

    @property
    def potential(self) -> Floats:
        """The answer, (nx, cells), V."""
        return self.point.potential + (self.point.correct(ROUGH).step if self.corrected else 0.0)

    @property
    def density(self) -> Floats:
        """The answer's electron density, (nx, cells), nm⁻³, nowhere negative."""
        added = self.point.correct(ROUGH).density if self.corrected else 0.0
        return np.maximum(self.point.charge.density + added, 0.0)

    @property
    def current(self) -> float:
        """The answer's current, A, in the n-type picture."""
        return self.point.charge.current + (self.point.correct(ROUGH).current if self.corrected else 0.0)


def iterate(problem: Problem, start: Start, scheme: Scheme, limits: Limits) -> Attempt:
    """Follow a scheme from a start."""
    first = _begin(problem, start)
    history, points = [*first.history], deque([first.point], maxlen=max(1, scheme.memory))
    judge = _Judge(limits, scheme.patience, first.point)
    while True:
        outcome = judge(points[-1])
        potential = _next(scheme, points) if outcome is None else None
        history.append(_iteration(points[-1], judge.errors))
        if potential is None:
            converged = outcome is Outcome.converged
            return Attempt(
                points[-1] if converged else judge.best,
                outcome or Outcome.diverged,
                tuple(history),
                first.notes,
                first.guess_used,
                corrected=converged and limits.corrected,
            )
        points.append(problem.evaluate(potential))


class _Beginning(NamedTuple):
    """Where the loop begins; `history` holds the NEGF solve spent elsewhere, if there was one."""

    point: Point
    history: tuple[Iteration, ...]
    notes: tuple[str, ...]
    guess_used: bool


def _begin(problem: Problem, start: Start) -> _Beginning:
    """Settle where to begin: at the guess, or at the point it evaluated on the way if the residual is smaller there."""
    notes, before = (start.note,) if start.note else (), start.evaluated
    if before is not None and start.potential is before.potential:
        # A guess that evaluated a point and fell back on it is not charged for it twice.
        return _Beginning(before, (), notes, start.used)
    point = problem.evaluate(start.potential)
    if before is None or point.distance <= before.distance:
        return _Beginning(point, () if before is None else (_iteration(before),), notes, start.used)
    words = (
        f"the guess left a residual of {point.distance:.1e} V, more than the {before.distance:.1e} V "
        "of the start it read, and was not used"
    )
    return _Beginning(before, (_iteration(point),), (*notes, words), guess_used=False)


class _Judge:
    """Says after each point whether to stop, and remembers the one with the least residual, `best`."""

    def __init__(self, limits: Limits, patience: int | None, first: Point) -> None:
        self.limits, self.patience, self.best = limits, patience, first
        # Residual, V, from which on a certificate is worth its price.
        self._asked = max(2 * limits.tolerance, first.thermal_voltage / 2) if limits.corrected else 2 * limits.tolerance
        self._halved, self._waited = math.inf, 0  # residual, V, when it last halved, and the points since
        self.errors: Errors | None = None
        """Of the last point, if they were asked."""

    def __call__(self, point: Point) -> Outcome | None:
        self.errors = None
        if point.distance < self.best.distance:
            self.best = point
        halved = point.distance < self._halved / 2
        self._halved, self._waited = (point.distance, 0) if halved else (self._halved, self._waited + 1)
        if point.distance <= self._asked and self._certifies(point):
            return Outcome.converged
        if point.problem.work.charge_evaluations >= self.limits.solves:
            return Outcome.unconverged
        return Outcome.stalled if self.patience is not None and self._waited >= self.patience else None

    def _certifies(self, point: Point) -> bool:
        limits, tolerance = self.limits, ROUGH
        while True:
            point.correct(tolerance)
            self.errors = errors = point.errors(limits.corrected)
            excess = max(errors.potential / limits.tolerance, errors.current / limits.current_tolerance)
            # A tighter linear solve is worth its price where it is what the certificate lacks.
            if excess <= 1 or tolerance <= TIGHT or errors.potential - errors.linear > limits.tolerance:
                break
            tolerance /= 10
        # A certificate that failed is not asked again before the residual has fallen as far as it must.
        order = 2 if limits.corrected else 1
        self._asked = point.distance * min(0.7, 0.8 / max(excess, 1e-300) ** (1 / order))
        return excess <= 1


def _next(scheme: Scheme, points: deque[Point]) -> Floats | None:
    """Return the scheme's next potential, or None if it has none, or none that a device can have."""
    try:
        potential = scheme.propose(list(points))
    except PoissonError:
        return None
    shape = points[-1].potential.shape
    good = isinstance(potential, np.ndarray) and potential.shape == shape and potential.dtype.kind == "f"
    require(good, "scheme", scheme, f"one that proposes real potentials of shape {shape}", "solve")
    return potential if abs(potential).max() < FARTHEST else None  # not a number is no less


def _iteration(point: Point, errors: Errors | None = None) -> Iteration:
    estimate = math.nan if errors is None else errors.potential
    return Iteration(point.distance, estimate, point.problem.own(point.charge.current))


def from_off_state(problem: Problem, scheme: Scheme, limits: Limits, step: float = 0.06) -> Attempt:
    """Raise the gate voltage by `step` (V) at a time from where the channel is closed.

    A closed channel keeps source and drain apart, each at its own equilibrium, so that the solution there is unique:
    this follows the branch that equilibrium leads to.
    """
    off = min(problem.gate, problem.gate - problem.gate_potential)
    gates = np.linspace(off, problem.gate, 1 + math.ceil((problem.gate - off) / step))
    path = ((float(gate), replace(problem, gate=float(gate))) for gate in gates[:-1])
    return _along(path, (problem.gate, problem), scheme, limits)


def from_warmth(problem: Problem, scheme: Scheme, limits: Limits, ratio: float = 1.5) -> Attempt:
    """Cool the device from 600 K, by less than `ratio` at a time: warm contacts smooth the charge."""
    device = problem.device
    count = 1 + math.ceil(math.log(HOTTEST / device.temperature) / math.log(ratio) - 1e-9)
    temperatures = np.geomspace(HOTTEST, device.temperature, count)[:-1]
    path = ((float(kelvin), problem.at(float(kelvin))) for kelvin in temperatures)
    return _along(path, (device.temperature, problem), scheme, limits)


Place = tuple[float, Problem]
"""A problem on a path, and its coordinate there."""


def _along(path: Iterable[Place], last: Place, scheme: Scheme, limits: Limits) -> Attempt:
    """Solve the problems of a path, each started from the line through the last two solved.

    On the way a coarse solution will do; a place that has none, where the branch folds back, is stepped over.
    """
    tolerance, before = max(5e-3, limits.tolerance), limits.solves - 1  # one is kept for the problem asked
    coarse = Limits(tolerance, math.inf, before, limits.corrected)
    history: tuple[Iteration, ...] = ()
    line: list[tuple[float, Floats]] = []
    nearest: Floats | None = None
    for place, problem in path:
        if problem.work.charge_evaluations >= before:
            break
        attempt = iterate(problem, _nearby(problem, place, line, nearest), scheme, coarse)
        history, nearest = history + attempt.history, attempt.potential
        if attempt.converged:
            line = [*line[-1:], (place, nearest)]
    place, problem = last
    attempt = iterate(problem, _nearby(problem, place, line, nearest), scheme, limits)
    return replace(attempt, history=history + attempt.history)


def _nearby(problem: Problem, place: float, line: list[tuple[float, Floats]], nearest: Floats | None) -> Start:
    """Start on the line through the last solved places, or from the last potential there is."""
    if not line:
        return Start(problem.semiclassical() if nearest is None else nearest)
    (last, potential), (before, earlier) = line[-1], line[0]
    slope = (potential - earlier) / (last - before) if len(line) > 1 else np.zeros_like(potential)
    return Start(np.asarray(potential + (place - last) * slope))
