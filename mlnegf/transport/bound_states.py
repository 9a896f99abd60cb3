"""States below both band edges: no contact injects them, yet they hold charge.

A bound state solves (2t + E_m(x) + Σ_L(E) + Σ_R(E) − E) φ = 0 with real self-energies; its weight in the leads is
−dΣ/dE times the end amplitudes squared. How it is filled is a rule, not a result of ballistic theory.

*What a rule may look like.* Just above the lower edge the same state is a resonance that the contact with that edge has
filled alone, however thick the barrier between them: on the edge the rule must give that contact's filling. And two
levels in separate wells that pass each other mix within an energy too small to resolve, where a share read off each
wave function would jump: the rule must be a function of the energy alone, so that the charge is the diagonal of a
function of the Hamiltonian, smooth whatever levels do. With the depths d_S = E_S − E and d_D = E_D − E below the edges
of source and drain, the default, `edges`, is the simplest such function that is also smooth where the edges change
order:

    f = w_S f_S + w_D f_D,    w_S = d_D/(d_S + d_D),    w_D = d_S/(d_S + d_D).

The contact whose band lies nearer in energy, from which it takes the smaller quantum to reach the state, counts more;
deep below both the two count alike. `threshold`, the contact with the lower edge alone, is continuous on the edge too
but jumps where the edges change order.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import eigh_tridiagonal
from scipy.optimize import brentq

from mlnegf._common import Floats, Variant, require
from mlnegf.transport.chain_lead import ChainLead
from mlnegf.transport.chains import Chains
from mlnegf.transport.contacts import Contacts

Tensor = torch.Tensor


class Filling(Variant):
    """A rule: the shares of the source's and the drain's distribution in the occupation of a bound state."""

    total: float = 1.0
    """Sum of both shares."""

    def source(self, left: Floats, right: Floats) -> tuple[Floats, Floats, Floats]:
        """Return the source's share, and its derivatives by both depths.

        Parameters
        ----------
        left, right : ndarray, (B,)
            Depths of the states below the edges of source and drain, eV, not negative.
        """
        raise NotImplementedError


class Edges(Filling, name="edges"):
    """Both contacts, in inverse proportion to the depth below their edges."""

    def source(self, left: Floats, right: Floats) -> tuple[Floats, Floats, Floats]:
        """Return d_D/(d_S + d_D)."""
        both = np.maximum(left + right, 1e-300)
        return right / both, -right / both**2, left / both**2


class _Fixed(Filling):
    """A share that no small change of a depth changes."""

    def share(self, left: Floats, right: Floats) -> Floats:
        """Return the source's share."""
        raise NotImplementedError

    def source(self, left: Floats, right: Floats) -> tuple[Floats, Floats, Floats]:
        """Return the share and no derivatives."""
        return self.share(left, right), np.zeros_like(left), np.zeros_like(left)


class Threshold(_Fixed, name="threshold"):
    """The contact with the lower edge alone."""

    def share(self, left: Floats, right: Floats) -> Floats:
        """Return 1 where the source's edge is the lower one."""
        return (left <= right).astype(np.float64)


class Source(_Fixed, name="source"):
    """The source alone."""

    def share(self, left: Floats, right: Floats) -> Floats:
        """Return 1."""
        return np.ones_like(left)


class Drain(_Fixed, name="drain"):
    """The drain alone."""

    def share(self, left: Floats, right: Floats) -> Floats:
        """Return 0."""
        return np.zeros_like(left)


class Mean(_Fixed, name="mean"):
    """Both alike."""

    def share(self, left: Floats, right: Floats) -> Floats:
        """Return one half."""
        return np.full_like(left, 0.5)


class Empty(Drain, name="empty"):
    """Neither."""

    total = 0.0


FILLINGS: Final[dict[str, type[Filling]]] = Filling.variants
"""Every rule by name."""


@dataclass(frozen=True, eq=False)
class BoundStates:
    """Bound states of all chains, B of them.

    Attributes
    ----------
    mode : int64, (B,)
        Chain of each state.
    energy, occupation : ndarray, (B,)
        eV; 0 to 1.
    shares : ndarray, (B, 2)
        Of the source's and the drain's distribution.
    by_energy : ndarray, (B,)
        Derivative of the occupation by the state's energy, 1/eV.
    by_edges : ndarray, (B, 2)
        By the edges of source and drain, 1/eV.
    wave : ndarray, (B, nx)
        φ normalised to Σφ² = 1 on the device.
    norm : ndarray, (B,)
        Σφ² on device and leads, at least 1.
    """

    mode: NDArray[np.int64]
    energy: Floats
    occupation: Floats
    shares: Floats
    by_energy: Floats
    by_edges: Floats
    wave: Floats
    norm: Floats

    def density(self, chains: Chains, occupation: Floats | None = None) -> Tensor:
        """Electrons per nm in every chain, (K, nx); with another `occupation` (B,) if one is given."""
        density = np.zeros(tuple(chains.onsite.shape))
        occupation = self.occupation if occupation is None else occupation
        filled = occupation * chains.degeneracy.numpy()[self.mode] / self.norm / chains.spacing
        np.add.at(density, self.mode, filled[:, None] * self.wave**2)
        return torch.from_numpy(density)


