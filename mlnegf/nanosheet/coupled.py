"""Coupled modes: every slice on one fixed transverse basis, so that the lateral potential mixes modes along x.

Uncoupled modes take the subbands of each slice and let each run through the device by itself. Here a family of M basis
functions is a block Hamiltonian (nx, M, M) with hoppings −t·1: the lateral potential enters through its matrix
elements V_mn(x) alone, leads are closed forms in their own eigenmodes, and with all functions it is the full lattice.

The charge is that of equilibrium with one contact, on a contour in the upper half-plane (see `contour`), plus what
the other contact injects beyond it, on the real axis:

    n ∝ −2 Im ∫ G f_ref dE + ∫ A_other (f_other − f_ref) dE.

The reference contact is the one whose lowest edge is the lower: it alone injects between the two, and bound states
below both are filled by it (the rule `threshold` of `bound_states`).
"""

from dataclasses import dataclass

import torch
from scipy.sparse import csr_array

from mlnegf._common import Floats
from mlnegf.nanosheet.device import Device
from mlnegf.nanosheet.materials import Valley
from mlnegf.nanosheet.subbands import TransverseBasis, kinetic_operator, project
from mlnegf.transport.blocks import System, green_blocks
from mlnegf.transport.contacts import Contacts
from mlnegf.transport.leads import Lead
from mlnegf.transport.quadrature import EnergyPoints, Panels, nodes_of, refine
from mlnegf.transport.scattering import scattering_states
from mlnegf.units import CONDUCTANCE_QUANTUM, HBAR2_OVER_2M0

Tensor = torch.Tensor


def family_system(basis: TransverseBasis, energy: Tensor, spacing: float, family: int) -> System:
    """Project the device on one family of the basis.

    Parameters
    ----------
    basis : TransverseBasis
    energy : Tensor, (nx, C)
        Potential energy, see `subbands.potential_energy`, eV.
    spacing : float
        Of the slices, nm.
    family : int
        Valley and mirror symmetry.
    """
    functions, levels = basis.family(family)
    blocks = project(functions, energy * basis.weights)
    t = float(HBAR2_OVER_2M0 / spacing**2 / basis.mass_x[family])
    return _uniform(blocks + torch.diag(levels + 2 * t), t)


def lattice_system(device: Device, valley: Valley, potential: Floats) -> System:
    """One valley on all cells where wave functions live, no basis: what coupled modes converge to.

    Parameters
    ----------
    potential : ndarray, (nx, ny, nz)
        V.
    """
    grid = device.grid
    t = HBAR2_OVER_2M0 / grid.dx**2 / valley.mass_x
    across: csr_array = kinetic_operator(grid, valley)
    energy = torch.as_tensor((grid.offset - potential)[:, grid.occupied])
    return _uniform(torch.as_tensor(across.toarray()) + torch.diag_embed(energy + 2 * t), t)


def _uniform(blocks: Tensor, t: float) -> System:
    hopping = -t * torch.eye(blocks.shape[-1], dtype=blocks.dtype)
    return System(blocks, hopping.expand(len(blocks) - 1, -1, -1), Lead(blocks[0], hopping), Lead(blocks[-1], hopping))


@dataclass(frozen=True, eq=False)
class CoupledCharge:
    """Charge and current of coupled modes.

    Attributes
    ----------
    density : Tensor, (nx, C)
        Electrons on `grid.channel_cells`, nm⁻³.
    current : float
        A.
    quadrature_error : float
        Σ over panels of |Kronrod − Gauss|, electrons per nm.
    """

    density: Tensor
    current: float
    quadrature_error: float


def coupled_charge(
    basis: TransverseBasis,
    energy: Tensor,
    spacing: float,
    contacts: Contacts,
    density_scale: float,
    tolerance: float = 1e-6,
) -> CoupledCharge:
    """Solve all families, each with its modes coupled.

    Parameters
    ----------
    basis : TransverseBasis
        As large as the potential asks for: compare with a larger one.
    energy : Tensor, (nx, C)
        Potential energy, see `subbands.potential_energy`, eV.
    spacing : float
        Of the slices, nm.
    density_scale, tolerance : float
        As in `injection.inject`.
    """
    density = torch.zeros_like(energy)
    current, error = 0.0, 0.0
    for family in range(len(basis.sizes)):
        functions, _ = basis.family(family)
        system = family_system(basis, energy, spacing, family)
        electrons = 2 * float(basis.degeneracy[family])
        scale = electrons / (2 * torch.pi * spacing)
        matrix, flux, unsure = _family(system, contacts, density_scale / scale * tolerance)
        density += scale * torch.einsum("cm,xmn,cn->xc", functions, matrix, functions)
        current += electrons / 2 * CONDUCTANCE_QUANTUM * flux
        error += scale * unsure
    return CoupledCharge(density, current, error)


