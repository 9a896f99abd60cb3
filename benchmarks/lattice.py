"""The full lattice beside Kwant with MUMPS: same matrices, one process at a time, one thread each.

    python benchmarks/lattice.py --kwant PATH/TO/KWANT/ENVIRONMENT/bin/python --output book/results/lattice.json

Kwant needs an environment of its own (NumPy below 2); CONTRIBUTING says how to make one.
"""

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

import click
import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from threadpoolctl import ThreadpoolController

import mlnegf
from mlnegf._common import Floats
from mlnegf.scf.problem import Problem
from mlnegf.transport.blocks import System
from mlnegf.transport.lattice import cubic_lattice
from mlnegf.transport.leads import Lead
from mlnegf.transport.scattering import scattering_states
from mlnegf.units import HBAR2_OVER_2M0

SHAPES = [(60, 8, 8), (60, 12, 12), (100, 16, 16)]
AMPLITUDE = 0.1
CORRELATION = 4.0
AWAY = 0.005
"""Root mean square (t) and correlation length (sites) of the potential; least distance from a lead's edge, t."""


def rough_wire(shape: tuple[int, int, int], seed: int) -> Floats:
    """Draw a smooth random potential that no separation of variables undoes."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=shape), CORRELATION, mode="reflect")
    return np.asarray(AMPLITUDE * noise / noise.std())


def choose_energies(system: System, count: int) -> Floats:
    """From just above the lowest edge to half a hopping, none within `AWAY` of an edge of either lead."""
    levels = [torch.linalg.eigvalsh(lead.onsite).numpy() - 2.0 for lead in (system.left, system.right)]
    lowest = max(edges[0] for edges in levels)
    edges = np.concatenate(levels)
    wanted = lowest + np.linspace(0.02, 0.6, 20 * count)
    apart = wanted[abs(wanted[:, None] - edges).min(1) > AWAY]
    return np.asarray(apart[np.linspace(0, len(apart) - 1, count).astype(int)])


def product_rate(block: int) -> float:
    """Floating-point operations per second of a real matrix product of this size, one thread."""
    a = torch.randn(block, block, dtype=torch.float64)
    rounds = max(5, int(2e9 / block**3))
    best = float("inf")
    for _ in range(5):
        start = time.process_time()
        for _ in range(rounds):
            torch.mm(a, a)
        best = min(best, (time.process_time() - start) / rounds)
    return 2 * block**3 / best


def project(system: System, modes: int) -> System:
    """Put every slice on the lowest modes of the empty section: coupled modes."""
    clean = system.left.onsite - torch.diag(system.left.onsite.diagonal() - 6.0)
    functions = torch.linalg.eigh(clean)[1][:, :modes]
    blocks = functions.T @ system.diagonal @ functions
    hopping = -torch.eye(modes, dtype=blocks.dtype)
    return System(blocks, hopping.expand(len(blocks) - 1, -1, -1), Lead(blocks[0], hopping), Lead(blocks[-1], hopping))


def solve(system: System, points: Floats) -> tuple[Floats, Floats, float]:
    """Transmission, contact-resolved density of states (2, energies, orbitals) and seconds an energy."""
    start = time.process_time()
    parts = [states for _, states in scattering_states(torch.as_tensor(points), system)]
    transmission = torch.cat([part.transmission for part in parts]).numpy()
    injected = torch.cat([torch.stack([part.left_injected, part.right_injected]) for part in parts], 1)
    density = injected.reshape(2, len(points), -1).numpy() / (2 * np.pi)
    return transmission, density, (time.process_time() - start) / len(points)


def ask_kwant(
    python: str, potential: Floats, points: Floats, hopping: tuple[float, ...] = (1.0, 1.0, 1.0)
) -> dict[str, Floats]:
    """Solve the same lattice with Kwant, in a process of its own with one thread."""
    alone = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    with tempfile.TemporaryDirectory() as folder:
        files = [f"{folder}/{name}.npz" for name in ("given", "found")]
        np.savez(files[0], potential=potential, energies=points, hopping=hopping)
        script = Path(__file__).with_name("kwant_lattice.py")
        subprocess.run([python, str(script), *files], check=True, env={**os.environ, **alone})
        return dict(np.load(files[1]))


def iteration_beside_kwant(python: str, rounds: int) -> dict[str, float]:
    """One outer iteration of the reference device beside Kwant's density of states at one energy of one valley."""
    device = mlnegf.Device(width=5.0)
    solution = mlnegf.solve(device, 0.4, 0.6)
    valley, grid = device.valleys[0], device.grid
    steps = (grid.dx, grid.dy[grid.box[0]][0], grid.dz[grid.box[1]][0])
    masses = (valley.mass_x, valley.mass_y, valley.mass_z)
    hopping = tuple(HBAR2_OVER_2M0 / mass / step**2 for mass, step in zip(masses, steps, strict=True))
    energy = -solution.potential[:, *grid.box]
    spent: dict[str, list[float]] = {"charge": [], "Newton step": [], "Kwant": []}
    for _ in range(rounds):
        problem = Problem.of(device, 0.4, 0.6)
        start = time.process_time()
        point = problem.evaluate(grid.fold(solution.potential + 0.003))
        middle = time.process_time()
        point.correct(1e-2)
        spent["charge"].append(middle - start)
        spent["Newton step"].append(time.process_time() - middle)
        spent["Kwant"].append(float(ask_kwant(python, energy, np.array([0.0]), hopping)["seconds"][1, 0]))
    seconds = {name: float(np.median(values)) for name, values in spent.items()}
    seconds["Kwant / whole iteration"] = seconds["Kwant"] / (seconds["charge"] + seconds["Newton step"])
    return seconds


