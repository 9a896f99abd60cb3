"""Exact linear response of the charge and the current of uncoupled subbands to their subband energies.

With G(x, x') = u(x_<) v(x_>)/D (see `chains`) first-order perturbation, δG = −G δM G with M = E − H − Σ, gives

    δ|G(x, 0)|² = −2 Re Σ_x' G*(x, 0) G(x, x') δM(x') G(x', 0),

a sum of products of a function of x and a function of x' on either side of the diagonal: the sum over energies is a
matrix product. The energies of the quadrature move with the band edges and are differentiated too; at fixed energies
the derivative at an edge would not be integrable.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mlnegf.transport.bound_states import BoundStates, self_energy, side_chain_shift
from mlnegf.transport.chains import Chains, Lead, ScatteringStates, before, from_here_on, sent_back
from mlnegf.transport.contacts import Contacts
from mlnegf.transport.equilibrium import OneFilling, occupation
from mlnegf.transport.nonequilibrium import Injected, beyond, by_mode, per_state
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


def chain_response(
    chains: Chains, contacts: Contacts, injected: Injected, single: OneFilling, bound: BoundStates
) -> ChainResponse:
    """Differentiate the charge of one filling, of the other contact and of bound states, and the current."""
    response = _injected_response(chains, contacts, injected)
    _add_single(response.density, chains, contacts, single)
    kernel = response.density.numpy()
    for index, mode in enumerate(bound.mode):
        kernel[mode] += _bound_response(chains, bound, index)
    return response


def shifted_lines(
    chains: Chains,
    contacts: Contacts,
    injected: Injected,
    single: OneFilling,
    bound: BoundStates,
    shifts: Tensor,
) -> tuple[Tensor, Tensor]:
    """Charge of every chain with all its levels lowered by `shifts` (J,), eV, and its derivative by them.

    Both (J, K, nx): electrons per nm, and per nm and eV. At no shift the derivative is the local slope of the charge.
    """
    real, contour = injected.points, single.points
    subbands = len(chains.onsite)
    one = torch.ones_like(real.energy)
    excess = beyond(chains, real, injected.states, one, 0 * one)
    excess = (real.weight * per_state(chains, real))[..., None] * excess  # per difference of source and drain
    diagonal = single.resolvent.diagonal.reshape(*contour.energy.shape, -1)
    diagonal = -2 * (contour.weight * per_state(chains, contour))[..., None] * diagonal
    on_axis, on_contour, of_bound = [], [], []
    for shift in shifts.tolist():
        moved = Contacts(contacts.source + shift, contacts.drain + shift, contacts.kT)
        on_axis.append(_with_slope(moved, torch.stack(moved.occupation(real.energy))))
        on_contour.append(_with_slope(moved, occupation(chains, moved, contour)))
        of_bound.append(_with_slope(moved, torch.stack(moved.occupation(torch.as_tensor(bound.energy)))))
    source, drain = torch.stack(on_axis).unbind(2)  # (J, 2, P, 15), the values and their slopes
    along = (source - drain).flatten(0, 1).movedim(0, 1) @ excess
    inside = (torch.stack(on_contour).flatten(0, 1).movedim(0, 1) @ diagonal).imag
    lines = by_mode(real.mode, along, subbands) + by_mode(contour.mode, inside, subbands)
    lines = lines.movedim(1, 0).reshape(len(shifts), 2, *chains.onsite.shape)
    shares = torch.as_tensor(bound.shares).T
    for row, held in enumerate((torch.stack(of_bound) * shares).sum(2)):
        for kind in range(2):
            lines[row, kind] += bound.density(chains, held[kind].numpy())
    values, slopes = lines.unbind(1)
    return values, slopes


def _with_slope(contacts: Contacts, occupied: Tensor) -> Tensor:
    """Stack an occupation and its derivative by a fall of all levels."""
    return torch.stack([occupied, -contacts.slope(occupied)])


def _injected_response(chains: Chains, contacts: Contacts, injected: Injected) -> ChainResponse:
    sites = chains.onsite.shape[1]
    response = ChainResponse(
        density=torch.zeros(len(chains.onsite), sites, sites, dtype=chains.onsite.dtype),
        current=torch.zeros_like(chains.onsite),
    )
    # One subband at a time, since its arrays then stay in the cache.
    for mode, part in _by_subband(injected.points):
        left_is_low = bool(chains.left_is_low[mode])
        density, current = _response_beyond(
            _Beyond.of(injected.states, part, chains.contact_weights, left_is_low, chains.scattering is not None),
            *_weights(chains, contacts, injected.points, mode, part, left_is_low),
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
    left: Lead
    right: Lead
    left_weights: Tensor

    @staticmethod
    def of(states: ScatteringStates, part: slice, weights: Tensor, left_is_low: bool, scatters: bool) -> "_Beyond":
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

    # T = Tr Γ_left (G Γ_right G†): the rows of the kernel that lie in the left contact.
    window = (flux * chain.left.gamma * chain.right.gamma)[:, None] * chain.left_weights
    rows = torch.zeros_like(chain.upper[0][1])
    for one, other in chain.upper:
        rows += other * (window * one).cumsum(-1)
    for one, other in chain.lower:
        rows += other * (from_here_on(window * one) - window * one)
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


def _add_single(density: Tensor, chains: Chains, contacts: Contacts, single: OneFilling) -> None:
    """Add ∂N(x)/∂E_m(x') of the charge on the contour, (K, nx, nx): δG(x, x) = Σ G(x, x')² δE_m(x')."""
    points, green, weights = single.points, single.resolvent, chains.contact_weights
    filling = occupation(chains, contacts, points)
    weight = -2 * points.weight * per_state(chains, points)
    filled, fermi_slope = (weight * filling).reshape(-1), (weight * contacts.slope(filling)).reshape(-1)
    for mode, part in _by_subband(points):
        determinant = green.determinant[part][:, None]
        u, v = green.u[part], green.v[part]
        uu, vv, diagonal = u * (u / determinant), v * (v / determinant), u * (v / determinant)
        left, right = filled[part][:, None] * vv, filled[part][:, None] * uu
        kernel = torch.tril((left.T @ uu).imag) + torch.triu((right.T @ vv).imag, diagonal=1)
        # The energies follow the lower edge; the lead at each end moves against them with its own.
        low = 0 if chains.left_is_low[mode] else -1
        for end in (0, -1):
            moves = 1.0 if end == low else 0.0
            profile = moves - (moves - (end == 0)) * green.left_slope[part][:, None] * weights[0]
            profile = profile - (moves - (end == -1)) * green.right_slope[part][:, None] * weights[1]
            behind = vv * profile
            moved = moves * fermi_slope[part][:, None] * diagonal
            moved -= left * (uu * profile).cumsum(-1) + right * (from_here_on(behind) - behind)
            kernel[:, end] += moved.imag.sum(0)
        density[mode] += kernel


def _by_subband(points: EnergyPoints) -> Iterator[tuple[int, slice]]:
    """Yield each subband that has energies, and where they lie in the flat arrays."""
    modes, counts = torch.unique_consecutive(points.modes, return_counts=True)
    stops = counts.cumsum(0)
    for mode, start, stop in zip(modes.tolist(), (stops - counts).tolist(), stops.tolist(), strict=True):
        yield mode, slice(start, stop)


def _bound_response(
    chains: Chains, bound: BoundStates, index: int
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """∂N(x)/∂E_m(x') of one bound state, leads following, (nx, nx)."""
    mode, energy, wave, norm = bound.mode[index], bound.energy[index], bound.wave[index], bound.norm[index]
    onsite, hopping = chains.onsite[mode].numpy(), float(chains.hopping[mode])
    ends = np.array([0, len(wave) - 1])
    weights = chains.contact_weights.numpy()
    sigma, slope, curvature = np.array([self_energy(energy, onsite[end], hopping) for end in ends]).T
    held = weights * wave**2  # of either contact, (2, nx)

    level = wave**2 / norm
    level[ends] -= slope * held.sum(1) / norm  # ∂E/∂E_m(x')

    closed = onsite + 2 * hopping + hopping * side_chain_shift(chains) + sigma @ weights
    matrix = np.diag(energy - closed) + hopping * (np.eye(len(wave), k=1) + np.eye(len(wave), k=-1))
    bordered = np.block([[matrix, wave[:, None]], [wave[None, :], np.zeros((1, 1))]])
    perturbation = np.outer(wave - (slope @ weights) * wave, level) - np.diag(wave)
    perturbation[:, ends] += (slope[:, None] * weights * wave).T
    change = np.linalg.solve(bordered, np.vstack([-perturbation, np.zeros(len(wave))]))[:-1]

    relative = np.tile(level, (2, 1))
    relative[[0, 1], ends] -= 1.0
    tail_change = -2 * slope[:, None] * ((weights * wave) @ change) - (curvature * held.sum(1))[:, None] * relative
    norm_change = tail_change.sum(0)
    half = len(wave) // 2
    side = (wave[:half] @ wave[:half] - slope[0] * held[0].sum()) / norm
    side_change = (2 * wave[:half] @ change[:half] + tail_change[0] - side * norm_change) / norm
    filled = float(chains.degeneracy[mode]) / chains.spacing
    density = np.outer(wave**2 * bound.occupation_slope[index] / norm, level)
    density += np.outer(wave**2 * bound.side_slope[index] / norm, side_change)
    density += bound.occupation[index] * (2 * wave[:, None] * change / norm - np.outer(wave**2, norm_change) / norm**2)
    return np.asarray(filled * density)
