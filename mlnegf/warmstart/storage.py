"""The file of one device at all its biases: made in memory, checked against its checksum, read back case by case.

A file says what it is: format and version, the device, what it is for, and the start of the first iteration; the
manifest beside it, see `runs.folder`, knows its checksum, which is compared before the file is opened. What does not
agree with either, or with this code, is refused, never misread: names, shapes and types before a field is read, values
before a case is used.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import xarray
from numpy.typing import NDArray

from mlnegf._common import Floats, __version__
from mlnegf.nanosheet.device import Device
from mlnegf.nanosheet.poisson import PoissonError
from mlnegf.runs.folder import Entry, content_of, entries_of
from mlnegf.runs.netcdf import netcdf
from mlnegf.scf.bias_grid import SolvedBias
from mlnegf.scf.equations import Equations, voltage
from mlnegf.scf.guesses import Semiclassical
from mlnegf.scf.loop import Outcome
from mlnegf.scf.problem import Problem, Work
from mlnegf.scf.solve import Solution
from mlnegf.units import PER_CUBIC_CENTIMETRE
from mlnegf.warmstart.design import PARTS
from mlnegf.warmstart.samples import FILLING, START, Sample

FORMAT: Final = "mlnegf cases 4"
SUFFIX: Final = ".nc"
WHOLE: Final = ("bias", "x", "y", "z")
SILICON: Final = ("bias", "x", "silicon_y", "silicon_z")
FIELDS: Final = {
    "potential": (WHOLE, "V"),
    "first_potential": (WHOLE, "V"),
    "charge": (SILICON, "nm-3"),
    "first_charge": (SILICON, "nm-3"),
}
"""Fields of a file: dimensions and unit."""
NUMBERS: Final = {"current": "A", "error_estimate": "V", "current_error": "1"}
COUNTS: Final = tuple(name for name in vars(Work()) if name != "seconds")
"""Work of a bias. Its seconds are no part of the answer: they are in the folder's log."""
WORDS: Final = ("warnings", "outcome")
MOST: Final = 100.0
"""No stored potential is farther from zero, V."""


@dataclass(frozen=True, eq=False)
class StoredSolution(SolvedBias):
    """A solution that another bias can start from, and its current, A."""

    current: float


@dataclass(frozen=True)
class Case:
    """Where one stored bias lies, what its device is for, and whether it has an answer.

    `entry` is what the manifest says of the file.
    """

    path: Path
    device: Device
    gate: float
    drain: float
    part: str
    converged: bool
    index: int
    entry: Entry = field(default_factory=dict, compare=False, repr=False)

    def sample(self) -> Sample:
        """Read what a network learns from."""
        box = (slice(None), *self.device.grid.box)
        fields = self._fields(*FIELDS)
        charges = {name: fields[name] for name in ("first_charge", "charge")}
        potentials = {name: fields[name][box] for name in ("first_potential", "potential")}
        x, mask = self.device.grid.x, self.device.grid.semiconductor[box[1:]]
        return Sample(self.device, self.gate, self.drain, x, mask, **charges, **potentials)

    def solved(self) -> StoredSolution:
        """Read what another bias can start from."""
        found = self._fields("potential", "current")
        return StoredSolution(self.device, self.gate, self.drain, found["potential"], float(found["current"]))

    def _fields(self, *names: str) -> dict[str, Floats]:
        with open_file(self.path, self.entry) as file:
            return {name: np.asarray(file[name][self.index], dtype=np.float64) for name in names}


