"""A network for the form factors of several kinds of atoms: a known formula, and what a shared network adds to it."""

from collections.abc import Mapping
from typing import Final

import torch
from torch import nn

from mlnegf._common import is_positive, require
from mlnegf.learning.networks.network import counted

Tensor = torch.Tensor

SIZE: Final = 10.0
"""Of what the network adds, in the formula's unit."""
BUMPS: Final = 13
"""Gaussians along q that the network reads."""


class FormFactorNetwork(nn.Module):
    """q → v(q) of each kind of atom: (q² − a₁) a₀/(a₂ e^{a₃q²} − 1) + e^{−(q/fade)⁴} f(q).

    The network f reads bumps along q and along −q, so that v is smooth, and flat at q → 0 as a short-ranged atom's must
    be; what it adds is gone beyond `fade`, whatever it learned. Untrained, it adds nothing. q in units of the caller's
    choice.

    Parameters
    ----------
    start : mapping of str to (a₀, a₁, a₂, a₃)
        The formula of each kind of atom; its numbers are learned with the rest.
    width : int
        Of two layers.
    fade : float
        Where what the network adds ends, in the unit of q.
    """

    def __init__(
        self, start: Mapping[str, tuple[float, float, float, float]], width: int = 16, fade: float = 3.0
    ) -> None:
        (width,) = counted("FormFactorNetwork", width=width).values()
        require(bool(start), "start", start, "four numbers for each kind of atom", "FormFactorNetwork")
        require(is_positive(fade), "fade", fade, "a positive number", "FormFactorNetwork")
        super().__init__()
        self.places: Tensor
        self.kinds, self.fade = tuple(start), float(fade)
        self.formula = nn.Parameter(torch.tensor([list(start[name]) for name in start], dtype=torch.float64))
        self.register_buffer("places", torch.linspace(0.0, self.fade, BUMPS, dtype=torch.float64))
        self.added = nn.Sequential(nn.Linear(BUMPS, width), nn.Tanh(), nn.Linear(width, len(start))).double()
        last = self.added[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(self, species: str, q: Tensor) -> Tensor:
        """Return v(q), (...), of wave numbers (...), in the formula's unit."""
        require(species in self.kinds, "species", species, f"one of {self.kinds}", "FormFactorNetwork")
        number, square = self.kinds.index(species), q.double() ** 2
        a0, a1, a2, a3 = self.formula[number]
        fading = torch.exp(-((q / self.fade) ** 4))
        wide = self.fade / (BUMPS - 1)
        bumps = sum(torch.exp(-0.5 * ((sign * q[..., None] - self.places) / wide) ** 2) for sign in (1, -1))
        formula = a0 * (square - a1) / (a2 * torch.exp(a3 * square) - 1)
        found: Tensor = formula + SIZE * fading * self.added(bumps)[..., number]
        return found
