"""A local density of states from what its points see: taught on small cells, asked about large ones."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from mlnegf._common import Floats, is_count, require
from mlnegf.crystal.lattice import Crystal
from mlnegf.crystal.local_density import LocalDensity
from mlnegf.crystal.surroundings import Surroundings
from mlnegf.learning import training as loop
from mlnegf.learning.networks.point import PointNetwork
from mlnegf.learning.training import Settings, Trained

POINTS = 1024
"""Of one step of the weights."""


class Points(NamedTuple):
    """Points of some cells: features (points, features), d(ε, r), 1/(eV Å³), (points, energies)."""

    features: torch.Tensor
    values: torch.Tensor


def points_of(
    densities: Sequence[LocalDensity], surroundings: Surroundings, size: int = POINTS, seed: int = 0
) -> list[Points]:
    """Deal the points of local densities out, in an order drawn once."""
    require(bool(densities), "densities", densities, "at least one LocalDensity", "points_of")
    features = np.concatenate([surroundings(one.crystal, one.fractions) for one in densities])
    values = np.concatenate([one.values.T for one in densities])
    order = np.random.default_rng(seed).permutation(len(features))
    parts = np.array_split(order, max(1, len(order) // size))
    return [Points(torch.from_numpy(features[part]), torch.from_numpy(values[part])) for part in parts]


def loss(model: PointNetwork, points: Points) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean squared error in units of the mean at each energy, twice: it is made small and watched."""
    square = ((model(points.features) - points.values) / model.unit).square().mean()
    return square, square.detach()


def train(
    training: Sequence[Points],
    validation: Sequence[Points],
    settings: Settings,
    width: int = 128,
    progress: bool = True,
) -> Trained[PointNetwork]:
    """Train one network; see `learning.training.train`."""

    def new() -> PointNetwork:
        model = PointNetwork(training[0].features.shape[1], training[0].values.shape[1], width)
        model.settle(torch.cat([some.features for some in training]), torch.cat([some.values for some in training]))
        return model

    return loop.train_new(new, loss, training, validation, settings, progress)


@dataclass(frozen=True, eq=False)
class Predictor:
    """From a crystal to its local density of states, by networks that vote.

    Attributes
    ----------
    surroundings : Surroundings
    models : sequence of PointNetwork
    energies : ndarray, (energies,)
        ε, eV.
    spacing : float
        Between points, at most, Å.
    electrons : float
        An atom.
    """

    surroundings: Surroundings
    models: Sequence[PointNetwork]
    energies: Floats
    spacing: float
    electrons: float

    def __post_init__(self) -> None:
        require(bool(self.models), "models", self.models, "at least one PointNetwork", "Predictor")
        for model in self.models:
            wanted = {"features": self.surroundings.size, "answers": len(self.energies)}
            given = {name: model.config[name] for name in wanted}
            require(given == wanted, "models", given, f"{wanted}, as surroundings and energies have", "Predictor")

    def shape(self, crystal: Crystal) -> tuple[int, int, int]:
        """Return how many points are asked along each lattice vector."""
        lengths = np.linalg.norm(crystal.vectors, axis=1)
        a, b, c = (max(1, int(np.ceil(length / self.spacing - 1e-9))) for length in lengths)
        return a, b, c

    def __call__(self, crystal: Crystal, shape: tuple[int, int, int] | None = None) -> LocalDensity:
        """Return the mean of the votes; memory beyond the answer does not grow with the cell."""
        one, *others = self.votes(crystal, shape)
        mean = sum((other.values for other in others), one.values) / len(self.models)
        return LocalDensity(crystal, one.electrons, one.energies, np.asarray(mean), one.shape)

    def votes(self, crystal: Crystal, shape: tuple[int, int, int] | None = None) -> list[LocalDensity]:
        """Return what each network says."""
        asked = self.shape(crystal) if shape is None else shape
        good = len(asked) == 3 and all(is_count(count) for count in asked)
        require(good, "shape", shape, "three whole numbers, 1 or more, or None", "Predictor")
        empty = np.empty((len(self.energies), 0), dtype=np.float32)
        electrons = self.electrons * len(crystal.species)
        grid = LocalDensity(crystal, electrons, self.energies, empty, asked)
        found = [np.empty((len(self.energies), int(np.prod(asked))), dtype=np.float32) for _ in self.models]
        first = 0
        for features in self.surroundings.streamed(crystal, grid.fractions):
            last = first + len(features)
            for values, part in zip(found, self._said(features), strict=True):
                values[:, first:last] = part
            first = last
        return [LocalDensity(crystal, electrons, self.energies, values, asked) for values in found]

    def _said(self, features: np.ndarray) -> Iterator[np.ndarray]:
        with torch.no_grad():
            for model in self.models:
                yield model(torch.from_numpy(features)).numpy().T
