"""The energy of metal atoms by the second moment of their bands, and the forces that follow.

    E_i = ½ Σ_j V(r_ij) − √(Σ_j φ(r_ij)),    V(r) = Σ_k a_k (r_k − r)³₊,    φ(r) = Σ_k A_k (R_k − r)³₊,

lengths in units of the lattice constant: Finnis & Sinclair, Philos. Mag. A 50, 45 (1984), in the cubic form of Ackland
& Vitek, Phys. Rev. B 41, 10324 (1990), with the knots that Nichol & Ackland, Phys. Rev. B 93, 184101 (2016), chose for
the alkali metals.
"""

from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Final, NamedTuple

import numpy as np

from mlnegf._common import Floats, reals, require
from mlnegf.atomistic.kernels import energies_and_forces, near_pairs

_require = partial(require, caller="FinnisSinclair")

Knots = tuple[tuple[float, float], ...]
"""Pairs of a strength and the distance, in lattice constants, at which its cube sets in."""

FARTHEST: Final = 1e5
"""An atom may be from the origin, Å."""
CORE: Final = 0.3
"""Distance, in lattice constants, below which two atoms are a mistake and not a configuration."""


class Forces(NamedTuple):
    """Energy of every atom, eV, (atoms,), and the force on it, eV/Å, (atoms, 3)."""

    energies: Floats
    forces: Floats


@dataclass(frozen=True)
class FinnisSinclair:
    """A metal.

    Attributes
    ----------
    symbol : str
        Of the element.
    mass : float
        Atomic mass units.
    lattice_constant : float
        Å.
    repulsion, attraction : tuple of (strength, knot)
        a_k, eV, and r_k; A_k, eV², and R_k; knots in lattice constants.
    """

    symbol: str
    mass: float
    lattice_constant: float
    repulsion: Knots
    attraction: Knots

    @cached_property
    def cutoff(self) -> float:
        """Distance beyond which two atoms do not meet, Å."""
        return self.lattice_constant * max(knot for _, knot in self.repulsion + self.attraction)

    @cached_property
    def coefficients(self) -> tuple[Floats, Floats, Floats, Floats]:
        """Return a_k, eV/Å³, r_k, Å, A_k, eV²/Å³, R_k, Å."""
        a0 = self.lattice_constant
        scale = np.array([a0**-3, a0])
        parts = [np.array(knots) * scale for knots in (self.repulsion, self.attraction)]
        (a, r), (A, R) = (np.ascontiguousarray(part.T) for part in parts)
        return a, r, A, R

    def __call__(self, positions: Any) -> Forces:
        """Return the energy of every atom and the force on it.

        Parameters
        ----------
        positions : array, (atoms, 3)
            Å.

        Raises
        ------
        ValueError
            If these are no positions, or two atoms lie on each other.
        """
        found = require_positions(positions, "FinnisSinclair")
        pairs = near_pairs(found, self.cutoff)
        require_apart(found, self.lattice_constant, "FinnisSinclair", pairs)
        return Forces(*energies_and_forces(found, pairs, *self.coefficients))

    def energy_per_atom(self, cell: Floats, basis: Floats) -> float:
        """Return the energy of a crystal, eV per atom.

        Parameters
        ----------
        cell : ndarray, (3, 3)
            Lattice vectors in rows, Å.
        basis : ndarray, (atoms, 3)
            Å.
        """
        # Every image that can be met: as many cells as lattice planes lie within the cutoff.
        heights = 1.0 / np.linalg.norm(np.linalg.inv(cell), axis=0)
        counts = np.ceil(self.cutoff / heights).astype(int) + 1
        shifts = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in counts), indexing="ij"), -1).reshape(-1, 3)
        images = (shifts @ cell)[:, None] + basis
        total = 0.0
        for atom in basis:
            distance = np.linalg.norm(images - atom, axis=-1).ravel()
            distance = distance[(distance > 1e-9) & (distance < self.cutoff)]
            total += 0.5 * _cubes(distance, self.coefficients[:2]) - np.sqrt(_cubes(distance, self.coefficients[2:]))
        return float(total / len(basis))


def _cubes(distance: Floats, knots: tuple[Floats, ...]) -> float:
    strength, knot = knots
    return float((strength * np.clip(knot - distance[:, None], 0.0, None) ** 3).sum())


POTASSIUM: Final = FinnisSinclair(
    symbol="K",
    mass=39.0983,
    lattice_constant=5.328,
    repulsion=(
        (-11.84924, 1.3),
        (49.354525, 1.22),
        (-64.301579, 1.15),
        (42.667523, 1.06),
        (-22.982073, 0.95),
        (16.184861, np.sqrt(0.75)),
    ),
    attraction=((3.308833, 1.3), (-4.237058, 1.2)),
)
"""Fitted to the cohesive energy, 0.934 eV, the lattice constant, 5.328 Å, and the elastic constants at room temperature
of Smith & Smith (1964), with a dimer of 4.1 Å and a core that keeps chains from collapsing.

The second-moment parameters published for potassium (Li, Barojas & Papaconstantopoulos, Phys. Rev. B 57, 15519 (1998))
make its bcc crystal unstable: C' < 0, and fcc lies 6 meV below.
"""


def require_positions(value: Any, caller: str) -> Floats:
    """Return positions, (atoms, 3), Å, or refuse them."""
    found = reals(value, 2)
    good = found is not None and found.shape[1] == 3 and float(abs(found).max()) <= FARTHEST
    require(good, "positions", value, f"numbers of Å up to {FARTHEST:g}, of shape (atoms, 3)", caller)
    assert found is not None
    return found


def require_apart(positions: Floats, lattice_constant: float, caller: str, pairs: Any = None) -> None:
    """Refuse atoms that lie on each other."""
    least = CORE * lattice_constant
    pairs = near_pairs(positions, least) if pairs is None else pairs
    distance = np.linalg.norm(positions[pairs[:, 0]] - positions[pairs[:, 1]], axis=-1)
    if len(distance) and distance.min() < least:
        place = int(distance.argmin())
        one, other = pairs[place].tolist()
        raise ValueError(
            f"{caller}: positions put atoms {one} and {other} {distance[place]:.3g} Å apart, expected {least:.2f} Å or "
            "more; move them apart, or remove one."
        )
