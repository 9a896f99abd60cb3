"""Finite-volume Poisson equation on the folded grid, and its nonlinear solve.

With φ in V, densities in nm⁻³ and lengths in nm the equation −∇·(ε∇φ) = (e/ε₀)(N_D − n) becomes, integrated over cells,

    L φ = b V_gate + (e/ε₀) v (N_D − n),

with L the symmetric operator of face conductances ε A/h (harmonic mean across a face), b the conductances to the gate
and v the cell volumes. The gate is a Dirichlet face of the oxide; every other outer face has zero normal field.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pyamg
import scipy.sparse as sparse
import torch
from pyamg.relaxation.smoothing import change_smoothers
from scipy.sparse.linalg import LinearOperator, cg

from mlnegf._common import Floats
from mlnegf.nanosheet.device import Device
from mlnegf.nanosheet.grid import Grid
from mlnegf.units import CHARGE_OVER_EPSILON0

Tensor = torch.Tensor

Density = Callable[[Floats], tuple[Floats, Floats]]
"""Maps a folded potential (nx, cells) to the electron density (nm⁻³) and its local derivative ∂n/∂φ ≥ 0."""


def laplacian(device: Device, slices: slice = slice(None)) -> tuple[sparse.csr_array, Floats]:
    """Assemble the operator L and the gate coupling b on the folded grid, or on some `slices` of it by themselves.

    Returns
    -------
    operator : csr_array, (n, n)
        n = nx · cells; nm, row-major over (nx, cells).
    gate : ndarray, (n,)
        L φ = b for φ = 1 everywhere, nm.
    """
    grid = device.grid
    permittivity, gated = grid.permittivity[slices], grid.gated[slices]
    index = np.arange(permittivity.size).reshape(permittivity.shape)
    sizes = np.full(len(gated), grid.dx), grid.dy, grid.dz
    operator = sparse.csr_array((index.size,) * 2)
    gate = np.zeros(index.shape)
    for axis, size in enumerate(sizes):
        thickness = size.reshape([-1 if place == axis else 1 for place in range(3)])
        face = np.prod(np.broadcast_arrays(*np.ix_(*sizes)), axis=0) / thickness
        half = np.moveaxis(thickness / 2 / permittivity, axis, 0)
        face = np.moveaxis(face, axis, 0)
        cells = np.moveaxis(index, axis, 0)
        conductance = (face[:-1] / (half[:-1] + half[1:])).ravel()
        links = np.repeat(np.arange(conductance.size), 2)
        ends = np.stack([cells[:-1].ravel(), cells[1:].ravel()], 1).ravel()
        difference = sparse.csr_array(
            (np.tile([1.0, -1.0], conductance.size), (links, ends)), shape=(conductance.size, index.size)
        )
        operator += difference.T @ sparse.diags_array(conductance) @ difference
        if axis:
            surface = np.moveaxis(gate, axis, 0)
            surface[0] += (face / half)[0]
            surface[-1] += (face / half)[-1]
    gate *= gated[:, None, None]
    fold = sparse.csr_array(sparse.kron(sparse.eye_array(len(gated)), grid.unfolding))
    coupled = fold.T @ gate.ravel()
    return sparse.csr_array(fold.T @ operator @ fold + sparse.diags_array(coupled)), coupled


def outflow(grid: Grid, potential: Tensor, gate: float) -> Callable[[Tensor], Tensor]:
    """Return L φ − b V_gate on all cells (nx, ny, nz), V nm, as a function of the permittivity.

    It is `laplacian` once more, in PyTorch: a sparse matrix has no gradient by what it was made of.
    """
    sizes = [torch.from_numpy(np.array(size)) for size in (np.full(len(grid.x), grid.dx), grid.dy, grid.dz)]
    gated = torch.from_numpy(grid.gated).to(potential.dtype)[:, None, None]
    volume = sizes[0][:, None, None] * sizes[1][:, None] * sizes[2]

    def found(permittivity: Tensor) -> Tensor:
        total = torch.zeros_like(potential)
        for axis, size in enumerate(sizes):
            shape, cells = [-1 if place == axis else 1 for place in range(3)], len(size)
            thickness = size.reshape(shape)
            face, half = volume / thickness, thickness / 2 / permittivity
            near, far = ([field.narrow(axis, side, cells - 1) for field in (half, potential)] for side in (0, 1))
            flux = face.narrow(axis, 0, cells - 1) / (near[0] + far[0]) * (near[1] - far[1])
            closed = torch.zeros_like(face.narrow(axis, 0, 1))
            total = total + torch.cat([flux, closed], axis) - torch.cat([closed, flux], axis)
            if axis:  # the gate lies on both outer faces
                outer = torch.zeros_like(size)
                outer[[0, -1]] = 1.0
                total = total + outer.reshape(shape) * gated * face / half * (potential - gate)
        return total

    return found


class PoissonError(RuntimeError):
    """The nonlinear Poisson equation was not solved."""


class Level(NamedTuple):
    """One level of the multigrid hierarchy of L: its operator, and the way to the next coarser one and back."""

    operator: sparse.csr_matrix
    interpolation: sparse.csr_matrix | None
    restriction: sparse.csr_matrix | None


class Screened:
    """The operator L + (e/ε₀) v D of one screening D ≥ 0 (nm⁻³/V).

    It is solved by conjugate gradients with one V-cycle of algebraic multigrid for each. Its levels are the Galerkin
    products with the interpolations of the bare L: screening only adds to the diagonal, where Gauss–Seidel alone
    suffices, so that the interpolations serve every screening. Those products are the ones of L, made once, and those
    of the screening, which is sparser.

    Parameters
    ----------
    screening : ndarray, (nx, cells)
        (e/ε₀) v D, nm.
    bare : sequence of Level
        Of L, the finest first.
    """

    def __init__(self, screening: Floats, bare: Sequence["Level"]) -> None:
        self.shape = screening.shape
        levels, added = [], sparse.csr_matrix(sparse.diags_array(screening.ravel()))
        for operator, interpolation, restriction in bare:
            level = pyamg.multilevel.MultilevelSolver.Level()
            level.A = sparse.csr_matrix(operator + added)
            if interpolation is not None:
                level.P, level.R = interpolation, restriction
                added = restriction @ (added @ interpolation)
            levels.append(level)
        self.matrix = levels[0].A
        solver = pyamg.multilevel.MultilevelSolver(levels, coarse_solver="pinv")
        change_smoothers(solver, ("gauss_seidel", {"sweep": "symmetric"}), ("gauss_seidel", {"sweep": "symmetric"}))
        self.cycle: LinearOperator = solver.aspreconditioner()

    def solve(self, right: Floats, tolerance: float = 1e-9) -> Floats:
        """Solve for a right-hand side (nx, cells) to a relative residual."""
        solution, failed = cg(self.matrix, right.ravel(), rtol=tolerance, maxiter=500, M=self.cycle)
        if failed:
            raise PoissonError(f"Poisson: conjugate gradients did not reach {tolerance:.0e} in 500 iterations")
        return np.asarray(solution).reshape(self.shape)


@dataclass(frozen=True, eq=False)
class Poisson:
    """Poisson's equation of one device.

    Attributes
    ----------
    operator : csr_array, (n, n)
        L, nm.
    gate : ndarray, (nx, cells)
        Coupling b to the gate, nm.
    source : ndarray, (nx, cells)
        (e/ε₀) v, V nm⁴: times a density in nm⁻³ it is the right-hand side.
    donors : ndarray, (nx, cells)
        nm⁻³.
    """

    operator: sparse.csr_array
    gate: Floats
    source: Floats
    donors: Floats

    @staticmethod
    def of(device: Device, slices: slice = slice(None)) -> "Poisson":
        """Assemble the equation of a device, or of some `slices` of it by themselves."""
        grid = device.grid
        operator, gate = laplacian(device, slices)
        shape = (len(grid.x[slices]), len(grid.images))
        donors = grid.fold(grid.donors)[slices]
        volumes = np.broadcast_to(CHARGE_OVER_EPSILON0 * grid.volumes, shape)
        return Poisson(operator, gate.reshape(shape), np.array(volumes), donors)

    def residual(self, potential: Floats, density: Floats, gate_potential: float) -> Floats:
        """L φ − b V − (e/ε₀) v (N_D − n), (nx, cells), V nm."""
        flux = (self.operator @ potential.ravel()).reshape(potential.shape)
        return np.asarray(flux - self.gate * gate_potential - self.source * (self.donors - density))

    def screened(self, slope: Floats) -> Screened:
        """Build the operator screened by ∂n/∂φ = `slope` (nx, cells), nm⁻³/V."""
        return Screened(self.source * slope, self._bare)

    @cached_property
    def _bare(self) -> tuple[Level, ...]:
        """Levels of Ruge and Stüben of the bare operator, from pyamg."""
        *finer, coarsest = pyamg.ruge_stuben_solver(sparse.csr_matrix(self.operator)).levels
        return (*(Level(level.A, level.P, level.P.T.tocsr()) for level in finer), Level(coarsest.A, None, None))

    def solve(
        self, density: Density, gate_potential: float, start: Floats, tolerance: float = 1e-7, largest: int = 60
    ) -> tuple[Floats, int]:
        """Solve the nonlinear equation L φ = b V + (e/ε₀) v (N_D − n(φ)) by damped Newton steps.

        Parameters
        ----------
        density : callable
            The local density n(φ), increasing.
        gate_potential : float
            On the oxide's surface, V.
        start : ndarray, (nx, cells)
            First potential, V.
        tolerance : float
            Largest last step, V.
        largest : int
            Newton steps allowed.

        Returns
        -------
        potential : ndarray, (nx, cells)
            V.
        solves : int
            Linear solves it took.

        Raises
        ------
        PoissonError
            When the steps do not settle.
        """
        potential = start
        values, slope = density(potential)
        residual = self.residual(potential, values, gate_potential)
        for solves in range(1, largest + 1):
            step = -self.screened(slope).solve(residual, 1e-3)
            norm, damping = np.linalg.norm(residual), 1.0
            while True:
                trial = potential + damping * step
                values, slope = density(trial)
                residual = self.residual(trial, values, gate_potential)
                if np.linalg.norm(residual) <= (1 - damping / 4) * norm or damping < 1e-3 or abs(step).max() < 1e-7:
                    break
                damping /= 2
            if damping < 1e-3:
                raise PoissonError(f"Poisson: no step along Newton's direction lowers the residual of {norm:.1e} V nm")
            potential = trial
            if damping * abs(step).max() < tolerance:
                return potential, solves
        raise PoissonError(f"Poisson: {largest} Newton steps did not reach {tolerance} V; last {abs(step).max():.1e} V")
