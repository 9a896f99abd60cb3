"""Sweeps of devices and biases into labelled files.

One unit of work is the sweep of one device; workers share nothing but the folder. One file holds one device at one
drain voltage and every gate voltage, and is written whole or not at all, so that a killed run loses the column in
flight and a second run goes on behind it. The labels follow the solution from equilibrium by `continuation`; beside
them stands the first iteration: the semiclassical start, and the charge that one NEGF solve makes of it.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any, Final

from tqdm import tqdm

from mlnegf.nanosheet.device import Device
from mlnegf.scf.solve import Solution
from mlnegf.scf.sweep import continuation
from mlnegf.warmstart.dataset import Profile
from mlnegf.warmstart.samples import FILLING
from mlnegf.warmstart.storage import open_file, read_cases, write_column
from mlnegf.warmstart.workers import pool

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
    for path, (device, _) in zip(paths, profile.columns(), strict=True):
        if path.exists():
            _require_same(path, profile, device)
    # The largest device first: it is the last to finish.
    devices = tuple(sorted(profile.everyone, key=lambda device: -device.width * device.length))
    workers = min(workers or os.cpu_count() or 1, len(devices))
    with tqdm(total=len(paths), unit="column", desc="generating", disable=not progress) as bar:
        if workers == 1:
            for device in devices:
                for _ in _sweep(device, profile, output, command):
                    _show(bar, paths)
            _show(bar, paths)
            return
        with pool(workers) as processes:
            pending: set[Future[None]] = {
                processes.submit(_work, device, profile, output, command) for device in devices
            }
            while pending:
                done, pending = wait(pending, timeout=1.0, return_when="FIRST_EXCEPTION")
                for future in done:
                    future.result()
                _show(bar, paths)


def _require_same(path: Path, profile: Profile, device: Device) -> None:
    """Refuse a file that another profile left."""
    with open_file(path) as file:
        gates, part = tuple(file["gate"].values.tolist()), file.attrs.get("part")
    for what, found, mine in (("gate voltages", gates, profile.gates), ("a device as", part, profile.part(device))):
        if found != mine:
            raise ValueError(
                f"{path}: holds {what} {found!r}, expected the profile's {mine!r}; choose another output, or delete "
                "the folder."
            )


def _show(bar: Any, paths: Iterable[Path]) -> None:
    bar.n = sum(path.exists() for path in paths)
    bar.refresh()


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
            write_column(
                _path(output, device, solution.drain),
                column,
                profile.part(device),
                tolerance=REFERENCE_TOLERANCE,
                command=command,
                seed="none: every step is deterministic",
            )
            column = []
        yield


def _path(output: Path, device: Device, drain: float) -> Path:
    digest = hashlib.sha256(json.dumps(device.to_dict(), sort_keys=True).encode()).hexdigest()[:6]
    folder = f"{device.thickness:g}x{device.width:g}_gate{device.gate_length:g}_{digest}"
    return output / folder / f"drain_{drain:.4f}V.nc"
