"""What became of one case with one guess and one scheme, and the file of many: read back as written, or refused."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, get_type_hints

from mlnegf._common import is_finite, require
from mlnegf._files import read_whole, write_whole
from mlnegf.runs.journal import checksum
from mlnegf.scf.problem import Work

SUBTHRESHOLD: Final = 1e-6
"""A current, A, below which it still depends exponentially on the gate: the hardest to get right to 1 %."""
OUTCOMES: Final = ("right", "failed", "wrong branch", "false certificate", "missed", "no reference")
WORK: Final = tuple(vars(Work()))


@dataclass(frozen=True)
class Trial:
    """What one guess and one scheme made of one case; errors in V and relative, `current` the reference's, A."""

    split: str
    device: str
    gate: float
    drain: float
    guess: str
    scheme: str
    tolerance: float
    outcome: str
    charge_evaluations: int
    linearised_applications: int
    chain_passes: int
    poisson_solves: int
    seconds: float
    estimated_error: float
    true_error: float
    estimated_current_error: float
    true_current_error: float
    fallback: bool
    current: float

    @property
    def subthreshold(self) -> bool:
        """Whether the reference's current is among the small ones."""
        return abs(self.current) < SUBTHRESHOLD

    @property
    def key(self) -> tuple[object, ...]:
        """What makes a trial this trial."""
        return self.split, self.device, self.gate, self.drain, self.guess, self.scheme, self.tolerance


def write(path: str | Path, trials: Iterable[Trial], origin: Mapping[str, Any]) -> None:
    """Write trials, where they come from and a checksum, whole or not at all."""
    table = json.loads(json.dumps({**origin, "runs": [asdict(trial) for trial in trials]}))
    write_whole(path, json.dumps({**table, "checksum": checksum(table)}, indent=0, ensure_ascii=False))


def read(path: str | Path) -> list[Trial]:
    """Read what `write` wrote."""
    return read_with_origin(path)[1]


def read_with_origin(path: str | Path) -> tuple[dict[str, Any], list[Trial]]:
    """Read what `write` wrote, and what stands beside the trials."""
    again = "copy it again, or delete it and run again"
    try:
        table = json.loads(read_whole(path))
        trials, found = table["runs"], table.pop("checksum", None)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{path}: not a file of `mlnegf benchmark` ({error}); {again}.") from error
    if found != checksum(table):
        raise ValueError(f"{path}: not a file of `mlnegf benchmark`, or changed: its checksum does not match; {again}.")
    return table, trials_of(path, trials)


def trials_of(path: str | Path, rows: Any) -> list[Trial]:
    """Make trials of rows: none twice, and every value of its kind."""
    try:
        trials = [Trial(**row) for row in rows]
    except TypeError as error:
        raise ValueError(f"{path}: not a file of `mlnegf benchmark` ({error}).") from error
    for number, trial in enumerate(trials):
        for name, value in vars(trial).items():
            good = isinstance(value, KINDS[name]) and isinstance(value, bool) == (KINDS[name] is bool)
            require(good, f"{name} of run {number}", value, f"of type {KINDS[name]}", str(path))
        require(trial.outcome in OUTCOMES, f"outcome of run {number}", trial.outcome, f"one of {OUTCOMES}", str(path))
        sound = is_finite(trial.gate) and is_finite(trial.drain) and all(getattr(trial, name) >= 0 for name in WORK)
        require(sound, f"run {number}", trial, "finite voltages, and work of zero or more", str(path))
    keys = {trial.key for trial in trials}
    require(len(keys) == len(trials), "runs", f"{len(trials)}", f"{len(keys)}, each once", str(path))
    return trials


_TYPES: Final = {"str": str, "bool": bool, "int": int, "float": (int, float)}
KINDS: Final[dict[str, Any]] = {name: _TYPES[kind.__name__] for name, kind in get_type_hints(Trial).items()}
"""Type of each value of a trial."""
