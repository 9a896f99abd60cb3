"""The area-preserving rescaler between any cross-section and the network's square.

Both grids cover the same unit square with equal cells of their own. A source cell hands its
content to the target cells in proportion to the area they share with it, so content is moved and
never made: the sum over the section is the same before and after. Along one axis the shares are a
small matrix, and two of them rescale a section.
"""

from functools import lru_cache
from typing import Any, Final, overload

import numpy as np
import torch
from numpy.typing import NDArray

from mlnegf._common import Bools, Floats, Ints, as_array, is_count, is_dense, require, shown
from mlnegf.learning.losses import FLOATING

Mask = NDArray[Any] | torch.Tensor | None

MOST_CELLS: Final = 10**8
"""Of a result, its batch included, and of the shares along one axis: a gigabyte."""


@overload
def rescale(
    slice_: torch.Tensor,
    shape: tuple[int, int],
    source_mask: Mask = None,
    target_mask: Mask = None,
) -> torch.Tensor: ...
@overload
def rescale(
    slice_: NDArray[Any],
    shape: tuple[int, int],
    source_mask: Mask = None,
    target_mask: Mask = None,
) -> NDArray[Any]: ...
def rescale(
    slice_: NDArray[Any] | torch.Tensor,
    shape: tuple[int, int],
    source_mask: Mask = None,
    target_mask: Mask = None,
) -> NDArray[Any] | torch.Tensor:
    r"""Move the content of a section onto another grid of the same section and keep its sum.

    Target cell :math:`i` receives :math:`\sum_j s_j |T_i \cap S_j| / |S_j|`: first-order
    conservative remapping (Jones, Mon. Weather Rev. 127, 2204 (1999)) of a content that is uniform
    within each source cell. The map is linear and, for tensors, differentiable.

    With a target mask, a source cell shares its content among the target cells inside the mask
    only, in proportion to the overlap; one that overlaps none of them gives all to the nearest,
    centre to centre in the unit square (in equal parts where several are equally near, so that
    mirror symmetry survives).

    Parameters
    ----------
    slice_ : ndarray or Tensor, (..., ny, nz)
        Content of each cell (electrons per nm of length, say), in any unit; leading axes are a
        batch. To rescale a density or a potential, multiply the result by
        ``shape[0] * shape[1] / (ny * nz)``: the cell average.
    shape : tuple of int
        Cells of the target along y and z.
    source_mask : ndarray or Tensor of bool, (ny, nz), optional
        Cells outside count as zero, whatever they hold.
    target_mask : ndarray or Tensor of bool, `shape`, optional
        Cells outside receive nothing.

    Returns
    -------
    ndarray or Tensor, (..., *shape)
        The same kind of array and the same unit; float32 stays float32, integers become float64. In
        float64 the sum is kept to 1e-12 of the sum of magnitudes.

    Raises
    ------
    ValueError
        For an argument that cannot be used, naming it, its value and what to try.

    Examples
    --------
    >>> rescale(np.ones((4, 3)), (3, 3))[0]
    array([1.33333333, 1.33333333, 1.33333333])
    """
    content = _tensor(slice_)
    target = _shape(shape)
    if content.ndim < 2 or 0 in content.shape[-2:]:
        raise ValueError(
            f"rescale: slice_ has shape {tuple(content.shape)}, expected (..., ny, nz) with at "
            "least one cell along y and z; for a single row of cells use slice_[None, :]."
        )
    source = (content.shape[-2], content.shape[-1])
    _check_size(content, target)
    kept = _mask(source_mask, source, "source_mask")
    allowed = _mask(target_mask, target, "target_mask")
    if kept is not None:
        inside = torch.from_numpy(kept).to(content.device)
        content = torch.where(inside, content, content.new_zeros(()))
    # A sum of them must be a number too.
    readable = content.detach().abs() <= torch.finfo(content.dtype).max / max(source[0] * source[1], 2)
    if not bool(readable.all()):
        raise ValueError(
            f"rescale: slice_ holds {int((~readable).sum())} cells that are NaN, infinite or too large for their sum, "
            "expected finite numbers; if they lie outside the section, give source_mask."
        )
    result = _spread(content, target, allowed)
    return result if isinstance(slice_, torch.Tensor) else result.numpy()


def _spread(content: torch.Tensor, shape: tuple[int, int], allowed: Bools | None) -> torch.Tensor:
    """Rescale a checked tensor; with a mask, divide by each source cell's share inside it first."""
    along_y, along_z = (
        torch.from_numpy(shares(source, target)).to(content)
        for source, target in zip(content.shape[-2:], shape, strict=True)
    )
    spread: torch.Tensor = along_y @ content @ along_z.T
    if allowed is None or allowed.all():
        return spread
    source = (content.shape[-2], content.shape[-1])
    inverse, *orphans = _plan(source, shape, np.packbits(allowed).tobytes())
    scaled = content * torch.from_numpy(inverse).to(content)
    mask = torch.from_numpy(allowed).to(content.device)
    covered = torch.where(mask, along_y @ scaled @ along_z.T, content.new_zeros(()))
    origin, nearest = (torch.from_numpy(index).to(content.device) for index in orphans[:2])
    moved = content.flatten(-2)[..., origin] * torch.from_numpy(orphans[2]).to(content)
    return covered.flatten(-2).index_add(-1, nearest, moved).reshape(*content.shape[:-2], *shape)


