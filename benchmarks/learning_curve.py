"""How good a start is against how many cases it was learned from: the shipped network beside sober rivals.

The rivals lay the correction to the semiclassical start on one cube for all devices, lengths measured from the edges of
the gate and widths in halves of the section: `nearest` takes that of the case whose numbers are the nearest, `process`
predicts its principal components by a Gaussian process with one kernel of a length for each number. All are judged on
the unseen devices, by the largest error over the semiconductor and by the NEGF solves that are left behind their
starts; the shipped networks by their vote, and each by itself. A second run computes only what is missing.

    python benchmarks/learning_curve.py --data data/nanosheets --output book/results/learning_curve.json
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.interpolate import LinearNDInterpolator, NearestNDInterpolator, RegularGridInterpolator
from shared import Record, arguments, shares, shuffled

from mlnegf import Device, LearnedGuess
from mlnegf._common import Floats
from mlnegf.learning.networks.separable import SeparableNetwork
from mlnegf.learning.training import Settings
from mlnegf.scf.equations import Equations
from mlnegf.scf.guesses import Start
from mlnegf.scf.problem import Problem
from mlnegf.scf.solve import solve
from mlnegf.warmstart.dataset import cases, split
from mlnegf.warmstart.learned import add_correction, corrected
from mlnegf.warmstart.start_training import Lesson, lessons, train
from mlnegf.warmstart.storage import Case

PARTS = 20, 40, 20
"""Points of the cube along source, gate and drain."""
SIDE = 16
"""Points of the cube across, each way."""
COMPONENTS = 24
SIZES = 50, 100, 200, 400, 800
"""Cases to learn from."""


def along(device: Device) -> Floats:
    """Return places of the slices: 0 to 1 in the source, 1 to 2 under the gate, 2 to 3 in the drain."""
    begin, end = device.grid.gate
    return np.interp(device.grid.x, [0.0, begin, end, device.length], [0.0, 1.0, 2.0, 3.0])


def cube_points() -> list[Floats]:
    """Return the axes of the cube."""
    x = np.concatenate([part + (np.arange(count) + 0.5) / count for part, count in enumerate(PARTS)])
    across = np.linspace(-1, 1, SIDE)
    return [x, across, across]


def across(device: Device) -> tuple[Floats, Floats]:
    """Return places of the semiconductor's cells, (cells, 2), in halves of the section, and their folded index."""
    grid = device.grid
    y, z = np.meshgrid(grid.y / (device.width / 2), grid.z / (device.thickness / 2), indexing="ij")
    inside = np.isin(grid.representative, grid.doped_cells)
    return np.stack([y[inside], z[inside]], axis=1), np.searchsorted(grid.doped_cells, grid.representative[inside])


def on_cube(lesson: Lesson) -> Floats:
    """Lay an answer on the cube."""
    axes = cube_points()
    places, index = across(lesson.device)
    square = np.stack(np.meshgrid(*axes[1:], indexing="ij"), axis=-1).reshape(-1, 2)
    known = lesson.answer.double().numpy()[:, index].T
    field = LinearNDInterpolator(places, known)(square)
    outside = np.isnan(field[:, 0])
    field[outside] = NearestNDInterpolator(places, known)(square[outside])
    x = along(lesson.device)
    return np.stack([np.interp(axes[0], x, line) for line in field], axis=1).reshape(-1)


def from_cube(cube: Floats, lesson: Lesson) -> Floats:
    """Lay what was predicted on the cube back on a device's folded cells."""
    axes = cube_points()
    field = RegularGridInterpolator(axes, cube.reshape(sum(PARTS), SIDE, SIDE), bounds_error=False, fill_value=None)
    places, index = across(lesson.device)
    first = np.unique(index, return_index=True)[1]
    x = along(lesson.device)
    points = np.concatenate([np.repeat(x, len(first))[:, None], np.tile(places[first], (len(x), 1))], axis=1)
    return field(points).reshape(len(x), len(first))


@dataclass
class Process:
    """A Gaussian process on principal components."""

    told: torch.Tensor
    mean: Floats
    components: Floats
    lengths: torch.Tensor
    noise: float
    solved: torch.Tensor

    @staticmethod
    def of(training: Sequence[Lesson], steps: int = 200) -> "Process":
        """Fit by the marginal likelihood."""
        cubes = np.stack([on_cube(lesson) for lesson in training])
        told = torch.stack([lesson.description.conditions for lesson in training]).double()
        mean = cubes.mean(0)
        u, size, components = np.linalg.svd(cubes - mean, full_matrices=False)
        count = min(COMPONENTS, len(training) - 1)
        scores = torch.from_numpy(u[:, :count] * size[:count])
        scale = float(scores.square().sum(1).mean().sqrt())
        lengths = torch.full((told.shape[1],), 1.5, dtype=torch.float64).requires_grad_()
        noise = torch.tensor(-2.0, dtype=torch.float64, requires_grad=True)
        optimiser = torch.optim.Adam([lengths, noise], lr=0.05)
        eye = torch.eye(len(told), dtype=torch.float64)
        for _ in range(steps):
            factor = torch.linalg.cholesky(kernel(told, told, lengths) + noise.exp() * eye)
            solved = torch.cholesky_solve(scores / scale, factor)
            # One variance for all components, integrated out.
            spread = (scores / scale * solved).sum() / scores.numel()
            loss = spread.log() / 2 + factor.diagonal().log().mean()
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        with torch.no_grad():
            solved = torch.cholesky_solve(
                scores, torch.linalg.cholesky(kernel(told, told, lengths) + noise.exp() * eye)
            )
        return Process(told, mean, components[:count], lengths.detach(), float(noise.detach().exp()), solved)

    def __call__(self, lesson: Lesson) -> Floats:
        """Predict a correction, (nx, cells), V."""
        row = kernel(lesson.description.conditions.double()[None], self.told, self.lengths)
        return from_cube(self.mean + (row @ self.solved).numpy()[0] @ self.components, lesson)


