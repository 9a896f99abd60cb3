"""Half-infinite leads of any block Hamiltonian: surface Green's function and contact self-energy.

A lead is a pair (onsite h, hopping t) of blocks, t = ⟨n|H|n+1⟩ between a cell and the next one to the right, in both
leads. It may carry overlaps (s, o) of the same two blocks, ⟨n|S|n⟩ and ⟨n|S|n+1⟩. With E S − H in place of E − H,

    g_L = (E s − h − τ† g_L τ)⁻¹,    Σ_L = τ† g_L τ,        τ = t − E o,
    g_R = (E s − h − τ g_R τ†)⁻¹,    Σ_R = τ g_R τ†.

Where τ is a real multiple of the unit matrix the modes of h do not mix, and Σ follows in closed form from one chain
for each; otherwise by decimation (López Sancho, López Sancho & Rubio, J. Phys. F 15, 851 (1985)), checked by inserting
the result, and by the lead's modes where that fails.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import ordqz

from mlnegf._common import Complexes

Tensor = torch.Tensor


@dataclass(frozen=True, eq=False)
class Lead:
    """One half-infinite lead.

    Attributes
    ----------
    onsite, hopping : Tensor, (block, block)
        ⟨n|H|n⟩ and ⟨n|H|n+1⟩, x to the right; any energy unit.
    overlap, overlap_hopping : Tensor, (block, block), optional
        ⟨n|S|n⟩ and ⟨n|S|n+1⟩; unit matrix and zero unless given.
    """

    onsite: Tensor
    hopping: Tensor
    overlap: Tensor | None = None
    overlap_hopping: Tensor | None = None

    @property
    def uniform_hopping(self) -> float | None:
        """The t of a hopping −t·1; None if it is anything else, or an overlap spoils the closed form."""
        if self.overlap is not None or self.overlap_hopping is not None:
            return None
        t = -self.hopping[0, 0]
        unit = torch.eye(len(self.hopping), dtype=self.hopping.dtype, device=self.hopping.device)
        uniform = t.imag == 0 if t.is_complex() else True
        return float(t.real) if uniform and bool((self.hopping == -t * unit).all()) else None


@dataclass(frozen=True, eq=False)
class SelfEnergy:
    """Σ at Q energies, split into what shifts and what broadens.

    Attributes
    ----------
    shift : Tensor, (Q, block, block)
        (Σ + Σ†)/2; real symmetric for a real Hamiltonian, as time reversal asks.
    injection : Tensor, (Q, block, p)
        W with Γ = i(Σ − Σ†) = W W†; p is the largest number of open modes, columns beyond them are zero.
    """

    shift: Tensor
    injection: Tensor

    def select(self, energies: Tensor | int) -> "SelfEnergy":
        """Return that of some of the energies, or of one."""
        chosen = torch.as_tensor(energies).reshape(-1)
        return SelfEnergy(self.shift[chosen], self.injection[chosen])

    @property
    def gamma(self) -> Tensor:
        """Γ, (Q, block, block)."""
        return self.injection @ self.injection.mH

    @property
    def matrix(self) -> Tensor:
        """Σ, (Q, block, block), complex."""
        return self.shift - 0.5j * self.gamma


def self_energy(energies: Tensor, lead: Lead, side: str, broadening: float = 1e-10) -> SelfEnergy:
    """Solve a lead at Q energies.

    Parameters
    ----------
    energies : Tensor, (Q,)
        In the unit of the lead's blocks.
    lead : Lead
    side : str
        "left" or "right" of the device.
    broadening : float
        Imaginary part given to the energy by decimation, in units of ‖hopping‖; the closed form needs none.
    """
    t = lead.uniform_hopping
    if t is not None and t != 0.0:
        return _closed_form(energies, lead.onsite, t)
    scale = float(torch.linalg.matrix_norm(lead.hopping, 2))
    # What a closed mode has of Γ is due to the broadening; an open one has as much only within 1e-13 of its edge.
    least = min(1e3 * broadening, 1e-6) * scale
    return _split(_decimated(energies, lead, side, broadening), least, real=not lead.onsite.is_complex())


def complex_self_energy(energies: Tensor, lead: Lead, side: str) -> Tensor:
    """Σ of a lead at complex energies above the real axis, (Q, block, block)."""
    t = lead.uniform_hopping
    if t is None or t == 0.0:
        return _decimated(energies, lead, side, 0.0)
    levels, modes = torch.linalg.eigh(lead.onsite)
    cosine = (levels - energies[:, None]) / (2 * t)
    root = (cosine.square() - 1).sqrt()
    growing = torch.where((cosine + root).abs() > 1, cosine + root, cosine - root)
    vectors = modes.to(torch.complex128)
    sigma: Tensor = (vectors * (-t / growing)[:, None, :]) @ vectors.mH
    return sigma


def _closed_form(energies: Tensor, onsite: Tensor, t: float) -> SelfEnergy:
    """Σ = −t V e^{ika} V†, one chain of hopping −t for each eigenvector of the onsite block."""
    levels, modes = torch.linalg.eigh(onsite)
    cosine = (levels - energies[:, None]) / (2 * t)
    sine = (1 - cosine.square()).clamp_min(0.0).sqrt()
    # cos ± √(cos² − 1) as 1/(cos ∓ √(cos² − 1)): no digits cancel far outside the band.
    outside = cosine.sign() / (cosine.abs() + (cosine.square() - 1).clamp_min(0.0).sqrt())
    shift = -t * torch.where(cosine.abs() < 1, cosine, outside)
    root = (2 * abs(t) * sine).sqrt()
    open_modes = int((root > 0).sum(-1).max())
    # The open modes of each energy first.
    columns = torch.argsort((root > 0).to(torch.int8), dim=-1, descending=True, stable=True)[:, :open_modes]
    injection = modes.T[columns].transpose(1, 2) * root.gather(1, columns)[:, None, :]
    return SelfEnergy((modes * shift[:, None, :]) @ modes.mH, injection)


def _decimated(energies: Tensor, lead: Lead, side: str, broadening: float) -> Tensor:
    onsite, hopping = lead.onsite, lead.hopping
    unit = torch.eye(len(onsite), dtype=onsite.dtype, device=onsite.device)
    overlap = unit if lead.overlap is None else lead.overlap
    complex_energy = (energies + 1j * broadening * float(torch.linalg.matrix_norm(hopping, 2)))[:, None, None]
    out = hopping.to(torch.complex128).expand(len(energies), -1, -1)
    back = out.mH
    if lead.overlap_hopping is not None:
        out = out - complex_energy * lead.overlap_hopping
        back = back - complex_energy * lead.overlap_hopping.mH
    inside, outside = (back, out) if side == "left" else (out, back)
    inverse = complex_energy * overlap - onsite
    sigma: Tensor = inside @ surface_green_function(inverse, inside, outside) @ outside
    # Near a level of one of the finite leads it meets on the way decimation loses all digits: ask the modes there.
    again = inside @ torch.linalg.inv_ex(inverse - sigma).inverse @ outside
    wrong = (again - sigma).abs().amax((-2, -1)) / (inside.abs().amax((-2, -1)) + 1e-300)
    for n in torch.nonzero(~(wrong < 1e-9))[:, 0].tolist():
        more = 1j * broadening * (overlap * torch.linalg.matrix_norm(hopping, 2)).cpu().numpy()
        parts = [part[n].resolve_conj().cpu().numpy() for part in (inverse, inside, outside)]
        tries = (_from_modes(parts[0] + factor * more, *parts[1:]) for factor in (0, 1e2, 1e4))
        found = next((solved for solved in tries if solved is not None), None)
        if found is None:
            raise ValueError(
                f"leads: the {side} lead has a band edge at energy {float(energies[n])!r}, where its self-energy is "
                "not defined; take another energy or a larger broadening."
            )
        sigma[n] = torch.from_numpy(found)
    return sigma


def _from_modes(inverse: Complexes, into: Complexes, away: Complexes) -> Complexes | None:
    """Σ = `into` F, with F the step into the lead of the solutions that decay there, by an ordered QZ factorisation.

    None on a band edge, where it is not clear which solutions decay.
    """
    block = len(inverse)
    zero, unit = np.zeros((block, block)), np.eye(block)
    step = np.block([[zero, unit], [-away, inverse]])
    scale = np.block([[unit, zero], [zero, into]])
    *_, alpha, beta, _, vectors = ordqz(step, scale, sort="iuc", output="complex")
    decaying = int((abs(alpha) < abs(beta)).sum())
    if decaying != block:
        return None
    return np.asarray(into @ vectors[block:, :block] @ np.linalg.inv(vectors[:block, :block]))


def surface_green_function(inverse: Tensor, into: Tensor, away: Tensor, largest: int = 200) -> Tensor:
    """Solve g = (A − `into` g `away`)⁻¹ by decimation, which doubles the length of the lead at each step.

    Parameters
    ----------
    inverse : complex Tensor, (Q, block, block)
        A = E s − h with Im E > 0.
    into, away : complex Tensor, (Q, block, block)
        From the surface cell into the lead and back: for a right lead τ and τ†, for a left one τ† and τ.
    largest : int
        Steps allowed.

    Returns
    -------
    Tensor, (Q, block, block)
        Not finite, or wrong, where a finite lead met on the way has a level at the energy: insert it and see.
    """
    surface, bulk, alpha, beta = inverse, inverse, into, away
    scale = into.abs().amax((-2, -1), keepdim=True) + 1e-300
    for _ in range(largest):
        solved = torch.linalg.solve_ex(bulk, torch.cat([alpha, beta], -1)).result
        towards, back = solved.chunk(2, -1)
        surface = surface - alpha @ back
        bulk = bulk - alpha @ back - beta @ towards
        alpha, beta = alpha @ towards, beta @ back
        left = (alpha.abs() / scale).amax((-2, -1)) + (beta.abs() / scale).amax((-2, -1))
        if not bool((left > 1e-15).any()):  # so written, one that is not a number does not hold up the others
            break
    green: Tensor = torch.linalg.inv_ex(surface).inverse
    return green


def _split(sigma: Tensor, least: float, real: bool) -> SelfEnergy:
    gamma = 1j * (sigma - sigma.mH)
    shift = (sigma + sigma.mH) / 2
    if real:
        gamma, shift = gamma.real, shift.real
    strength, modes = torch.linalg.eigh(gamma)
    root = torch.where(strength > (1e-14 * strength.amax(-1, keepdim=True)).clamp_min(least), strength, 0.0).sqrt()
    count = int((root > 0).sum(-1).max())
    keep = slice(root.shape[-1] - count, None)
    return SelfEnergy(shift, modes[..., keep] * root[:, None, keep])