@lru_cache(maxsize=256)
def shares(source: int, target: int) -> Floats:
    """Give the share of each source cell that each target cell covers: (target, source).

    Every column sums to one. Edges are compared as integers (in units of 1/(source·target) of the
    axis), so cells that only touch share exactly nothing.
    """
    low, high = np.arange(source) * target, np.arange(1, source + 1) * target
    left, right = np.arange(target)[:, None] * source, np.arange(1, target + 1)[:, None] * source
    overlap = np.minimum(high, right) - np.maximum(low, left)
    return np.asarray(np.maximum(overlap, 0) / target, dtype=np.float64)


@lru_cache(maxsize=64)
def _plan(source: tuple[int, int], target: tuple[int, int], packed: bytes) -> tuple[Floats, Ints, Ints, Floats]:
    """Plan a masked rescaling: 1/coverage of each source cell, and where the uncovered ones go.

    The last three are triplets (source cell, target cell, weight) in flat indices.
    """
    bits = np.frombuffer(packed, dtype=np.uint8)
    mask = np.unpackbits(bits, count=target[0] * target[1]).reshape(target).astype(bool)
    along_y, along_z = shares(source[0], target[0]), shares(source[1], target[1])
    # Shares are positive or exactly zero, so only a cell that meets none of the mask has zero.
    coverage = along_y.T @ mask.astype(np.float64) @ along_z
    inverse = np.divide(1.0, coverage, out=np.zeros(source), where=coverage > 0)
    cells = np.flatnonzero(mask)
    centres = (np.argwhere(mask) + 0.5) / target
    triplets: list[tuple[int, int, float]] = []
    for row, column in np.argwhere(coverage == 0):
        separation = (((np.array([row, column]) + 0.5) / source - centres) ** 2).sum(axis=1)
        nearest = cells[separation <= separation.min() * (1 + 1e-9)]
        origin = int(row) * source[1] + int(column)
        triplets += [(origin, int(cell), 1.0 / len(nearest)) for cell in nearest]
    columns = list(zip(*triplets, strict=True)) or [(), (), ()]
    origins, destinations = (np.array(column, dtype=np.int64) for column in columns[:2])
    return inverse, origins, destinations, np.array(columns[2], dtype=np.float64)


def _tensor(slice_: NDArray[Any] | torch.Tensor) -> torch.Tensor:
    if isinstance(slice_, torch.Tensor):
        if is_dense(slice_) and not slice_.is_complex():
            return slice_ if slice_.dtype in FLOATING else slice_.to(torch.float64)
        kind = f"{slice_.dtype} in a {slice_.layout} tensor on {slice_.device}"
    else:
        array = as_array(slice_)
        if array is not None and array.dtype.kind in "biuf":
            # A copy: torch takes neither read-only, reversed nor big-endian arrays.
            precision = np.float32 if array.dtype == np.float32 else np.float64
            return torch.from_numpy(np.array(array, dtype=precision, order="C"))
        kind = shown(slice_) if array is None else str(array.dtype)
    raise ValueError(f"rescale: slice_ holds {kind}, expected real numbers; rescale its real parts one by one.")


def _shape(shape: Any) -> tuple[int, int]:
    cells = shape.tolist() if isinstance(shape, np.ndarray) or _is_counts(shape) else shape
    good = isinstance(cells, (tuple, list)) and len(cells) == 2 and all(map(is_count, cells))
    expected = "two positive whole numbers, the cells along y and z; try (24, 24)"
    require(good, "shape", shape, expected, "rescale")
    ny, nz = cells
    return int(ny), int(nz)


def _is_counts(shape: Any) -> bool:
    return isinstance(shape, torch.Tensor) and shape.dtype in (torch.int32, torch.int64) and shape.device.type == "cpu"


def _check_size(content: torch.Tensor, target: tuple[int, int]) -> None:
    """Refuse what would take more memory than any section needs."""
    source, batch = content.shape[-2:], content.shape[:-2].numel()
    most = max(batch * target[0] * max(target[1], source[1]), source[0] * target[0], source[1] * target[1])
    words = f"fewer cells: {most:.2g} numbers to hold, at most {MOST_CELLS:.0g}"
    require(most <= MOST_CELLS, "shape", target, words, "rescale")


def _mask(mask: Mask, shape: tuple[int, int], name: str) -> Bools | None:
    if mask is None:
        return None
    values = as_array(mask.detach().cpu() if is_dense(mask) else mask)
    if values is None:
        raise ValueError(f"rescale: {name} = {shown(mask)}, expected an array of True and False, {shape}.")
    if values.shape != shape:
        raise ValueError(
            f"rescale: {name} has shape {values.shape}, expected {shape}, the cells it chooses "
            "among; a mask has no batch axes."
        )
    if values.dtype.kind not in "biufc" or not ((values == 0) | (values == 1)).all():
        raise ValueError(
            f"rescale: {name} holds {values.dtype} values, expected only True and False; try {name} > 0.5."
        )
    if not values.any():
        raise ValueError(f"rescale: {name} is empty (no cell is True), expected at least one; omit it for all cells.")
    return np.array(values, dtype=bool, order="C")
