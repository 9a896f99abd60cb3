"""Half-infinite leads of any block Hamiltonian and their contact self-energy.

A lead is a pair (onsite h, hopping t) of blocks, t = ⟨n|H|n+1⟩ between a cell and the next one to the right, in both
leads. It may carry overlaps (s, o) of the same two blocks, ⟨n|S|n⟩ and ⟨n|S|n+1⟩.

A lead falls into parts that nothing links; each is solved by itself, whatever its hopping beside the others'. Where h
and t commute, and t with t†, the modes of a part do not mix: each is a chain, and Σ follows in closed form. The others
are left to `decimation`. No threshold knows a unit: a part is measured by its own hopping.
"""

from dataclasses import dataclass, fields

import numpy as np
import torch
from scipy.sparse.csgraph import connected_components

from mlnegf._common import require
from mlnegf.transport import decimation
from mlnegf.transport.chain_lead import phase_factor
from mlnegf.transport.checks import finite, real_energies, require_broadening, untracked
from mlnegf.transport.decimation import Cell
from mlnegf.transport.self_energies import SelfEnergy

Tensor = torch.Tensor

SIDES = ("left", "right")

MIXED = 1e-13
"""Relative size of what may be left off the diagonal by modes that are said not to mix."""


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
    def blocks(self) -> tuple[Tensor | None, ...]:
        """All four, in the order of the attributes."""
        return tuple(getattr(self, field.name) for field in fields(self))

    @property
    def uniform_hopping(self) -> float | None:
        """The t of a hopping −t·1; None if it is anything else, or an overlap spoils the closed form."""
        if self.overlap is not None or self.overlap_hopping is not None:
            return None
        t = -self.hopping[0, 0]
        unit = torch.eye(len(self.hopping), dtype=self.hopping.dtype, device=self.hopping.device)
        uniform = t.imag == 0 if t.is_complex() else True
        return float(t.real) if uniform and bool((self.hopping == -t * unit).all()) else None

    def in_units_of(self, energy: float) -> "Lead":
        """Divide the energies by a unit."""
        return Lead(self.onsite / energy, self.hopping / energy, self.overlap, self.overlap_hopping)

    def is_same(self, other: "Lead") -> bool:
        """Say whether both are the same to the last digit."""
        pairs = list(zip(self.blocks, other.blocks, strict=True))
        if any((one is None) != (two is None) for one, two in pairs):
            return False
        return self is other or all(torch.equal(one, two) for one, two in pairs if one is not None and two is not None)

    def parts(self) -> list[Tensor]:
        """Orbitals of every part of the lead that nothing links to the others, each (orbitals,) in rising order."""
        linked = sum(block.abs() + block.abs().mT for block in self.blocks if block is not None)
        count, label = connected_components((linked != 0).cpu().numpy(), directed=False)  # type: ignore[union-attr]
        return [torch.as_tensor(np.flatnonzero(label == n), device=self.onsite.device) for n in range(count)]

    def select(self, orbitals: Tensor) -> "Lead":
        """Keep some of the orbitals."""
        return Lead(*(block if block is None else block[orbitals][:, orbitals] for block in self.blocks))  # type: ignore[arg-type]

    def chains(self) -> tuple[Tensor, Tensor, Tensor] | None:
        """Levels ε and hoppings −t (block,) of chains that do not mix, and the modes V as columns; None if they do.

        h = V ε V† and t = V t V† at once: the eigenvectors of a sum of h and of both Hermitian parts of t, if they
        turn out to be those of each.
        """
        if self.overlap is not None or self.overlap_hopping is not None:
            return None
        t = self.uniform_hopping
        if t is not None:
            levels, modes = torch.linalg.eigh(self.onsite)
            return levels, torch.full_like(levels, t), modes
        parts = [self.onsite, self.hopping + self.hopping.mH]
        if self.hopping.is_complex():
            parts.append(1j * (self.hopping - self.hopping.mH))
        sizes = [float(part.abs().max()) or 1.0 for part in parts]
        mix = sum(weight * part / size for weight, part, size in zip((1.0, 0.6180, 0.3819), parts, sizes, strict=False))
        modes = torch.linalg.eigh(mix).eigenvectors
        turned = [modes.mH @ block @ modes for block in (self.onsite, self.hopping)]
        for block, size in zip(turned, (sizes[0], float(self.hopping.abs().max())), strict=True):
            beside = block - torch.diag_embed(block.diagonal())
            if float(beside.abs().max()) > MIXED * len(block) * size:
                return None
        hoppings = -turned[1].diagonal()
        rounding = 1e-15 * len(hoppings) * float(self.hopping.abs().max())  # an orbital without a hopping has no band
        return turned[0].diagonal().real, torch.where(hoppings.abs() > rounding, hoppings, 0.0), modes


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
        Imaginary part given to the energy by decimation, in units of ‖hopping‖; the closed form needs none. Modes that
        the lead does not carry at the energy itself are taken out of Γ.

    Raises
    ------
    ValueError
        On a band edge, or where localised states of the lead lie at the energy.
    """
    require(isinstance(side, str) and side in SIDES, "side", side, "'left' or 'right'", "leads")
    require_broadening(broadening)
    energies, lead = untracked("energies", real_energies(energies), "self_energy"), checked(lead)
    for block in lead.blocks:
        if block is not None:
            untracked("lead", block, "self_energy")
    (found,) = _of_lead(energies, lead, (side,), broadening)
    for n in torch.nonzero(~found.is_known)[:1, 0].tolist():
        raise ValueError(
            f"leads: the {side} lead has a band edge or localised states at energy {float(energies[n])!r}, where its "
            "self-energy is not defined; take another energy or a larger broadening."
        )
    return found


def checked(lead: Lead) -> Lead:
    """Bring the blocks of a lead to one type."""
    require(isinstance(lead, Lead), "lead", lead, "a Lead(onsite, hopping)", "leads")
    onsite = finite("lead.onsite", lead.onsite, (None, None), "leads", real=False)
    given = [onsite if block is None else block for block in lead.blocks]
    names = [f"lead.{field.name}" for field in fields(lead)]
    shape = (len(onsite), len(onsite))
    parts = [finite(name, block, shape, "leads", real=False) for name, block in zip(names, given, strict=True)]
    kind = torch.complex128 if any(part.is_complex() for part in parts) else torch.float64
    kept = [None if block is None else part.to(kind) for block, part in zip(lead.blocks, parts, strict=True)]
    return Lead(*kept)  # type: ignore[arg-type]


def self_energies(energies: Tensor, left: Lead, right: Lead, broadening: float) -> tuple[SelfEnergy, SelfEnergy]:
    """Solve both leads as `self_energy` does, once if they are the same; NaN where Σ is not defined."""
    if left.is_same(right):
        one, other = _of_lead(energies, left, SIDES, broadening)
        return one, other
    (one,), (other,) = (
        _of_lead(energies, lead, (side,), broadening) for lead, side in ((left, "left"), (right, "right"))
    )
    return one, other


def cell_of(energies: Tensor, lead: Lead, broadening: float) -> Cell:
    """Lay out a lead's cell at the real energies it is solved at: the closed form knows no broadening."""
    return Cell.of(energies, lead.blocks, broadening if lead.chains() is None else 0.0)


