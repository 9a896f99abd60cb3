"""Ballistic transport in uncoupled subbands: one tight-binding chain between two half-infinite leads for each.

The Hamiltonian of subband m is 2t + E_m(x) on site and −t between sites, t = ħ²/(2 m_x a²); its leads continue the
first and the last site. Two solutions of (E − H)ψ = 0 hold everything: v leaves through the right lead, u through the
left one, and

    G(x, x') = u(x_<) v(x_>) / D,    Γ = −2 Im Σ,    Σ = −t e^{ika},
    A₁(x, x) = Γ₁ |v|²/|D|²,    A₂(x, x) = Γ₂ |u|²/|D|²,    T = Γ₁ Γ₂ / |D|²

(u = 1 at the first site, v = 1 at the last). Both recursions run in the direction in which their solution grows, hence
are stable. See Datta, *Electronic Transport in Mesoscopic Systems* (1995), chapter 3, for G, Γ and T.

*Scattering in the contacts.* A contact of real silicon scatters up to the gate. Here each of its sites may leak, with
the share α of the hopping's strength, into a side chain: a copy of the lead, filled as the lead is (a probe of
Büttiker's, at the contact's own Fermi level). Its self-energy αt(1 − λ) with λ = e^{ika} broadens a wave by 2αt sin ka,
which over the velocity 2at sin ka/ħ is a mean free path a/α at every energy and mass. A contact then is its lead and
all of its side chains: Σ(x) = c(x)Σ_lead with c = α, plus 1 at the lead's site.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, TypeVar

import torch

from mlnegf._common import is_dense, is_positive, plain, require
from mlnegf.transport.chain_lead import ChainLead
from mlnegf.transport.checks import finite, untracked
from mlnegf.units import HBAR2_OVER_2M0

Tensor = torch.Tensor

MOST_SITES: Final = 100_000
HIGHEST: Final = 1000.0
"""Site energies allowed, eV."""


@dataclass(frozen=True, eq=False)
class Chains:
    """K independent chains of nx sites.

    Attributes
    ----------
    onsite : Tensor, (K, nx)
        Subband energy E_m(x), eV; the site energy is 2t above.
    hopping : Tensor, (K,)
        t, eV.
    spacing : float
        a, nm.
    degeneracy : Tensor, (K,)
        Electrons a state holds: 2 for spin times the number of valleys.
    scattering : Tensor, (2, nx), optional
        α of source and drain: spacing over mean free path, 0 where their carriers do not scatter.
    """

    onsite: Tensor
    hopping: Tensor
    spacing: float
    degeneracy: Tensor
    scattering: Tensor | None = None

    def __post_init__(self) -> None:
        require(is_positive(self.spacing), "spacing", self.spacing, "a positive length, nm", "Chains")
        good = is_dense(self.onsite) and self.onsite.ndim == 2 and self.onsite.numel() > 0
        require(good, "onsite", self.onsite, "a tensor of subbands and sites, one or more; see Chains.one", "Chains")
        subbands, sites = self.onsite.shape
        for name, shape in (("hopping", (subbands,)), ("degeneracy", (subbands,)), ("scattering", (2, sites))):
            value = getattr(self, name)
            good = (value is None and name == "scattering") or (is_dense(value) and tuple(value.shape) == shape)
            require(good, name, value, f"a tensor of shape {shape}", "Chains")

    @staticmethod
    def one(onsite: Any, mass: float, spacing: float, degeneracy: float = 2.0) -> "Chains":
        """Return a single chain.

        Parameters
        ----------
        onsite : array, (nx,)
            Band edge E(x), eV.
        mass : float
            m₀.
        spacing : float
            nm.
        degeneracy : float
            Electrons a state holds; 2 for spin alone.
        """
        for name, value in (("mass", mass), ("spacing", spacing), ("degeneracy", degeneracy)):
            require(is_positive(value), name, value, "a positive number", "Chains")
        mass, spacing, degeneracy = (float(plain(value)) for value in (mass, spacing, degeneracy))
        hopping = hopping_energy(mass, spacing)
        words = f"one that with a mass of {mass:g} m₀ gives a hopping between 1e-9 and 1e9 eV"
        require(1e-9 <= float(hopping) <= 1e9, "spacing", spacing, words, "Chains")
        edge = untracked("onsite", finite("onsite", onsite, (None,), "Chains"), "Chains")
        good = len(edge) <= MOST_SITES and float(edge.abs().max()) <= HIGHEST
        words = f"{MOST_SITES} sites or fewer, each within {HIGHEST:g} eV of zero"
        require(good, "onsite", onsite, words, "Chains")
        held = torch.tensor([degeneracy], dtype=torch.float64)
        return Chains(edge[None], hopping.reshape(1), spacing, held)

    @property
    def edges(self) -> tuple[Tensor, Tensor]:
        """Band edges of the left and of the right lead, (K,), eV."""
        return self.onsite[:, 0], self.onsite[:, -1]

    @property
    def left_is_low(self) -> Tensor:
        """Whether the left lead has the lower edge, (K,); the higher one is the contact that injects beyond it."""
        return self.onsite[:, 0] <= self.onsite[:, -1]

    @property
    def per_state(self) -> Tensor:
        """Electrons per nm that a spectral function of 1/eV holds, for a weight of 1 eV; (K,)."""
        return self.degeneracy / (2 * torch.pi * self.spacing)

    @cached_property
    def contact_weights(self) -> Tensor:
        """Share c of the leads' self-energies at every site, (2, nx)."""
        return contact_weights(self.scattering, self.onsite.shape[1])


