"""Many biases of one device, each started from its solved neighbours."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import xarray
from tqdm import tqdm

from mlnegf._common import require
from mlnegf.nanosheet.device import Device
from mlnegf.scf.guesses import ExtrapolatedBias, Guess, PreviousBias, Solved, as_guess
from mlnegf.scf.problem import Work
from mlnegf.scf.solve import Solution, solve


def continuation(
    device: Device,
    gates: Sequence[float],
    drains: Sequence[float],
    guess: str = "extrapolated",
    known: Sequence[Solved] = (),
    **options: Any,
) -> Iterator[Solution]:
    """Solve a grid of biases, each from solved ones: for every drain voltage all gate voltages, in the order given.

    The first bias starts from the semiclassical guess and the first two gate voltages from lower drain voltages; any
    other from the last two gate voltages. When one fails, the step is halved, up to three times. Ascending from low
    bias, this follows the solution that is connected to equilibrium.

    Parameters
    ----------
    guess : str
        "extrapolated", or "previous" for the last solution as it is.
    known : sequence of Solved
        Biases of this grid that were solved before: started from, neither solved nor yielded again.
    **options
        For `solve`.

    Yields
    ------
    Solution
        For each bias; `work` includes the biases inserted on the way.
    """
    before = {(solved.gate, solved.drain): solved for solved in known}
    solved: dict[tuple[int, int], Solved] = {}
    for column, drain in enumerate(drains):
        for row, gate in enumerate(gates):
            if (gate, drain) in before:
                solved[row, column] = before[gate, drain]
                continue
            line = [solved[key] for key in neighbours(row, column) if key in solved]
            solution = _reach(device, gate, drain, line[-1:] if guess == "previous" else line, options, halvings=3)
            solved[row, column] = solution
            yield solution


def neighbours(row: int, column: int) -> list[tuple[int, int]]:
    """Return the (row, column) of the one or two biases that another starts from, the nearest last."""
    if row < 2 and column:
        return [(row, column - 2), (row, column - 1)][-min(2, column) :]
    return [(row - 2, column), (row - 1, column)][2 - min(2, row) :]


def _reach(
    device: Device, gate: float, drain: float, line: list[Solved], options: dict[str, Any], halvings: int
) -> Solution:
    guess: str | Guess = "semiclassical"
    if line:
        guess = ExtrapolatedBias(*line) if len(line) == 2 else PreviousBias(line[0])
    solution = solve(device, gate, drain, guess=guess, **options)
    if solution.converged or halvings == 0 or not line:
        return solution
    middle = (gate + line[-1].gate) / 2, (drain + line[-1].drain) / 2
    half = _reach(device, *middle, line, options, halvings - 1)
    final = _reach(device, gate, drain, [line[-1], half], options, halvings - 1)
    for name, value in vars(final.work).items():
        setattr(final.work, name, value + getattr(solution.work, name) + getattr(half.work, name))
    return final


def sweep(
    device: Device,
    gates: Sequence[float],
    drains: Sequence[float],
    guess: Any = "extrapolated",
    progress: bool = False,
    **options: Any,
) -> xarray.Dataset:
    """Solve a device on a grid of biases.

    Parameters
    ----------
    gates, drains : sequence of float
        V.
    guess : str, ndarray or Guess
        "extrapolated" or "previous" follow the grid by `continuation`; anything else starts every bias afresh, see
        `solve`.
    progress : bool
        Whether to draw a progress bar.
    **options
        For `solve`.

    Returns
    -------
    xarray.Dataset
        Over gate and drain: current (A), converged, status, warnings, error_estimate (V), current_error, and the four
        counts of `Work`.
    """
    biases = [_voltages("gates", gates), _voltages("drains", drains)]
    solutions: Iterator[Solution]
    if isinstance(guess, str) and guess in ("extrapolated", "previous"):
        solutions = continuation(device, biases[0], biases[1], guess, **options)
    else:
        start = as_guess(guess)
        solutions = (solve(device, gate, drain, start, **options) for drain in biases[1] for gate in biases[0])
    shape = len(biases[1]), len(biases[0])
    bar = tqdm(solutions, total=shape[0] * shape[1], disable=not progress, unit="bias")
    return tabulate(list(bar), *biases)


def tabulate(solutions: Sequence[Solution], gates: Sequence[float], drains: Sequence[float]) -> xarray.Dataset:
    """Lay solutions, drain by drain, out as a labelled dataset."""
    columns: dict[str, list[Any]] = {
        name: [getattr(s, name) for s in solutions]
        for name in ("current", "converged", "status", "error_estimate", "current_error")
    }
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
    array = np.asarray(values, dtype=np.float64)
    require(
        array.ndim == 1 and array.size > 0 and bool(np.isfinite(array).all()),
        name,
        f"array of shape {array.shape}",
        "a list of finite voltages, one dimension",
        caller="sweep",
    )
    return [float(value) for value in array]