def _family(system: System, contacts: Contacts, tolerance: float) -> tuple[Tensor, float, float]:
    """∫ of the filled spectral function (nx, M, M), eV · 1/eV; of T (f_S − f_D), eV; the error left."""
    t = float(system.left.uniform_hopping or 0.0)
    edges = [torch.linalg.eigvalsh(lead.onsite) - 2 * t for lead in (system.left, system.right)]
    left_is_low = bool(edges[0][0] <= edges[1][0])
    reference, other = (contacts.source, contacts.drain) if left_is_low else (contacts.drain, contacts.source)
    bottom = float(torch.linalg.eigvalsh(system.diagonal)[:, 0].min()) - 2 * t
    top = max(reference, other) + 30 * contacts.kT
    matrix = torch.zeros_like(system.diagonal)
    if bottom >= top:
        return matrix, 0.0, 0.0
    equilibrium, unsure = _equilibrium(system, reference, contacts.kT, bottom, tolerance)
    matrix += equilibrium
    starts = max(float(edges[0][0]), float(edges[1][0]))
    if starts >= top or reference == other:
        return matrix, 0.0, unsure
    inside = torch.cat([edge[(edge > starts) & (edge < top)] for edge in edges])
    breaks = torch.sort(torch.cat([torch.tensor([starts, top], dtype=inside.dtype), inside])).values
    low, high = breaks[:-1], breaks[1:]
    apart = torch.nonzero(high - low > 1e-12)[:, 0]
    first = Panels.cut(apart, torch.full((len(apart),), torch.pi / 2, dtype=low.dtype), (0.0, 0.5, 1.0))

    def place(panels: Panels) -> EnergyPoints:
        """E = low + (high − low) sin²θ between neighbouring edges."""
        theta, kronrod, gauss = nodes_of(panels)
        gap = (high - low)[panels.mode][:, None]
        slope = gap * torch.sin(2 * theta)
        energy = low[panels.mode][:, None] + gap * torch.sin(theta).square()
        return EnergyPoints(panels.mode, energy, kronrod * slope, gauss * slope)

    def integrate(points: EnergyPoints, rule: Tensor) -> tuple[Tensor, Tensor]:
        """Matrix of each panel (P, nx, M, M) and transmitted flux (P,)."""
        energies = points.energy.reshape(-1)
        fermi = [torch.sigmoid((level - energies) / contacts.kT) for level in (other, reference)]
        weight = rule.reshape(-1) * (fermi[0] - fermi[1])
        matrices = torch.zeros(len(points.mode), *system.diagonal.shape, dtype=torch.float64)
        flux = torch.zeros(len(energies), dtype=torch.float64)
        panel = torch.arange(len(points.mode)).repeat_interleave(points.energy.shape[1])
        for batch, states in scattering_states(energies, system):
            waves = states.from_right if left_is_low else states.from_left
            waves = waves * weight[batch, None, None, None].abs().sqrt()
            parts = torch.view_as_real(waves).flatten(-2)
            matrices.index_add_(0, panel[batch], weight[batch, None, None, None].sign() * (parts @ parts.mT))
            flux[batch] = states.transmission * weight[batch]
        return matrices, flux.reshape(points.energy.shape).sum(1)

    def defect(points: EnergyPoints) -> Tensor:
        found, flux = integrate(points, points.weight)
        rough, rough_flux = integrate(points, points.gauss_weight)
        change = (found - rough).diagonal(dim1=-2, dim2=-1).sum(-1).abs().amax(-1)
        return torch.maximum(change / tolerance, (flux - rough_flux).abs() / (1e-6 * contacts.kT))

    panels, _ = refine(first, place, defect, depth=12)
    points = place(panels)
    found, flux = integrate(points, points.weight)
    rough, _ = integrate(points, points.gauss_weight)
    left_over = float((found - rough).diagonal(dim1=-2, dim2=-1).sum(-1).abs().amax(-1).sum())
    sign = -1.0 if left_is_low else 1.0  # `flux` counts what the other contact sends; the current, what the source does
    return matrix + found.sum(0), sign * float(flux.sum()), unsure + left_over


def _equilibrium(system: System, level: float, kT: float, bottom: float, tolerance: float) -> tuple[Tensor, float]:
    """−2 Im ∫ G f dE up a vertical line below all states and along a horizontal one past four poles of f."""
    poles = 4
    height = 2 * torch.pi * kT * poles
    below, end = min(bottom, level) - 0.1, level + 36 * kT
    near = [x for x in (level - 12 * kT, level, level + 12 * kT) if x > below]
    corners = [complex(below, 0.0), *(complex(x, height) for x in (below, *near, end))]
    path = torch.tensor(corners, dtype=torch.complex128)
    first = Panels(torch.arange(len(path) - 1), path[:-1], path[1:])

    def place(panels: Panels) -> EnergyPoints:
        return EnergyPoints(panels.mode, *nodes_of(panels))

    def integrate(points: EnergyPoints) -> tuple[Tensor, Tensor]:
        """Kronrod's matrices (P, nx, M, M) and the diagonal of their difference from Gauss's."""
        energies = points.energy.reshape(-1)
        scaled = (energies - level) / kT
        fermi = 1 / (1 + torch.exp(torch.complex(scaled.real.clamp(-600, 600), scaled.imag)))
        blocks = green_blocks(energies, system).reshape(*points.energy.shape, *system.diagonal.shape)
        filled = fermi.reshape(points.energy.shape)
        found = torch.einsum("pq,pqxmn->pxmn", filled * points.weight, blocks)
        difference = torch.einsum(
            "pq,pqxm->pxm", filled * (points.weight - points.gauss_weight), blocks.diagonal(dim1=-2, dim2=-1)
        )
        return -2 * found.imag, 2 * difference.imag.sum(-1).abs().amax(-1)

    total = torch.zeros_like(system.diagonal)
    panels, left_over = first, 0.0
    for depth in range(8):
        found, change = integrate(place(panels))
        failing = (change > tolerance) & (depth < 7)
        total += found[~failing].sum(0)
        left_over += float(change[~failing].sum())
        if not bool(failing.any()):
            break
        panels = panels.select(failing).halves()
    matsubara = torch.tensor(
        [complex(level, (2 * n + 1) * torch.pi * kT) for n in range(poles)], dtype=torch.complex128
    )
    residues = (-2j * torch.pi * kT * green_blocks(matsubara, system)).sum(0)
    return total - 2 * residues.imag, left_over
