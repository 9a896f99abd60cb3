"""Coupled modes: every slice on one fixed transverse basis, so that the lateral potential mixes modes along x.

Uncoupled modes take the subbands of each slice and let each run through the device by itself. Here a family of M basis
functions is a block Hamiltonian (nx, M, M) with hoppings −t·1: the lateral potential enters through its matrix
elements V_mn(x) alone, leads are closed forms in their own eigenmodes, and with all functions it is the full lattice.

The charge of a family is that of `transport.density`. States bound below both leads are filled there by the contact
with the lower edge, which is the rule `threshold` of `bound_states`; coupled modes know no other.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import torch
from scipy.sparse import csr_array

from mlnegf._common import Floats
from mlnegf.nanosheet.device import Device
from mlnegf.nanosheet.materials import Valley
from mlnegf.nanosheet.subbands import TransverseBasis, kinetic_operator, project
from mlnegf.nanosheet.uncoupled import UncoupledCharge
from mlnegf.transport.blocks import System
from mlnegf.transport.chain_charge import ChainCharge
from mlnegf.transport.contacts import Contacts
from mlnegf.transport.density import filled_states
from mlnegf.transport.leads import Lead
from mlnegf.units import HBAR2_OVER_2M0

Tensor = torch.Tensor

MISSED: Final = 0.2
"""Part of a change that the response of the uncoupled modes may miss; the one device tried, at 107 K, showed 0.11."""


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
        As in `nonequilibrium_charge`.
    """
    density = torch.zeros_like(energy)
    current, error = 0.0, 0.0
    for family in range(len(basis.sizes)):
        functions, _ = basis.family(family)
        electrons = 2 * float(basis.degeneracy[family])
        scale = electrons / spacing
        filled = filled_states(
            family_system(basis, energy, spacing, family), contacts, density_scale / scale * tolerance
        )
        density += scale * torch.einsum("cm,xmn,cn->xc", functions, filled.density_matrix, functions)
        current += electrons / 2 * filled.current
        error += scale * filled.quadrature_error
    return CoupledCharge(density, current, error)


@dataclass(frozen=True, eq=False)
class MixedCharge:
    """Charge and current of coupled modes; slope and response are those of the uncoupled ones at the same potential.

    So Newton's method becomes a quasi-Newton method, whose linear problem is wrong by as much as the coupling matters:
    it takes a solve or two more, and the estimated error is good to that share of itself.

    Attributes
    ----------
    uncoupled : UncoupledCharge
    coupled : CoupledCharge
    """

    uncoupled: UncoupledCharge
    coupled: CoupledCharge

    @cached_property
    def density(self) -> Floats:
        """Electron density, see `charge.Charge`."""
        return self.uncoupled.on_grid(self.coupled.density.clamp_min(0.0))

    @property
    def current(self) -> float:
        """Drain current, A."""
        return self.coupled.current

    @property
    def continuity(self) -> float:
        """Modes may mix: 1."""
        return 1.0

    @property
    def lines(self) -> ChainCharge:
        """Of the uncoupled modes."""
        return self.uncoupled.lines

    @property
    def slope(self) -> Floats:
        """Of the uncoupled modes."""
        return self.uncoupled.slope

    @property
    def dropped(self) -> float:
        """Of the uncoupled modes."""
        return self.uncoupled.dropped

    @property
    def missed(self) -> float:
        """What the response of uncoupled modes may miss of that of coupled ones: see `MISSED`."""
        return MISSED

    def left_out(self, potential: Floats) -> tuple[Floats, float]:
        """Return that of the uncoupled modes."""
        return self.uncoupled.left_out(potential)

    def shifted(self, shifts: Floats) -> tuple[Floats, Floats]:
        """Return that of the uncoupled modes."""
        return self.uncoupled.shifted(shifts)

    def respond(self, change: Floats) -> tuple[Floats, float]:
        """Return that of the uncoupled modes."""
        return self.uncoupled.respond(change)

    def respond_transposed(self, density: Floats, current: float) -> Floats:
        """Return that of the uncoupled modes."""
        return self.uncoupled.respond_transposed(density, current)

    def respond_frozen(self, change: Floats) -> tuple[Floats, float]:
        """Return that of the uncoupled modes."""
        return self.uncoupled.respond_frozen(change)
