"""The full effective-mass lattice: every cell an orbital, slices along x the blocks."""

from typing import Any, Final

import numpy as np
import torch

from mlnegf._common import Bools, as_array, is_finite, plain, reals, require, shown
from mlnegf.transport.blocks import System
from mlnegf.transport.leads import Lead

Tensor = torch.Tensor

LARGEST: Final = 1e300
"""Of any energy: what is added to it is a number too."""
MOST_ENTRIES: Final = 2**29
"""Of all diagonal blocks: four gigabytes of them."""


def cubic_lattice(
    potential: Any,
    hopping: float | tuple[float, float, float] = 1.0,
    flux: float = 0.0,
    mask: Any = None,
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
    tx, ty, tz = _hoppings(hopping)
    good = is_finite(flux) and abs(plain(flux)) <= 1e6
    require(good, "flux", flux, "a number of flux quanta, up to 1e6", "cubic_lattice")
    flux = float(plain(flux))
    found = reals(potential, 3)
    if found is None or len(found) < 2 or abs(found).max() > LARGEST:
        raise ValueError(
            f"cubic_lattice: potential has shape {_shape(potential)}, expected real numbers up to {LARGEST:g}, "
            "(nx, ny, nz) with 2 slices or more."
        )
    values = torch.from_numpy(found)
    nx, ny, nz = values.shape
    entries = nx * (ny * nz) ** 2
    words = f"fewer cells: its blocks would take {entries:.2g} entries, at most {MOST_ENTRIES:.2g}"
    require(entries <= MOST_ENTRIES, "potential", found, words, "cubic_lattice")
    mask = None if mask is None else _mask(mask, (ny, nz))

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


def _hoppings(hopping: Any) -> tuple[float, float, float]:
    found = [hopping] * 3 if is_finite(hopping) else reals(hopping, 1)
    good = found is not None and len(found) == 3 and max(map(abs, map(plain, found))) <= LARGEST
    words = f"one finite energy, or three along x, y and z, up to {LARGEST:g}"
    require(good, "hopping", hopping, words, "cubic_lattice")
    tx, ty, tz = (float(t) for t in ([] if found is None else found))
    return tx, ty, tz


def _mask(mask: Any, shape: tuple[int, int]) -> Bools:
    cells = as_array(mask)
    if cells is None or cells.shape != shape:
        raise ValueError(f"cubic_lattice: mask has shape {_shape(mask)}, expected that of a section, {shape}.")
    good = cells.dtype == bool and bool(cells.any())
    require(good, "mask", mask, "True and False, somewhere True; try mask > 0.5", "cubic_lattice")
    return cells


def _shape(value: Any) -> str:
    array = as_array(value)
    return f"{array.shape} and type {array.dtype}" if array is not None else f"none ({shown(value)})"
