"""A Fourier operator in three dimensions in the place of the start network, on the same cases.

    mlnegf generate --design benchmarks/designs/sheets.toml --output data/sheets
    python benchmarks/operator_start.py --data data/sheets --output book/results/operator_start.json

Every case is laid on one box (see `learning_curve.py`), with all that the network of the learned guess is told as
fields on it; the operator says the correction to the semiclassical start there. It is taught by the same loss, for as
many epochs. Both are judged on the unseen devices, by the largest error over the semiconductor and by the NEGF solves
that are left behind their starts. A second run computes only what is missing.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from learning_curve import Model, across, along, network, row
from scipy.interpolate import LinearNDInterpolator, NearestNDInterpolator, RegularGridInterpolator
from shared import Record, arguments, shuffled

from mlnegf._common import Floats
from mlnegf.learning import training as loop
from mlnegf.learning.networks.fourier import FourierOperator
from mlnegf.learning.training import Settings
from mlnegf.warmstart.dataset import cases, split
from mlnegf.warmstart.description import ACROSS, ALONG, CONDITIONS
from mlnegf.warmstart.learned import SCALE
from mlnegf.warmstart.start_training import NOTICEABLE, Lesson, lessons

PARTS: Final = 12, 24, 12
"""Points of the box along source, gate and drain."""
SIDE: Final = 8
"""Points of the box across, each way."""
MODES: Final = (12, 4, 4)
WIDTH: Final = 16
SIZES: Final = 100, 400
"""Cases to learn from."""


class Boxed(NamedTuple):
    """What is told of a case, (1, fields, x, y, z), and what is to be said, (1, 1, x, y, z)."""

    told: torch.Tensor
    answer: torch.Tensor


def axes() -> list[Floats]:
    """Return the places of the box: parts of the device along, halves of the section across."""
    x = np.concatenate([part + (np.arange(count) + 0.5) / count for part, count in enumerate(PARTS)])
    side = (2 * np.arange(SIDE) + 1) / SIDE - 1
    return [x, side, side]


def square(lesson: Lesson, values: Floats) -> Floats:
    """Lay values of the folded cells, (some, cells), on the box's section, (some, side, side)."""
    places, index = across(lesson.device)
    points = np.stack(np.meshgrid(*axes()[1:], indexing="ij"), axis=-1).reshape(-1, 2)
    known = values[:, index].T
    found = LinearNDInterpolator(places, known)(points)
    outside = np.isnan(found[:, 0])
    found[outside] = NearestNDInterpolator(places, known)(points[outside])
    return np.asarray(found.T).reshape(-1, SIDE, SIDE)


def boxed(lesson: Lesson) -> Boxed:
    """Lay a case on the box."""
    described, x = lesson.description, axes()[0]
    length = lesson.device.length
    steps = described.along.shape[1]
    even = (np.arange(steps) + 0.5) * (length / steps)
    begin, end = lesson.device.grid.gate
    places = np.interp(x, [0.0, 1.0, 2.0, 3.0], [0.0, begin, end, length])
    shape = (len(x), SIDE, SIDE)
    fields = [np.broadcast_to(value, shape) for value in described.conditions.numpy()]
    fields += [np.broadcast_to(np.interp(places, even, line)[:, None, None], shape) for line in described.along.numpy()]
    fields += [np.broadcast_to(one, shape) for one in square(lesson, described.across.double().numpy().T)]
    sections = square(lesson, lesson.answer.double().numpy())
    own = along(lesson.device)
    answer = np.stack([np.interp(x, own, line) for line in sections.reshape(len(own), -1).T], 1).reshape(shape)
    told = torch.from_numpy(np.stack(fields)).float()
    return Boxed(told[None], torch.from_numpy(answer).float()[None, None])


def unboxed(field: Floats, lesson: Lesson) -> Floats:
    """Lay what was said on the box back on a device's folded cells, (nx, cells)."""
    x, side, _ = axes()
    places, index = across(lesson.device)
    own = along(lesson.device).clip(x[0], x[-1])
    query = np.concatenate(
        [np.repeat(own, len(places))[:, None], np.tile(places.clip(side[0], side[-1]), (len(own), 1))], axis=1
    )
    said = RegularGridInterpolator(axes(), field)(query).reshape(len(own), len(places))
    # One of the images of a folded cell stands for all.
    _, first = np.unique(index, return_index=True)
    return np.asarray(said[:, first])


def loss(model: FourierOperator, case: Boxed) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the loss of `start_training.loss`, on the box."""
    error = model(case.told) * SCALE - case.answer
    square_error = error.square().mean() / NOTICEABLE**2
    worst = ((error.abs() / NOTICEABLE + 1e-6) ** 8).mean() ** 0.25
    return torch.log(square_error + 0.3 * worst + 0.02), square_error.detach() * NOTICEABLE**2


@dataclass
class Operator:
    """A Fourier operator that has learned."""

    model: FourierOperator

    def __call__(self, lesson: Lesson) -> Floats:
        """Predict a correction, (nx, cells), V."""
        with torch.no_grad():
            field = self.model(boxed(lesson).told)[0, 0].double().numpy() * SCALE
        return unboxed(field, lesson)


def operator(training: Sequence[Lesson], exams: Sequence[Lesson], epochs: int) -> Model:
    """Train an operator."""

    def new() -> FourierOperator:
        return FourierOperator(len(CONDITIONS) + ALONG + ACROSS, 1, MODES, WIDTH)

    lots = [boxed(one) for one in training], [boxed(one) for one in exams]
    settings = Settings(epochs=epochs, learning_rate=1.5e-3)
    return Operator(loop.train_new(new, loss, *lots, settings, progress=False).model)


def main() -> None:
    """Run, or go on."""
    given = arguments(__doc__, epochs=40, solved=40)
    parts = split(cases(given.data), test=0.0)
    taught, exams = shuffled(lessons(parts.training)), lessons(parts.validation)
    unseen = [case for case in parts.unseen_device if case.converged]
    tests = shuffled(list(zip(unseen, lessons(unseen), strict=True)))
    record = Record(given.output, sys.argv, {"seed": 0, "epochs": given.epochs})
    for name, model in (
        ("semiclassical", lambda lesson: np.zeros(lesson.answer.shape)),
        ("box", lambda lesson: unboxed(boxed(lesson).answer[0, 0].double().numpy(), lesson)),
    ):
        record.add({"model": name, "cases": 0}, row, model, tests, given.solved)

    def trained(make: Any, some: Sequence[Lesson]) -> dict[str, Any]:
        began = time.perf_counter()
        model = make(some, exams)
        return row(model, tests, given.solved, time.perf_counter() - began)

    for count in SIZES:
        some = taught[:count]
        for name, make in (("network", network), ("operator", partial(operator, epochs=given.epochs))):
            record.add({"model": name, "cases": len(some)}, trained, make, some)


if __name__ == "__main__":
    main()
