"""Pulls as files: a folder of them, made in parallel, resumable, and read back.

One file is one pull: its snapshots while the wire is whole, and the conductance of each.
"""

import json
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray

from mlnegf._common import Floats, __version__, require
from mlnegf.atomistic.conductance import conductances
from mlnegf.atomistic.potential import POTASSIUM
from mlnegf.atomistic.wires import Pull, pulled
from mlnegf.runs.filling import fill
from mlnegf.runs.folder import Folder, content_of, entries_of
from mlnegf.runs.netcdf import netcdf
from mlnegf.runs.workers import Workers

FORMAT: Final = "mlnegf pull 1"
SUFFIX: Final = ".nc"
COLUMNS: Final = ("time", "temperature", "energy")
SPEEDS: Final = (5.0, 10.0, 15.0, 20.0)
TEMPERATURES: Final = (4.5, 77.0, 150.0, 300.0)
FULL_LENGTHS: Final = (63.0, 95.0, 126.0)
"""Of wires that are only predicted, Å."""


def compact(count: int = 57) -> list[Pull]:
    """Return pulls of short wires to learn from: 3.5 nm at the start, several speeds and temperatures."""
    return [Pull(speed=SPEEDS[n % 4], temperature=TEMPERATURES[n // 4 % 4], seed=n, longest=76.0) for n in range(count)]


def full(count: int = 100) -> list[Pull]:
    """Return pulls of long wires to predict: 6.3, 9.5 and 12.6 nm at the start, 10 m/s, 4.5 K."""
    return [Pull(length=FULL_LENGTHS[n % 3], seed=1000 + n, every=0.04) for n in range(count)]


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Snapshots of one pull while the wire was whole.

    Attributes
    ----------
    pull : Pull
    positions : ndarray, (snapshots, atoms, 3)
        Å.
    held : int
        Atoms of each rigid cell, the first and the last ones.
    time, temperature, energy : ndarray, (snapshots,)
        ps, K, eV.
    conductance : ndarray, (snapshots,)
        2e²/h.
    broke : bool
        Whether the pull ended because the wire broke.
    """

    pull: Pull
    positions: Floats
    held: int
    time: Floats
    temperature: Floats
    energy: Floats
    conductance: Floats
    broke: bool

    @property
    def length(self) -> Floats:
        """From the first plane to the last, Å, (snapshots,)."""
        return np.asarray(self.positions[:, -1, 0] - self.positions[:, 0, 0])


def trajectory(pull: Pull) -> Trajectory:
    """Pull a wire until it breaks, and work out the conductance of every snapshot."""
    snapshots = list(pulled(pull))
    whole = [snapshot for snapshot in snapshots if snapshot.is_whole]
    require(bool(whole), "pull", pull, "one whose wire is whole at the start", "trajectory")
    # Stored in single precision: what is stored is what the conductance belongs to.
    positions = np.array([snapshot.wire.positions for snapshot in whole]).astype(np.float32).astype(np.float64)
    wire = pull.wire()
    positions = _rigid(positions, wire.held)
    values = conductances(positions, wire.held, wire.lattice_constant)
    columns = (np.array([getattr(snapshot, name) for snapshot in whole]) for name in COLUMNS)
    time, temperature, energy = columns
    return Trajectory(pull, positions, wire.held, time, temperature, energy, values, len(whole) < len(snapshots))


def _rigid(positions: Floats, held: int) -> Floats:
    """Give the rigid cells of every snapshot the shape they have in the first: single precision rounds each anew."""
    found = positions.copy()
    for cell in (slice(None, held), slice(-held, None)):
        shape = positions[0, cell] - positions[0, cell][:1]
        found[:, cell] = positions[:, cell][:, :1] + shape
    return found


def table(found: Trajectory) -> bytes:
    """Return a trajectory as a netCDF-4 file."""
    units = {"time": "ps", "temperature": "K", "energy": "eV", "conductance": "2e2/h"}
    fields: dict[str, Any] = {
        "positions": (("snapshot", "atom", "axis"), found.positions.astype(np.float32), {"units": "angstrom"})
    }
    fields |= {name: ("snapshot", getattr(found, name), {"units": unit}) for name, unit in units.items()}
    about = {"format": FORMAT, "version": __version__, "pull": json.dumps(_about(found.pull)), "held": found.held}
    made = xarray.Dataset(fields, attrs={**about, "broke": int(found.broke)})
    return netcdf(made, compressed=["positions"])


def read(path: Path, entry: dict[str, Any] | None = None) -> Trajectory:
    """Read a file of `generate`, its checksum first; see `read_all`."""
    known = entries_of(path.parent).get(path.name) if entry is None else entry
    with xarray.load_dataset(BytesIO(content_of(path, known)), engine="h5netcdf") as stored:
        require(stored.attrs.get("format") == FORMAT, "format", stored.attrs.get("format"), repr(FORMAT), str(path))
        pull = Pull(**json.loads(stored.attrs["pull"]))
        time, temperature, energy = (stored[name].values for name in COLUMNS)
        held, broke = int(stored.attrs["held"]), bool(stored.attrs["broke"])
        positions = _rigid(stored["positions"].values.astype(np.float64), held)
        return Trajectory(pull, positions, held, time, temperature, energy, stored["conductance"].values, broke)


def read_all(folder: str | Path) -> Iterator[Trajectory]:
    """Read every pull of a folder, in the order of names."""
    entries = entries_of(Path(folder))
    require(bool(entries), "folder", str(folder), "one that `mlnegf wires` has filled", "read_all")
    for name in sorted(entries):
        yield read(Path(folder) / name, entries[name])


def generate(
    pulls: Sequence[Pull],
    output: str | Path,
    command: str,
    workers: int | None = None,
    progress: bool = True,
    memory: float | None = None,
    scheduler: str | None = None,
) -> None:
    """Pull wires in parallel, a file each; files already there and whole are kept.

    Parameters
    ----------
    pulls : sequence of Pull
    output : path
        Folder of the files; made if it does not exist.
    command : str
        What to write into the manifest as their origin.
    workers, memory, scheduler
        Who works: `count`, `memory` and `scheduler` of `runs.workers.Workers`.
    progress : bool
        Whether to draw a progress bar on stderr.

    Raises
    ------
    ValueError
        If files that are there are of other pulls, or of other code.
    """
    who, named = Workers(workers, memory, scheduler), {f"{n:04d}{SUFFIX}": pull for n, pull in enumerate(pulls)}
    with Folder.opened(Path(output), SUFFIX, wait=True) as folder:
        for name in folder.entries.keys() & named.keys():
            found, mine = folder.entries[name].get("pull"), _about(named[name])
            require(found == mine, "pull", found, f"{mine}; choose another output", str(folder.path / name))
        wanted = {name: pull for name, pull in named.items() if name not in folder.entries}
        fill(
            folder,
            who,
            stored,
            wanted,
            lambda name: {"command": command, "pull": _about(named[name])},
            total=len(named),
            unit="pull",
            progress=progress,
        )


def stored(pull: Pull) -> tuple[bytes, dict[str, Any]]:
    """Pull one wire: return its file, and what it took."""
    started = time.perf_counter()
    content = table(trajectory(pull))
    return content, {"seconds": round(time.perf_counter() - started, 3), "host": platform.node()}


def _about(pull: Pull) -> dict[str, Any]:
    """Return what decides a pull, apart from the metal, which is potassium."""
    require(pull.potential == POTASSIUM, "potential", pull.potential.symbol, "POTASSIUM", "pulls")
    about = asdict(pull)
    del about["potential"]
    return about
