"""States below both band edges: no contact injects them, yet they hold charge.

A bound state solves (2t + E_m(x) + Σ_L(E) + Σ_R(E) − E) φ = 0 with real self-energies; its weight in the leads is
−dΣ/dE times the end amplitudes squared. How it is filled is a rule, not a result of ballistic theory. The default,
`sides`, fills it from each contact in the share of its norm on that contact's side of the device, as weak scattering
in both halves would. A state about to cross the lower edge lies nearly all in that edge's lead, whose contact fills
the resonance it turns into: the charge is continuous there. It is so too where the two edges change order, at which
`threshold`, the contact with the lower edge alone, jumps.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import eigh_tridiagonal
from scipy.optimize import brentq

from mlnegf._common import Floats
from mlnegf.transport.chains import Chains
from mlnegf.transport.contacts import Contacts

Tensor = torch.Tensor

Filling = Callable[[float, float, float], tuple[float, float]]
"""Shares of the source's and the drain's distribution, from both band edges and the share of the state's norm on the
source's side of the middle, in which it is linear."""

FILLINGS: Final[dict[str, Filling]] = {
    "sides": lambda left, right, side: (side, 1.0 - side),
    "threshold": lambda left, right, side: (1.0, 0.0) if left <= right else (0.0, 1.0),
    "source": lambda left, right, side: (1.0, 0.0),
    "drain": lambda left, right, side: (0.0, 1.0),
    "mean": lambda left, right, side: (0.5, 0.5),
    "empty": lambda left, right, side: (0.0, 0.0),
}


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
    occupation_slope, side_slope : ndarray, (B,)
        Derivative of the occupation by the energy, 1/eV, and by the share of the norm on the source's side.
    wave : ndarray, (B, nx)
        φ normalised to Σφ² = 1 on the device.
    norm : ndarray, (B,)
        Σφ² on device and leads, at least 1.
    """

    mode: NDArray[np.int64]
    energy: Floats
    occupation: Floats
    shares: Floats
    occupation_slope: Floats
    side_slope: Floats
    wave: Floats
    norm: Floats

    def density(self, chains: Chains, occupation: Floats | None = None) -> Tensor:
        """Electrons per nm in every chain, (K, nx); with another `occupation` (B,) if one is given."""
        density = np.zeros(tuple(chains.onsite.shape))
        occupation = self.occupation if occupation is None else occupation
        filled = occupation * chains.degeneracy.numpy()[self.mode] / self.norm / chains.spacing
        np.add.at(density, self.mode, filled[:, None] * self.wave**2)
        return torch.from_numpy(density)


def self_energy(energy: float, edge: float, hopping: float) -> tuple[float, float, float]:
    """Σ = −tλ of a lead below its edge, and its first and second derivative by energy."""
    x = (edge - energy) / (2 * hopping)
    phase = 1 + x - np.sqrt(x * (2 + x))
    rest = 1 - phase**2
    with np.errstate(divide="ignore", over="ignore"):
        return -hopping * phase, -(phase**2) / rest, -2 * phase**3 / (hopping * rest**3)


def bound_states(chains: Chains, contacts: Contacts, filling: str = "sides") -> BoundStates:
    """Find and fill every bound state that holds more than 1e-12 electrons.

    Each level is the root of λ_k(E) − E, λ_k the k-th eigenvalue of H + Σ(E): a decreasing function, so the root is
    unique and bracketed by the bottom of the well and the lower edge.
    """
    onsite, hopping = chains.onsite.numpy(), chains.hopping.numpy()
    weights = chains.contact_weights.numpy()
    edge = np.minimum(onsite[:, 0], onsite[:, -1])
    bottom = onsite.min(1)
    reach = max(contacts.source, contacts.drain) + 28 * contacts.kT
    found = []
    for mode in np.flatnonzero((bottom < edge - 1e-12) & (bottom < reach)):
        closed = onsite[mode] + hopping[mode] * (2 + side_chain_shift(chains))
        levels = _levels(closed, onsite[mode, [0, -1]], weights, float(hopping[mode]), float(bottom[mode]))
        for energy, wave in levels:
            slopes = [self_energy(energy, onsite[mode, end], hopping[mode])[1] for end in (0, -1)]
            held = [-slope * float(share @ wave**2) for slope, share in zip(slopes, weights, strict=True)]
            norm = 1 + sum(held)
            side = (float((wave[: len(wave) // 2] ** 2).sum()) + held[0]) / norm
            edges = float(onsite[mode, 0]), float(onsite[mode, -1])
            fermi = [float(value) for value in contacts.occupation(torch.tensor(energy, dtype=torch.float64))]
            on_one_side = [np.dot(FILLINGS[filling](*edges, share), fermi) for share in (0.0, 1.0)]
            shares = FILLINGS[filling](*edges, side)
            slope = -sum(share * value * (1 - value) for share, value in zip(shares, fermi, strict=True)) / contacts.kT
            found.append(
                (mode, energy, np.dot(shares, fermi), shares, slope, on_one_side[1] - on_one_side[0], wave, norm)
            )
    columns = [[row[place] for row in found] for place in range(8)]
    return BoundStates(
        mode=np.array(columns[0], dtype=np.int64),
        energy=np.array(columns[1], dtype=float),
        occupation=np.array(columns[2], dtype=float),
        shares=np.array(columns[3], dtype=float).reshape(len(found), 2),
        occupation_slope=np.array(columns[4], dtype=float),
        side_slope=np.array(columns[5], dtype=float),
        wave=np.array(columns[6], dtype=float).reshape(len(found), onsite.shape[1]),
        norm=np.array(columns[7], dtype=float),
    )


def side_chain_shift(chains: Chains) -> Floats:
    """Return what side chains add to the site energies, in hoppings, (nx,)."""
    if chains.scattering is None:
        return np.zeros(chains.onsite.shape[1])
    return np.asarray(chains.scattering.sum(0).numpy())


def _levels(
    closed: Floats, edges: Floats, weights: Floats, hopping: float, bottom: float
) -> list[tuple[float, Floats]]:
    off = np.full(len(closed) - 1, -hopping)
    edge = float(edges.min())

    def diagonal(depth: float) -> Floats:
        sigma = [self_energy(edge - depth**2, end, hopping)[0] for end in edges]
        return np.asarray(closed + sigma @ weights)

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
