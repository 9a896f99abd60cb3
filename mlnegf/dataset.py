"""Sweeps of devices and biases into labelled files, and the cases read back from them.

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
from dataclasses import dataclass
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import xarray
from tqdm import tqdm

from mlnegf.continuation import continuation
from mlnegf.device import Device
from mlnegf.files import write_whole
from mlnegf.grid import Bools, Floats
from mlnegf.guess import Semiclassical
from mlnegf.problem import Problem, Work
from mlnegf.scf import Solution
from mlnegf.units import PER_CUBIC_CENTIMETRE
from mlnegf.version import __version__

FORMAT: Final = "mlnegf sweep 1"
START: Final = "semiclassical; bound states filled by threshold"
"""What made the first iteration; travels with data and weights."""
REFERENCE_TOLERANCE: Final = 1e-5
"""Estimated error of the labels, V."""


@dataclass(frozen=True)
class Profile:
    """Devices and the biases each is swept over, V, ascending; `unseen` of the devices are kept for testing."""

    devices: tuple[Device, ...]
    gates: tuple[float, ...]
    drains: tuple[float, ...]
    unseen: tuple[Device, ...]

    def columns(self) -> list[tuple[Device, float]]:
        """Return every device at every drain voltage: one file each."""
        return list(product((*self.devices, *self.unseen), self.drains))


_NINE: Final = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
_COARSE: Final[dict[str, Any]] = {"spacing": (0.25, 0.5, 0.5), "source_length": 6.0, "drain_length": 6.0}
PROFILES: Final = {
    "full": Profile(
        devices=(
            Device(thickness=3.0, width=3.0),
            Device(thickness=3.0, width=6.0),
            Device(thickness=3.0, width=12.0),
            Device(thickness=3.0, width=6.0, gate_length=16.0),
        ),
        gates=_NINE,
        drains=_NINE,
        unseen=(Device(thickness=3.0, width=9.0),),
    ),
    "reduced": Profile(
        devices=(Device(thickness=3.0, width=3.0, **_COARSE), Device(thickness=3.0, width=6.0, **_COARSE)),
        gates=(0.05, 0.2, 0.4, 0.6),
        drains=(0.05, 0.3, 0.6),
        unseen=(Device(thickness=3.0, width=4.5, **_COARSE),),
    ),
}
"""Every profile by name."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One device at one bias, on the bounding box of its silicon.

    Attributes
    ----------
    gate, drain : float
        V.
    x : ndarray, (nx,)
        Slice centres, nm.
    mask : ndarray of bool, (ny, nz)
        Silicon.
    first_potential, first_charge : ndarray, (nx, ny, nz)
        Semiclassical start, V, and what one NEGF solve makes of it, nm⁻³.
    potential, charge : ndarray, (nx, ny, nz)
        Converged: V and nm⁻³.
    """

    device: Device
    gate: float
    drain: float
    x: Floats
    mask: Bools
    first_potential: Floats
    first_charge: Floats
    potential: Floats
    charge: Floats


@dataclass(frozen=True, eq=False)
class SolvedBias:
    """A stored solution: potential (nx, ny, nz) on the device's grid in V, current in A."""

    device: Device
    gate: float
    drain: float
    potential: Floats
    current: float


@dataclass(frozen=True)
class Case:
    """Where one stored bias lies."""

    path: Path
    device: Device
    gate: float
    drain: float
    converged: bool

    def sample(self) -> Sample:
        """Read what a network learns from."""
        box = (slice(None), *self.device.grid.box)
        row = self._row()
        fields = {name: row[name].values.astype(np.float64) for name in ("first_potential", "first_charge", "charge")}
        potential = row["potential"].values.astype(np.float64)[box]
        x, mask = self.device.grid.x, self.device.grid.semiconductor[box[1:]]
        return Sample(self.device, self.gate, self.drain, x, mask, potential=potential, **fields)

    def solved(self) -> SolvedBias:
        """Read what another bias can start from."""
        row = self._row()
        potential = row["potential"].values.astype(np.float64)
        return SolvedBias(self.device, self.gate, self.drain, potential, float(row["current"]))

    def _row(self) -> xarray.Dataset:
        with _open(self.path) as file:
            return file.sel(gate=self.gate).load()


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
            with _open(path) as file:
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
        for case in _cases(path)
    ]
    column: list[Solution] = []
    for solution in continuation(device, profile.gates, profile.drains, known=known, tolerance=REFERENCE_TOLERANCE):
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
    firsts = [_first_iteration(device, solution.gate, drain) for solution in column]
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


