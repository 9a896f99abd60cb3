"""The exchange–correlation potential of two electrons on a line: read off, searched for, and said by an operator.

    python benchmarks/kohn_sham.py --data data/kohn_sham --output book/results/kohn_sham.json

Molecules of two nuclei; bond lengths from 2.5 to 3.2 a_B are kept for the test, and longer ones than 4.5; one
more operator is shown bonds up to 6 a_B. What has learned on 128 points is asked on 96 and 192. A search by least
squares starts from half of Hartree's potential and from what the operator says: solutions it needs, and where it ends.
Then the densities are given noise, and a network for each of them alone is told the equation.
"""

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from shared import Record, arguments, kept, shared_out

from mlnegf._common import Floats
from mlnegf.learning.networks.fourier import FourierOperator
from mlnegf.learning.training import Settings
from mlnegf.line.exchange import DENSE, Exact, dealt, exact, said, there_and_back, train
from mlnegf.line.grid import Line, Molecule
from mlnegf.line.kohn_sham import hartree, read_off, searched
from mlnegf.line.potential_network import told

LINE: Final = Line(12.0, 128)
OTHERS: Final = (Line(12.0, 96), Line(12.0, 192))
LOT: Final = 50
"""Molecules of one file."""
PARTS: Final = {
    "training": (0, ((0.5, 2.5), (3.2, 4.5)), 8),
    "validation": (100, ((0.5, 2.5), (3.2, 4.5)), 1),
    "unseen bonds": (200, ((2.5, 3.2),), 1),
    "stretched": (300, ((4.5, 6.0),), 1),
    "more training": (400, ((4.5, 6.0),), 3),
}
"""First seed, bond lengths, a_B, and lots of each part."""
ENOUGH: Final = 1e-3
"""∫ |n[v] − n| at which a search has arrived, electrons."""
NOISES: Final = (1e-5, 1e-4, 1e-3, 1e-2)
"""Of the density, 1/a_B."""
DOUBTS: Final = {"half of Hartree": 0.1, "operator": 0.003}
"""Of the start of an inversion, Hartree: as large as their errors for bonds seen."""
SMOOTH: Final = 1.0
"""Length over which a start is wrong alike, a_B."""
LESSONS: Final = {"short": ("training",), "long": ("training", "more training")}
"""Parts that an operator is taught."""
BONDS: Final = tuple(np.arange(0.5, 8.01, 0.5).tolist())


def molecules(seed: int, lengths: tuple[tuple[float, float], ...]) -> list[Exact]:
    """Draw molecules that fit on the line, and solve them."""
    rng, found = np.random.default_rng(seed), []
    while len(found) < LOT:
        charges, (low, high) = rng.uniform(0.9, 1.6, 2), lengths[rng.integers(len(lengths))]
        try:
            found.append(exact(LINE, Molecule.stretched(*charges.tolist(), float(rng.uniform(low, high)))))
        except ValueError:  # of weak nuclei electrons reach the ends
            continue
    return found


def solve(data: Path, seed: int, lengths: tuple[tuple[float, float], ...]) -> list[Exact]:
    """Return a lot of molecules, solved once."""

    def made() -> dict[str, Any]:
        some = molecules(seed, lengths)
        arrays = {
            name: np.array([getattr(one, name) for one in some]) for name in ("density", "exchange", "known", "energy")
        }
        return {
            **arrays,
            "charges": [one.molecule.charges for one in some],
            "places": [one.molecule.places for one in some],
        }

    found = kept(data / f"lot-{seed}.npz", made)
    rows = zip(*(found[name] for name in ("charges", "places", "density", "exchange", "known", "energy")), strict=True)
    return [Exact(LINE, Molecule(tuple(c), tuple(p)), n, v, k, float(e)) for c, p, n, v, k, e in rows]


def part(data: Path, name: str) -> list[Exact]:
    """Return the molecules of a part."""
    first, lengths, lots = PARTS[name]
    return [one for seed in range(first, first + lots) for one in solve(data, seed, lengths)]


def teach(data: Path, lesson: str, seed: int, epochs: int) -> None:
    """Teach an operator, unless its weights are there."""
    path = data / f"operator-{lesson}-{seed}-{epochs}.pt"
    if path.exists():
        return
    began = time.perf_counter()
    examples = [one for name in LESSONS[lesson] for one in part(data, name)]
    lots = dealt(examples, seed=seed), dealt(part(data, "validation"))
    found = train(*lots, Settings(epochs=epochs, learning_rate=2e-3, seed=seed), progress=False)
    saved = {"config": found.model.config, "weights": found.model.state_dict()}
    torch.save({**saved, "seconds": time.perf_counter() - began}, path)


def operator(data: Path, lesson: str, seed: int, epochs: int) -> tuple[FourierOperator, float]:
    """Return an operator that has learned, and how long it did."""
    saved = torch.load(data / f"operator-{lesson}-{seed}-{epochs}.pt", weights_only=True)
    model = FourierOperator(**saved["config"])
    model.load_state_dict(saved["weights"])
    return model, float(saved["seconds"])


def off(one: Exact, exchange: Floats) -> float:
    """Return the root mean square error of v_xc where electrons are, mHartree."""
    weight = np.minimum(one.density / DENSE, 1.0) * one.known
    return 1e3 * float(np.sqrt((weight * (exchange - one.exchange) ** 2).sum() / weight.sum()))


