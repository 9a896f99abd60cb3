"""Fourteen semiconductors by three or six numbers each: Cohen & Bergstresser, Phys. Rev. 141, 789 (1966)."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from mlnegf._common import require
from mlnegf.crystal.form_factors import HARTREE
from mlnegf.crystal.lattice import Crystal, zinc_blende
from mlnegf.crystal.plane_waves import HBAR2_OVER_2M

RYDBERG: Final = HARTREE / 2
SHELLS: Final = (3, 4, 8, 11)
"""|G|², (2π/a)², at which a potential does not vanish."""
REPEATED: Final = 6
"""Cells along a vector of a larger one, at most: its own lengths are fractions of these."""
WAVES: Final = 21
"""|G|², (2π/a)², up to which the table's gaps were worked out: 113 plane waves at Γ."""

TABLE: Final = {
    "Si": (5.43, -0.21, 0.04, 0.08, 0.0, 0.0, 0.0),
    "Ge": (5.66, -0.23, 0.01, 0.06, 0.0, 0.0, 0.0),
    "Sn": (6.49, -0.20, 0.00, 0.04, 0.0, 0.0, 0.0),
    "GaP": (5.44, -0.22, 0.03, 0.07, 0.12, 0.07, 0.02),
    "GaAs": (5.64, -0.23, 0.01, 0.06, 0.07, 0.05, 0.01),
    "AlSb": (6.13, -0.21, 0.02, 0.06, 0.06, 0.04, 0.02),
    "InP": (5.86, -0.23, 0.01, 0.06, 0.07, 0.05, 0.01),
    "GaSb": (6.12, -0.22, 0.00, 0.05, 0.06, 0.05, 0.01),
    "InAs": (6.04, -0.22, 0.00, 0.05, 0.08, 0.05, 0.03),
    "InSb": (6.48, -0.20, 0.00, 0.04, 0.06, 0.05, 0.01),
    "ZnS": (5.41, -0.22, 0.03, 0.07, 0.24, 0.14, 0.04),
    "ZnSe": (5.65, -0.23, 0.01, 0.06, 0.18, 0.12, 0.03),
    "ZnTe": (6.07, -0.22, 0.00, 0.05, 0.13, 0.10, 0.01),
    "CdTe": (6.41, -0.20, 0.00, 0.04, 0.15, 0.09, 0.04),
}
"""Lattice constant, Å; symmetric form factors at |G|² = 3, 8, 11 and antisymmetric ones at 3, 4, 11, Ry."""


@dataclass(frozen=True)
class Semiconductor:
    """One row of the table; atoms ``"+"`` and ``"-"``, whose form factors are V_S ± V_A.

    Attributes
    ----------
    name : str
        One of `TABLE`.
    """

    name: str

    def __post_init__(self) -> None:
        good = isinstance(self.name, str) and self.name in TABLE
        require(good, "name", self.name, f"one of {sorted(TABLE)}", "Semiconductor")

    @property
    def crystal(self) -> Crystal:
        """Two atoms a cell."""
        return zinc_blende(TABLE[self.name][0], "+", "-")

    @property
    def cutoff(self) -> float:
        """ħ²G²/2m of the outermost waves of the table's gaps, eV."""
        return HBAR2_OVER_2M * WAVES * (2 * np.pi / TABLE[self.name][0]) ** 2

    def __call__(self, species: str, q: torch.Tensor) -> torch.Tensor:
        """Return v(q), eV Å³, of wave numbers q, 1/Å; zero between the shells."""
        require(species in ("+", "-"), "species", species, "'+' or '-'", "Semiconductor")
        a, s3, s8, s11, a3, a4, a11 = TABLE[self.name]
        sign = 1.0 if species == "+" else -1.0
        values = (s3 + sign * a3, sign * a4, s8, s11 + sign * a11)
        shell = (q * a / (2 * np.pi)) ** 2
        words = f"lengths of its own lattice, of {a:g} Å, or of a cell of several: between them nothing is known"
        parts = (shell * count**2 for count in range(1, REPEATED + 1))
        known = any(bool(((part - part.round()).abs() < 1e-5).all()) for part in parts)
        require(known, "q", q.tolist(), words, "Semiconductor")
        found = torch.zeros_like(q)
        for place, value in zip(SHELLS, values, strict=True):
            found = torch.where((shell - place).abs() < 1e-6, value, found)
        # Of a cell of two atoms, half of its volume each.
        return found * RYDBERG * a**3 / 8
