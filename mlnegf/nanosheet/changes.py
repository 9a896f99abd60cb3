"""What anything but the potential changes in a NEGF solve of uncoupled modes, the potential held.

Whatever it is, it reaches charge and current by four ways: the levels of the subbands, their shapes, their hopping, and
what fills them. A `Change` says how far each of the four moves; `answered` says what comes of it. Levels and shapes
follow a change δT of the kinetic energy across by first-order perturbation,

    δE_m = ⟨m|δH|m⟩,    δψ_m = Σ_n≠m ψ_n ⟨n|δH|m⟩/(E_m − E_n) + Σ_b C_bm δf_b,                       (1)

C the coefficients of subband m. The basis, the lowest functions f_b of the empty section, follows by the functions o
outside it, and with it the matrix elements of the potential U:

    δf_b = Σ_o f_o ⟨o|δT|b⟩/(ε_b − ε_o),    ⟨b|δH|b'⟩ = ⟨b|δT|b'⟩ + ⟨δf_b|U|b'⟩ + ⟨b|U|δf_b'⟩.       (2)
"""

from dataclasses import dataclass, replace

import torch

from mlnegf._common import Floats
from mlnegf.nanosheet.subbands import potential_energy, section_slopes
from mlnegf.nanosheet.uncoupled import UncoupledCharge
from mlnegf.transport.filling_response import LEVELS

Tensor = torch.Tensor

DEGENERATE = 1e-9
"""Levels of the empty section nearer than this do not mix, eV: a basis that parted them would be no subspace."""


@dataclass(frozen=True, eq=False)
class Change:
    """How K kept subbands and what fills them move.

    Attributes
    ----------
    levels : Tensor, (K, nx)
        δE_m(x), eV.
    hopping : Tensor, (K,)
        δt, eV.
    filling : Tensor, (3,)
        δμ_S, δμ_D and δkT, eV.
    shapes : Tensor, (nx, C)
        What new shapes of the subbands change of the density on `grid.channel_cells`, their line densities held, nm⁻³.
    """

    levels: Tensor
    hopping: Tensor
    filling: Tensor
    shapes: Tensor


def no_change(charge: UncoupledCharge) -> Change:
    """Return the change that is none."""
    like = charge.lines.chains.onsite
    subbands, sites = like.shape
    return Change(
        levels=torch.zeros_like(like),
        hopping=like.new_zeros(subbands),
        filling=like.new_zeros(len(LEVELS)),
        shapes=like.new_zeros(sites, len(charge.basis.weights)),
    )


def of_filling(charge: UncoupledCharge, **levels: float) -> Change:
    """Move Fermi levels and kT, eV: names of `LEVELS`."""
    moved = [levels.pop(name, 0.0) for name in LEVELS]
    assert not levels
    none = no_change(charge)
    return replace(none, filling=none.filling.new_tensor(moved))


def of_mass_along(charge: UncoupledCharge, valley: int) -> Change:
    """Make the mass along x of one of `device.valleys` larger by 1 m₀, to first order: δt = −t/m."""
    none, family = no_change(charge), charge.family
    mine = _families(charge, valley)
    hit = (family >= mine.start) & (family < mine.stop)
    return replace(none, hopping=torch.where(hit, -charge.lines.chains.hopping / charge.basis.mass_x[family], 0.0))


def of_mass_across(charge: UncoupledCharge, potential: Floats, valley: int, axis: int) -> Change:
    """Make the mass along y (`axis` 0) or z (1) of one valley larger by 1 m₀, to first order: equations (1) and (2).

    Parameters
    ----------
    potential : ndarray, (nx, cells)
        That was solved, V.
    """
    none, basis = no_change(charge), charge.basis
    weighted = potential_energy(charge.device.grid, potential) * basis.weights
    slopes = section_slopes(charge.device, basis.section, valley, axis)
    for family, slope in zip(_families(charge, valley), slopes, strict=True):
        mine = charge.family == family
        if not bool(mine.any()):
            continue
        size, rank = basis.sizes[family], charge.rank[mine]
        functions, levels = basis.family(family)
        beyond, above = basis.section.functions[family][:, size:], basis.section.energies[family][size:]
        gap = levels - above[:, None]
        follow = beyond @ torch.where(gap.abs() > DEGENERATE, slope[size:, :size] / gap, 0.0)
        mixed = (functions.T * weighted[:, None]) @ follow
        coefficients = charge.subbands.coefficients[family, :, :size, :size]
        kept = coefficients[:, :, rank]
        perturbation = kept.mT @ (slope[:size, :size] + mixed + mixed.mT) @ coefficients
        none.levels[mine] = perturbation.gather(-1, rank.expand(len(perturbation), -1)[..., None])[..., 0].T
        none.shapes.add_(charge.polarisation.mixed(family, perturbation))
        waves = kept.mT @ functions.T
        filled = charge.line_density[mine].T[..., None]
        none.shapes.add_(2 * (filled * waves * (kept.mT @ follow.T)).sum(1))
    return none


def _families(charge: UncoupledCharge, valley: int) -> range:
    """Families of one valley: its mirror symmetries."""
    symmetries = len(charge.basis.sizes) // len(charge.device.valleys)
    return range(valley * symmetries, (valley + 1) * symmetries)


def answered(charge: UncoupledCharge, change: Change) -> tuple[Floats, float]:
    """Return what a change does to the density, (nx, cells), nm⁻³, and to the current, A, at a fixed potential."""
    lines, filling = charge.lines, charge.filling_response
    density, current = lines.respond(change.levels)
    density = density + torch.einsum("l,lkx->kx", change.filling, filling.density)
    density = density + change.hopping[:, None] * filling.density_by_hopping
    current = current + change.filling @ filling.current + change.hopping * filling.current_by_hopping
    return charge.on_grid(torch.einsum("kx,kxc->xc", density, charge.shapes) + change.shapes), float(current.sum())
