"""Two electrons on a line, exactly: the ground state of −½∂₁² − ½∂₂² + v(x₁) + v(x₂) + W(x₁ − x₂).

It is symmetric in x₁ and x₂, a spin singlet, so that nothing has to be said of the spins.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy.sparse.linalg import LinearOperator, eigsh

from mlnegf._common import Floats, is_count, is_positive, require
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


def mean_field(line: Line, potential: Any, accuracy: float = 1e-9, rounds: int = 500) -> tuple[float, Floats]:
    """Solve for two electrons that meet each other's mean alone, both in one orbital: (−½∂² + v + v_H/2) φ = εφ.

    Rounds are mixed by the share that lowers the energy most: Cancès & Le Bris, Int. J. Quantum Chem. 79, 82 (2000).

    Parameters
    ----------
    line : Line
    potential : array, (points,)
        v, Hartree.
    accuracy : float
        Of the energy, Hartree: what the next round promises, at most.
    rounds : int
        At most.

    Returns
    -------
    energy : float
        2⟨−½∂² + v⟩ + ½ ∫ n v_H/2, Hartree: never below that of `two_electrons`.
    density : ndarray, (points,)
        1/a_B.

    Raises
    ------
    RuntimeError
        If the energy does not come to rest in so many rounds.
    """
    given = checked(line, "mean_field").values("potential", potential, "mean_field")
    require(is_positive(accuracy), "accuracy", accuracy, "a positive number of Hartree", "mean_field")
    require(is_count(rounds), "rounds", rounds, "a whole number, 1 or more", "mean_field")
    density, alone, repelled = np.zeros_like(given), 0.0, np.zeros_like(given)
    for count in range(int(rounds)):
        (level,), (wave,) = line.levels(given + repelled / 2)
        new = 2 * wave**2
        # Energies of the nuclei and of motion, and ∫ n W; the whole is alone + ¼ ∫ n repelled.
        new_alone = float(2 * level - line.step * new @ repelled / 2)
        change, change_alone = new - density, new_alone - alone
        change_repelled = line.repulsion @ change * line.step
        slope = change_alone + line.step * float(repelled @ change) / 2
        if count and -slope < accuracy:
            return alone + line.step * float(density @ repelled) / 4, np.asarray(density)
        # The share of the new that is best: a full step sends both electrons from atom to atom for ever.
        share = min(1.0, -slope / max(line.step * float(change @ change_repelled) / 2, 1e-300)) if count else 1.0
        density, alone = density + share * change, alone + share * change_alone
        repelled = repelled + share * change_repelled
    raise RuntimeError(f"mean_field: more than {accuracy:g} Hartree could be gained after {rounds} rounds.")