@click.command()
@click.option("--kwant", required=True, type=click.Path(exists=True), help="Python that has Kwant")
@click.option("--energies", default=8, show_default=True)
@click.option("--rounds", default=3, show_default=True, help="codes take turns this often; medians are reported")
@click.option("--seed", default=0, show_default=True)
@click.option("--output", type=click.Path(path_type=Path))
def main(kwant: str, energies: int, rounds: int, seed: int, output: Path | None) -> None:
    """Compare transmission, density of states and seconds, and print a table."""
    torch.set_num_threads(1)
    ThreadpoolController().limit(limits=1)
    rows = []
    for shape in SHAPES:
        potential = rough_wire(shape, seed)
        system = cubic_lattice(potential)
        points = choose_energies(system, energies)
        ours, theirs, mixed = [], [], []
        exact = solve(system, points)[0]
        sizes = range(4, potential[0].size + 1, 4)
        modes = next(m for m in sizes if abs(solve(project(system, m), points)[0] - exact).max() < 1e-4)
        coupled = project(system, modes)
        for _ in range(rounds):
            transmission, density, seconds = solve(system, points)
            ours.append(seconds)
            coupled_transmission, _, seconds = solve(coupled, points)
            mixed.append(seconds)
            theirs.append(ask_kwant(kwant, potential, points))
        found = theirs[-1]
        nx, block = shape[0], shape[1] * shape[2]
        kwant_seconds = np.median([part["seconds"].mean(1) for part in theirs], axis=0)
        seconds, coupled_seconds = float(np.median(ours)), float(np.median(mixed))
        rows.append(
            {
                "sites": "x".join(str(n) for n in (*shape[1:], shape[0])),
                "open modes": int(np.round(transmission.max() + 0.5)),
                "largest |dT|": float(abs(transmission - found["transmission"]).max()),
                "largest |dLDOS| / max": float(abs(density - found["density"]).max() / found["density"].max()),
                "seconds, T and LDOS": seconds,
                "Kwant, T": float(kwant_seconds[0]),
                "Kwant, LDOS": float(kwant_seconds[1]),
                "Kwant T / ours": float(kwant_seconds[0] / seconds),
                "Kwant LDOS / ours": float(kwant_seconds[1] / seconds),
                "coupled modes": modes,
                "largest |dT| of coupled modes": float(abs(coupled_transmission - transmission).max()),
                "seconds, coupled modes": coupled_seconds,
                "full lattice / coupled modes": seconds / coupled_seconds,
                "Kwant LDOS / coupled modes": float(kwant_seconds[1] / coupled_seconds),
                "share of product rate": 2 * block**3 * nx / seconds / product_rate(block),
            }
        )
        for name, value in rows[-1].items():
            print(f"{name:30} {value if isinstance(value, str) else f'{value:.3g}'}")
        print()
    device = iteration_beside_kwant(kwant, rounds)
    print("one outer iteration, 5 × 3 nm at 0.25 nm, seconds:", {name: round(v, 3) for name, v in device.items()})
    if output:
        made_by = f"benchmarks/lattice.py --energies {energies} --rounds {rounds} --seed {seed}"
        stored = {"command": made_by, "version": mlnegf.__version__, "rows": rows, "device": device}
        output.write_text(json.dumps(stored, indent=1) + "\n")


if __name__ == "__main__":
    main()
