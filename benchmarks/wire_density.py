"""The local density of states of wires by NEGF, −Im G/π of every atom, learned from the surroundings of atoms.

    mlnegf wires --kind compact --output data/wires/compact && mlnegf wires --kind full --output data/wires/full
    python benchmarks/wire_density.py --data data/wires --output book/results/wire_density.json

The imaginary part of the energy is how soon electrons forget their phase: the same wires are learned at several. Whole
pulls are dealt out; the full wires are of twice as many atoms and more.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from scipy.spatial import KDTree
from shared import Record, arguments, kept, shared_out

from mlnegf._common import Floats
from mlnegf.atomistic.descriptors import Projection, Soap
from mlnegf.atomistic.hamiltonian import Orbitals
from mlnegf.atomistic.ldos import local_densities
from mlnegf.atomistic.pulls import Trajectory, read
from mlnegf.learning.networks.point import PointNetwork, dealt, loss
from mlnegf.learning.training import Settings, train_new
from mlnegf.runs.folder import entries_of

ENERGIES: Final = np.arange(-7.034, 3.0, 0.15)
"""From the level of an orbital, eV; one of them is potassium's Fermi energy."""
BROADENINGS: Final = 0.4, 0.2, 0.1, 0.03
"""eV."""
SNAPSHOTS: Final = 3
"""Of a pull."""
FULL: Final = 5
"""Pulls of full wires."""
KEPT: Final = 128


@dataclass(frozen=True)
class Job:
    """What is asked, and where it is kept."""

    data: Path
    epochs: int

    @property
    def folder(self) -> Path:
        """Where what takes long is kept."""
        return self.data / "densities"

    def pulls(self, kind: str) -> list[Path]:
        """Return the files of pulls, in order."""
        return [self.data / kind / name for name in sorted(entries_of(self.data / kind))]


def some_of(path: Path) -> tuple[Trajectory, Any]:
    """Read a pull, and which of its snapshots are taken."""
    found: Trajectory = read(path, entries_of(path.parent)[path.name])
    return found, np.linspace(0, len(found.positions) - 1, SNAPSHOTS).round().astype(int)


def work_out(job: Job, kind: str, number: int) -> dict[str, Any]:
    """Describe the atoms of some snapshots of a pull, and solve them, unless they are there."""

    def made() -> dict[str, Any]:
        wire, chosen = some_of(job.pulls(kind)[number])
        positions, soap = wire.positions[chosen], Soap()
        found = {"positions": positions, "features": np.array([soap(one) for one in positions], dtype=np.float32)}
        began = time.perf_counter()
        for broadening in BROADENINGS:
            held = wire.held
            found[f"{broadening:g}"] = local_densities(positions, held, ENERGIES, broadening).astype(np.float32)
        seconds = (time.perf_counter() - began) / len(BROADENINGS) / len(positions)
        return {**found, "seconds": seconds, "held": wire.held}

    return kept(job.folder / f"{kind}-{number:04d}.npz", made)


@cache
def parts(job: Job) -> dict[str, list[dict[str, Any]]]:
    """Deal whole pulls out."""
    compact = [work_out(job, "compact", number) for number in range(len(job.pulls("compact")))]
    order = np.random.default_rng(0).permutation(len(compact))
    lots = np.split(order, [round(0.72 * len(order)), round(0.8 * len(order))])
    full = [work_out(job, "full", number) for number in range(min(FULL, len(job.pulls("full"))))]
    named = dict(zip(("training", "validation", "test"), ([compact[n] for n in lot] for lot in lots), strict=True))
    return {**named, "full": full}


@cache
def projection(job: Job) -> Projection:
    """Take the directions from the training pulls."""
    return Projection.of([one for pull in parts(job)["training"] for one in pull["features"]], KEPT)


