"""One network for every atom, and one number for all of them: a sum, a mean, the largest, or what they attend to."""

from typing import Final

import torch
from torch import nn

from mlnegf._common import require
from mlnegf.learning.networks.network import counted

Tensor = torch.Tensor

POOLINGS: Final = ("max", "mean", "sum", "attention")


class PooledNetwork(nn.Module):
    """Features of atoms to one number of the structure, whatever their order and number.

    With the largest of each feature over atoms, a structure is what its most telling atoms say: Qi et al., PointNet
    (2017); for conductances Bürkle et al., Phys. Rev. Lett. 126, 177701 (2021).

    Parameters
    ----------
    features : int
        Numbers an atom.
    width : int
        Of the layers.
    pooling : str
        One of `POOLINGS`.
    """

    def __init__(self, features: int, width: int = 64, pooling: str = "max") -> None:
        counts = counted("PooledNetwork", features=features, width=width)
        known = isinstance(pooling, str) and pooling in POOLINGS
        require(known, "pooling", pooling, f"one of {POOLINGS}", "PooledNetwork")
        super().__init__()
        self.config = {**counts, "pooling": pooling}
        self.pooling = pooling
        self.atom = nn.Sequential(
            nn.Linear(features, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width)
        )
        self.attention = nn.Linear(width, width)
        self.structure = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1))

    def of_atoms(self, features: Tensor) -> Tensor:
        """Return what each atom says, (..., atoms, width)."""
        found: Tensor = self.atom(features)
        return found

    def forward(self, features: Tensor) -> Tensor:
        """Return the number of each structure, (...), of features (..., atoms, features)."""
        said = self.of_atoms(features)
        found: Tensor = self.structure(self._pooled(said))
        return found[..., 0]

    def _pooled(self, said: Tensor) -> Tensor:
        if self.pooling == "max":
            return said.amax(-2)
        if self.pooling == "mean":
            return said.mean(-2)
        if self.pooling == "sum":
            return said.sum(-2) / 100.0
        weights = torch.softmax(self.attention(said), -2)
        return (weights * said).sum(-2)
