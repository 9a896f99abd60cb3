"""The conductance of a wire from the surroundings of its atoms: trained on short wires, asked about long ones."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import KDTree

from mlnegf._common import Floats, is_count, require
from mlnegf.atomistic.descriptors import Projection, Singles, Soap
from mlnegf.atomistic.potential import require_positions
from mlnegf.learning import training as loop
from mlnegf.learning.networks.pooled import PooledNetwork
from mlnegf.learning.networks.stacked import StackedNetwork
from mlnegf.learning.training import Settings, Trained

BATCH = 16
"""Structures of one step of the weights."""
NEAREST = 14
"""Neighbours that a stacked network listens to: two shells of the bcc crystal."""

Network = PooledNetwork | StackedNetwork
Indices = NDArray[np.int64]


class Batch(NamedTuple):
    """Structures of one number of atoms.

    Attributes
    ----------
    inputs : tuple of Tensor
        Features (structures, atoms, features), and for a `StackedNetwork` neighbours (structures, atoms, neighbours).
    conductance : Tensor, (structures,)
        2e²/h.
    """

    inputs: tuple[torch.Tensor, ...]
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


def nearest(positions: Any, count: int = NEAREST) -> Indices:
    """Return the nearest neighbours of every atom, (atoms, count), of positions (atoms, 3), Å."""
    given = require_positions(positions, "nearest")
    good = is_count(count, 1, len(given) - 1)
    require(good, "count", count, f"a whole number from 1 to {len(given) - 1}, the other atoms", "nearest")
    _, found = KDTree(given).query(given, count + 1)
    return np.asarray(found, dtype=np.int64)[:, 1:]


def batches(
    features: Singles, conductance: Floats, neighbours: Indices | None = None, size: int = BATCH, seed: int = 0
) -> list[Batch]:
    """Deal structures out, in an order drawn once."""
    order = np.random.default_rng(seed).permutation(len(features))
    parts = np.array_split(order, max(1, len(order) // size))
    values = conductance.astype(np.float32)
    inputs = (features,) if neighbours is None else (features, neighbours)
    return [
        Batch(tuple(torch.from_numpy(some[part]) for some in inputs), torch.from_numpy(values[part])) for part in parts
    ]


def loss(model: Network, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean squared error of a batch, twice: it is made small and watched."""
    square = (model(*batch.inputs) - batch.conductance).square().mean()
    return square, square.detach()


def train(
    training: Sequence[Batch],
    validation: Sequence[Batch],
    settings: Settings,
    pooling: str = "max",
    width: int = 64,
    progress: bool = True,
) -> Trained[Network]:
    """Train one network, a `StackedNetwork` if batches name neighbours; see `learning.training.train`."""

    def new() -> Network:
        features, *neighbours = training[0].inputs
        size = features.shape[-1]
        return StackedNetwork(size, width) if neighbours else PooledNetwork(size, width, pooling)

    return loop.train_new(new, loss, training, validation, settings, progress)


def predicted(model: Network, features: Singles, neighbours: Indices | None = None, at_once: int = 64) -> Floats:
    """Return the conductance of structures, 2e²/h, of features (structures, atoms, features)."""
    inputs = (features,) if neighbours is None else (features, neighbours)
    with torch.no_grad():
        parts = [
            model(*(torch.from_numpy(some[n : n + at_once]) for some in inputs))
            for n in range(0, len(features), at_once)
        ]
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
