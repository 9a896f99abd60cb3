"""How time grows: with the length of the device and its section, and of Poisson's equation with its nodes; one thread.

python benchmarks/scaling.py --output book/results/scaling.json

With `--beside` another checkout of the project its sections are timed in turn with those of this one.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import torch
from threadpoolctl import ThreadpoolController

import mlnegf
from mlnegf.nanosheet.poisson import Poisson
from mlnegf.scf.problem import Problem

LENGTHS = (20.0, 40.0, 80.0, 160.0)
SPACINGS = (0.87, 0.5, 0.29, 0.167)
SECTIONS = ((6.0, 3.0), (9.0, 3.0), (12.0, 3.0), (12.0, 6.0))
THREE_SOLVES = """
import sys, time, torch, mlnegf
torch.set_num_threads(1)
width, thickness = map(float, sys.argv[1:])
mlnegf.solve(mlnegf.Device(width=3.0, spacing=(0.5, 0.5, 0.5)), 0.55, 0.6, max_solves=1)
device = mlnegf.Device(width=width, thickness=thickness)
start = time.process_time()
mlnegf.solve(device, 0.55, 0.6, max_solves=3)
print(time.process_time() - start, int(device.grid.semiconductor.sum()))
"""


def seconds(work: Callable[[], object], rounds: int) -> float:
    """Least time of several rounds, s."""
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


def slope(sizes: list[float], times: list[float]) -> float:
    """Exponent of the power law through all points."""
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])


def by_length(rounds: int) -> dict[str, list[float]]:
    """Seconds of the parts of one outer iteration of 5 × 3 nm devices of growing gate length."""
    table: dict[str, list[float]] = {"length": [], "charge": [], "Newton step": [], "Poisson": []}
    for length in LENGTHS:
        device = mlnegf.Device(width=5.0, gate_length=length - 16.0)
        problem = Problem.of(device, 0.3, 0.5)
        start = problem.semiclassical()
        point = problem.evaluate(start)
        table["length"].append(length)
        table["charge"].append(seconds(lambda: problem.evaluate(start), rounds))  # noqa: B023
        table["Newton step"].append(seconds(lambda: problem.evaluate(start).correct(1e-2), 1) - table["charge"][-1])  # noqa: B023
        _ = point.distance
        table["Poisson"].append(seconds(lambda: problem.exponential(point.charge.density, start, 1e-4), rounds))  # noqa: B023
    return table


def by_nodes(rounds: int) -> dict[str, list[float]]:
    """Seconds of a screened Poisson solve to 1e-9, its multigrid hierarchy included, on finer and finer grids."""
    table: dict[str, list[float]] = {"nodes": [], "seconds": []}
    for spacing in SPACINGS:
        # An L section has no mirror symmetry: nothing is folded.
        device = mlnegf.Device(
            width=8.0, thickness=8.0, gate_length=60 * spacing, source_length=40 * spacing, drain_length=40 * spacing,
            cross_section="L", spacing=(spacing,) * 3,
        )  # fmt: skip
        poisson = Poisson.of(device)
        slope_ = np.where(poisson.donors > 0, poisson.donors / 0.0258, 0.0)
        right = np.random.default_rng(0).normal(size=poisson.gate.shape)
        table["nodes"].append(poisson.gate.size)
        # A copy has no hierarchy yet.
        table["seconds"].append(seconds(lambda: replace(poisson).screened(slope_).solve(right, 1e-9), rounds))  # noqa: B023
    return table


def by_section(rounds: int, checkouts: list[Path]) -> dict[str, list[float]]:
    """Seconds of three NEGF solves, start and set-up included, of 10 nm gates around larger and larger sections.

    Each in a process of its own, that of one checkout after that of the other.
    """
    table: dict[str, list[float]] = {"cells": [], **{str(checkout): [] for checkout in checkouts}}
    for section in SECTIONS:
        times: dict[Path, list[float]] = {checkout: [] for checkout in checkouts}
        cells = ""
        for _ in range(rounds):
            for checkout in checkouts:
                threads = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
                found = subprocess.run(
                    [sys.executable, "-c", THREE_SOLVES, *map(str, section)],
                    env={**os.environ, **threads, "PYTHONPATH": str(checkout)}, cwd=checkout,
                    stdout=subprocess.PIPE, text=True, check=True,
                )  # fmt: skip
                elapsed, cells = found.stdout.split()
                times[checkout].append(float(elapsed))
        table["cells"].append(float(cells))
        for checkout in checkouts:
            table[str(checkout)].append(min(times[checkout]))
    return table


@click.command()
@click.option("--rounds", default=3, show_default=True)
@click.option("--output", type=click.Path(path_type=Path))
@click.option("--beside", type=click.Path(path_type=Path, exists=True), help="Another checkout, timed on its sections.")
@click.option("--only-sections", is_flag=True, help="Leave out lengths and nodes.")
def main(rounds: int, output: Path | None, beside: Path | None, only_sections: bool) -> None:
    """Print the tables and their slopes."""
    torch.set_num_threads(1)
    ThreadpoolController().limit(limits=1)
    checkouts = [Path(mlnegf.__file__).parents[1], *([beside.resolve()] if beside else [])]
    sections = by_section(rounds, checkouts)
    for name, values in sections.items():
        label = name if name == "cells" else "this" if name == str(checkouts[0]) else "beside"
        print(f"{label:14}", "".join(f"{value:12.4g}" for value in values))
    for checkout in checkouts:
        print(f"{checkout.name:18} grows with power {slope(sections['cells'], sections[str(checkout)]):.2f} of cells")
    if only_sections:
        return
    lengths, nodes = by_length(rounds), by_nodes(rounds)
    slopes = {name: slope(lengths["length"], lengths[name]) for name in ("charge", "Newton step", "Poisson")}
    seconds_here = sections[str(checkouts[0])]
    slopes["sections"] = slope(sections["cells"], seconds_here)
    slopes["Poisson by nodes"] = slope(nodes["nodes"], nodes["seconds"])
    for table in (lengths, nodes):
        for name, values in table.items():
            print(f"{name:14}", "".join(f"{value:12.4g}" for value in values))
        print()
    for name, value in slopes.items():
        print(f"{name:18} grows with power {value:.2f}")
    if output:
        kept = {"cells": sections["cells"], "seconds": seconds_here}
        made = {"command": f"benchmarks/scaling.py --rounds {rounds}", "version": mlnegf.__version__}
        output.write_text(
            json.dumps({**made, "lengths": lengths, "nodes": nodes, "sections": kept, "slopes": slopes}, indent=1)
            + "\n"
        )


if __name__ == "__main__":
    main()
