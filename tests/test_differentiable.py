"""A solution inside larger computations of PyTorch."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import psutil
import pytest
import torch

import mlnegf
from mlnegf.scf.differentiable import NoSolutionError, TrackedSolution, differentiable
from mlnegf.units import PER_CUBIC_CENTIMETRE

DEVICE = mlnegf.Device(
    gate_length=6.0, source_length=4.0, drain_length=4.0, width=3.0, thickness=3.0, spacing=(0.5, 0.5, 0.5)
)
Tensor = torch.Tensor


def tensor(value: object) -> Tensor:
    return torch.tensor(value, dtype=torch.float64, requires_grad=True)


def of_everything(tracked: TrackedSolution) -> Tensor:
    potential = tracked.potential.square().mean() * tracked.charge[3:7].mean() / 1e19
    return tracked.current.log() + tracked.transmission.sum() * potential


INPUTS = {
    "gate": 0.4,
    "drain": 0.3,
    "work_function": 4.1,
    "temperature": 290.0,
    "mass_y": [0.19, 0.91, 0.19],
}


def test_any_function_of_any_output_follows_all_inputs_at_once() -> None:
    given = {name: tensor(value) for name, value in INPUTS.items()}
    of_everything(differentiable(DEVICE, energies=[0.05, 0.1], tolerance=1e-6, **given)).backward()
    for name, value in given.items():
        step = 2e-3 * float(value.detach().reshape(-1)[0])

        def moved(sign: int, name: str = name, step: float = step) -> float:
            changed = {key: other.detach().clone() for key, other in given.items()}
            changed[name].reshape(-1)[0] += sign * step
            return of_everything(differentiable(DEVICE, energies=[0.05, 0.1], tolerance=1e-6, **changed)).item()

        exact = (moved(1) - moved(-1)) / (2 * step)
        assert value.grad is not None
        assert float(value.grad.reshape(-1)[0]) == pytest.approx(exact, rel=2e-3), name


def test_fields_come_from_anything_before_them() -> None:
    """One number makes a doping profile and a permittivity; the chain rule does the rest."""
    grid = DEVICE.grid
    donors = torch.as_tensor(grid.donors / PER_CUBIC_CENTIMETRE)
    inside = torch.as_tensor(grid.semiconductor).to(torch.float64)

    def current(doping: Tensor, oxide: Tensor) -> Tensor:
        permittivity = 11.7 * inside + oxide * (1 - inside).expand(grid.shape)
        found = differentiable(DEVICE, 0.4, 0.3, doping=donors * doping, permittivity=permittivity, tolerance=1e-6)
        return found.current.log()

    doping, oxide = tensor(1.0), tensor(3.9)
    current(doping, oxide).backward()
    for which, (value, step) in enumerate(((doping, 1e-3), (oxide, 1e-2))):
        sides = []
        for sign in (1, -1):
            moved = [doping.detach().clone(), oxide.detach().clone()]
            moved[which] += sign * step
            sides.append(current(*moved).item())
        assert value.grad is not None
        assert float(value.grad) == pytest.approx((sides[0] - sides[1]) / (2 * step), rel=1e-3)


def test_a_network_learns_through_it() -> None:
    """The voltage that gives a current, by gradient descent."""
    target = mlnegf.solve(DEVICE, 0.43, 0.3).current
    gate, guess = tensor(0.3), "semiclassical"
    for _ in range(6):
        tracked = differentiable(DEVICE, gate, 0.3, guess=guess)
        error = (tracked.current / target).log()
        (slope,) = torch.autograd.grad(error, gate)
        gate = (gate.detach() - error.detach() / slope).requires_grad_()
        guess = tracked.solution
    assert gate.item() == pytest.approx(0.43, abs=1e-4)


def test_nothing_is_cut_off_in_silence() -> None:
    gate = tensor(0.4)
    tracked = differentiable(DEVICE, gate, 0.3)
    with pytest.raises(RuntimeError, match="second derivatives"):
        torch.autograd.grad(tracked.current, gate, create_graph=True)


WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "no device": (lambda: differentiable(None, 0.4, 0.3), "device = None"),  # type: ignore[arg-type]
    "no input": (lambda: differentiable(DEVICE, 0.4, 0.3, gate_length=tensor(6.0)), "gate_length"),
    "two gates": (lambda: differentiable(DEVICE, tensor([0.4, 0.5]), 0.3), "gate = "),
    "no gate": (lambda: differentiable(DEVICE, None, 0.3), "gate = None"),
    "infinite": (lambda: differentiable(DEVICE, tensor(np.inf), 0.3), "gate = "),
    "a small field": (lambda: differentiable(DEVICE, 0.4, 0.3, doping=tensor([1e20])), "doping = "),
    "no energies": (lambda: differentiable(DEVICE, 0.4, 0.3, energies="all"), "energies = 'all'"),
    "a cold device": (lambda: differentiable(DEVICE, 0.4, 0.3, temperature=tensor(1.0)), "temperature = 1.0"),
    "turned axes": (
        lambda: differentiable(
            replace(DEVICE, orientation=((1, 1, 0), (0, 0, 1))), 0.4, 0.3, mass_x=tensor([0.19, 0.5])
        ),
        "orientation",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_arguments_are_named(wrong: str) -> None:
    ask, words = WRONG[wrong]
    with pytest.raises(ValueError, match=words):
        ask()


def test_no_solution_no_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlnegf.scf.differentiable.solve", partial(mlnegf.solve, max_solves=1))
    with pytest.raises(NoSolutionError, match="differentiable: unconverged"):
        differentiable(DEVICE, 0.4, 0.3, guess="flat")


def test_memory_is_flat() -> None:
    process = psutil.Process()

    def gradients(count: int) -> float:
        for _ in range(count):
            gate = tensor(0.4)
            differentiable(DEVICE, gate, 0.3, tolerance=1e-3).current.backward()
        return float(process.memory_info().rss / 2**20)

    before = gradients(10)
    assert gradients(20) - before < 20.0
