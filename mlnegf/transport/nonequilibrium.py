"""Current of uncoupled subbands, and the charge that the contact with the higher edge adds above both edges.

Below it one contact alone injects, and what it would fill is the matter of `equilibrium`; here, on the real axis, is
what the other contact changes, A_high (f_high − f_low), and the flux T (f_S − f_D).
"""

from dataclasses import dataclass

import torch

from mlnegf.transport.chains import Chains, ChainStates, gathered, solved
from mlnegf.transport.contacts import Contacts
from mlnegf.transport.quadrature import ABOVE, EnergyPoints, Panels, above, energies_of, refine
from mlnegf.units import CONDUCTANCE_QUANTUM

Tensor = torch.Tensor


@dataclass(frozen=True, eq=False)
class NonequilibriumCharge:
    """Current of every chain, and the charge that the contact with the higher edge injects beyond the other's filling.

    Both are integrals over the energies above both edges; the rest of the charge is that of `equilibrium`.

    Attributes
    ----------
    density : Tensor, (K, nx)
        (1/2πa) ∫ A_high (f_high − f_low) dE, electrons per nm.
    current : Tensor, (K,)
        A, positive when electrons flow from source to drain.
    panels : Panels
        Above the higher edge.
    points : EnergyPoints
        Rows are panels.
    states : ChainStates
        At all points, panel by panel.
    quadrature_error : float
        Σ over panels of the largest |Kronrod − Gauss|, electrons per nm: a bound far above the error of the Kronrod
        rule.
    unresolved : float
        Largest panel defect left after the last halving, in tolerances; 0 when all met it.
    """

    density: Tensor
    current: Tensor
    panels: Panels
    points: EnergyPoints
    states: ChainStates
    quadrature_error: float
    unresolved: float


def energy_window(chains: Chains, contacts: Contacts) -> tuple[Tensor, Tensor, Tensor]:
    """Lower edge, higher edge and upper end of the energies that matter, (K,), eV; low ≤ high ≤ top."""
    low, high = torch.minimum(*chains.edges), torch.maximum(*chains.edges)
    highest = chains.onsite.max(-1).values.clamp_min(max(contacts.source, contacts.drain))
    top = torch.minimum(highest + 30 * contacts.kT, low + 3.999 * chains.hopping)
    return low, torch.minimum(high, top), top


def nonequilibrium_charge(
    chains: Chains, contacts: Contacts, density_scale: float, tolerance: float = 1e-6
) -> NonequilibriumCharge:
    """Integrate current, and charge out of equilibrium with the lower edge's contact, above both edges.

    Parameters
    ----------
    chains, contacts
        The problem.
    density_scale : float
        Electrons per nm against which the tolerance of the charge is measured.
    tolerance : float
        Largest |Kronrod − Gauss| of one panel, relative to `density_scale`, and to the injected flux for the current.
    """
    _, high, top = energy_window(chains, contacts)
    flux_scale: list[Tensor] = []
    solved: list[ChainStates] = []

    def defect(points: EnergyPoints) -> Tensor:
        solved.append(_solve(chains, points))
        density, current, flux = _integrands(points, solved[-1], chains, contacts)
        difference = (points.weight - points.gauss_weight)[..., None]
        if not flux_scale:
            flux_scale.append((points.weight * flux).sum() + 1e-300)
        charge_error = (difference * density).sum(1).abs().max(-1).values / density_scale
        current_error = (difference[..., 0] * current).sum(1).abs() / flux_scale[0]
        return torch.maximum(charge_error, current_error) / tolerance

    first = Panels.cut(torch.arange(len(high)), (top - high).sqrt(), ABOVE)
    panels, rows, unresolved = refine(first, lambda some: above(some, high), defect)
    points, states = above(panels, high), gathered(solved, energies_of(rows))
    density, current, _ = _integrands(points, states, chains, contacts)
    error = ((points.weight - points.gauss_weight)[..., None] * density).sum(1).abs().max(-1).values.sum()
    charge, flow = _integrals(points, density, current, len(high))
    return NonequilibriumCharge(
        density=charge,
        current=flow,
        panels=panels,
        points=points,
        states=states,
        quadrature_error=float(error),
        unresolved=unresolved,
    )


def density_and_current_on(panels: Panels, chains: Chains, contacts: Contacts) -> tuple[Tensor, Tensor]:
    """Charge (K, nx) and current (K,) of chains on panels chosen for others, whose edges they follow."""
    _, high, _ = energy_window(chains, contacts)
    points = above(panels, high)
    density, current, _ = _integrands(points, _solve(chains, points), chains, contacts)
    return _integrals(points, density, current, len(high))


def _integrals(points: EnergyPoints, density: Tensor, current: Tensor, modes: int) -> tuple[Tensor, Tensor]:
    charge = by_mode(points.mode, (points.weight[..., None] * density).sum(1), modes)
    return charge, by_mode(points.mode, (points.weight * current).sum(1), modes) * CONDUCTANCE_QUANTUM


def _solve(chains: Chains, points: EnergyPoints) -> ChainStates:
    modes, energy = points.modes, points.energy.reshape(-1)
    return solved(chains.onsite[modes], chains.hopping[modes], energy, chains.scattering)


def _integrands(
    points: EnergyPoints, states: ChainStates, chains: Chains, contacts: Contacts
) -> tuple[Tensor, Tensor, Tensor]:
    """Charge beyond the lower contact's filling (P, 15, nx), net and one-way flux (P, 15), all for weights dE."""
    source, drain = contacts.occupation(points.energy)
    density = beyond(chains, points, states, source, drain) * chains.per_state[points.mode][:, None, None]
    flux = states.transmission.reshape(points.energy.shape) * (chains.degeneracy[points.mode] / 2)[:, None]
    return density, flux * (source - drain), flux * torch.maximum(source, drain)


def beyond(chains: Chains, points: EnergyPoints, states: ChainStates, source: Tensor, drain: Tensor) -> Tensor:
    """A_high (w_high − w_low) of weights w (P, 15) of source and drain, (P, 15, nx)."""
    shape = points.energy.shape
    left_is_low = chains.left_is_low[points.mode][:, None]
    excess = torch.where(left_is_low, drain - source, source - drain)[..., None]
    injected: Tensor = torch.where(
        left_is_low[..., None],
        states.right_injected.reshape(*shape, -1),
        states.left_injected.reshape(*shape, -1),
    )
    return excess * injected


def by_mode(mode: Tensor, values: Tensor, modes: int) -> Tensor:
    """Sum values (P, ...) of panels over each subband, (K, ...)."""
    return torch.zeros(modes, *values.shape[1:], dtype=values.dtype).index_add_(0, mode, values)
