"""Exact linear response of the charge and the current of chains to their site energies.

The unknown is the site energy E(x), x = 0 … N, the leads following E(0) and E(N). With M = E − H − Σ and G = M⁻¹,

    δG = −G δM G.                                                                                  (1)

*Out of equilibrium* (`nonequilibrium_response`). Mirrored, if need be, so that the contact with the higher edge is the
right one (c and Γ carry its index R), charge and current are

    n(x) = ∫ w(E) Γ_R Σ_y c_R(y) |G(x, y)|² dE,    w = ± (g/2πa)(f_S − f_D),
    I = ∫ j(E) Γ_L Γ_R Σ_x,y c_L(x) c_R(y) |G(x, y)|² dE,                                          (2)

c = 1 on the lead's own site and, without scattering, nowhere else. The quadrature's energies are E = E(N) + q² at fixed
q: at fixed E the derivative at an edge would not be integrable. So with E − E(N), hence Σ_R and Γ_R, unchanged,

    δM(x') = δE(N) − δE(x') − c_L(x') Σ'_L (δE(N) − δE(0)),
    δΓ_L = Γ'_L (δE(N) − δE(0)),    δw = w' δE(N),    δj = j' δE(N),                               (3)
    δ|G(x, y)|² = −2 Re Σ_x' G*(x, y) G(x, x') δM(x') G(x', y).                                    (4)

As G(x, x') = u(x_<) v(x_>)/D, (4) is a sum of products of a function of x and one of x', on either side of the
diagonal: the sum over energies is a matrix product (`_kernel`).

*In equilibrium* (`equilibrium_response`) n(x) = −2 Im ∫ (g/2πa) f G(x, x) dE along a contour that follows the lower
edge E(l), and δG(x, x) = −Σ_x' G(x, x')² δM(x') with

    δM(x') = δE(l) − δE(x') − Σ_i c_i(x') Σ'_i (δE(l) − δE(end of i)).                             (5)

*Bound states* (`bound_response`): (H + Σ(E) − E) φ = 0, normed to Z = Σφ² − Σ_i Σ'_i Σ_x c_i φ² on device and leads,
has

    Z δE = Σ_x' φ² δE(x') − Σ_i Σ'_i (Σ_x c_i φ²) δE(end of i),                                    (6)

δφ follows from the bordered equation (E − H − Σ) δφ = (δE(x) + δΣ − δE) φ, φ·δφ = 0, and the occupation f changes by
∂f/∂E δE + Σ_i ∂f/∂E_i δE(end of i).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mlnegf._common import Floats
from mlnegf.transport.bound_states import BoundLeads, BoundStates, side_chain_shift
from mlnegf.transport.chain_lead import ChainLead
from mlnegf.transport.chains import Chains, ChainStates, before, from_here_on, sent_back, solved
from mlnegf.transport.contacts import Contacts
from mlnegf.transport.equilibrium import EquilibriumCharge, occupation
from mlnegf.transport.nonequilibrium import NonequilibriumCharge
from mlnegf.transport.quadrature import EnergyPoints
from mlnegf.units import CONDUCTANCE_QUANTUM

Tensor = torch.Tensor
Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class ChainResponse:
    """Derivatives of K chains of nx sites.

    Attributes
    ----------
    density : Tensor, (K, nx, nx)
        ∂N(x)/∂E_m(x'), electrons per nm and eV; the first and last column include the leads, which follow.
    current : Tensor, (K, nx)
        ∂I/∂E_m(x'), A/eV.
    """

    density: Tensor
    current: Tensor


def nonequilibrium_response(chains: Chains, contacts: Contacts, charge: NonequilibriumCharge) -> ChainResponse:
    """Differentiate what the contact with the higher edge adds, and the current: equations (2) to (4)."""
    sites = chains.onsite.shape[1]
    response = ChainResponse(
        density=torch.zeros(len(chains.onsite), sites, sites, dtype=chains.onsite.dtype),
        current=torch.zeros_like(chains.onsite),
    )
    # One subband at a time, since its arrays then stay in the cache.
    for mode, part in _by_subband(charge.points):
        left_is_low = bool(chains.left_is_low[mode])
        density, current = _response_beyond(
            _Beyond.of(charge.states, part, chains.contact_weights, left_is_low, chains.scattering is not None),
            *_weights(chains, contacts, charge.points, mode, part, left_is_low),
        )
        response.density[mode] = density if left_is_low else density.flip(0, 1)
        response.current[mode] = current if left_is_low else current.flip(0)
    return response


def _weights(
    chains: Chains, contacts: Contacts, points: EnergyPoints, mode: int, part: slice, left_is_low: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of every energy: charge beyond the lower filling and its derivative by energy, flux and its derivative."""
    energy, weight = points.energy.reshape(-1)[part], points.weight.reshape(-1)[part]
    occupations = contacts.occupation(energy)
    slopes = [contacts.slope(f) for f in occupations]
    sign = -1.0 if left_is_low else 1.0
    per_energy = weight * (sign * chains.degeneracy[mode] / (2 * torch.pi * chains.spacing))
    flux = weight * (chains.degeneracy[mode] / 2 * CONDUCTANCE_QUANTUM)
    source, drain = occupations
    return (
        per_energy * (source - drain),
        per_energy * (slopes[0] - slopes[1]),
        flux * (source - drain),
        flux * (slopes[0] - slopes[1]),
    )


@dataclass(frozen=True, eq=False)
class _Beyond:
    """One subband, mirrored if need be so that the contact with the higher edge is on the right.

    δ(G c G†)(x, x) = 2 Re Σ_x' G(x, x') δE(x') (G c G†)(x', x), c the right contact's weights, is a sum of products
    `one`(x) · `other`(x'): two pairs where x ≤ x' and two where x > x'. Without scattering one of each suffices.
    """

    upper: tuple[Pair, ...]
    lower: tuple[Pair, ...]
    diagonal: Tensor
    left: ChainLead
    right: ChainLead
    left_weights: Tensor

    @staticmethod
    def of(states: ChainStates, part: slice, weights: Tensor, left_is_low: bool, scatters: bool) -> "_Beyond":
        u, v, left, right = states.u[part], states.v[part], states.left[part], states.right[part]
        if not left_is_low:
            u, v, left, right, weights = v.flip(-1), u.flip(-1), right, left, weights.flip(0, 1)
        determinant = states.determinant[part][:, None]
        from_left, from_right = v / determinant, u / determinant
        uu, cross, uv = from_right.abs().square(), from_right.conj() * from_left, 2 * u * from_left
        if not scatters:
            return _Beyond(((uu, uv),), ((cross, 2 * u * from_right),), uu, left, right, weights[0])
        # Sums over the right contact's sites; u is large there and v of order one.
        c, size = weights[1], determinant.abs()
        behind = from_here_on(c * torch.where(c > 0, v.abs().square(), 0.0))
        ahead, mixed = before(c * uu), before(c * (u * v.conj()))
        upper_tail, lower_tail = u * v.conj() * ahead - uu * mixed, u * (from_right * (mixed / determinant).conj())
        return _Beyond(
            upper=((uu, uv * behind + 2 * v * from_left * mixed), (upper_tail, 2 * v * from_left)),
            lower=(
                (cross * behind + from_left.abs().square() * mixed.conj(), 2 * u * from_right),
                (v.abs() * from_left.abs(), 2 * (u * v * ahead - lower_tail) * (size / determinant)),
            ),
            diagonal=sent_back(u, v, states.determinant[part], c),
            left=left,
            right=right,
            left_weights=weights[0],
        )


def _response_beyond(
    chain: _Beyond, filled: Tensor, filled_slope: Tensor, flux: Tensor, flux_slope: Tensor
) -> tuple[Tensor, Tensor]:
    """Kernel of the charge (nx, nx) and of the current (nx,)."""
    injection = (filled * chain.right.gamma)[:, None]
    upper, lower = ([(injection * one, other) for one, other in pairs] for pairs in (chain.upper, chain.lower))
    density = torch.triu(_kernel(upper)) + torch.tril(_kernel(lower), diagonal=-1)

    rows = _transmitted(chain, flux)
    current = rows.real.sum(0)

    # The energies follow the higher edge; the left lead moves against them with its own.
    follows = chain.left.self_energy_slope[:, None] * chain.left_weights
    transmitted = (flux * chain.left.gamma_slope * chain.right.gamma) @ (chain.diagonal @ chain.left_weights)
    by_left = _moved(upper, lower, follows)
    density[:, 0] -= by_left
    density[:, -1] += by_left - _moved(upper, lower, torch.ones_like(follows))
    density[:, -1] += (filled_slope * chain.right.gamma) @ chain.diagonal
    through_left = (rows * follows).real.sum()
    through_all = (flux_slope * chain.left.gamma * chain.right.gamma) @ (chain.diagonal @ chain.left_weights)
    current[0] -= through_left + transmitted
    current[-1] += through_left + transmitted + through_all - rows.real.sum()
    return density, current


def _transmitted(chain: _Beyond, flux: Tensor) -> Tensor:
    """`flux` (Q,) times the derivative of T = Tr Γ_left (G Γ_right G†) by site energies, leads fixed, (Q, nx).

    The rows of the kernel that lie in the left contact; the real part is meant.
    """
    window = (flux * chain.left.gamma * chain.right.gamma)[:, None] * chain.left_weights
    rows = torch.zeros_like(chain.upper[0][1])
    for one, other in chain.upper:
        rows += other * (window * one).cumsum(-1)
    for one, other in chain.lower:
        rows += other * (from_here_on(window * one) - window * one)
    return rows


def transmission_response(chains: Chains, energy: Tensor) -> tuple[Tensor, Tensor]:
    """Transmission of every chain at fixed energies, and its derivative by the site energies.

    Parameters
    ----------
    energy : Tensor, (Q,)
        eV.

    Returns
    -------
    transmission : Tensor, (K, Q)
    slopes : Tensor, (K, Q, nx)
        ∂T/∂E_m(x), 1/eV, leads following. By t it follows from T(αE_m, αt, αE) = T and T(E_m + c, t, E + c) = T.
    """
    weights, subbands = chains.contact_weights, len(chains.onsite)
    values, slopes = [], []
    for mode in range(subbands):
        onsite, hopping = chains.onsite[mode].expand(len(energy), -1), chains.hopping[mode].expand(len(energy))
        states = solved(onsite, hopping, energy, chains.scattering)
        chain = _Beyond.of(states, slice(None), weights, True, chains.scattering is not None)
        rows = _transmitted(chain, torch.ones_like(energy))
        found = rows.real.clone()
        # Each lead follows its own end, against the energy: by Σ, and by Γ, which lets in what the other one sends.
        for end, lead, sent in ((0, states.left, states.right_injected), (-1, states.right, states.left_injected)):
            moved = (rows * lead.self_energy_slope[:, None]).real @ weights[end]
            found[:, end] -= moved + lead.gamma_slope * (sent @ weights[end])
        values.append(states.transmission)
        slopes.append(found)
    return torch.stack(values), torch.stack(slopes)


def _kernel(pairs: Sequence[Pair]) -> Tensor:
    """Σ_q Re one(x) other(x'), (nx, nx)."""
    one, other = (torch.cat(factors) for factors in zip(*pairs, strict=True))
    if not one.is_complex():
        return one.T @ other.real
    return torch.cat([one.real, -one.imag]).T @ torch.cat([other.real, other.imag])


def _moved(upper: Sequence[Pair], lower: Sequence[Pair], profile: Tensor) -> Tensor:
    """Kernel times a complex profile (Q, nx) of each energy's own, (nx,)."""
    moved = torch.zeros(profile.shape[1], dtype=torch.float64)
    for one, other in upper:
        moved += (one * from_here_on(other * profile)).real.sum(0)
    for one, other in lower:
        moved += (one * before(other * profile)).real.sum(0)
    return moved


def equilibrium_response(chains: Chains, contacts: Contacts, charge: EquilibriumCharge) -> Tensor:
    """∂N(x)/∂E_m(x') of the charge on the contour, (K, nx, nx): equation (5)."""
    points, green, weights = charge.points, charge.resolvent, chains.contact_weights
    sites = chains.onsite.shape[1]
    density = torch.zeros(len(chains.onsite), sites, sites, dtype=chains.onsite.dtype)
    filling = occupation(chains, contacts, points)
    weight = -2 * points.weight * chains.per_state[points.mode][:, None]
    filled, fermi_slope = (weight * filling).reshape(-1), (weight * contacts.slope(filling)).reshape(-1)
    for mode, part in _by_subband(points):
        determinant = green.determinant[part][:, None]
        u, v = green.u[part], green.v[part]
        uu, vv, diagonal = u * (u / determinant), v * (v / determinant), u * (v / determinant)
        left, right = filled[part][:, None] * vv, filled[part][:, None] * uu
        kernel = torch.tril(_imaginary(left, uu)) + torch.triu(_imaginary(right, vv), diagonal=1)
        # The energies follow the lower edge; the lead at each end moves against them with its own.
        low = 0 if chains.left_is_low[mode] else -1
        for end in (0, -1):
            moves = 1.0 if end == low else 0.0
            profile = moves - (moves - (end == 0)) * green.left[part].self_energy_slope[:, None] * weights[0]
            profile = profile - (moves - (end == -1)) * green.right[part].self_energy_slope[:, None] * weights[1]
            behind = vv * profile
            moved = moves * fermi_slope[part][:, None] * diagonal
            moved -= left * (uu * profile).cumsum(-1) + right * (from_here_on(behind) - behind)
            kernel[:, end] += moved.imag.sum(0)
        density[mode] += kernel
    return density


def _imaginary(one: Tensor, other: Tensor) -> Tensor:
    """Σ_q Im one(x) other(x'), (nx, nx)."""
    return torch.cat([one.real, one.imag]).T @ torch.cat([other.imag, other.real])


def _by_subband(points: EnergyPoints) -> Iterator[tuple[int, slice]]:
    """Yield each subband that has energies, and where they lie in the flat arrays."""
    modes, counts = torch.unique_consecutive(points.modes, return_counts=True)
    stops = counts.cumsum(0)
    for mode, start, stop in zip(modes.tolist(), (stops - counts).tolist(), stops.tolist(), strict=True):
        yield mode, slice(start, stop)


def bound_response(chains: Chains, bound: BoundStates, index: int) -> Floats:
    """∂N(x)/∂E_m(x') of one bound state, leads following, (nx, nx): equation (6)."""
    mode, energy, wave, norm = bound.mode[index], bound.energy[index], bound.wave[index], bound.norm[index]
    onsite, hopping = chains.onsite[mode].numpy(), float(chains.hopping[mode])
    ends = np.array([0, len(wave) - 1])
    weights = chains.contact_weights.numpy()
    leads = BoundLeads.of(float(energy), onsite[ends], hopping)
    slope = leads.slope
    held = (weights * wave**2).sum(1)

    level = wave**2 / norm
    level[ends] -= slope * held / norm  # ∂E/∂E_m(x')

    closed = onsite + 2 * hopping + hopping * side_chain_shift(chains) + leads.self_energy @ weights
    matrix = np.diag(energy - closed) + hopping * (np.eye(len(wave), k=1) + np.eye(len(wave), k=-1))
    bordered = np.block([[matrix, wave[:, None]], [wave[None, :], np.zeros((1, 1))]])
    perturbation = np.outer(wave - (slope @ weights) * wave, level) - np.diag(wave)
    perturbation[:, ends] += (slope[:, None] * weights * wave).T
    change = np.linalg.solve(bordered, np.vstack([-perturbation, np.zeros(len(wave))]))[:-1]

    below = np.tile(level, (2, 1))  # of the energy over each edge
    below[[0, 1], ends] -= 1.0
    norm_change = -2 * (slope @ weights * wave) @ change - (leads.curvature * held) @ below
    filled = float(chains.degeneracy[mode]) / chains.spacing
    occupied = bound.by_energy[index] * level
    occupied[ends] += bound.by_edges[index]
    density = np.outer(wave**2 / norm, occupied)
    density += bound.occupation[index] * (2 * wave[:, None] * change / norm - np.outer(wave**2, norm_change) / norm**2)
    return np.asarray(filled * density)
