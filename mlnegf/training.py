"""A training loop to be read in one sitting.

One step is one case: all slices of one device at one bias. Every case is brought to the square once, before the first
epoch. The loss is the chosen charge loss, in units of the untrained network's, plus a loss of the potential in units of
a 10 mV error. The weights that did best on validation are the ones returned.
"""

import json
import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from mlnegf.autoencoder import NETWORKS, Network, predict
from mlnegf.checks import require
from mlnegf.dataset import Sample
from mlnegf.doubt import seen
from mlnegf.grid import Floats
from mlnegf.losses import LOSSES, Loss, weighted_mean
from mlnegf.squares import Squares, cell_average, encode, silicon_average
from mlnegf.weights import read_tensors, write_tensors

_require = partial(require, caller="training")

NOTICEABLE_POTENTIAL: Final = 0.01
"""Potential error, V, that counts as one: a tenth of a large correction."""
CHECKPOINT: Final = "mlnegf training run"


@dataclass(frozen=True)
class Settings:
    """What decides a training run, apart from its data.

    Parameters
    ----------
    epochs : int
        Passes through the training cases; the learning rate follows `schedule` over them.
    learning_rate, weight_decay : float
        Of AdamW; the rate is the largest.
    loss, network : str
        Names in `mlnegf.losses.LOSSES` and `mlnegf.autoencoder.NETWORKS`.
    potential_weight : float
        Weight of the potential's loss beside the charge's.
    seed : int
        Of the first weights and of the order of cases.
    checkpoint : str, optional
        File that holds the run after each epoch; a run that finds it goes on from there.
    """

    epochs: int = 40
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    loss: str = "potential_norm"
    potential_weight: float = 1.0
    network: str = "slice_autoencoder"
    seed: int = 0
    checkpoint: str | None = None

    def __post_init__(self) -> None:
        _require(self.epochs >= 1, "epochs", self.epochs, "at least 1")
        _require(self.learning_rate > 0, "learning_rate", self.learning_rate, "a positive number")
        for name in ("weight_decay", "potential_weight"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "zero or more")
        _require(self.loss in LOSSES, "loss", self.loss, f"one of {sorted(LOSSES)}")
        _require(self.network in NETWORKS, "network", self.network, f"one of {sorted(NETWORKS)}")


class History(NamedTuple):
    """One value an epoch, (epochs,): mean losses over cases, and the rms potential error on validation, V.

    The training loss is taken while the weights move, the validation's after each epoch and on the network's square.
    """

    training: Floats
    validation: Floats
    potential_error: Floats


@dataclass(frozen=True, eq=False)
class Trained:
    """A network with the weights of the epoch that did best on validation, and how it got there."""

    model: Network
    history: History
    settings: Settings

    @property
    def best_epoch(self) -> int:
        """The epoch, from 0, whose weights were kept."""
        return int(np.argmin(self.history.validation))


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
        log_ratio, correction = model(example.squares)
        error, weight = correction - example.correction, example.squares.weight
        relative = error / NOTICEABLE_POTENTIAL
        # Huber's function is x²/2 at its bottom; twice that is the mean square.
        huber = 2.0 * nn.functional.smooth_l1_loss(relative, torch.zeros_like(relative), reduction="none")
        value = example.charge_loss(self.loss, log_ratio) / self.scale
        return value + self.potential_weight * weighted_mean(huber, weight), weighted_mean(error.detach() ** 2, weight)


