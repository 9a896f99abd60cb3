"""What an atom is to an electron that passes as a wave: v(q), as a table or as a formula.

A potential of a crystal is V(G) = Σ_s e^{−iG·τ_s} v_s(|G|)/Ω, summed over the atoms of a cell of volume Ω; v in eV Å³.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import torch

from mlnegf._common import require

HARTREE: Final = 27.211386
"""eV."""
BOHR: Final = 0.52917721
"""Å."""
NATURAL: Final = HARTREE * BOHR**3
"""Of a form factor in atomic units, eV Å³."""

Tensor = torch.Tensor


class FormFactors(Protocol):
    """Form factors of some kinds of atoms."""

    def __call__(self, species: str, q: Tensor) -> Tensor:
        """Return v(q), eV Å³, of wave numbers q, 1/Å."""


def known(species: str, kinds: Mapping[str, object], caller: str) -> None:
    """Refuse an atom that has no form factor."""
    require(species in kinds, "species", species, f"one of {sorted(kinds)}", caller)


@dataclass(frozen=True)
class FourParameters:
    """v(q) = a₀ (q² − a₁)/(a₂ e^{a₃ q²} − 1), q in 1/a_B, v in Ha a_B³: Wang & Zunger, Phys. Rev. B 51, 17398 (1995).

    Attributes
    ----------
    parameters : mapping of str to (a₀, a₁, a₂, a₃)
        Of each kind of atom.
    """

    parameters: Mapping[str, tuple[float, float, float, float]]

    def __call__(self, species: str, q: Tensor) -> Tensor:
        """Return v(q), eV Å³, of wave numbers q, 1/Å."""
        known(species, self.parameters, "FourParameters")
        return four_parameters(torch.tensor(self.parameters[species], dtype=q.dtype), q)


def four_parameters(parameters: Tensor, q: Tensor) -> Tensor:
    """Return v(q), eV Å³, of four parameters, (4,), and wave numbers q, 1/Å; differentiable by both."""
    square = (q * BOHR) ** 2
    a0, a1, a2, a3 = parameters
    found: Tensor = NATURAL * a0 * (square - a1) / (a2 * torch.exp(a3 * square) - 1)
    return found