def device_file(solutions: Sequence[Solution], part: str, **about: Any) -> bytes:
    """Make the file of one device at all its biases, with its first iterations; the same solutions make the same bytes.

    Parameters
    ----------
    solutions : sequence of Solution
        One for each bias.
    part : str
        One of `design.PARTS`.
    **about
        What else the file should say of itself.
    """
    device, grid = solutions[0].device, solutions[0].device.grid
    equations = Equations.of(device)
    starts, charges = zip(*(_first(equations, solution.gate, solution.drain) for solution in solutions), strict=True)
    box = (slice(None), *grid.box)
    values: dict[str, Any] = {
        "potential": [s.potential for s in solutions],
        "first_potential": starts,
        "charge": [s.charge[box] * PER_CUBIC_CENTIMETRE for s in solutions],
        "first_charge": [charge[box] for charge in charges],
    }
    fields: dict[str, Any] = {
        name: (dims, np.array(values[name], dtype=np.float32), {"units": unit}) for name, (dims, unit) in FIELDS.items()
    }
    for name, unit in NUMBERS.items():
        fields[name] = ("bias", [getattr(s, name) for s in solutions], {"units": unit})
    fields["warnings"] = ("bias", ["; ".join(s.warnings) for s in solutions])
    fields["outcome"] = ("bias", [s.outcome.name for s in solutions])
    fields |= {name: ("bias", [getattr(s.work, name) for s in solutions]) for name in COUNTS}
    coordinates: dict[str, Any] = {
        name: ("bias", [getattr(s, name) for s in solutions], {"units": "V"}) for name in ("gate", "drain")
    }
    attributes = {
        "format": FORMAT,
        "version": __version__,
        "device": json.dumps(device.to_dict()),
        "part": part,
        "start": START,
        **about,
    }
    table = xarray.Dataset(fields, coords=coordinates | _axes(device), attrs=attributes)
    return netcdf(table, compressed=FIELDS)


def _axes(device: Device) -> dict[str, Floats]:
    grid = device.grid
    return {"x": grid.x, "y": grid.y, "z": grid.z, "silicon_y": grid.y[grid.box[0]], "silicon_z": grid.z[grid.box[1]]}


def _first(equations: Equations, gate: float, drain: float) -> tuple[Floats, Floats]:
    """Semiclassical start, V, and what one NEGF solve makes of it, nm⁻³, (nx, ny, nz); NaN for what cannot be had."""
    problem = Problem.of(equations, gate, drain, FILLING)
    start = charge = np.full(problem.poisson.donors.shape, np.nan)
    with suppress(ValueError, PoissonError):  # such as a channel closed beyond numbers
        start = Semiclassical()(problem).potential
        charge = problem.evaluate(start).charge.density
    return problem.unfolded(start), equations.device.grid.unfold(charge)


@contextmanager
def open_file(path: Path, entry: Entry | None = None) -> Iterator[h5py.File]:
    """Open a file, and see that it is whole, made by this code, and holds nothing but what its device asks for.

    Parameters
    ----------
    path : Path
    entry : Entry, optional
        What the manifest says of it; looked up beside the file unless given.

    Raises
    ------
    ValueError
        If it is not; naming the file, and what to do.
    """
    content = content_of(path, entry or entries_of(path.parent).get(path.name))
    try:
        with h5py.File(BytesIO(content)) as file:
            _require_own(path, file)
            yield file
    except (OSError, KeyError, RuntimeError, TypeError, AttributeError, OverflowError, MemoryError) as error:
        raise ValueError(f"{path}: not a data file of mlnegf ({type(error).__name__}: {error}); {AGAIN}.") from error


AGAIN: Final = "generate it again, in a new folder"


def _require_own(path: Path, file: h5py.File) -> None:
    """Refuse a file of other code, or one whose parts are not those of its device, before any of them is read."""
    said = {name: _text(file.attrs.get(name)) for name in ("format", "start", "part", "device")}
    origin, expected = (said["format"], said["start"]), (FORMAT, START)
    if origin != expected:
        raise ValueError(f"{path}: made as {origin}, expected {expected}; {AGAIN}.")
    if said["part"] not in PARTS:
        raise ValueError(f"{path}: its device is {said['part']!r}, expected one of {PARTS}; {AGAIN}.")
    device = _device(path, said["device"])
    biases = file["gate"].shape
    wanted = _wanted(device, int(biases[0]) if len(biases) == 1 else 0)
    for name in sorted({*file, *wanted}):
        link = file.get(name, getlink=True) if name in file else None
        if name not in wanted or not isinstance(link, h5py.HardLink) or _form(file[name]) != wanted[name]:
            found = type(link).__name__ if not isinstance(link, h5py.HardLink) else _form(file[name])
            raise ValueError(f"{path}: {name} is {found}, expected {wanted.get(name, 'no such thing')}; {AGAIN}.")


Form = tuple[tuple[int, ...], str]
"""Shape and type of a dataset."""


