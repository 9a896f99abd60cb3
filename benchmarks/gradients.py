"""What gradients cost: of a device, of a lead's surface, of transmission; every ratio from one run.

    python benchmarks/gradients.py --output book/results/gradients.json

Memory is that of a fresh process for each row, over what it takes before the gradient is asked for.
"""

import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import psutil
import torch
from ribbon import BOND, HOPPINGS, LEVEL, shells
from shared import Record, arguments
from threadpoolctl import ThreadpoolController

import mlnegf
from mlnegf import transport
from mlnegf.transport import decimation
from mlnegf.transport.decimation import Cell

Tensor = torch.Tensor

BROADENING = 1e-5
"""Of the lead whose decimation is unrolled, as in the paper that is compared with."""
ENERGIES = 16


def timed(task: Callable[[], Any], repeats: int = 3) -> float:
    """Return the median of the seconds a task takes."""
    taken = []
    for _ in range(repeats):
        begun = time.perf_counter()
        task()
        taken.append(time.perf_counter() - begun)
    return float(np.median(taken))


def apart(task: Callable[..., Any], *given: Any) -> Any:
    """Do a task in a fresh process of one thread."""
    with multiprocessing.get_context("spawn").Pool(1, initializer=_one_thread) as pool:
        return pool.apply(task, given)


def _one_thread() -> None:
    torch.set_num_threads(1)
    ThreadpoolController().limit(limits=1)


def of_device(spacing: float) -> dict[str, Any]:
    """One cold solve, and the gradient of its current by the doping of every cell."""
    device = mlnegf.Device(spacing=(spacing, spacing, spacing))

    def solved() -> mlnegf.Solution:
        return mlnegf.solve(device, 0.5, 0.5)

    solution = solved()
    cold = timed(solved, 5)
    gradient = timed(lambda: mlnegf.sensitivity(solution, to="doping"), 5)
    return {
        "doped_cells": int(np.broadcast_to(device.grid.semiconductor, device.grid.shape).sum()),
        "cells": int(np.prod(device.grid.shape)),
        "cold": cold,
        "solves": solution.negf_solves,
        "gradient": gradient,
    }


def of_iterations(scheme: str, tolerance: float) -> dict[str, Any]:
    """Memory of a gradient after few outer iterations or many, MiB."""
    device = mlnegf.Device(spacing=(0.5, 0.5, 0.5))
    solution = mlnegf.solve(device, 0.5, 0.5, "flat", scheme, tolerance, corrected=False, max_solves=200)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    mlnegf.sensitivity(solution, to="doping")
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"solves": solution.negf_solves, "converged": solution.converged, "memory": (after - before) / 2**10}


def of_repeats(count: int) -> dict[str, Any]:
    """Memory of this process after every tenth gradient, MiB."""
    device = mlnegf.Device(spacing=(0.5, 0.5, 0.5))
    solution = mlnegf.solve(device, 0.5, 0.5)
    memory = []
    for n in range(count):
        mlnegf.sensitivity(solution, to="doping")
        if n % 10 == 9:
            memory.append(psutil.Process().memory_info().rss / 2**20)
    return {"memory": memory}


def lead(block: int) -> transport.Lead:
    """Return an armchair ribbon of graphene of so many atoms a cell, neighbours to the third order, eV."""
    across, lines = np.sqrt(3) / 2 * BOND, block // 2
    places = np.array(
        [
            (n * across, along)
            for n in range(lines)
            for along in ((0.0, BOND) if n % 2 == 0 else (1.5 * BOND, 2.5 * BOND))
        ]
    )
    hoppings = torch.tensor([LEVEL, *HOPPINGS, 0.0], dtype=torch.float64)
    return transport.Lead(*(hoppings[shells(places, cells)] for cells in (0, 1)))


def of_surface(block: int, unrolled: bool) -> dict[str, Any]:
    """Gradient of one number made of a surface's Green's function by its lead, with memory in MiB."""
    one = lead(block)
    energies = torch.linspace(-3.0, 3.0, ENERGIES, dtype=torch.float64) + 0.0123
    given = [part.clone().requires_grad_() for part in (one.onsite, one.hopping)]

    def green() -> Tensor:
        if not unrolled:
            return transport.surface_green_function(energies, transport.Lead(*given), "left", BROADENING)
        cell = Cell.of(energies, (*given, None, None), BROADENING)
        return decimation.surface_green_functions(cell.inverse, cell.ahead, cell.back)[0]

    def gradient() -> tuple[Tensor, ...]:
        return torch.autograd.grad(green().real.sum(), given)

    with torch.no_grad():
        green()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = gradient()
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with torch.no_grad():
        forward = timed(green)
    seconds = timed(gradient)
    return {
        "memory": (after - before) / 2**10,
        "seconds": seconds,
        "forward": forward,
        "norms": [float(one.norm()) for one in found],
    }


def of_entries(block: int, sites: int) -> dict[str, Any]:
    """dT/dH by every entry of the diagonal blocks, beside central differences of every one."""
    generator = torch.Generator().manual_seed(0)
    diagonal = torch.randn(sites, block, block, generator=generator, dtype=torch.float64) / block**0.5
    diagonal = (diagonal + diagonal.mT) / 2
    one = lead(block)
    upper = one.hopping.expand(sites - 1, -1, -1).clone()
    energies = torch.tensor([0.1], dtype=torch.float64)
    contacts = (one.onsite, one.hopping)

    def transmitted(blocks: Tensor) -> Tensor:
        found: Tensor = transport.transmission(energies, blocks, upper, contacts, contacts)
        return found

    def gradient() -> Tensor:
        blocks = diagonal.clone().requires_grad_()
        (found,) = torch.autograd.grad(transmitted(blocks).sum(), blocks)
        return found

    exact, seconds = gradient(), timed(gradient, 5)
    step, differences = 1e-5, torch.zeros_like(diagonal)
    begun = time.perf_counter()
    for site in range(sites):
        for row in range(block):
            for column in range(row, block):
                move = torch.zeros_like(diagonal)
                move[site, row, column] = move[site, column, row] = step
                slope = float(transmitted(diagonal + move) - transmitted(diagonal - move)) / (2 * step)
                differences[site, row, column] = differences[site, column, row] = slope / (1 + (row != column))
    taken = time.perf_counter() - begun
    error = float((exact - differences).abs().max() / differences.abs().max())
    return {"entries": diagonal.numel(), "gradient": seconds, "differences": taken, "error": error}


def main() -> None:
    """Measure, or go on."""
    given = arguments(__doc__, files=["output"], gradients=100)
    record = Record(given.output, sys.argv, {"broadening": BROADENING, "energies": ENERGIES})
    for spacing in (0.2, 0.16):
        record.add({"kind": "device", "spacing": spacing}, apart, of_device, spacing)
    for scheme, tolerance in (("newton", 1e-3), ("anderson", 1e-3), ("gummel", 1e-3), ("gummel", 1e-7)):
        key = {"kind": "iterations", "scheme": scheme, "tolerance": tolerance}
        record.add(key, apart, of_iterations, scheme, tolerance)
    record.add({"kind": "repeats", "gradients": given.gradients}, apart, of_repeats, given.gradients)
    for block in (18, 36, 54, 72, 90, 126):
        for unrolled in (False, True):
            record.add({"kind": "surface", "block": block, "unrolled": unrolled}, apart, of_surface, block, unrolled)
    record.add({"kind": "entries"}, apart, of_entries, 46, 4)


if __name__ == "__main__":
    main()
