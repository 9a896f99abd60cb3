"""What the runs of a comparison add up to."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from mlnegf.warmstart.comparison import OUTCOMES, WORK, Run


def summarise(runs: Iterable[Run]) -> list[dict[str, Any]]:
    """Lay runs out as a table: one row for each split, scheme and guess.

    Medians and 95th percentiles are over all runs, those that are not right counted as infinitely costly.
    """
    groups: dict[tuple[str, str, str, float], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.split, run.scheme, run.guess, run.tolerance), []).append(run)
    rows = []
    for (split, scheme, guess, tolerance), members in groups.items():
        row: dict[str, Any] = {"split": split, "scheme": scheme, "guess": guess, "tolerance": tolerance}
        row["runs"] = len(members)
        for outcome in OUTCOMES:
            row[outcome] = sum(run.outcome == outcome for run in members)
        row["fallback"] = sum(run.fallback for run in members)
        for name in WORK:
            values = [getattr(run, name) if run.outcome == "right" else math.inf for run in members]
            row[name] = float(np.quantile(values, 0.5, method="higher"))
            row[f"{name}_95"] = float(np.quantile(values, 0.95, method="higher"))
        certified = [run for run in members if run.outcome not in ("failed", "no reference")]
        row["largest_true_error"] = max(
            (r.true_error for r in certified if r.outcome != "wrong branch"), default=math.nan
        )
        rows.append(row)
    return rows


def saving(runs: Sequence[Run], guess: str, against: str, scheme: str, seed: int = 0) -> tuple[float, float, float]:
    """Return the median of the part of NEGF solves that a guess saves per case, and its 90 % interval.

    No case is left out. A guess that does not lead to the right answer costs what it spent and the other start after
    it;
    one that it replaces costs what it spent, right or not. The interval resamples cases, hence says nothing about
    devices: give it runs of one split.

    Parameters
    ----------
    guess, against : str
        The guess judged, and the one it replaces; both by the same scheme.
    """
    costs: dict[tuple[object, ...], dict[str, Run]] = {}
    for run in runs:
        if run.scheme == scheme:
            costs.setdefault((run.split, run.device, run.gate, run.drain, run.tolerance), {})[run.guess] = run
    parts = []
    for cost in costs.values():
        if guess in cost and against in cost:
            mine, other = cost[guess], cost[against]
            spent = mine.charge_evaluations + (0 if mine.outcome == "right" else other.charge_evaluations)
            parts.append(1 - spent / other.charge_evaluations)
    if not parts:
        raise ValueError(f"saving: no case was tried by {scheme!r} both from {against!r} and from {guess!r}.")
    values = np.array(parts)
    rng = np.random.default_rng(seed)
    medians = np.median(rng.choice(values, (2000, len(values))), axis=1)
    low, high = np.quantile(medians, [0.05, 0.95])
    return float(np.median(values)), float(low), float(high)
