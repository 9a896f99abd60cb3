"""Subbands against closed forms, the full space, and the order of the grid."""

import numpy as np
import pytest
import torch

from mlnegf.nanosheet.device import Device
from mlnegf.nanosheet.geometry import CROSS_SECTIONS
from mlnegf.nanosheet.materials import SILICON
from mlnegf.nanosheet.subbands import kinetic_operator, solve_subbands, transverse_basis
from mlnegf.units import HBAR2_OVER_2M0


def square(spacing: float, **options: float) -> Device:
    return Device(width=4.0, thickness=3.0, spacing=(0.5, spacing, spacing), **options)


def test_a_rectangle_has_the_levels_of_the_lattice() -> None:
    """E = Σ 2t (1 − cos nπ/N) on each axis."""
    device = square(0.25)
    for valley in SILICON.electrons:
        found = np.linalg.eigvalsh(kinetic_operator(device.grid, valley).toarray())
        axes = [
            2 * HBAR2_OVER_2M0 / mass / 0.25**2 * (1 - np.cos(np.arange(1, cells + 1) * np.pi / cells))
            for cells, mass in ((16, valley.mass_y), (12, valley.mass_z))
        ]
        assert np.allclose(found, np.sort(np.add.outer(*axes).ravel()), atol=1e-10)


def test_levels_converge_with_second_order_to_those_of_the_box() -> None:
    """E₁₁ = ħ²π²/2 (1/m_y L_y² + 1/m_z L_z²)."""
    valley = SILICON.electrons[1]
    exact = HBAR2_OVER_2M0 * np.pi**2 * (1 / valley.mass_y / 16 + 1 / valley.mass_z / 9)
    errors = [exact - float(transverse_basis(square(step)).energies.min(1).values[4]) for step in (0.5, 0.25, 0.125)]
    assert np.allclose(np.log2(np.array(errors[:-1]) / errors[1:]), 2.0, atol=0.05)


def test_the_basis_converges_to_the_whole_space() -> None:
    device = square(0.25)
    grid = device.grid
    y, z = (axis[grid.channel_cells] for axis in folded_coordinates(device))
    energy = torch.as_tensor(-0.4 * (y / 2) ** 2 - 0.5 * (z / 1.5) ** 2 - 0.1 * (y * z) ** 2)[None]
    errors = []
    whole = solve_subbands(transverse_basis(device, 48), energy).energies.sort(-1).values[:, 0, :4]
    for size in (8, 16, 32):
        found = solve_subbands(transverse_basis(device, size), energy).energies.sort(-1).values[:, 0, :4]
        errors.append(float((found - whole).abs().max()))
    # Half a volt across the section is more than any gate here makes; the error falls tenfold with every doubling.
    assert errors[1] < 1e-3, "the default"
    assert errors[1] < 0.1 * errors[0]
    assert errors[2] < 0.1 * errors[1]


def folded_coordinates(device: Device) -> tuple[np.ndarray, np.ndarray]:
    grid = device.grid
    shape = grid.semiconductor.shape
    planes = (np.broadcast_to(abs(grid.y)[:, None], shape), np.broadcast_to(abs(grid.z)[None, :], shape))
    first, second = (grid.fold(plane[None].astype(float))[0] for plane in planes)
    return first, second


@pytest.mark.parametrize("shape", sorted(CROSS_SECTIONS))
def test_wave_functions_are_orthonormal_on_every_section(shape: str) -> None:
    device = Device(width=4.0, thickness=4.0, spacing=(0.5, 0.25, 0.25), cross_section=shape)
    basis = transverse_basis(device)
    overlap = torch.einsum("fcm,c,fcn->fmn", basis.functions, basis.weights, basis.functions)
    assert torch.allclose(overlap, torch.eye(overlap.shape[-1], dtype=overlap.dtype).expand_as(overlap), atol=1e-10)
    assert float(basis.weights.sum()) == pytest.approx(float(device.grid.area[device.grid.semiconductor].sum()))


def test_subbands_are_followed_through_a_crossing() -> None:
    device = square(0.25)
    y, _ = (axis[device.grid.channel_cells] for axis in folded_coordinates(device))
    strength = np.linspace(-1.5, 1.5, 60)[:, None]
    subbands = solve_subbands(transverse_basis(device), torch.as_tensor(strength * (y / 2) ** 2))
    overlap = torch.einsum("fxbm,fxbm->fxm", subbands.coefficients[:, :-1], subbands.coefficients[:, 1:]).square()
    assert float(overlap[:, :, :4].min()) > 0.9
