"""Electron density that is classical along x and confined across: subbands of the empty section, filled locally.

Each subband of the empty section follows the local potential and is filled by a local Fermi level. The density of a
parabolic one-dimensional band is g √(m kT/(2πħ²)) F_{−1/2}((μ − E)/kT) for g electrons a state, with F normalised so
that F(η) → e^η far below the band.
"""

from functools import cache

import numpy as np
from scipy.interpolate import CubicSpline

from mlnegf._common import Floats
from mlnegf.nanosheet.device import Device
from mlnegf.nanosheet.poisson import Density
from mlnegf.nanosheet.subbands import TransverseBasis
from mlnegf.units import HBAR2_OVER_2M0

_LOWEST, _HIGHEST = -40.0, 120.0


@cache
def _logarithm_of_fermi_integral() -> CubicSpline:
    """Spline of ln F_{−1/2}: the trapezoidal rule in √E converges geometrically for this analytic, even integrand."""
    eta = np.linspace(_LOWEST, _HIGHEST, 1601)
    root = np.linspace(0, 14.0, 2801)
    weight = np.full(root.size, root[1])
    weight[0] /= 2
    occupation = 1 / (1 + np.exp(np.clip(root**2 - eta[:, None], -700, 700)))
    return CubicSpline(eta, np.log(2 / np.sqrt(np.pi) * occupation @ weight))


def fermi_integral(eta: Floats) -> tuple[Floats, Floats]:
    """F_{−1/2}(η) and its derivative; above η = 120 by Sommerfeld's expansion, below −40 as at −40."""
    spline = _logarithm_of_fermi_integral()
    limited = np.clip(eta, _LOWEST, _HIGHEST)
    value = np.exp(spline(limited))
    slope = value * spline(limited, 1)
    degenerate = eta > _HIGHEST
    if degenerate.any():
        root, bend = np.sqrt(eta[degenerate]), (np.pi / eta[degenerate]) ** 2
        value[degenerate] = 2 / np.sqrt(np.pi) * root * (1 - bend / 24)
        slope[degenerate] = 1 / np.sqrt(np.pi) / root * (1 + bend / 8)
    return value, slope


def quasi_fermi_level(device: Device, drain: float) -> Floats:
    """Fermi level along x, eV: the source's, falling linearly under the gate to the drain's −V_D."""
    begin, end = device.grid.gate
    fraction = np.clip((device.grid.x - begin) / (end - begin), 0, 1)
    return np.asarray(-drain * fraction)


def semiclassical_density(
    device: Device, basis: TransverseBasis, fermi_level: Floats, slices: slice = slice(None)
) -> Density:
    """Return n(φ) on the folded grid for a Fermi level along x (nx,), eV; or on some `slices` of it."""
    band_edge = device.grid.band_edge[slices]
    grid, kT = device.grid, device.thermal_energy
    shapes = basis.functions.numpy() ** 2
    energies = basis.energies.numpy()
    states = 2 * basis.degeneracy.numpy() * np.sqrt(basis.mass_x.numpy() * kT / (4 * np.pi * HBAR2_OVER_2M0))
    # Subbands far above the lowest hold nothing at any potential that the lowest one screens.
    families, ranks = np.nonzero(energies < energies.min() + max(25 * kT, 0.5))

    def density(potential: Floats) -> tuple[Floats, Floats]:
        local = (potential[:, grid.channel_cells] - band_edge + fermi_level[:, None]) / kT
        values, slope = np.zeros_like(potential), np.zeros_like(potential)
        for family, rank in zip(families, ranks, strict=True):
            filled, change = fermi_integral(local - energies[family, rank] / kT)
            weight = states[family] * shapes[family, :, rank]
            values[:, grid.channel_cells] += weight * filled
            slope[:, grid.channel_cells] += weight * change / kT
        return values, slope

    return density