def surface(energies: Tensor, lead: Lead, side: str, broadening: float) -> tuple[Cell, Tensor]:
    """Lay out a lead's cell at real energies, and its surface's Green's function at the very same, (Q, block, block).

    Not finite where there is no answer.
    """
    chains, cell = lead.chains(), cell_of(energies, lead, broadening)
    if chains is None:
        (contact,) = decimation.contacts(cell, (side,))
        sigma = contact.sigma
    else:
        sigma = _closed_form(energies, *chains).matrix.to(cell.inverse.dtype)
    return cell, torch.linalg.inv_ex(cell.inverse - sigma).inverse


def complex_self_energies(energies: Tensor, left: Lead, right: Lead) -> tuple[Tensor, Tensor]:
    """Σ of both leads at complex energies above the real axis, (Q, block, block) each."""
    if left.is_same(right):
        one, other = _at_complex(energies, left, SIDES)
        return one, other
    (one,), (other,) = (_at_complex(energies, lead, (side,)) for lead, side in ((left, "left"), (right, "right")))
    return one, other


def _at_complex(energies: Tensor, lead: Lead, sides: tuple[str, ...]) -> list[Tensor]:
    chains = lead.chains()
    if chains is None:
        return [contact.sigma for contact in decimation.contacts(Cell.of(energies, lead.blocks, 0.0), sides)]
    levels, hoppings, modes = chains
    vectors = modes.to(torch.complex128)
    sigma: Tensor = (vectors * (-hoppings.abs() * _phases(energies, levels, hoppings))[:, None, :]) @ vectors.mH
    return [sigma] * len(sides)


