"""Hold the estimated errors of corrected answers against the truth: random devices, biases and starts.

A triple is a device, a bias and a potential to stand at: a point on Newton's way from the semiclassical start, or the
solution pushed off by random smooth fields. At each the correction and its estimate are worked out; the truth is the
same equations solved to 1e-6 V. Rows are appended to a file as they come, and a second run goes on behind them.

    python benchmarks/corrected.py --output book/results/corrected.jsonl --devices 400
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import qmc
from threadpoolctl import ThreadpoolController
from tqdm import tqdm

import mlnegf
from mlnegf import Device
from mlnegf.scf.equations import Equations
from mlnegf.scf.point import Point
from mlnegf.scf.predictors import shifted_density
from mlnegf.scf.problem import Problem
from mlnegf.scf.schemes import Automatic
from mlnegf.scf.solve import solve

SECTIONS = ("rectangle", "rounded", "ellipse", "trapezoid", "L", "T")
REFERENCE = 2e-6
"""Estimated error asked of the truth, V."""
PUSHES = 8
"""Random smooth fields of 1 to 20 mV that each solution is pushed off by."""


def draw(seed: int, index: int) -> tuple[Device, float, float]:
    """Draw a device and a bias: 77 to 400 K, closed to wide open."""
    share = qmc.Sobol(11, rng=np.random.default_rng(seed)).random(2 ** (index + 1).bit_length())[index]
    low = np.array([3.0, 3.0, 6.0, 6.0, 6.0, 0.7, 77.0, 0.0, 0.0])
    high = np.array([8.0, 6.0, 16.0, 9.0, 9.0, 1.5, 400.0, 0.8, 0.8])
    width, thickness, gate_length, source, drain_length, oxide, kelvin, gate, drain = low + (high - low) * share[:9]
    device = Device(
        width=round(width, 2),
        thickness=round(thickness, 2),
        gate_length=round(gate_length, 1),
        source_length=round(source, 1),
        drain_length=round(drain_length, 1),
        oxide_thickness=round(oxide, 2),
        temperature=round(kelvin),
        doping=float(f"{5e19 * 4 ** share[9]:.3g}"),
        cross_section=SECTIONS[int(share[10] * len(SECTIONS))],
        spacing=(0.4, 0.5, 0.5),
    )
    return device, round(gate, 4), round(drain, 4)


class Solved:
    """The truth at one bias."""

    def __init__(self, problem: Problem, start: np.ndarray) -> None:
        found = solve(
            problem.equations, *problem.bias, start, "newton", REFERENCE, current_tolerance=1e-5, max_solves=8
        )
        self.good = found.error_estimate < 1e-5
        self.potential, self.current = problem.folded(found.potential), problem.own(found.current)


def row(problem: Problem, potential: np.ndarray, exact: Solved, kind: str) -> tuple[Point, dict[str, Any]]:
    """Solve at a potential; say what was estimated there, and what was true."""
    clock = [time.perf_counter()]
    point = problem.evaluate(potential)
    correction = point.correct(1e-3)
    clock.append(time.perf_counter())
    _ = point.second_order
    clock.append(time.perf_counter())
    errors = point.errors(corrected=True)
    true = exact.potential - point.potential - correction.step
    current = point.charge.current + correction.current
    return point, {
        "kind": kind,
        "away": float(abs(exact.potential - point.potential).max()),
        "step": correction.size,
        "thermal": point.thermal_voltage,
        "estimate": errors.potential,
        "error": float(abs(true).max()),
        "current_estimate": errors.current,
        "current_error": abs(current / exact.current - 1) if exact.current else 0.0,
        "rigid": rigid(point),
        "bound": len(point.charge.lines.bound.mode),
        "seconds": clock[1] - clock[0],
        "seconds_of_second_order": clock[2] - clock[1],
    }


def rigid(point: Point) -> float:
    """Estimate what a correction leaves by shifting the local density of states rigidly, V."""
    step, source = point.correct(1e-3).step, point.problem.poisson.source
    moved, _ = shifted_density(point.charge, point.potential)(point.potential + step)
    left = moved - point.charge.density - point.charge.slope * step
    return float(abs(point.screened.solve(-source * left, 1e-3)).max())


def triples(seed: int, index: int, modes: str) -> list[dict[str, Any]]:
    """Try one device at one bias."""
    device, gate, drain = draw(seed, index)
    equations = Equations.of(device, modes=modes, tolerance=REFERENCE)
    cold = solve(equations, gate, drain, "semiclassical", max_solves=40)
    problem = Problem.of(equations, gate, drain)
    if not cold.converged:
        return []
    exact = Solved(problem, cold.potential)
    if not exact.good:
        return []
    points, rows, potential = [], [], problem.semiclassical()
    for _ in range(6):
        point, found = row(problem, potential, exact, "newton")
        points.append(point)
        rows.append(found)
        if found["step"] < 3e-4:
            break
        potential = Automatic().propose(points[-2:])
    rng = np.random.default_rng([seed, index])
    x = device.grid.x
    for _ in range(PUSHES):
        reach, push = rng.uniform(1.0, 6.0), 10 ** rng.uniform(-3.0, -1.7)
        smooth = np.exp(-((x[:, None] - x) ** 2) / (2 * reach**2)) @ rng.standard_normal(len(x))
        away = exact.potential + push * (smooth / abs(smooth).max())[:, None]
        rows.append(row(problem, away, exact, "pushed")[1])
    about = {"seed": seed, "index": index, "modes": modes, "gate": gate, "drain": drain, "device": device.to_dict()}
    command = "python benchmarks/corrected.py " + " ".join(sys.argv[1:])
    return [{**about, **one, "version": mlnegf.__version__, "command": command} for one in rows]


def main() -> None:
    """Run, or go on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--devices", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--modes", default="uncoupled")
    parser.add_argument("--largest", type=float, default=48.0, help="section, nm²: devices of larger ones are left out")
    given = parser.parse_args()
    torch.set_num_threads(1)
    ThreadpoolController().limit(limits=1)
    known = [json.loads(line) for line in given.output.read_text().splitlines()] if given.output.exists() else []
    done = {(one["seed"], one["index"], one["modes"]) for one in known}
    indices = range(given.first, given.first + given.devices)
    for index in tqdm([i for i in indices if (given.seed, i, given.modes) not in done], unit="device"):
        device = draw(given.seed, index)[0]
        if device.width * device.thickness > given.largest:
            continue
        try:
            rows = triples(given.seed, index, given.modes)
        except ValueError as error:  # a device that makes no grid, or a channel closed beyond numbers
            print(f"{index}: {error}", file=sys.stderr)
            continue
        with given.output.open("a") as file:
            file.writelines(json.dumps(one) + "\n" for one in rows)


if __name__ == "__main__":
    main()
