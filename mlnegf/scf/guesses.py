"""Where the outer loop starts: one small class for each guess, called with a problem.

A new guess is a class, here or elsewhere; a name is for one that needs nothing but the problem:

    @dataclass(frozen=True)
    class Grounded(Guess, name="grounded"):
        def __call__(self, problem):
            return Start(np.zeros(problem.poisson.donors.shape))
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, Final, Protocol

import numpy as np

from mlnegf._common import Floats, Variant, as_array, hold, is_finite, require, shown
from mlnegf.nanosheet.device import COLDEST, HOTTEST, Device
from mlnegf.scf.point import Point
from mlnegf.scf.problem import BEYOND, Problem
from mlnegf.scf.schemes import Newton


@dataclass(frozen=True, eq=False)
class Start:
    """What a guess returns.

    Attributes
    ----------
    potential : ndarray, (nx, cells)
        Folded, V, in the n-type picture.
    note : str
        What the solution should say of the guess; empty when there is nothing to say.
    evaluated : Point, optional
        A point the guess evaluated on the way. If the residual at `potential` turns out larger than there, the outer
        loop goes on from it.
    used : bool
        Whether `potential` is what the guess is for; not, when it stood aside for a safer one.
    """

    potential: Floats
    note: str = ""
    evaluated: Point | None = None
    used: bool = True


class Guess(Variant, ABC):
    """A guess."""

    @classmethod
    def default(cls) -> "Guess":
        """Make the guess that the name stands for."""
        return cls()

    @abstractmethod
    def __call__(self, problem: Problem) -> Start:
        """Return where to start; work is counted in `problem.work`."""


class Solved(Protocol):
    """What a guess needs of a `Solution`: a device, a bias in V and the potential (nx, ny, nz) there, V."""

    @property
    def device(self) -> Device: ...  # noqa: D102
    @property
    def gate(self) -> float: ...  # noqa: D102
    @property
    def drain(self) -> float: ...  # noqa: D102
    @property
    def potential(self) -> Floats: ...  # noqa: D102


@dataclass(frozen=True)
class Flat(Guess, name="flat"):
    """The potential that makes the source neutral, everywhere."""

    def __call__(self, problem: Problem) -> Start:
        """Return a uniform potential."""
        return Start(np.full(problem.poisson.donors.shape, problem.neutral_potential()))


@dataclass(frozen=True)
class Semiclassical(Guess, name="semiclassical"):
    """Poisson's equation with locally filled subbands, the Fermi level falling linearly under the gate.

    Parameters
    ----------
    warm : float
        Occupations of a colder device, K, are so steep that Newton's method is caught in false minima of the residual:
        there one NEGF solve and one Newton step are taken at this temperature, where the charge is smoother.
    """

    warm: float = 200.0

    def __post_init__(self) -> None:
        good = is_finite(self.warm) and COLDEST <= self.warm <= HOTTEST
        require(good, "warm", self.warm, f"kelvin between {COLDEST:g} and {HOTTEST:g}", "Semiclassical")
        hold(self, float, "warm")

    def __call__(self, problem: Problem) -> Start:
        """Solve the semiclassical problem; no NEGF unless the device is cold."""
        if problem.device.temperature >= self.warm:
            return Start(problem.semiclassical())
        warm = problem.at(self.warm)
        return Start(Newton().propose([warm.evaluate(warm.semiclassical())]))


@dataclass(frozen=True, eq=False)
class GivenPotential(Guess):
    """A potential (nx, ny, nz) on the device's grid, V."""

    potential: Any

    def __call__(self, problem: Problem) -> Start:
        """Check the potential and average it over the device's mirror images."""
        return Start(_folded(problem, self.potential, "the given potential"))


@dataclass(frozen=True, eq=False)
class PreviousBias(Guess):
    """The potential of a solved bias."""

    solution: Solved

    def __post_init__(self) -> None:
        _require_solved(self.solution, "solution", type(self).__name__)

    def __call__(self, problem: Problem) -> Start:
        """Return the solved potential as it is."""
        return Start(_folded(problem, getattr(self.solution, "potential", None), "the previous solution's potential"))


@dataclass(frozen=True, eq=False)
class ExtrapolatedBias(Guess):
    """The straight line through the potentials of two solved biases, `first` and then `second`."""

    first: Solved
    second: Solved

    def __post_init__(self) -> None:
        _require_solved(self.first, "first", type(self).__name__)
        _require_solved(self.second, "second", type(self).__name__)

    def __call__(self, problem: Problem) -> Start:
        """Continue the line to the point nearest to the wanted bias."""
        before, last = (
            _folded(problem, getattr(s, "potential", None), "a solved potential") for s in (self.first, self.second)
        )
        step = np.array([self.second.gate - self.first.gate, self.second.drain - self.first.drain])
        wanted = np.array(problem.bias) - np.array([self.second.gate, self.second.drain])
        length = float(step @ step)
        if length == 0.0:
            raise ValueError(
                f"ExtrapolatedBias: first and second are both at gate = {self.first.gate} V and drain = "
                f"{self.first.drain} V, expected two different biases; use PreviousBias for one."
            )
        line = last + float(wanted @ step) / length * (last - before)
        if problem.holds(line):
            return Start(line)
        return Start(last, "the line through two solved biases was not used: it leaves all bounds here", used=False)


