"""Transmission through any block-tridiagonal Hamiltonian, and its gradient by every entry, without unrolling.

With G⁻¹ = E S − H − Σ_L − Σ_R, T = Tr Γ_L G Γ_R G† and δG = G (δH + δΣ_L + δΣ_R − δE S) G,

    δT = 2 Re Tr X (δH − δE S) + Σ_i 2 Re Tr (i B_i + X_i) δΣ_i,    X = G Γ_R G† Γ_L G,             (1)

X_i and B_i the blocks on the lead's own site of X and of B_L = G Γ_R G†, B_R = G† Γ_L G. As Γ = W W†, X is of low rank,

    X = ψ_R t† χ_L†,    ψ_R = G W_R,    χ_L = G† W_L,    t = W_L† ψ_R,                              (2)

so that its tridiagonal part takes the waves of both leads and nothing else; of a real H χ_L = ψ_L*. Leads follow by
`lead_adjoint`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from mlnegf.transport.blocks import System
from mlnegf.transport.checks import only_first_derivatives, real_energies, require_broadening
from mlnegf.transport.lead_adjoint import hermitian, pull_self_energy, require_solved
from mlnegf.transport.leads import SIDES, Lead, surface
from mlnegf.transport.scattering import ScatteringStates, batches, like
from mlnegf.transport.self_energies import SelfEnergy
from mlnegf.transport.waves import injected_waves

Tensor = torch.Tensor


def transmission(
    energies: Any,
    diagonal: Any,
    upper: Any,
    left_lead: Lead | Sequence[Any],
    right_lead: Lead | Sequence[Any],
    overlap: Sequence[Any] | None = None,
    broadening: float = 1e-10,
    device: str | torch.device | None = None,
) -> Any:
    """Transmission T = Tr Γ_L G Γ_R G† at every energy.

    Parameters
    ----------
    energies : array, (Q,)
        In the unit of the Hamiltonian.
    diagonal : array, (sites, block, block)
        ⟨n|H|n⟩.
    upper : array, (sites − 1, block, block)
        ⟨n|H|n+1⟩.
    left_lead, right_lead : Lead or (onsite, hopping)
        Blocks ⟨n|H|n⟩ and ⟨n|H|n+1⟩ of the leads, both read from left to right; the hopping also couples lead and
        device. With overlaps: (onsite, hopping, overlap, overlap hopping).
    overlap : pair of arrays, optional
        ⟨n|S|n⟩ and ⟨n|S|n+1⟩ of the device.
    broadening : float
        Of leads without a closed form, see `leads.self_energy`.
    device : str or torch.device, optional
        Where to work, such as "cuda"; unless given, where the tensors are.

    Returns
    -------
    array, (Q,)
        A tensor, where the work was done, if `energies` or `diagonal` is one, otherwise a NumPy array. PyTorch
        differentiates it once, by every argument that is a tensor with ``requires_grad``: within
        Hermitian matrices, and not on a band edge of a lead.
    """
    require_broadening(broadening)
    points = real_energies(energies)
    system = System.of(diagonal, upper, left_lead, right_lead, overlap, device)
    points = points.to(system.diagonal.device)
    apply: Callable[..., Tensor] = _Transmission.apply
    return like(apply(broadening, points, *system.blocks.values()), energies, diagonal)


class _Transmission(torch.autograd.Function):
    """T(E) of a system, (Q,); nothing but its arguments is kept for the gradient."""

    @staticmethod
    def forward(ctx: Any, broadening: float, energies: Tensor, *blocks: Tensor | None) -> Tensor:
        """Solve for the waves, batch by batch."""
        system = System.of_blocks(blocks)
        ctx.broadening, ctx.given = broadening, [block is not None for block in blocks]
        ctx.save_for_backward(energies, *(block for block in blocks if block is not None))
        return torch.cat([states.transmission for _, states in batches(energies, system, broadening)])

    @staticmethod
    def backward(ctx: Any, by_transmission: Tensor) -> tuple[Tensor | None, ...]:
        """Solve for them again, and sum equation (1)."""
        only_first_derivatives("transmission")
        energies, *kept = ctx.saved_tensors
        left = iter(kept)
        blocks = [next(left) if is_given else None for is_given in ctx.given]
        system = System.of_blocks(blocks)
        unit = system.unit
        overlaps = ["overlap" in name for name in system.blocks]
        system, energies = system.in_own_unit, energies / unit
        total = [torch.zeros_like(block, dtype=torch.complex128) if block is not None else None for block in blocks]
        by_energy = torch.zeros_like(energies)
        for batch, states in batches(energies, system, ctx.broadening):
            parts = _pulled(energies[batch], states, system, by_transmission[batch], ctx.broadening, unit)
            by_energy[batch] = parts[-1]
            total = [None if one is None else one + part for one, part in zip(total, parts[:-1], strict=True)]
        found = []
        for block, part, is_overlap in zip(blocks, total, overlaps, strict=True):
            scaled = None if part is None else part if is_overlap else part / unit
            found.append(scaled if scaled is None or block is None or block.is_complex() else scaled.real)
        return (None, by_energy / unit, *found)


def _pulled(
    energies: Tensor, states: ScatteringStates, system: System, weight: Tensor, broadening: float, unit: float
) -> list[Tensor]:
    """Gradient of Σ weight · T by all of `System.blocks`, summed over energies, and by each energy."""
    waves, kind = states.from_right, torch.complex128
    against = _backwards(energies, states, system)
    sent = states.left.injection.mH.to(kind) @ waves[:, 0]
    # X_nm = here_n there_m†, with the weight.
    here, there = weight[:, None, None, None] * (waves @ sent.mH[:, None]), against
    diagonal = hermitian(2 * _outer(there, here))
    upper = 2 * (_outer(there[:, :-1], here[:, 1:]) + _outer(here[:, :-1], there[:, 1:]))
    energy = energies.to(kind)
    weighted = energy[:, None, None, None] * here
    parts = [diagonal, upper, -hermitian(2 * _outer(there, weighted))]
    parts.append(-2 * (_outer(there[:, :-1], weighted[:, 1:]) + _outer(weighted[:, :-1], there[:, 1:])))
    by_energy = -2 * (there.conj() * _overlapped(system, here)).sum((1, 2, 3)).real
    for side, lead in zip(SIDES, system.leads, strict=True):
        site, through = (0, waves[:, 0]) if side == "left" else (-1, against[:, -1])
        spectral = weight[:, None, None] * (through @ through.mH)
        by_sigma = 2 * (1j * spectral + here[:, site] @ there[:, site].mH).mH
        cell, green = surface(energies, lead, side, broadening)
        gradient, residual = pull_self_energy(green, cell, side, by_sigma)
        require_solved(residual, weight, energies, side, unit)
        *mine, more = gradient.by_blocks(energy, lead)
        parts += mine
        by_energy = by_energy + more
    return [*parts, by_energy]


def _backwards(energies: Tensor, states: ScatteringStates, system: System) -> Tensor:
    """χ_L = G† W_L, (Q, sites, block, p): the conjugate of what the left lead injects if H is conjugated."""
    if not system.diagonal.is_complex():
        return states.from_left.conj()
    left, right = (
        SelfEnergy(lead.shift.conj().resolve_conj(), lead.injection.conj().resolve_conj())
        for lead in (states.left, states.right)
    )
    conjugated = [None if block is None else block.conj().resolve_conj() for block in system.blocks.values()]
    waves = injected_waves(energies, System.of_blocks(conjugated), left, right)
    return waves[..., : left.injection.shape[-1]].conj()


def _outer(one: Tensor, other: Tensor) -> Tensor:
    """Σ over energies and columns of one other†, (sites, block, block), of waves (Q, sites, block, p)."""
    one, other = (waves.permute(1, 2, 0, 3).flatten(2) for waves in (one, other))
    return one @ other.mH


def _overlapped(system: System, waves: Tensor) -> Tensor:
    """S times waves (Q, sites, block, p)."""
    if system.overlap is None:
        return waves
    found = system.overlap.to(waves.dtype) @ waves
    if system.overlap_upper is not None:
        beside = system.overlap_upper.to(waves.dtype)
        found[:, :-1] += beside @ waves[:, 1:]
        found[:, 1:] += beside.mH @ waves[:, :-1]
    return found
