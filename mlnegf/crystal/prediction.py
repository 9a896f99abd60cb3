"""A local density of states from what its points see: taught on small cells, asked about large ones."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mlnegf._common import Floats, are_counts, is_positive, items, require
from mlnegf.crystal.lattice import Crystal
from mlnegf.crystal.local_density import LocalDensity
from mlnegf.crystal.surroundings import Surroundings
from mlnegf.learning import training as loop
from mlnegf.learning.networks.point import PointNetwork, Points, dealt, loss
from mlnegf.learning.training import Settings, Trained


def points_of(
    densities: Sequence[LocalDensity],
    surroundings: Surroundings,
    share: float = 1.0,
    size: int = 1024,
    seed: int = 0,
) -> list[Points]:
    """Deal out a share of the points of each local density, drawn once, `size` at a time."""
    known = items(densities, LocalDensity)
    require(bool(known), "densities", densities, "at least one LocalDensity", "points_of")
    good = isinstance(surroundings, Surroundings)
    require(good, "surroundings", surroundings, "Surroundings()", "points_of")
    require(is_positive(share) and share <= 1.0, "share", share, "a number above 0, up to 1", "points_of")
    rng, features, values = np.random.default_rng(seed), [], []
    for one in known or []:
        places = one.fractions
        drawn = rng.permutation(len(places))[: int(np.ceil(share * len(places)))]
        features.append(surroundings(one.crystal, places[drawn]))
        values.append(one.values.T[drawn])
    x, y = torch.from_numpy(np.concatenate(features)), torch.from_numpy(np.concatenate(values))
    return dealt(x, y, size, seed)


def train(
    training: Sequence[Points],
    validation: Sequence[Points],
    settings: Settings,
    width: int = 128,
    progress: bool = True,
) -> Trained[PointNetwork]:
    """Train one network; see `learning.training.train`."""
    return loop.train_new(lambda: PointNetwork.of(training, width), loss, training, validation, settings, progress)


def mean_of(votes: Sequence[LocalDensity]) -> LocalDensity:
    """Return the mean of local densities of one crystal."""
    require(bool(votes), "votes", votes, "at least one LocalDensity", "mean_of")
    one, *others = votes
    values = sum((other.values for other in others), one.values) / len(votes)
    return LocalDensity(one.crystal, one.electrons, one.energies, np.asarray(values), one.shape)


def doubt(votes: Sequence[LocalDensity], thermal_energy: float) -> Floats:
    """Return how far votes lie apart in the density, 1/Å³, (points,): a standard deviation.

    It is in a unit of its own until it is compared with errors: of densities that are known, the quantile of error over
    doubt is the factor with which it holds as large a share of other densities of that kind (split conformal
    prediction: Angelopoulos & Bates, arXiv:2107.07511).
    """
    require(len(votes) > 1, "votes", votes, "two or more", "doubt")
    return np.asarray(np.std([vote.density(thermal_energy) for vote in votes], axis=0, ddof=1))


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
        return mean_of(self.votes(crystal, shape))

    def votes(self, crystal: Crystal, shape: tuple[int, int, int] | None = None) -> list[LocalDensity]:
        """Return what each network says."""
        asked = self.shape(crystal) if shape is None else shape
        require(are_counts(asked, 3), "shape", shape, "three whole numbers, 1 or more, or None", "Predictor")
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
