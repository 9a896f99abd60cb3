"""Many biases of one device, each started from its solved neighbours."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import partial
from os import PathLike
from typing import Any, Final

import numpy as np
import xarray

from mlnegf._common import __version__, as_array, require
from mlnegf.nanosheet.device import Device
from mlnegf.runs.workers import Workers
from mlnegf.scf.bias_grid import COLUMNS, Grid, kept, solved_grid
from mlnegf.scf.equations import Equations, voltage
from mlnegf.scf.guesses import GivenPotential, PreviousBias, as_guess, start_of
from mlnegf.scf.problem import Problem
from mlnegf.scf.schemes import Scheme, as_scheme
from mlnegf.scf.solve import limits_of

MOST: Final = 10_000
"""Gate voltages, and drain voltages, that a sweep may have."""
FOLLOWING: Final = ("extrapolated", "previous")
"""Guesses that need the biases solved before."""

_require = partial(require, caller="sweep")


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
    workers: int | None = 1,
    memory: float | None = None,
    scheduler: str | None = None,
    folder: str | PathLike[str] | None = None,
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
        "extrapolated" starts every bias from the line through solved neighbours: for every drain voltage the gate
        voltages follow each other, and the first two start from lower drain voltages, the very first semiclassically;
        "previous" from the nearest one as it is. Ascending from low bias, this follows the solution that is connected
        to equilibrium. When one fails, the step is halved, up to three times, within `max_solves`. Anything else
        starts every bias afresh, see `solve`.
    progress : bool
        Whether to draw a progress bar.
    max_solves : int
        NEGF solves allowed for each bias, with those inserted on the way to it.
    workers, memory, scheduler
        Who solves: `count`, `memory` and `scheduler` of `runs.workers.Workers`; this process alone unless said
        otherwise. Drain voltages go side by side as soon as their first two gate voltages are solved; the numbers are
        the same.
    folder : path, optional
        Where solved biases are kept meanwhile, for another run to go on from if this one is killed.
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
    _require(isinstance(progress, (bool, np.bool_)), "progress", progress, "True or False")
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
    first = None
    if isinstance(start, (GivenPotential, PreviousBias)):
        first = start_of(start, Problem.of(equations, gates[0], drains[0]))
    attributes = {
        "device": json.dumps(equations.device.to_dict()),
        "version": __version__,
        "filling": equations.filling,
        "modes": equations.modes,
        "guess": guess if isinstance(guess, str) else getattr(start, "name", "") or type(start).__name__,
        "scheme": scheme if isinstance(scheme, str) else repr(scheme),
        "tolerance": float(tolerance),
        "current_tolerance": float(current_tolerance),
        "max_solves": int(max_solves),
    }
    grid = Grid(equations, gates, drains, start, follows, options)
    given = "" if first is None else hashlib.sha256(first.potential.tobytes()).hexdigest()
    with kept(folder, {**attributes, "gates": gates, "drains": drains, "given": given}) as store:
        rows = solved_grid(grid, Workers(workers, memory, scheduler), store, progress)
    return tabulate(rows, gates, drains).assign_attrs(attributes)


def tabulate(rows: Sequence[Mapping[str, Any]], gates: Sequence[float], drains: Sequence[float]) -> xarray.Dataset:
    """Lay what `row_of` says of solutions, drain by drain, out as a labelled dataset."""
    data = {
        name: (("drain", "gate"), np.reshape([row[name] for row in rows], (len(drains), len(gates))))
        for name in COLUMNS
    }
    table = xarray.Dataset(data, coords={"gate": list(gates), "drain": list(drains)})
    units = {"current": "A", "error_estimate": "V", "gate": "V", "drain": "V", "seconds": "s"}
    for name, unit in units.items():
        table[name].attrs["units"] = unit
    return table.transpose("gate", "drain")


def _voltages(name: str, values: Sequence[float]) -> list[float]:
    array = as_array(values)
    good = array is not None and array.ndim == 1 and 0 < array.size <= MOST
    _require(good, name, values, f"a list of 1 to {MOST} finite voltages, one dimension")
    return [voltage(name, value, "sweep") for value in values]