def _wanted(device: Device, biases: int) -> dict[str, Form]:
    """Return what a file of a device holds."""
    axes = {name: len(values) for name, values in _axes(device).items()}
    sizes = {**axes, "bias": biases}
    forms: dict[str, Form] = {name: ((size,), "<f8") for name, size in axes.items()}
    forms |= {name: (tuple(sizes[dim] for dim in dims), "<f4") for name, (dims, _) in FIELDS.items()}
    forms |= {name: ((biases,), "<f8") for name in ("gate", "drain", *NUMBERS)}
    forms |= {name: ((biases,), "<i8") for name in COUNTS}
    forms |= {name: ((biases,), "|O") for name in WORDS}
    return forms | {"bias": ((biases,), ">f4")}


def _form(item: Any) -> Any:
    """Return shape and type of a dataset that lies in its file, in chunks no larger than itself."""
    if not isinstance(item, h5py.Dataset) or item.is_virtual or item.external:
        return "not a dataset in the file itself"
    if item.chunks and any(chunk > size for chunk, size in zip(item.chunks, item.shape, strict=True)):
        return f"in chunks of {item.chunks}"
    return item.shape, item.dtype.str


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _device(path: Path, text: str) -> Device:
    try:
        return Device.from_dict(json.loads(text))
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{path}: holds no device ({error}); {AGAIN}.") from error


def read_cases(path: Path, entry: Entry | None = None) -> list[Case]:
    """List the biases of one file."""
    with open_file(path, entry) as file:
        device, part = _device(path, file.attrs["device"]), file.attrs["part"]
        _require_sound(path, device, file)
        _require_promised(path, device, file, entry or {})
        columns = (_values(file, name) for name in ("gate", "drain", "outcome"))
        return [
            Case(path, device, float(gate), float(drain), part, outcome == Outcome.converged.name, index, entry or {})
            for index, (gate, drain, outcome) in enumerate(zip(*columns, strict=True))
        ]


def _values(file: h5py.File, name: str) -> NDArray[Any]:
    """Read all of a field."""
    return np.asarray(file[name].asstr()[...] if name in WORDS else file[name][...])


def _require_promised(path: Path, device: Device, file: h5py.File, entry: Entry) -> None:
    """Refuse a file of another device, part or bias than the manifest says."""
    columns = (_values(file, name).tolist() for name in ("gate", "drain"))
    biases = [list(bias) for bias in zip(*columns, strict=True)]
    found = {"device": json.loads(json.dumps(device.to_dict())), "part": file.attrs["part"], "biases": biases}
    for name, value in found.items():
        _require(entry.get(name, value) == value, path, name, "those of the manifest")


def _require_sound(path: Path, device: Device, file: h5py.File) -> None:
    """Refuse values that no solution has."""
    for name, axis in _axes(device).items():
        _require(np.array_equal(_values(file, name), axis), path, name, "the device's own")
    for name in ("gate", "drain"):
        for value in _values(file, name):
            voltage(name, float(value), str(path))
    outcomes = _values(file, "outcome")
    _require(set(outcomes) <= set(Outcome.__members__), path, "outcome", f"among {list(Outcome.__members__)}")
    answered = outcomes == Outcome.converged.name
    for name in ("potential", "charge", *NUMBERS):
        values = _values(file, name)[answered]
        _require(bool(np.isfinite(values).all()), path, name, "finite where a bias converged")
    for name in ("potential", "first_potential"):
        _require(not (abs(_values(file, name)) > MOST).any(), path, name, f"within {MOST:g} V")
    for name in ("charge", "first_charge", *COUNTS):
        _require(not (_values(file, name) < 0).any(), path, name, "nowhere negative")


def _require(condition: bool, path: Path, name: str, expected: str) -> None:
    if not condition:
        raise ValueError(f"{path}: values of {name} are not {expected}; {AGAIN}.")


def read_potentials(case: Case) -> tuple[Floats, Floats]:
    """Read the semiclassical starts and the answers of a case's device at all its biases, (biases, nx, ny, nz), V."""
    with open_file(case.path, case.entry) as file:
        first, last = (_values(file, name).astype(np.float64) for name in ("first_potential", "potential"))
    return first, last
