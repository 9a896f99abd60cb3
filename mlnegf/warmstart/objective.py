"""What training makes small, and what it learns from: a case and its answer on the network's square.

One example is one case: all slices of one device at one bias, brought to the square once. The loss is the chosen
charge loss, in units of the untrained network's, plus a loss of the potential in units of a 10 mV error.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import nn

from mlnegf._common import Floats, is_finite, items, require
from mlnegf.learning import training as loop
from mlnegf.learning.losses import LOSSES, Loss, weighted_mean
from mlnegf.learning.networks import NETWORKS, Network
from mlnegf.learning.training import Trained
from mlnegf.warmstart.samples import Sample
from mlnegf.warmstart.slices import Squares, cell_average, corrections, encode, predict, silicon_average, untrained
from mlnegf.warmstart.trained_range import ranges_of

_require = partial(require, caller="training")

NOTICEABLE_POTENTIAL: Final = 0.01
"""Potential error, V, that counts as one: a tenth of a large correction."""


@dataclass(frozen=True)
class Settings(loop.Settings):
    """What decides a training run, apart from its data.

    Parameters
    ----------
    epochs, learning_rate, weight_decay, seed, checkpoint
        See `learning.training.Settings`.
    loss, network : str
        Names in `learning.losses.LOSSES` and `learning.networks.NETWORKS`.
    potential_weight : float
        Weight of the potential's loss beside the charge's.
    """

    loss: str = "potential_norm"
    potential_weight: float = 1.0
    network: str = "slice_autoencoder"

    def __post_init__(self) -> None:
        super().__post_init__()
        weight = self.potential_weight
        _require(is_finite(weight) and weight >= 0, "potential_weight", weight, "a number, zero or more")
        for name, known in (("loss", LOSSES), ("network", NETWORKS)):
            value = getattr(self, name)
            _require(isinstance(value, str) and value in known, name, value, f"one of {sorted(known)}")


@dataclass(frozen=True, eq=False)
class Example:
    """A case and its answer on the square, float32."""

    squares: Squares
    charge: torch.Tensor
    correction: torch.Tensor

    @classmethod
    def of(cls, sample: Sample, size: int) -> "Example":
        """Bring a sample to the square."""
        change = silicon_average(sample.potential - sample.first_potential, sample.mask, size)
        charge = cell_average(sample.charge, sample.mask, size)
        tensors = (torch.from_numpy(field).float() for field in (charge, change))
        return cls(encode(sample, size, torch.float32), *tensors)

    def charge_loss(self, loss: Loss, log_ratio: torch.Tensor) -> torch.Tensor:
        """Return the loss of the charge that a log-ratio to the first one stands for, in its own unit."""
        squares = self.squares
        return loss(squares.predicted_charge(log_ratio), self.charge, squares.weight, squares.cell)


@dataclass(frozen=True)
class Objective:
    """What training makes small: charge loss over `scale`, plus the potential's loss times its weight.

    The potential's is Huber's: squared below 10 mV, linear above, so that the few cases at high bias whose first
    iteration is 100 mV off do not outvote all others a hundredfold.
    """

    loss: Loss
    potential_weight: float
    scale: float

    @classmethod
    def of(cls, settings: Settings, examples: Sequence[Example]) -> "Objective":
        """Scale a charge loss by its mean over cases when the first charge is taken for the last."""
        loss = LOSSES[settings.loss]()
        untrained = [example.charge_loss(loss, torch.zeros_like(example.charge)).item() for example in examples]
        return cls(loss, settings.potential_weight, float(np.mean(untrained)) or 1.0)

    def __call__(self, model: Network, example: Example) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the loss of one case and its mean squared potential error, V²."""
        log_ratio, correction = corrections(model, example.squares)
        error, weight = correction - example.correction, example.squares.weight
        relative = error / NOTICEABLE_POTENTIAL
        # Huber's function is x²/2 at its bottom; twice that is the mean square.
        huber = 2.0 * nn.functional.smooth_l1_loss(relative, torch.zeros_like(relative), reduction="none")
        value = example.charge_loss(self.loss, log_ratio) / self.scale
        return value + self.potential_weight * weighted_mean(huber, weight), weighted_mean(error.detach() ** 2, weight)


def train(
    training: Iterable[Sample], validation: Iterable[Sample], settings: Settings, progress: bool = True
) -> Trained[Network]:
    """Train a network on samples; see `learning.training.train`.

    Parameters
    ----------
    training, validation : iterable of Sample
        Split by device and bias beforehand.
    settings : Settings
    progress : bool
        Whether to draw a progress bar on stderr.

    Raises
    ------
    ValueError
        If there is nothing to train or validate on, the loss is no longer finite, or the checkpoint is damaged or
        belongs to another run.
    """
    _require(isinstance(settings, Settings), "settings", settings, "Settings()")
    samples = {}
    for name, given in (("training", training), ("validation", validation)):
        samples[name] = items(given, Sample) or []
        _require(bool(samples[name]), name, given, "at least one sample; check the split")
    training, validation = samples["training"], samples["validation"]
    with torch.random.fork_rng(devices=[]):  # the caller's random numbers are left alone
        torch.manual_seed(settings.seed)
        model = untrained(settings.network)
    for name in ("config", "size", "reach"):
        _require(hasattr(model, name), "network", settings.network, f"one that sets self.{name} in its constructor")
    lessons = [Example.of(sample, model.size) for sample in training]
    exams = [Example.of(sample, model.size) for sample in validation]
    _require_outputs(model, lessons[0])
    objective, data = Objective.of(settings, lessons), _checksum(lessons + exams)
    model.ranges = ranges_of(training)
    return loop.train(model, objective, lessons, exams, settings, data, progress)


def _require_outputs(model: Network, example: Example) -> None:
    """Refuse, before the first epoch, a network whose outputs are not two corrections on its square."""
    squares = example.squares
    with torch.no_grad():
        shape = tuple(model(squares.features(model.reach), squares.conditions).shape)
    expected = (len(squares.charge), 2, model.size, model.size)
    _require(
        shape == expected, "network", model.name, f"outputs of shape (slices, 2, size, size) = {expected}, not {shape}"
    )


def _checksum(examples: Sequence[Example]) -> str:
    """Tell these questions and answers from others."""
    parts = (
        (some.squares.conditions, some.squares.charge, some.squares.potential, some.charge, some.correction)
        for some in examples
    )
    return f"{len(examples)} cases, checksum {loop.checksum(tensor for fields in parts for tensor in fields)}"


class PotentialError(NamedTuple):
    """Error of the predicted potential over the silicon of each case, V, (cases,)."""

    largest: Floats
    rms: Floats


def potential_error(model: Network, samples: Iterable[Sample]) -> PotentialError:
    """Compare predicted with converged potentials on the devices' own cells, case by case."""
    errors = [(predict(model, sample)[1] - sample.potential)[:, sample.mask] for sample in samples]
    return PotentialError(
        np.array([np.abs(error).max() for error in errors]),
        np.array([np.sqrt((error**2).mean()) for error in errors]),
    )
