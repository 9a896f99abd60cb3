"""Many biases of one device, each started from its solved neighbours."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import xarray
from tqdm import tqdm

from mlnegf._common import Floats, __version__, require
from mlnegf.nanosheet.device import Device
from mlnegf.scf.equations import Equations, voltage
from mlnegf.scf.guesses import ExtrapolatedBias, GivenPotential, PreviousBias, Solved, as_guess, start_of
from mlnegf.scf.loop import Outcome
from mlnegf.scf.problem import Problem, Work
from mlnegf.scf.schemes import Scheme, as_scheme
from mlnegf.scf.solve import Solution, limits_of, solve

FOLLOWING = ("extrapolated", "previous")
"""Guesses that need the biases solved before."""

_require = partial(require, caller="sweep")


def continuation(
    device: Device | Equations,
    gates: Sequence[float],
    drains: Sequence[float],
    guess: str = "extrapolated",
    known: Sequence[Solved] = (),
    filling: str | None = None,
    modes: str | None = None,
    scheme: str | Scheme = "auto",
    max_solves: int = 100,
    **tolerances: float,
) -> Iterator[Solution]:
    """Solve a grid of biases, each from solved ones: for every drain voltage all gate voltages, in the order given.

    The first bias starts from the semiclassical guess and the first two gate voltages from lower drain voltages; any
    other from the last two gate voltages. When one fails, the step is halved, up to three times, within `max_solves`.
    Ascending from low bias, this follows the solution that is connected to equilibrium.

    Parameters
    ----------
    guess : str
        "extrapolated", or "previous" for the last solution as it is.
    known : sequence of Solved
        Biases of this grid that were solved before: started from, neither solved nor yielded again.
    filling, modes, scheme, max_solves, **tolerances
        As of `solve`.

    Yields
    ------
    Solution
        For each bias; `work` includes the biases inserted on the way. A bias that raises an error has the outcome
        "failed", and NaN for what was not found.
    """
    chosen = as_scheme(scheme)
    equations = Equations.of(device, filling, modes, tolerances.get("tolerance", 1e-3))
    before = {(solved.gate, solved.drain): solved for solved in known}
    solved: dict[tuple[int, int], Solved] = {}
    for column, drain in enumerate(drains):
        for row, gate in enumerate(gates):
            if (gate, drain) in before:
                if np.isfinite(before[gate, drain].potential).all():
                    solved[row, column] = before[gate, drain]
                continue
            line = [solved[key] for key in neighbours(row, column) if key in solved]
            line = line[-1:] if guess == "previous" else line
            solution = _reach(equations, (gate, drain), line, chosen, max_solves, tolerances, halvings=3)
            if solution.outcome is not Outcome.failed:
                solved[row, column] = solution
            yield solution


def neighbours(row: int, column: int) -> list[tuple[int, int]]:
    """Return the (row, column) of the one or two biases that another starts from, the nearest last."""
    if row < 2 and column:
        return [(row, column - 2), (row, column - 1)][-min(2, column) :]
    return [(row - 2, column), (row - 1, column)][2 - min(2, row) :]


def _reach(
    equations: Equations,
    bias: tuple[float, float],
    line: list[Solved],
    scheme: Scheme,
    most: int,
    tolerances: dict[str, float],
    halvings: int,
) -> Solution:
    """Solve a bias from the line through solved ones; if that fails, by way of the bias halfway, in `most` solves."""
    # As in `solve`, a scheme that may start again keeps half of the solves for that.
    direct = most if scheme.patience is None or not line or not halvings else (most + 1) // 2
    solution = solve_or_say_why(equations, *bias, guess=_from(line), scheme=scheme, max_solves=direct, **tolerances)
    left = most - solution.negf_solves
    if (
        solution.converged
        or solution.outcome in (Outcome.failed, Outcome.coarse)
        or not line
        or not halvings
        or left < 2
    ):
        return solution
    middle = (bias[0] + line[-1].gate) / 2, (bias[1] + line[-1].drain) / 2
    half = _reach(equations, middle, line, scheme, left // 2, tolerances, halvings - 1)
    left -= half.negf_solves
    final = solution
    if half.outcome is not Outcome.failed and left > 0:
        final = _reach(equations, bias, [line[-1], half], scheme, left, tolerances, halvings - 1)
        final.work.add(solution.work)
    final.work.add(half.work)
    return final


def _from(line: Sequence[Solved]) -> Any:
    """Start from the last two solved biases, or the last one if there are no two or both are the same."""
    if not line:
        return "semiclassical"
    first, last = line[0], line[-1]
    return PreviousBias(last) if (first.gate, first.drain) == (last.gate, last.drain) else ExtrapolatedBias(first, last)


def solve_or_say_why(
    equations: Equations, gate: float, drain: float, by: Callable[..., Solution] | None = None, /, **options: Any
) -> Solution:
    """Solve, `by` another way if given, or say in the solution why not: one bias may not cost the others."""
    started = time.perf_counter()
    try:
        return (by or solve)(equations, gate, drain, **options)
    except Exception as error:
        nothing: Floats = np.full(equations.device.grid.shape, np.nan)
        return Solution(
            device=equations.device,
            gate=gate,
            drain=drain,
            outcome=Outcome.failed,
            guess_used=False,
            error_estimate=np.nan,
            current_error=np.nan,
            filling=equations.filling,
            modes=equations.modes,
            work=Work(seconds=time.perf_counter() - started),
            history=(),
            warnings=(f"{type(error).__name__}: {error}",),
            marked=False,
            corrected=False,
            potential=nothing,
            charge=nothing,
            current=np.nan,
        )


def sweep(
    device: Device | Equations,
    gates: Sequence[float],
    drains: Sequence[float],
    guess: Any = "extrapolated",
    progress: bool = False,
    scheme: str | Scheme = "auto",
    tolerance: float = 1e-3,
    current_tolerance: float = 1e-2,
    filling: str | None = None,
    modes: str | None = None,
    max_solves: int = 100,
) -> xarray.Dataset:
    """Solve a device on a grid of biases.

    All arguments are checked before the first bias is solved. A bias that fails nevertheless leaves NaN, and its
    status says why.

    Parameters
    ----------
    device : Device or Equations
    gates, drains : sequence of float
        V, in the order in which they are to be solved; a voltage may come twice, as in a sweep up and down.
    guess : str, ndarray or Guess
        "extrapolated" or "previous" follow the grid by `continuation`; anything else starts every bias afresh, see
        `solve`.
    progress : bool
        Whether to draw a progress bar.
    max_solves : int
        NEGF solves allowed for each bias, with those inserted on the way to it.
    scheme, tolerance, current_tolerance, filling, modes
        As of `solve`.

    Returns
    -------
    xarray.Dataset
        Over gate and drain: current (A), converged, outcome, status, guess_used, warnings, error_estimate (V),
        current_error, and the counts of `Work`. Its attributes name the device (the JSON of `Device.to_dict`),
        the version, and what the biases were solved with.
    """
    gates, drains = _voltages("gates", gates), _voltages("drains", drains)
    limits_of(tolerance, current_tolerance, max_solves)
    options: dict[str, Any] = {
        "scheme": as_scheme(scheme),
        "tolerance": tolerance,
        "current_tolerance": current_tolerance,
        "max_solves": max_solves,
    }
    follows = isinstance(guess, str) and guess in FOLLOWING
    start = guess if follows else as_guess(guess, FOLLOWING)
    equations = Equations.of(device, filling, modes, tolerance)
    if isinstance(start, (GivenPotential, PreviousBias)):
        start_of(start, Problem.of(equations, gates[0], drains[0]))
    solutions = (
        continuation(equations, gates, drains, guess, **options)
        if follows
        else (solve_or_say_why(equations, gate, drain, guess=start, **options) for drain in drains for gate in gates)
    )
    bar = tqdm(solutions, total=len(drains) * len(gates), disable=not progress, unit="bias")
    table = tabulate(list(bar), gates, drains)
    return table.assign_attrs(
        device=json.dumps(equations.device.to_dict()),
        version=__version__,
        filling=equations.filling,
        modes=equations.modes,
        guess=guess if isinstance(guess, str) else getattr(start, "name", "") or type(start).__name__,
        scheme=scheme if isinstance(scheme, str) else repr(scheme),
        tolerance=float(tolerance),
        current_tolerance=float(current_tolerance),
        max_solves=int(max_solves),
    )


def tabulate(solutions: Sequence[Solution], gates: Sequence[float], drains: Sequence[float]) -> xarray.Dataset:
    """Lay solutions, drain by drain, out as a labelled dataset."""
    columns: dict[str, list[Any]] = {
        name: [getattr(s, name) for s in solutions]
        for name in ("current", "converged", "status", "guess_used", "error_estimate", "current_error")
    }
    columns["outcome"] = [solution.outcome.name for solution in solutions]
    columns |= {name: [getattr(s.work, name) for s in solutions] for name in vars(Work())}
    columns["warnings"] = ["; ".join(solution.warnings) for solution in solutions]
    data = {
        name: (("drain", "gate"), np.reshape(values, (len(drains), len(gates)))) for name, values in columns.items()
    }
    table = xarray.Dataset(data, coords={"gate": list(gates), "drain": list(drains)})
    units = {"current": "A", "error_estimate": "V", "gate": "V", "drain": "V", "seconds": "s"}
    for name, unit in units.items():
        table[name].attrs["units"] = unit
    return table.transpose("gate", "drain")


def _voltages(name: str, values: Sequence[float]) -> list[float]:
    shape = np.shape(np.asarray(values, dtype=object))
    _require(
        len(shape) == 1 and shape[0] > 0, name, f"array of shape {shape}", "a list of finite voltages, one dimension"
    )
    return [voltage(name, value, "sweep") for value in values]
