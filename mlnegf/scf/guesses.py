"""Where the outer loop starts: one small class for each guess, called with a problem.

A new guess is a class with `__call__(problem) -> Start`; entered in `GUESSES` it has a name as well.
"""

from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import numpy as np

from mlnegf._common import Floats
from mlnegf.nanosheet.device import Device
from mlnegf.scf.problem import Point, Problem
from mlnegf.scf.schemes import Newton


@dataclass(frozen=True, eq=False)
class Start:
    """What a guess returns.

    Attributes
    ----------
    potential : ndarray, (nx, cells)
        Folded, V.
    note : str
        What the solution should say of the guess; empty when there is nothing to say.
    seen : Point, optional
        A point the guess evaluated on the way. If the residual at `potential` turns out larger than there,
        the outer loop goes on from `seen`.
    """

    potential: Floats
    note: str = ""
    seen: Point | None = None


class Guess(Protocol):
    """A guess."""

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
class Flat:
    """The potential that makes the source neutral, everywhere."""

    def __call__(self, problem: Problem) -> Start:
        """Return a uniform potential."""
        return Start(np.full(problem.poisson.donors.shape, problem.neutral_potential()))


@dataclass(frozen=True)
class Semiclassical:
    """Poisson's equation with locally filled subbands, the Fermi level falling linearly under the gate.

    Parameters
    ----------
    warm : float
        Occupations of a colder device, K, are so steep that Newton's method is caught in false minima of the residual:
        there one NEGF solve and one Newton step are taken at this temperature, where the charge is smoother.
    """

    warm: float = 200.0

    def __call__(self, problem: Problem) -> Start:
        """Solve the semiclassical problem; no NEGF unless the device is cold."""
        if problem.device.temperature >= self.warm:
            return Start(problem.semiclassical())
        warm = replace(problem, device=problem.device.at(self.warm))
        return Start(Newton().propose([warm.evaluate(warm.semiclassical())]))


@dataclass(frozen=True, eq=False)
class GivenPotential:
    """A potential (nx, ny, nz) on the device's grid, V."""

    potential: Floats

    def __call__(self, problem: Problem) -> Start:
        """Check the potential and average it over the device's mirror images."""
        return Start(_folded(problem.device, self.potential, "the given potential"))


@dataclass(frozen=True, eq=False)
class PreviousBias:
    """The potential of a solved bias."""

    solution: Solved

    def __call__(self, problem: Problem) -> Start:
        """Return the solved potential as it is."""
        return Start(_folded(problem.device, self.solution.potential, "the previous solution's potential"))


@dataclass(frozen=True, eq=False)
class ExtrapolatedBias:
    """The straight line through the potentials of two solved biases, `first` and then `second`."""

    first: Solved
    second: Solved

    def __call__(self, problem: Problem) -> Start:
        """Continue the line to the point nearest to the wanted bias."""
        before, last = (_folded(problem.device, s.potential, "a solved potential") for s in (self.first, self.second))
        step = np.array([self.second.gate - self.first.gate, self.second.drain - self.first.drain])
        bias = problem.device.mirror * np.array([problem.gate, problem.drain])
        wanted = bias - np.array([self.second.gate, self.second.drain])
        length = float(step @ step)
        if length == 0.0:
            raise ValueError(
                f"ExtrapolatedBias: first and second are both at gate = {self.first.gate} V and drain = "
                f"{self.first.drain} V, expected two different biases; use PreviousBias for one."
            )
        return Start(last + float(wanted @ step) / length * (last - before))


GUESSES: Final[dict[str, Guess]] = {"flat": Flat(), "semiclassical": Semiclassical()}
"""Every guess that needs nothing but the problem, by name."""


def as_guess(guess: Any) -> Guess:
    """Turn a name, a solution, a potential array or a guess into a guess."""
    if isinstance(guess, str):
        if guess not in GUESSES:
            raise ValueError(
                f"solve: guess = {guess!r}, expected one of {sorted(GUESSES)}, a Solution, a potential (nx, ny, nz), "
                "or a Guess object such as LearnedGuess.pretrained()."
            )
        return GUESSES[guess]
    if hasattr(guess, "potential") and hasattr(guess, "gate"):
        return PreviousBias(guess)
    if callable(guess):
        found: Guess = guess
        return found
    return GivenPotential(np.asarray(guess))


def _folded(device: Device, potential: Floats, name: str) -> Floats:
    potential = np.asarray(potential)
    if potential.shape != device.grid.shape or potential.dtype.kind not in "fiu":
        raise ValueError(
            f"solve: {name} has shape {potential.shape} and type {potential.dtype}, expected real numbers on "
            f"device.grid: {device.grid.shape}; interpolate it, or solve that device on the same spacing."
        )
    if not np.isfinite(potential).all():
        count = int((~np.isfinite(potential)).sum())
        raise ValueError(f"solve: {name} has {count} cells that are not finite, expected volts; remove NaN and inf.")
    return device.mirror * device.grid.fold(potential.astype(np.float64))
