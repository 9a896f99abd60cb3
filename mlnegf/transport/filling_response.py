"""How charge and current of chains answer to what fills them, Fermi levels and temperature, and to their hopping.

At fixed site energies, hence at fixed energies of the quadrature, μ_S, μ_D and kT enter through the occupations alone,

    ∂f/∂μ = f(1 − f)/kT,    ∂f/∂kT = (E − μ)/kT · f(1 − f)/kT,                                      (1)

on the real axis and on the contour alike, which may stay where it is: the integral does not depend on it. For the
hopping nothing new has to be solved. Multiply every energy by a number: charge stays, current grows by it,

    N(αE_m, αt, αμ_S, αμ_D, αkT) = N(E_m, t, μ_S, μ_D, kT),    I(α …) = α I(…),                     (2)

so that by Euler's theorem

    t ∂N/∂t = −Σ_x E_m(x) ∂N/∂E_m(x) − Σ_i μ_i ∂N/∂μ_i − kT ∂N/∂kT,    t ∂I/∂t = I − …             (3)
"""

from dataclasses import dataclass

import torch

from mlnegf.transport.chain_charge import ChainCharge
from mlnegf.transport.contacts import Contacts
from mlnegf.transport.equilibrium import occupation, reference_level
from mlnegf.transport.nonequilibrium import beyond, by_mode
from mlnegf.units import CONDUCTANCE_QUANTUM

Tensor = torch.Tensor

LEVELS = ("source", "drain", "kT")
"""What fills chains, in the order of the arrays here; those of `Contacts`, eV."""


@dataclass(frozen=True, eq=False)
class FillingResponse:
    """Derivatives of K chains of nx sites by the entries of `LEVELS`, and by their own hopping.

    Attributes
    ----------
    density : Tensor, (3, K, nx)
        Electrons per nm and eV, by μ_S, μ_D and kT.
    current : Tensor, (3, K)
        A/eV.
    density_by_hopping : Tensor, (K, nx)
        Of each chain by its own t, electrons per nm and eV; leads follow.
    current_by_hopping : Tensor, (K,)
        A/eV.
    """

    density: Tensor
    current: Tensor
    density_by_hopping: Tensor
    current_by_hopping: Tensor


def filling_response(lines: ChainCharge) -> FillingResponse:
    """Differentiate charge and current: equations (1) and (3)."""
    chains, contacts = lines.chains, lines.contacts
    density, current = _on_axis(lines)
    density = density + _on_contour(lines) + _of_bound(lines)
    levels = torch.tensor([contacts.source, contacts.drain, contacts.kT], dtype=density.dtype)
    moved, flow = lines.respond(chains.onsite)
    return FillingResponse(
        density,
        current,
        -(moved + torch.einsum("l,lkx->kx", levels, density)) / chains.hopping[:, None],
        (lines.current - flow - levels @ current) / chains.hopping,
    )


def _slopes(contacts: Contacts, energy: Tensor, level: Tensor | float, occupied: Tensor) -> tuple[Tensor, Tensor]:
    """∂f/∂μ and ∂f/∂kT, 1/eV: equation (1)."""
    by_level = -contacts.slope(occupied)
    return by_level, (energy - level) / contacts.kT * by_level


def _on_axis(lines: ChainCharge) -> tuple[Tensor, Tensor]:
    """Of the charge that the contact with the higher edge adds (3, K, nx), and of the current (3, K)."""
    chains, contacts, part = lines.chains, lines.contacts, lines.nonequilibrium
    points, states = part.points, part.states
    filled = contacts.occupation(points.energy)
    source, drain = (
        _slopes(contacts, points.energy, level, occupied)
        for level, occupied in zip((contacts.source, contacts.drain), filled, strict=True)
    )
    none = torch.zeros_like(points.energy)
    changes = (source[0], none), (none, drain[0]), (source[1], drain[1])
    flux = states.transmission.reshape(points.energy.shape) * (chains.degeneracy[points.mode] / 2)[:, None]
    weight = points.weight * chains.per_state[points.mode][:, None]
    subbands = len(chains.onsite)
    density = [
        by_mode(points.mode, (weight[..., None] * beyond(chains, points, states, *change)).sum(1), subbands)
        for change in changes
    ]
    current = [
        by_mode(points.mode, (points.weight * flux * (left - right)).sum(1), subbands) for left, right in changes
    ]
    return torch.stack(density), torch.stack(current) * CONDUCTANCE_QUANTUM


def _on_contour(lines: ChainCharge) -> Tensor:
    """Of the charge that the contact with the lower edge fills, (3, K, nx)."""
    chains, contacts, part = lines.chains, lines.contacts, lines.equilibrium
    points = part.points
    level = reference_level(chains, contacts)[points.mode][:, None]
    slopes = _slopes(contacts, points.energy, level, occupation(chains, contacts, points))
    diagonal = part.resolvent.diagonal.reshape(*points.energy.shape, -1)
    weight = -2 * points.weight * chains.per_state[points.mode][:, None]
    by_level, by_temperature = (
        by_mode(points.mode, ((weight * slope)[:, None] @ diagonal).imag[:, 0], len(chains.onsite)) for slope in slopes
    )
    mine = chains.left_is_low[:, None].to(by_level.dtype)
    return torch.stack([mine * by_level, (1 - mine) * by_level, by_temperature])


def _of_bound(lines: ChainCharge) -> Tensor:
    """Of bound states, whose shares no Fermi level changes, (3, K, nx)."""
    contacts, bound = lines.contacts, lines.bound
    energy = torch.as_tensor(bound.energy)
    changes = []
    for side, level in enumerate((contacts.source, contacts.drain)):
        slopes = _slopes(contacts, energy, level, contacts.occupation(energy)[side])
        changes.append([slope.numpy() * bound.shares[:, side] for slope in slopes])
    (source, source_warmth), (drain, drain_warmth) = changes
    parts = (source, drain, source_warmth + drain_warmth)
    return torch.stack([bound.density(lines.chains, part) for part in parts])
