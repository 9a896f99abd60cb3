"""Dopants that close a graphene ribbon: gradients beside evolution and Bayesian search, of equal wall time.

The problem of AD-NEGF (Phys. Rev. B 108, 195143 (2023)): an armchair ribbon of seven dimer lines, hydrogens at both
edges treated as more p_z orbitals, neighbours to the third order with overlaps. Along one line of atoms, five cells
long, dopants replace carbon. Thirteen numbers say what a dopant is: its level, and three hoppings and overlaps to its
like and to carbon. They are to lower the mean transmission at fifty energies in [−1, 1] eV. Both leads stay pristine;
the published script dopes them as well, and counts open modes then.

The undoped ribbon transmits all that its leads carry, a maximum, where the gradient vanishes: every search starts
nearby, at the same random displacement. `box` bounds every number to that distance from carbon's. Overlaps that
leave the metric of the ribbon no longer positive are no dopants: its lowest eigenvalue is stored with every answer, and
a third of the runs, `free` "hoppings", leave all overlaps at carbon's and search the other seven numbers.

    python benchmarks/ribbon.py --output book/results/ribbon.json

Bayesian search takes ``pip install bayesian-optimization``, which nothing else needs; without it, it is left out.
"""

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from scipy.optimize import differential_evolution
from shared import Record, arguments

from mlnegf import transport

Tensor = torch.Tensor

BOND = 1.42
"""Å; hydrogens at 1.09."""
SHELLS = (1.5, 2.5, 3.1)
"""Up to which first, second and third neighbours lie, Å."""
LEVEL, HOPPINGS, OVERLAPS = -0.28, (-2.97, -0.073, -0.33), (0.073, 0.018, 0.026)
CELLS, LINES, DOPED = 5, 7, 5
"""Cells of the device; dimer lines across; the line that is doped, from 0."""
STEPS = 100


def cell() -> tuple[np.ndarray, np.ndarray]:
    """Places (atoms, 2), across and along, Å, ordered along; and which atoms are dopants."""
    across = np.sqrt(3) / 2 * BOND
    places, line = [], []
    for n in range(LINES):
        for along in (0.0, BOND) if n % 2 == 0 else (1.5 * BOND, 2.5 * BOND):
            places.append((n * across, along))
            line.append(n)
    for edge, out in ((0, -1), (LINES - 1, 1)):
        pair = [place for place, n in zip(places, line, strict=True) if n == edge]
        for here, other in (pair, pair[::-1]):
            tilt = -0.5 * np.sign(other[1] - here[1])
            places.append((here[0] + out * 1.09 * np.sqrt(3) / 2, here[1] + tilt * 1.09))
            line.append(-1)
    order = np.argsort([along for _, along in places], kind="stable")
    return np.array(places)[order], np.array(line)[order] == DOPED


def shells(places: np.ndarray, cells: int) -> Tensor:
    """0 on site, then the neighbour's order, 4 beyond, of a cell's atoms and those of the cell `cells` further on."""
    apart = places[None] - places[:, None] + np.array([0.0, 3 * BOND * cells])
    return torch.from_numpy(np.digitize(np.hypot(*apart.transpose(2, 0, 1)), (0.1, *SHELLS)))


PLACES, DOPANTS = cell()
ON, BESIDE = shells(PLACES, 0), shells(PLACES, 1)
KIND = torch.from_numpy(DOPANTS[:, None].astype(int) + DOPANTS[None])
"""Of a pair: how many of the two are dopants."""
ENERGIES = torch.linspace(-1, 1, 50, dtype=torch.float64)
CARBON = torch.tensor([*HOPPINGS, *HOPPINGS, *OVERLAPS, *OVERLAPS, LEVEL], dtype=torch.float64)
"""Hoppings of dopants and of dopant and carbon, overlaps of dopant and carbon and of dopants, level."""


