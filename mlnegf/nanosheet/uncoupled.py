"""Charge of subbands that do not mix along x: each runs through the device as a chain of its own."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from mlnegf._common import Floats
from mlnegf.nanosheet.basis import left_out
from mlnegf.nanosheet.device import Device
from mlnegf.nanosheet.polarisation import Polarisation
from mlnegf.nanosheet.subbands import Subbands, TransverseBasis, cell_densities, potential_energy
from mlnegf.transport.chain_charge import ChainCharge
from mlnegf.transport.filling_response import FillingResponse, filling_response

Tensor = torch.Tensor


@dataclass(frozen=True, eq=False)
class UncoupledCharge:
    """Charge of subbands that do not mix along x.

    Attributes
    ----------
    device : Device
    basis : TransverseBasis
    subbands : Subbands
        All subbands of all slices.
    family, rank : int64 Tensor, (K,)
        The kept ones.
    lines : ChainCharge
        Their transport problems, solved.
    dropped : float
        See `charge.Charge`.
    """

    device: Device
    basis: TransverseBasis
    subbands: Subbands
    family: Tensor
    rank: Tensor
    lines: ChainCharge
    dropped: float

    @cached_property
    def line_density(self) -> Tensor:
        """Electrons per nm in every kept subband, (K, nx)."""
        return self.lines.density

    @cached_property
    def shapes(self) -> Tensor:
        """|ψ|² of the kept subbands on the semiconductor's folded cells, (K, nx, C), nm⁻²."""
        basis, coefficients = self.basis, self.subbands.coefficients[self.family, :, :, self.rank]
        return cell_densities(basis.functions[self.family], coefficients)

    @cached_property
    def density(self) -> Floats:
        """Electron density, see `charge.Charge`."""
        # Below the error of the energy integrals nothing is known, not even the sign.
        return self.on_grid(torch.einsum("kx,kxc->xc", self.line_density, self.shapes).clamp_min(0.0))

    @property
    def continuity(self) -> float:
        """Least overlap of a kept subband with itself in the next slice; near 1 where modes do not couple."""
        coefficients = self.subbands.coefficients[self.family, :, :, self.rank]
        return float((coefficients[:, :-1] * coefficients[:, 1:]).sum(-1).square().min())

    @property
    def missed(self) -> float:
        """The response is exact: 0."""
        return 0.0

    @property
    def current(self) -> float:
        """Drain current, A."""
        return float(self.lines.current.sum())

    @cached_property
    def slope(self) -> Floats:
        """∂n/∂φ as if every cell's states moved rigidly, (nx, cells), nm⁻³/V; positive."""
        return np.asarray(np.maximum(self.shifted(np.zeros(1))[1][0], 0.0))

    def shifted(self, shifts: Floats) -> tuple[Floats, Floats]:
        """Density with all levels lowered by `shifts` (J,), eV, and its derivative by them, both (J, nx, cells)."""
        values, slopes = (
            np.stack([self.on_grid(torch.einsum("kx,kxc->xc", line, self.shapes)) for line in lines])
            for lines in self.lines.shifted(torch.as_tensor(shifts))
        )
        return values, slopes

    @cached_property
    def filling_response(self) -> FillingResponse:
        """How the chains answer to Fermi levels, temperature and hopping."""
        return filling_response(self.lines)

    @cached_property
    def polarisation(self) -> Polarisation:
        """How the shapes answer to the potential, line densities held."""
        return Polarisation.of(self.basis, self.subbands, self.family, self.rank, self.line_density)

    def left_out(self, potential: Floats) -> tuple[Floats, float]:
        """Estimate what functions outside the basis would change at the `potential` solved, see `basis`.

        Returns
        -------
        density : ndarray, (nx, cells)
            δn, nm⁻³.
        current : float
            δI, A.
        """
        energy = potential_energy(self.device.grid, potential)
        density, current = torch.zeros_like(energy), 0.0
        for family in torch.unique(self.family).tolist():
            mine = self.family == family
            change = left_out(self.basis, family, self.subbands, self.rank[mine], energy)
            lines = (self.lines.response.density[mine] @ change.levels[..., None])[..., 0]
            density += torch.einsum("kx,kxc->xc", lines, self.shapes[mine])
            density += torch.einsum("kx,kxc->xc", self.line_density[mine], change.shapes)
            current += float((self.lines.response.current[mine] * change.levels).sum())
        return self.on_grid(density), current

    def respond(self, change: Floats) -> tuple[Floats, float]:
        """Linear response to a change of potential.

        Parameters
        ----------
        change : ndarray, (nx, cells)
            δφ on the folded grid, V.

        Returns
        -------
        density : ndarray, (nx, cells)
            δn, nm⁻³.
        current : float
            δI, A.
        """
        return self._respond(change, self.lines.respond)

    def _respond(self, change: Floats, chains: Callable[[Tensor], tuple[Tensor, Tensor]]) -> tuple[Floats, float]:
        """Let `chains` answer to the levels, which follow the change to first order, as the shapes do."""
        energy = -self._on_channel(change)
        lines, current = chains(self.levels(change))
        density = torch.einsum("kx,kxc->xc", lines, self.shapes)
        density += self.polarisation(energy)
        return self.on_grid(density), float(current.sum())

    def levels(self, change: Floats) -> Tensor:
        """First-order change of the kept subbands' levels (K, nx), eV, by one of the potential (nx, cells), V."""
        return torch.einsum("kxc,xc->kx", self.shapes, -self._on_channel(change) * self.basis.weights)

    def levels_transposed(self, weights: Tensor) -> Floats:
        """Apply the transpose of `levels` to weights (K, nx): (nx, cells)."""
        return self.on_grid(-torch.einsum("kx,kxc->xc", weights, self.shapes) * self.basis.weights)

    def respond_frozen(self, change: Floats) -> tuple[Floats, float]:
        """Response to a finite change, the subbands frozen; see `charge.Charge`."""
        return self._respond(change, self.lines.moved)

    def respond_transposed(self, density: Floats, current: float) -> Floats:
        """Apply the transpose of `respond`; see `charge.Charge`."""
        weight = self._on_channel(density)
        lines = torch.einsum("kxc,xc->kx", self.shapes, weight)
        levels = self.lines.respond_transposed(lines, torch.full((len(lines),), current, dtype=lines.dtype))
        return self.levels_transposed(levels) - self.on_grid(self.polarisation.transposed(weight))

    def _on_channel(self, values: Floats) -> Tensor:
        """Values (nx, cells) of the folded grid on `grid.channel_cells`, (nx, C)."""
        return torch.from_numpy(np.ascontiguousarray(values[:, self.device.grid.channel_cells]))

    def on_grid(self, values: Tensor) -> Floats:
        """Lay values (nx, C) of `grid.channel_cells` on the folded grid, zero elsewhere: (nx, cells)."""
        grid = self.device.grid
        folded = np.zeros((len(grid.x), len(grid.images)))
        folded[:, grid.channel_cells] = values.numpy()
        return folded
