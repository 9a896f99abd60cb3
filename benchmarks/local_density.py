"""Local densities of states of aluminium: taught at 16 and 32 atoms, asked at up to 256, cold, hot and molten.

    python benchmarks/local_density.py --data data/aluminium --output book/results/local_density.json

Labels are plane waves' (8 Ry, 4 × 4 × 4 wave vectors for four atoms, and as dense for larger cells). What takes long,
the labels, is kept in the data folder, and `--workers` processes share it; stages are timed when they are done.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from shared import Record, arguments, kept, shared_out

from mlnegf._common import Floats
from mlnegf._files import write_whole
from mlnegf.crystal.aluminium import CUBE, ELECTRONS, LATTICE, AshcroftLindhard, snapshots
from mlnegf.crystal.cohen_bergstresser import RYDBERG
from mlnegf.crystal.lattice import Crystal
from mlnegf.crystal.local_density import LocalDensity, local_density, mesh
from mlnegf.crystal.prediction import Predictor, doubt, mean_of, points_of, train
from mlnegf.crystal.surroundings import Surroundings
from mlnegf.learning.networks.point import PointNetwork, Points
from mlnegf.learning.training import Settings

CUTOFF: Final = 8 * RYDBERG
WIDTH: Final = 0.3
"""Of a level, eV."""
ENERGIES: Final = np.arange(-10.0, 6.5, 0.15)
THERMAL: Final = 0.1
"""kT of electrons, eV."""
SHARE: Final = 0.25
"""Of the points, learned from."""
HELD: Final = 0.9
"""Share of the validation's points whose error the doubt is made to hold."""
Cells = tuple[int, int, int]
SMALL: Final[tuple[Cells, ...]] = ((1, 2, 2), (2, 2, 2))
LARGE: Final[tuple[Cells, ...]] = ((2, 2, 4), (2, 4, 4), (4, 4, 4))
GROWING: Final[tuple[Cells, ...]] = (*SMALL, *LARGE, (4, 4, 8), (4, 8, 8), (8, 8, 8))
STATES: Final = {"100 K": (100.0, False), "298 K": (298.0, False), "500 K": (500.0, False), "933 K": (933.0, False),
                 "933 K, molten": (933.0, True)}  # fmt: skip
TAUGHT: Final = {
    "298 K": ("298 K",),
    "933 K": ("933 K",),
    "100 to 933 K": ("100 K", "298 K", "500 K", "933 K"),
    "all, and molten": tuple(STATES),
}
LESSONS: Final = 10
"""Snapshots of each state that are learned from; two more of the same run of atoms choose the epoch."""
FRESH: Final = 2
"""Snapshots of another run, which say what the doubt is worth."""
TESTS: Final = 3
"""Snapshots of a third run."""
SURROUNDINGS: Final = Surroundings(6.0, 8, 4)


@dataclass(frozen=True)
class Job:
    """What is asked, and where it is kept."""

    data: Path
    epochs: int
    seeds: int
    largest: int = 256


