"""Two electrons on a line, exactly: the ground state of −½∂₁² − ½∂₂² + v(x₁) + v(x₂) + W(x₁ − x₂).

It is symmetric in x₁ and x₂, a spin singlet, so that nothing has to be said of the spins.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy.sparse.linalg import LinearOperator, eigsh

from mlnegf._common import Floats, require
from mlnegf.line.grid import Line, checked

SHARP: Final = 1e-13
"""Of the eigenvalue, relative."""
OUTSIDE: Final = 1e-6
"""Electrons that may be at the ends, of two: more do not fit on the line."""


@dataclass(frozen=True, eq=False)
class TwoElectrons:
    """A ground state.

    Attributes
    ----------
    line : Line
    potential : ndarray, (points,)
        v of the nuclei, Hartree.
    energy : float
        Hartree.
    wave : ndarray, (points, points)
        Ψ(x₁, x₂), Σ Ψ² h² = 1.
    """

    line: Line
    potential: Floats
    energy: float
    wave: Floats

    @property
    def density(self) -> Floats:
        """n(x) = 2 ∫ Ψ² dx₂, 1/a_B, (points,)."""
        return np.asarray(2 * (self.wave**2).sum(1) * self.line.step)

    @property
    def ionisation(self) -> float:
        """What it takes to remove one electron, Hartree."""
        return float(self.line.levels(self.potential)[0][0]) - self.energy


def two_electrons(line: Line, potential: Any) -> TwoElectrons:
    """Solve for two electrons in a potential.

    Parameters
    ----------
    line : Line
    potential : array, (points,)
        v, Hartree.

    Raises
    ------
    ValueError
        If the line is too short for them.
    """
    given = checked(line, "two_electrons").values("potential", potential, "two_electrons")
    size, kinetic = line.points, line.kinetic
    local = given[:, None] + given + line.repulsion

    def applied(vector: Floats) -> Floats:
        wave = vector.reshape(size, size)
        half = kinetic @ wave
        # The state stays symmetric: one product serves both electrons.
        return np.asarray(half + half.T + local * wave).ravel()

    (start,) = line.levels(given)[1]
    operator = LinearOperator((size**2, size**2), matvec=applied, dtype=float)
    energies, states = eigsh(operator, 1, which="SA", v0=np.outer(start, start).ravel(), tol=SHARP)
    wave = states[:, 0].reshape(size, size)
    wave = (wave + wave.T) / 2
    wave *= np.sign(wave.sum()) / (np.sqrt((wave**2).sum()) * line.step)
    found = TwoElectrons(line, given, float(energies[0]), wave)
    ends = float(found.density[[0, -1]].sum() * line.step)
    require(ends < OUTSIDE, "half", line.half, f"a longer line: {ends:.1g} electrons sit at its ends", "two_electrons")
    return found
