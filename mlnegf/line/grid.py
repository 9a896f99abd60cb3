"""A line of points, and electrons of one dimension on it.

The kinetic energy is that of the sinc functions of the points, T_ij = (−1)^{i−j}/(i−j)²h² and π²/6h² on the diagonal:
Colbert & Miller, J. Chem. Phys. 96, 1982 (1992). It is exact for waves that hold no wave number above π/h and vanish
at both ends.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np

from mlnegf._common import Floats, hold, is_count, is_positive, reals, require

MOST: Final = 1024
"""Points."""
LARGEST: Final = 1e6
"""Number at a point, in whatever unit."""
LEAST: Final = 1e-12
"""Noise, or doubt, in the same."""


@dataclass(frozen=True)
class Line:
    """Points at equal distances.

    Parameters
    ----------
    half : float
        From the middle to either end, a_B.
    points : int
    """

    half: float = 10.0
    points: int = 128

    def __post_init__(self) -> None:
        good = is_positive(self.half) and self.half <= 1e3
        require(good, "half", self.half, "a positive number of a_B up to 1000", "Line")
        require(is_count(self.points, 8, MOST), "points", self.points, f"a whole number from 8 to {MOST}", "Line")
        hold(self, float, "half")
        hold(self, int, "points")

    @property
    def step(self) -> float:
        """Between points, a_B."""
        return 2 * self.half / self.points

    @cached_property
    def x(self) -> Floats:
        """The points, (points,), a_B."""
        return np.asarray((np.arange(self.points) - (self.points - 1) / 2) * self.step)

    @cached_property
    def kinetic(self) -> Floats:
        """T = −½ d²/dx², Hartree, (points, points)."""
        apart = np.arange(self.points)[:, None] - np.arange(self.points)
        with np.errstate(divide="ignore"):
            matrix = np.where(apart == 0, np.pi**2 / 6, (-1.0) ** apart / apart.astype(float) ** 2)
        return np.asarray(matrix / self.step**2)

    def slope(self, wave: Any) -> Floats:
        """Return dψ/dx of the same functions, (points,)."""
        apart = np.arange(self.points)[:, None] - np.arange(self.points)
        with np.errstate(divide="ignore"):
            matrix = np.where(apart == 0, 0.0, (-1.0) ** apart / (apart * self.step))
        return np.asarray(matrix @ self.values("wave", wave, "slope"))

    @cached_property
    def repulsion(self) -> Floats:
        """W(x − x′) = 1/√((x − x′)² + 1), Hartree, (points, points)."""
        return np.asarray(1 / np.sqrt((self.x[:, None] - self.x) ** 2 + 1))

    def values(self, name: str, given: Any, caller: str) -> Floats:
        """Check numbers of the points, (points,)."""
        found = reals(given, 1)
        good = found is not None and found.shape == (self.points,) and float(abs(found).max()) <= LARGEST
        require(good, name, given, f"numbers of shape ({self.points},), none beyond {LARGEST:g}", caller)
        assert found is not None
        return found

    def levels(self, potential: Any, count: int = 1) -> tuple[Floats, Floats]:
        """Return the lowest levels of one electron in a potential.

        Parameters
        ----------
        potential : array, (points,)
            Hartree.
        count : int

        Returns
        -------
        energies : ndarray, (count,)
            Hartree.
        waves : ndarray, (count, points)
            Normalised: Σ ψ² h = 1.
        """
        given = self.values("potential", potential, "levels")
        require(is_count(count, 1, self.points), "count", count, f"a whole number from 1 to {self.points}", "levels")
        energies, waves = np.linalg.eigh(self.kinetic + np.diag(given))
        return energies[:count], waves.T[:count] / np.sqrt(self.step)


def checked(line: Line, caller: str) -> Line:
    """Refuse what is no line."""
    require(isinstance(line, Line), "line", line, "a Line", caller)
    return line


@dataclass(frozen=True)
class Molecule:
    """Nuclei on the line, softened: v(x) = −Σ Z/√((x − X)² + 1).

    Parameters
    ----------
    charges, places : tuple of float
        Z, and X in a_B.
    """

    charges: tuple[float, ...]
    places: tuple[float, ...]

    def __post_init__(self) -> None:
        charges, places = reals(self.charges, 1), reals(self.places, 1)
        good = charges is not None and bool((charges > 0).all()) and float(charges.max()) <= LARGEST
        require(good, "charges", self.charges, f"one positive number or more, up to {LARGEST:g}", "Molecule")
        assert charges is not None
        good = places is not None and len(places) == len(charges)
        require(good, "places", self.places, f"finite numbers of a_B, as many as charges: {len(charges)}", "Molecule")
        assert places is not None
        for name, values in (("charges", charges), ("places", places)):
            object.__setattr__(self, name, tuple(values.tolist()))

    @staticmethod
    def stretched(one: float, other: float, apart: float) -> "Molecule":
        """Return two nuclei about the middle, `apart` a_B from each other."""
        require(is_positive(apart), "apart", apart, "a positive number of a_B", "stretched")
        return Molecule((one, other), (-apart / 2, apart / 2))

    def potential(self, line: Line) -> Floats:
        """Return v(x), Hartree, (points,)."""
        away = line.x - np.array(self.places)[:, None]
        return np.asarray(-(np.array(self.charges)[:, None] / np.sqrt(away**2 + 1)).sum(0))
