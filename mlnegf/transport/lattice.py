"""The full effective-mass lattice: every cell an orbital, slices along x the blocks."""

import numpy as np
import torch
from numpy.typing import NDArray

from mlnegf.transport.blocks import System
from mlnegf.transport.leads import Lead

Tensor = torch.Tensor


def cubic_lattice(
    potential: NDArray[np.float64],
    hopping: float | tuple[float, float, float] = 1.0,
    flux: float = 0.0,
    mask: NDArray[np.bool_] | None = None,
) -> System:
    """Lay a potential on a cubic lattice with hard walls; the leads continue the first and the last slice.

    H = Σ_axis 2t_axis + U on site and −t_axis between neighbours.

    Parameters
    ----------
    potential : ndarray, (nx, ny, nz)
        U, in any energy unit; transport along x.
    hopping : float or three
        t along x, y and z, ħ²/(2 m a²) for a mass m and a spacing a.
    flux : float
        Of a magnetic field along z through one cell (x, y), in flux quanta h/e: Peierls phases exp(2πi·flux·j) on the
        bonds along x, j counted from the middle row. They are the same in every slice, so the leads may carry them.
    mask : ndarray of bool, (ny, nz), optional
        Cells of the section that exist; all of them unless given.

    Returns
    -------
    System
        Blocks of one orbital for each cell of the section, row-major.
    """
    tx, ty, tz = (float(t) for t in np.broadcast_to(np.asarray(hopping), 3))
    values = torch.tensor(np.asarray(potential), dtype=torch.float64)
    if values.ndim != 3 or len(values) < 2:
        raise ValueError(
            f"cubic_lattice: potential has shape {tuple(values.shape)}, expected (nx, ny, nz) with 2 slices or more."
        )
    nx, ny, nz = values.shape
    if mask is not None and mask.shape != (ny, nz):
        raise ValueError(f"cubic_lattice: mask has shape {mask.shape}, expected that of a section, {(ny, nz)}.")

    def line(size: int, t: float) -> Tensor:
        beside = torch.diag(torch.ones(size - 1, dtype=torch.float64), 1)
        return 2 * t * torch.eye(size, dtype=torch.float64) - t * (beside + beside.T)

    across = torch.kron(line(ny, ty), torch.eye(nz).double()) + torch.kron(torch.eye(ny).double(), line(nz, tz))
    inside = torch.arange(ny * nz) if mask is None else torch.as_tensor(np.flatnonzero(mask))
    diagonal = across[inside][:, inside] + torch.diag_embed(values.reshape(nx, -1)[:, inside] + 2 * tx)
    bond = torch.full((len(inside),), -tx, dtype=torch.float64)
    if flux:
        row = (inside // nz).double() - (ny - 1) / 2
        bond = bond * torch.exp(2j * torch.pi * flux * row)
    upper = torch.diag(bond).expand(nx - 1, -1, -1)
    blocks = diagonal.to(bond.dtype)
    return System(blocks, upper, Lead(blocks[0], upper[0]), Lead(blocks[-1], upper[-1]))
