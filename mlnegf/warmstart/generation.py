"""Sweeps of devices and biases into labelled files.

One unit of work is the sweep of one device; workers share nothing but the folder. One file holds one device at one
drain voltage and every gate voltage, and is written whole or not at all, so that a killed run loses the column in
flight and a second run goes on behind it. The labels follow the solution from equilibrium by `continuation`; beside
them stands the first iteration: the semiclassical start, and the charge that one NEGF solve makes of it.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import xarray
from tqdm import tqdm

from mlnegf._common import Floats, __version__, write_whole
from mlnegf.nanosheet.device import Device
from mlnegf.scf.equations import Equations
from mlnegf.scf.guesses import Semiclassical
from mlnegf.scf.problem import Problem, Work
from mlnegf.scf.solve import Solution
from mlnegf.scf.sweep import continuation
from mlnegf.units import PER_CUBIC_CENTIMETRE
from mlnegf.warmstart.dataset import FILLING, FORMAT, START, Profile, open_file, read_cases

REFERENCE_TOLERANCE: Final = 1e-5
"""Estimated error of the labels, V."""


def generate(
    profile: Profile, output: str | Path, command: str, workers: int | None = None, progress: bool = True
) -> None:
    """Solve every device of a profile at every bias, in parallel; columns already on disk are kept.

    Parameters
    ----------
    profile : Profile
    output : path
        Folder of the files; made if it does not exist.
    command : str
        What to write into the files as their origin.
    workers : int, optional
        Processes, with one thread each; as many as there are cores, or devices if those are fewer, unless given.
    progress : bool
        Whether to draw a progress bar on stderr.

    Raises
    ------
    ValueError
        If a file that is already there is damaged, or was made by other code or for other parameters.
    """
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    paths = [_path(output, *column) for column in profile.columns()]
    for path in paths:
        if path.exists():
            with open_file(path) as file:
                gates = tuple(file["gate"].values.tolist())
            if gates != profile.gates:
                raise ValueError(
                    f"{path}: holds gate voltages {gates}, expected the profile's {profile.gates}; choose another "
                    "output, or delete the folder."
                )
    devices = (*profile.devices, *profile.unseen)
    # The largest device first: it is the last to finish.
    devices = tuple(sorted(devices, key=lambda device: -device.width * device.length))
    workers = min(workers or os.cpu_count() or 1, len(devices))
    with tqdm(total=len(paths), unit="column", desc="generating", disable=not progress) as bar:
        if workers == 1:
            for device in devices:
                for _ in _sweep(device, profile, output, command):
                    _show(bar, paths)
            _show(bar, paths)
            return
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_one_thread) as pool:
            pending: set[Future[None]] = {pool.submit(_work, device, profile, output, command) for device in devices}
            while pending:
                done, pending = wait(pending, timeout=1.0, return_when="FIRST_EXCEPTION")
                for future in done:
                    future.result()
                _show(bar, paths)


def _show(bar: Any, paths: Iterable[Path]) -> None:
    bar.n = sum(path.exists() for path in paths)
    bar.refresh()


def _one_thread() -> None:
    torch.set_num_threads(1)


def _work(device: Device, profile: Profile, output: Path, command: str) -> None:
    for _ in _sweep(device, profile, output, command):
        pass


def _sweep(device: Device, profile: Profile, output: Path, command: str) -> Iterator[None]:
    """Solve and store the columns of one device, yielding after each bias."""
    known = [
        case.solved()
        for drain in profile.drains
        if (path := _path(output, device, drain)).exists()
        for case in read_cases(path)
    ]
    column: list[Solution] = []
    for solution in continuation(
        device, profile.gates, profile.drains, known=known, tolerance=REFERENCE_TOLERANCE, filling=FILLING
    ):
        column.append(solution)
        if len(column) == len(profile.gates):
            _write(_path(output, device, solution.drain), column, command)
            column = []
        yield


def _path(output: Path, device: Device, drain: float) -> Path:
    digest = hashlib.sha256(json.dumps(device.to_dict(), sort_keys=True).encode()).hexdigest()[:6]
    folder = f"{device.thickness:g}x{device.width:g}_gate{device.gate_length:g}_{digest}"
    return output / folder / f"drain_{drain:.4f}V.nc"


def _write(path: Path, column: Sequence[Solution], command: str) -> None:
    """Write one drain voltage of one device, with its first iterations."""
    device, drain = column[0].device, column[0].drain
    grid = device.grid
    inside = (slice(None), *grid.box)
    equations = Equations.of(device, FILLING)
    firsts = [_first_iteration(equations, solution.gate, drain) for solution in column]
    charges = [solution.charge[inside] * PER_CUBIC_CENTIMETRE for solution in column]
    whole, box = ("gate", "x", "y", "z"), ("gate", "x", "silicon_y", "silicon_z")
    fields: dict[str, Any] = {
        "potential": (whole, [s.potential for s in column], {"units": "V"}),
        "charge": (box, charges, {"units": "nm-3"}),
        "first_potential": (box, [potential[inside] for potential, _ in firsts], {"units": "V"}),
        "first_charge": (box, [charge[inside] for _, charge in firsts], {"units": "nm-3"}),
    }
    fields = {name: (dims, np.array(values, dtype=np.float32), units) for name, (dims, values, units) in fields.items()}
    for name, unit in (("current", "A"), ("error_estimate", "V"), ("current_error", "1")):
        fields[name] = ("gate", [getattr(s, name) for s in column], {"units": unit})
    fields["warnings"] = ("gate", ["; ".join(s.warnings) for s in column])
    fields["converged"] = ("gate", [int(s.converged) for s in column])
    fields |= {name: ("gate", [getattr(s.work, name) for s in column]) for name in vars(Work())}
    coordinates = {
        "gate": [s.gate for s in column],
        "x": grid.x,
        "y": grid.y,
        "z": grid.z,
        "silicon_y": grid.y[grid.box[0]],
        "silicon_z": grid.z[grid.box[1]],
    }
    origin = {
        "format": FORMAT,
        "version": __version__,
        "device": json.dumps(device.to_dict()),
        "drain": drain,
        "start": START,
        "tolerance": REFERENCE_TOLERANCE,
        "command": command,
        "seed": "none: every step is deterministic",
    }
    table = xarray.Dataset(fields, coords=coordinates, attrs=origin)
    encoding = {
        name: {"zlib": True, "complevel": 4, "shuffle": True, "chunksizes": (1, *table[name].shape[1:])}
        for name in ("potential", "charge", "first_potential", "first_charge")
    }
    write_whole(path, lambda file: table.to_netcdf(file, engine="h5netcdf", encoding=encoding))


def _first_iteration(equations: Equations, gate: float, drain: float) -> tuple[Floats, Floats]:
    problem = Problem.of(equations, gate, drain)
    point = problem.evaluate(Semiclassical()(problem).potential)
    return problem.unfolded(point.potential), problem.device.grid.unfold(point.charge.density)
