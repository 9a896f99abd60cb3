"""Gradients of a lead's surface Green's function and self-energy, through their own fixed point.

The surface Green's function g = (A − a g b)⁻¹, a = τ† or τ into the lead, b back out of it, Σ = a g b, obeys

    δg − P δg Q = g (δa g b + a g δb − δA) g,    P = g a,    Q = b g,                               (1)

an equation of Stein's. That of the gradient is its adjoint, Z − P†Z Q† = ḡ, solved by doubling in as many steps as
decimation took. P and Q carry the open modes on, |λ| = 1, so that doubling alone would end only by the broadening and
lose as many digits as that is small; a little damping lets it end, and refinement takes it out again, see `stein`.

The implicit derivative: Zhou et al., "AD-NEGF", Phys. Rev. B 108, 195143 (2023). Doubling: Smith, SIAM J. Appl. Math.
16, 198 (1968).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from mlnegf._common import require
from mlnegf.transport.checks import only_first_derivatives, real_energies, require_broadening
from mlnegf.transport.decimation import Cell
from mlnegf.transport.leads import SIDES, Lead, cell_of, checked, surface

Tensor = torch.Tensor

DAMPINGS = (1e-5, 1e-7)
"""Taken off P while doubling: the larger, the fewer doublings and the more refinements. The second where the first is
too much: near band edges, and where two modes happen to have opposite wave numbers."""
MEMORY = 2**23
"""Bytes of powers of U and V kept at a time; energies are taken in batches that fit."""
REFINEMENTS = 12
SOLVED = 1e-9
"""Relative residual of Stein's equation above which there is no derivative: on a band edge."""