def dense(cells: Cells) -> Floats:
    """Return the mesh of wave vectors that is as dense as 4 × 4 × 4 for four atoms."""
    return mesh([max(1, 4 // count) for count in cells])


def atoms_of(cells: Cells) -> int:
    """Return the number of atoms."""
    return 4 * cells[0] * cells[1] * cells[2]


def runs_of(cells: Cells) -> dict[str, int]:
    """Return which runs of the atoms are needed, and how many snapshots of each."""
    if cells in SMALL:
        return {"lesson": LESSONS + 2, "fresh": FRESH, "test": TESTS}
    return {"test": TESTS if atoms_of(cells) < 256 else 1}


def label(job: Job, state: str, cells: Cells, run: str) -> None:
    """Move atoms, and work out the local density of every snapshot, unless they are there."""
    count = runs_of(cells)[run]
    if all(name_of(job, state, cells, run, number).exists() for number in range(count)):
        return
    kelvin, molten = STATES[state]
    seed, electrons = atoms_of(cells) + int(kelvin), ELECTRONS * atoms_of(cells)
    seed += {"lesson": 0, "fresh": 10_000, "test": 20_000}[run] if cells in SMALL else 0
    moved = snapshots(cells, kelvin, count, seed, molten, every=100 if cells in SMALL else 40)
    for number, crystal in enumerate(moved):

        def made(crystal: Crystal = crystal) -> dict[str, Any]:
            began = time.perf_counter()
            found = local_density(crystal, AshcroftLindhard(), electrons, CUTOFF, dense(cells), ENERGIES, WIDTH)
            about = {"fractions": crystal.fractions, "values": found.values, "shape": found.shape}
            return {**about, "seconds": time.perf_counter() - began}

        kept(name_of(job, state, cells, run, number), made)


def name_of(job: Job, state: str, cells: Cells, run: str, number: int) -> Path:
    """Return where a snapshot is kept."""
    return job.data / f"{short(state)}-{atoms_of(cells)}-{run}-{number:02d}.npz"


def short(words: str) -> str:
    """Return words as part of a file's name."""
    return words.replace(", ", "-").replace(" ", "")


def read(job: Job, state: str, cells: Cells, run: str, number: int) -> tuple[LocalDensity, float]:
    """Read a snapshot, and how many seconds it took."""
    with np.load(name_of(job, state, cells, run, number)) as found:
        vectors = CUBE.vectors * np.array(cells)[:, None]
        crystal = Crystal(vectors, found["fractions"], ("Al",) * atoms_of(cells))
        a, b, c = found["shape"].tolist()
        density = LocalDensity(crystal, ELECTRONS * atoms_of(cells), ENERGIES, found["values"], (a, b, c))
        return density, float(found["seconds"])


def lots(job: Job, names: Sequence[str], numbers: range, cells: Cells, seed: int) -> list[Points]:
    """Return a share of the points of some snapshots."""
    some = [read(job, name, cells, "lesson", number)[0] for name in names for number in numbers]
    return points_of(some, SURROUNDINGS, SHARE, seed=seed)


def weights_of(job: Job, lesson: str, cells: Cells, seed: int) -> Path:
    """Return where the weights of a network are kept."""
    return job.data / f"network-{short(lesson)}-{atoms_of(cells)}-{seed}-{job.epochs}.pt"


def teach(job: Job, lesson: str, cells: Cells, seed: int) -> None:
    """Teach a network, unless its weights are there."""
    path = weights_of(job, lesson, cells, seed)
    if path.exists():
        return
    training = lots(job, TAUGHT[lesson], range(LESSONS), cells, seed)
    validation = lots(job, TAUGHT[lesson], range(LESSONS, LESSONS + 2), cells, seed)
    # As many steps of the weights for every lesson.
    epochs = round(job.epochs * len(TAUGHT["all, and molten"]) / len(TAUGHT[lesson]))
    began = time.perf_counter()
    found = train(training, validation, Settings(epochs=epochs, learning_rate=2e-3, seed=seed), progress=False)
    saved = {"config": found.model.config, "weights": found.model.state_dict()}
    torch.save({**saved, "seconds": round(time.perf_counter() - began, 1)}, path)


def lesson_cost(job: Job, lesson: str, cells: Cells) -> dict[str, Any]:
    """Return how long each network learned, seconds."""
    weights = [torch.load(weights_of(job, lesson, cells, seed), weights_only=True) for seed in range(job.seeds)]
    return {"seconds": [some["seconds"] for some in weights]}


@cache
def predictor(job: Job, lesson: str, cells: Cells) -> Predictor:
    """Return networks of all seeds that learned one lesson."""
    models = []
    for seed in range(job.seeds):
        saved = torch.load(weights_of(job, lesson, cells, seed), weights_only=True)
        model = PointNetwork(**saved["config"])
        model.load_state_dict(saved["weights"])
        models.append(model)
    shape = read(job, "298 K", SMALL[0], "lesson", 0)[0].shape
    return Predictor(SURROUNDINGS, models, ENERGIES, LATTICE * SMALL[0][2] / shape[2], ELECTRONS)


def compare(job: Job, lesson: str, taught_at: Cells, state: str, cells: Cells) -> dict[str, Any]:
    """Score what networks say of some snapshots that they were not taught, unless that is there."""
    path = job.data / f"scores-{short(lesson)}-{atoms_of(taught_at)}-{short(state)}-{atoms_of(cells)}-{job.epochs}.json"
    if not path.exists():
        asked, held, rows = predictor(job, lesson, taught_at), factor(job, lesson, taught_at), []
        for number in range(runs_of(cells)["test"]):
            true, seconds = read(job, state, cells, "test", number)
            began = time.perf_counter()
            votes = asked.votes(true.crystal, true.shape)
            took = time.perf_counter() - began
            rows.append({**scores(votes, true, held), "seconds": took, "label_seconds": seconds})
        write_whole(path, json.dumps({name: [row[name] for row in rows] for name in rows[0]}))
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def in_doubts(votes: Sequence[LocalDensity], true: LocalDensity) -> Floats:
    """Return the error of the density over its doubt, (points,)."""
    return np.asarray(abs(mean_of(votes).density(THERMAL) - true.density(THERMAL)) / doubt(votes, THERMAL))


@cache
def factor(job: Job, lesson: str, taught_at: Cells) -> float:
    """Return how many doubts hold a share of the errors at the points of snapshots that nothing was chosen by."""
    asked, found = predictor(job, lesson, taught_at), []
    for state in TAUGHT[lesson]:
        for number in range(FRESH):
            true, _ = read(job, state, taught_at, "fresh", number)
            found.append(in_doubts(asked.votes(true.crystal, true.shape), true))
    return float(np.quantile(np.concatenate(found), HELD))


def scores(votes: Sequence[LocalDensity], true: LocalDensity, held: float) -> dict[str, Any]:
    """Compare a mean of votes with the truth, and say how far the votes lie apart."""
    mean = mean_of(votes)
    density, wanted = mean.density(THERMAL), true.density(THERMAL)
    cell = true.crystal.volume / len(wanted)
    return {
        "band_energy": 1e3 * (mean.band_energy(THERMAL) - true.band_energy(THERMAL)),
        "spread": 1e3 * float(np.std([one.band_energy(THERMAL) for one in votes], ddof=1)),
        "density": float(abs(density - wanted).sum() / wanted.sum()),
        "within": float((in_doubts(votes, true) <= held).mean()),
        "held": held,
        "fermi": 1e3 * (mean.fermi_level(THERMAL) - true.fermi_level(THERMAL)),
        "entropy": mean.entropy(THERMAL) - true.entropy(THERMAL),
        "electrons": float(density.sum() * cell - true.electrons),
        "states": float(abs(mean.density_of_states - true.density_of_states).mean() / true.density_of_states.mean()),
    }


def example(job: Job) -> dict[str, Any]:
    """Return a test snapshot and what plane waves say of it, to be worked out again."""
    state, cells = "298 K", SMALL[0]
    true, _ = read(job, state, cells, "test", 0)
    fractions = (true.crystal.fractions % 1.0).round(12).tolist()
    found = {"band_energy": true.band_energy(THERMAL), "fermi": true.fermi_level(THERMAL)}
    return {"cells": cells, "fractions": fractions, **found}


def network_stage(job: Job, cells: Cells) -> float:
    """Ask one network about a cell; return the seconds."""
    every = predictor(job, "all, and molten", SMALL[1])
    asked = Predictor(every.surroundings, every.models[:1], every.energies, every.spacing, every.electrons)
    crystal = CUBE.repeated(cells)
    began = time.perf_counter()
    asked(crystal).band_energy(THERMAL)
    return time.perf_counter() - began


def label_stage(job: Job, cells: Cells) -> float:
    """Work out one wave vector of a cell; return the seconds."""
    (crystal,) = snapshots(cells, 298.0, 1, every=1)
    electrons = ELECTRONS * atoms_of(cells)
    began = time.perf_counter()
    local_density(crystal, AshcroftLindhard(), electrons, CUTOFF, np.zeros((1, 3)), ENERGIES, WIDTH)
    return time.perf_counter() - began


def stage(work: Callable[[Job, Cells], float], job: Job, cells: Cells) -> dict[str, Any]:
    """Do a stage in a process of its own; say its seconds and the most memory it held, MiB."""
    with ProcessPoolExecutor(1, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        before = pool.submit(peak, True).result()
        seconds = pool.submit(work, job, cells).result()
        return {"seconds": seconds, "memory": round(pool.submit(peak).result() - before, 1)}


def peak(forget: bool = False) -> float:
    """Return the most memory this process has held since it was made to forget, MiB; Linux keeps count."""
    if forget:
        Path("/proc/self/clear_refs").write_text("5")
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def main() -> None:
    """Run, or go on."""
    given = arguments(__doc__, epochs=20, seeds=3, workers=2, largest=256)
    job = Job(given.data, given.epochs, given.seeds, given.largest)
    job.data.mkdir(parents=True, exist_ok=True)
    large_first = [cells for cells in (*LARGE[::-1], *SMALL[::-1]) if atoms_of(cells) <= job.largest]
    # Large cells, of which one takes minutes, are asked at two states alone.
    wanted = [
        (state, cells) for cells in large_first for state in (STATES if cells in SMALL else ("298 K", "933 K, molten"))
    ]
    shared_out(given.workers, label, [(job, *one, run) for one in wanted for run in runs_of(one[1])], "labels")
    taught = [(lesson, cells) for lesson in TAUGHT for cells in SMALL]
    shared_out(given.workers, teach, [(job, *one, seed) for one in taught for seed in range(job.seeds)], "lessons")
    asked = [(*one, *other) for one in taught for other in wanted[::-1]]
    shared_out(given.workers, compare, [(job, *one) for one in asked], "scores")
    record = Record(given.output, sys.argv, {"epochs": job.epochs, "lessons": LESSONS, "energies": len(ENERGIES)})
    for lesson, taught_at, state, cells in asked:
        key = {"kind": "scores", "taught": lesson, "taught_at": atoms_of(taught_at), "state": state}
        record.add({**key, "atoms": atoms_of(cells)}, compare, job, lesson, taught_at, state, cells)
    for lesson, cells in taught:
        key = {"kind": "lesson", "taught": lesson, "taught_at": atoms_of(cells)}
        record.add(key, lesson_cost, job, lesson, cells)
    record.add({"kind": "example"}, example, job)
    for work, sizes in ((network_stage, GROWING), (label_stage, GROWING[:4])):
        for cells in [cells for cells in sizes if atoms_of(cells) <= 8 * job.largest]:
            record.add({"kind": "stage", "work": work.__name__, "atoms": atoms_of(cells)}, stage, work, job, cells)


if __name__ == "__main__":
    main()
