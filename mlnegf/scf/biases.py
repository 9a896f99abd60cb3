"""Biases of one device, each from its solved neighbours: which those are, and what is done where one fails."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mlnegf._common import Floats
from mlnegf.scf.equations import Equations
from mlnegf.scf.guesses import ExtrapolatedBias, PreviousBias, Solved
from mlnegf.scf.loop import Outcome
from mlnegf.scf.problem import Work
from mlnegf.scf.schemes import Scheme
from mlnegf.scf.solve import Solution, solve

Place = tuple[int, int]
"""Row and column of a bias: which gate, which drain voltage."""


def neighbours(row: int, column: int) -> list[tuple[int, int]]:
    """Return the (row, column) of the one or two biases that another starts from, the nearest last."""
    if row < 2 and column:
        return [(row, column - 2), (row, column - 1)][-min(2, column) :]
    return [(row - 2, column), (row - 1, column)][2 - min(2, row) :]


def follow(
    equations: Equations,
    bias: tuple[float, float],
    line: list[Solved],
    scheme: Scheme,
    max_solves: int,
    **tolerances: float,
) -> Solution:
    """Solve a bias from the line through solved ones, in `max_solves`."""
    return _reach(equations, bias, line, scheme, max_solves, tolerances, halvings=3)


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
            tolerance=equations.tolerance,
            work=Work(seconds=time.perf_counter() - started),
            history=(),
            warnings=(f"{type(error).__name__}: {error}",),
            marked=False,
            corrected=False,
            potential=nothing,
            charge=nothing,
            current=np.nan,
        )
