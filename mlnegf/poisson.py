"""Finite-volume Poisson equation on the folded grid, and its nonlinear solve.

With φ in V, densities in nm⁻³ and lengths in nm the equation −∇·(ε∇φ) = (e/ε₀)(N_D − n) becomes, integrated over cells,

    L φ = b V_gate + (e/ε₀) v (N_D − n),

with L the symmetric operator of face conductances ε A/h (harmonic mean across a face), b the conductances to the gate
and v the cell volumes. The gate is a Dirichlet face of the oxide; every other outer face has zero normal field.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyamg
import scipy.sparse as sparse
from scipy.linalg import cholesky_banded, cho_solve_banded

from mlnegf.device import MATERIALS, Device
from mlnegf.grid import Floats
from mlnegf.units import CHARGE_OVER_EPSILON0

Density = Callable[[Floats], tuple[Floats, Floats]]


def laplacian(device: Device) -> tuple[sparse.csr_array, Floats]:
    """Assemble the operator L and the gate coupling b on the folded grid.

    Returns
    -------
    operator : csr_array, (n, n)
        n = nx · cells; nm, row-major over (nx, cells).
    gate : ndarray, (n,)
        L φ = b for φ = 1 everywhere, nm.
    """
    grid = device.grid
    nx, ny, nz = grid.shape
    epsilon = np.where(grid.semiconductor, device.channel.permittivity, MATERIALS[device.oxide].permittivity)
    along = sparse.diags_array(epsilon.ravel() * grid.area.ravel() / grid.dx)
    neumann = sparse.diags_array([[1.0] + [2.0] * (nx - 2) + [1.0], -np.ones(nx - 1), -np.ones(nx - 1)], offsets=[0, 1, -1])

    half_y, half_z = grid.dy[:, None] / 2 / epsilon, grid.dz[None, :] / 2 / epsilon
    faces_y = grid.dz[None, :] / (half_y[:-1] + half_y[1:])
    faces_z = grid.dy[:, None] / (half_z[:, :-1] + half_z[:, 1:])
    index = np.arange(ny * nz).reshape(ny, nz)
    first = np.concatenate([index[:-1].ravel(), index[:, :-1].ravel()])
    second = np.concatenate([index[1:].ravel(), index[:, 1:].ravel()])
    conductance = np.concatenate([faces_y.ravel(), faces_z.ravel()]) * grid.dx
    difference = sparse.csr_array(
        (np.tile([1.0, -1.0], len(first)), (np.repeat(np.arange(len(first)), 2), np.stack([first, second], 1).ravel())),
        shape=(len(first), ny * nz),
    )
    across = difference.T @ sparse.diags_array(conductance) @ difference

    outer = np.zeros((ny, nz))
    outer[0] += grid.dz / half_y[0]
    outer[-1] += grid.dz / half_y[-1]
    outer[:, 0] += grid.dy / half_z[:, 0]
    outer[:, -1] += grid.dy / half_z[:, -1]

    fold = grid.unfolding
    gate = np.outer(grid.gated, fold.T @ outer.ravel()) * grid.dx
    operator = (
        sparse.kron(neumann, fold.T @ along @ fold)
        + sparse.kron(sparse.eye_array(nx), fold.T @ across @ fold)
        + sparse.diags_array(gate.ravel())
    )
    return sparse.csr_array(operator), gate.ravel()
