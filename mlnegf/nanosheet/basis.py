"""How many transverse functions: what those left out of the basis would change, and bases that leave out little.

To first order a function b outside the basis mixes into a subband m with the amplitude

    a_bm = U_bm / (E_m − ε_b − U_bb),    δψ_m = Σ_b a_bm ψ_b,    δE_m = Σ_b U_bm a_bm,

U the potential energy, ε_b the level of the empty section; the basis holds the lowest functions, so that the
denominators are negative. The functions left out that matter are the next ones: as many as the basis has are asked.
"""

from dataclasses import dataclass

import numpy as np
import torch

from mlnegf._common import Floats
from mlnegf.nanosheet.device import Device
from mlnegf.nanosheet.poisson import Poisson
from mlnegf.nanosheet.semiclassical import fermi_integral, line_states, neutral_potential, semiclassical_density
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


def sufficient_basis(device: Device, tolerance: float) -> TransverseBasis:
    """Choose for every family the number of functions that a wide open channel and the doped ends ask for.

    The potential there is that of the semiclassical start, of the middle of the gate and of the source alone. A basis
    is of the device, not of the bias, so that neighbouring biases are solved in the same space.

    Parameters
    ----------
    tolerance : float
        Of the potential, V: the basis is to err by a small share of it.
    """
    section = empty_section(device)
    gated = int(np.flatnonzero(device.grid.gated).mean())
    places = [slice(0, 1), slice(gated, gated + 1)]
    slices = [_potential_energy(device, section, place) for place in places]
    energy = torch.from_numpy(np.concatenate(slices))
    sizes = [SMALLEST] * len(section.energies)
    while True:
        basis = TransverseBasis.of(section, sizes)
        few = _insufficient(basis, device.thermal_energy, energy, NEGLIGIBLE * tolerance)
        if not few:
            return basis
        sizes = [size + size // 4 if family in few else size for family, size in enumerate(basis.sizes)]


def _potential_energy(device: Device, section: Section, place: slice) -> Floats:
    """Potential energy (1, C), eV, of one slice by itself, filled up to a Fermi level of 0."""
    poisson = Poisson.of(device, place)
    density = semiclassical_density(device, section, np.zeros(1), place)
    neutral = neutral_potential(device, section)
    start = np.full(poisson.donors.shape, STRONG_GATE if device.grid.gated[place][0] else neutral)
    potential, _ = poisson.solve(density, STRONG_GATE, start, 1e-4)
    return np.asarray(device.grid.band_edge[place] - potential[:, device.grid.channel_cells])


def _insufficient(basis: TransverseBasis, kT: float, energy: Tensor, negligible: float) -> set[int]:
    """Families that have functions left out which would move the density, subbands filled up to 0."""
    section = basis.section
    subbands = solve_subbands(basis, energy)
    states = torch.from_numpy(line_states(section, kT))
    moved, total = [], torch.zeros_like(energy)

    def filled(levels: Tensor, family: int) -> Tensor:
        return states[family] * torch.from_numpy(fermi_integral(-levels.numpy() / kT)[0])

    for family, size in enumerate(basis.sizes):
        functions = basis.family(family)[0]
        lines = filled(subbands.energies[family, :, :size], family)
        waves = functions @ subbands.coefficients[family, :, :size, :size]
        total += (waves.square() * lines[:, None, :]).sum(-1)
        change = left_out(basis, family, subbands, torch.arange(size), energy)
        density = (change.shapes * lines.T[..., None]).sum(0).abs()
        beyond = section.functions[family][:, size : size + SMALLEST].square()
        empty = section.energies[family][size : size + SMALLEST] + (energy * basis.weights) @ beyond
        moved.append(density + filled(empty, family) @ beyond.T)
    peak = total.amax(1, keepdim=True)
    complete = [size == len(levels) for size, levels in zip(basis.sizes, section.energies, strict=True)]
    return {
        family
        for family, density in enumerate(moved)
        if not complete[family] and float((density / peak).max()) > negligible
    }
