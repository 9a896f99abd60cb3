"""Coupled modes: the full lattice with a full basis, uncoupled modes where nothing couples, and one contour for all."""

import numpy as np
import pytest
import torch

from mlnegf import coupling, solve
from mlnegf._common import Floats
from mlnegf.nanosheet.charge import Negf
from mlnegf.nanosheet.coupled import coupled_charge, family_system, lattice_system
from mlnegf.nanosheet.device import Device
from mlnegf.nanosheet.subbands import TransverseBasis, transverse_basis
from mlnegf.scf.equations import Equations
from mlnegf.scf.problem import Problem
from mlnegf.transport.blocks import System
from mlnegf.transport.elimination import green_blocks
from mlnegf.transport.scattering import scattering_states

DEVICE = Device(width=3.0, thickness=3.0, gate_length=5.0, source_length=5.0, drain_length=5.0, spacing=(0.5, 0.5, 0.5))


def potential(across: float, drain: float = 0.2) -> Floats:
    """A barrier, bent across the section by `across` times its height along: not separable."""
    grid = DEVICE.grid
    doped = 1 / (1 + np.exp((grid.x - 5) / 0.6)) + 1 / (1 + np.exp(-(grid.x - 10) / 0.6))
    along = 0.35 + 0.2 * doped + drain / (1 + np.exp(-(grid.x - 8) / 0.8))
    bend = across * ((grid.y[:, None] / 3) ** 2 + 0.5 * (grid.z / 3) ** 2)
    return grid.fold(along[:, None, None] + (1 - doped)[:, None, None] * bend)


def energy(across: float) -> torch.Tensor:
    return -torch.from_numpy(np.ascontiguousarray(potential(across)[:, DEVICE.grid.channel_cells]))


def transmitted(systems: list[System], degeneracies: list[float], energies: torch.Tensor) -> torch.Tensor:
    parts = [torch.cat([s.transmission for _, s in scattering_states(energies, system)]) for system in systems]
    return torch.stack([g * part for g, part in zip(degeneracies, parts, strict=True)]).sum(0)


def families(basis: TransverseBasis, across: float) -> tuple[list[System], list[float]]:
    count = range(len(basis.functions))
    return [family_system(basis, energy(across), DEVICE.grid.dx, n) for n in count], basis.degeneracy.tolist()


def test_the_transmission_converges_to_the_full_lattice() -> None:
    """Degenerate sections included: the 3 × 3 nm wire is square."""
    energies = torch.linspace(-0.25, 0.5, 16, dtype=torch.float64)
    phi = DEVICE.grid.unfold(potential(0.6))
    valleys = DEVICE.valleys
    exact = transmitted(
        [lattice_system(DEVICE, valley, phi) for valley in valleys], [v.degeneracy for v in valleys], energies
    )
    assert float(exact.max()) > 1.0
    errors = [
        float((transmitted(*families(transverse_basis(DEVICE, size), 0.6), energies) - exact).abs().max())
        for size in (1, 3, 5, 9)
    ]
    assert errors[0] > errors[1] > errors[2] > errors[3]
    assert errors[3] < 1e-10, errors


def test_without_coupling_both_kinds_of_modes_agree() -> None:
    solver = Negf.of(DEVICE, "threshold", 1e-8)
    contacts = solver.contacts(0.2)
    alone = solver(potential(0.0), 0.2)
    mixed = coupled_charge(solver.basis, energy(0.0), DEVICE.grid.dx, contacts, 1.0, 1e-7)
    inside = alone.density[:, DEVICE.grid.channel_cells]
    assert abs(mixed.density.numpy() - inside).max() < 2e-6 * inside.max()
    assert mixed.current == pytest.approx(alone.current, rel=1e-5)
    assert mixed.quadrature_error < 1e-4


def test_at_equilibrium_the_charge_has_the_device_s_symmetry_and_no_current_flows() -> None:
    solver = Negf.of(DEVICE, modes="coupled")
    charge = solver(potential(0.6, 0.0), 0.0)
    assert charge.current == 0.0
    assert charge.continuity == 1.0
    assert np.allclose(charge.density, charge.density[::-1], rtol=1e-9, atol=1e-12)
    assert (charge.density >= 0).all()


def test_green_blocks_are_those_of_a_dense_inverse() -> None:
    system = families(transverse_basis(DEVICE, 3), 0.6)[0][0]
    point = 0.1 + 0.05j
    found = green_blocks(torch.tensor([point]), system)[0].numpy()
    # Far from the real axis a long piece of lead stands for all of it.
    lead, sites, block = 400, len(system.diagonal), system.diagonal.shape[1]
    t = float(system.left.uniform_hopping or 0.0)
    blocks = [system.diagonal[0]] * lead + list(system.diagonal) + [system.diagonal[-1]] * lead
    size = len(blocks) * block
    matrix = point * np.eye(size) - torch.block_diag(*blocks).numpy()
    matrix += t * (np.eye(size, k=block) + np.eye(size, k=-block))
    columns = np.zeros((size, block))
    middle = (lead + sites // 2) * block
    columns[middle : middle + block] = np.eye(block)
    exact = np.linalg.solve(matrix, columns)[middle : middle + block]
    assert np.allclose(found[sites // 2], exact, atol=1e-9)


def test_what_coupling_would_change_is_what_it_changes() -> None:
    alone = solve(DEVICE, 0.35, 0.3, filling="threshold", tolerance=1e-5)
    assert alone.modes == "uncoupled"
    expected = coupling(alone)
    mixed = solve(DEVICE, 0.35, 0.3, guess=alone, modes="coupled", filling="threshold", tolerance=1e-4)
    assert mixed.converged
    assert mixed.modes == "coupled"
    change = abs(mixed.potential - alone.potential).max()
    assert expected.potential == pytest.approx(change, rel=0.15, abs=2e-5)
    assert expected.current == pytest.approx(mixed.current / alone.current - 1, abs=0.3 * abs(expected.current) + 1e-4)


def test_estimates_hold_what_the_response_of_uncoupled_modes_misses() -> None:
    """With coupled modes a correction leaves a part of the first order, which no second order sees."""
    equations = Equations.of(DEVICE, modes="coupled", tolerance=1e-5)
    exact = solve(equations, 0.3, 0.3, tolerance=2e-5, current_tolerance=1e-4)
    assert exact.converged
    problem = Problem.of(equations, 0.3, 0.3)
    truth, x = problem.folded(exact.potential), DEVICE.grid.x
    for push in (5e-4 * np.cos(x / 2), 3e-3 * np.sin(x / 3)):
        point = problem.evaluate(truth + push[:, None])
        correction, errors = point.correct(1e-3), point.errors(corrected=True)
        left = abs(truth - point.potential - correction.step).max()
        assert left < errors.potential < 1e-3
        assert abs((point.charge.current + correction.current) / exact.current - 1) < errors.current
        assert errors.potential > 0.2 * correction.size
