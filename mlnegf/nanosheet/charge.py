"""One NEGF solve: potential to charge and current, with the exact linear response of both."""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch

from mlnegf._common import Floats
from mlnegf.nanosheet.basis import open_filling, sufficient_basis
from mlnegf.nanosheet.coupled import MixedCharge, coupled_charge
from mlnegf.nanosheet.device import Device
from mlnegf.nanosheet.semiclassical import LocalFilling
from mlnegf.nanosheet.subbands import (
    Subbands,
    TransverseBasis,
    potential_energy,
    solve_subbands,
)
from mlnegf.nanosheet.uncoupled import UncoupledCharge
from mlnegf.transport.chain_charge import ChainCharge
from mlnegf.transport.chains import Chains, hopping_energy
from mlnegf.transport.contacts import Contacts

Tensor = torch.Tensor


@dataclass(frozen=True, eq=False)
class Negf:
    """The NEGF solver of one device: everything that no potential or bias changes.

    Attributes
    ----------
    device : Device
    basis : TransverseBasis
    filling : str
        Rule of `bound_states.FILLINGS`.
    tolerance : float
        Of the energy integrals, see `transport.nonequilibrium`.
    left_out : float
        Largest share of the charge that subbands may hold and still be dropped.
    modes : str
        "uncoupled" or "coupled", see `coupled`.
    table : LocalFilling, optional
        Local filling of the basis's section, for semiclassical starts; they make their own if it is missing.
    """

    device: Device
    basis: TransverseBasis
    filling: str = "edges"
    tolerance: float = 1e-6
    left_out: float = 1e-6
    modes: str = "uncoupled"
    table: LocalFilling | None = None

    @staticmethod
    def of(
        device: Device,
        filling: str = "edges",
        tolerance: float = 1e-6,
        modes: str = "uncoupled",
        potential_tolerance: float = 1e-3,
    ) -> "Negf":
        """Build the solver of a device, with as many transverse functions as `potential_tolerance` (V) asks for."""
        table = open_filling(device)
        basis = sufficient_basis(device, potential_tolerance, table)
        return Negf(device, basis, filling, tolerance, modes=modes, table=table)

    def contacts(self, drain: float) -> Contacts:
        """Fermi levels μ_S = 0 and μ_D = −e V_D."""
        return Contacts(source=0.0, drain=-drain, kT=self.device.thermal_energy)

    def __call__(self, potential: Floats, drain: float) -> "Charge":
        """Solve at a folded potential (nx, cells) in V and a drain voltage in V."""
        contacts = self.contacts(drain)
        energy = potential_energy(self.device.grid, potential)
        subbands = solve_subbands(self.basis, energy)
        family, rank, dropped = self._select(subbands, contacts)
        degeneracy = 2 * self.basis.degeneracy[family]
        chains = Chains(
            onsite=subbands.energies[family, :, rank],
            hopping=hopping_energy(self.basis.mass_x[family], self.device.grid.dx),
            spacing=self.device.grid.dx,
            degeneracy=degeneracy,
            scattering=self._scattering,
        )
        scale = self.device.donors * float(self.basis.weights.sum())
        lines = ChainCharge.of(chains, contacts, scale, self.tolerance, self.filling)
        uncoupled = UncoupledCharge(self.device, self.basis, subbands, family, rank, lines, dropped)
        if self.modes == "uncoupled":
            return uncoupled
        mixed = coupled_charge(self.basis, energy, self.device.grid.dx, contacts, scale, self.tolerance)
        return MixedCharge(uncoupled, mixed)

    @cached_property
    def _scattering(self) -> Tensor | None:
        """Spacing over mean free path in source and drain, (2, nx)."""
        grid, path = self.device.grid, self.device.mean_free_path
        if path is None:
            return None
        under = torch.as_tensor(grid.gated.nonzero()[0])
        site = torch.arange(len(grid.x))
        return torch.stack([site < under[0], site > under[-1]]).double() * (grid.dx / path)

    def _select(self, subbands: Subbands, contacts: Contacts) -> tuple[Tensor, Tensor, float]:
        """Keep the fewest subbands that leave out less than `left_out` of the charge, by a bound on each."""
        energies = subbands.energies
        edges = energies[:, 0], energies[:, -1]
        filled = torch.maximum(contacts.source - edges[0], contacts.drain - edges[1]).clamp_max(0.0)
        well = energies.amin(1)
        binding = well < torch.minimum(*edges) - 1e-12
        level = torch.full_like(well, max(contacts.source, contacts.drain))
        if self.filling == "threshold":
            source, drain = (torch.full_like(well, value) for value in (contacts.source, contacts.drain))
            level = torch.where(edges[0] <= edges[1], source, drain)
        filled = torch.where(binding, torch.maximum(filled, (level - well).clamp_max(0.0)), filled)
        # Logarithms: in a cold, empty device the occupations themselves are zero to the last digit.
        states = (self.basis.degeneracy * self.basis.mass_x.sqrt()).log()[:, None]
        share = torch.softmax((filled / contacts.kT + states).reshape(-1), 0)
        order = torch.argsort(share, descending=True)
        rest = share[order].flip(0).cumsum(0).flip(0)
        keep = torch.sort(order[rest > self.left_out]).values
        size = energies.shape[-1]
        dropped = rest[len(keep)] if len(keep) < len(rest) else torch.zeros(())
        return keep // size, keep % size, float(dropped)


class Charge(Protocol):
    """Result of one NEGF solve, with modes uncoupled or coupled; fields on the folded grid."""

    @property
    def lines(self) -> ChainCharge:
        """The kept subbands as uncoupled chains."""

    @property
    def density(self) -> Floats:
        """Electron density, (nx, cells), nm⁻³; zero outside the cells where wave functions live, nowhere negative."""

    @property
    def current(self) -> float:
        """Drain current, A."""

    @property
    def slope(self) -> Floats:
        """∂n/∂φ as if every cell's states moved rigidly, (nx, cells), nm⁻³/V; positive."""

    @property
    def dropped(self) -> float:
        """Bound on the share of charge in the subbands left out."""

    @property
    def missed(self) -> float:
        """Part of a change that `respond` may miss; 0 where it is exact."""

    def left_out(self, potential: Floats) -> tuple[Floats, float]:
        """Change of density (nx, cells), nm⁻³, and of current, A, by functions outside the basis, see `basis`."""

    @property
    def continuity(self) -> float:
        """Least overlap of a kept subband with itself in the next slice; near 1 where modes do not couple."""

    def shifted(self, shifts: Floats) -> tuple[Floats, Floats]:
        """Density with all levels lowered by `shifts` (J,), eV, and its derivative by them, both (J, nx, cells)."""

    def respond(self, change: Floats) -> tuple[Floats, float]:
        """Linear response to a change of potential, V, on the folded grid (nx, cells): δn (nx, cells), nm⁻³; δI, A."""

    def respond_transposed(self, density: Floats, current: float) -> Floats:
        """Apply the transpose of `respond` to weights of δn (nx, cells) and of δI: the gradient by φ, (nx, cells)."""

    def respond_frozen(self, change: Floats) -> tuple[Floats, float]:
        """Response to a finite change of potential: as `respond`, but the chains are solved again at the moved levels.

        Levels and shapes of the subbands follow the change to first order, and chains keep their energies.
        """