@dataclass(frozen=True, eq=False)
class BoundLeads:
    """Both leads at an energy below their edges, where everything is real: values (2,), source and drain.

    Attributes
    ----------
    leads : ChainLead
    """

    leads: ChainLead

    @staticmethod
    def of(energy: float, edges: Floats, hopping: float) -> "BoundLeads":
        """Solve both leads; eV."""
        depth = torch.from_numpy(energy - np.asarray(edges, dtype=np.float64))
        return BoundLeads(ChainLead.of(depth, torch.full((2,), hopping, dtype=torch.float64)))

    @cached_property
    def self_energy(self) -> Floats:
        """Σ, eV."""
        return np.asarray(self.leads.self_energy.real.numpy())

    @cached_property
    def slope(self) -> Floats:
        """dΣ/dE."""
        return np.asarray(self.leads.self_energy_slope.real.numpy())

    @cached_property
    def curvature(self) -> Floats:
        """d²Σ/dE², 1/eV."""
        return np.asarray(self.leads.self_energy_curvature.real.numpy())


def bound_states(chains: Chains, contacts: Contacts, filling: str = "edges") -> BoundStates:
    """Find and fill every bound state that holds more than 1e-12 electrons; `filling` is a name in `FILLINGS`."""
    known = isinstance(filling, str) and filling in FILLINGS
    require(known, "filling", filling, f"one of {sorted(FILLINGS)}", "bound_states")
    onsite, hopping = chains.onsite.numpy(), chains.hopping.numpy()
    weights = chains.contact_weights.numpy()
    edges = onsite[:, [0, -1]]
    bottom = onsite.min(1)
    filled_up_to = max(contacts.source, contacts.drain) + 28 * contacts.kT
    modes, levels, waves, norms = [], [], [], []
    for mode in np.flatnonzero((bottom < edges.min(1) - 1e-12) & (bottom < filled_up_to)):
        for energy, wave in _levels(chains, int(mode)):
            held = -BoundLeads.of(energy, edges[mode], float(hopping[mode])).slope * (weights @ wave**2)
            modes.append(mode)
            levels.append(energy)
            waves.append(wave)
            norms.append(1 + held.sum())
    chosen, energies = np.array(modes, dtype=np.int64), np.array(levels, dtype=np.float64)
    return BoundStates(
        chosen,
        energies,
        *_filled(energies, edges[chosen], contacts, FILLINGS[filling]()),
        wave=np.array(waves, dtype=np.float64).reshape(len(energies), onsite.shape[1]),
        norm=np.array(norms, dtype=np.float64),
    )


def _filled(
    energy: Floats, edges: Floats, contacts: Contacts, filling: Filling
) -> tuple[Floats, Floats, Floats, Floats]:
    """Occupation, shares, and the occupation's derivatives by energy and by both edges."""
    fermi = np.stack([f.numpy() for f in contacts.occupation(torch.from_numpy(energy))], -1)
    share, *by_depth = filling.source(*(edges - energy[:, None]).T)
    shares = np.stack([share, filling.total - share], -1)
    by_edges = np.stack(by_depth, -1) * (fermi[:, :1] - fermi[:, 1:])
    by_energy = -(shares * fermi * (1 - fermi)).sum(-1) / contacts.kT - by_edges.sum(-1)
    return (shares * fermi).sum(-1), shares, by_energy, by_edges


def side_chain_shift(chains: Chains) -> Floats:
    """Return what side chains add to the site energies, in hoppings, (nx,)."""
    if chains.scattering is None:
        return np.zeros(chains.onsite.shape[1])
    return np.asarray(chains.scattering.sum(0).numpy())


def _levels(chains: Chains, mode: int) -> list[tuple[float, Floats]]:
    """Every bound level of a chain and its wave.

    Each is the root of λ_k(E) − E, λ_k the k-th eigenvalue of H + Σ(E): a decreasing function, so the root is unique
    and bracketed by the bottom of the well and the lower edge.
    """
    onsite, hopping = chains.onsite[mode].numpy(), float(chains.hopping[mode])
    edges, weights = onsite[[0, -1]], chains.contact_weights.numpy()
    edge, bottom = float(edges.min()), float(onsite.min())
    closed = onsite + hopping * (2 + side_chain_shift(chains))
    off = np.full(len(closed) - 1, -hopping)

    def diagonal(depth: float) -> Floats:
        return np.asarray(closed + BoundLeads.of(edge - depth**2, edges, hopping).self_energy @ weights)

    def distance(depth: float, level: int) -> float:
        value = eigh_tridiagonal(diagonal(depth), off, eigvals_only=True, select="i", select_range=(level, level))[0]
        return float(value) - (edge - depth**2)

    deepest = float(np.sqrt(edge - bottom))
    at_edge = eigh_tridiagonal(diagonal(0.0), off, eigvals_only=True, select="v", select_range=(bottom - 1.0, edge))
    levels = []
    for level in range(len(at_edge)):
        if distance(0.0, level) >= 0:
            continue
        depth = brentq(distance, 0.0, deepest, args=(level,), xtol=1e-14, rtol=1e-14)
        vector = eigh_tridiagonal(diagonal(depth), off, select="i", select_range=(level, level))[1][:, 0]
        levels.append((edge - depth**2, np.asarray(vector, dtype=np.float64)))
    return levels
