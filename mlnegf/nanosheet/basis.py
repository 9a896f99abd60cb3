"""How many transverse functions: what those left out of the basis would change, and bases that leave out little.

To first order a function b outside the basis mixes into a subband m with the amplitude

    a_bm = U_bm / (E_m − ε_b − U_bb),    δψ_m = Σ_b a_bm ψ_b,    δE_m = Σ_b U_bm a_bm,

U the potential energy, ε_b the level of the empty section; the basis holds the lowest functions, so that the
denominators are negative. The functions left out that matter are the next ones: as many as the basis has are asked.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from mlnegf._common import Floats
from mlnegf.nanosheet.device import Device
from mlnegf.nanosheet.poisson import Poisson
from mlnegf.nanosheet.semiclassical import (
    LocalFilling,
    fermi_integral,
    line_states,
    neutral_potential,
    semiclassical_density,
)
from mlnegf.nanosheet.subbands import Section, Subbands, TransverseBasis, empty_section, solve_subbands

Tensor = torch.Tensor

SMALLEST = 8
"""Functions of a family at least."""
STRONG_GATE = 0.9
"""Potential on the oxide's surface that a basis is made for, V."""
NEGLIGIBLE = 0.5
"""Largest share of the density that a family's functions left out may move, for each volt of tolerance.

Moving a thousandth of the density moves the potential by 0.02 to 0.06 mV, in sheets from 6 × 3 to 20 × 3 and 12 × 6 nm:
what is left out is a twentieth of the tolerance.
"""


@dataclass(frozen=True, eq=False)
class LeftOut:
    """What the next functions of one family would do to K of its subbands, in nx slices.

    Attributes
    ----------
    levels : Tensor, (K, nx)
        δE_m, eV; negative.
    shapes : Tensor, (K, nx, C)
        δ|ψ_m|², nm⁻²; its integral over the section vanishes.
    """

    levels: Tensor
    shapes: Tensor


def left_out(basis: TransverseBasis, family: int, subbands: Subbands, rank: Tensor, energy: Tensor) -> LeftOut:
    """Estimate by perturbation what functions outside the basis would do.

    Parameters
    ----------
    family : int
    subbands : Subbands
        Solved in the basis at the potential energy `energy` (nx, C), eV.
    rank : Tensor, (K,)
        The family's subbands asked.
    """
    size, section = basis.sizes[family], basis.section
    after = slice(size, 2 * size + SMALLEST)
    beyond, levels = section.functions[family][:, after], section.energies[family][after]
    coefficients = subbands.coefficients[family, :, :size, :size][:, :, rank]
    waves = (basis.family(family)[0] @ coefficients).permute(2, 0, 1)
    weighted = energy * basis.weights
    coupling = (waves * weighted) @ beyond
    gap = subbands.energies[family][:, rank].T[..., None] - levels - weighted @ beyond.square()
    amplitude = coupling / gap.clamp_max(-1e-3)
    return LeftOut((coupling * amplitude).sum(-1), 2 * waves * (amplitude @ beyond.T))


def open_filling(device: Device) -> LocalFilling:
    """Tabulate the local filling of the empty section as far as a wide open channel and the doped ends ask for."""
    section, kT = empty_section(device), device.thermal_energy
    highest = max(STRONG_GATE, neutral_potential(device, section)) - float(device.grid.band_edge.min())
    return LocalFilling.of(section, kT, highest + 30 * kT)


def sufficient_basis(device: Device, tolerance: float, table: LocalFilling | None = None) -> TransverseBasis:
    """Choose for every family the number of functions that a wide open channel and the doped ends ask for.

    The potential there is that of the semiclassical start, of the middle of the gate and of the source alone. A basis
    is of the device, not of the bias, so that neighbouring biases are solved in the same space.

    Parameters
    ----------
    tolerance : float
        Of the potential, V: the basis is to err by a small share of it.
    table : LocalFilling, optional
        That of `open_filling`, if it is there already.
    """
    table = table or open_filling(device)
    section, kT = table.section, device.thermal_energy
    neutral = neutral_potential(device, section)
    gated = int(np.flatnonzero(device.grid.gated).mean())
    places = (slice(0, 1), neutral), (slice(gated, gated + 1), STRONG_GATE)
    energy = torch.from_numpy(np.concatenate([_potential_energy(device, table, *place) for place in places]))
    families = [section.alone(family) for family in range(len(section.energies))]
    sizes = list(TransverseBasis.of(section, [SMALLEST] * len(families)).sizes)
    asked = [_next_functions(*each, kT, energy) for each in zip(families, sizes, strict=True)]
    while True:
        peak = sum((one.density for one in asked), torch.zeros_like(energy)).amax(1, keepdim=True)
        few = [
            family
            for family, one in enumerate(asked)
            if sizes[family] < len(section.energies[family])
            and float((one.moved / peak).max()) > NEGLIGIBLE * tolerance
        ]
        if not few:
            return TransverseBasis.of(section, sizes)
        for family in few:
            (sizes[family],) = TransverseBasis.of(families[family], [sizes[family] + sizes[family] // 4]).sizes
            asked[family] = _next_functions(families[family], sizes[family], kT, energy)


def _potential_energy(device: Device, table: LocalFilling, place: slice, start: float) -> Floats:
    """Potential energy (1, C), eV, of one slice by itself, filled up to a Fermi level of 0."""
    poisson = Poisson.of(device, place)
    density = semiclassical_density(device, table.section, np.zeros(1), place, table)
    potential, _ = poisson.solve(density, STRONG_GATE, np.full(poisson.donors.shape, start), 1e-4)
    return np.asarray(device.grid.band_edge[place] - potential[:, device.grid.channel_cells])


class _Asked(NamedTuple):
    """Density (nx, C), nm⁻³, of one family with its subbands filled up to 0, and what its next functions would move."""

    density: Tensor
    moved: Tensor


def _next_functions(section: Section, size: int, kT: float, energy: Tensor) -> _Asked:
    """Ask what the next functions would do to a `section` of one family, of which `size` functions are taken."""
    basis = TransverseBasis.of(section, [size])
    subbands = solve_subbands(basis, energy)
    (states,) = line_states(section, kT).tolist()

    def filled(levels: Tensor) -> Tensor:
        return torch.from_numpy(states * fermi_integral(-levels.numpy() / kT)[0])

    lines = filled(subbands.energies[0])
    waves = basis.functions[0] @ subbands.coefficients[0]
    density = (waves.square() * lines[:, None, :]).sum(-1)
    change = left_out(basis, 0, subbands, torch.arange(size), energy)
    moved = (change.shapes * lines.T[..., None]).sum(0).abs()
    beyond = section.functions[0][:, size : size + SMALLEST].square()
    empty = section.energies[0][size : size + SMALLEST] + (energy * basis.weights) @ beyond
    return _Asked(density, moved + filled(empty) @ beyond.T)
