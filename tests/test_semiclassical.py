"""Fermi integrals against their limits and a direct integral; the start is neutral where it should be."""

import numpy as np
import pytest
from scipy.integrate import quad

from mlnegf.nanosheet.device import Device
from mlnegf.nanosheet.semiclassical import fermi_integral, quasi_fermi_level, semiclassical_density
from mlnegf.scf.problem import Problem


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
    problem = Problem(device, 0.2, 0.3)
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
