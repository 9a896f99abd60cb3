"""Waves of an oscillator by networks that are told the equation, beside the step-by-step solver.

    python benchmarks/electron_dynamics.py --data data/dynamics --output book/results/electron_dynamics.json

ψ₀₁ and ψ₁₃ for 0 ≤ t ≤ 2π and ω = 1 between walls at |x| = 6, all parts of the time by one network and each by its own,
taught by least squares and by descent: with causal weights and without, with the wave known for |x| < π/4 too, with
fewer points. Networks for all ω from 0.5 to 1.5 are asked about five of them and 2. What each says is compared with the
closed form on 101 × 101 points of |x| ≤ π.
"""

import sys
import time
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from shared import Record, arguments, shared_out

from mlnegf.line.grid import Line
from mlnegf.line.motion import carried, superposed
from mlnegf.line.wave_network import Descent, Task, WaveNetwork, by_descent, by_least_squares, oscillator_start

WAVES: Final = ((0, 1), (1, 3))
KNOWN: Final = float(np.pi / 4)
WITHIN: Final = float(np.pi)
SIDE: Final = 101
ASKED: Final = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
Levels = tuple[int, int]


class Effort(NamedTuple):
    """Steps of a descent, over all parts, and evaluations of a part's residuals by least squares."""

    steps: int
    evaluations: int


@dataclass(frozen=True)
class Way:
    """How networks are taught: by descent, or by least squares at so many points."""

    task: Task
    points: int = 1024
    descent: Descent | None = None
    seeds: int = 1


