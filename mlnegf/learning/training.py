"""A training loop to be read in one sitting.

One step is one example. An objective says how wrong a network is on one; the weights that did best on validation are
the ones returned. The loop knows neither what an example is nor what the network predicts.
"""

import json
import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, Final, Generic, NamedTuple, TypeVar

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from mlnegf._common import Floats, is_count, is_finite, is_positive, require
from mlnegf.learning.weights import read_tensors, write_tensors

_require = partial(require, caller="training")

CHECKPOINT: Final = "mlnegf training run"

Model = TypeVar("Model", bound=nn.Module)
Example = TypeVar("Example")
Objective = Callable[[Model, Example], tuple[torch.Tensor, torch.Tensor]]
"""Maps a network and an example to the loss, which is made small, and a mean squared error, which is watched."""


@dataclass(frozen=True)
class Settings:
    """What decides a training run, apart from its objective and its examples.

    Parameters
    ----------
    epochs : int
        Passes through the examples; the learning rate follows `schedule` over them.
    learning_rate, weight_decay : float
        Of AdamW; the rate is the largest.
    seed : int
        Of the order of examples, and of first weights where the caller draws them.
    checkpoint : str, optional
        File that holds the run after each epoch; a run that finds it goes on from there.
    """

    epochs: int = 40
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    seed: int = 0
    checkpoint: str | None = None

    def __post_init__(self) -> None:
        decay = self.weight_decay
        _require(is_count(self.epochs), "epochs", self.epochs, "at least 1, a whole number")
        _require(is_positive(self.learning_rate), "learning_rate", self.learning_rate, "a positive number")
        _require(is_finite(decay) and decay >= 0, "weight_decay", decay, "a number, zero or more")
        _require(is_count(self.seed, 0), "seed", self.seed, "a whole number, zero or more")
        known = self.checkpoint is None or isinstance(self.checkpoint, (str, PathLike))
        _require(known, "checkpoint", self.checkpoint, "the path of a file, or None")


class History(NamedTuple):
    """One value an epoch, (epochs,): mean losses over examples, and the root mean square error on validation.

    The training loss is taken while the weights move, the validation's after each epoch.
    """

    training: Floats
    validation: Floats
    error: Floats


@dataclass(frozen=True, eq=False)
class Trained(Generic[Model]):
    """A network with the weights of the epoch that did best on validation, and how it got there."""

    model: Model
    history: History
    settings: Settings

    @property
    def best_epoch(self) -> int:
        """The epoch, from 0, whose weights were kept."""
        return int(np.argmin(self.history.validation))


def train(
    model: Model,
    objective: Objective[Model, Example],
    lessons: Sequence[Example],
    exams: Sequence[Example],
    settings: Settings,
    data: str,
    progress: bool = True,
) -> Trained[Model]:
    """Train a network.

    The same examples, settings, machine and number of threads give the same numbers, whether the run was interrupted or
    not. Schedule and optimiser: Loshchilov & Hutter, arXiv:1608.03983 and arXiv:1711.05101.

    Parameters
    ----------
    model : Module
        With its first weights; trained in place.
    objective : callable
        See `Objective`.
    lessons, exams : sequence
        Examples to train and to validate on.
    settings : Settings
        A subclass may add what decides the objective.
    data : str
        What tells these examples from others: a checkpoint of others is refused.
    progress : bool
        Whether to draw a progress bar on stderr.

    Raises
    ------
    ValueError
        If the loss is no longer finite, or the checkpoint is damaged or belongs to another run.
    """
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    decisive = {name: value for name, value in asdict(settings).items() if name != "checkpoint"}
    identity = {"settings": json.dumps(decisive), "data": data}
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
        # Seeded by the epoch, so that a resumed run sees the examples in the order it would have.
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
        bar.set_postfix(training=f"{latest[0]:.3g}", validation=f"{latest[1]:.3g}", error=f"{latest[2]:.3g}")
    model.load_state_dict(best)
    return Trained(model.eval(), History(*np.array(history).T), settings)


def train_new(
    make: Callable[[], Model],
    objective: Objective[Model, Example],
    lessons: Sequence[Example],
    exams: Sequence[Example],
    settings: Settings,
    progress: bool = True,
) -> Trained[Model]:
    """Draw the first weights of a network by the seed, and train it; see `train`.

    Parameters
    ----------
    make : callable
        Returns the network, with its `config`; called when there are examples.
    lessons, exams : sequence
        Examples to train and to validate on: tuples of tensors, or of such tuples.

    Raises
    ------
    ValueError
        If there are no examples, or see `train`.
    """
    for name, some in (("training", lessons), ("validation", exams)):
        _require(bool(some), name, some, "at least one example")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        model = make()
    data = f"{len(lessons)} lots, checksum {checksum(_tensors((lessons, exams)))}, for {model.config}"
    return train(model, objective, lessons, exams, settings, data, progress)


def _tensors(examples: Any) -> Iterator[torch.Tensor]:
    if isinstance(examples, torch.Tensor):
        yield examples
    else:
        for part in examples:
            yield from _tensors(part)


def checksum(tensors: Iterable[torch.Tensor]) -> str:
    """Tell examples from others: a checksum of tensors of any shape, in their order, eight hexadecimal digits."""
    check = 0
    for tensor in tensors:
        check = zlib.crc32(tensor.numpy().tobytes(), check)
    return f"{check:08x}"


def schedule(done: float) -> float:
    """Return the learning rate, relative to its largest, when a part of all steps is done.

    It rises along a line over the first twentieth, since the first steps of AdamW are as long as any and would throw
    the network far from the identity it starts as; then it falls along a cosine.
    """
    return min(1.0, 20.0 * done) * (1.0 + math.cos(math.pi * done)) / 2.0


def evaluate(model: Model, examples: Sequence[Example], objective: Objective[Model, Example]) -> tuple[float, float]:
    """Return the mean loss over examples and the root mean square error."""
    model.eval()
    with torch.no_grad():
        values = np.array([[term.item() for term in objective(model, example)] for example in examples])
    return float(values[:, 0].mean()), float(np.sqrt(values[:, 1].mean()))


_Weights = dict[str, torch.Tensor]
_Epochs = list[tuple[float, float, float]]


def _store(
    path: str,
    identity: Mapping[str, str],
    model: nn.Module,
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
    path: str | None, identity: Mapping[str, str], model: nn.Module, optimiser: torch.optim.AdamW
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
    weights = list(model.parameters())
    for name, value in _under(tensors, "optimiser.").items():
        index, _, key = name.partition(".")
        # The fused optimiser walks weights and their moments side by side in memory: both need one layout.
        own = torch.empty_like(weights[int(index)]).copy_(value) if value.ndim else value
        state.setdefault(int(index), {})[key] = own
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    return [(a, b, c) for a, b, c in json.loads(metadata["history"])], _under(tensors, "best.")


def _copy(model: nn.Module) -> _Weights:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def _under(tensors: _Weights, prefix: str) -> _Weights:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
