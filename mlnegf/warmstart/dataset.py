"""Sweeps of devices and biases into labelled files, and the cases read back from them.

One unit of work is the sweep of one device; workers share nothing but the folder. One file holds one device at one
drain voltage and every gate voltage, and is written whole or not at all, so that a killed run loses the column in
flight and a second run goes on behind it. The labels follow the solution from equilibrium by `continuation`; beside
them stands the first iteration: the semiclassical start, and the charge that one NEGF solve makes of it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray

from mlnegf._common import Bools, Floats, __version__
from mlnegf.nanosheet.device import Device

FORMAT: Final = "mlnegf sweep 1"
FILLING: Final = "threshold"
"""How the first iteration fills bound states; see `bound_states.FILLINGS`."""
START: Final = f"semiclassical; bound states filled by {FILLING}"
"""What made the first iteration; travels with data and weights."""


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
class FirstIteration:
    """One device at one bias after its first NEGF solve, on the bounding box of its silicon: what a network reads.

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
    """

    device: Device
    gate: float
    drain: float
    x: Floats
    mask: Bools
    first_potential: Floats
    first_charge: Floats


@dataclass(frozen=True, eq=False)
class Sample(FirstIteration):
    """A first iteration with its answer: what a network learns from.

    Attributes
    ----------
    potential, charge : ndarray, (nx, ny, nz)
        Converged: V and nm⁻³.
    """

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
        with open_file(self.path) as file:
            return file.sel(gate=self.gate).load()


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
    return [case for path in paths for case in read_cases(path)]


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
