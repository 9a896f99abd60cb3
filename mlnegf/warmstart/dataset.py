"""Which devices and biases are learned from, the cases stored of them, and who may see which.

A profile names devices and biases. What it keeps for testing is written into the files themselves, so that a split is
true to the profile that made the data, whoever reads them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final

import numpy as np

from mlnegf._common import require
from mlnegf.nanosheet.device import Device
from mlnegf.warmstart.storage import Case, read_cases


@dataclass(frozen=True)
class Profile:
    """Devices and the biases each is swept over, V, away from equilibrium; `unseen` of them are kept for testing.

    Raises
    ------
    ValueError
        If a device is named twice.
    """

    devices: tuple[Device, ...]
    gates: tuple[float, ...]
    drains: tuple[float, ...]
    unseen: tuple[Device, ...]

    def __post_init__(self) -> None:
        twice = [device for device in dict.fromkeys(self.everyone) if self.everyone.count(device) > 1]
        require(not twice, "devices and unseen", twice, "each device in one of them, once", caller="Profile")

    @property
    def everyone(self) -> tuple[Device, ...]:
        """All devices, the unseen last."""
        return (*self.devices, *self.unseen)

    def columns(self) -> list[tuple[Device, float]]:
        """Return every device at every drain voltage: one file each."""
        return list(product(self.everyone, self.drains))

    def part(self, device: Device) -> str:
        """Say what a device is for: one of `storage.PARTS`."""
        return "unseen" if device in self.unseen else "known"


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

    Devices that their files call unseen are kept whole for the test on unseen devices.

    Parameters
    ----------
    found : sequence of Case
    validation, test : float
        Parts of the biases of every other device.
    seed : int
        Of the biases drawn.
    """
    unseen = {case.device for case in found if case.unseen}
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
