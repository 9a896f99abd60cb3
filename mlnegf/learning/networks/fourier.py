"""Functions to functions: a Fourier neural operator in one, two or three dimensions, Li et al., arXiv:2010.08895.

Each layer multiplies the lowest waves of its channels by matrices, adds a map of each point by itself, and bends the
sum. Waves are known by how often they fit into the box, so that weights learned on one grid serve on any other.
"""

from collections.abc import Sequence
from typing import Final

import torch
from torch import nn

from mlnegf._common import are_counts, require
from mlnegf.learning.networks.network import counted

Tensor = torch.Tensor

DIMENSIONS: Final = (1, 2, 3)


class FourierLayer(nn.Module):
    """The lowest waves of each channel, mixed: (batch, width, ...) to the same.

    Parameters
    ----------
    width : int
        Channels.
    modes : sequence of int
        Waves kept along each dimension; along all but the last, of either sign.
    """

    def __init__(self, width: int, modes: Sequence[int]) -> None:
        super().__init__()
        self.modes = tuple(modes)
        sides = [2 * count - 1 for count in self.modes[:-1]] + [self.modes[-1]]
        # Real and imaginary parts apart: optimisers and files know real numbers.
        self.weights = nn.Parameter(torch.randn(2, width, width, *sides) / width)

    def forward(self, fields: Tensor) -> Tensor:
        """Return the mixed waves as fields."""
        dims = tuple(range(2, fields.ndim))
        waves = torch.fft.rfftn(fields, dim=dims, norm="forward")
        kept = [
            self._kept(size, count, dim == dims[-1])
            for dim, size, count in zip(dims, waves.shape[2:], self.modes, strict=True)
        ]
        weights = torch.complex(*self.weights)
        low, mixed = waves, torch.zeros_like(waves)
        for dim, (wave, weight) in zip(dims, kept, strict=True):
            low = low.index_select(dim, wave)
            weights = weights.index_select(dim, weight)
        product = torch.einsum("bi...,io...->bo...", low, weights)
        grid = torch.meshgrid(*(wave for wave, _ in kept), indexing="ij")
        places: tuple[slice | Tensor, ...] = (slice(None), slice(None), *grid)
        mixed[places] = product
        found: Tensor = torch.fft.irfftn(mixed, fields.shape[2:], dim=dims, norm="forward")
        return found

    @staticmethod
    def _kept(size: int, count: int, half: bool) -> tuple[Tensor, Tensor]:
        """Return places among the waves, and among the weights, of what both hold; a coarse grid holds fewer."""
        if half:
            both = torch.arange(min(count, size))
            return both, both
        most = min(count, (size + 1) // 2) - 1
        number = torch.arange(-most, most + 1)
        return number % size, number % (2 * count - 1)


class FourierOperator(nn.Module):
    """Fields on a grid to fields on the same grid, whatever its size.

    Parameters
    ----------
    inputs, outputs : int
        Fields read, and said.
    modes : sequence of int
        Waves kept along each dimension.
    width : int
        Channels.
    layers : int
    """

    def __init__(self, inputs: int, outputs: int, modes: Sequence[int], width: int = 32, layers: int = 4) -> None:
        good = any(are_counts(modes, count, 1, 256) for count in DIMENSIONS)
        require(good, "modes", modes, "one to three whole numbers, 1 to 256", "FourierOperator")
        counts = counted("FourierOperator", inputs=inputs, outputs=outputs, width=width, layers=layers)
        super().__init__()
        self.config = {**counts, "modes": [int(count) for count in modes]}
        inputs, outputs, width, layers = counts.values()
        self.lift = nn.Linear(inputs, width)
        self.waves = nn.ModuleList(FourierLayer(width, modes) for _ in range(layers))
        self.points = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.lower = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, outputs))

    def forward(self, fields: Tensor) -> Tensor:
        """Return fields (batch, outputs, ...) of fields (batch, inputs, ...)."""
        found = self.lift(fields.movedim(1, -1))
        for waves, points in zip(self.waves, self.points, strict=True):
            found = nn.functional.gelu(waves(found.movedim(-1, 1)).movedim(1, -1) + points(found))
        said: Tensor = self.lower(found).movedim(-1, 1)
        return said