def _of_lead(energies: Tensor, lead: Lead, sides: tuple[str, ...], broadening: float) -> list[SelfEnergy]:
    """Solve the parts of a lead and put them together."""
    if lead.uniform_hopping is not None:
        return _of_part(energies, lead, sides, broadening)
    parts = lead.parts()
    if len(parts) == 1:
        return _of_part(energies, lead, sides, broadening)
    solved = [_of_part(energies, lead.select(orbitals), sides, broadening) for orbitals in parts]
    return [_joined(parts, [part[n] for part in solved], len(lead.onsite)) for n in range(len(sides))]


def _joined(parts: list[Tensor], solved: list[SelfEnergy], block: int) -> SelfEnergy:
    first = solved[0].shift
    shift = first.new_zeros(len(first), block, block)
    columns = []
    for orbitals, part in zip(parts, solved, strict=True):
        shift[:, orbitals[:, None], orbitals] = part.shift
        injection = first.new_zeros(len(first), block, part.injection.shape[-1])
        injection[:, orbitals] = part.injection
        columns.append(injection)
    return SelfEnergy(shift, torch.cat(columns, -1))


def _of_part(energies: Tensor, lead: Lead, sides: tuple[str, ...], broadening: float) -> list[SelfEnergy]:
    chains = lead.chains()
    if chains is not None:
        return [_closed_form(energies, *chains)] * len(sides)
    cell, real = Cell.of(energies, lead.blocks, broadening), not lead.onsite.is_complex()
    found = zip(sides, decimation.contacts(cell, sides), strict=True)
    return [decimation.split(cell, side, contact, broadening, real) for side, contact in found]


def _phases(energies: Tensor, levels: Tensor, hoppings: Tensor) -> Tensor:
    """λ = e^{ika} of a chain of hopping −|t| for each mode, (Q, modes)."""
    t = torch.where(hoppings == 0, 1.0, hoppings.abs())  # an orbital without a hopping has Σ = 0 whatever λ is
    return phase_factor(energies[:, None] - levels + 2 * t, t)


def _closed_form(energies: Tensor, levels: Tensor, hoppings: Tensor, modes: Tensor) -> SelfEnergy:
    """Σ = −|t| V e^{ika} V†, one chain for each mode; sign and phase of t drop out of t†gt."""
    phase, strength = _phases(energies, levels, hoppings), hoppings.abs()
    shift, root = -strength * phase.real, (2 * strength * phase.imag).sqrt()
    open_modes = int((root > 0).sum(-1).max())
    # The open modes of each energy first.
    columns = torch.argsort((root > 0).to(torch.int8), dim=-1, descending=True, stable=True)[:, :open_modes]
    injection = modes.T[columns].transpose(1, 2) * root.gather(1, columns)[:, None, :]
    return SelfEnergy((modes * shift[:, None, :]) @ modes.mH, injection)
