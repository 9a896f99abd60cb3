"""A network in the place of potassium's potential: taught on cold pulls, asked about hot ones, and used to pull a wire.

    python benchmarks/neural_potential.py --data data/wires --output book/results/neural_potential.json

Taught are snapshots of pulls at 4.5, 77 and 150 K; held out are other pulls at these temperatures, and all pulls at
300 K. Energy is watched over ten thousand steps of Newton's equations, and one wire is pulled by network and metal.
"""

import sys
import time
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch
from shared import Record, arguments

from mlnegf._common import Floats
from mlnegf.atomistic.conductance import conductances
from mlnegf.atomistic.dynamics import Force, Langevin
from mlnegf.atomistic.neural_potential import NeuralPotential, Structures, errors, train
from mlnegf.atomistic.potential import POTASSIUM
from mlnegf.atomistic.pulls import Trajectory, read_all
from mlnegf.atomistic.wires import Pull, Wire, pulled
from mlnegf.learning.networks.deep_potential import DeepPotential
from mlnegf.learning.training import Settings

HOT: Final = 300.0
LOT: Final = 4
"""Structures of one step of the weights."""


def drawn(rng: np.random.Generator, wires: Sequence[Trajectory], count: int) -> list[Structures]:
    """Draw snapshots, pull by pull, and ask the metal."""
    some: list[Floats] = []
    for _ in range(count):
        wire = wires[rng.integers(len(wires))]
        some.append(wire.positions[rng.integers(len(wire.positions))])
    cutoff = DeepPotential().cutoff
    return [Structures.of(some[n : n + LOT], POTASSIUM, cutoff) for n in range(0, count, LOT)]


def scores(model: DeepPotential, some: Sequence[Structures]) -> dict[str, float]:
    """Return root mean square errors, meV an atom and meV/Å, beside the forces themselves."""
    found = [[part.detach() for part in errors(model, lot)] for lot in some]
    energy, force = (torch.cat(parts) for parts in zip(*found, strict=True))
    size = torch.cat([lot.forces for lot in some])
    return {
        name: 1e3 * float(part.square().mean().sqrt())
        for name, part in (("energy", energy), ("force", force), ("of_forces", size))
    }


def drift(force: Force, temperature: float, steps: int, lot: int = 100) -> dict[str, Any]:
    """Follow the total energy of a wire by Newton's equations: its drift, meV/atom/ps, and spread, meV/atom."""
    rng, wire = np.random.default_rng(0), Wire.of_crystal(35.0, 17.5)
    moving = Langevin(POTASSIUM.mass, 5.0, 2 * temperature, 0.0)
    positions, free = wire.positions.copy(), np.zeros(len(wire.positions), dtype=bool)
    velocities = moving.spread * rng.standard_normal(positions.shape)
    none, total = np.zeros((lot, *positions.shape)), []
    for _ in range(steps // lot):
        energy = moving.move(force, positions, velocities, free, none)
        total.append(energy + moving.kinetic_energy(velocities))
    time_ps = 1e-3 * moving.step * lot * np.arange(len(total))
    slope = float(np.polyfit(time_ps, total, 1)[0])
    atoms = len(positions)
    return {
        "steps": steps,
        "temperature": moving.kinetic_temperature(velocities),
        "drift": 1e3 * slope / atoms,
        "spread": 1e3 * float(np.std(total)) / atoms,
    }


def pull_by(force: Force | None, pull: Pull) -> dict[str, Any]:
    """Pull one wire until it breaks."""
    began = time.perf_counter()
    snapshots = [snapshot for snapshot in pulled(pull, force) if snapshot.is_whole]
    seconds = time.perf_counter() - began
    positions = np.array([snapshot.wire.positions for snapshot in snapshots])
    held = snapshots[0].wire.held
    found = conductances(positions, held)
    return {
        "length": [round(snapshot.wire.length, 3) for snapshot in snapshots],
        "conductance": [round(float(value), 4) for value in found],
        "energy": [round(snapshot.energy, 4) for snapshot in snapshots],
        "metal_energy": [round(float(POTASSIUM(structure).energies.sum()), 4) for structure in positions],
        "seconds": round(seconds, 1),
        "steps": (len(snapshots) - 1) * pull.steps_between,
    }


def main() -> None:
    """Run, or go on."""
    given = arguments(__doc__, structures=1600, epochs=30, steps=10_000)
    wires = list(read_all(given.data / "compact"))
    rng = np.random.default_rng(0)
    cold = [wire for wire in wires if wire.pull.temperature < HOT]
    # Pulls are in the order of their temperatures.
    cold = [cold[place] for place in np.random.default_rng(1).permutation(len(cold))]
    lots = {
        "taught": drawn(rng, cold[:-12], given.structures),
        "other pulls": drawn(rng, cold[-8:], 160),
        "300 K": drawn(rng, [wire for wire in wires if wire.pull.temperature == HOT], 160),
    }
    exams = drawn(rng, cold[-12:-8], 40)
    weights = given.data / "neural_potential.pt"
    about = {"structures": given.structures, "epochs": given.epochs}
    record = Record(given.output, sys.argv, about)
    if not weights.exists():
        began = time.perf_counter()
        settings = Settings(epochs=given.epochs, learning_rate=3e-3)
        found = train(lots["taught"], exams, settings, progress=False)
        seconds = round(time.perf_counter() - began, 1)
        torch.save({"weights": found.model.state_dict(), "seconds": seconds}, weights)
    saved, model = torch.load(weights, weights_only=True), DeepPotential()
    model.load_state_dict(saved["weights"])
    record.add({"kind": "training"}, lambda: {"seconds": saved["seconds"]})
    for name, some in lots.items():
        record.add({"kind": "errors", "of": name}, scores, model, some)
    network = NeuralPotential.of(model, POTASSIUM)
    ways: dict[str, Force] = {"network": network, "metal": POTASSIUM}
    for name, force in ways.items():
        record.add({"kind": "drift", "by": name}, drift, force, 77.0, given.steps)
        record.add({"kind": "pull", "by": name}, pull_by, force, Pull(speed=20.0, temperature=77.0, seed=77))


if __name__ == "__main__":
    main()
