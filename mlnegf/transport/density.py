"""Charge and current of any block Hamiltonian between two filled leads.

The density matrix is that of equilibrium with one contact, the reference, on a contour in the upper half-plane, plus
what the other contact injects beyond it, on the real axis,

    ρ = −(1/π) Im ∫ G f_ref dE + (1/2π) ∫ A_other (f_other − f_ref) dE,        A_other = G Γ_other G†.

G has no poles above the real axis, f_ref those at μ + (2n + 1) iπkT, of residue −kT; the path runs up below all states,
past four of them and on to where f_ref is nothing. A resonance too narrow for any grid costs nothing there. The
reference contact is the one whose lowest band begins lower: it alone injects between the two beginnings, and states
bound below both, or in gaps of both leads, are filled by it.

Zeller, Deutz & Dederichs, Solid State Commun. 44, 993 (1982); Brandbyge et al., Phys. Rev. B 65, 165401 (2002).
"""

from dataclasses import dataclass

import torch

from mlnegf._common import is_positive, plain, require
from mlnegf.transport.blocks import System, require_system
from mlnegf.transport.contacts import Contacts, fermi
from mlnegf.transport.elimination import green_blocks
from mlnegf.transport.leads import Lead
from mlnegf.transport.quadrature import EnergyPoints, Panels, nodes_of, refine
from mlnegf.transport.scattering import batches
from mlnegf.units import CONDUCTANCE_QUANTUM

Tensor = torch.Tensor

POLES = 4
"""Poles of the Fermi function below the contour."""

WAVE_NUMBERS = 129
"""Wave numbers in [0, π] at which the bands of a lead are looked at for their edges."""


@dataclass(frozen=True, eq=False)
class FilledStates:
    """Density matrix and current of a system between two filled leads, one spin.

    Attributes
    ----------
    density_matrix : Tensor, (sites, block, block)
        ⟨n|ρ|n⟩, of a real Hamiltonian its real part; its diagonal is the number of electrons in every orbital.
    flux : float
        ∫ T (f_S − f_D) dE, in the unit of energy; positive when electrons flow from left to right.
    quadrature_error : float
        Σ over panels of the largest abs(Kronrod − Gauss) of a site, electrons: far above the error of the Kronrod rule.
    """

    density_matrix: Tensor
    flux: float
    quadrature_error: float

    @property
    def current(self) -> float:
        """A, of two spins, if energies are in eV."""
        return CONDUCTANCE_QUANTUM * self.flux


def filled_states(system: System, contacts: Contacts, tolerance: float = 1e-7) -> FilledStates:
    """Fill the states of a system from its leads.

    Parameters
    ----------
    system : System
        With its leads filled as `contacts` says: source left, drain right. With overlap matrices ⟨n|ρ|n⟩ is that of
        the contravariant ρ, so that electrons are Tr ρS, to which ⟨n|ρ|n+1⟩ belongs as well and is not given here.
    contacts : Contacts
        In the unit of the Hamiltonian.
    tolerance : float
        Largest abs(Kronrod − Gauss) of one panel, electrons in one site; the flux to 1e-6 kT a panel.
    """
    require_system(system, "filled_states")
    require(isinstance(contacts, Contacts), "contacts", contacts, "Contacts(source, drain, kT)", "filled_states")
    require(is_positive(tolerance), "tolerance", tolerance, "a positive number of electrons", "filled_states")
    tolerance = float(plain(tolerance))
    edges = [band_edges(lead) for lead in system.leads]
    left_is_reference = bool(edges[0][0] <= edges[1][0])
    level, other = (contacts.source, contacts.drain) if left_is_reference else (contacts.drain, contacts.source)
    top = max(level, other) + 30 * contacts.kT
    matrix = torch.zeros_like(system.diagonal)
    bottom = lowest(system)
    if bottom >= top:
        return FilledStates(matrix, 0.0, 0.0)
    matrix, error = equilibrium(system, level, contacts.kT, bottom, tolerance)
    starts = max(float(edges[0][0]), float(edges[1][0]), min(level, other) - 40 * contacts.kT)
    if starts >= top or level == other:
        return FilledStates(matrix, 0.0, error)
    inside = torch.cat([edge[(edge > starts) & (edge < top)] for edge in edges])
    breaks = torch.sort(torch.cat([inside.new_tensor([starts, top]), inside])).values
    window = _Window(system, contacts, left_is_reference, breaks)
    beyond, flux, more = window.integral(tolerance)
    return FilledStates(matrix + beyond, flux, error + more)


