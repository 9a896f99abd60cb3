"""The conductance of a wire from the surroundings of its atoms: trained on short wires, asked about long ones."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from mlnegf._common import Floats, require
from mlnegf.atomistic.descriptors import Projection, Singles, Soap
from mlnegf.learning import training as loop
from mlnegf.learning.networks.pooled import PooledNetwork
from mlnegf.learning.training import Settings, Trained

BATCH = 16
"""Structures of one step of the weights."""


class Batch(NamedTuple):
    """Structures of one number of atoms: features (structures, atoms, features), and conductances (structures,)."""

    features: torch.Tensor
    conductance: torch.Tensor


class Scores(NamedTuple):
    """How good predictions are: share of the variance explained, mean absolute error, 2e²/h."""

    r2: float
    mae: float

    @staticmethod
    def of(predicted: Floats, true: Floats) -> "Scores":
        """Compare."""
        error = predicted - true
        return Scores(float(1 - (error**2).mean() / true.var()), float(abs(error).mean()))


def batches(features: Singles, conductance: Floats, size: int = BATCH, seed: int = 0) -> list[Batch]:
    """Deal structures out, in an order drawn once."""
    order = np.random.default_rng(seed).permutation(len(features))
    parts = np.array_split(order, max(1, len(order) // size))
    values = conductance.astype(np.float32)
    return [Batch(torch.from_numpy(features[part]), torch.from_numpy(values[part])) for part in parts]


def loss(model: PooledNetwork, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean squared error of a batch, twice: it is made small and watched."""
    square = (model(batch.features) - batch.conductance).square().mean()
    return square, square.detach()


def train(
    training: Sequence[Batch],
    validation: Sequence[Batch],
    settings: Settings,
    pooling: str = "max",
    width: int = 64,
    progress: bool = True,
) -> Trained[PooledNetwork]:
    """Train one network; see `learning.training.train`."""
    for name, some in (("training", training), ("validation", validation)):
        require(bool(some), name, some, "at least one Batch", "train")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        model = PooledNetwork(training[0].features.shape[-1], width, pooling)
    check = loop.checksum(part for batch in (*training, *validation) for part in batch)
    data = f"{len(training)} batches, checksum {check}, for {model.config}"
    return loop.train(model, loss, training, validation, settings, data, progress)


def predicted(model: PooledNetwork, features: Singles, at_once: int = 64) -> Floats:
    """Return the conductance of structures, 2e²/h, of features (structures, atoms, features)."""
    with torch.no_grad():
        parts = [model(torch.from_numpy(features[n : n + at_once])) for n in range(0, len(features), at_once)]
    return torch.cat(parts).double().numpy()


@dataclass(frozen=True, eq=False)
class Predictor:
    """From positions to conductance, by networks that vote.

    Attributes
    ----------
    soap : Soap
    projection : Projection
    models : sequence of PooledNetwork
    """

    soap: Soap
    projection: Projection
    models: Sequence[PooledNetwork]

    def __call__(self, positions: Any) -> tuple[float, float]:
        """Return the conductance of a wire and the spread of the votes, 2e²/h, of positions (atoms, 3), Å."""
        features = self.projection(self.soap(positions))[None]
        votes = np.array([predicted(model, features)[0] for model in self.models])
        return float(votes.mean()), float(votes.std())

    def gradient(self, positions: Any) -> Floats:
        """Return how the conductance follows each atom, (atoms, 3), 2e²/h per Å."""
        features = torch.from_numpy(self.projection(self.soap(positions)).astype(np.float64)).requires_grad_()
        said = torch.stack([copy.deepcopy(model).double()(features[None])[0] for model in self.models]).mean()
        (slope,) = torch.autograd.grad(said, features)
        by_soap = (slope.numpy() / self.projection.scale) @ self.projection.directions.T
        return self.soap.pull(positions, by_soap)
