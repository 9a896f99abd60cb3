"""Electron density that is classical along x and confined across: subbands of the empty section, filled locally.

Each subband of the empty section follows the local potential and is filled by a local Fermi level. The density of a
parabolic one-dimensional band is g √(m kT/(2πħ²)) F_{−1/2}((μ − E)/kT) for g electrons a state, with F normalised so
that F(η) → e^η far below the band.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from scipy.optimize import brentq

from mlnegf._common import Floats
from mlnegf.nanosheet.device import Device
from mlnegf.nanosheet.poisson import Density
from mlnegf.nanosheet.subbands import Section
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
    # The points are evenly spaced: no search.
    piece = ((limited - _LOWEST) * ((spline.x.size - 1) / (_HIGHEST - _LOWEST))).astype(int).clip(0, spline.x.size - 2)
    way = limited - spline.x[piece]
    cubic, square, linear, constant = (part[piece] for part in spline.c)
    value = np.exp(((cubic * way + square) * way + linear) * way + constant)
    slope = value * ((3 * cubic * way + 2 * square) * way + linear)
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


@dataclass(frozen=True, eq=False)
class LocalFilling:
    """Density of each cell of a section and its derivative, tabulated over the local potential above the Fermi level.

    Each of the C cells has one function of one variable, Σ_m g_m |ψ_m|² F_{−1/2}((η − E_m)/kT), however many subbands
    there are. Between the points stands the cubic through values and derivatives; the points lie kT/10 apart around
    each subband, where the function bends, and farther away from all.

    Attributes
    ----------
    section : Section
    potential : ndarray, (G,)
        eV.
    values, slopes : ndarray, (G, C)
        nm⁻³, and nm⁻³ per V.
    """

    section: Section
    potential: Floats
    values: Floats
    slopes: Floats

    @staticmethod
    def of(section: Section, kT: float, highest: float) -> "LocalFilling":
        """Tabulate up to a potential `highest`, eV, all subbands that it fills."""
        families = [np.full(len(energies), family) for family, energies in enumerate(section.energies)]
        family, energies = np.concatenate(families), torch.cat(section.energies).numpy()
        filled = energies < highest - _LOWEST * kT
        levels = np.sort(energies[filled])
        even = np.arange(levels[0] + _LOWEST * kT, highest + kT, kT / 10)
        place = np.searchsorted(levels, even).clip(1, len(levels) - 1)
        away = np.minimum(abs(even - levels[place - 1]), abs(even - levels[place])) / kT
        points = np.cumsum(1 / np.maximum(1.0, away / 12))
        potential = np.interp(np.arange(points[0], points[-1] + 1), points, even)

        shapes = torch.cat(section.functions, 1).numpy()[:, filled] ** 2 * line_states(section, kT)[family[filled]]
        values, slopes = fermi_integral((potential[:, None] - energies[filled]) / kT)
        return LocalFilling(section, potential, values @ shapes.T, slopes @ shapes.T / kT)

    def __call__(self, potential: Floats) -> tuple[Floats, Floats]:
        """Density (nm⁻³) and its derivative (per V) at local potentials (nx, C); constant below the table."""
        potential = np.clip(potential, self.potential[0], self.potential[-1])
        row = np.searchsorted(self.potential[1:-1], potential, side="right")
        place = row * potential.shape[1] + np.arange(potential.shape[1])
        low, high, low_slope, high_slope = (
            table.ravel().take(place + shift)
            for table in (self.values, self.slopes)
            for shift in (0, potential.shape[1])
        )
        step = np.diff(self.potential)[row]
        return hermite(potential - self.potential[row], step, low, high, low_slope, high_slope)


def hermite(
    way: Floats, step: Floats, low: Floats, high: Floats, low_slope: Floats, high_slope: Floats
) -> tuple[Floats, Floats]:
    """Cubic through values and derivatives at 0 and `step`, and its derivative, at 0 ≤ `way` ≤ `step`."""
    t = way / step
    rise = (high - low) / step
    bend, twist = 3 * rise - 2 * low_slope - high_slope, low_slope + high_slope - 2 * rise
    return low + way * (low_slope + t * (bend + t * twist)), low_slope + t * (2 * bend + 3 * t * twist)


def semiclassical_density(
    device: Device,
    section: Section,
    fermi_level: Floats,
    slices: slice = slice(None),
    table: LocalFilling | None = None,
) -> Density:
    """Return n(φ) on the folded grid for a Fermi level along x (nx,), eV; or on some `slices` of it.

    A `table` of the section's filling, if there is one already, is used as far as it reaches.
    """
    grid, kT = device.grid, device.thermal_energy
    lift = fermi_level[:, None] - grid.band_edge[slices]

    def density(potential: Floats) -> tuple[Floats, Floats]:
        nonlocal table
        local = potential[:, grid.channel_cells] + lift
        if table is None or local.max() > table.potential[-1]:
            # Subbands, and with them the table, as many as the filling needs.
            table = LocalFilling.of(section, kT, float(local.max()) + 30 * kT)
        values, slope = np.zeros_like(potential), np.zeros_like(potential)
        values[:, grid.channel_cells], slope[:, grid.channel_cells] = table(local)
        return values, slope

    return density


def neutral_potential(device: Device, section: Section) -> float:
    """Uniform potential that makes the source's section neutral, V: there is one, however light the mass."""
    grid, kT = device.grid, device.thermal_energy
    cells = grid.volumes[grid.channel_cells]
    wanted = device.donors * grid.volumes[grid.doped_cells].sum()
    # Cells of one band edge are filled alike: the electrons they hold of each subband, and its energy.
    edges, kind = np.unique(grid.band_edge[0], return_inverse=True)
    share = np.zeros((len(edges), len(cells)))
    share[kind, np.arange(len(cells))] = cells
    held, levels = (
        np.concatenate(parts, 1)
        for parts in zip(
            *(
                (states * share @ functions.numpy() ** 2, edges[:, None] + energies.numpy())
                for functions, energies, states in zip(
                    section.functions, section.energies, line_states(section, kT), strict=True
                )
            ),
            strict=True,
        )
    )

    def excess(potential: float) -> float:
        return float((held * fermi_integral((potential - levels) / kT)[0]).sum() / wanted - 1)

    low = min(float(energies[0]) for energies in section.energies) + float(grid.band_edge[0].min()) + _LOWEST * kT
    high = low + 60 * kT
    while excess(high) < 0:
        low, high = high, high + 0.5
    return float(brentq(excess, low, high, xtol=1e-13, rtol=1e-13))


def line_states(section: Section, kT: float) -> Floats:
    """States per nm within kT of each family's band edges: g √(m kT/2πħ²), (F,)."""
    mass, electrons = section.mass_x.numpy(), 2 * section.degeneracy.numpy()
    return np.asarray(electrons * np.sqrt(mass * kT / (4 * np.pi * HBAR2_OVER_2M0)))
