"""Guesses against schemes on held-out cases: every NEGF solve, second, failure and wrong branch counted.

A trial is one (case, guess, scheme). It is *right* when the solver certified it, without knowing the reference, and the
potential then lies within the tolerance of the reference that continuation reached and the current within 1 % of the
reference's. Certified but far from the reference is a *wrong branch* if solving on from there stays there, and a *false
certificate* if it does not; certified but between the two is *missed*, and anything not certified has *failed*.
"""

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import chain, product
from pathlib import Path
from typing import Any, Final

import numpy as np
from tqdm import tqdm

from mlnegf._common import __version__, require
from mlnegf._files import remove_leftovers
from mlnegf.learning.weights import Location, kind_of
from mlnegf.nanosheet.device import Device
from mlnegf.runs.journal import Journal, checksum
from mlnegf.runs.lock import held
from mlnegf.runs.workers import Workers
from mlnegf.scf.biases import neighbours
from mlnegf.scf.equations import Equations
from mlnegf.scf.guesses import GUESSES, ExtrapolatedBias, Guess, PreviousBias, Semiclassical
from mlnegf.scf.problem import Problem
from mlnegf.scf.schemes import SCHEMES
from mlnegf.scf.solve import Solution, solve
from mlnegf.warmstart.dataset import Splits
from mlnegf.warmstart.learned import KIND, LearnedGuess
from mlnegf.warmstart.slice_guess import SliceGuess
from mlnegf.warmstart.storage import Case, StoredSolution
from mlnegf.warmstart.trials import WORK, Trial, read_with_origin, trials_of, write

ELSEWHERE: Final = 1e-2
"""A certified solution farther than this from the reference, V, has found another fixed point."""
Biases = Mapping[tuple[float, float], Case]
"""Cases of one device by gate and drain voltage."""


def named_guesses(weights: Location | None) -> dict[str, Callable[[Case, Biases], Guess]]:
    """Return every guess of the comparison by name, as a function of a case and the same device's solved biases."""

    def line(case: Case, solved: Biases) -> list[Case]:
        # Away from equilibrium, as the references were made: upwards in the n-type picture.
        gates, drains = (
            sorted({key[place] for key in solved}, key=case.device.polarity_sign.__mul__) for place in range(2)
        )
        if len(solved) == len(gates) * len(drains):
            keys = neighbours(gates.index(case.gate), drains.index(case.drain))
            return [solved[gates[row], drains[column]] for row, column in keys]
        # Scattered biases: the nearest one.
        others = [other for other in solved.values() if (other.gate, other.drain) != (case.gate, case.drain)]
        return sorted(others, key=lambda other: math.hypot(other.gate - case.gate, other.drain - case.drain))[:1]

    def previous(case: Case, solved: Biases) -> Guess:
        known = line(case, solved)
        return PreviousBias(known[-1].solved()) if known else Semiclassical()

    def extrapolated(case: Case, solved: Biases) -> Guess:
        known = line(case, solved)
        if len(known) < 2:
            return previous(case, solved)
        return ExtrapolatedBias(known[0].solved(), known[1].solved())

    def at_once(kind: type[Guess]) -> Callable[[Case, Biases], Guess]:
        return lambda case, solved: kind.default()

    return {
        **{name: at_once(kind) for name, kind in GUESSES.items()},
        "previous": previous,
        "extrapolated": extrapolated,
        "learned": lambda case, solved: _weights(weights),
    }


