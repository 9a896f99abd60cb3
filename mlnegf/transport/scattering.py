"""Ballistic transport through any block-tridiagonal Hamiltonian between two half-infinite leads.

The device is (sites, block, block): `diagonal` ⟨n|H|n⟩ and `upper` ⟨n|H|n+1⟩. Its scattering states are

    ψ = G W,    G = (E S − H − Σ_L − Σ_R)⁻¹,    Γ = W W†,

W having one column for each open mode of a lead: A_L = G Γ_L G† = ψ_L ψ_L†, T = |W_R† ψ_L|². So the full G is never
formed; blocks are eliminated from left to right and only the few columns of W are solved for, all energies at once.

How they are solved for is told in `waves`. Energies are measured in the Hamiltonian's own unit on the way in and given
back in the caller's on the way out, so that no threshold knows of joules or electronvolts.

Datta, *Electronic Transport in Mesoscopic Systems* (1995), chapter 3; Lane & Thomas, Rev. Mod. Phys. 30, 257 (1958).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from mlnegf._common import is_count, require
from mlnegf.transport.blocks import System, require_system
from mlnegf.transport.checks import as_tensor, finite, real_energies, require_broadening, untracked
from mlnegf.transport.leads import Lead, self_energies
from mlnegf.transport.self_energies import SelfEnergy
from mlnegf.transport.waves import injected_waves

Tensor = torch.Tensor

MEMORY = 2**28
"""Bytes of eliminated blocks kept at a time; energies are taken in batches that fit."""

MOST_ENERGIES = 2**14
"""In a batch, however small the blocks: what else is kept of each may be larger than they."""

ASIDE = 1e-5
"""How far from an energy that a lead does not allow both sides are looked at, in units of the largest hopping."""

AGREEING = 1e-3
"""How well both sides have to agree."""

SHARPER = 1e-3
"""Share of the broadening that is left there, where states localised in a lead are so near."""


@dataclass(frozen=True, eq=False)
class ScatteringStates:
    """What both leads inject at Q energies.

    Attributes
    ----------
    from_left, from_right : complex Tensor, (Q, sites, block, p)
        ψ = G W of each open mode; its squares are a local density of states times 2π. Beyond the open
        modes columns are zero.
    left, right : SelfEnergy
    system : System
    """

    from_left: Tensor
    from_right: Tensor
    left: SelfEnergy
    right: SelfEnergy
    system: System

    @cached_property
    def left_injected(self) -> Tensor:
        """Diagonal of A_L = G Γ_L G†, (Q, sites, block), 1/energy."""
        return self.from_left.abs().square().sum(-1)

    @cached_property
    def right_injected(self) -> Tensor:
        """Diagonal of A_R = G Γ_R G†, (Q, sites, block), 1/energy."""
        return self.from_right.abs().square().sum(-1)

    @cached_property
    def transmission(self) -> Tensor:
        """T = Tr Γ_L G Γ_R G†, (Q,)."""
        return (self._adjoint(self.right) @ self.from_left[:, -1]).abs().square().sum((-2, -1))

    @cached_property
    def reflection(self) -> Tensor:
        """Probability, summed over the left lead's open modes, to return to the left lead, (Q,).

        Open modes − T, but worked out by itself: r = 1 − i W_L† ψ_L.
        """
        back = self._adjoint(self.left) @ self.from_left[:, 0]
        is_open = (self.left.injection.abs().amax(-2) > 0).to(back.dtype)
        return (torch.diag_embed(is_open) - 1j * back).abs().square().sum((-2, -1))

    @staticmethod
    def _adjoint(lead: SelfEnergy) -> Tensor:
        return lead.injection.mH.to(torch.complex128)

    @property
    def open_modes(self) -> tuple[Tensor, Tensor]:
        """Number of open modes of the left and of the right lead, (Q,)."""
        left, right = ((lead.injection.abs().amax(-2) > 0).sum(-1) for lead in (self.left, self.right))
        return left, right

    def spectral_function(self, site: int) -> Tensor:
        """Return the block ⟨site|A|site⟩ = i(G − G†), (Q, block, block), of the states that the leads inject."""
        sites = self.from_left.shape[1]
        good = is_count(site, -sites, sites - 1)
        require(good, "site", site, f"a whole number between {-sites} and {sites - 1}", "spectral_function")
        left, right = self.from_left[:, site], self.from_right[:, site]
        return left @ left.mH + right @ right.mH

    def local_current(self) -> Tensor:
        """Transmission that the left lead's waves carry out of every orbital to the next slice, (Q, sites − 1, block).

        Its sum over a slice is T, for every slice. Without overlap matrices.
        """
        ahead = self.system.upper.to(torch.complex128) @ self.from_left[:, 1:]
        return -2 * (self.from_left[:, :-1].conj() * ahead).imag.sum(-1)


def scattering_states(
    energies: Tensor, system: System, broadening: float = 1e-10
) -> Iterator[tuple[slice, ScatteringStates]]:
    """Solve for all that both leads inject, batch by batch.

    Parameters
    ----------
    energies : Tensor, (Q,)
        In the unit of the Hamiltonian, whatever that is. On a band edge of a lead the states are singular.
    system : System
    broadening : float
        Of leads without a closed form, see `leads.self_energy`.

    Yields
    ------
    slice, ScatteringStates
        The energies of the batch, and their states. Where localised states of a lead lie at an energy, those of an
        energy `ASIDE` from it, if both sides of it give the same.

    Raises
    ------
    ValueError
        Naming an energy at which there is no answer.
    """
    require_broadening(broadening)
    points = untracked("energies", real_energies(energies), "scattering_states")
    points = points.to(require_system(system, "scattering_states").diagonal.device)
    return batches(points, system, broadening)


def batches(energies: Tensor, system: System, broadening: float = 1e-10) -> Iterator[tuple[slice, ScatteringStates]]:
    """Do as `scattering_states`, of arguments that are known to be good."""
    sites, block, _ = system.diagonal.shape
    size = max(1, min(MEMORY // (sites * block**2 * system.diagonal.element_size()), MOST_ENERGIES))
    for start in range(0, len(energies), size):
        batch = slice(start, min(start + size, len(energies)))
        yield batch, _states(energies[batch], system, broadening)


def _states(energies: Tensor, system: System, broadening: float) -> ScatteringStates:
    own, points = system.in_own_unit, energies / system.unit
    left, right = self_energies(points, own.left, own.right, broadening)
    unknown = torch.nonzero(~(left.is_known & right.is_known))[:, 0]
    if len(unknown):
        beside = _beside(points[unknown], own, broadening)
        points = points.index_copy(0, unknown, beside[0])
        left, right = left.replaced(unknown, beside[1]), right.replaced(unknown, beside[2])
    waves = injected_waves(points, own, left, right) / system.unit**0.5
    for n in torch.nonzero(~waves.isfinite().all(-1).all(-1).all(-1))[:1, 0].tolist():
        raise ValueError(
            f"transport: energies holds {float(energies[n])!r}, where there is no answer: a band edge of a lead, an "
            "energy of states localised in it, or a singular E S − H − Σ; take an energy beside it, or a larger "
            "broadening."
        )
    return _split(waves, left.in_units_of(1 / system.unit), right.in_units_of(1 / system.unit), system)


def _split(waves: Tensor, left: SelfEnergy, right: SelfEnergy, system: System) -> ScatteringStates:
    first = left.injection.shape[-1]
    return ScatteringStates(waves[..., :first], waves[..., first:], left, right, system)


def _beside(energies: Tensor, system: System, broadening: float) -> tuple[Tensor, SelfEnergy, SelfEnergy]:
    """Energies `ASIDE` from those at which a lead has no self-energy, and that of both leads there.

    NaN unless both sides give the same. The system, and energies, in its own unit.
    """
    sides, found = [], []
    for points in (energies + ASIDE, energies - ASIDE):
        sides.append((points, *self_energies(points, system.left, system.right, SHARPER * broadening)))
        states = _split(injected_waves(*sides[-1][:1], system, *sides[-1][1:]), *sides[-1][1:], system)
        found.append((states.transmission[:, None, None], states.left_injected, states.right_injected))
    agree = torch.stack(
        [(a - b).abs().amax((1, 2)) <= AGREEING * a.abs().amax((1, 2)) for a, b in zip(*found, strict=True)]
    ).all(0)
    points, left, right = sides[0]
    left.shift[~agree] = torch.nan
    return points, left, right


def density_of_states(
    energies: Any,
    diagonal: Any,
    upper: Any,
    left_lead: Lead | Sequence[Any],
    right_lead: Lead | Sequence[Any],
    overlap: Sequence[Any] | None = None,
    broadening: float = 1e-10,
    device: str | torch.device | None = None,
) -> Any:
    """Local density of states injected by the left and by the right lead, for the same arguments as `transmission`.

    Returns
    -------
    array, (2, Q, sites, block)
        diag(G Γ G†)/2π of the left and of the right lead, states per energy and orbital, one spin. States bound
        below both leads are not injected and not in it. With overlaps this is the part of the orbital, not Mulliken's.
    """
    require_broadening(broadening)
    points = real_energies(energies)
    system = System.of(diagonal, upper, left_lead, right_lead, overlap, device)
    require_system(system, "density_of_states")
    points = untracked("energies", points, "density_of_states").to(system.diagonal.device)
    parts = [
        torch.stack([states.left_injected, states.right_injected]) for _, states in batches(points, system, broadening)
    ]
    return like(torch.cat(parts, 1) / (2 * torch.pi), energies, diagonal)


def carriers(
    density: Tensor, energies: Tensor, occupations: tuple[Tensor, Tensor], neutral: Tensor | float
) -> tuple[Tensor, Tensor]:
    """Electrons above and holes below a level, per energy.

    Parameters
    ----------
    density : Tensor, (2, Q, ...)
        Injected by the left and by the right lead, see `density_of_states`.
    energies : Tensor, (Q,)
    occupations : pair of Tensor, (Q,)
        Fermi functions of both contacts.
    neutral : Tensor (...) or float
        Level, in the middle of the gap, above which a filled state is an electron and below which an empty one is a
        hole.

    Returns
    -------
    electrons, holes : Tensor, (Q, ...)
        To be integrated over energy.
    """
    energies = real_energies(energies)
    number = len(energies)
    density = as_tensor("density", density, "carriers")
    density = finite("density", density, (2, number, *(None for _ in density.shape[2:])), "carriers")
    pair = isinstance(occupations, (tuple, list)) and len(occupations) == 2
    require(pair, "occupations", occupations, "a pair of Fermi functions, of source and drain", "carriers")
    level = as_tensor("neutral", neutral, "carriers")
    level = finite("neutral", level, density.shape[2:] if level.ndim else (), "carriers")
    trailing = (number,) + (1,) * (density.ndim - 2)
    left, right = (finite("occupations", one, (number,), "carriers").reshape(trailing) for one in occupations)
    above = energies.reshape(trailing) > level
    electrons = density[0] * left + density[1] * right
    holes = density[0] * (1 - left) + density[1] * (1 - right)
    zero = torch.zeros_like(electrons)
    return torch.where(above, electrons, zero), torch.where(above, zero, holes)


def like(values: Tensor, *given: Any) -> Any:
    """Return a tensor if one was given, otherwise an array."""
    return values if any(isinstance(value, Tensor) for value in given) else values.detach().cpu().numpy()
