"""Training of the networks behind the learned guess: from descriptions to what the semiclassical start lacks."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np
import torch

from mlnegf._common import Floats, items, require
from mlnegf.learning import training as loop
from mlnegf.learning.networks.separable import SeparableNetwork
from mlnegf.learning.training import Settings, Trained
from mlnegf.nanosheet.charge import Negf
from mlnegf.nanosheet.device import Device
from mlnegf.warmstart.description import ACROSS, ALONG, CONDITIONS, Description, Shape
from mlnegf.warmstart.learned import LearnedGuess, card, corrected
from mlnegf.warmstart.storage import Case, read_potentials

NOTICEABLE: Final = 0.01
"""Potential error, V, that counts as one."""
SHARES: Final = [0.05, 0.25, 0.5, 0.75, 0.9, 0.95]
"""Of cases, of which the largest errors are said."""
TRUSTED: Final = 0.98
"""Share of the validation cases whose votes agree well enough to be trusted."""


@dataclass(frozen=True, eq=False)
class Lesson:
    """A described case and its answer: the converged potential less the semiclassical start, (nx, cells), V."""

    device: Device
    description: Description
    answer: torch.Tensor
    weights: torch.Tensor


def lessons(cases: Iterable[Case]) -> list[Lesson]:
    """Read cases, each file once, and return a lesson for each in the order of the cases."""
    found: dict[int, Lesson] = {}
    by_file: dict[object, list[tuple[int, Case]]] = {}
    for place, case in enumerate(cases):
        by_file.setdefault(case.path, []).append((place, case))
    for own in by_file.values():
        device, shape = own[0][1].device, Shape.of(own[0][1].device)
        first, last = read_potentials(own[0][1])
        for place, case in own:
            start, end = (_silicon(device, field[case.index]) for field in (first, last))
            gate, drain = (device.polarity_sign * voltage for voltage in (case.gate, case.drain))
            described = shape.at(device.gate_potential(gate), drain, start)
            weights = torch.from_numpy(shape.weights).float()
            found[place] = Lesson(device, described, torch.from_numpy(end - start).float(), weights)
    return [found[place] for place in sorted(found)]


def _silicon(device: Device, potential: Floats) -> Floats:
    """Potential on the semiconductor's folded cells in the n-type picture."""
    return device.polarity_sign * device.grid.fold(potential)[:, device.grid.doped_cells]


def loss(model: SeparableNetwork, lesson: Lesson) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the loss of one case, and its mean squared error, V².

    Logarithms: a solve is saved by the error of each case falling under a few millivolts, wherever it falls from. The
    mean over the volume teaches, the eighth power sees the worst cell.
    """
    error = corrected(model, lesson.description) - lesson.answer
    square = (error.square() * lesson.weights).sum(-1).mean() / NOTICEABLE**2
    worst = ((error.abs() / NOTICEABLE + 1e-6) ** 8).mean() ** 0.25
    return torch.log(square + 0.3 * worst + 0.02), square.detach() * NOTICEABLE**2


def train(
    training: Sequence[Lesson], validation: Sequence[Lesson], settings: Settings, progress: bool = True
) -> Trained[SeparableNetwork]:
    """Train one network from lessons on lessons; see `learning.training.train`."""
    require(isinstance(settings, Settings), "settings", settings, "Settings()", "train")
    for name, some in (("training", training), ("validation", validation)):
        require(bool(items(some, Lesson)), name, some, "at least one Lesson; check the split", "train")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        model = SeparableNetwork(len(CONDITIONS), ALONG, ACROSS)
    return loop.train(model, loss, training, validation, settings, _checksum([*training, *validation]), progress)


def train_guess(
    training: Iterable[Case],
    validation: Iterable[Case],
    settings: Sequence[Settings],
    progress: bool = True,
    **origin: str,
) -> LearnedGuess:
    """Train a learned guess, one network for each of `settings`.

    Parameters
    ----------
    training, validation : iterable of Case
        Of `dataset.split`.
    settings : sequence of Settings
        Differing in seed and checkpoint.
    progress : bool
        Whether to draw progress bars on stderr.
    **origin
        Written into the metadata: where data and weights come from.
    """
    taught, exams = lessons(training), lessons(validation)
    trained = [train(taught, exams, some, progress) for some in settings]
    first = trained[0]
    history = {name: values.tolist() for name, values in first.history._asdict().items()}
    about = {"settings": json.dumps(asdict(first.settings)), "history": json.dumps(history), **origin}
    about["data"] = f"{len(taught)} cases for training, {len(exams)} for validation"
    return voters([one.model for one in trained], taught, exams, **about)


def voters(
    models: Sequence[SeparableNetwork], training: Sequence[Lesson], validation: Sequence[Lesson], **origin: str
) -> LearnedGuess:
    """Let trained networks vote; validation says how much they may disagree, and how good they are.

    The metadata holds `doubt`, V, and `errors`: of 5, 25, 50, 75, 90 and 95 in 100 cases the largest error of the
    potential over the semiconductor is below these, V, for the semiclassical start and for the vote.
    """
    about = card([x.description.values for x in training], [x.device for x in training], Negf.filling)
    guess = LearnedGuess(models, {**about, "doubt": "inf", **origin})
    doubts = [guess.vote(lesson.description)[1] for lesson in validation]
    guess.metadata["doubt"] = str(float(np.quantile(doubts, TRUSTED)))
    errors = {
        "shares": SHARES,
        "start": _shares(np.array([float(lesson.answer.abs().max()) for lesson in validation])),
        "training": _shares(largest_errors(guess, training)),
        "validation": _shares(largest_errors(guess, validation)),
    }
    guess.metadata["errors"] = json.dumps(errors)
    guess.metadata["largest_error"] = str(errors["validation"][SHARES.index(0.5)])
    return guess


def _shares(errors: Floats) -> list[float]:
    return [round(float(error), 7) for error in np.quantile(errors, SHARES)]


def largest_errors(guess: LearnedGuess, lessons: Iterable[Lesson]) -> Floats:
    """Return the largest error of the vote in each case, V."""
    return np.array([abs(guess.vote(x.description)[0] - x.answer.double().numpy()).max() for x in lessons])


def _checksum(lessons: Sequence[Lesson]) -> str:
    parts = ((lesson.description.conditions, lesson.description.along, lesson.answer) for lesson in lessons)
    return f"{len(lessons)} cases, checksum {loop.checksum(tensor for some in parts for tensor in some)}"