def compare(
    splits: Splits,
    output: str | Path,
    guesses: Sequence[str],
    schemes: Sequence[str],
    parts: Sequence[str] = ("unseen_bias", "unseen_device"),
    weights: Location | None = None,
    tolerance: float = 1e-3,
    workers: int | None = None,
    progress: bool = True,
    memory: float | None = None,
    scheduler: str | None = None,
    **origin: str,
) -> list[Trial]:
    """Try guesses × schemes on the test cases; trials already in the output are kept.

    Parameters
    ----------
    splits : Splits
    output : path
        JSON file of the trials, written when the run ends, also by an interrupt. Until then they are in a journal
        beside it, which the next run reads if this one is killed.
    guesses, schemes : sequence of str
        Names in `named_guesses` and `schemes.SCHEMES`.
    parts : sequence of str
        The parts of `splits` to judge on.
    weights : path, optional
        Of the learned guess; the shipped ones unless given.
    tolerance : float
        V.
    workers, memory, scheduler
        Who solves: `count`, `memory` and `scheduler` of `runs.workers.Workers`.
    progress : bool
        Whether to draw a progress bar on stderr.
    **origin
        Written into the file beside the trials.
    """
    known = {"guesses": list(named_guesses(weights)), "schemes": sorted(SCHEMES), "parts": list(vars(splits))}
    for name, values in (("guesses", guesses), ("schemes", schemes), ("parts", parts)):
        for value in values:
            require(value in known[name], name, value, f"one of {known[name]}", caller="compare")
    identity: dict[str, Any] = {
        "version": __version__,
        "weights": _weights(weights).fingerprint if "learned" in guesses else "",
        "devices": {name: device.to_dict() for name, device in _labelled(splits, parts).items()},
    }
    path, who = Path(output), Workers(workers, memory, scheduler)
    with held(path):
        remove_leftovers(path.parent, path.name)
        journal = Journal(path.with_name(f"{path.name}.rows"))
        trials = _resume(path, journal, identity, origin)
        jobs = _jobs(splits, parts, guesses, schemes, tolerance, {trial.key for trial in trials})
        try:
            with (
                who.opened(len(jobs)) as tasks,
                tqdm(total=len(jobs), unit="case", desc="comparing", disable=not progress) as bar,
            ):
                if progress:
                    bar.write(f"solving in {tasks.words}", file=sys.stderr)
                for number, job in enumerate(jobs):
                    tasks.give(number, judge, *job, weights, tolerance)
                for _, found in tasks.results():
                    journal.append({**_about(identity), "runs": [asdict(trial) for trial in found]})
                    trials += found
                    bar.update()
        finally:
            if journal.path.exists():
                write(path, trials, {**identity, **origin})
                journal.path.unlink()
    return trials


Job = tuple[str, Case, Biases, list[tuple[str, str]]]


def _jobs(
    splits: Splits,
    parts: Sequence[str],
    guesses: Sequence[str],
    schemes: Sequence[str],
    tolerance: float,
    done: set[tuple[object, ...]],
) -> list[Job]:
    """Return what is left to try, shuffled, so that a run that is cut short has seen all kinds of cases."""
    jobs: list[Job] = []
    for part in parts:
        for case, solved in _with_neighbours(splits, part):
            place = part, label(case), case.gate, case.drain
            pairs = [pair for pair in product(guesses, schemes) if (*place, *pair, tolerance) not in done]
            if pairs:
                jobs.append((part, case, solved, pairs))
    return [jobs[index] for index in np.random.default_rng(0).permutation(len(jobs))]


def _labelled(splits: Splits, parts: Sequence[str]) -> dict[str, Device]:
    """Return the devices by label; two under one label would be taken for one."""
    devices: dict[str, Device] = {}
    for case in chain(*(getattr(splits, part) for part in parts)):
        other = devices.setdefault(label(case), case.device)
        require(other == case.device, "splits", case.device, f"no second device like {label(case)}", caller="compare")
    return devices


def _with_neighbours(splits: Splits, part: str) -> Iterator[tuple[Case, Biases]]:
    """Yield the cases of a part, each with all that is known of its device."""
    known: dict[Device, dict[tuple[float, float], Case]] = {}
    for case in chain(*vars(splits).values()):
        known.setdefault(case.device, {})[case.gate, case.drain] = case
    for case in getattr(splits, part):
        yield case, known[case.device]


