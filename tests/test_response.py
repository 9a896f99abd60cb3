"""The exact response against central differences, bound states included."""

import numpy as np
import pytest
import torch

from mlnegf.nanosheet.charge import Negf
from mlnegf.nanosheet.device import Device
from mlnegf.transport.bound_states import BoundStates, bound_states
from mlnegf.transport.chains import Chains, hopping_energy
from mlnegf.transport.contacts import Contacts
from mlnegf.transport.equilibrium import OneFilling, charge_of_one
from mlnegf.transport.nonequilibrium import Injected, inject
from mlnegf.transport.response import chain_response

X = (np.arange(80) + 0.5) * 0.25
DIRECTION = torch.as_tensor(np.cos(X / 3 + 1))[None]


SCATTERING = torch.as_tensor(np.stack([X < 6.0, X > 13.0]) * 0.06)


def solve(depth: float, shift: float, scattering: torch.Tensor | None = None, drop: float = 0.05) -> tuple:  # type: ignore[type-arg]
    onsite = -depth * np.exp(-(((X - 10) / 5) ** 2)) - 0.15 - drop / (1 + np.exp(-(X - 13)))
    hopping = hopping_energy(torch.tensor([0.19], dtype=torch.float64), 0.25)
    degeneracy = torch.tensor([4.0], dtype=torch.float64)
    chains = Chains(torch.as_tensor(onsite)[None] + shift * DIRECTION, hopping, 0.25, degeneracy, scattering)
    contacts = Contacts(0.0, -0.05, 0.02585)
    parts = inject(chains, contacts, 1.5, 1e-9), charge_of_one(chains, contacts, 1.5, 1e-9)
    return chains, contacts, *parts, bound_states(chains, contacts)


def charge(
    chains: Chains, contacts: Contacts, injected: Injected, between: OneFilling, bound: BoundStates
) -> torch.Tensor:
    return injected.density + between.density + bound.density(chains)


@pytest.mark.parametrize("drop", [0.05, -0.05])
@pytest.mark.parametrize("scattering", [None, SCATTERING], ids=["ballistic", "scattering"])
@pytest.mark.parametrize(("depth", "bound"), [(-0.3, 0), (0.25, 2)])
def test_chain_response_is_the_derivative(
    depth: float, bound: int, scattering: torch.Tensor | None, drop: float
) -> None:
    solved = solve(depth, 0.0, scattering, drop)
    assert len(solved[-1].mode) >= bound
    response = chain_response(*solved)
    errors = []
    for step in (1e-3, 1e-4, 1e-5):
        after, before = (solve(depth, sign * step, scattering, drop) for sign in (1, -1))
        exact = (charge(*after) - charge(*before))[0] / (2 * step)
        errors.append(float((response.density[0] @ DIRECTION[0] - exact).abs().max() / exact.abs().max()))
        current = float(after[2].current - before[2].current) / (2 * step)
        assert float(response.current[0] @ DIRECTION[0]) == pytest.approx(current, rel=1e-2)
    # Second order in the step until rounding: the signature of a right derivative.
    assert errors[1] < 0.02 * errors[0]
    assert min(errors) < 1e-6


@pytest.mark.parametrize("scattering", [False, True], ids=["ballistic", "scattering"])
def test_a_long_closed_channel_does_not_overflow(scattering: bool) -> None:
    """Under 160 nm of barrier waves grow to 1e190, and their squares beyond what a number can hold."""
    x = (np.arange(800) + 0.5) * 0.25
    onsite = torch.as_tensor(np.where((x > 20) & (x < 180), 0.35, -0.1) - 0.2 * (x > 100))[None]
    onsite = onsite + 0.01 * torch.as_tensor(np.cos(x / 9))
    leak = torch.as_tensor(np.stack([x < 15, x > 185]) * 0.05) if scattering else None
    hopping, degeneracy = hopping_energy(torch.tensor([0.91]), 0.25).double(), torch.tensor([4.0], dtype=torch.float64)
    chains = [Chains(onsite + sign * 1e-4, hopping, 0.25, degeneracy, leak) for sign in (0, 1, -1)]
    contacts = Contacts(0.0, -0.2, 0.02585)
    solved = [
        (c, contacts, inject(c, contacts, 1.5, 1e-8), charge_of_one(c, contacts, 1.5, 1e-8), bound_states(c, contacts))
        for c in chains
    ]
    response = chain_response(*solved[0])
    after, before = (charge(*parts) for parts in solved[1:])
    exact = (after - before)[0] / 2e-4
    assert float((response.density[0].sum(1) - exact).abs().max() / exact.abs().max()) < 1e-3


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