def judged(data: Path, lesson: str, name: str, seed: int, epochs: int) -> dict[str, Any]:
    """Score an operator on the molecules of a part: its potential, and the density that this makes."""
    model, seconds = operator(data, lesson, seed, epochs)
    some = part(data, name)
    answers = [said(model, one) for one in some]
    return {
        "seconds": seconds,
        "potential": [round(off(one, answer), 4) for one, answer in zip(some, answers, strict=True)],
        "density": [there_and_back(one, answer) for one, answer in zip(some, answers, strict=True)],
        "exact": [there_and_back(one, one.exchange) for one in some],
        "half of Hartree": [there_and_back(one, -hartree(LINE, one.density) / 2) for one in some],
    }


def regridded(data: Path, line: Line, epochs: int) -> dict[str, Any]:
    """Ask an operator on another grid than that it learned on."""
    model, _ = operator(data, "short", 0, epochs)
    some = [exact(line, one.molecule) for one in part(data, "unseen bonds")[:20]]
    return {"potential": [round(off(one, said(model, one)), 4) for one in some]}


def inverted(data: Path, name: str, epochs: int) -> dict[str, Any]:
    """Search for potentials by their densities, from two starts; say how many solutions it took."""
    found: dict[str, Any] = {start: [] for start in DOUBTS}
    for one in part(data, name)[:20]:
        base = one.molecule.potential(LINE) + hartree(LINE, one.density)
        for start, guess in starts(data, one, epochs).items():
            began = time.perf_counter()
            potential, errors = searched(LINE, one.density, base + guess)
            seconds = time.perf_counter() - began
            arrived = np.flatnonzero(errors < ENOUGH)
            apart = potential - base - one.exchange
            inside = one.density > DENSE
            found[start].append(
                {
                    "solutions": int(arrived[0]) + 1 if len(arrived) else None,
                    "all": len(errors),
                    "least": float(errors.min()),
                    # Up to a constant, which no density knows.
                    "potential": 1e3 * float((apart - apart[inside].mean())[inside].std()),
                    "seconds": seconds,
                }
            )
    return found


def starts(data: Path, one: Exact, epochs: int) -> dict[str, Floats]:
    """Return v_xc to begin an inversion with."""
    model, _ = operator(data, "short", 0, epochs)
    return {"half of Hartree": -hartree(LINE, one.density) / 2, "operator": said(model, one)}


def noisy(data: Path, name: str, noise: float, epochs: int, count: int) -> dict[str, Any]:
    """Give densities noise, and find their potentials in every way there is."""
    rng = np.random.default_rng(0)
    found: dict[str, list[float]] = {"seconds": []}
    for one in part(data, name)[:count]:
        given = one.density + noise * rng.normal(size=LINE.points)
        energy = level(one)
        base = one.molecule.potential(LINE) + hartree(LINE, given)
        whole, known = read_off(LINE, given.clip(0.0), energy)
        answers = {"read off": np.where(known, whole - base, 0.0)}
        for start, guess in starts(data, replace(one, density=given), epochs).items():
            answers[start] = guess
            for name, smooth in (("search", 0.0), ("smooth search", SMOOTH)):
                nearest, _ = searched(LINE, given, base + guess, 60, noise, DOUBTS[start], smooth)
                # The network is told the level: so is the search.
                answers[f"{name} from {start}"] = nearest - base + energy - float(LINE.levels(nearest)[0][0])
            began = time.perf_counter()
            answers[f"network from {start}"] = told(LINE, given, base + guess, energy, noise, DOUBTS[start]) - base
            found["seconds"].append(time.perf_counter() - began)
        for way, answer in answers.items():
            found.setdefault(way, []).append(round(off(one, answer), 4))
    return found


def level(one: Exact) -> float:
    """Return ε = −I, Hartree."""
    return one.energy - float(LINE.levels(one.molecule.potential(LINE))[0][0])


def stretched(data: Path, lesson: str, epochs: int) -> dict[str, Any]:
    """Pull two equal nuclei apart: v_xc in the middle, and the density that the operator's makes."""
    model, _ = operator(data, lesson, 0, epochs)
    line, rows = LINE, []
    for bond in BONDS:
        one = exact(line, Molecule.stretched(1.2, 1.2, bond))
        answer, middle = said(model, one), line.points // 2
        rows.append(
            [bond, float(one.exchange[middle]), float(answer[middle]), off(one, answer), there_and_back(one, answer)]
        )
    return {"rows": rows}


def main() -> None:
    """Run, or go on."""
    given = arguments(__doc__, epochs=200, seeds=3, molecules=8, workers=2)
    given.data.mkdir(parents=True, exist_ok=True)
    lots = [(given.data, first + n, lengths) for first, lengths, count in PARTS.values() for n in range(count)]
    shared_out(given.workers, solve, lots, "molecules")
    operators = [("short", seed) for seed in range(given.seeds)] + [("long", 0)]
    shared_out(given.workers, teach, [(given.data, *one, given.epochs) for one in operators], "operators")
    record = Record(given.output, sys.argv, {"epochs": given.epochs, "points": LINE.points})
    for lesson, seed in operators:
        for name in ("validation", "unseen bonds", "stretched"):
            key = {"kind": "scores", "lesson": lesson, "part": name, "seed": seed}
            record.add(key, judged, given.data, lesson, name, seed, given.epochs)
    for line in OTHERS:
        record.add({"kind": "grid", "points": line.points}, regridded, given.data, line, given.epochs)
    for lesson in LESSONS:
        record.add({"kind": "stretching", "lesson": lesson}, stretched, given.data, lesson, given.epochs)
    for name in ("unseen bonds", "stretched"):
        record.add({"kind": "search", "part": name}, inverted, given.data, name, given.epochs)
        for noise in NOISES:
            key = {"kind": "noise", "part": name, "noise": noise}
            record.add(key, noisy, given.data, name, noise, given.epochs, given.molecules)


if __name__ == "__main__":
    main()