def atoms(job: Job, pulls: Sequence[dict[str, Any]], broadening: float) -> tuple[Any, Any]:
    """Return features and densities of all atoms of wires that are joined, (atoms, ...)."""
    project = projection(job)
    features = np.concatenate([project(one).reshape(-1, KEPT) for pull in pulls for one in pull["features"]])
    values = np.concatenate([pull[f"{broadening:g}"].reshape(-1, len(ENERGIES)) for pull in pulls])
    known = np.isfinite(values).all(1)
    return torch.from_numpy(features[known]), torch.from_numpy(values[known])


def learned(job: Job, broadening: float) -> dict[str, Any]:
    """Teach a network, and score it on test pulls and on full wires."""
    lessons, exams = (dealt(*atoms(job, parts(job)[lot], broadening), size=512) for lot in ("training", "validation"))
    began = time.perf_counter()
    trained = train_new(lambda: PointNetwork.of(lessons), loss, lessons, exams, Settings(epochs=job.epochs), False)
    scores = {"seconds": time.perf_counter() - began, "atoms taught": sum(len(some.features) for some in lessons)}
    for lot in ("test", "full"):
        features, true = atoms(job, parts(job)[lot], broadening)
        with torch.no_grad():
            said = trained.model(features)
        scores[lot] = compared(said.numpy(), true.numpy())
    return {**scores, "wire": shown(job, trained.model, broadening)}


def compared(said: Floats, true: Floats) -> dict[str, float]:
    """Return the error over the mean, of an atom at an energy, and of one at the Fermi energy."""
    at = int(abs(ENERGIES - Orbitals().fermi_energy).argmin())
    return {
        "all": float(abs(said - true).mean() / true.mean()),
        "fermi": float(abs(said[:, at] - true[:, at]).mean() / true[:, at].mean()),
        "spread": float(abs(true[:, at] - true[:, at].mean()).mean() / true[:, at].mean()),
    }


def shown(job: Job, model: PointNetwork, broadening: float) -> dict[str, Any]:
    """Return a test wire: where its atoms are, their densities at the Fermi energy, and that of one, by both."""
    at = int(abs(ENERGIES - Orbitals().fermi_energy).argmin())
    pull = parts(job)["test"][0]
    joined = [n for n, some in enumerate(pull[f"{broadening:g}"]) if np.isfinite(some).all()]
    last = joined[-1]
    with torch.no_grad():
        said = model(torch.from_numpy(projection(job)(pull["features"][last]))).numpy()
    true = pull[f"{broadening:g}"][last]
    # The loneliest atom, at the neck.
    neck = int(KDTree(pull["positions"][last]).query(pull["positions"][last], 5)[0][:, -1].argmax())
    return {
        "positions": pull["positions"][last].round(6).tolist(),
        "held": int(pull["held"]),
        "fermi": [said[:, at].round(4).tolist(), true[:, at].round(4).tolist()],
        "atom": neck,
        "densities": [said[neck].round(4).tolist(), true[neck].round(4).tolist()],
    }


def main() -> None:
    """Run, or go on."""
    given = arguments(__doc__, epochs=150, workers=2)
    job = Job(given.data, given.epochs)
    job.folder.mkdir(parents=True, exist_ok=True)
    full = min(FULL, len(job.pulls("full")))
    waiting = [(job, "compact", number) for number in range(len(job.pulls("compact")))]
    shared_out(given.workers, work_out, waiting + [(job, "full", number) for number in range(full)], "densities")
    record = Record(given.output, sys.argv, {"epochs": job.epochs, "energies": ENERGIES.round(3).tolist()})
    for broadening in BROADENINGS:
        record.add({"broadening": broadening}, learned, job, broadening)
    every = [pull for lot in parts(job).values() for pull in lot]
    seconds = {str(pull["positions"].shape[1]): float(pull["seconds"]) for pull in every}
    record.add({"kind": "seconds"}, lambda: {"seconds": seconds, "wires": sum(len(p["positions"]) for p in every)})


if __name__ == "__main__":
    main()