def lowest(system: System) -> float:
    """Bound on the lowest energy of the device and its leads, by Gershgorin's theorem for blocks."""
    bound = _lower_bound(system.diagonal, system.upper, [(lead.onsite, lead.hopping) for lead in system.leads])
    if system.overlap is None:
        return bound
    # H − E S > 0 for E below both zero and (lowest of H)/(lowest of S).
    beside = torch.zeros_like(system.upper) if system.overlap_upper is None else system.overlap_upper
    pairs = [
        (lead.overlap, torch.zeros_like(lead.hopping) if lead.overlap_hopping is None else lead.overlap_hopping)
        for lead in system.leads
        if lead.overlap is not None
    ]
    least = _lower_bound(system.overlap, beside, pairs or [(system.overlap[0], torch.zeros_like(beside[0]))])
    return min(bound, 0.0) / max(least, 0.05)


def _lower_bound(diagonal: Tensor, upper: Tensor, leads: list[tuple[Tensor, Tensor]]) -> float:
    """Bound on the eigenvalues of blocks, their neighbours, and (onsite, hopping) of the leads from below."""

    def size(blocks: Tensor) -> Tensor:
        """√(‖·‖₁‖·‖∞), never below the spectral norm."""
        return (blocks.abs().sum(-1).amax(-1) * blocks.abs().sum(-2).amax(-1)).sqrt()

    ends = [size(hopping) for _, hopping in leads]
    reach = torch.stack([ends[0], *size(upper), ends[-1]])
    inside = torch.linalg.eigvalsh(diagonal)[:, 0] - reach[:-1] - reach[1:]
    outside = [torch.linalg.eigvalsh(onsite)[0] - 2 * end for (onsite, _), end in zip(leads, ends, strict=True)]
    return float(torch.stack([inside.min(), *outside]).min())


def band_edges(lead: Lead) -> Tensor:
    """Energies at which bands of a lead begin or end, rising.

    Where the hopping is −t·1, the bottoms ε − 2|t|, exactly; otherwise the extremes of the bands over `WAVE_NUMBERS`
    wave numbers, which misses one between two of them by as much as the band bends there.
    """
    t = lead.uniform_hopping
    if t is not None:
        edges: Tensor = torch.linalg.eigvalsh(lead.onsite) - 2 * abs(t)
        return edges
    wave = torch.linspace(-torch.pi, torch.pi, 2 * WAVE_NUMBERS - 1, dtype=torch.float64, device=lead.onsite.device)
    phase = torch.exp(1j * wave)[:, None, None]

    def bloch(onsite: Tensor, hopping: Tensor) -> Tensor:
        return onsite + phase * hopping + phase.conj() * hopping.mH

    matrix = bloch(lead.onsite, lead.hopping)
    if lead.overlap is not None:
        beside = torch.zeros_like(lead.hopping) if lead.overlap_hopping is None else lead.overlap_hopping
        root = torch.linalg.cholesky(bloch(lead.overlap, beside))
        half = torch.linalg.solve_triangular(root, matrix, upper=False)
        matrix = torch.linalg.solve_triangular(root, half.mH, upper=False)
    bands = torch.linalg.eigvalsh(matrix)
    before, after = bands.roll(1, 0), bands.roll(-1, 0)
    extreme = ((bands <= before) & (bands <= after)) | ((bands >= before) & (bands >= after))
    extreme[[0, -1]] = True
    return torch.sort(bands[extreme]).values