def judge(
    part: str,
    case: Case,
    solved: Biases,
    pairs: Sequence[tuple[str, str]],
    weights: Location | None,
    tolerance: float,
) -> list[Trial]:
    """Solve one case from several guesses by several schemes, one after the other in this process."""
    reference, known = case.solved(), named_guesses(weights)
    # What a device needs once, its operators and multigrid, is charged to none of them.
    equations = Equations.of(case.device, tolerance=tolerance)
    Problem.of(equations, case.gate, case.drain).semiclassical()
    trials = []
    for guess, scheme in pairs:
        start = known[guess](case, solved)
        solution = solve(equations, case.gate, case.drain, guess=start, scheme=scheme, tolerance=tolerance)
        errors = true_errors(solution, reference)
        trials.append(
            Trial(
                part,
                label(case),
                case.gate,
                case.drain,
                guess,
                scheme,
                tolerance,
                _outcome(solution, *errors, tolerance) if case.converged else "no reference",
                **{name: getattr(solution.work, name) for name in WORK},
                estimated_error=solution.error_estimate,
                true_error=errors[0],
                estimated_current_error=solution.current_error,
                true_current_error=errors[1],
                fallback=not solution.guess_used,
                current=reference.current,
            )
        )
    return trials


def true_errors(solution: Solution, reference: StoredSolution) -> tuple[float, float]:
    """Return the largest error of the potential, V, and the relative one of the current."""
    potential = float(abs(solution.potential - reference.potential).max())
    return potential, abs(solution.current - reference.current) / max(abs(reference.current), 1e-30)


def _outcome(solution: Solution, error: float, current_error: float, tolerance: float) -> str:
    """Judge a solution by its true errors: one of `OUTCOMES`."""
    if not solution.converged:
        return "failed"
    if error <= tolerance and current_error <= 0.01:
        return "right"
    if error <= ELSEWHERE:
        return "missed"
    # With equations of its own: those of the comparison are as fine as its tolerance asks for, and no finer.
    on = solve(solution.device, solution.gate, solution.drain, solution.potential, "newton", tolerance / 100)
    stays = on.converged and abs(on.potential - solution.potential).max() <= tolerance
    return "wrong branch" if stays else "false certificate"


def label(case: Case) -> str:
    """Name a device as people do: thickness × width, gate length, nm."""
    device = case.device
    return f"{device.thickness:g}×{device.width:g} nm, {device.gate_length:g} nm gate"


def _weights(path: Location | None) -> LearnedGuess | SliceGuess:
    """Load weights of either kind; the shipped ones if no file is named."""
    if path is None:
        return LearnedGuess.pretrained()
    return LearnedGuess.load(path) if kind_of(path).startswith(KIND) else SliceGuess.load(path)


def _about(identity: Mapping[str, Any]) -> dict[str, Any]:
    """Say in a row of the journal to which comparison it belongs."""
    return {**identity, "devices": checksum(identity["devices"])}


def _resume(path: Path, journal: Journal, identity: dict[str, Any], origin: dict[str, str]) -> list[Trial]:
    """Return the trials that are there, if they are of the same version, devices and weights; keep their command."""
    trials: list[Trial] = []
    if path.exists():
        before, trials = read_with_origin(path)
        identity["weights"] = identity["weights"] or before.get("weights", "")
        origin["command"] = "; ".join(dict.fromkeys(filter(None, (before.get("command"), origin.get("command")))))
        # Through JSON, as what it is compared with.
        _require_same(path, before, json.loads(json.dumps(identity)))
    for row in journal.begin():
        _require_same(journal.path, row, _about(identity))
        trials += trials_of(journal.path, row["runs"])
    return trials


def _require_same(path: Path, before: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    for name, mine in identity.items():
        if before.get(name) != mine and not (name == "weights" and not before.get(name)):
            raise ValueError(f"{path}: holds runs with other {name}; name another output, or delete this one.")
