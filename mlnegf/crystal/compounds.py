"""Five compounds with bands to fit to, and the formula that their authors fitted: see `reference/README.md`."""

from pathlib import Path
from typing import Final

import numpy as np

from mlnegf._common import Floats, require
from mlnegf.crystal.fitting import Target
from mlnegf.crystal.form_factors import BOHR, HARTREE, Parameters
from mlnegf.crystal.lattice import Crystal, zinc_blende

LATTICE: Final = {"CdSe": 11.4485278, "InAs": 11.4485278, "InP": 11.0902357, "GaAs": 10.683, "GaP": 10.2980625}
"""a_B."""
PUBLISHED: Final[Parameters] = {
    "Cd": (-31.4518, 1.3890, -0.0502, 1.6603),
    "Se": (8.4921, 4.3513, 1.3600, 0.3227),
    "In": (50.61980368, 2.16277701, 3.04453741, 0.54417263),
    "Ga": (50.77526879, 2.29527553, 3.72038796, 0.59163580),
    "As": (25.80944629, 2.58859458, 1.58196225, 0.51424374),
    "P": (27.44798360, 2.59141679, 1.66089229, 0.47417733),
}
"""Of `FourParameters`."""
EDGES: Final = slice(3, 5)
"""The highest valence band and the lowest conduction band."""
CORNERS: Final = {"L": 0, "Γ": 20, "X": 40}
"""Rows of points of symmetry."""


def atoms_of(name: str) -> tuple[str, str]:
    """Return the two atoms of a compound: a capital letter begins the second."""
    require(name in LATTICE, "name", name, f"one of {sorted(LATTICE)}", "compounds")
    second = next(n for n in range(1, len(name)) if name[n].isupper())
    return name[:second], name[second:]


def crystal_of(name: str) -> Crystal:
    """Return the crystal of a compound."""
    return zinc_blende(LATTICE[name] * BOHR, *atoms_of(name))


def wave_vectors() -> Floats:
    """Return L to Γ to X, and on from X over K to Γ, (61, 3), in reciprocal vectors."""
    down, up = np.linspace(0.5, 0.0, 21)[:, None], np.linspace(0.0, 0.5, 21)[1:, None]
    return np.concatenate([down * [1, 1, 1], up * [1, 0, 1], down[1:] * [1, 1, 2]])


def target(name: str, cutoff: float) -> Target:
    """Lay out a compound and its bands.

    Edges weigh 20 times as much as other bands, L, Γ and X ten times as much as other wave vectors.

    Parameters
    ----------
    name : str
        One of `LATTICE`.
    cutoff : float
        Ha.
    """
    crystal = crystal_of(name)
    wanted = np.loadtxt(Path(__file__).parent / "reference" / f"{name}.txt")
    weights = np.ones_like(wanted)
    weights[:, EDGES] *= 20.0
    weights[:, 5] *= 3.0  # five for one of its two spins, as published
    weights[list(CORNERS.values())] *= 10.0
    return Target(crystal, cutoff * HARTREE, wave_vectors(), wanted, weights)
