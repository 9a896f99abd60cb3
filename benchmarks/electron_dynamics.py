"""Waves of an oscillator by networks that are told the equation, beside the step-by-step solver.

    python benchmarks/electron_dynamics.py --data data/dynamics --output book/results/electron_dynamics.json

ψ₀₁ and ψ₁₃ on |x| ≤ π, 0 ≤ t ≤ 2π, ω = 1, three seeds each: with the equation alone; with the wave known for |x| < π/4
too, as was published; without causal weights; with fewer points and steps. One network for all ω from 0.5 to 1.5 is
asked about 0.75 and 2. What each says is compared with the closed form on 101 × 101 points.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from shared import Record, arguments, shared_out

from mlnegf.line.grid import Line
from mlnegf.line.motion import carried, superposed
from mlnegf.line.wave_network import Task, WaveNetwork, oscillator_start, taught

WAVES: Final = ((0, 1), (1, 3))
KNOWN: Final = float(np.pi / 4)
SIDE: Final = 101
SEVERAL: Final = (0.5, 1.5)
ASKED: Final = (0.75, 1.0, 1.25, 2.0)

Levels = tuple[int, int]


def tasks(steps: int) -> dict[str, Task]:
    """Return what is compared, by name."""
    plain = Task(steps=steps)
    return {
        "equation": plain,
        "equation, part known": replace(plain, known=KNOWN),
        "equation, no causal weights": replace(plain, causality=0.0),
        "equation, 256 points": replace(plain, points=256),
        "equation, a quarter of the steps": replace(plain, steps=max(1, steps // 4)),
        "several frequencies": replace(plain, frequencies=SEVERAL),
    }


def wave_of(levels: Levels) -> Any:
    """Return the closed form, real and imaginary part, as a network is told it where it is known."""

    def wave(x: torch.Tensor, t: torch.Tensor, frequency: torch.Tensor) -> torch.Tensor:
        found = superposed(levels, x.numpy(), t.numpy(), frequency.numpy())
        return torch.from_numpy(np.stack([found.real, found.imag], 1))

    return wave


def path_of(data: Path, name: str, levels: Levels, seed: int, steps: int) -> Path:
    """Return where a network is kept."""
    return data / f"{name.replace(', ', '-').replace(' ', '-')}-{levels[0]}{levels[1]}-{seed}-{steps}.pt"


def teach(data: Path, name: str, levels: Levels, seed: int, steps: int) -> None:
    """Teach a network, unless it is there."""
    path = path_of(data, name, levels, seed, steps)
    if path.exists():
        return
    task = replace(tasks(steps)[name], seed=seed)
    began = time.perf_counter()
    model = taught(task, oscillator_start(levels), wave_of(levels) if task.known else None)
    torch.save({"weights": model.state_dict(), "seconds": time.perf_counter() - began}, path)


def judged(data: Path, name: str, levels: Levels, seed: int, steps: int) -> dict[str, Any]:
    """Compare a network with the closed form."""
    saved = torch.load(path_of(data, name, levels, seed, steps), weights_only=True)
    model = WaveNetwork(tasks(steps)[name], oscillator_start(levels))
    model.load_state_dict(saved["weights"])
    frequencies = ASKED if name == "several frequencies" else (1.0,)
    scores = {f"{frequency:g}": compared(model, levels, frequency) for frequency in frequencies}
    return {"seconds": saved["seconds"], "scores": scores}


def compared(model: WaveNetwork, levels: Levels, frequency: float) -> dict[str, float]:
    """Return mean squared errors of density and wave, and how far the norm strays."""
    task = model.task
    places, times = np.linspace(-task.half, task.half, SIDE), np.linspace(0.0, task.duration, SIDE)
    x, t = (torch.from_numpy(some.ravel()) for some in np.meshgrid(places, times))
    with torch.no_grad():
        parts = model(x, t, torch.full_like(x, frequency)).numpy()
    said, true = parts[:, 0] + 1j * parts[:, 1], superposed(levels, x.numpy(), t.numpy(), frequency)
    norms = (abs(np.reshape([said, true], (2, SIDE, SIDE))) ** 2).sum(2) * (places[1] - places[0])
    return {
        "density": float(((abs(said) ** 2 - abs(true) ** 2) ** 2).mean()),
        "wave": float((abs(said - true) ** 2).mean()),
        "norm": float(abs(norms[0] - norms[1]).max()),
    }


def stepped(levels: Levels, points: int, steps: int) -> dict[str, Any]:
    """Do the same by Crank and Nicolson, on a line long enough to hold the wave."""
    line = Line(8.0, points)
    began = time.perf_counter()
    found = carried(line, superposed(levels, line.x, 0.0), lambda t: 0.5 * line.x**2, 2 * np.pi, steps, 20)
    seconds = time.perf_counter() - began
    inside = abs(line.x) <= np.pi
    times = np.linspace(0.0, 2 * np.pi, len(found))[:, None]
    true = superposed(levels, line.x[None], times)
    return {
        "seconds": seconds,
        "density": float(((abs(found) ** 2 - abs(true) ** 2)[:, inside] ** 2).mean()),
        "norm": float(abs((abs(found) ** 2).sum(1) * line.step - 1).max()),
    }


def cases(seeds: int) -> list[tuple[str, Levels, int]]:
    """Return which networks are taught: all seeds of the main three, one of the others."""
    names: Sequence[str] = list(tasks(4))
    whole = ("equation", "equation, part known", "several frequencies")
    return [(name, levels, seed) for name in names for levels in WAVES for seed in range(seeds if name in whole else 1)]


def main() -> None:
    """Run, or go on."""
    given = arguments(__doc__, steps=8000, seeds=3, workers=2)
    given.data.mkdir(parents=True, exist_ok=True)
    waiting = cases(given.seeds)
    shared_out(given.workers, teach, [(given.data, *one, given.steps) for one in waiting], "networks")
    record = Record(given.output, sys.argv, {"steps": given.steps})
    for name, levels, seed in waiting:
        key = {"model": name, "levels": list(levels), "seed": seed}
        record.add(key, judged, given.data, name, levels, seed, given.steps)
    for levels in WAVES:
        for points, steps in ((48, 100), (64, 200), (96, 400), (128, 2000)):
            key = {"model": "Crank and Nicolson", "levels": list(levels), "points": points, "steps": steps}
            record.add(key, stepped, levels, points, steps)


if __name__ == "__main__":
    main()
