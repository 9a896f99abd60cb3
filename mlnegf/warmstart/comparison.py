"""Guesses against schemes on held-out cases: every NEGF solve, second, failure and wrong branch counted.

A run is one (case, guess, scheme). It is *right* when the solver certified it, without knowing the reference, and the
potential then lies within the tolerance of the reference that continuation reached and the current within 1 % of the
reference's. Certified but far from the reference is a *wrong branch* if solving on from there stays there, and a *false
certificate* if it does not; certified but between the two is *missed*, and anything not certified has *failed*.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from tqdm import tqdm

from mlnegf._common import __version__, require, write_whole
from mlnegf.learning.weights import Location
from mlnegf.scf.equations import Equations
from mlnegf.scf.guesses import ExtrapolatedBias, Flat, Guess, PreviousBias, Semiclassical
from mlnegf.scf.problem import Problem
from mlnegf.scf.schemes import SCHEMES
from mlnegf.scf.solve import solve
from mlnegf.scf.sweep import neighbours
from mlnegf.warmstart.dataset import FILLING, Case, Splits
from mlnegf.warmstart.learned import LearnedGuess

ELSEWHERE: Final = 1e-2
"""A certified solution farther than this from the reference, V, has found another fixed point."""
SUBTHRESHOLD: Final = 1e-6
"""A current, A, below which it still depends exponentially on the gate: the hardest to get right to 1 %."""
OUTCOMES: Final = ("right", "failed", "wrong branch", "false certificate", "missed", "no reference")
WORK: Final = ("charge_evaluations", "linearised_applications", "poisson_solves", "seconds")
Solved = Mapping[tuple[float, float], Case]


@dataclass(frozen=True)
class Run:
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
        """What makes a run this run."""
        return self.split, self.device, self.gate, self.drain, self.guess, self.scheme, self.tolerance


def named_guesses(weights: Location | None) -> dict[str, Callable[[Case, Solved], Guess]]:
    """Return every guess of the comparison by name, as a function of a case and the same device's solved biases."""

    def line(case: Case, solved: Solved) -> list[Case]:
        gates, drains = (sorted({key[place] for key in solved}) for place in range(2))
        keys = neighbours(gates.index(case.gate), drains.index(case.drain))
        return [solved[gates[row], drains[column]] for row, column in keys]

    def previous(case: Case, solved: Solved) -> Guess:
        known = line(case, solved)
        return PreviousBias(known[-1].solved()) if known else Semiclassical()

    def extrapolated(case: Case, solved: Solved) -> Guess:
        known = line(case, solved)
        if len(known) < 2:
            return previous(case, solved)
        return ExtrapolatedBias(known[0].solved(), known[1].solved())

    return {
        "flat": lambda case, solved: Flat(),
        "semiclassical": lambda case, solved: Semiclassical(),
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
    **origin: str,
) -> list[Run]:
    """Run guesses × schemes over the test cases; runs already in the output are kept.

    Parameters
    ----------
    splits : Splits
    output : path
        JSON file of the runs, rewritten whole after every case.
    guesses, schemes : sequence of str
        Names in `named_guesses` and `schemes.SCHEMES`.
    parts : sequence of str
        The parts of `splits` to judge on.
    weights : path, optional
        Of the learned guess; the shipped ones unless given.
    tolerance : float
        V.
    workers : int, optional
        Processes with one thread each; as many as there are cores unless given.
    progress : bool
        Whether to draw a progress bar on stderr.
    **origin
        Written into the file beside the runs.
    """
    known = {"guesses": list(named_guesses(weights)), "schemes": sorted(SCHEMES), "parts": list(vars(splits))}
    for name, values in (("guesses", guesses), ("schemes", schemes), ("parts", parts)):
        for value in values:
            require(value in known[name], name, value, f"one of {known[name]}", caller="compare")
    every = [case for part in vars(splits).values() for case in part]
    identity: dict[str, Any] = {
        "version": __version__,
        "weights": _weights(weights).fingerprint if "learned" in guesses else "",
        "devices": {label(case): case.device.to_dict() for case in every},
    }
    runs = _resume(output, identity, origin)
    done = {run.key for run in runs}
    jobs = []
    for part in parts:
        for case in getattr(splits, part):
            solved = {(c.gate, c.drain): c for c in every if c.device == case.device}
            wanted = [
                (guess, scheme)
                for guess in guesses
                for scheme in schemes
                if (part, label(case), case.gate, case.drain, guess, scheme, tolerance) not in done
            ]
            if wanted:
                jobs.append((part, case, solved, wanted, weights, tolerance))
    # Shuffled, so that a run that is cut short has seen all kinds of cases.
    order = np.random.default_rng(0).permutation(len(jobs))
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        futures = [pool.submit(judge, *jobs[index]) for index in order]
        for future in tqdm(as_completed(futures), total=len(jobs), unit="case", desc="comparing", disable=not progress):
            runs += future.result()
            write(output, runs, {**identity, **origin})
    return runs