def _require_solved(solved: Any, name: str, caller: str) -> None:
    """Refuse what has no voltages it was solved at; its potential may be read when it is asked for."""
    good = all(is_finite(getattr(solved, side, None)) for side in ("gate", "drain"))
    require(good, name, solved, "a Solution: with gate and drain in V, and a potential", caller)


@dataclass(frozen=True)
class Trained(Guess, name="auto"):
    """The learned guess where it answers for the case, the semiclassical start elsewhere."""

    def __call__(self, problem: Problem) -> Start:
        """Ask the learned guess; if it stands aside, say nothing of it: nobody asked for it by name."""
        start = as_guess("learned")(problem)
        return start if start.used else replace(start, note="", used=True)


GUESSES: Final[dict[str, type[Guess]]] = Guess.variants
"""Every guess that needs nothing but the problem, by name, but for those that have not been asked for yet."""
HOMES: Final = {"learned": "mlnegf.warmstart.learned"}
"""Modules that bring further guesses: named here so that this room need not import theirs."""


def as_guess(guess: Any, others: Sequence[str] = ()) -> Callable[[Problem], Start]:
    """Turn a name, a solution, a potential array or a guess into a guess; `others` are names known to the caller."""
    if isinstance(guess, str) and guess in HOMES:
        import_module(HOMES[guess])
    if isinstance(guess, str) and guess in GUESSES:
        return GUESSES[guess].default()
    require(
        not isinstance(guess, (str, bytes, type)) and guess is not None,
        "guess",
        guess,
        f"one of {sorted({*others, *GUESSES, *HOMES})}, a Solution, a potential (nx, ny, nz), or a Guess object such "
        "as LearnedGuess.pretrained()",
        caller="solve",
    )
    if hasattr(guess, "potential") and hasattr(guess, "gate"):
        _require_solved(guess, "guess", "solve")
        return PreviousBias(guess)
    if callable(guess):
        found: Callable[[Problem], Start] = guess
        return found
    return GivenPotential(guess)


def start_of(guess: Callable[[Problem], Start], problem: Problem) -> Start:
    """Ask a guess, and see that a NEGF solve can begin where it says.

    One that has evaluated a point on the way stands aside for it; any other that leaves the bounds is refused.
    """
    start = guess(problem)
    shape = problem.poisson.donors.shape
    require(
        isinstance(start, Start)
        and isinstance(start.potential, np.ndarray)
        and start.potential.shape == shape
        and start.potential.dtype.kind in "fiu"
        and isinstance(start.note, str)
        and isinstance(start.evaluated, (Point, type(None))),
        "guess",
        guess,
        f"an object that returns a Start, its potential a real array of shape {shape}, when called with a Problem",
        caller="solve",
    )
    if problem.holds(start.potential):
        return start
    least, most = sorted(problem.own(float(edge)) for edge in (start.potential.min(), start.potential.max()))
    if start.evaluated is None:
        raise ValueError(
            f"solve: guess reaches from {least:.3g} to {most:.3g} V, expected no more than {BEYOND:g} V beyond the "
            "potentials of gate, source and drain; give a potential in V."
        )
    note = (
        f"the guess reaches from {least:.3g} to {most:.3g} V, more than {BEYOND:g} V beyond gate, source and drain, "
        "unlike that of the start it read, and was not used"
    )
    return Start(start.evaluated.potential, note, start.evaluated, used=False)


def _folded(problem: Problem, potential: Any, name: str) -> Floats:
    given, shape = as_array(potential), problem.device.grid.shape
    if given is None or given.shape != shape or given.dtype.kind not in "fiu":
        what = shown(potential) if given is None else f"has shape {given.shape} and type {given.dtype}"
        raise ValueError(
            f"solve: guess: {name} {what}, expected real numbers on device.grid: {shape}; interpolate it, or solve "
            "that device on the same spacing."
        )
    potential = given.astype(np.float64)
    if not np.isfinite(potential).all():
        count = int((~np.isfinite(potential)).sum())
        raise ValueError(
            f"solve: guess: {name} has {count} cells that are not finite, expected volts; remove NaN and inf."
        )
    return problem.folded(potential)