def contact_weights(scattering: Tensor | None, sites: int) -> Tensor:
    """Add the leads' own sites to the side chains'."""
    weights = torch.zeros(2, sites, dtype=torch.float64) if scattering is None else scattering.clone()
    weights[0, 0] += 1.0
    weights[1, -1] += 1.0
    return weights


def hopping_energy(mass: Tensor | float, spacing: float) -> Tensor:
    """Return t = ħ²/(2 m a²) in eV for a mass in m₀ and a spacing in nm."""
    good = is_positive(spacing) and 1e-6 <= spacing <= 1e6
    require(good, "spacing", spacing, "a positive length, 1e-6 to 1e6 nm", "hopping_energy")
    return torch.as_tensor(HBAR2_OVER_2M0 / spacing**2) / torch.as_tensor(mass, dtype=torch.float64)


@dataclass(frozen=True, eq=False)
class ChainStates:
    """The two solutions u, v of Q chains, (Q, nx) complex, and what normalises them."""

    u: Tensor
    v: Tensor
    determinant: Tensor
    left: ChainLead
    right: ChainLead
    scattering: Tensor | None = None

    @cached_property
    def from_left(self) -> Tensor:
        """G(x, 0) = v/D, (Q, nx); where u and v grow to 1e200 their squares could not be formed, these can."""
        return self.v / self.determinant[:, None]

    @cached_property
    def from_right(self) -> Tensor:
        """G(x, nx − 1) = u/D, (Q, nx)."""
        return self.u / self.determinant[:, None]

    @cached_property
    def left_injected(self) -> Tensor:
        """Diagonal of A₁ = G Γ₁ G†, (Q, nx), 1/eV."""
        if self.scattering is None:
            return _square(self.from_left) * self.left.gamma[:, None]
        weights = contact_weights(self.scattering, self.u.shape[1]).flip(-1)
        mirrored = sent_back(self.v.flip(-1), self.u.flip(-1), self.determinant, weights[0])
        return mirrored.flip(-1) * self.left.gamma[:, None]

    @cached_property
    def right_injected(self) -> Tensor:
        """Diagonal of A₂ = G Γ₂ G†, (Q, nx), 1/eV."""
        if self.scattering is None:
            return _square(self.from_right) * self.right.gamma[:, None]
        weights = contact_weights(self.scattering, self.u.shape[1])
        return sent_back(self.u, self.v, self.determinant, weights[1]) * self.right.gamma[:, None]

    @cached_property
    def transmission(self) -> Tensor:
        """T = Tr Γ₁ G Γ₂ G†, side chains included, (Q,)."""
        if self.scattering is None:
            return self.left.gamma * self.right.gamma * (1 / self.determinant.abs()).square()
        left, _ = contact_weights(self.scattering, self.u.shape[1])
        found: Tensor = self.left.gamma * (self.right_injected @ left)
        return found

    def density_of_states(self) -> Tensor:
        """Return the diagonal of A = i(G − G†), (Q, nx), 1/eV; it equals A₁ + A₂ wherever a contact injects."""
        return -2 * (self.u * self.from_left).imag

    def bond_current(self, hopping: Tensor) -> Tensor:
        """Transmission through every bond of the wave from the left lead, (Q, nx − 1); ballistic: all equal T."""
        flux = 2 * hopping[:, None] * (self.v[:, :-1].conj() * self.v[:, 1:]).imag
        return flux * (self.left.gamma * (1 / self.determinant.abs()).square())[:, None]


