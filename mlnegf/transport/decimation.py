"""Self-energy of any lead, from both its surfaces at once: by decimation, checked, and by its modes where that fails.

With τ = t − E o between a cell and the next one to the right, and A = E s − h,

    g_L = (A − τ† g_L τ)⁻¹,    Σ_L = τ† g_L τ,        g_R = (A − τ g_R τ†)⁻¹,    Σ_R = τ g_R τ†.

Decimation (López Sancho, López Sancho & Rubio, J. Phys. F 15, 851 (1985)) doubles the length of a piece of lead at each
step and knows the Green's functions of both its ends, so a lead that is used on the left and on the right of a device
is solved once. It needs an energy a little above the real axis, E + iη. Then Γ = i(Σ − Σ†) has two origins,

    Γ = F†ΓF + 2η F†sF,        F = g τ† (or g τ), the step into the lead:

what an open mode carries away, and what η swallows in the first cell. The share of the second, 2η F†sF/Γ, is 2η/v for
an open mode of velocity v and 1 − |λ|² for a closed one that decays by λ a cell: that tells them apart in any unit and
for any η.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import LinAlgError, ordqz

from mlnegf._common import Complexes
from mlnegf.transport.self_energies import SelfEnergy

Tensor = torch.Tensor

ACCEPTED = 1e-9
"""Relative change of Σ, when one more cell is put on the lead, up to which decimation is believed."""

BROADENED = 1e-9
"""Broadening up to which modes that it blurs are looked at again."""


@dataclass(frozen=True, eq=False)
class Contact:
    """Σ of one surface at Q energies.

    Attributes
    ----------
    sigma : complex Tensor, (Q, block, block)
        NaN on a band edge, where it is not clear which solutions decay.
    swallowed : complex Tensor, (Q, block, block)
        2η F†sF, the part of Γ that is lost in the first cell.
    noise : Tensor, (Q,)
        What Σ changes by when one more cell is put on the lead.
    """

    sigma: Tensor
    swallowed: Tensor
    noise: Tensor


@dataclass(frozen=True, eq=False)
class Cell:
    """A lead's blocks at Q energies E + iη: A = E s − h, τ and τ†, each (Q, block, block), and η, (Q, 1, 1)."""

    inverse: Tensor
    ahead: Tensor
    back: Tensor
    overlap: Tensor
    height: Tensor

    @staticmethod
    def of(energies: Tensor, blocks: Sequence[Tensor | None], broadening: float) -> "Cell":
        """Lay out (h, t, s, o) at `energies`; η is `broadening` in units of ‖t − E o‖."""
        onsite, hopping, overlap, overlap_hopping = blocks
        assert onsite is not None
        assert hopping is not None
        unit = torch.eye(len(onsite), dtype=onsite.dtype, device=onsite.device)
        overlap = unit if overlap is None else overlap
        beyond = torch.zeros_like(hopping) if overlap_hopping is None else overlap_hopping
        energy = energies.to(torch.complex128)[:, None, None]
        height = broadening * torch.linalg.matrix_norm(hopping - energy * beyond, 2)[:, None, None]
        energy = energy + 1j * height
        return Cell(
            energy * overlap - onsite, hopping - energy * beyond, hopping.mH - energy * beyond.mH, overlap, height
        )

    def towards(self, side: str) -> tuple[Tensor, Tensor]:
        """From the surface cell into the lead on that `side` of the device, and back."""
        return (self.back, self.ahead) if side == "left" else (self.ahead, self.back)


def contacts(cell: Cell, sides: Sequence[str]) -> list[Contact]:
    """Solve a lead for its use on each of `sides`, "left" or "right" of a device."""
    left, right = surface_green_functions(cell.inverse, cell.ahead, cell.back)
    return [_checked(cell, {"left": left, "right": right}[side], *cell.towards(side)) for side in sides]


def _checked(cell: Cell, surface: Tensor, into: Tensor, away: Tensor) -> Contact:
    """Insert the surface's Green's function, and ask the lead's modes where it does not reproduce itself."""
    sigma = into @ surface @ away
    # Near a level of one of the finite leads it meets on the way decimation loses all digits.
    step = torch.linalg.inv_ex(cell.inverse - sigma).inverse @ away
    size = into.abs().amax((-2, -1)).clamp_min(torch.finfo(torch.float64).tiny)
    noise = (into @ step - sigma).abs().amax((-2, -1))
    for n in torch.nonzero(~(noise < ACCEPTED * size))[:, 0].tolist():
        sigma[n], step[n] = by_modes(cell, n, into, away, (1.0, 1e2, 1e4))
        noise[n] = (into[n] @ step[n] - sigma[n]).abs().max()
    return Contact(sigma, 2 * cell.height * (step.mH @ cell.overlap.to(step.dtype) @ step), noise)


