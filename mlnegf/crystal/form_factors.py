"""What an atom is to an electron that passes as a wave: v(q), as a table, as a formula, or as a network.

A potential of a crystal is V(G) = Σ_s e^{−iG·τ_s} v_s(|G|)/Ω, summed over the atoms of a cell of volume Ω; v in eV Å³.
"""

from collections.abc import Mapping
from typing import Final, Protocol

import torch
from torch import nn

from mlnegf._common import is_positive, reals, require
from mlnegf.learning.networks.even import EvenNetwork

HARTREE: Final = 27.211386
"""eV."""
BOHR: Final = 0.52917721
"""Å."""
NATURAL: Final = HARTREE * BOHR**3
"""Of a form factor in atomic units, eV Å³."""

SIZE: Final = 10.0
"""Of what a network adds, Ha a_B³."""

Tensor = torch.Tensor
Parameters = Mapping[str, tuple[float, float, float, float]]
"""a₀ to a₃ of `FourParameters`, of each kind of atom."""


class FormFactors(Protocol):
    """Form factors of some kinds of atoms."""

    def __call__(self, species: str, q: Tensor) -> Tensor:
        """Return v(q), eV Å³, of wave numbers q, 1/Å."""


def known(species: str, kinds: Mapping[str, object], caller: str) -> None:
    """Refuse an atom that has no form factor."""
    require(species in kinds, "species", species, f"one of {sorted(kinds)}", caller)


class FourParameters(nn.Module):
    """v(q) = a₀ (q² − a₁)/(a₂ e^{a₃ q²} − 1), q in 1/a_B, v in Ha a_B³: Wang & Zunger, Phys. Rev. B 51, 17398 (1995).

    Parameters
    ----------
    start : mapping of str to (a₀, a₁, a₂, a₃)
        Of each kind of atom; a fit changes them.
    """

    def __init__(self, start: Parameters) -> None:
        known = isinstance(start, Mapping) and bool(start) and all(isinstance(name, str) for name in start)
        rows = reals(list(start.values()), 2) if known else None
        good = rows is not None and rows.shape == (len(start), 4)
        require(good, "start", start, "four finite numbers for each kind of atom", "FourParameters")
        super().__init__()
        self.kinds = {name: place for place, name in enumerate(start)}
        self.rows = nn.Parameter(torch.tensor(rows))

    def forward(self, species: str, q: Tensor) -> Tensor:
        """Return v(q), eV Å³, of wave numbers q, 1/Å."""
        known(species, self.kinds, "FourParameters")
        square = (q * BOHR) ** 2
        a0, a1, a2, a3 = self.rows[self.kinds[species]]
        found: Tensor = NATURAL * a0 * (square - a1) / (a2 * torch.exp(a3 * square) - 1)
        return found


class Faded(nn.Module):
    """Form factors of another kind times e^{−(q/end)⁸}: none couples waves that a small cutoff already leaves apart.

    Parameters
    ----------
    inner : Module
    end : float
        Where they fade, 1/a_B.
    """

    def __init__(self, inner: nn.Module, end: float) -> None:
        require(isinstance(inner, nn.Module), "inner", inner, "form factors that are a Module", "Faded")
        require(is_positive(end), "end", end, "a positive number of 1/a_B", "Faded")
        super().__init__()
        self.inner, self.end = inner, float(end)

    def forward(self, species: str, q: Tensor) -> Tensor:
        """Return v(q), eV Å³, of wave numbers q, 1/Å."""
        inner: Tensor = self.inner(species, q)
        return inner * torch.exp(-((q * BOHR / self.end) ** 8))


class LearnedFormFactors(nn.Module):
    """A formula, and what one network for all kinds of atoms adds to it: nothing before it has learned.

    Parameters
    ----------
    start : mapping of str to (a₀, a₁, a₂, a₃)
        Of the formula, which is learned with the rest.
    width : int
        Of the network.
    reach : float
        Beyond which nothing is added, 1/a_B.
    """

    def __init__(self, start: Parameters, width: int = 16, reach: float = 3.0) -> None:
        super().__init__()
        self.formula = FourParameters(start)
        self.added = EvenNetwork(len(start), width, reach).double()

    def forward(self, species: str, q: Tensor) -> Tensor:
        """Return v(q), eV Å³, of wave numbers q, 1/Å."""
        formula: Tensor = self.formula(species, q)
        added: Tensor = self.added(q * BOHR)[..., self.formula.kinds[species]]
        return formula + SIZE * NATURAL * added