@dataclass(frozen=True, eq=False)
class _Window:
    """Energies between `breaks` at which the other contact changes what the reference one fills."""

    system: System
    contacts: Contacts
    left_is_reference: bool
    breaks: Tensor

    def integral(self, tolerance: float) -> tuple[Tensor, float, float]:
        """(1/2π) ∫ A_other (f_other − f_ref) dE, ∫ T (f_S − f_D) dE, and the error left, by refinement."""
        low, high = self.breaks[:-1], self.breaks[1:]
        apart = torch.nonzero(high - low > 1e-12 * (self.breaks[-1] - self.breaks[0]))[:, 0]
        first = Panels.cut(apart, torch.full_like(low[apart], torch.pi / 2), (0.0, 0.5, 1.0))

        def defect(points: EnergyPoints) -> Tensor:
            charge, flux, _ = self._panels(points)
            return torch.maximum(charge / tolerance, flux[1].abs() / (1e-6 * self.contacts.kT))

        panels, _, _ = refine(first, self._place, defect, depth=12)
        charge, flux, matrix = self._panels(self._place(panels), whole=True)
        return matrix, float(flux[0].sum()), float(charge.sum())

    def _place(self, panels: Panels) -> EnergyPoints:
        """E = low + (high − low) sin²θ between neighbouring edges."""
        theta, kronrod, gauss = nodes_of(panels)
        low, high = self.breaks[panels.mode, None], self.breaks[panels.mode + 1, None]
        slope = (high - low) * torch.sin(2 * theta)
        energy = low + (high - low) * torch.sin(theta).square()
        return EnergyPoints(panels.mode, energy, kronrod * slope, gauss * slope)

    def _panels(self, points: EnergyPoints, whole: bool = False) -> tuple[Tensor, tuple[Tensor, Tensor], Tensor]:
        """Abs(Kronrod − Gauss) of the charge (P,), flux and its difference (P,); if `whole`, the density matrix too."""
        energies = points.energy.reshape(-1)
        source, drain = self.contacts.occupation(energies)
        excess = drain - source if self.left_is_reference else source - drain
        weight, rough = (rule.reshape(-1) for rule in (points.weight, points.gauss_weight))
        panel = torch.arange(len(points.mode), device=energies.device).repeat_interleave(points.energy.shape[1])
        sites = energies.new_zeros(len(points.mode), len(self.system.diagonal))
        flux = torch.zeros_like(energies)
        matrix = torch.zeros_like(self.system.diagonal)
        for batch, states in batches(energies, self.system):
            waves = states.from_right if self.left_is_reference else states.from_left
            charge = waves.abs().square().sum((-2, -1)) / (2 * torch.pi)
            sites.index_add_(0, panel[batch], ((weight - rough) * excess)[batch, None] * charge)
            flux[batch] = states.transmission * (source - drain)[batch]
            if whole:
                matrix += self._density(waves, (weight * excess)[batch])
        shape = points.energy.shape
        fluxes = (flux * weight).reshape(shape).sum(1), (flux * (weight - rough)).reshape(shape).sum(1)
        return sites.abs().amax(-1), fluxes, matrix

    def _density(self, waves: Tensor, weight: Tensor) -> Tensor:
        """Σ weight ψψ†/2π, diagonal blocks, (sites, block, block); its real part for a real Hamiltonian."""
        waves = waves.permute(1, 2, 0, 3)
        weight = weight[:, None] / (2 * torch.pi)
        if self.system.diagonal.is_complex():
            return (waves * weight).flatten(2) @ waves.flatten(2).mH
        parts = torch.view_as_real(waves)
        return (parts * weight[..., None]).flatten(2) @ parts.flatten(2).mT


def equilibrium(system: System, level: float, kT: float, bottom: float, tolerance: float) -> tuple[Tensor, float]:
    """Density matrix that one Fermi function fills all states above `bottom` with, and the error left.

    Parameters
    ----------
    system : System
    level, kT : float
        Of the Fermi function.
    bottom : float
        An energy that no state lies below.
    tolerance : float
        Largest abs(Kronrod − Gauss) of one panel, electrons in one site.

    Returns
    -------
    density_matrix : Tensor, (sites, block, block)
    error : float
        Σ over panels of abs(Kronrod − Gauss), electrons.
    """
    height = 2 * torch.pi * kT * POLES
    below, end = min(bottom, level) - 4 * kT, level + 36 * kT
    near = [x for x in (level - 12 * kT, level, level + 12 * kT) if x > below]
    corners = [complex(below, 0.0), *(complex(x, height) for x in (below, *near, end))]
    path = torch.tensor(corners, dtype=torch.complex128, device=system.diagonal.device)
    panels = Panels(torch.arange(len(path) - 1), path[:-1], path[1:])
    total, left_over = torch.zeros_like(system.diagonal), 0.0
    for depth in range(8):
        found, change = _on_path(system, EnergyPoints(panels.mode, *nodes_of(panels)), level, kT)
        failing = (change > tolerance) & (depth < 7)
        total = total + found[~failing].sum(0)
        left_over += float(change[~failing].sum())
        if not bool(failing.any()):
            break
        panels = panels.select(failing).halves()
    poles = torch.tensor([complex(level, (2 * n + 1) * torch.pi * kT) for n in range(POLES)], dtype=torch.complex128)
    residues = -2j * torch.pi * kT * green_blocks(poles.to(path.device), system).sum(0)
    return total + _spectral(residues, system), left_over


def _on_path(system: System, points: EnergyPoints, level: float, kT: float) -> tuple[Tensor, Tensor]:
    """Kronrod's density matrix of each panel (P, sites, block, block), and the largest abs(Kronrod − Gauss)."""
    blocks = green_blocks(points.energy.reshape(-1), system).reshape(*points.energy.shape, *system.diagonal.shape)
    filled = fermi(points.energy, level, kT)
    found = torch.einsum("pq,pqxmn->pxmn", filled * points.weight, blocks)
    rough = filled * (points.weight - points.gauss_weight)
    difference = torch.einsum("pq,pqxm->px", rough, blocks.diagonal(dim1=-2, dim2=-1))
    return _spectral(found, system), difference.imag.abs().amax(-1) / torch.pi


def _spectral(green: Tensor, system: System) -> Tensor:
    """i(G − G†)/2π, real for a real Hamiltonian."""
    if system.diagonal.is_complex():
        return 1j * (green - green.mH) / (2 * torch.pi)
    return -green.imag / torch.pi