def by_modes(cell: Cell, n: int, into: Tensor, away: Tensor, factors: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Σ and the step F of energy `n` from the lead's modes, η raised by `factors` until modes can be told apart.

    Σ = `into` F, with F made of the solutions that decay into the lead, by an ordered QZ factorisation. NaN where no
    factor will do.
    """
    height = 1j * cell.height[n] * cell.overlap
    into_lead, from_lead = (part[n].resolve_conj().cpu().numpy() for part in (into, away))
    for factor in factors:
        matrix = (cell.inverse[n] + (factor - 1) * height).cpu().numpy()
        step = _decaying_step(matrix, into_lead, from_lead)
        if step is not None:
            found = torch.from_numpy(step).to(into.device)
            return into[n] @ found, found
    lost = torch.full_like(into[n], torch.nan)
    return lost, lost


def _decaying_step(matrix: Complexes, into: Complexes, away: Complexes) -> Complexes | None:
    """Step into the lead of `into` ψ₊ = (A ψ₀ − `away` ψ₋) for solutions that decay; None unless half of them do."""
    block = len(matrix)
    zero, unit = np.zeros((block, block)), np.eye(block)
    step = np.block([[zero, unit], [-away, matrix]])
    scale = np.block([[unit, zero], [zero, into]])
    try:
        *_, alpha, beta, _, vectors = ordqz(step, scale, sort="iuc", output="complex")
        if int((abs(alpha) < abs(beta)).sum()) != block:
            return None
        return np.asarray(vectors[block:, :block] @ np.linalg.inv(vectors[:block, :block]))
    except (LinAlgError, ValueError):  # singular, or QZ did not converge or could not sort
        return None


def surface_green_functions(inverse: Tensor, ahead: Tensor, back: Tensor, largest: int = 200) -> tuple[Tensor, Tensor]:
    """Solve for g_L and g_R by decimation.

    Parameters
    ----------
    inverse : complex Tensor, (Q, block, block)
        A = E s − h with Im E > 0.
    ahead, back : complex Tensor, (Q, block, block)
        τ and τ†.
    largest : int
        Steps allowed.

    Returns
    -------
    left, right : Tensor, (Q, block, block)
        Not finite, or wrong, where a finite lead met on the way has a level at the energy: insert it and see.
    """
    left, right, bulk, alpha, beta = inverse, inverse, inverse, ahead, back
    scale = ahead.abs().amax((-2, -1), keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
    for _ in range(largest):
        solved = torch.linalg.solve_ex(bulk, torch.cat([alpha, beta], -1)).result
        towards, away = solved.chunk(2, -1)
        forwards, backwards = alpha @ away, beta @ towards
        right = right - forwards
        left = left - backwards
        bulk = bulk - forwards - backwards
        alpha, beta = alpha @ towards, beta @ away
        rest = (alpha.abs() / scale).amax((-2, -1)) + (beta.abs() / scale).amax((-2, -1))
        if not bool((rest > 1e-15).any()):  # so written, one that is not a number does not hold up the others
            break
    return torch.linalg.inv_ex(left).inverse, torch.linalg.inv_ex(right).inverse


def split(cell: Cell, side: str, contact: Contact, broadening: float, real: bool) -> SelfEnergy:
    """Take Σ apart, and what is not an open mode out of Γ.

    The share of Γ swallowed by η is 2η/v for an open mode and at least 1 − |λ|² for a closed one; both come to about
    √η where they meet, within η of a band edge. What lies between, slow modes that η blurs and closed ones near an
    edge, is solved again with next to no η.
    """
    closed = 3 * broadening**0.5
    sigma, known = contact.sigma.clone(), contact.sigma.isfinite().all(-1).all(-1)
    sigma[~known] = 0.0
    modes, strength, share = _modes_of(contact, sigma, real)
    blurred = ((share > closed) & (share < 1e3 * closed)).any(-1)
    if broadening <= BROADENED and bool(blurred.any()):
        for n in torch.nonzero(blurred)[:, 0].tolist():
            again, step = by_modes(cell, n, *cell.towards(side), (1e-4, 1e-2))
            if bool(again.isfinite().all()):
                sigma[n], contact.swallowed[n], contact.noise[n] = again, 2e-4 * cell.height[n] * (step.mH @ step), 0.0
        modes, strength, share = _modes_of(contact, sigma, real)
    is_open = (strength > 0) & (share < closed)
    # Localised states of the lead at the energy itself: Σ has a pole there, blurred by the broadening.
    size = sigma.abs().amax((-2, -1)) + cell.ahead.abs().amax((-2, -1))
    known = known & ~((strength > 1e-4 * size[:, None]) & ~is_open).any(-1) if broadening <= BROADENED else known
    shift = (sigma + sigma.mH) / 2
    shift[~known] = torch.nan
    root = torch.where(is_open & known[:, None], strength, 0.0).sqrt()
    order = torch.argsort(root, dim=-1, descending=True, stable=True)[:, : int((root > 0).sum(-1).max())]
    injection = (modes * root[:, None, :]).gather(-1, order[:, None, :].expand(-1, modes.shape[-2], -1))
    return SelfEnergy(shift.real, injection.real) if real else SelfEnergy(shift, injection)


def _modes_of(contact: Contact, sigma: Tensor, real: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Eigenvectors of Γ as columns, its eigenvalues, zero where they are noise, and the share η has in each."""
    gamma = 1j * (sigma - sigma.mH)
    strength, modes = torch.linalg.eigh(gamma.real if real else gamma)
    floor = 1e-14 * sigma.abs().amax((-2, -1)) + 10 * contact.noise.nan_to_num()
    strength = torch.where(strength > floor[:, None], strength, 0.0)
    lost = contact.swallowed.real if real else contact.swallowed
    share = (modes.mH @ lost.nan_to_num() @ modes).diagonal(dim1=-2, dim2=-1).real / strength
    return modes, strength, torch.where(strength > 0, share, torch.inf)
