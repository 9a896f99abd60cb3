"""What the trials of a comparison add up to."""

import math
from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any, Final

import numpy as np

from mlnegf._common import items, require
from mlnegf.warmstart.trials import OUTCOMES, WORK, Trial

TITLES: Final = {
    "charge_evaluations": "NEGF solves",
    "linearised_applications": "products",
    "chain_passes": "passes",
    "poisson_solves": "Poisson solves",
    "seconds": "seconds",
}
"""Each kind of work as readers know it, by its name in `WORK`."""


def summarise(trials: Iterable[Trial]) -> list[dict[str, Any]]:
    """Lay trials out as a table: one row for each split, scheme and guess.

    Medians and 95th percentiles are over all trials, those that are not right counted as infinitely costly.
    """
    groups: dict[tuple[str, str, str, float], list[Trial]] = {}
    given = items(trials, Trial)
    require(given is not None, "trials", trials, "an iterable of Trial", "summarise")
    for trial in given or ():
        groups.setdefault((trial.split, trial.scheme, trial.guess, trial.tolerance), []).append(trial)
    rows = []
    for (split, scheme, guess, tolerance), members in groups.items():
        row: dict[str, Any] = {"split": split, "scheme": scheme, "guess": guess, "tolerance": tolerance}
        row["runs"] = len(members)
        for outcome in OUTCOMES:
            row[outcome] = sum(trial.outcome == outcome for trial in members)
        row["fallback"] = sum(trial.fallback for trial in members)
        for name in WORK:
            values = [getattr(trial, name) if trial.outcome == "right" else math.inf for trial in members]
            row[name] = float(np.quantile(values, 0.5, method="higher"))
            row[f"{name}_95"] = float(np.quantile(values, 0.95, method="higher"))
        certified = [trial for trial in members if trial.outcome not in ("failed", "no reference")]
        row["largest_true_error"] = max(
            (r.true_error for r in certified if r.outcome != "wrong branch"), default=math.nan
        )
        rows.append(row)
    return rows


def table(trials: Sequence[Trial], guesses: Sequence[str], schemes: Sequence[str]) -> list[dict[str, object]]:
    """Lay trials out for readers: a row for each scheme and guess that met every case.

    Counts of outcomes that occurred, and the median of each kind of work with its 95th percentile in brackets.
    """
    cases = {(trial.device, trial.gate, trial.drain) for trial in trials}
    rows = {(row["scheme"], row["guess"]): row for row in summarise(trials) if row["runs"] == len(cases)}
    met = [name for name in OUTCOMES[1:] if name != "no reference" and any(row[name] for row in rows.values())]
    result = []
    for scheme, guess in product(schemes, guesses):
        if row := rows.get((scheme, guess)):
            line: dict[str, object] = {"scheme": scheme, "guess": guess, "right": f"{row['right']} of {row['runs']}"}
            line |= {name: row[name] for name in met}
            for name, title in TITLES.items():
                digits = 1 if name == "seconds" else 0
                line[title] = f"{row[name]:.{digits}f} ({row[name + '_95']:.{digits}f})".replace("inf", "∞")
            result.append(line)
    return result


def saving(trials: Sequence[Trial], guess: str, against: str, scheme: str, seed: int = 0) -> tuple[float, float, float]:
    """Return the median of the part of NEGF solves that a guess saves per case, and its 90 % interval.

    No case is left out. A guess that does not lead to the right answer costs what it spent and the other start after
    it; one that it replaces costs what it spent, right or not. The interval resamples cases, hence says nothing about
    devices: give it trials of one split.

    Parameters
    ----------
    guess, against : str
        The guess judged, and the one it replaces; both by the same scheme.
    """
    costs: dict[tuple[object, ...], dict[str, Trial]] = {}
    for trial in trials:
        if trial.scheme == scheme:
            costs.setdefault((trial.split, trial.device, trial.gate, trial.drain, trial.tolerance), {})[trial.guess] = (
                trial
            )
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
