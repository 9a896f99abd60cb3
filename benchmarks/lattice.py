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
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

import mlnegf
from mlnegf.lattice import cubic_lattice
from mlnegf.transport import System, scattering_states

SHAPES = [(60, 8, 8), (60, 12, 12), (100, 16, 16)]
AMPLITUDE = 0.1
CORRELATION = 4.0
AWAY = 0.005
"""Root mean square (t) and correlation length (sites) of the potential; least distance from a lead's edge, t."""


def rough_wire(shape: tuple[int, int, int], seed: int) -> NDArray[np.float64]:
    """Draw a smooth random potential that no separation of variables undoes."""
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=shape), CORRELATION, mode="reflect")
    return np.asarray(AMPLITUDE * noise / noise.std())


def choose_energies(system: System, count: int) -> NDArray[np.float64]:
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


@click.command()
@click.option("--kwant", required=True, type=click.Path(exists=True), help="Python that has Kwant")
@click.option("--energies", default=8, show_default=True)
@click.option("--rounds", default=3, show_default=True, help="codes take turns this often; medians are reported")
@click.option("--seed", default=0, show_default=True)
@click.option("--output", type=click.Path(path_type=Path))
def main(kwant: str, energies: int, rounds: int, seed: int, output: Path | None) -> None:
    """Compare transmission, density of states and seconds, and print a table."""
    torch.set_num_threads(1)
    alone = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    rows = []
    for shape in SHAPES:
        potential = rough_wire(shape, seed)
        system = cubic_lattice(potential)
        points = choose_energies(system, energies)
        ours, theirs = [], []
        for _ in range(rounds):
            start = time.process_time()
            parts = [states for _, states in scattering_states(torch.as_tensor(points), system)]
            transmission = torch.cat([part.transmission for part in parts]).numpy()
            injected = torch.cat([torch.stack([part.left_injected, part.right_injected]) for part in parts], 1)
            density = injected.reshape(2, len(points), -1).numpy() / (2 * np.pi)
            ours.append((time.process_time() - start) / len(points))
            with tempfile.TemporaryDirectory() as folder:
                files = [f"{folder}/{name}.npz" for name in ("given", "found")]
                np.savez(files[0], potential=potential, energies=points)
                script = Path(__file__).with_name("kwant_lattice.py")
                subprocess.run([kwant, str(script), *files], check=True, env={**os.environ, **alone})
                found = dict(np.load(files[1]))
            theirs.append(found["seconds"].mean(1))
        nx, block = shape[0], shape[1] * shape[2]
        kwant_seconds = np.median(theirs, axis=0)
        seconds = float(np.median(ours))
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
                "share of product rate": 2 * block**3 * nx / seconds / product_rate(block),
            }
        )
        for name, value in rows[-1].items():
            print(f"{name:24} {value if isinstance(value, str) else f'{value:.3g}'}")
        print()
    if output:
        made_by = f"benchmarks/lattice.py --energies {energies} --rounds {rounds} --seed {seed}"
        output.write_text(
            json.dumps({"command": made_by, "version": mlnegf.__version__, "rows": rows}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
