"""A self-consistent solution as one differentiable operation of PyTorch, to be built into larger ones."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from mlnegf._common import is_dense, is_finite, plain, reals, require
from mlnegf.nanosheet.device import Device
from mlnegf.runs.threads import one_thread
from mlnegf.scf.inputs import INPUTS, Case
from mlnegf.scf.linearisation import OUTPUTS, Linearisation, Outputs
from mlnegf.scf.solve import Solution, solve
from mlnegf.transport.checks import only_first_derivatives

Tensor = torch.Tensor

_require = partial(require, caller="differentiable")


class NoSolutionError(RuntimeError):
    """There is no solution to differentiate: the outer loop did not converge."""


@dataclass(frozen=True, eq=False)
class TrackedSolution:
    """Outputs of a solution as tensors that know how they came about.

    Attributes
    ----------
    current : Tensor, ()
        A.
    charge, potential : Tensor, (nx, ny, nz)
        cm⁻³, V.
    transmission : Tensor, (Q,)
        One spin, all valleys.
    solution : Solution
        The same without gradients, and how it was found.
    """

    current: Tensor
    charge: Tensor
    potential: Tensor
    transmission: Tensor
    solution: Solution


def differentiable(
    device: Device,
    gate: Any,
    drain: Any,
    *,
    energies: Any = None,
    guess: Any = "semiclassical",
    tolerance: float = 1e-5,
    **inputs: Tensor,
) -> TrackedSolution:
    """Solve a device at one bias so that PyTorch can differentiate the solution.

    Forwards it is `solve`, whose iterations leave no trace, and one NEGF solve at the potential found; backwards one
    adjoint linear solve, for any number of inputs and any function of the outputs. Second derivatives are refused.

    Parameters
    ----------
    device : Device
        What no input replaces is taken from it.
    gate, drain : float or Tensor
        V.
    energies : array, (Q,), optional
        At which the transmission is asked for, eV from the source's Fermi level; not differentiated by.
    guess, tolerance
        As of `solve`; the gradients err by about the potential's error over kT/e.
    **inputs : Tensor
        By name, in the units of `sensitivity`: "doping" and "permittivity" of every cell (nx, ny, nz),
        "work_function", "temperature", and "mass_x", "mass_y", "mass_z" of every valley, for devices cut along the
        cubic axes.

    Raises
    ------
    NoSolutionError
        When the outer loop does not converge.
    ValueError
        For an argument out of range, naming it.
    """
    _require(isinstance(device, Device), "device", device, "an mlnegf.Device")
    unknown = sorted(inputs.keys() - INPUTS.keys())
    _require(not unknown, ", ".join(unknown), [inputs[name] for name in unknown], f"inputs of {sorted(INPUTS)}")
    points = np.zeros(0) if energies is None else reals(energies, 1)
    _require(points is not None, "energies", energies, "a list of finite numbers, eV, or None")
    case = Case(device, 0.0, 0.0)
    values = []
    for name, given in {"gate": gate, "drain": drain, **inputs}.items():
        shape = INPUTS[name].value(case).shape
        is_number = is_finite(given) and not isinstance(given, torch.Tensor)
        value = torch.tensor(float(plain(given)), dtype=torch.float64) if is_number else given
        good = is_dense(value) and value.shape == shape and value.is_floating_point()
        _require(good and bool(value.isfinite().all()), name, given, f"a tensor of finite numbers, shape {shape}")
        values.append(value.to(torch.float64))
    names = ("gate", "drain", *inputs)
    for name, value in zip(names, values, strict=True):
        case = INPUTS[name].put(case, value.detach().cpu().numpy())
    solution = solve(case.device, case.gate, case.drain, guess, tolerance=tolerance)
    if not solution.converged:
        raise NoSolutionError(f"differentiable: {solution.status}")
    apply: Callable[..., tuple[Tensor, ...]] = _AtSolution.apply
    current, charge, potential, transmission = apply(solution, torch.from_numpy(points), names, *values)
    return TrackedSolution(current, charge, potential, transmission, solution)


class _AtSolution(torch.autograd.Function):
    """From the inputs that made a solution to the entries of `OUTPUTS`."""

    @staticmethod
    def forward(
        ctx: Any, solution: Solution, energies: Tensor, names: tuple[str, ...], *values: Tensor
    ) -> tuple[Tensor, ...]:
        """Linearise about the solution."""
        with one_thread():
            linear = Linearisation.of(solution, energies, 1e-8)
            outputs = linear.outputs()
        ctx.linear, ctx.names = linear, names
        return tuple(torch.as_tensor(np.array(getattr(outputs, of))) for of in OUTPUTS)

    @staticmethod
    def backward(ctx: Any, *weights: Tensor) -> tuple[Tensor | None, ...]:
        """One adjoint solve."""
        only_first_derivatives("differentiable")
        linear: Linearisation = ctx.linear
        current, *fields = (weight.numpy() for weight in weights)
        asked = [name for name, needed in zip(ctx.names, ctx.needs_input_grad[3:], strict=True) if needed]
        with one_thread():
            found = linear.pull(Outputs(float(current), *fields), *asked)
        gradients = (torch.from_numpy(np.array(found[name])) if name in found else None for name in ctx.names)
        return (None, None, None, *gradients)
