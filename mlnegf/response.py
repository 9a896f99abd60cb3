"""Exact linear response of the charge and the current of uncoupled subbands to their subband energies.

With G(x, x') = u(x_<) v(x_>)/D (see `chains`) first-order perturbation, δG = −G δM G with M = E − H − Σ, gives

    δ|G(x, 0)|² = −2 Re Σ_x' G*(x, 0) G(x, x') δM(x') G(x', 0),

a sum of products of a function of x and a function of x' on either side of the diagonal: the sum over energies is a
matrix product. The energies of the quadrature move with the band edges and are differentiated too; at fixed energies
the derivative at an edge would not be integrable.
"""

from dataclasses import dataclass

import numpy as np
import torch

from mlnegf.bound_states import BoundStates, self_energy
from mlnegf.chains import Chains, Injected
from mlnegf.contacts import Contacts
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


def chain_response(chains: Chains, contacts: Contacts, injected: Injected, bound: BoundStates) -> ChainResponse:
    """Differentiate `chains.inject` and the bound states' density."""
    response = _injected_response(chains, contacts, injected)
    kernel = response.density.numpy()
    for index, mode in enumerate(bound.mode):
        kernel[mode] += _bound_response(chains, bound, index)
    return response


def local_slope(chains: Chains, contacts: Contacts, injected: Injected, bound: BoundStates) -> Tensor:
    """Change of the density with both Fermi levels at fixed states, (K, nx), electrons per nm and eV; positive."""
    points, states = injected.points, injected.states
    shape = points.energy.shape
    source, drain = contacts.occupation(points.energy)
    weight = points.weight * (chains.degeneracy[points.mode] / (2 * torch.pi * chains.spacing))[:, None]
    left = -(weight * contacts.slope(source)).reshape(-1, 1) * states.left_injected
    right = -(weight * contacts.slope(drain)).reshape(-1, 1) * states.right_injected
    summed = (left + right).reshape(*shape, -1).sum(1)
    slope = torch.zeros_like(chains.onsite).index_add_(0, points.mode, summed).numpy()
    filled = -bound.occupation_slope * chains.degeneracy.numpy()[bound.mode] / bound.norm / chains.spacing
    np.add.at(slope, bound.mode, filled[:, None] * bound.wave**2)
    return torch.from_numpy(slope)


def _injected_response(chains: Chains, contacts: Contacts, injected: Injected) -> ChainResponse:
    points, states = injected.points, injected.states
    pad = _Padding(points.mode.repeat_interleave(points.energy.shape[1]), len(chains.onsite))
    energy, weight, stretch = (pad(value) for value in (points.energy, points.weight, points.stretch))
    source, drain = contacts.occupation(energy)
    u, v, determinant = pad(states.u), pad(states.v), pad(states.determinant, 1.0)
    scale = 1 / determinant.abs().square()
    gamma = pad(states.left.gamma), pad(states.right.gamma)
    gamma_slope = pad(states.left.gamma_slope), pad(states.right.gamma_slope)
    self_energy_slope = pad(states.left.self_energy_slope), pad(states.right.self_energy_slope)

    per_state = weight * (chains.degeneracy / (2 * torch.pi * chains.spacing))[:, None]
    injection = per_state * source * gamma[0], per_state * drain * gamma[1]
    flux = weight * (chains.degeneracy / 2 * CONDUCTANCE_QUANTUM)[:, None]
    window = flux * (source - drain) * gamma[0] * gamma[1]

    normal = (scale / determinant)[..., None]
    uv, uu, vv = u * v * normal, u.square() * normal, v.square() * normal
    v_squared, u_squared, cross = v.abs().square(), u.abs().square(), u.conj() * v
    lower = _stack(injection[0][..., None] * v_squared, injection[1][..., None] * cross.conj())
    upper = _stack(injection[1][..., None] * u_squared, injection[0][..., None] * cross)

    density = torch.tril(lower.transpose(1, 2) @ (2 * _stack(uv.real, uu)))
    density += torch.triu(upper.transpose(1, 2) @ (2 * _stack(uv.real, vv)), diagonal=1)
    current = 2 * (window[..., None] * uv.real).sum(1)

    left_is_low = (chains.onsite[:, 0] <= chains.onsite[:, -1])[:, None]
    low_share, high_share = pad(points.low_share), pad(points.high_share)
    for end, other, is_low in ((0, 1, left_is_low), (-1, 0, ~left_is_low)):
        side = 1 - other
        share = torch.where(is_low, low_share, high_share)
        relative_weight = torch.where(is_low, -stretch, stretch)
        # Motion of the energies relative to the lead at this end and to the other one.
        motion = [share, share]
        motion[side] = share - 1
        profile = share[..., None].expand(uv.shape).to(uv.dtype).clone()
        profile[..., 0] -= self_energy_slope[0] * motion[0]
        profile[..., -1] -= self_energy_slope[1] * motion[1]
        below = 2 * _stack((uv * profile).real, uu * profile)
        beyond = 2 * _stack((uv * profile).real, vv * profile)
        after = beyond.flip(-1).cumsum(-1).flip(-1) - beyond
        moved = -(lower * below.cumsum(-1) + upper * after).sum(1)
        occupied = [
            per_state
            * (
                f * gamma[lead] * relative_weight
                + contacts.slope(f) * share * gamma[lead]
                + f * gamma_slope[lead] * motion[lead]
            )
            * scale
            for lead, f in enumerate((source, drain))
        ]
        moved += (occupied[0][..., None] * v_squared + occupied[1][..., None] * u_squared).sum(1)
        density[..., end] += moved

        difference = source - drain
        moved_window = flux * (
            (difference * relative_weight + (contacts.slope(source) - contacts.slope(drain)) * share)
            * gamma[0]
            * gamma[1]
            + difference * (gamma_slope[0] * motion[0] * gamma[1] + gamma[0] * gamma_slope[1] * motion[1])
        )
        current[..., end] += (moved_window * scale - 2 * window * (uv * profile).real.sum(-1)).sum(-1)
    return ChainResponse(density=density, current=current)


def _stack(real: Tensor, pair: Tensor) -> Tensor:
    """Rows (K, 3Q, nx) such that Σ stack(a, p)·stack(b, q) = Σ a b + Re(p* q)."""
    return torch.cat([real, pair.real, pair.imag], 1)


class _Padding:
    """Lay flat quadrature points out as (K, largest number of points of a chain), zeros after the last."""

    def __init__(self, mode: Tensor, modes: int) -> None:
        counts = torch.bincount(mode, minlength=modes)
        starts = counts.cumsum(0) - counts
        self.shape = (modes, int(counts.max()))
        self.mode = mode
        self.place = torch.arange(len(mode)) - starts[mode]

    def __call__(self, values: Tensor, empty: float = 0.0) -> Tensor:
        flat = values.reshape(len(self.mode), -1).squeeze(-1)
        padded = torch.full((*self.shape, *flat.shape[1:]), empty, dtype=flat.dtype)
        padded[self.mode, self.place] = flat
        return padded


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
    norm_change = -(2 * slope * wave[ends]) @ change[ends] - (curvature * wave[ends] ** 2) @ relative
    filled = float(chains.degeneracy[mode]) / chains.spacing
    density = np.outer(wave**2 * bound.occupation_slope[index] / norm, level)
    density += bound.occupation[index] * (2 * wave[:, None] * change / norm - np.outer(wave**2, norm_change) / norm**2)
    return np.asarray(filled * density)
