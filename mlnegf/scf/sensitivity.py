"""How a solution would change with its device and its bias: exact derivatives, without solving again."""

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mlnegf._common import Floats, is_positive, reals, require
from mlnegf.runs.threads import one_thread
from mlnegf.scf.inputs import INPUTS, Input
from mlnegf.scf.linearisation import OUTPUTS, Linearisation, Outputs
from mlnegf.scf.solve import Solution

if TYPE_CHECKING:
    import xarray

_require = partial(require, caller="sensitivity")


def sensitivity(
    solution: Solution, of: str = "current", to: str = "gate", energies: Any = None, tolerance: float = 1e-6
) -> "xarray.DataArray":
    """Differentiate one output of a self-consistent solution by one input.

    Both equations follow: what comes out is the derivative of what `solve` would return, not that at a fixed potential.
    It takes one NEGF solve at the solution's potential, to have its response, and linear solves: one for the current by
    anything, one for each number that a field of outputs is differentiated by, one for each energy of a transmission
    by a field.

    Parameters
    ----------
    solution : Solution
        Converged, of uncoupled modes. The derivative errs by about `error_estimate` over kT/e, relative: solve to a
        smaller tolerance for more digits.
    of : str
        "current" (A), "charge" (cm⁻³), "potential" (V), or "transmission" at given `energies` (one spin, all valleys).
    to : str
        "gate" or "drain" (V), "work_function" (eV), "temperature" (K), "mass_x", "mass_y" or "mass_z" of every valley
        of the device (m₀), "doping" (cm⁻³) or "permittivity" of every cell.
    energies : array, (Q,), optional
        eV, from the source's Fermi level; for "transmission". On a subband's edge in a lead it has no derivative.
    tolerance : float
        Relative residual of the linear solve.

    Returns
    -------
    DataArray
        Unit of the output over unit of the input, `units`. Dimensions are those of the output ("x", "y", "z" of a
        field, "energy") and then those of the input ("x", "y", "z" or "valley").

    Raises
    ------
    ValueError
        For what is not differentiable, or a field by a field: take `differentiable` and weights for that.
    """
    kind = _checked(solution, of, to, energies, tolerance)
    points = torch.from_numpy(reals(energies, 1) if of == "transmission" else np.zeros(0))
    with one_thread():
        linear = Linearisation.of(solution, points, float(tolerance))
        found = _by_outputs(linear, of, to) if _is_pulled(of, kind) else _by_inputs(linear, of, to, kind)
    return _labelled(solution, of, to, kind, points.numpy(), found)


def _checked(solution: Solution, of: str, to: str, energies: Any, tolerance: float) -> type[Input]:
    _require(isinstance(solution, Solution), "solution", solution, "a Solution, such as solve returns")
    _require(solution.converged, "solution", solution.status, "one that has converged: others have no derivative")
    _require(isinstance(of, str) and of in OUTPUTS, "of", of, f"one of {list(OUTPUTS)}")
    words = f"one of {sorted(INPUTS)}; by nothing else a solution is differentiated"
    _require(isinstance(to, str) and to in INPUTS, "to", to, words)
    words = "'uncoupled': the response of coupled modes is not exact, hence no derivative"
    _require(solution.modes == "uncoupled", "modes", solution.modes, words)
    kind = INPUTS[to]
    is_field = of in ("charge", "potential")
    words = "'current' or 'transmission' where the input is a field; for weighted sums of a field see `differentiable`"
    _require(not (is_field and kind.dimensions == ("x", "y", "z")), "of", of, words)
    given = energies is not None and reals(energies, 1) is not None
    words = "a list of finite numbers, eV" if of == "transmission" else f"None for {of!r}"
    _require(given if of == "transmission" else energies is None, "energies", energies, words)
    _require(is_positive(tolerance) and tolerance < 1, "tolerance", tolerance, "a positive number below 1")
    return kind


def _is_pulled(of: str, kind: type[Input]) -> bool:
    """Whether one output of many inputs is asked for, rather than many outputs of one input."""
    return of == "current" or kind.dimensions == ("x", "y", "z")


def _by_outputs(linear: Linearisation, of: str, to: str) -> Floats:
    nothing = vars(linear.nothing())
    if of == "current":
        return linear.pull(Outputs(**nothing | {"current": 1.0}), to)[to]
    each = np.eye(len(linear.energies))
    return np.stack([linear.pull(Outputs(**nothing | {of: one}), to)[to] for one in each])


def _by_inputs(linear: Linearisation, of: str, to: str, kind: type[Input]) -> Floats:
    if not kind.dimensions:
        return np.asarray(getattr(linear.push(to, np.ones(())), of))
    valleys = np.eye(len(linear.point.problem.device.valleys))
    return np.stack([getattr(linear.push(to, valley), of) for valley in valleys], -1)


def _labelled(
    solution: Solution, of: str, to: str, kind: type[Input], energies: Floats, values: Floats
) -> "xarray.DataArray":
    import xarray  # it takes a tenth of a second to load

    grid = solution.device.grid
    axes: dict[str, Any] = {"x": grid.x, "y": grid.y, "z": grid.z, "energy": energies}
    axes["valley"] = np.arange(len(solution.device.valleys))
    units = {"x": "nm", "y": "nm", "z": "nm", "energy": "eV"}
    own = {"current": (), "transmission": ("energy",)}.get(of, ("x", "y", "z"))
    dimensions = (*own, *kind.dimensions)
    unit = f"{OUTPUTS[of]}/({kind.unit})" if kind.unit != "1" else OUTPUTS[of]
    return xarray.DataArray(
        values,
        {name: (name, axes[name], {"units": units.get(name, "1")}) for name in dimensions},
        dimensions,
        name=f"d {of} / d {to}",
        attrs={"units": unit, "gate": solution.gate, "drain": solution.drain},
    )
