"""What else a wire may be described by: one row of numbers for the whole of it, or only how thin it is.

The network of local surroundings has to beat these.
"""

from typing import Any, Final

import numpy as np

from mlnegf._common import Floats, is_count, require
from mlnegf.atomistic.potential import POTASSIUM, require_apart, require_positions

CHARGE: Final = 19
"""Of a potassium nucleus."""
SMOOTH: Final = 2.0
"""Standard deviation along x with which an atom counts, Å."""
STEP: Final = 1.0
"""Distance between places at which a section is taken, Å."""
SECTIONS: Final = np.arange(5.0, 255.0, 10.0)
"""Areas, Å², up to each of which the length of a wire is told."""


def coulomb_eigenvalues(positions: Any, size: int) -> Floats:
    """Return the eigenvalues of the Coulomb matrix, largest first, filled up with zeros, (size,).

    M_ii = Z^2.4/2 and M_ij = Z²/r_ij, atomic units: Rupp et al., Phys. Rev. Lett. 108, 058301 (2012).

    Parameters
    ----------
    positions : array, (atoms, 3)
        Å.
    size : int
        As many atoms as any wire has.
    """
    given = require_positions(positions, "coulomb_eigenvalues")
    words = f"a whole number, {len(given)} or more, the number of atoms"
    require(is_count(size, len(given), 10**7), "size", size, words, "coulomb_eigenvalues")
    require_apart(given, POTASSIUM.lattice_constant, "coulomb_eigenvalues")
    distance = np.linalg.norm(given[:, None] - given, axis=-1) / 0.529177
    np.fill_diagonal(distance, 1.0)
    matrix = CHARGE**2 / distance
    np.fill_diagonal(matrix, 0.5 * CHARGE**2.4)
    found = np.zeros(size)
    found[: len(given)] = np.linalg.eigvalsh(matrix)[::-1]
    return found


def sections(positions: Any) -> Floats:
    """Return the area of a wire at places along it, Å², the first and last `SMOOTH` left out.

    Each atom has the volume that it has in the crystal, and is smeared along x.
    """
    given = require_positions(positions, "sections")
    x = given[:, 0]
    places = np.arange(x.min() + SMOOTH, x.max() - SMOOTH, STEP)
    weights = np.exp(-0.5 * ((places[:, None] - x) / SMOOTH) ** 2) / (np.sqrt(2 * np.pi) * SMOOTH)
    return np.asarray(weights.sum(1) * POTASSIUM.lattice_constant**3 / 2)


def narrowest_section(positions: Any) -> float:
    """Return the smallest area, Å²: all that Sharvin's formula asks for."""
    return float(sections(positions).min())


def thin_lengths(positions: Any) -> Floats:
    """Return how much of a wire is as thin as each of `SECTIONS` or thinner, Å: its whole profile, in no order."""
    return np.asarray((sections(positions)[:, None] <= SECTIONS).sum(0) * STEP)
