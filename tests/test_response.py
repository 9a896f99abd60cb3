"""The exact response against central differences, bound states included."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mlnegf.nanosheet.charge import Negf
from mlnegf.nanosheet.device import Device
from mlnegf.transport.chain_charge import ChainCharge
from mlnegf.transport.chains import Chains
from mlnegf.transport.contacts import Contacts

X = (np.arange(80) + 0.5) * 0.25
DIRECTION = torch.as_tensor(np.cos(X / 3 + 1))[None]


SCATTERING = torch.as_tensor(np.stack([X < 6.0, X > 13.0]) * 0.06)


def solve(depth: float, shift: float, scattering: torch.Tensor | None = None, drop: float = 0.05) -> ChainCharge:
    onsite = -depth * np.exp(-(((X - 10) / 5) ** 2)) - 0.15 - drop / (1 + np.exp(-(X - 13)))
    chains = replace(Chains.one(onsite, 0.19, 0.25, 4.0), scattering=scattering)
    return ChainCharge.of(
        replace(chains, onsite=chains.onsite + shift * DIRECTION), Contacts(0.0, -0.05, 0.02585), 1.5, 1e-9
    )


@pytest.mark.parametrize("drop", [0.05, -0.05])
@pytest.mark.parametrize("scattering", [None, SCATTERING], ids=["ballistic", "scattering"])
@pytest.mark.parametrize(("depth", "bound"), [(-0.3, 0), (0.25, 2)])
def test_the_response_is_the_derivative(depth: float, bound: int, scattering: torch.Tensor | None, drop: float) -> None:
    solved = solve(depth, 0.0, scattering, drop)
    assert len(solved.bound.mode) >= bound
    density, current = solved.respond(DIRECTION)
    errors = []
    for step in (1e-3, 1e-4, 1e-5):
        after, before = (solve(depth, sign * step, scattering, drop) for sign in (1, -1))
        exact = (after.density - before.density) / (2 * step)
        errors.append(float((density - exact).abs().max() / exact.abs().max()))
        assert float(current) == pytest.approx(float(after.current - before.current) / (2 * step), rel=1e-2)
    # Second order in the step until rounding: the signature of a right derivative.
    assert errors[1] < 0.02 * errors[0]
    assert min(errors) < 1e-6


@pytest.mark.parametrize("scattering", [None, SCATTERING], ids=["ballistic", "scattering"])
def test_the_transposed_response_is_the_transpose(scattering: torch.Tensor | None) -> None:
    solved = solve(0.25, 0.0, scattering)
    change, weight = torch.randn(2, 1, len(X), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    flux = torch.tensor([3e5], dtype=torch.float64)  # so that the current weighs about as much as the charge
    density, current = solved.respond(change)
    there = (weight * density).sum() + (flux * current).sum()
    back = (solved.respond_transposed(weight, flux) * change).sum()
    assert float(there) == pytest.approx(float(back), rel=1e-12)


@pytest.mark.parametrize("scattering", [False, True], ids=["ballistic", "scattering"])
def test_a_long_closed_channel_does_not_overflow(scattering: bool) -> None:
    """Under 160 nm of barrier waves grow to 1e190, and their squares beyond what a number can hold."""
    x = (np.arange(800) + 0.5) * 0.25
    onsite = np.where((x > 20) & (x < 180), 0.35, -0.1) - 0.2 * (x > 100) + 0.01 * np.cos(x / 9)
    leak = torch.as_tensor(np.stack([x < 15, x > 185]) * 0.05) if scattering else None
    solved, after, before = (
        ChainCharge.of(
            replace(Chains.one(onsite + sign * 1e-4, 0.91, 0.25, 4.0), scattering=leak),
            Contacts(0.0, -0.2, 0.02585),
            1.5,
            1e-8,
        )
        for sign in (0, 1, -1)
    )
    exact = (after.density - before.density)[0] / 2e-4
    found, _ = solved.respond(torch.ones_like(solved.density))
    assert float((found[0] - exact).abs().max() / exact.abs().max()) < 1e-3


@pytest.mark.parametrize("path", [None, 4.0])
def test_device_response_is_the_derivative(path: float | None) -> None:
    device = Device(
        width=4.0,
        gate_length=6.0,
        source_length=5.0,
        drain_length=5.0,
        spacing=(0.5, 0.5, 0.5),
        mean_free_path=path,
    )
    grid, solver = device.grid, Negf.of(device)
    inside = 1 / (1 + np.exp((grid.x - 5.5) / 0.8)) + 1 / (1 + np.exp(-(grid.x - 10.5) / 0.8))
    y, z = grid.y[:, None] / device.width, grid.z / device.thickness
    potential = grid.fold((0.1 + 0.25 * inside)[:, None, None] + 0.1 * (y**2 + z**2) + 0.2 * grid.x[:, None, None] / 16)
    change = grid.fold(np.cos(grid.x[:, None, None] / 3 + 1) * (1 + y + 0.5 * z))
    density, current = solver(potential, 0.2).respond(change)
    errors = []
    for step in (1e-3, 1e-4, 1e-5):
        after, before = (solver(potential + sign * step * change, 0.2) for sign in (1, -1))
        exact = (after.density - before.density) / (2 * step)
        errors.append(abs(density - exact).max() / abs(exact).max())
        assert current == pytest.approx((after.current - before.current) / (2 * step), rel=1e-2)
    assert errors[1] < 0.02 * errors[0]
    assert min(errors) < 1e-5
    weight = grid.fold(np.sin(grid.x[:, None, None] / 2 + y - z))
    there = float((weight * density).sum() + 1e5 * current)
    back = float((solver(potential, 0.2).respond_transposed(weight, 1e5) * change).sum())
    assert there == pytest.approx(back, rel=1e-12)
