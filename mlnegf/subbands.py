"""Two-dimensional Schrödinger problem of every slice: subband energies and wave functions.

In each slice, for each valley, −ħ²/2 (∂_y 1/m_y ∂_y + ∂_z 1/m_z ∂_z)ψ + U ψ = E ψ with hard walls. The problem is
projected on the lowest eigenfunctions of the empty section (U = 0), sorted into mirror symmetries. One valley in one
symmetry is a
*family*: families never mix, so levels of different families cross freely along x. Within a family a subband is
followed from slice to slice by its overlap, not by its rank.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import scipy.sparse as sparse
import torch
from scipy.optimize import linear_sum_assignment

from mlnegf.device import Device, Valley
from mlnegf.grid import Floats, Grid, Ints
from mlnegf.units import HBAR2_OVER_2M0

Tensor = torch.Tensor


@dataclass(frozen=True, eq=False)
class TransverseBasis:
    """Eigenfunctions of the empty section, F families of M functions on C folded semiconductor cells.

    Attributes
    ----------
    functions : Tensor, (F, C, M)
        Normalised so that Σ_c `images`_c · area_c · functions² = 1, nm⁻¹.
    energies : Tensor, (F, M)
        eV above the band edge.
    weights : Tensor, (C,)
        Area each folded cell stands for, nm².
    mass_x, degeneracy : Tensor, (F,)
        Transport mass (m₀) and number of equivalent minima of the family's valley.
    """

    functions: Tensor
    energies: Tensor
    weights: Tensor
    mass_x: Tensor
    degeneracy: Tensor


@dataclass(frozen=True, eq=False)
class Subbands:
    """Subbands of all slices, followed along x.

    Attributes
    ----------
    energies : Tensor, (F, nx, M)
        eV; index m follows one subband along x.
    coefficients : Tensor, (F, nx, M, M)
        [..., b, m]: amplitude of basis function b in subband m.
    """

    energies: Tensor
    coefficients: Tensor


def kinetic_operator(grid: Grid, valley: Valley) -> sparse.csr_array:
    """Cell-centred −ħ²/2m ∂² with hard walls on the faces of the semiconductor, on its cells (row-major), eV.

    A wall half a cell away is the mirror value −ψ, which keeps second order: eigenvalues of a rectangle are
    2t(1 − cos(nπ/N)) per axis.
    """
    mask = grid.semiconductor
    index = np.full(mask.shape, -1)
    index[mask] = np.arange(mask.sum())
    diagonal = np.zeros(mask.sum())
    rows: list[Ints] = []
    columns: list[Ints] = []
    values: list[Floats] = []
    steps = (grid.dy[grid.box[0]][0], grid.dz[grid.box[1]][0])
    for axis, (step, mass) in enumerate(zip(steps, (valley.mass_y, valley.mass_z), strict=True)):
        hopping = HBAR2_OVER_2M0 / mass / step**2
        for shift in (1, -1):
            neighbour = np.roll(index, shift, axis)[mask]
            inside = neighbour >= 0
            diagonal += np.where(inside, hopping, 2 * hopping)
            rows.append(np.flatnonzero(inside))
            columns.append(neighbour[inside])
            values.append(np.full(inside.sum(), -hopping))
    off = sparse.csr_array(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=(len(diagonal),) * 2
    )
    return sparse.csr_array(off + sparse.diags_array(diagonal))


def transverse_basis(device: Device, size: int = 20) -> TransverseBasis:
    """Build the basis: for every valley the lowest functions, `size` for each of four mirror symmetries.

    The subspace converges fast because the potential is smooth on the scale of the highest function; the tests
    compare it with the whole space.
    """
    grid = device.grid
    cells = grid.channel_cells
    area = grid.area[grid.semiconductor]
    symmetries = list(_symmetries(grid))
    size = size * 4 // len(symmetries)
    families: list[tuple[Floats, Floats, Valley]] = []
    for valley in device.channel.valleys:
        operator = kinetic_operator(grid, valley)
        for symmetry in symmetries:
            energies, vectors = np.linalg.eigh((symmetry.T @ operator @ symmetry).toarray())
            full = symmetry @ vectors[:, :size] / np.sqrt(area)[:, None]
            families.append((energies[:size], full, valley))
    count = min(len(energies) for energies, _, _ in families)
    first_image = np.unique(grid.representative[grid.semiconductor], return_index=True)[1]
    weights = np.bincount(grid.representative[grid.semiconductor], weights=area)[cells]
    return TransverseBasis(
        functions=torch.tensor(np.stack([full[first_image, :count] for _, full, _ in families])),
        energies=torch.tensor(np.stack([energies[:count] for energies, _, _ in families])),
        weights=torch.tensor(weights),
        mass_x=torch.tensor([valley.mass_x for *_, valley in families], dtype=torch.float64),
        degeneracy=torch.tensor([valley.degeneracy for *_, valley in families], dtype=torch.float64),
    )


def _symmetries(grid: Grid) -> Iterator[sparse.csr_array]:
    """Yield, for each mirror symmetry, the orthonormal map from symmetric vectors to vectors on all cells."""
    mask = grid.semiconductor
    index = grid.representative[mask]
    y, z = np.broadcast_to(grid.y[:, None], mask.shape)[mask], np.broadcast_to(grid.z[None, :], mask.shape)[mask]
    parities = [(1, -1) if mirrored else (1,) for mirrored in grid.mirrored]
    compact = np.unique(index, return_inverse=True)[1]
    for parity_y, parity_z in product(*parities):
        sign = _sign(y, parity_y) * _sign(z, parity_z)
        columns = sparse.csr_array((sign, (np.arange(len(index)), compact)))
        norms = np.sqrt(columns.power(2).sum(axis=0))
        present = norms > 0
        yield sparse.csr_array(columns[:, present] @ sparse.diags_array(1 / norms[present]))


def _sign(coordinate: Floats, parity: int) -> Floats:
    """+1 on one side of the mirror plane and `parity` on the other; an odd function vanishes on the plane itself."""
    return np.where(abs(coordinate) < 1e-9, float(parity == 1), np.where(coordinate < 0, 1.0, parity))


def solve_subbands(basis: TransverseBasis, energy: Tensor) -> Subbands:
    """Diagonalise all slices of all families.

    Parameters
    ----------
    energy : Tensor, (nx, C)
        Potential energy U = −φ on the semiconductor's folded cells, eV.
    """
    matrices = project(basis.functions, basis.functions, energy * basis.weights)
    matrices.diagonal(dim1=-2, dim2=-1).add_(basis.energies[:, None, :])
    energies, coefficients = torch.linalg.eigh(matrices)
    order = _follow(coefficients)
    return Subbands(
        energies=energies.gather(-1, order),
        coefficients=coefficients.gather(-1, order[:, :, None, :].expand_as(coefficients)),
    )


def project(bra: Tensor, ket: Tensor, energy: Tensor) -> Tensor:
    """Matrix elements Σ_c bra_cm energy_xc ket_cn: (F, C, M), (F, C, N), (nx, C) to (F, nx, M, N)."""
    families, cells, m = bra.shape
    pairs = bra[:, :, :, None] * ket[:, :, None, :]
    return (energy @ pairs.reshape(families, cells, -1)).reshape(families, len(energy), m, ket.shape[-1])


def _follow(coefficients: Tensor) -> Tensor:
    """Rank of every followed subband in every slice, (F, nx, M), by the largest overlap of neighbours."""
    overlaps = (coefficients[:, :-1].transpose(-1, -2) @ coefficients[:, 1:]).square().numpy()
    families, steps, size, _ = overlaps.shape
    best = overlaps.argmax(-1)
    order = np.empty((families, steps + 1, size), dtype=np.int64)
    order[:, 0] = np.arange(size)
    unclear = (np.sort(best, -1) != np.arange(size)).any(-1)
    for family, step in np.argwhere(unclear):
        best[family, step] = linear_sum_assignment(-overlaps[family, step])[1]
    for step in range(steps):
        order[:, step + 1] = np.take_along_axis(best[:, step], order[:, step], -1)
    return torch.from_numpy(order)


def cell_densities(functions: Tensor, coefficients: Tensor) -> Tensor:
    """|ψ|² on the semiconductor's folded cells, (K, nx, C), nm⁻²; functions (K, C, M), coefficients (K, nx, M)."""
    return (coefficients @ functions.transpose(1, 2)).square()