def stein(ahead: Tensor, back: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Solve Z − U Z V = R, (Q, block, block) each, U and V of spectral radius 1 or less.

    An eigenvalue μ of U times one of V counts with 1/(1 − μ), and with 1/(1 − (1 − d)μ) in the damped equation, so that
    refining by the damped solution leaves dμ/(1 − (1 − d)μ) of an error each time.

    Returns
    -------
    solution : Tensor, (Q, block, block)
    residual : Tensor, (Q,)
        Relative to Z and R: modes of a lead may be far from orthogonal, and Z much larger than R.
    """
    solution, residual = torch.empty_like(right), right.new_empty(len(right), dtype=torch.float64)
    each = right[0].numel() * right.element_size() * 2 * _doublings(DAMPINGS[-1])
    for some in torch.split(torch.arange(len(right)), max(1, MEMORY // each)):
        solution[some], residual[some] = _refined(ahead[some], back[some], right[some], DAMPINGS[0])
        for damping in DAMPINGS[1:]:
            left = some[~(residual[some] < SOLVED / 100)]
            if len(left):
                solution[left], residual[left] = _refined(ahead[left], back[left], right[left], damping)
    return solution, residual


def _refined(ahead: Tensor, back: Tensor, right: Tensor, damping: float) -> tuple[Tensor, Tensor]:
    """Solve by Σ_k ((1 − d)U)^k R V^k, summed by doubling, and refine."""
    powers = [((1 - damping) * ahead, back)]
    for _ in range(_doublings(damping) - 1):
        powers.append((powers[-1][0] @ powers[-1][0], powers[-1][1] @ powers[-1][1]))
    size = right.abs().amax((-2, -1)).clamp_min(torch.finfo(torch.float64).tiny)
    solution, left = torch.zeros_like(right), right
    residual = torch.ones_like(size)
    for _ in range(REFINEMENTS):
        step = left
        for one, other in powers:
            step = step + one @ step @ other
        trial = solution + step
        left_over = right - (trial - ahead @ trial @ back)
        found = left_over.abs().amax((-2, -1)) / (size + trial.abs().amax((-2, -1)))
        better = (found < residual)[:, None, None]
        solution, left = torch.where(better, trial, solution), torch.where(better, left_over, left)
        halved = found < residual / 2
        residual = torch.minimum(found, residual)
        if not bool((halved & (residual > 1e-14)).any()):
            break
    return solution, residual


def _doublings(damping: float) -> int:
    """How many it takes until (1 − d)^(2^n) is below 1e-16."""
    return math.ceil(math.log2(40 / damping))


@dataclass(frozen=True, eq=False)
class LeadGradient:
    """Gradient by a lead's cell at Q energies, (Q, block, block) each: by A = E s − h, and by τ = t − E o.

    The convention is PyTorch's: δL = Re Tr ḡ† δ.
    """

    inverse: Tensor
    ahead: Tensor

    def by_blocks(self, energies: Tensor, lead: Lead) -> tuple[Tensor, ...]:
        """Sum over energies: by onsite, hopping, overlap and its hopping; then by each energy, (Q,)."""
        energy = energies[:, None, None]
        onsite = hermitian(-self.inverse.sum(0))
        overlap, beside = hermitian((energy * self.inverse).sum(0)), -(energy * self.ahead).sum(0)
        by_energy = _inner(self.inverse, _overlap_of(lead))
        if lead.overlap_hopping is not None:
            by_energy = by_energy - _inner(self.ahead, lead.overlap_hopping)
        return onsite, self.ahead.sum(0), overlap, beside, by_energy


def pull_surface(green: Tensor, cell: Cell, side: str, by_green: Tensor) -> tuple[LeadGradient, Tensor]:
    """Pull a gradient by the surface Green's function (Q, block, block) back to the cell: the adjoint of equation (1).

    Returns
    -------
    LeadGradient
    residual : Tensor, (Q,)
        Of Stein's equation.
    """
    into, out = cell.towards(side)
    solution, residual = stein((green @ into).mH, (out @ green).mH, by_green)
    inner = green.mH @ solution @ green.mH
    by_into, by_out = inner @ (green @ out).mH, (into @ green).mH @ inner
    return LeadGradient(-inner, _by_ahead(side, by_into, by_out)), residual


def pull_self_energy(green: Tensor, cell: Cell, side: str, by_sigma: Tensor) -> tuple[LeadGradient, Tensor]:
    """Pull a gradient by Σ = a g b (Q, block, block) back to the cell, as `pull_surface` does."""
    into, out = cell.towards(side)
    found, residual = pull_surface(green, cell, side, into.mH @ by_sigma @ out.mH)
    direct = _by_ahead(side, by_sigma @ (green @ out).mH, (into @ green).mH @ by_sigma)
    return LeadGradient(found.inverse, found.ahead + direct), residual


def _by_ahead(side: str, by_into: Tensor, by_out: Tensor) -> Tensor:
    """Gradient by τ of those by a and b, one of which is τ†."""
    return by_out + by_into.mH if side == "left" else by_into + by_out.mH


class SurfaceGreenFunction(torch.autograd.Function):
    """g of a lead's surface at Q energies."""

    @staticmethod
    def forward(ctx: Any, broadening: float, side: str, energies: Tensor, *blocks: Tensor | None) -> Tensor:
        """Take it from the self-energy: g = (A − Σ)⁻¹."""
        energies, lead = energies.detach(), Lead(*(block if block is None else block.detach() for block in blocks))  # type: ignore[arg-type]
        green = surface(energies, lead, side, broadening)[1]
        for n in torch.nonzero(~green.isfinite().all(-1).all(-1))[:1, 0].tolist():
            raise ValueError(
                f"transport: energies holds {float(energies[n])!r}, a band edge of the {side} lead or an energy of "
                "states localised in it, where there is no answer; take an energy beside it."
            )
        ctx.broadening, ctx.side = broadening, side
        ctx.given = [block is not None for block in blocks]
        ctx.save_for_backward(green, energies, *(block for block in blocks if block is not None))
        return green

    @staticmethod
    def backward(ctx: Any, by_green: Tensor) -> tuple[Tensor | str | None, ...]:
        """Solve Stein's equation, the adjoint of (1)."""
        only_first_derivatives("surface_green_function")
        green, energies, *kept = ctx.saved_tensors
        left = iter(kept)
        lead = Lead(*(next(left) if is_given else None for is_given in ctx.given))  # type: ignore[arg-type]
        cell = cell_of(energies, lead, ctx.broadening)
        gradient, residual = pull_surface(green, cell, ctx.side, by_green)
        require_solved(residual, by_green.abs().amax((-2, -1)), energies, ctx.side)
        *parts, by_energy = gradient.by_blocks(energies.to(torch.complex128), lead)
        if not lead.onsite.is_complex():
            parts = [part.real for part in parts]
        found = [part if is_given else None for part, is_given in zip(parts, ctx.given, strict=True)]
        return (None, None, by_energy, *found)


def surface_green_function(energies: Any, lead: Lead, side: str, broadening: float = 1e-10) -> Tensor:
    """Green's function of the last cell of a half-infinite lead, (Q, block, block).

    PyTorch differentiates it once, by the energies and by the lead's blocks: within Hermitian matrices, and not on a
    band edge.

    Parameters
    ----------
    energies : array, (Q,)
        In the unit of the lead's blocks.
    lead : Lead
    side : str
        "left" or "right" of the device.
    broadening : float
        Of leads without a closed form, see `leads.self_energy`.
    """
    require(isinstance(side, str) and side in SIDES, "side", side, "'left' or 'right'", "surface_green_function")
    require_broadening(broadening)
    apply: Callable[..., Tensor] = SurfaceGreenFunction.apply
    return apply(broadening, side, real_energies(energies), *checked(lead).blocks)


def require_solved(residual: Tensor, weight: Tensor, energies: Tensor, side: str, unit: float = 1.0) -> None:
    """Refuse an energy whose gradient is asked for, `weight` (Q,), and was not found."""
    for n in torch.nonzero(~(residual < SOLVED) & (weight != 0))[:1, 0].tolist():
        raise ValueError(
            f"transport: energies holds {float(energies[n]) * unit!r}, a band edge of the {side} lead or too near one, "
            "where there is no derivative; take an energy beside it."
        )


def _overlap_of(lead: Lead) -> Tensor:
    unit = torch.eye(len(lead.onsite), dtype=lead.onsite.dtype, device=lead.onsite.device)
    return unit if lead.overlap is None else lead.overlap


def hermitian(gradient: Tensor) -> Tensor:
    """Gradient within Hermitian matrices."""
    return (gradient + gradient.mH) / 2


def _inner(gradient: Tensor, direction: Tensor) -> Tensor:
    """Re Tr ḡ† δ, (Q,)."""
    return (gradient.conj() * direction).sum((-2, -1)).real
