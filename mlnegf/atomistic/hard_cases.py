"""Wires that no surroundings of an atom tell apart, though they conduct differently: what local networks must miss."""

from typing import Final

import numpy as np

from mlnegf._common import Floats, is_count, is_positive, require
from mlnegf.atomistic.potential import POTASSIUM
from mlnegf.atomistic.wires import Wire

A0: Final = POTASSIUM.lattice_constant
CELLS: Final = 26
"""Length of the wire with two necks, cells."""
DIAMETER: Final = 17.5
"""Å."""
SLOPE: Final = (9.0, 5.0, 6.0, 4.0, 1.0)
"""Radii of the planes, half a cell apart, that lead from a wire's cells to a single atom, Å."""


def two_necks(apart: int, thick: float = 0.75) -> Wire:
    """Cut two equal necks into a perfect wire: electrons are reflected between them.

    Parameters
    ----------
    apart : int
        Cells from one neck to the other; farther than two cutoffs of a descriptor no atom sees both.
    thick : float
        Radius of what is left of three planes, cells.
    """
    require(is_count(apart, 3, CELLS - 8), "apart", apart, f"3 to {CELLS - 8} cells", "two_necks")
    require(is_positive(thick), "thick", thick, "a positive number of cells", "two_necks")
    whole = Wire.of_crystal(CELLS * A0, DIAMETER)
    plane = np.round(whole.positions[:, 0] / (A0 / 2)).astype(int)
    radius = np.hypot(*whole.positions[:, 1:].T)
    first = CELLS - apart
    inside = np.isin(plane, [place + shift for place in (first, first + 2 * apart) for shift in (-1, 0, 1)])
    return Wire(whole.positions[~(inside & (radius > thick * A0))], whole.held, A0)


def chain(atoms: int, spacing: float) -> Wire:
    """Hang a chain of single atoms between two tips.

    Parameters
    ----------
    atoms : int
    spacing : float
        Between them, Å; beyond 5.8 the Fermi energy lies outside the chain's band, and electrons tunnel.
    """
    require(is_count(atoms, 1, 1000), "atoms", atoms, "a whole number between 1 and 1000", "chain")
    require(is_positive(spacing) and 3.0 <= spacing <= 7.0, "spacing", spacing, "3 to 7 Å", "chain")
    cells = Wire.of_crystal(3 * A0, DIAMETER)
    parts: list[Floats] = [cells.positions[: 2 * cells.held]]
    for number, radius in enumerate(SLOPE, start=4):
        steps = np.arange(-3, 4) + 0.5 * (number % 2)
        places = A0 * np.stack(np.meshgrid(steps, steps, indexing="ij"), -1).reshape(-1, 2)
        places = places[np.hypot(*places.T) <= radius]
        parts.append(np.column_stack([np.full(len(places), number * A0 / 2), places]))
    tip = np.concatenate(parts)
    end = float(tip[:, 0].max())
    line = np.zeros((atoms, 3))
    line[:, 0] = end + spacing * np.arange(1, atoms + 1)
    other = tip * [-1.0, 1.0, 1.0] + [2 * end + spacing * (atoms + 1), 0.0, 0.0]
    return Wire(np.concatenate([tip, line, other[np.argsort(other[:, 0], kind="stable")]]), cells.held, A0)
