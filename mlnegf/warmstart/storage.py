"""The file of one device at one drain voltage and every gate voltage: written whole, and read back case by case.

A file says what it is: format and version, the device, which part of its profile the device belongs to, and the start
that made the first iteration. What does not agree with this code is refused, never misread.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray

from mlnegf._common import Floats, __version__, write_whole
from mlnegf.nanosheet.device import Device
from mlnegf.scf.equations import Equations
from mlnegf.scf.problem import Work
from mlnegf.scf.solve import Solution
from mlnegf.warmstart.samples import FILLING, START, Sample, first_iteration

FORMAT: Final = "mlnegf sweep 2"
PARTS: Final = ("known", "unseen")
"""What a device of a profile is for: to learn from, or kept whole for testing."""


@dataclass(frozen=True, eq=False)
class StoredSolution:
    """A solution that another bias can start from: potential (nx, ny, nz) on the device's grid, V, and current, A."""

    device: Device
    gate: float
    drain: float
    potential: Floats
    current: float


@dataclass(frozen=True)
class Case:
    """Where one stored bias lies, and whether its device is kept for testing."""

    path: Path
    device: Device
    gate: float
    drain: float
    converged: bool
    unseen: bool

    def sample(self) -> Sample:
        """Read what a network learns from."""
        box = (slice(None), *self.device.grid.box)
        row = self._row()
        fields = {name: row[name].values.astype(np.float64) for name in ("first_potential", "first_charge", "charge")}
        potential = row["potential"].values.astype(np.float64)[box]
        x, mask = self.device.grid.x, self.device.grid.semiconductor[box[1:]]
        return Sample(self.device, self.gate, self.drain, x, mask, potential=potential, **fields)

    def solved(self) -> StoredSolution:
        """Read what another bias can start from."""
        row = self._row()
        potential = row["potential"].values.astype(np.float64)
        return StoredSolution(self.device, self.gate, self.drain, potential, float(row["current"]))

    def _row(self) -> xarray.Dataset:
        with open_file(self.path) as file:
            return file.sel(gate=self.gate).load()


def write_column(path: Path, column: Sequence[Solution], part: str, **origin: Any) -> None:
    """Write one drain voltage of one device, with its first iterations.

    Parameters
    ----------
    path : Path
    column : sequence of Solution
        One for each gate voltage.
    part : str
        One of `PARTS`.
    **origin
        What else the file should say of where it comes from.
    """
    device, drain, grid = column[0].device, column[0].drain, column[0].device.grid
    equations = Equations.of(device, FILLING)
    samples = [first_iteration(equations, solution.gate, drain).answered(solution) for solution in column]
    whole, box = ("gate", "x", "y", "z"), ("gate", "x", "silicon_y", "silicon_z")
    fields: dict[str, Any] = {
        "potential": (whole, [s.potential for s in column], {"units": "V"}),
        "charge": (box, [s.charge for s in samples], {"units": "nm-3"}),
        "first_potential": (box, [s.first_potential for s in samples], {"units": "V"}),
        "first_charge": (box, [s.first_charge for s in samples], {"units": "nm-3"}),
    }
    images = {name: (dims, np.array(values, dtype=np.float32), units) for name, (dims, values, units) in fields.items()}
    fields = dict(images)
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
    attributes = {
        "format": FORMAT,
        "version": __version__,
        "device": json.dumps(device.to_dict()),
        "drain": drain,
        "part": part,
        "start": START,
        **origin,
    }
    table = xarray.Dataset(fields, coords=coordinates, attrs=attributes)
    encoding = {
        name: {"zlib": True, "complevel": 4, "shuffle": True, "chunksizes": (1, *values.shape[1:])}
        for name, (_, values, _) in images.items()
    }
    write_whole(path, lambda file: table.to_netcdf(file, engine="h5netcdf", encoding=encoding))


def open_file(path: Path) -> xarray.Dataset:
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


def read_cases(path: Path) -> list[Case]:
    """List the biases of one file."""
    with open_file(path) as file:
        if (part := file.attrs.get("part")) not in PARTS:
            raise ValueError(f"{path}: its device is {part!r}, expected one of {PARTS}; generate it again.")
        device = Device.from_dict(json.loads(file.attrs["device"]))
        drain = float(file.attrs["drain"])
        return [
            Case(path, device, float(gate), drain, bool(converged), part == "unseen")
            for gate, converged in zip(file["gate"].values, file["converged"].values, strict=True)
        ]
