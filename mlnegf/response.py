"""Exact linear response of the charge and the current of uncoupled subbands to their subband energies.

With G(x, x') = u(x_<) v(x_>)/D (see `chains`) first-order perturbation, δG = −G δM G with M = E − H − Σ, gives

    δ|G(x, 0)|² = −2 Re Σ_x' G*(x, 0) G(x, x') δM(x') G(x', 0),

a sum of products of a function of x and a function of x' on either side of the diagonal: the sum over energies is a
matrix product. The energies of the quadrature move with the band edges and are differentiated too; at fixed energies
the derivative at an edge would not be integrable.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from mlnegf.bound_states import BoundStates, self_energy
from mlnegf.chains import Chains, Injected, by_mode, reference
from mlnegf.contacts import Contacts
from mlnegf.contour import OneFilling, occupation, per_state
from mlnegf.quadrature import EnergyPoints
from mlnegf.units import CONDUCTANCE_QUANTUM

Tensor = torch.Tensor


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


def local_slope(
    chains: Chains, contacts: Contacts, injected: Injected, single: OneFilling, bound: BoundStates
) -> Tensor:
    """Change of the density with both Fermi levels at fixed states, (K, nx), electrons per nm and eV; positive."""
    points, states = injected.points, injected.states
    shape = points.energy.shape
    source, drain = contacts.occupation(points.energy)
    weight = points.weight * (chains.degeneracy[points.mode] / (2 * torch.pi * chains.spacing))[:, None]
    slopes = contacts.slope(source), contacts.slope(drain)
    filled = reference(chains, points.mode, *slopes)
    left, right = (-(weight * (slope - filled)).reshape(-1, 1) for slope in slopes)
    summed = (left * states.left_injected + right * states.right_injected).reshape(*shape, -1).sum(1)
    lines = by_mode(points.mode, summed, len(chains.onsite))
    filled = -contacts.slope(occupation(chains, contacts, single.points)) * single.points.weight
    filled = (filled * per_state(chains, single.points)).reshape(-1, 1)
    inside = -2 * (filled * single.resolvent.diagonal).imag.reshape(
        *single.points.energy.shape, chains.onsite.shape[1]
    ).sum(1)
    slope = (lines + by_mode(single.points.mode, inside, len(chains.onsite)).clamp_min(0.0)).numpy()
    filled_states = -bound.occupation_slope * chains.degeneracy.numpy()[bound.mode] / bound.norm / chains.spacing
    np.add.at(slope, bound.mode, filled_states[:, None] * bound.wave**2)
    return torch.from_numpy(slope)


def _injected_response(chains: Chains, contacts: Contacts, injected: Injected) -> ChainResponse:
    sites = chains.onsite.shape[1]
    response = ChainResponse(
        density=torch.zeros(len(chains.onsite), sites, sites, dtype=chains.onsite.dtype),
        current=torch.zeros_like(chains.onsite),
    )
    # One subband at a time, since its arrays then stay in the cache.
    for mode, part in _by_subband(injected.points):
        _add_injected(response, mode, part, chains, contacts, injected)
    return response


def _add_injected(
    response: ChainResponse, mode: int, part: slice, chains: Chains, contacts: Contacts, injected: Injected
) -> None:
    points, states = injected.points, injected.states
    energy, weight = points.energy.reshape(-1)[part], points.weight.reshape(-1)[part]
    source, drain = contacts.occupation(energy)
    u, v, scale = states.u[part], states.v[part], states.scale[part]
    leads = states.left, states.right
    gamma, gamma_slope = [lead.gamma[part] for lead in leads], [lead.gamma_slope[part] for lead in leads]
    self_energy_slope = [lead.self_energy_slope[part] for lead in leads]

    degeneracy = chains.degeneracy[mode]
    per_energy = weight * (degeneracy / (2 * torch.pi * chains.spacing))
    left_is_low = bool(chains.onsite[mode, 0] <= chains.onsite[mode, -1])
    beyond_reference = [f - (source if left_is_low else drain) for f in (source, drain)]
    slopes = [contacts.slope(f) - contacts.slope(source if left_is_low else drain) for f in (source, drain)]
    injection = per_energy * beyond_reference[0] * gamma[0], per_energy * beyond_reference[1] * gamma[1]
    flux = weight * (degeneracy / 2 * CONDUCTANCE_QUANTUM)
    window = flux * (source - drain) * gamma[0] * gamma[1]

    normal = (scale / states.determinant[part])[:, None]
    uv, uu, vv = u * v * normal, u.square() * normal, v.square() * normal
    v_squared, u_squared, cross = v.abs().square(), u.abs().square(), u.conj() * v
    lower = _stack(injection[0][:, None] * v_squared, injection[1][:, None] * cross.conj())
    upper = _stack(injection[1][:, None] * u_squared, injection[0][:, None] * cross)

    density = torch.tril(lower.T @ (2 * _stack(uv.real, uu))) + torch.triu(
        upper.T @ (2 * _stack(uv.real, vv)), diagonal=1
    )
    current = 2 * (window @ uv.real)

    # The energies follow the higher edge; the lead at each end moves against them with its own.
    high = -1 if left_is_low else 0
    for end in (0, -1):
        share = 1.0 if end == high else 0.0
        motion = [share - (end == 0), share - (end == -1)]
        profile = torch.full_like(uv, share)
        profile[:, 0] -= self_energy_slope[0] * motion[0]
        profile[:, -1] -= self_energy_slope[1] * motion[1]
        below = 2 * _stack((uv * profile).real, uu * profile)
        beyond = 2 * _stack((uv * profile).real, vv * profile)
        after = beyond.flip(-1).cumsum(-1).flip(-1) - beyond
        moved = -(lower * below.cumsum(-1) + upper * after).sum(0)
        occupied = [
            per_energy * (slopes[lead] * share * gamma[lead] + f * gamma_slope[lead] * motion[lead]) * scale
            for lead, f in enumerate(beyond_reference)
        ]
        density[:, end] += moved + occupied[0] @ v_squared + occupied[1] @ u_squared
        moved_window = flux * (
            (contacts.slope(source) - contacts.slope(drain)) * share * gamma[0] * gamma[1]
            + (source - drain) * (gamma_slope[0] * motion[0] * gamma[1] + gamma[0] * gamma_slope[1] * motion[1])
        )
        current[end] += (moved_window * scale).sum() - 2 * window @ (uv * profile).real.sum(-1)
    response.density[mode], response.current[mode] = density, current


def _add_single(density: Tensor, chains: Chains, contacts: Contacts, single: OneFilling) -> None:
    """Add ∂N(x)/∂E_m(x') of the charge on the contour, (K, nx, nx): δG(x, x) = Σ G(x, x')² δE_m(x')."""
    points, green = single.points, single.resolvent
    filling = occupation(chains, contacts, points)
    weight = -2 * points.weight * per_state(chains, points)
    filled, fermi_slope = (weight * filling).reshape(-1), (weight * contacts.slope(filling)).reshape(-1)
    for mode, part in _by_subband(points):
        determinant = green.determinant[part][:, None]
        u, v = green.u[part], green.v[part]
        uu, vv, diagonal = u.square() / determinant, v.square() / determinant, u * v / determinant
        left, right = filled[part][:, None] * vv, filled[part][:, None] * uu
        kernel = torch.tril((left.T @ uu).imag) + torch.triu((right.T @ vv).imag, diagonal=1)
        # The energies follow the lower edge; the lead at each end moves against them with its own.
        low = 0 if chains.onsite[mode, 0] <= chains.onsite[mode, -1] else -1
        for end in (0, -1):
            moves = 1.0 if end == low else 0.0
            profile = torch.full_like(uu, moves)
            profile[:, 0] -= green.left_slope[part] * (moves - (end == 0))
            profile[:, -1] -= green.right_slope[part] * (moves - (end == -1))
            beyond = vv * profile
            after = beyond.flip(-1).cumsum(-1).flip(-1) - beyond
            moved = moves * fermi_slope[part][:, None] * diagonal
            moved -= left * (uu * profile).cumsum(-1) + right * after
            kernel[:, end] += moved.imag.sum(0)
        density[mode] += kernel


def _by_subband(points: EnergyPoints) -> Iterator[tuple[int, slice]]:
    """Yield each subband that has energies, and where they lie in the flat arrays."""
    modes, counts = torch.unique_consecutive(points.modes, return_counts=True)
    stops = counts.cumsum(0)
    for mode, start, stop in zip(modes.tolist(), (stops - counts).tolist(), stops.tolist(), strict=True):
        yield mode, slice(start, stop)


def _stack(real: Tensor, pair: Tensor) -> Tensor:
    """Rows (3Q, nx) such that Σ stack(a, p)·stack(b, q) = Σ a b + Re(p* q)."""
    return torch.cat([real, pair.real, pair.imag])


def _bound_response(
    chains: Chains, bound: BoundStates, index: int
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """∂N(x)/∂E_m(x') of one bound state, leads following, (nx, nx)."""
    mode, energy, wave, norm = bound.mode[index], bound.energy[index], bound.wave[index], bound.norm[index]
    onsite, hopping = chains.onsite[mode].numpy(), float(chains.hopping[mode])
    ends = np.array([0, len(wave) - 1])
    sigma, slope, curvature = np.array([self_energy(energy, onsite[end], hopping) for end in ends]).T

    level = wave**2 / norm
    level[ends] -= slope * wave[ends] ** 2 / norm  # ∂E/∂E_m(x')

    matrix = np.diag(energy - onsite - 2 * hopping) + hopping * (np.eye(len(wave), k=1) + np.eye(len(wave), k=-1))
    matrix[ends, ends] -= sigma
    bordered = np.block([[matrix, wave[:, None]], [wave[None, :], np.zeros((1, 1))]])
    moved = wave.copy()
    moved[ends] -= slope * wave[ends]
    perturbation = np.outer(moved, level) - np.diag(wave)
    perturbation[ends, ends] += slope * wave[ends]
    change = np.linalg.solve(bordered, np.vstack([-perturbation, np.zeros(len(wave))]))[:-1]

    relative = np.tile(level, (2, 1))
    relative[[0, 1], ends] -= 1.0
    tail_change = -(2 * slope * wave[ends])[:, None] * change[ends] - (curvature * wave[ends] ** 2)[:, None] * relative
    norm_change = tail_change.sum(0)
    half = len(wave) // 2
    side = (wave[:half] @ wave[:half] - slope[0] * wave[0] ** 2) / norm
    side_change = (2 * wave[:half] @ change[:half] + tail_change[0] - side * norm_change) / norm
    filled = float(chains.degeneracy[mode]) / chains.spacing
    density = np.outer(wave**2 * bound.occupation_slope[index] / norm, level)
    density += np.outer(wave**2 * bound.side_slope[index] / norm, side_change)
    density += bound.occupation[index] * (2 * wave[:, None] * change / norm - np.outer(wave**2, norm_change) / norm**2)
    return np.asarray(filled * density)