def judge(
    part: str,
    case: Case,
    solved: Solved,
    wanted: Sequence[tuple[str, str]],
    weights: Location | None,
    tolerance: float,
) -> list[Run]:
    """Solve one case from several guesses by several schemes, one after the other in this process."""
    reference = case.solved()
    known = named_guesses(weights)
    # What a device needs once, its operators and multigrid, is charged to none of them.
    equations = Equations.of(case.device, FILLING)
    Problem.of(equations, case.gate, case.drain).semiclassical()
    runs = []
    for guess, scheme in wanted:
        start = known[guess](case, solved)
        solution = solve(equations, case.gate, case.drain, guess=start, scheme=scheme, tolerance=tolerance)
        true_error = float(abs(solution.potential - reference.potential).max())
        true_current_error = abs(solution.current - reference.current) / max(abs(reference.current), 1e-30)
        if not solution.converged:
            outcome = "failed"
        elif true_error <= tolerance and true_current_error <= 0.01:
            outcome = "right"
        elif true_error <= ELSEWHERE:
            outcome = "missed"
        else:
            on = solve(equations, case.gate, case.drain, solution.potential, "newton", tolerance / 100)
            stays = on.converged and abs(on.potential - solution.potential).max() <= tolerance
            outcome = "wrong branch" if stays else "false certificate"
        runs.append(
            Run(
                part,
                label(case),
                case.gate,
                case.drain,
                guess,
                scheme,
                tolerance,
                outcome if case.converged else "no reference",
                **{name: getattr(solution.work, name) for name in WORK},
                estimated_error=solution.error_estimate,
                true_error=true_error,
                estimated_current_error=solution.current_error,
                true_current_error=true_current_error,
                fallback=not solution.guess_used,
                current=reference.current,
            )
        )
    return runs


def label(case: Case) -> str:
    """Name a device as people do: thickness × width, gate length, nm."""
    device = case.device
    return f"{device.thickness:g}×{device.width:g} nm, {device.gate_length:g} nm gate"


def _weights(path: Location | None) -> LearnedGuess:
    return LearnedGuess.pretrained() if path is None else LearnedGuess.load(path)


def _resume(path: str | Path, identity: dict[str, Any], origin: dict[str, str]) -> list[Run]:
    """Return the runs that are there, if they are of the same version, devices and weights; keep their command."""
    if not Path(path).exists():
        return []
    runs, before = read(path), json.loads(Path(path).read_text())
    identity["weights"] = identity["weights"] or before.get("weights", "")
    origin["command"] = "; ".join(dict.fromkeys(filter(None, (before.get("command"), origin.get("command")))))
    # Through JSON, as what it is compared with.
    for name, mine in json.loads(json.dumps(identity)).items():
        if before.get(name) != mine and not (name == "weights" and not before.get(name)):
            raise ValueError(f"{path}: holds runs with other {name}; name another output, or delete this one.")
    return runs


def write(path: str | Path, runs: Iterable[Run], origin: Mapping[str, Any]) -> None:
    """Write runs and where they come from, whole or not at all."""
    table = {**origin, "runs": [asdict(run) for run in runs]}
    text = json.dumps(table, indent=0, ensure_ascii=False)
    write_whole(path, lambda file: file.write_text(text))


def read(path: str | Path) -> list[Run]:
    """Read what `write` wrote."""
    try:
        return [Run(**run) for run in json.loads(Path(path).read_text())["runs"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not a file of `mlnegf benchmark` ({error}); delete it and run again.") from error
