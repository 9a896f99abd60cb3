"""Numbers of a point, and their slopes and curvatures there, in one pass: what a law of nature asks of a network.

A layer maps slopes as it maps values. A bend f carries them on by the chain rule, f(z), f′ z_i, f″ z_i² + f′ z_ii, so
that no derivative of a derivative has to be taken backwards.
"""

from itertools import pairwise
from typing import Final, NamedTuple

import torch
from torch import nn

from mlnegf._common import require
from mlnegf.learning.networks.network import counted

Tensor = torch.Tensor

BENDS: Final = ("tanh", "sine")


class Jet(NamedTuple):
    """Values (points, outputs), slopes and curvatures along each input (inputs, points, outputs)."""

    value: Tensor
    slope: Tensor
    curvature: Tensor


class JetNetwork(nn.Module):
    """Smooth functions of a few coordinates.

    Parameters
    ----------
    inputs, outputs : int
    width, layers : int
        Of hidden layers.
    bend : str
        "tanh" or "sine".
    """

    def __init__(self, inputs: int, outputs: int, width: int = 64, layers: int = 4, bend: str = "tanh") -> None:
        counts = counted("JetNetwork", inputs=inputs, outputs=outputs, width=width, layers=layers)
        require(isinstance(bend, str) and bend in BENDS, "bend", bend, f"one of {BENDS}", "JetNetwork")
        super().__init__()
        self.config = {**counts, "bend": bend}
        self.bend = bend
        inputs, outputs, width, layers = counts.values()
        maps = [nn.Linear(one, other) for one, other in pairwise([inputs, *[width] * layers, outputs])]
        for linear in maps:
            nn.init.xavier_normal_(linear.weight)
            nn.init.zeros_(linear.bias)
        self.hidden, self.last = nn.ModuleList(maps[:-1]), maps[-1]

    def forward(self, points: Tensor) -> Tensor:
        """Return values (points, outputs) at points (points, inputs)."""
        found = points
        for layer in self.hidden:
            found = self._bent(layer(found))[0]
        said: Tensor = self.last(found)
        return said

    def jet(self, points: Tensor) -> Jet:
        """Return values, slopes and curvatures at points (points, inputs)."""
        value = points
        slope = torch.eye(points.shape[1], dtype=points.dtype)[:, None].expand(-1, len(points), -1)
        curvature = torch.zeros_like(slope)
        straight = nn.functional.linear
        for layer in self.hidden:
            value, first, second = self._bent(layer(value))
            slope, curvature = straight(slope, layer.weight), straight(curvature, layer.weight)  # type: ignore[arg-type]
            slope, curvature = first * slope, second * slope**2 + first * curvature
        return Jet(self.last(value), straight(slope, self.last.weight), straight(curvature, self.last.weight))

    def _bent(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return f, f′ and f″."""
        if self.bend == "sine":
            return z.sin(), z.cos(), -z.sin()
        value = z.tanh()
        first = 1 - value**2
        return value, first, -2 * value * first
