"""The transverse basis: complete where it says so, and its error known where it is not."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mlnegf._common import Floats
from mlnegf.nanosheet.basis import sufficient_basis
from mlnegf.nanosheet.charge import Charge, Negf
from mlnegf.nanosheet.coupled import family_system, lattice_system
from mlnegf.nanosheet.device import Device
from mlnegf.nanosheet.subbands import TransverseBasis, empty_section, kinetic_operator, solve_subbands
from mlnegf.scf.problem import Problem
from mlnegf.scf.solve import solve
from mlnegf.transport.scattering import scattering_states

ODD = Device(width=2.5, thickness=2.5, gate_length=4.0, source_length=4.0, drain_length=4.0, spacing=(0.5, 0.5, 0.5))
WIDE = Device(width=12.0, thickness=6.0, gate_length=6.0, source_length=6.0, drain_length=6.0, spacing=(0.5, 0.5, 0.5))


def complete(device: Device) -> TransverseBasis:
    return TransverseBasis.of(empty_section(device), [10**6] * 12)


def bent(device: Device) -> Floats:
    grid = device.grid
    along = 0.3 + 0.25 * np.cos(2 * np.pi * grid.x / device.length)
    across = (grid.y[:, None] / device.width) ** 2 + 0.5 * (grid.z / device.thickness) ** 2
    return grid.fold(along[:, None, None] * (1 + across))


def test_families_of_an_odd_section_keep_all_their_functions() -> None:
    """5 × 5 cells: 9 functions even in both mirrors, 6 and 6 odd in one, 4 odd in both; together all 25."""
    assert complete(ODD).sizes == (9, 6, 6, 4) * 3
    assert sufficient_basis(ODD, 1e-9).sizes == (9, 6, 6, 4) * 3


def test_a_complete_basis_has_the_levels_of_the_whole_section() -> None:
    grid, potential = ODD.grid, bent(ODD)
    subbands = solve_subbands(complete(ODD), torch.from_numpy(-potential[:, grid.channel_cells]))
    place = len(grid.x) // 2
    for index, valley in enumerate(ODD.valleys):
        whole = kinetic_operator(grid, valley).toarray() - np.diag(grid.unfold(potential)[place][grid.occupied])
        found = subbands.energies[4 * index : 4 * index + 4, place].sort().values.numpy()
        sizes = complete(ODD).sizes[:4]
        found = np.sort(np.concatenate([row[:size] for row, size in zip(found, sizes, strict=True)]))
        assert np.allclose(found, np.linalg.eigvalsh(whole), atol=1e-10)


def test_coupled_modes_of_a_complete_basis_are_the_full_lattice_on_an_odd_section() -> None:
    energies = torch.linspace(-0.1, 0.7, 9, dtype=torch.float64)
    basis, potential = complete(ODD), bent(ODD)
    energy = torch.from_numpy(-potential[:, ODD.grid.channel_cells])

    def transmitted(system: object) -> torch.Tensor:
        return torch.cat([states.transmission for _, states in scattering_states(energies, system)])  # type: ignore[arg-type]

    for index, valley in enumerate(ODD.valleys):
        parts = [transmitted(family_system(basis, energy, ODD.grid.dx, 4 * index + place)) for place in range(4)]
        whole = transmitted(lattice_system(ODD, valley, ODD.grid.unfold(potential)))
        assert float(whole.max()) > 0.5
        assert torch.allclose(torch.stack(parts).sum(0), whole, atol=1e-9)


@pytest.fixture(scope="module")
def wide() -> tuple[Problem, Floats, Charge]:
    """An open wide sheet at its semiclassical potential, with all functions."""
    problem = Problem.of(WIDE, 0.8, 0.05)
    potential = problem.semiclassical()
    return problem, potential, Negf(WIDE, complete(WIDE))(potential, 0.05)


def moved(problem: Problem, whole: Charge, density: Floats) -> float:
    """Largest change of potential by a change of density, V."""
    return float(abs(problem.poisson.screened(whole.slope).solve(-problem.poisson.source * density, 1e-6)).max())


@pytest.mark.parametrize("tolerance", [1e-3, 1e-4])
def test_the_basis_of_a_wide_sheet_errs_by_a_small_share_of_the_tolerance(
    wide: tuple[Problem, Floats, Charge], tolerance: float
) -> None:
    """Sixteen functions of each family, whatever the section, left 1.5 mV here."""
    problem, potential, whole = wide
    few = Negf.of(WIDE, potential_tolerance=tolerance)(potential, 0.05)
    assert moved(problem, whole, few.density - whole.density) < 0.1 * tolerance
    assert abs(few.current / whole.current - 1) < 0.5 * tolerance


@pytest.mark.parametrize("size", [24, 36])
def test_what_is_left_out_is_known(wide: tuple[Problem, Floats, Charge], size: int) -> None:
    problem, potential, whole = wide
    charge = Negf(WIDE, TransverseBasis.of(whole.basis.section, [size] * 12))(potential, 0.05)
    density, current = charge.left_out(potential)
    error = moved(problem, whole, charge.density - whole.density)
    assert moved(problem, whole, density) == pytest.approx(error, rel=0.35)
    assert moved(problem, whole, charge.density + density - whole.density) < 0.4 * error
    assert current == pytest.approx(whole.current - charge.current, rel=0.25)


def test_nothing_is_left_out_of_a_complete_basis(wide: tuple[Problem, Floats, Charge]) -> None:
    _, potential, whole = wide
    density, current = whole.left_out(potential)
    assert not density.any()
    assert current == 0.0


def test_the_error_estimate_holds_what_the_basis_leaves_out() -> None:
    device = replace(WIDE, width=8.0, thickness=5.0)
    problem = Problem.of(device, 0.8, 0.05, tolerance=1e-2)
    point = problem.evaluate(problem.semiclassical())
    point.correct(1e-4)
    assert point.left_out[0] > 1e-5
    for corrected in (False, True):
        assert point.errors(corrected).potential > point.left_out[0]
    assert solve(device, 0.8, 0.05, tolerance=1e-4).error_estimate < 1e-4