def blocks(dopant: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """⟨n|H|n⟩, ⟨n|H|n+1⟩ and the same of S, of one cell with dopants."""
    none = dopant.new_zeros(1)
    one = dopant.new_ones(1)
    hopping = torch.stack(
        [
            torch.cat([CARBON[12:], CARBON[:3], none]),
            torch.cat([none, dopant[3:6], none]),
            torch.cat([dopant[12:], dopant[:3], none]),
        ]
    )
    overlap = torch.stack(
        [
            torch.cat([one, CARBON[6:9], none]),
            torch.cat([none, dopant[6:9], none]),
            torch.cat([one, dopant[9:12], none]),
        ]
    )
    return hopping[KIND, ON], hopping[KIND, BESIDE], overlap[KIND, ON], overlap[KIND, BESIDE]


LEAD = blocks(CARBON)


def transmitted(dopant: Tensor, energies: Tensor = ENERGIES) -> Tensor:
    """T at every energy."""
    on, beside, overlap, overlap_beside = blocks(dopant)
    found: Tensor = transport.transmission(
        energies,
        on.repeat(CELLS, 1, 1),
        beside.repeat(CELLS - 1, 1, 1),
        LEAD,
        LEAD,
        overlap=(overlap.repeat(CELLS, 1, 1), overlap_beside.repeat(CELLS - 1, 1, 1)),
    )
    return found


def metric(dopant: Tensor) -> float:
    """Lowest eigenvalue of the overlap matrix of an endless doped ribbon, over wave numbers."""
    _, _, on, beside = blocks(dopant)
    phases = torch.exp(1j * torch.linspace(0, torch.pi, 33, dtype=torch.float64))[:, None, None]
    whole = on + phases * beside + phases.conj() * beside.mT
    return float(torch.linalg.eigvalsh(whole).min())


FREE = {"all": torch.ones(13, dtype=torch.bool), "hoppings": torch.tensor([True] * 6 + [False] * 6 + [True])}
"""Numbers that a search may change."""


def start(seed: int, box: float, free: Tensor) -> Tensor:
    """Carbon, and a small displacement."""
    noise = torch.randn(13, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return CARBON + 0.02 * min(box, 1.0) * noise * free


def by_gradient(seed: int, box: float, free: Tensor, rate: float) -> dict[str, Any]:
    """RMSprop, as in the paper, kept within the box."""
    dopant = start(seed, box, free).requires_grad_()
    optimiser = torch.optim.RMSprop([dopant], lr=rate)
    history, begun = [], time.perf_counter()
    for _ in range(STEPS + 1):
        optimiser.zero_grad()
        mean = transmitted(dopant).mean()
        mean.backward()
        dopant.grad *= free
        history.append((time.perf_counter() - begun, mean.item(), dopant.detach().clone()))
        optimiser.step()
        with torch.no_grad():
            dopant.copy_(torch.maximum(torch.minimum(dopant, CARBON + box), CARBON - box))
    return told(history)


def told(history: list[tuple[float, float, Tensor]]) -> dict[str, Any]:
    """Return what is stored of a search: time and the best value so far, and the best answer."""
    seconds, values, places = zip(*history, strict=True)
    best = int(np.argmin(values))
    return {
        "seconds": list(seconds),
        "best": np.minimum.accumulate(values).tolist(),
        "answer": places[best].tolist(),
        "metric": metric(places[best]),
        "spectrum": transmitted(places[best], torch.linspace(-3, 3, 241, dtype=torch.float64) + 1e-6).tolist(),
    }


class TimeIsUpError(Exception):
    """The time of a search is spent."""


def watched(seconds: float, free: Tensor) -> tuple[Callable[[np.ndarray], float], list[tuple[float, float, Tensor]]]:
    """Return the function to be minimised, which ends when time is up, and what it has seen."""
    history: list[tuple[float, float, Tensor]] = []
    begun = time.perf_counter()

    def value(dopant: np.ndarray) -> float:
        if time.perf_counter() - begun > seconds:
            raise TimeIsUpError
        place = CARBON.clone()
        place[free] = torch.from_numpy(np.array(dopant))
        try:
            mean = float(transmitted(place).mean())
        except ValueError:  # a metric so far from positive that nothing can be solved
            mean = 2.0
        history.append((time.perf_counter() - begun, mean, place))
        return mean

    return value, history


def by_evolution(seed: int, box: float, free: Tensor, seconds: float) -> dict[str, Any]:
    """Differential evolution, from the same start."""
    value, history = watched(seconds, free)
    bounds = [(float(x) - box, float(x) + box) for x in CARBON[free]]
    begin = start(seed, box, free)[free].numpy()
    with suppress(TimeIsUpError):
        differential_evolution(value, bounds, rng=seed, x0=begin, popsize=5, maxiter=10**6, tol=0.0)
    return told(history)


def by_bayes(seed: int, box: float, free: Tensor, seconds: float) -> dict[str, Any]:
    """Gaussian process and upper confidence bound, from the same start."""
    from bayes_opt import BayesianOptimization

    value, history = watched(seconds, free)
    names = [f"p{n:02d}" for n in range(int(free.sum()))]
    bounds = {name: (float(x) - box, float(x) + box) for name, x in zip(names, CARBON[free], strict=True)}
    search = BayesianOptimization(
        lambda **given: -value(np.array([given[name] for name in names])), bounds, random_state=seed, verbose=0
    )
    search.probe(dict(zip(names, start(seed, box, free)[free].tolist(), strict=True)), lazy=True)
    with suppress(TimeIsUpError):
        search.maximize(init_points=10, n_iter=10**6)
    return told(history)


def main() -> None:
    """Search, or go on."""
    given = arguments(__doc__, files=["output"], seeds=3)
    record = Record(given.output, sys.argv, {"energies": 50, "cells": CELLS, "steps": STEPS})
    record.add(
        {"kind": "pristine"},
        lambda: {
            "mean": float(transmitted(CARBON).mean()),
            "spectrum": transmitted(CARBON, torch.linspace(-3, 3, 241, dtype=torch.float64) + 1e-6).tolist(),
        },
    )
    for name, box in (("all", 0.5), ("all", 2.0), ("hoppings", 2.0)):
        for seed in range(given.seeds):
            key, free = {"free": name, "box": box, "seed": seed}, FREE[name]
            record.add(key | {"kind": "gradient"}, by_gradient, seed, box, free, 0.05)
            (mine,) = (row for row in record.rows if row.items() >= (key | {"kind": "gradient"}).items())
            seconds = mine["seconds"][-1]
            record.add(key | {"kind": "evolution"}, by_evolution, seed, box, free, seconds)
            if find_spec("bayes_opt"):
                record.add(key | {"kind": "bayes"}, by_bayes, seed, box, free, seconds)


if __name__ == "__main__":
    main()
