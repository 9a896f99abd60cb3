"""Poisson's operator against a manufactured solution, Gauss's law and a plate capacitor."""

import numpy as np
import pytest
import scipy.sparse as sparse
import torch

from mlnegf.nanosheet.device import Device
from mlnegf.nanosheet.geometry import Region
from mlnegf.nanosheet.poisson import Poisson, laplacian, outflow
from mlnegf.units import CHARGE_OVER_EPSILON0


def device(spacing: float, **options: float | str) -> Device:
    return Device(
        gate_length=4.0,
        width=4.0,
        source_length=3.0,
        drain_length=3.0,
        spacing=(spacing,) * 3,
        **options,  # type: ignore[arg-type]
    )


def test_a_manufactured_solution_is_approached_with_second_order() -> None:
    errors = []
    for spacing in (0.5, 0.25):
        uniform = device(spacing, oxide="silicon")
        grid = uniform.grid
        operator, gate = laplacian(uniform)
        neumann = operator - sparse.diags_array(gate)
        widths = [uniform.length, uniform.width + 2.0, uniform.thickness + 2.0]
        waves = [np.pi / widths[0], 2 * np.pi / widths[1], 2 * np.pi / widths[2]]
        exact = (
            np.cos(waves[0] * grid.x)[:, None, None] * np.cos(waves[1] * grid.y)[:, None] * np.cos(waves[2] * grid.z)
        )
        right = 11.7 * sum(wave**2 for wave in waves) * grid.fold(exact) * grid.volumes
        pinned = neumann + sparse.diags_array(np.eye(1, right.size).ravel() * 1e3)
        right = right.ravel() + np.eye(1, right.size).ravel() * 1e3 * grid.fold(exact)[0, 0]
        found = sparse.linalg.spsolve(sparse.csc_array(pinned), right)
        errors.append(abs(found - grid.fold(exact).ravel()).max())
    assert np.log2(errors[0] / errors[1]) == pytest.approx(2.0, abs=0.15)


def test_a_gate_without_charge_sets_its_potential_everywhere() -> None:
    poisson = Poisson.of(device(0.5))
    undoped = Poisson(poisson.operator, poisson.gate, poisson.source, 0 * poisson.donors)
    found, _ = undoped.solve(lambda φ: (0 * φ, 0 * φ + 1e-9), 0.37, np.zeros(poisson.donors.shape), tolerance=1e-9)
    assert abs(found - 0.37).max() < 1e-6


def test_field_lines_end_on_the_gate() -> None:
    """Gauss: the flux through the gate is all the charge inside."""
    poisson = Poisson.of(device(0.5))
    kT = 0.02585

    def density(potential: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values = np.where(poisson.donors.any(axis=0), 1e-3 * np.exp(np.clip(potential / kT, -40, 40)), 0.0)
        return values, values / kT

    potential, _ = poisson.solve(density, 0.2, np.zeros(poisson.donors.shape), tolerance=1e-10)
    flux = (poisson.gate * (potential - 0.2)).sum()
    charge = (poisson.source * (poisson.donors - density(potential)[0])).sum()
    assert flux == pytest.approx(charge, rel=1e-7)


def test_the_oxide_drops_what_a_plate_capacitor_drops() -> None:
    """Wide, thin sheet: φ_surface − V_G = σ d/ε in the middle of it, on both sides."""
    sheet = Device(
        gate_length=40.0, width=40.0, thickness=2.0, source_length=2.0, drain_length=2.0, spacing=(1.0, 1.0, 0.25)
    )
    poisson, grid = Poisson.of(sheet), sheet.grid
    inside = np.zeros(poisson.donors.shape)
    inside[:, grid.channel_cells] = 1e-2
    screened = poisson.screened(np.zeros(inside.shape))
    field = grid.unfold(screened.solve(poisson.source * inside, 1e-12))
    middle = field[len(grid.x) // 2, len(grid.y) // 2]
    rows = grid.box[1]
    # σ/2 leaves each side: the oxide drops σ d/2ε, the silicon's outermost half cell a little more.
    sigma, inner = 1e-2 * 2.0, sheet.thickness / 2 - 0.125
    expected = CHARGE_OVER_EPSILON0 * (sigma / 2 / 3.9 + 1e-2 * ((2.0 / 2) ** 2 - inner**2) / 2 / 11.7)
    assert middle[rows][0] == pytest.approx(expected, rel=5e-3)


def test_the_nonlinear_solve_says_when_it_does_not_settle() -> None:
    poisson = Poisson.of(device(0.5))
    with pytest.raises(RuntimeError, match="did not reach"):
        poisson.solve(
            lambda φ: (np.exp(φ / 0.02585), np.exp(φ / 0.02585) / 0.02585),
            0.5,
            np.zeros(poisson.donors.shape),
            largest=2,
        )


@pytest.mark.parametrize("section", ["rectangle", "T"])
def test_what_is_differentiated_by_permittivity_is_the_equation_itself(section: str) -> None:
    patched = Device(
        spacing=(0.5, 0.5, 0.5), cross_section=section, regions=(Region("hafnium dioxide", x=(5.0, 9.0), z=(1.0, 3.0)),)
    )
    grid, poisson = patched.grid, Poisson.of(patched)
    potential = np.random.default_rng(0).standard_normal(poisson.donors.shape)
    flux = outflow(grid, torch.from_numpy(grid.unfold(potential)), 0.3)(torch.tensor(grid.permittivity))
    exact = poisson.residual(potential, poisson.donors, 0.3)
    assert np.allclose(grid.fold(flux.numpy()) * grid.images, exact, rtol=0, atol=1e-12 * abs(exact).max())
