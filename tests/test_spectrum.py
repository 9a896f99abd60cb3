"""Summed over energy, a spectrum is the charge and the current of the solution."""

from dataclasses import replace

import numpy as np
import pytest

from mlnegf import Device, Solution, solve
from mlnegf._common import Floats
from mlnegf.scf.spectrum import Spectrum, spectrum
from mlnegf.units import PER_CUBIC_CENTIMETRE

# No state lies below the lowest edge, none is filled 0.5 eV above both Fermi levels; edges lie between the points.
ENERGY = np.linspace(-0.6, 0.5, 8000) + 1.7e-5


def summed(values: Floats) -> Floats:
    return np.asarray(np.trapezoid(values, ENERGY, axis=0))


@pytest.fixture(scope="module")
def found(solution: Solution) -> Spectrum:
    return spectrum(solution, ENERGY)


def test_fields_lie_on_energy_and_x(found: Spectrum, device: Device) -> None:
    cells = len(device.grid.x)
    assert found.density_of_states.shape == found.electrons.shape == (len(ENERGY), cells)
    assert found.transmission.shape == found.current.shape == (len(ENERGY),)
    assert found.edges.shape[1] == cells
    np.testing.assert_array_equal(found.x, device.grid.x)


def test_electrons_sum_to_the_charge(found: Spectrum, solution: Solution, device: Device) -> None:
    # The inverse square root at each edge, on points 0.14 meV apart.
    per_nm = (solution.charge * PER_CUBIC_CENTIMETRE * device.grid.area).sum(axis=(1, 2))
    np.testing.assert_allclose(summed(found.electrons), per_nm, rtol=1e-3)


def test_current_sums_to_the_current(found: Spectrum, solution: Solution) -> None:
    assert summed(found.current) == pytest.approx(solution.current, rel=1e-4)


def test_the_energies_chosen_hold_all_of_the_current(solution: Solution) -> None:
    chosen = spectrum(solution)
    assert np.trapezoid(chosen.current, chosen.energy) == pytest.approx(solution.current, rel=5e-3)
    assert chosen.energy[0] < chosen.edges.min()
    assert chosen.current[-1] < 1e-3 * chosen.current.max()


def test_the_source_is_neutral(found: Spectrum, device: Device) -> None:
    donors = device.donors * device.width * device.thickness
    assert summed(found.electrons)[0] == pytest.approx(donors, rel=0.02)


def test_no_state_is_filled_twice(found: Spectrum) -> None:
    assert (found.density_of_states >= 0).all()
    assert (found.electrons >= 0).all()
    assert (found.electrons <= found.density_of_states * (1 + 1e-12)).all()


def test_nothing_lies_below_the_lowest_edge(found: Spectrum) -> None:
    below = found.energy < found.edges.min()
    assert below.any()
    assert not found.density_of_states[below].any()
    assert not found.transmission[below].any()


def test_no_more_is_transmitted_than_there_are_subbands(found: Spectrum) -> None:
    valleys_a_subband = 2
    assert (found.transmission >= 0).all()
    assert found.transmission.max() <= valleys_a_subband * len(found.edges) * (1 + 1e-9)


def test_current_flows_where_it_is_transmitted(found: Spectrum) -> None:
    barrier = found.edges.max(axis=1).min()
    through = found.energy > barrier
    assert summed(np.where(through, found.current, 0.0)) > 0.5 * summed(found.current)
    assert found.transmission[found.energy < barrier - 0.1].max() < 0.05


def test_fermi_levels_are_a_drain_voltage_apart(found: Spectrum, solution: Solution) -> None:
    assert found.fermi_levels == (0.0, -solution.drain)


def test_at_no_drain_voltage_no_energy_carries_current(device: Device) -> None:
    found = spectrum(solve(device, 0.4, 0.0), ENERGY[::20])
    assert found.transmission.max() > 1
    assert not found.current.any()


def test_coupled_modes_are_refused(solution: Solution) -> None:
    with pytest.raises(ValueError, match=r"spectrum: modes = 'coupled', expected a solution of uncoupled modes"):
        spectrum(replace(solution, modes="coupled"), ENERGY[::200])
