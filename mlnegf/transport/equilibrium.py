"""Charge of chains in equilibrium with one contact, by a contour in the complex plane.

Filled by a Fermi function f, the spectral function A = −2 Im G = A₁ + A₂ holds

    n(x) ∝ −2 Im ∫ G(x, x; E) f(E) dE,

and the path may leave the real axis: G has no poles above it, f none below μ + iπkT. A state in a well behind
barriers, a resonance too narrow for any grid on the real axis, costs nothing there. f is that of the contact with the
lower edge, which injects alone up to the other's edge; what the other one adds, A_high (f_high − f_low), is left to
`nonequilibrium`. (Zeller, Deutz & Dederichs, Solid State Commun. 44, 993 (1982); Brandbyge et al., Phys. Rev. B 65,
165401 (2002), who split the charge of a biased device so.)
"""

from dataclasses import dataclass

import torch

from mlnegf.transport.chains import Chains, Resolvent, gathered, resolvent
from mlnegf.transport.contacts import Contacts, fermi
from mlnegf.transport.nonequilibrium import by_mode, energy_window
from mlnegf.transport.quadrature import EnergyPoints, Panels, energies_of, off_axis, off_axis_panels, refine

Tensor = torch.Tensor


@dataclass(frozen=True, eq=False)
class EquilibriumCharge:
    """Charge of every chain above its lower edge, filled by the contact that has it.

    Attributes
    ----------
    density : Tensor, (K, nx)
        Electrons per nm.
    panels : Panels
        Of the contour, above the lower edge.
    points : EnergyPoints
        On the contour.
    resolvent : Resolvent
        At all points, panel by panel.
    quadrature_error, unresolved : float
        As in `nonequilibrium.NonequilibriumCharge`.
    """

    density: Tensor
    panels: Panels
    points: EnergyPoints
    resolvent: Resolvent
    quadrature_error: float
    unresolved: float


def equilibrium_charge(
    chains: Chains, contacts: Contacts, density_scale: float, tolerance: float = 1e-6
) -> EquilibriumCharge:
    """Integrate the charge that one contact would fill; arguments as in `nonequilibrium_charge`."""
    low, _, _ = energy_window(chains, contacts)
    height = _height(contacts)
    stop = reference_level(chains, contacts) + 30 * contacts.kT

    def error(points: EnergyPoints, solved: Resolvent) -> Tensor:
        return _charges(chains, contacts, points, solved, points.weight - points.gauss_weight).abs().amax(-1)

    tried: list[Resolvent] = []

    def defect(points: EnergyPoints) -> Tensor:
        tried.append(_solve(chains, points))
        return error(points, tried[-1]) / (density_scale * tolerance)

    first = off_axis_panels(low, stop, height)
    panels, rows, unresolved = refine(first, lambda some: off_axis(some, low, height), defect)
    points, solved = off_axis(panels, low, height), gathered(tried, energies_of(rows))
    return EquilibriumCharge(
        density=by_mode(points.mode, _charges(chains, contacts, points, solved, points.weight), len(low)),
        panels=panels,
        points=points,
        resolvent=solved,
        quadrature_error=float(error(points, solved).sum()),
        unresolved=unresolved,
    )


def density_on(panels: Panels, chains: Chains, contacts: Contacts) -> Tensor:
    """Charge of chains on panels chosen for others, whose edges they follow, (K, nx), electrons per nm."""
    low, _, _ = energy_window(chains, contacts)
    points = off_axis(panels, low, _height(contacts))
    return by_mode(points.mode, _charges(chains, contacts, points, _solve(chains, points), points.weight), len(low))


def _height(contacts: Contacts) -> float:
    """Height of the contour, eV: half way to the first pole of f."""
    return torch.pi / 2 * contacts.kT


def _charges(chains: Chains, contacts: Contacts, points: EnergyPoints, solved: Resolvent, weight: Tensor) -> Tensor:
    """Charge of every panel, (P, nx)."""
    filled = (weight * occupation(chains, contacts, points) * chains.per_state[points.mode][:, None])[:, None]
    return -2 * (filled @ solved.diagonal.reshape(*points.energy.shape, -1)).imag[:, 0]


def occupation(chains: Chains, contacts: Contacts, points: EnergyPoints) -> Tensor:
    """Fermi function of the contact with the lower edge, (P, 15), complex."""
    level = reference_level(chains, contacts)[points.mode][:, None]
    return fermi(points.energy, level, contacts.kT)


def reference_level(chains: Chains, contacts: Contacts) -> Tensor:
    """Fermi level of the contact with the lower edge, (K,), eV."""
    source, drain = (torch.full_like(chains.hopping, level) for level in (contacts.source, contacts.drain))
    return torch.where(chains.left_is_low, source, drain)


def _solve(chains: Chains, points: EnergyPoints) -> Resolvent:
    modes, energy = points.modes, points.energy.reshape(-1)
    return resolvent(chains.onsite[modes], chains.hopping[modes], energy, chains.scattering)
