"""How good a start is against how many cases it was learned from: the shipped network beside a sober rival.

The rival is a Gaussian process on the same numbers of a device and a bias: the correction to the semiclassical start
is laid on one cube for all devices, lengths measured from the edges of the gate and widths in halves of the section,
its principal components are predicted with one kernel of a length for each number, and laid back. Both are judged by
the largest error over the semiconductor on the unseen devices. A second run computes only what is missing.

    python benchmarks/learning_curve.py --data data/nanosheets --output book/results/learning_curve.json
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.interpolate import LinearNDInterpolator, NearestNDInterpolator, RegularGridInterpolator
from threadpoolctl import ThreadpoolController

import mlnegf
from mlnegf import Device, LearnedGuess
from mlnegf._common import Floats, write_whole
from mlnegf.learning.training import Settings
from mlnegf.warmstart.dataset import cases, split
from mlnegf.warmstart.learned import corrected
from mlnegf.warmstart.start_training import Lesson, largest_errors, lessons, train

PARTS = 20, 40, 20
"""Points of the cube along source, gate and drain."""
SIDE = 16
"""Points of the cube across, each way."""
COMPONENTS = 24
SHARES = 0.25, 0.5, 0.75, 0.95


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


def worst(predicted: Floats, lesson: Lesson) -> float:
    """Return the largest error over the semiconductor, V."""
    return float(abs(predicted - lesson.answer.double().numpy()).max())


def rows(
    taught: Sequence[Lesson], exams: Sequence[Lesson], tests: Sequence[Lesson], count: int
) -> Iterator[dict[str, Any]]:
    """Train both on the first so many cases."""
    some = taught[:count]
    began = time.perf_counter()
    process = Process.of(some)
    seconds = time.perf_counter() - began
    yield row("process", len(some), [worst(process(lesson), lesson) for lesson in tests], seconds)
    began = time.perf_counter()
    model = train(some, exams, Settings(epochs=40, learning_rate=1.5e-3), progress=False).model
    seconds = time.perf_counter() - began
    with torch.no_grad():
        errors = [worst(corrected(model, lesson.description).double().numpy(), lesson) for lesson in tests]
    yield row("network", len(some), errors, seconds)


def row(model: str, count: int, errors: Sequence[float], seconds: float) -> dict[str, Any]:
    """Say what one model reached."""
    quantiles = {f"{share:.0%}": float(value) for share, value in zip(SHARES, np.quantile(errors, SHARES), strict=True)}
    return {"model": model, "cases": count, "tests": len(errors), "largest_errors": quantiles, "seconds": seconds}


def main() -> None:
    """Run, or go on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--sizes", default="50,100,200,400")
    given = parser.parse_args()
    torch.set_num_threads(1)
    ThreadpoolController().limit(limits=1)
    parts = split(cases(given.data), test=0.0)
    taught, exams = lessons(parts.training), lessons(parts.validation)
    tests = lessons(case for case in parts.unseen_device if case.converged)
    order = np.random.default_rng(0).permutation(len(taught))
    taught = [taught[index] for index in order]
    trip = [worst(from_cube(on_cube(lesson), lesson), lesson) for lesson in tests]
    found = json.loads(given.output.read_text()) if given.output.exists() else {"rows": []}
    command = "python benchmarks/learning_curve.py " + " ".join(sys.argv[1:])
    devices = len({lesson.device for lesson in [*taught, *exams]})
    found |= {"command": command, "version": mlnegf.__version__, "seed": 0, "known_devices": devices}
    start = row("semiclassical", 0, [float(lesson.answer.abs().max()) for lesson in tests], 0.0)
    given_away = LearnedGuess.pretrained()
    shipped = row(
        "shipped", int(given_away.metadata["data"].split()[0]), largest_errors(given_away, tests).tolist(), 0.0
    )
    fixed = [start, row("cube", 0, trip, 0.0), shipped]
    found["rows"] = [one for one in found["rows"] if one["model"] in ("process", "network")] + fixed
    done = {(one["model"], one["cases"]) for one in found["rows"]}
    write_whole(given.output, lambda file: file.write_text(json.dumps(found, indent=1)))
    for count in map(int, given.sizes.split(",")):
        count = min(count, len(taught))
        if {("process", count), ("network", count)} <= done:
            continue
        for one in rows(taught, exams, tests, count):
            found["rows"].append(one)
            print(one, flush=True)
            write_whole(given.output, lambda file: file.write_text(json.dumps(found, indent=1)))


if __name__ == "__main__":
    main()
