"""Two-dimensional Schrödinger problem of every slice: subband energies and wave functions.

In each slice, for each valley, −ħ²/2 ∂·W·∂ ψ + U ψ = E ψ, W the inverse masses across, with hard walls around the
semiconductor or, if wave functions may enter it, around the oxide. The problem is projected on the lowest
eigenfunctions of the empty section, sorted into mirror symmetries. One valley in one symmetry is a *family*: families
never mix, so levels of different families cross freely along x. Within a family a subband is followed from slice to
slice by its overlap, not by its rank.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
import scipy.sparse as sparse
import torch
from scipy.optimize import linear_sum_assignment

from mlnegf._common import Floats, Ints
from mlnegf.nanosheet.device import Device
from mlnegf.nanosheet.grid import Grid
from mlnegf.nanosheet.materials import Valley
from mlnegf.units import HBAR2_OVER_2M0

Tensor = torch.Tensor


@dataclass(frozen=True, eq=False)
class TransverseBasis:
    """Eigenfunctions of the empty section, F families of M functions on C folded cells.

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
    """Finite-volume Hamiltonian of the empty section, −ħ²/2 ∂·W·∂ + barrier, on its occupied cells (row-major), eV.

    It acts on amplitudes √area · ψ. Masses are averaged across a face as resistances in series, which keeps the flux
    ∂ψ/m continuous (BenDaniel & Duke 1966). A wall half a cell away is the mirror value −ψ, which keeps second order:
    eigenvalues of a rectangle are 2t(1 − cos(nπ/N)) per axis. W_yz enters through the differences across the diagonals
    of four cells around a corner; on a straight wall, where ψ is constant along it, it drops out.
    """
    index = np.full(grid.occupied.shape, -1)
    index[grid.occupied] = np.arange(grid.occupied.sum())
    area = grid.area[grid.occupied]
    diagonal = np.zeros(len(area))
    links: list[tuple[Ints, Ints, Floats]] = []

    def stretch(cells: tuple[Ints, Ints], squared_difference: Floats) -> None:
        """Add Σ c (ψ_first − ψ_second)² to the quadratic form."""
        first, second = cells
        np.add.at(diagonal, first, squared_difference / area[first])
        np.add.at(diagonal, second, squared_difference / area[second])
        links.append((first, second, -squared_difference / np.sqrt(area[first] * area[second])))

    sizes = np.broadcast_arrays(grid.dy[:, None], grid.dz[None, :])
    for axis, mass in enumerate((valley.mass_y, valley.mass_z)):
        # Half a cell, times its mass, from a centre to a face; the frame outside belongs to nobody.
        way = np.where(grid.semiconductor, mass, grid.tunnel_mass) * sizes[axis] / 2
        padding = [(1, 1) if place == axis else (0, 0) for place in range(2)]
        owner = np.pad(index, padding, constant_values=-1).swapaxes(0, axis)
        before, after = owner[:-1], owner[1:]
        half = np.pad(way, padding).swapaxes(0, axis)
        face = np.broadcast_to(sizes[1 - axis].swapaxes(0, axis)[:1], before.shape)
        inside = (before >= 0) & (after >= 0)
        stretch((before[inside], after[inside]), HBAR2_OVER_2M0 * face[inside] / (half[:-1] + half[1:])[inside])
        for cells, near, other in ((before, half[:-1], after), (after, half[1:], before)):
            wall = (cells >= 0) & (other < 0)
            np.add.at(diagonal, cells[wall], HBAR2_OVER_2M0 * face[wall] / near[wall] / area[cells[wall]])
    if valley.mixing:
        # Four cells around a corner, and which of them a wave may be in; in the oxide nothing mixes.
        cells = np.where(grid.semiconductor, index, -1)
        corner = np.stack([cells[:-1, :-1], cells[1:, :-1], cells[1:, 1:], cells[:-1, 1:]], -1).reshape(-1, 4)
        strength = HBAR2_OVER_2M0 * valley.mixing / 2
        low, right, far, up = corner[(corner >= 0).all(1)].T
        stretch((low, far), np.full(len(low), strength))
        stretch((right, up), np.full(len(low), -strength))
        for missing in range(4):
            # Beyond a corner of the wall ψ is minus the mean of its two neighbours, which meet the same wall.
            lacks = (corner[:, missing] < 0) & ((corner >= 0).sum(1) == 3)
            first, opposite, second = (corner[lacks, (missing + turn) % 4] for turn in (1, 2, 3))
            sign = np.full(len(first), strength if missing % 2 == 0 else -strength)
            np.add.at(diagonal, opposite, sign / area[opposite])
            for side in (first, second):
                np.add.at(diagonal, side, -0.75 * sign / area[side])
                links.append((opposite, side, 0.5 * sign / np.sqrt(area[opposite] * area[side])))
            links.append((first, second, 1.25 * sign / np.sqrt(area[first] * area[second])))
    rows, columns, values = (np.concatenate(parts) for parts in zip(*links, strict=True))
    upper = sparse.csr_array((values, (rows, columns)), shape=(len(diagonal),) * 2)
    return sparse.csr_array(upper + upper.T + sparse.diags_array(diagonal + grid.barrier[grid.occupied]))