def train(
    training: Iterable[Sample], validation: Iterable[Sample], settings: Settings, progress: bool = True
) -> Trained:
    """Train a network.

    The same samples, settings, machine and number of threads give the same numbers, whether the run was interrupted or
    not. Schedule and optimiser: Loshchilov & Hutter, arXiv:1608.03983 and arXiv:1711.05101.

    Parameters
    ----------
    training, validation : iterable of Sample
        Split by device and bias beforehand.
    settings : Settings
    progress : bool
        Whether to draw a progress bar on stderr.

    Returns
    -------
    Trained

    Raises
    ------
    ValueError
        If there is nothing to train or validate on, the loss is no longer finite, or the checkpoint is damaged or
        belongs to another run.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        model = NETWORKS[settings.network]()
    training = list(training)
    lessons = [Example.of(sample, model.size) for sample in training]
    exams = [Example.of(sample, model.size) for sample in validation]
    for name, examples in (("training", lessons), ("validation", exams)):
        _require(bool(examples), name, examples, "at least one sample; check the split")
    model.ranges = seen(training)
    objective = Objective.of(settings, lessons)
    optimiser = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)

    identity = _identity(settings, lessons + exams)
    history, best = _resume(settings.checkpoint, identity, model, optimiser)
    bar = tqdm(
        range(len(history), settings.epochs),
        desc="training",
        unit="epoch",
        initial=len(history),
        total=settings.epochs,
        disable=not progress,
    )
    for epoch in bar:
        # Seeded by the epoch, so that a resumed run sees the cases in the order it would have.
        order = np.random.default_rng([settings.seed, epoch]).permutation(len(lessons))
        total = 0.0
        for step, index in enumerate(order):
            done = (epoch + (step + 1) / len(order)) / settings.epochs
            optimiser.param_groups[0]["lr"] = settings.learning_rate * schedule(done)
            value, _ = objective(model.train(), lessons[index])
            optimiser.zero_grad()
            torch.autograd.backward(value)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            total += value.item()
        latest = (total / len(lessons), *evaluate(model, exams, objective))
        _require(
            all(map(math.isfinite, latest)),
            f"loss in epoch {epoch}",
            latest[:2],
            f"finite numbers; try a learning_rate below {settings.learning_rate:g}",
        )
        if all(latest[1] < earlier[1] for earlier in history):
            best = _copy(model)
        history.append(latest)
        if settings.checkpoint is not None:
            _store(settings.checkpoint, identity, model, optimiser, history, best)
        bar.set_postfix(training=f"{latest[0]:.3g}", validation=f"{latest[1]:.3g}", mV=f"{1e3 * latest[2]:.2f}")
    model.load_state_dict(best)
    return Trained(model.eval(), History(*np.array(history).T), settings)


def schedule(done: float) -> float:
    """Return the learning rate, relative to its largest, when a part of all steps is done.

    It rises along a line over the first twentieth, since the first steps of AdamW are as long as any and would throw
    the network far from the identity it starts as; then it falls along a cosine.
    """
    return min(1.0, 20.0 * done) * (1.0 + math.cos(math.pi * done)) / 2.0


def evaluate(model: Network, examples: Sequence[Example], objective: Objective) -> tuple[float, float]:
    """Return the mean loss over cases and the root mean square potential error, V."""
    model.eval()
    with torch.no_grad():
        values = np.array([[term.item() for term in objective(model, example)] for example in examples])
    return float(values[:, 0].mean()), float(np.sqrt(values[:, 1].mean()))


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


_Weights = dict[str, torch.Tensor]
_Epochs = list[tuple[float, float, float]]


def _identity(settings: Settings, examples: Sequence[Example]) -> dict[str, str]:
    """Say what a checkpoint must share with a run: decisive settings, and a checksum of questions and answers."""
    check = 0
    for example in examples:
        squares = example.squares
        fields = (squares.conditions, squares.charge, squares.potential, example.charge, example.correction)
        for tensor in fields:
            check = zlib.crc32(tensor.numpy().tobytes(), check)
    decisive = {name: value for name, value in asdict(settings).items() if name != "checkpoint"}
    return {"settings": json.dumps(decisive), "data": f"{len(examples)} cases, checksum {check:08x}"}


def _store(
    path: str,
    identity: Mapping[str, str],
    model: Network,
    optimiser: torch.optim.AdamW,
    history: _Epochs,
    best: _Weights,
) -> None:
    """Write all that decides how a run goes on."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in best.items()}
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{name}": value for name, value in state.items()}
    write_tensors(path, tensors, {**identity, "history": json.dumps(history)}, CHECKPOINT)


def _resume(
    path: str | None, identity: Mapping[str, str], model: Network, optimiser: torch.optim.AdamW
) -> tuple[_Epochs, _Weights]:
    """Go on from the checkpoint, if there is one: return the history and the best weights so far."""
    if path is None or not Path(path).exists():
        return [], _copy(model)
    tensors, metadata = read_tensors(path, CHECKPOINT)
    for name, mine in identity.items():
        if metadata.get(name) != mine:
            raise ValueError(
                f"{path}: a run with {name} {metadata.get(name)}, expected {mine}; name another checkpoint, or delete "
                "this one to start again."
            )
    model.load_state_dict(_under(tensors, "model."))
    state: dict[int, _Weights] = {}
    for name, value in _under(tensors, "optimiser.").items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    return [(a, b, c) for a, b, c in json.loads(metadata["history"])], _under(tensors, "best.")


def _copy(model: Network) -> _Weights:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def _under(tensors: _Weights, prefix: str) -> _Weights:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
