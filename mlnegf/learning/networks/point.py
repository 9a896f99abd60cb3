"""What a point sees, to numbers at that point, none of them negative."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from mlnegf.learning.networks.network import counted

Tensor = torch.Tensor


class Points(NamedTuple):
    """Some points: features (points, features), and numbers to be said, (points, answers)."""

    features: Tensor
    values: Tensor


def dealt(features: Tensor, values: Tensor, size: int = 1024, seed: int = 0) -> list[Points]:
    """Deal points out, about `size` at a time, in an order drawn once."""
    order = np.random.default_rng(seed).permutation(len(features))
    return [Points(features[part], values[part]) for part in np.array_split(order, max(1, len(order) // size))]


class PointNetwork(nn.Module):
    """Features of points to positive numbers of points.

    Features are brought to mean zero and spread one by what `settle` has seen, down to a floor: what hardly differs
    stays faint. Answers are in units of their mean size.

    Parameters
    ----------
    features, answers : int
        Numbers of a point, read and said.
    width : int
        Of two layers.
    """

    def __init__(self, features: int, answers: int, width: int = 128) -> None:
        counts = counted("PointNetwork", features=features, answers=answers, width=width)
        features, answers, width = counts.values()
        super().__init__()
        self.mean: Tensor
        self.spread: Tensor
        self.unit: Tensor
        self.config = counts
        for name, size in (("mean", features), ("spread", features), ("unit", answers)):
            self.register_buffer(name, torch.ones(size))
        self.layers = nn.Sequential(
            nn.Linear(features, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, answers)
        )

    def settle(self, features: Tensor, answers: Tensor, floor: float = 1e-3) -> None:
        """Take means and spreads from examples, (points, features) and (points, answers)."""
        spread = features.std(0)
        self.mean.copy_(features.mean(0))
        self.spread.copy_(spread.clamp(min=floor * float(spread.max())))
        self.unit.copy_(answers.mean(0).clamp(min=1e-3 * float(answers.mean())))

    def forward(self, features: Tensor) -> Tensor:
        """Return numbers of points, (points, answers), of features (points, features)."""
        found: Tensor = nn.functional.softplus(self.layers((features - self.mean) / self.spread)) * self.unit
        return found

    @staticmethod
    def of(lessons: Sequence[Points], width: int = 128) -> "PointNetwork":
        """Draw one that suits some points."""
        features, values = (torch.cat(some) for some in zip(*lessons, strict=True))
        model = PointNetwork(features.shape[1], values.shape[1], width)
        model.settle(features, values)
        return model


def loss(model: PointNetwork, points: Points) -> tuple[Tensor, Tensor]:
    """Return the mean squared error in units of the mean of each answer, twice: it is made small and watched."""
    square = ((model(points.features) - points.values) / model.unit).square().mean()
    return square, square.detach()