def ways(steps: int, seeds: int = 1) -> dict[str, Way]:
    """Return what is compared, by name."""
    parts, whole, large = Task(), Task(parts=1, width=24), Task(parts=1, width=64, layers=4)
    plain = Descent(steps, causality=0.0)
    # A small network bears longer steps, and each part gets a fair number of them.
    each = Descent(max(1, 3 * steps // parts.parts), 512, 1e-2, causality=0.0)
    several = Task(frequencies=(0.5, 1.5), width=20)
    return {
        "least squares, 8 parts": Way(parts, seeds=seeds),
        "least squares, 8 parts, 512 points": Way(parts, 512),
        "least squares, 8 parts, 256 points": Way(parts, 256),
        "least squares, 8 parts, width 12": Way(replace(parts, width=12)),
        "least squares, 4 parts": Way(replace(parts, parts=4, width=20), 2048),
        "least squares, one part": Way(whole, 2048),
        "descent, one part": Way(large, descent=plain),
        "descent, one part, causal": Way(large, descent=replace(plain, causality=1.0)),
        "descent, one part, causal, longer steps": Way(
            large, descent=replace(plain, causality=1.0, learning_rate=1e-2)
        ),
        "descent, one part, some known": Way(large, descent=replace(plain, known=KNOWN)),
        "descent, one part, 256 points": Way(large, descent=replace(plain, points=256)),
        "descent, 8 parts": Way(parts, descent=each),
        "least squares, 8 parts, several ω": Way(several, 2048),
    }


def wave_of(levels: Levels) -> Any:
    """Return the closed form, real and imaginary part, as a network is told it where it is known."""

    def wave(x: torch.Tensor, t: torch.Tensor, frequency: torch.Tensor) -> torch.Tensor:
        found = superposed(levels, x.numpy(), t.numpy(), frequency.numpy())
        return torch.from_numpy(np.stack([found.real, found.imag], 1))

    return wave


def path_of(data: Path, name: str, levels: Levels, seed: int, effort: Effort) -> Path:
    """Return where networks are kept, by all that made them."""
    words = name.replace(", ", "-").replace(" ", "_")
    mark = f"{zlib.crc32(repr(ways(effort.steps)[name]).encode()):08x}"
    return data / f"{words}-{mark}-{levels[0]}{levels[1]}-{seed}-{effort.evaluations}.pt"


def teach(data: Path, name: str, levels: Levels, seed: int, effort: Effort) -> None:
    """Teach networks, unless they are there."""
    path = path_of(data, name, levels, seed, effort)
    if path.exists():
        return
    way = ways(effort.steps)[name]
    task, start = replace(way.task, seed=seed), oscillator_start(levels)
    began = time.perf_counter()
    if way.descent is None:
        model, _ = by_least_squares(task, start, way.points, effort.evaluations)
    else:
        model = by_descent(task, start, way.descent, wave_of(levels) if way.descent.known else None)
    torch.save({"weights": model.state_dict(), "seconds": time.perf_counter() - began}, path)


def judged(data: Path, name: str, levels: Levels, seed: int, effort: Effort) -> dict[str, Any]:
    """Compare networks with the closed form."""
    saved = torch.load(path_of(data, name, levels, seed, effort), weights_only=True)
    way = ways(effort.steps)[name]
    model = WaveNetwork(way.task, oscillator_start(levels))
    model.load_state_dict(saved["weights"])
    frequencies = ASKED if way.task.inputs == 3 else (1.0,)
    points, steps = way.points, effort.evaluations
    if way.descent is not None:
        points, steps = way.descent.points, way.descent.steps
    return {
        "seconds": saved["seconds"],
        "parts": way.task.parts,
        "points": points,
        "steps": steps,
        "parameters": sum(one.numel() for one in model.parameters()),
        "scores": {f"{frequency:g}": compared(model, levels, frequency) for frequency in frequencies},
    }


def compared(model: WaveNetwork, levels: Levels, frequency: float) -> dict[str, float]:
    """Return mean squared errors of density and wave in |x| ≤ π, and how far the norm strays from 1."""
    task = model.task
    inside, whole = np.linspace(-WITHIN, WITHIN, SIDE), np.linspace(-task.half, task.half, 2 * SIDE)
    times = np.linspace(0.0, task.duration, SIDE)

    def said(places: np.ndarray) -> np.ndarray:
        x, t = (torch.from_numpy(some.ravel()) for some in np.meshgrid(places, times))
        with torch.no_grad():
            parts = model(x, t, torch.full_like(x, frequency)).numpy()
        return np.asarray(parts[:, 0] + 1j * parts[:, 1]).reshape(len(times), len(places))

    found, true = said(inside), superposed(levels, inside[None], times[:, None], frequency)
    norm = (abs(said(whole)) ** 2).sum(1) * (whole[1] - whole[0])
    return {
        "density": float(((abs(found) ** 2 - abs(true) ** 2) ** 2).mean()),
        "wave": float((abs(found - true) ** 2).mean()),
        "norm": float(abs(norm - 1).max()),
    }


def stepped(levels: Levels, points: int, steps: int) -> dict[str, Any]:
    """Do the same by Crank and Nicolson, on a line long enough to hold the wave."""
    line = Line(8.0, points)
    times_taken = []
    for _ in range(6):  # the first warms up
        began = time.perf_counter()
        found = carried(line, superposed(levels, line.x, 0.0), lambda t: 0.5 * line.x**2, 2 * np.pi, steps, 20)
        times_taken.append(time.perf_counter() - began)
    seconds = min(times_taken)
    inside = abs(line.x) <= WITHIN
    times = np.linspace(0.0, 2 * np.pi, len(found))[:, None]
    true = superposed(levels, line.x[None], times)
    return {
        "seconds": seconds,
        "density": float(((abs(found) ** 2 - abs(true) ** 2)[:, inside] ** 2).mean()),
        "norm": float(abs((abs(found) ** 2).sum(1) * line.step - 1).max()),
    }


def main() -> None:
    """Run, or go on."""
    given = arguments(__doc__, steps=8000, evaluations=60, seeds=3, workers=2)
    effort = Effort(given.steps, given.evaluations)
    given.data.mkdir(parents=True, exist_ok=True)
    waiting = [
        (name, levels, seed)
        for name, way in ways(given.steps, given.seeds).items()
        for levels in WAVES
        for seed in range(way.seeds)
    ]
    shared_out(given.workers, teach, [(given.data, *one, effort) for one in waiting], "networks")
    record = Record(given.output, sys.argv, effort._asdict())
    for name, levels, seed in waiting:
        key = {"way": name, "levels": list(levels), "seed": seed}
        record.add(key, judged, given.data, name, levels, seed, effort)
    for levels in WAVES:
        for points, steps in ((48, 100), (64, 200), (96, 400), (128, 2000)):
            key = {"way": "Crank and Nicolson", "levels": list(levels), "points": points, "steps": steps}
            record.add(key, stepped, levels, points, steps)


if __name__ == "__main__":
    main()
