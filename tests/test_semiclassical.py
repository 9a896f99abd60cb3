"""Fermi integrals against their limits and a direct integral; the start is neutral where it should be."""

import numpy as np
import pytest
from scipy.integrate import quad

from mlnegf.nanosheet.device import Device
from mlnegf.nanosheet.semiclassical import (
    LocalFilling,
    fermi_integral,
    line_states,
    neutral_potential,
    quasi_fermi_level,
    semiclassical_density,
)
from mlnegf.nanosheet.subbands import empty_section
from mlnegf.scf.problem import Problem
from mlnegf.scf.solve import solve


@pytest.mark.parametrize("eta", [-20.0, -3.0, 0.0, 2.5, 15.0, 60.0])
def test_fermi_integral(eta: float) -> None:
    direct = quad(lambda s: 2 / np.sqrt(np.pi) / (1 + np.exp(min(s**2 - eta, 700))), 0, 12, points=[max(eta, 0) ** 0.5])
    value, slope = fermi_integral(np.array([eta]))
    assert value[0] == pytest.approx(direct[0], rel=1e-7)
    step = 1e-4
    difference = fermi_integral(np.array([eta + step]))[0] - fermi_integral(np.array([eta - step]))[0]
    assert slope[0] == pytest.approx(difference[0] / (2 * step), rel=1e-5)


def test_limits() -> None:
    """F → e^η far below the band and 2√(η/π) far above."""
    assert fermi_integral(np.array([-30.0]))[0][0] == pytest.approx(np.exp(-30.0), rel=1e-9)
    assert fermi_integral(np.array([100.0]))[0][0] == pytest.approx(2 * np.sqrt(100 / np.pi), rel=1e-3)


def test_the_start_is_neutral_at_both_ends() -> None:
    device = Device(width=4.0, gate_length=8.0, spacing=(0.5, 0.5, 0.5))
    problem = Problem.of(device, 0.2, 0.3)
    density = semiclassical_density(device, problem.negf.basis.section, quasi_fermi_level(device, 0.3))
    lines = (density(problem.semiclassical())[0] * device.grid.volumes).sum(axis=1) / device.grid.dx
    assert lines[[0, -1]] == pytest.approx(device.donors * device.width * device.thickness, rel=0.01)
    assert lines[len(lines) // 2] < 0.5 * lines[0], "the gate has emptied the channel"


def test_the_fermi_level_falls_under_the_gate_only() -> None:
    device = Device(spacing=(0.5, 0.5, 0.5))
    level = quasi_fermi_level(device, 0.4)
    assert (level[device.grid.x < 8] == 0).all()
    assert (level[device.grid.x > 18] == -0.4).all()
    assert (np.diff(level) <= 0).all()


def test_the_table_is_the_sum_over_all_subbands() -> None:
    """At 300 K and where the Fermi function is sharp, against the sum over every subband at every cell."""
    for kelvin in (10.0, 300.0):
        device = Device(width=4.0, spacing=(0.5, 0.5, 0.5), temperature=kelvin)
        section, kT = empty_section(device), device.thermal_energy
        table = LocalFilling.of(section, kT, 1.0)
        local = np.linspace(-0.1, 1.0, 4001)[:, None] * np.ones(len(section.weights))
        exact = sum(
            states * functions.numpy()[:, rank] ** 2 * fermi_integral((local - float(energies[rank])) / kT)[0]
            for functions, energies, states in zip(
                section.functions, section.energies, line_states(section, kT), strict=True
            )
            for rank in range(len(energies))
        )
        found, slope = table(local)
        filled = exact > 1e-4 * exact.max()
        # A relative error of the density is kT times as large in the potential: 1e-8 V.
        assert abs(found / exact - 1)[filled].max() < 4e-7
        rise = np.diff(exact, axis=0) / np.diff(local, axis=0)
        assert abs(slope[1:] + slope[:-1] - 2 * rise).max() < 0.02 * rise.max()


@pytest.mark.parametrize(
    ("width", "thickness", "doping", "expected"),
    [(6.0, 3.0, 1e20, 3.23), (10.0, 5.0, 1e20, 2.58), (10.0, 10.0, 1e20, 2.33), (10.0, 5.0, 5e19, 1.80)],
)
def test_light_masses_are_neutral_far_above_their_band_edge(
    width: float, thickness: float, doping: float, expected: float
) -> None:
    """Summed over all subbands; those within 0.5 eV of the lowest would ask for 4.18 V in the last case."""
    device = Device(
        width=width, thickness=thickness, doping=doping, semiconductor="indium gallium arsenide",
        spacing=(0.5, 0.5, 0.5), gate_length=4.0, source_length=4.0, drain_length=4.0,
    )  # fmt: skip
    section = empty_section(device)
    found = neutral_potential(device, section)
    assert found == pytest.approx(expected, abs=0.006)
    lines = sum(
        float(states * fermi_integral((found - energies.numpy()) / device.thermal_energy)[0].sum())
        for energies, states in zip(section.energies, line_states(section, device.thermal_energy), strict=True)
    )
    assert lines == pytest.approx(device.donors * width * thickness, rel=1e-9)


def test_a_device_of_light_electrons_is_solved() -> None:
    device = Device(
        gate_length=6.0, source_length=6.0, drain_length=6.0, spacing=(0.5, 0.5, 0.5),
        semiconductor="indium gallium arsenide",
    )  # fmt: skip
    assert solve(device, 0.4, 0.3).converged