def sent_back(u: Tensor, v: Tensor, determinant: Tensor, weights: Tensor) -> Tensor:
    """Σ_x' c(x') |G(x, x')|² of the right contact's weights, (Q, nx)."""
    scaled = u / determinant[:, None]
    ahead = before(weights * _square(scaled))
    beside = torch.where(ahead > 0, _square(v), 0.0) * ahead
    found: Tensor = _square(scaled) * from_here_on(weights * torch.where(weights > 0, _square(v), 0.0)) + beside
    return found


def from_here_on(values: Tensor) -> Tensor:
    """Sum over this site and all that follow."""
    return values.flip(-1).cumsum(-1).flip(-1)


def before(values: Tensor) -> Tensor:
    """Sum over all sites before this one."""
    return values.cumsum(-1) - values


def chain_states(onsite: Tensor, hopping: Tensor, energy: Tensor, scattering: Tensor | None = None) -> ChainStates:
    """Solve Q chains, one energy each.

    Parameters
    ----------
    onsite : Tensor, (Q, nx)
        E_m(x), eV.
    hopping, energy : Tensor, (Q,)
        t and E, eV.
    scattering : Tensor, (2, nx), optional
        See `Chains`.
    """
    onsite = untracked("onsite", finite("onsite", onsite, (None, None), "chain_states"), "chain_states")
    count, sites = onsite.shape
    hopping, energy = (
        untracked(name, finite(name, value, (count,), "chain_states"), "chain_states")
        for name, value in (("hopping", hopping), ("energy", energy))
    )
    require(bool((hopping > 0).all()), "hopping", hopping, "positive numbers", "chain_states")
    if scattering is not None:
        scattering = finite("scattering", scattering, (2, sites), "chain_states")
        untracked("scattering", scattering, "chain_states")
    return solved(onsite, hopping, energy, scattering)


def solved(onsite: Tensor, hopping: Tensor, energy: Tensor, scattering: Tensor | None = None) -> ChainStates:
    """Do as `chain_states`, of arguments that are known to be good."""
    left = ChainLead.of(energy - onsite[:, 0], hopping)
    right = ChainLead.of(energy - onsite[:, -1], hopping)
    if scattering is None:
        u, v = _real_recursion(onsite, hopping, energy, left, right)
    else:
        u, v = recursion(onsite, hopping, energy, left.phase, right.phase, scattering)
    return ChainStates(
        u=u,
        v=v[:, 1:],
        determinant=hopping * (left.phase * v[:, 1] - v[:, 0]),
        left=left,
        right=right,
        scattering=scattering,
    )


@dataclass(frozen=True, eq=False)
class Resolvent:
    """G(x, x') = u(x_<) v(x_>) / D of Q chains at complex energies.

    Attributes
    ----------
    u, v : complex Tensor, (Q, nx)
    determinant : complex Tensor, (Q,)
    left, right : ChainLead
    """

    u: Tensor
    v: Tensor
    determinant: Tensor
    left: ChainLead
    right: ChainLead

    @property
    def diagonal(self) -> Tensor:
        """G(x, x), (Q, nx), 1/eV."""
        return self.u * (self.v / self.determinant[:, None])


