"""Charge and current of uncoupled chains between two contacts, and how they answer to a change of the site energies.

Three parts make the charge: what the contact with the lower edge fills (`equilibrium`), what the other one adds above
both edges (`nonequilibrium`), and states below both, which neither injects (`bound_states`).
"""

from dataclasses import dataclass, replace
from functools import cached_property

import torch

from mlnegf._common import is_positive, plain, require
from mlnegf.transport.bound_states import BoundStates, bound_states
from mlnegf.transport.chains import Chains
from mlnegf.transport.contacts import Contacts
from mlnegf.transport.equilibrium import EquilibriumCharge, density_on, equilibrium_charge, occupation
from mlnegf.transport.nonequilibrium import (
    NonequilibriumCharge,
    beyond,
    by_mode,
    density_and_current_on,
    nonequilibrium_charge,
)
from mlnegf.transport.response import ChainResponse, bound_response, equilibrium_response, nonequilibrium_response

Tensor = torch.Tensor


@dataclass(frozen=True, eq=False)
class ChainCharge:
    """K chains of nx sites, filled by two contacts.

    Attributes
    ----------
    chains : Chains
    contacts : Contacts
    equilibrium : EquilibriumCharge
    nonequilibrium : NonequilibriumCharge
    bound : BoundStates
    filling : str
        Of bound states, a name in `bound_states.FILLINGS`.
    """

    chains: Chains
    contacts: Contacts
    equilibrium: EquilibriumCharge
    nonequilibrium: NonequilibriumCharge
    bound: BoundStates
    filling: str

    @staticmethod
    def of(
        chains: Chains, contacts: Contacts, density_scale: float, tolerance: float = 1e-6, filling: str = "edges"
    ) -> "ChainCharge":
        """Fill chains.

        Parameters
        ----------
        density_scale : float
            Electrons per nm against which the tolerance of the charge is measured.
        tolerance : float
            Of the energy integrals, see `nonequilibrium_charge`.
        filling : str
            Of bound states, a name in `bound_states.FILLINGS`.
        """
        require(isinstance(chains, Chains), "chains", chains, "Chains", "ChainCharge")
        require(isinstance(contacts, Contacts), "contacts", contacts, "Contacts(source, drain, kT)", "ChainCharge")
        for name, value in (("density_scale", density_scale), ("tolerance", tolerance)):
            require(is_positive(value), name, value, "a positive number", "ChainCharge")
        density_scale, tolerance = float(plain(density_scale)), float(plain(tolerance))
        return ChainCharge(
            chains,
            contacts,
            equilibrium_charge(chains, contacts, density_scale, tolerance),
            nonequilibrium_charge(chains, contacts, density_scale, tolerance),
            bound_states(chains, contacts, filling),
            filling,
        )

    @cached_property
    def density(self) -> Tensor:
        """Electrons per nm in every chain, (K, nx)."""
        return self.equilibrium.density + self.nonequilibrium.density + self.bound.density(self.chains)

    @property
    def current(self) -> Tensor:
        """Current of every chain, (K,), A: positive when electrons flow from source to drain."""
        return self.nonequilibrium.current

    @property
    def quadrature_error(self) -> float:
        """Σ over panels of |Kronrod − Gauss|, electrons per nm: a bound far above the error of the Kronrod rule."""
        return self.equilibrium.quadrature_error + self.nonequilibrium.quadrature_error

    @property
    def unresolved(self) -> float:
        """Largest panel defect left after the last halving, in tolerances; 0 when all met it."""
        return max(self.equilibrium.unresolved, self.nonequilibrium.unresolved)

    @cached_property
    def response(self) -> ChainResponse:
        """Derivatives of density and current by the site energies."""
        response = nonequilibrium_response(self.chains, self.contacts, self.nonequilibrium)
        response.density.add_(equilibrium_response(self.chains, self.contacts, self.equilibrium))
        for index, mode in enumerate(self.bound.mode):
            response.density[mode] += torch.from_numpy(bound_response(self.chains, self.bound, index))
        return response

    def respond(self, change: Tensor) -> tuple[Tensor, Tensor]:
        """Linear response to a change δE_m(x) of the site energies (K, nx), eV: δN (K, nx), 1/nm, and δI (K,), A."""
        return (self.response.density @ change[..., None])[..., 0], (self.response.current * change).sum(-1)

    def respond_transposed(self, density: Tensor, current: Tensor) -> Tensor:
        """Apply the transpose of `respond` to weights of δN (K, nx) and of δI (K,): the gradient by E_m(x), (K, nx)."""
        return (density[:, None] @ self.response.density)[:, 0] + current[:, None] * self.response.current

    def moved(self, change: Tensor) -> tuple[Tensor, Tensor]:
        """Return what a finite change δE_m(x) of the site energies (K, nx), eV, changes.

        N(E + δE) − N(E) and the same of the current, from the chains solved once more, at the energies that were chosen
        before: nothing is refined, and little of the work of a solution is done again.

        Returns
        -------
        density : Tensor, (K, nx)
            Electrons per nm.
        current : Tensor, (K,)
            A.
        """
        moved = replace(self.chains, onsite=self.chains.onsite + change)
        density, current = density_and_current_on(self.nonequilibrium.panels, moved, self.contacts)
        density = density + density_on(self.equilibrium.panels, moved, self.contacts)
        density += bound_states(moved, self.contacts, self.filling).density(moved)
        return density - self.density, current - self.current

    def shifted(self, shifts: Tensor) -> tuple[Tensor, Tensor]:
        """Charge with all levels lowered by `shifts` (J,), eV, and its derivative by them.

        Both (J, K, nx): electrons per nm, and per nm and eV. At no shift the derivative is the charge's local slope.
        """
        chains, real, contour = self.chains, self.nonequilibrium.points, self.equilibrium.points
        subbands = len(chains.onsite)
        one = torch.ones_like(real.energy)
        excess = beyond(chains, real, self.nonequilibrium.states, one, 0 * one)
        # Per difference of source and drain.
        excess = (real.weight * chains.per_state[real.mode][:, None])[..., None] * excess
        diagonal = self.equilibrium.resolvent.diagonal.reshape(*contour.energy.shape, -1)
        diagonal = -2 * (contour.weight * chains.per_state[contour.mode][:, None])[..., None] * diagonal
        on_axis, on_contour, of_bound = [], [], []
        for shift in shifts.tolist():
            moved = Contacts(self.contacts.source + shift, self.contacts.drain + shift, self.contacts.kT)
            on_axis.append(_with_slope(moved, torch.stack(moved.occupation(real.energy))))
            on_contour.append(_with_slope(moved, occupation(chains, moved, contour)))
            of_bound.append(_with_slope(moved, torch.stack(moved.occupation(torch.as_tensor(self.bound.energy)))))
        source, drain = torch.stack(on_axis).unbind(2)  # (J, 2, P, 15), the values and their slopes
        along = (source - drain).flatten(0, 1).movedim(0, 1) @ excess
        inside = (torch.stack(on_contour).flatten(0, 1).movedim(0, 1) @ diagonal).imag
        lines = by_mode(real.mode, along, subbands) + by_mode(contour.mode, inside, subbands)
        lines = lines.movedim(1, 0).reshape(len(shifts), 2, *chains.onsite.shape)
        shares = torch.as_tensor(self.bound.shares).T
        for row, held in enumerate((torch.stack(of_bound) * shares).sum(2)):
            for kind in range(2):
                lines[row, kind] += self.bound.density(chains, held[kind].numpy())
        values, slopes = lines.unbind(1)
        return values, slopes


def _with_slope(contacts: Contacts, occupied: Tensor) -> Tensor:
    """Stack an occupation and its derivative by a fall of all levels."""
    return torch.stack([occupied, -contacts.slope(occupied)])