def transverse_basis(device: Device, size: int = 20) -> TransverseBasis:
    """Build the basis: for every valley the lowest functions, `size` for each of four mirror symmetries.

    The subspace converges fast because the potential is smooth on the scale of the highest function; the tests
    compare it with the whole space.
    """
    grid = device.grid
    cells = grid.channel_cells
    area = grid.area[grid.occupied]
    symmetries = list(_symmetries(grid))
    size = size * 4 // len(symmetries)
    families: list[tuple[Floats, Floats, Valley]] = []
    for valley in device.valleys:
        operator = kinetic_operator(grid, valley)
        for symmetry in symmetries:
            energies, vectors = np.linalg.eigh((symmetry.T @ operator @ symmetry).toarray())
            full = symmetry @ vectors[:, :size] / np.sqrt(area)[:, None]
            families.append((energies[:size], full, valley))
    count = min(len(energies) for energies, _, _ in families)
    first_image = np.unique(grid.representative[grid.occupied], return_index=True)[1]
    weights = np.bincount(grid.representative[grid.occupied], weights=area)[cells]
    return TransverseBasis(
        functions=torch.tensor(np.stack([full[first_image, :count] for _, full, _ in families])),
        energies=torch.tensor(np.stack([energies[:count] for energies, _, _ in families])),
        weights=torch.tensor(weights),
        mass_x=torch.tensor([valley.mass_x for *_, valley in families], dtype=torch.float64),
        degeneracy=torch.tensor([valley.degeneracy for *_, valley in families], dtype=torch.float64),
    )


def _symmetries(grid: Grid) -> Iterator[sparse.csr_array]:
    """Yield, for each mirror symmetry, the orthonormal map from symmetric vectors to vectors on all cells."""
    mask = grid.occupied
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
        Potential energy on `grid.channel_cells`, eV; what `potential_energy` makes of a potential.
    """
    matrices = project(basis.functions, basis.functions, energy * basis.weights)
    matrices.diagonal(dim1=-2, dim2=-1).add_(basis.energies[:, None, :])
    energies, coefficients = torch.linalg.eigh(matrices)
    order = _follow(coefficients)
    return Subbands(
        energies=energies.gather(-1, order),
        coefficients=coefficients.gather(-1, order[:, :, None, :].expand_as(coefficients)),
    )


def potential_energy(grid: Grid, potential: Floats) -> Tensor:
    """Energy U = E_band − φ on the cells where wave functions live, (nx, C), eV, of a folded potential, V."""
    return torch.from_numpy(np.ascontiguousarray(grid.band_edge - potential[:, grid.channel_cells]))


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
