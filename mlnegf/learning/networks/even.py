"""Smooth numbers along one variable, the same on both sides of zero, and gone beyond a reach."""

from typing import Final

import torch
from torch import nn

from mlnegf._common import is_positive, require
from mlnegf.learning.networks.network import counted

Tensor = torch.Tensor

BUMPS: Final = 13
"""Gaussians along the variable that the network reads."""


class EvenNetwork(nn.Module):
    """x → e^{−(x/reach)⁴} f(x), f(−x) = f(x): flat at zero, whatever it learned; zero before it has.

    Parameters
    ----------
    answers : int
        Numbers at each x.
    width : int
        Of the layer between.
    reach : float
        In the unit of x.
    """

    def __init__(self, answers: int, width: int = 16, reach: float = 1.0) -> None:
        counts = counted("EvenNetwork", answers=answers, width=width)
        answers, width = counts.values()
        require(is_positive(reach), "reach", reach, "a positive number", "EvenNetwork")
        super().__init__()
        self.config = {**counts, "reach": float(reach)}
        self.reach = float(reach)
        self.places: Tensor
        self.register_buffer("places", torch.linspace(0.0, self.reach, BUMPS))
        last = nn.Linear(width, answers)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(nn.Linear(BUMPS, width), nn.Tanh(), last)

    def forward(self, x: Tensor) -> Tensor:
        """Return numbers (..., answers) of x (...)."""
        wide = self.reach / (BUMPS - 1)
        # Read from both sides of zero.
        bumps = sum(torch.exp(-0.5 * ((side[..., None] - self.places) / wide) ** 2) for side in (x, -x))
        found: Tensor = torch.exp(-((x / self.reach) ** 4))[..., None] * self.layers(bumps)
        return found
