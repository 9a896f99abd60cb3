"""Random dopants: the spread of currents that the gradient foretells, beside that of devices solved one by one.

Donors of source and drain are drawn at random, one by one; the outermost nanometre of both contacts stays smooth. Of
each the long-range part is put on the grid, a Gaussian of half the mean distance N_D^(−1/3): what is nearer belongs to
scattering (Sano et al., Microelectron. Reliab. 42, 189 (2002)). The gradient of ln I by the doping of every cell is
worked out once for each bias, at the mean profile; with it, every row holds what it foretells for the same donors, and
the whole variance follows in one sum.

    python benchmarks/variability.py --output book/results/variability.json
"""

import sys
import time
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from shared import Record, arguments

import mlnegf
from mlnegf._common import Floats
from mlnegf.units import PER_CUBIC_CENTIMETRE

DEVICE = mlnegf.Device(
    gate_length=8.0,
    source_length=6.0,
    drain_length=6.0,
    width=5.0,
    thickness=3.0,
    spacing=(0.5, 0.5, 0.5),
)
BIASES = {"off": (0.1, 0.5), "on": (0.45, 0.5)}
SMOOTH = 1.0
"""Length at both ends where donors stay a continuum, nm."""
SIZE = 1.08
"""Standard deviation of the Gaussian, nm: half of N_D^(−1/3)."""


@cache
def clouds() -> tuple[Floats, Floats]:
    """Places of the semiconductor's cells, (C, 3), nm, and the density (nm⁻³) in each of a donor in each, (C, C)."""
    grid = DEVICE.grid
    inside = np.broadcast_to(grid.semiconductor, grid.shape)
    places = np.stack(np.meshgrid(grid.x, grid.y, grid.z, indexing="ij"), -1)[inside]
    squares = ((places[:, None] - places) ** 2).sum(-1)
    shares = np.exp(-squares / (2 * SIZE**2))
    return places, shares / shares.sum(0) / volume()


def volume() -> float:
    """Of a cell of the semiconductor, nm³: they are all alike."""
    grid = DEVICE.grid
    return float((grid.area * grid.dx)[grid.semiconductor].mean())


@cache
def expected() -> tuple[Floats, Floats]:
    """Donors that each cell holds in the mean: those drawn one by one, and those that stay smooth, (C,)."""
    places, _ = clouds()
    grid = DEVICE.grid
    mean = grid.donors[np.broadcast_to(grid.semiconductor, grid.shape)] * volume()
    ends = (places[:, 0] < SMOOTH) | (places[:, 0] > DEVICE.length - SMOOTH)
    return np.where(ends, 0.0, mean), np.where(ends, mean, 0.0)


def profile(numbers: Floats) -> Floats:
    """Doping, cm⁻³, (nx, ny, nz), of so many donors in each cell (C,), beside the smooth ones."""
    grid = DEVICE.grid
    density = np.zeros(grid.shape)
    density[np.broadcast_to(grid.semiconductor, grid.shape)] = clouds()[1] @ numbers + expected()[1] / volume()
    return density / PER_CUBIC_CENTIMETRE


def main() -> None:
    """Solve, or go on."""
    given = arguments(__doc__, files=["output"], cases=500)
    mean = expected()[0]
    device = replace(DEVICE, doping_profile=profile(mean))
    smooth = {name: mlnegf.solve(device, *bias, tolerance=1e-4) for name, bias in BIASES.items()}
    started = time.perf_counter()
    inside = np.broadcast_to(DEVICE.grid.semiconductor, DEVICE.grid.shape)
    # Change of ln I by one donor more in a cell, (C,).
    slopes = {
        name: mlnegf.sensitivity(solution, to="doping").values[inside] * (1 / PER_CUBIC_CENTIMETRE) @ clouds()[1]
        for name, solution in smooth.items()
    }
    slopes = {name: slope / smooth[name].current for name, slope in slopes.items()}
    # Poisson's numbers: their variance is their mean.
    spread = {name: float(np.sqrt(slope**2 @ mean)) for name, slope in slopes.items()}
    seconds = time.perf_counter() - started

    def case(seed: int) -> dict[str, Any]:
        numbers = np.random.default_rng(seed).poisson(mean).astype(np.float64)
        one = replace(DEVICE, doping_profile=profile(numbers))
        row: dict[str, Any] = {"donors": int(numbers.sum())}
        begun = time.perf_counter()
        for name, solution in smooth.items():
            found = mlnegf.solve(one, *BIASES[name], guess=solution, max_solves=40)
            row[name] = {
                "ended": found.outcome.name,
                "log_ratio": float(np.log(found.current / solution.current)) if found.current > 0 else None,
                "foretold": float(slopes[name] @ (numbers - mean)),
                "solves": found.negf_solves,
            }
        return row | {"seconds": time.perf_counter() - begun}

    about = {"biases": {name: list(bias) for name, bias in BIASES.items()}, "smooth": SMOOTH, "size": SIZE}
    record = Record(given.output, sys.argv, about)
    record.add({"kind": "gradient"}, lambda: {"spread": spread, "seconds": seconds})
    for seed in range(given.cases):
        record.add({"kind": "device", "seed": seed}, case, seed)


if __name__ == "__main__":
    main()