def _first_iteration(device: Device, gate: float, drain: float) -> tuple[Floats, Floats]:
    problem = Problem(device, gate, drain)
    point = problem.evaluate(Semiclassical()(problem).potential)
    return device.grid.unfold(point.potential), device.grid.unfold(point.charge.density)


def _open(path: Path) -> xarray.Dataset:
    """Open a file and check that it is one of ours, whole, and made by this code."""
    advice = "delete the file and run `mlnegf generate` again; it keeps what is whole"
    try:
        file = xarray.open_dataset(path, engine="h5netcdf")
        origin = tuple(file.attrs.get(name) for name in ("format", "version", "start"))
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ValueError(f"{path}: not a whole data file ({error}); {advice}.") from error
    if origin != (FORMAT, __version__, START):
        file.close()
        raise ValueError(f"{path}: made as {origin}, expected {(FORMAT, __version__, START)}; {advice}.")
    return file


def _cases(path: Path) -> list[Case]:
    with _open(path) as file:
        parameters = json.loads(file.attrs["device"])
        device = Device(**{**parameters, "spacing": tuple(parameters["spacing"])})
        drain = float(file.attrs["drain"])
        return [
            Case(path, device, float(gate), drain, bool(converged))
            for gate, converged in zip(file["gate"].values, file["converged"].values, strict=True)
        ]


def cases(directory: str | Path) -> list[Case]:
    """List all stored biases, in a fixed order.

    Raises
    ------
    ValueError
        If the folder holds no data, or a file is damaged or of another version.
    """
    paths = sorted(Path(directory).glob("*/drain_*V.nc"))
    if not paths:
        raise ValueError(
            f"{directory}: no data files, expected some; run `mlnegf generate --output {directory}` first."
        )
    return [case for path in paths for case in _cases(path)]


@dataclass(frozen=True)
class Splits:
    """Cases for training, for every choice, and for two tests: known devices at unseen biases, and unseen devices."""

    training: list[Case]
    validation: list[Case]
    unseen_bias: list[Case]
    unseen_device: list[Case]


def split(found: Sequence[Case], validation: float = 0.12, test: float = 0.12, seed: int = 0) -> Splits:
    """Split by device first, then by bias, never by slice.

    The devices that `PROFILES` names as unseen are kept whole for the test on unseen devices.

    Parameters
    ----------
    found : sequence of Case
    validation, test : float
        Parts of the biases of every other device.
    seed : int
        Of the biases drawn.
    """
    unseen = {device for profile in PROFILES.values() for device in profile.unseen}
    parts = Splits([], [], [], [case for case in found if case.device in unseen])
    rng = np.random.default_rng(seed)
    for device in dict.fromkeys(case.device for case in found):
        if device in unseen:
            continue
        own = [case for case in found if case.device == device]
        order = rng.permutation(len(own))
        first, second = round(validation * len(own)), round((validation + test) * len(own))
        for rank, index in enumerate(order):
            part = parts.validation if rank < first else parts.unseen_bias if rank < second else parts.training
            part.append(own[index])
    # What did not converge is no lesson; in a test it stays, and counts.
    keep = [case for case in parts.training if case.converged], [case for case in parts.validation if case.converged]
    return Splits(*keep, parts.unseen_bias, parts.unseen_device)
