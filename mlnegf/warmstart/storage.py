"""The file of one device at all its biases: written whole, and read back case by case.

A file says what it is: format and version, the device, what it is for, the command that made it, and the start of the
first iteration. What does not agree with this code is refused, never misread.
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray

from mlnegf._common import Floats, __version__, write_whole
from mlnegf.nanosheet.device import Device
from mlnegf.nanosheet.poisson import PoissonError
from mlnegf.scf.equations import Equations
from mlnegf.scf.guesses import Semiclassical
from mlnegf.scf.problem import Problem, Work
from mlnegf.scf.solve import Solution
from mlnegf.units import PER_CUBIC_CENTIMETRE
from mlnegf.warmstart.design import PARTS
from mlnegf.warmstart.samples import FILLING, START, Sample

FORMAT: Final = "mlnegf cases 3"


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
    """Where one stored bias lies, what its device is for, and whether it has an answer."""

    path: Path
    device: Device
    gate: float
    drain: float
    part: str
    converged: bool
    index: int

    def sample(self) -> Sample:
        """Read what a network learns from."""
        box = (slice(None), *self.device.grid.box)
        row = self._row()
        charges = {name: row[name].values.astype(np.float64) for name in ("first_charge", "charge")}
        potentials = {name: row[name].values.astype(np.float64)[box] for name in ("first_potential", "potential")}
        x, mask = self.device.grid.x, self.device.grid.semiconductor[box[1:]]
        return Sample(self.device, self.gate, self.drain, x, mask, **charges, **potentials)

    def solved(self) -> StoredSolution:
        """Read what another bias can start from."""
        row = self._row()
        potential = row["potential"].values.astype(np.float64)
        return StoredSolution(self.device, self.gate, self.drain, potential, float(row["current"]))

    def _row(self) -> xarray.Dataset:
        with open_file(self.path) as file:
            return file.isel(bias=self.index).load()


def write_device(path: Path, solutions: Sequence[Solution], part: str, **origin: Any) -> None:
    """Write one device at all its biases, with its first iterations.

    Parameters
    ----------
    path : Path
    solutions : sequence of Solution
        One for each bias.
    part : str
        One of `design.PARTS`.
    **origin
        What else the file should say of where it comes from.
    """
    device, grid = solutions[0].device, solutions[0].device.grid
    equations = Equations.of(device)
    starts, charges = zip(*(_first(equations, solution.gate, solution.drain) for solution in solutions), strict=True)
    box, whole, silicon = (slice(None), *grid.box), ("bias", "x", "y", "z"), ("bias", "x", "silicon_y", "silicon_z")
    fields: dict[str, Any] = {
        "potential": (whole, [s.potential for s in solutions], {"units": "V"}),
        "first_potential": (whole, starts, {"units": "V"}),
        "charge": (silicon, [s.charge[box] * PER_CUBIC_CENTIMETRE for s in solutions], {"units": "nm-3"}),
        "first_charge": (silicon, [charge[box] for charge in charges], {"units": "nm-3"}),
    }
    images = {name: (dims, np.array(values, dtype=np.float32), units) for name, (dims, values, units) in fields.items()}
    fields = dict(images)
    for name, unit in (("current", "A"), ("error_estimate", "V"), ("current_error", "1")):
        fields[name] = ("bias", [getattr(s, name) for s in solutions], {"units": unit})
    fields["warnings"] = ("bias", ["; ".join(s.warnings) for s in solutions])
    fields["outcome"] = ("bias", [s.outcome.name for s in solutions])
    fields |= {name: ("bias", [getattr(s.work, name) for s in solutions]) for name in vars(Work())}
    coordinates: dict[str, Any] = {
        "gate": ("bias", [s.gate for s in solutions], {"units": "V"}),
        "drain": ("bias", [s.drain for s in solutions], {"units": "V"}),
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


def _first(equations: Equations, gate: float, drain: float) -> tuple[Floats, Floats]:
    """Semiclassical start, V, and what one NEGF solve makes of it, nm⁻³, (nx, ny, nz); NaN for what cannot be had."""
    problem = Problem.of(equations, gate, drain, FILLING)
    start = charge = np.full(problem.poisson.donors.shape, np.nan)
    with suppress(ValueError, PoissonError):  # such as a channel closed beyond numbers
        start = Semiclassical()(problem).potential
        charge = problem.evaluate(start).charge.density
    return problem.unfolded(start), equations.device.grid.unfold(charge)


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
        columns = (file[name].values for name in ("gate", "drain", "outcome"))
        return [
            Case(path, device, float(gate), float(drain), part, outcome == "converged", index)
            for index, (gate, drain, outcome) in enumerate(zip(*columns, strict=True))
        ]


def read_potentials(path: Path) -> tuple[Floats, Floats]:
    """Read the semiclassical starts and the answers of one file, both (biases, nx, ny, nz), V."""
    with open_file(path) as file:
        first, last = (file[name].values.astype(np.float64) for name in ("first_potential", "potential"))
    return first, last