def kernel(one: torch.Tensor, other: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Matérn 5/2, with a length for each number (its logarithm)."""
    distance = ((one / lengths.exp())[:, None] - (other / lengths.exp())[None]).square().sum(-1)
    root = (5 * distance + 1e-12).sqrt()
    return (1 + root + 5 * distance / 3) * torch.exp(-root)


@dataclass
class Nearest:
    """The correction of the nearest case."""

    training: Sequence[Lesson]

    def __call__(self, lesson: Lesson) -> Floats:
        """Predict a correction, (nx, cells), V."""
        told = torch.stack([one.description.conditions for one in self.training])
        nearest = int((told - lesson.description.conditions).square().sum(1).argmin())
        return from_cube(on_cube(self.training[nearest]), lesson)


Model = Callable[[Lesson], Floats]
"""Predicts a correction to the semiclassical start, (nx, cells), V."""


def alone(model: SeparableNetwork) -> Model:
    """Return what one network says, by itself."""

    def predict(lesson: Lesson) -> Floats:
        with torch.no_grad():
            return corrected(model, lesson.description).double().numpy()

    return predict


def network(training: Sequence[Lesson], exams: Sequence[Lesson]) -> Model:
    """Train the network of the learned guess."""
    return alone(train(training, exams, Settings(epochs=40, learning_rate=1.5e-3), progress=False).model)


def worst(predicted: Floats, lesson: Lesson) -> float:
    """Return the largest error over the semiconductor, V."""
    return float(abs(predicted - lesson.answer.double().numpy()).max())


def solves(case: Case, correction: Floats) -> float:
    """Return the NEGF solves behind a start; infinite where they do not lead to the reference."""
    problem = Problem.of(Equations.of(case.device), case.gate, case.drain)
    start = Start(add_correction(problem, problem.semiclassical(), correction))
    found = solve(problem.equations, *problem.bias, guess=lambda again: start)
    right = found.converged and abs(found.potential - case.solved().potential).max() < 1e-3
    return found.negf_solves if right else float("inf")


def row(model: Model, tests: Sequence[tuple[Case, Lesson]], solved: int, seconds: float = 0.0) -> dict[str, Any]:
    """Judge one model: errors on all tests, solves on the first so many."""
    said = [model(lesson) for _, lesson in tests]
    errors = [worst(one, lesson) for one, (_, lesson) in zip(said, tests, strict=True)]
    counts = np.array([solves(case, one) for one, (case, _) in zip(said[:solved], tests[:solved], strict=True)])
    within = {str(count): float(np.mean(counts <= count)) for count in (1, 2, 3)}
    about = {"tests": len(errors), "solved": len(counts), "seconds": round(seconds, 1)}
    return {"largest_errors": shares(errors), "within": within, **about}


def main() -> None:
    """Run, or go on."""
    given = arguments(__doc__, solved=16)
    parts = split(cases(given.data), test=0.0)
    taught, exams = lessons(parts.training), lessons(parts.validation)
    taught = shuffled(taught)
    unseen = [case for case in parts.unseen_device if case.converged]
    tests = shuffled(list(zip(unseen, lessons(unseen), strict=True)))
    devices = len({lesson.device for lesson in [*taught, *exams]})
    record = Record(given.output, sys.argv, {"seed": 0, "known_devices": devices})

    shipped = LearnedGuess.pretrained()
    learned_from = int(shipped.metadata["data"].split()[0])
    for name, count, model in (
        ("semiclassical", 0, lambda lesson: np.zeros(lesson.answer.shape)),
        ("cube", 0, lambda lesson: from_cube(on_cube(lesson), lesson)),
        ("shipped", learned_from, lambda lesson: shipped.vote(lesson.description)[0]),
        *((f"voter {n}", learned_from, alone(voter)) for n, voter in enumerate(shipped.models)),
    ):
        record.add({"model": name, "cases": count}, row, model, tests, given.solved)

    def trained(make: Callable[[Sequence[Lesson]], Model], some: Sequence[Lesson]) -> dict[str, Any]:
        began = time.perf_counter()
        model = make(some)
        return row(model, tests, given.solved, time.perf_counter() - began)

    makers = {"nearest": Nearest, "process": Process.of, "network": lambda some: network(some, exams)}
    for count in SIZES:
        some = taught[:count]
        for name, make in makers.items():
            record.add({"model": name, "cases": len(some)}, trained, make, some)


if __name__ == "__main__":
    main()
