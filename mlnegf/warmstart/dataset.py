"""The cases stored of a design, and who may see which.

What a device is for is written into its file, so that a split is true to the design that made the data, whoever reads
them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor
from pathlib import Path
from typing import Final

import numpy as np

from mlnegf.nanosheet.device import Device
from mlnegf.runs.folder import entries_of, require_one_version
from mlnegf.warmstart.storage import SUFFIX, Case, read_cases

FEW: Final = 8
"""With fewer known devices than these, validation takes some biases of each: whole devices would be too many."""


def cases(directory: str | Path, mix_versions: bool = False) -> list[Case]:
    """List all stored biases, in a fixed order.

    Parameters
    ----------
    directory : path
        Folder of `generate`.
    mix_versions : bool
        Whether to read files of another version of the code too.

    Raises
    ------
    ValueError
        If the folder holds no data, or a file is damaged, unknown to the manifest, or of another version.
    """
    folder = Path(directory)
    paths = sorted(path for path in folder.glob(f"*{SUFFIX}") if not path.is_symlink())
    if not paths:
        raise ValueError(
            f"{directory}: no data files, expected some; run `mlnegf generate --output {directory}` first."
        )
    entries = entries_of(folder)
    if not mix_versions:
        require_one_version(folder, {path.name: entries[path.name] for path in paths if path.name in entries})
    return [case for path in paths for case in read_cases(path, entries.get(path.name))]


@dataclass(frozen=True)
class Splits:
    """Cases for training, for every choice, and for three tests.

    Attributes
    ----------
    training, validation : list of Case
        Those with an answer.
    unseen_bias : list of Case
        Other biases of the devices trained on.
    unseen_device, outside : list of Case
        All biases of other devices, inside and outside the ranges of those trained on.
    """

    training: list[Case]
    validation: list[Case]
    unseen_bias: list[Case]
    unseen_device: list[Case]
    outside: list[Case]


def split(found: Sequence[Case], validation: float = 0.12, test: float = 0.12, seed: int = 0) -> Splits:
    """Split by device first, then by bias, never by slice.

    Devices that their files call unseen or outside are kept whole. Of the known ones some are kept whole for
    validation, or some biases of each where there are fewer than `FEW`; every other gives some biases to a test, and
    keeps one at least.

    Parameters
    ----------
    found : sequence of Case
        In any order.
    validation, test : float
        Share of the known devices, and of the biases of those left; on average, where it is no whole number.
    seed : int
        Of what is drawn.
    """
    devices: dict[Device, list[Case]] = {}
    for case in sorted(found, key=lambda case: (case.path, case.index)):
        devices.setdefault(case.device, []).append(case)
    parts = Splits([], [], [], [], [])
    known: list[list[Case]] = []
    for own in devices.values():
        said = {case.part for case in own}
        place = parts.outside if "outside" in said else parts.unseen_device if "unseen" in said else None
        if place is None:
            known.append(own)
        else:
            place += own
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(known))
    whole, by_bias = (round(validation * len(known)), 0.0) if len(known) >= FEW else (0, validation)
    for rank, index in enumerate(order):
        own = known[index]
        if rank < whole:
            parts.validation.extend(own)
            continue
        shuffled = [own[place] for place in rng.permutation(len(own))]
        for share, kept in ((test, parts.unseen_bias), (by_bias, parts.validation)):
            count = min(floor(share * len(own) + rng.random()), len(shuffled) - 1)
            kept += shuffled[:count]
            del shuffled[:count]
        parts.training.extend(shuffled)
    # What did not converge is no lesson; in a test it stays, and counts.
    keep = [case for case in parts.training if case.converged], [case for case in parts.validation if case.converged]
    return Splits(*keep, parts.unseen_bias, parts.unseen_device, parts.outside)