def resolvent(onsite: Tensor, hopping: Tensor, energy: Tensor, scattering: Tensor | None = None) -> Resolvent:
    """Solve Q chains at one complex energy each; arguments as in `chain_states`."""
    left, right = (ChainLead.of(energy - onsite[:, end], hopping) for end in (0, -1))
    u, v = recursion(onsite, hopping, energy, left.phase, right.phase, scattering)
    return Resolvent(
        u=u,
        v=v[:, 1:],
        determinant=hopping * (left.phase * v[:, 1] - v[:, 0]),
        left=left,
        right=right,
    )


Solved = TypeVar("Solved", ChainStates, Resolvent)


def gathered(parts: Sequence[Solved], rows: Tensor) -> Solved:
    """Return those of the energies at `rows` (Q,) of all parts, one after the other."""
    if len(parts) == 1 and torch.equal(rows, torch.arange(len(parts[0].determinant))):
        return parts[0]
    u, v, determinant = (torch.cat([getattr(part, name) for part in parts])[rows] for name in ("u", "v", "determinant"))
    left, right = (
        ChainLead(*(torch.cat([getattr(side, name) for side in sides])[rows] for name in ("phase", "hopping")))
        for sides in ([part.left for part in parts], [part.right for part in parts])
    )
    return replace(parts[0], u=u, v=v, determinant=determinant, left=left, right=right)


def _real_recursion(
    onsite: Tensor, hopping: Tensor, energy: Tensor, left: ChainLead, right: ChainLead
) -> tuple[Tensor, Tensor]:
    """Do as `recursion` with real coefficients: real and imaginary parts go separate ways."""
    coefficient = (2 + (onsite - energy[:, None]) / hopping[:, None]).T.contiguous()
    both = torch.stack([coefficient, coefficient.flip(0)], 1)[:, :, None]
    sites = len(coefficient)
    waves = torch.empty(sites + 2, 2, 2, len(energy), dtype=onsite.dtype)
    waves[0] = torch.stack([torch.view_as_real(side.phase).T for side in (left, right)])
    waves[1, :, 0], waves[1, :, 1] = 1.0, 0.0
    for n in range(sites):
        torch.mul(both[n], waves[n + 1], out=waves[n + 2])
        waves[n + 2].sub_(waves[n])
    u = torch.complex(waves[1:-1, 0, 0].T.contiguous(), waves[1:-1, 0, 1].T.contiguous())
    v = torch.complex(waves[1:, 1, 0].T.contiguous(), waves[1:, 1, 1].T.contiguous()).flip(1)
    return u, v


def recursion(
    onsite: Tensor, hopping: Tensor, energy: Tensor, left: Tensor, right: Tensor, scattering: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return u on the sites, (Q, nx), and v on them and one before, (Q, nx + 1); `left`, `right` (Q,) are the λ."""
    coefficient = 2 + (onsite - energy[:, None]) / hopping[:, None]
    if scattering is not None:
        coefficient = coefficient + scattering[0] * (1 - left[:, None]) + scattering[1] * (1 - right[:, None])
    coefficient = coefficient.T.contiguous()
    both = torch.stack([coefficient, coefficient.flip(0)], 1)
    sites = len(coefficient)
    waves = torch.empty(sites + 2, 2, len(energy), dtype=left.dtype)
    waves[0, 0], waves[0, 1] = left, right
    waves[1] = 1.0
    for n in range(sites):
        torch.mul(both[n], waves[n + 1], out=waves[n + 2])
        waves[n + 2].sub_(waves[n])
    return waves[1:-1, 0].T.contiguous(), waves[1:, 1].T.flip(1)


def _square(wave: Tensor) -> Tensor:
    return wave.real.square() + wave.imag.square()
