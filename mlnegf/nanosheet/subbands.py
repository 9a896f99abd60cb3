"""Two-dimensional Schrödinger problem of every slice: subband energies and wave functions.

In each slice, for each valley, −ħ²/2 ∂·W·∂ ψ + U ψ = E ψ, W the inverse masses across, with hard walls around the
semiconductor or, if wave functions may enter it, around the oxide. The problem is projected on the lowest
eigenfunctions of the empty section, sorted into mirror symmetries. One valley in one symmetry is a *family*: families
never mix, so levels of different families cross freely along x. Within a family a subband is followed from slice to
slice by its overlap, not by its rank.
"""

from collections.abc import Iterator, Sequence
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


PADDING = 1e4
"""Energy of functions that are not there, eV: see `TransverseBasis`."""


@dataclass(frozen=True, eq=False)
class Section:
    """All eigenfunctions of the empty section, F families of them, each with as many as its symmetry has.

    Attributes
    ----------
    functions : tuple of Tensor, F × (C, M_f)
        On C folded cells, the lowest first, normalised so that Σ_c `weights`_c · functions² = 1, nm⁻¹.
    energies : tuple of Tensor, F × (M_f,)
        eV above the band edge.
    weights : Tensor, (C,)
        Area each folded cell stands for, nm².
    mass_x, degeneracy : Tensor, (F,)
        Transport mass (m₀) and number of equivalent minima of the family's valley.
    """

    functions: tuple[Tensor, ...]
    energies: tuple[Tensor, ...]
    weights: Tensor
    mass_x: Tensor
    degeneracy: Tensor

    def alone(self, family: int) -> "Section":
        """Return the section as if it had one family."""
        one = slice(family, family + 1)
        return Section(self.functions[one], self.energies[one], self.weights, self.mass_x[one], self.degeneracy[one])


@dataclass(frozen=True, eq=False)
class TransverseBasis:
    """The lowest eigenfunctions of the empty section, every family with a number of its own.

    Families smaller than the largest are padded, to let them share arrays: with functions that are zero, at an energy
    of `PADDING`, which no electron reaches.

    Attributes
    ----------
    section : Section
        Where they are taken from.
    sizes : tuple of int, (F,)
        Functions of each family.
    functions : Tensor, (F, C, M)
        As in `Section`.
    energies : Tensor, (F, M)
        eV above the band edge.
    """

    section: Section
    sizes: tuple[int, ...]
    functions: Tensor
    energies: Tensor

    @staticmethod
    def of(section: Section, sizes: Sequence[int]) -> "TransverseBasis":
        """Take the lowest `sizes` functions of each family, or all that it has."""
        sizes = [min(size, len(energies)) for size, energies in zip(sizes, section.energies, strict=True)]
        functions = torch.zeros(len(sizes), len(section.weights), max(sizes), dtype=torch.float64)
        energies = torch.full((len(sizes), max(sizes)), PADDING, dtype=torch.float64)
        for family, size in enumerate(sizes):
            functions[family, :, :size] = section.functions[family][:, :size]
            energies[family, :size] = section.energies[family][:size]
        return TransverseBasis(section, tuple(sizes), functions, energies)

    @property
    def weights(self) -> Tensor:
        """Area each folded cell stands for, nm², (C,)."""
        return self.section.weights

    @property
    def mass_x(self) -> Tensor:
        """Transport mass of each family, m₀, (F,)."""
        return self.section.mass_x

    @property
    def degeneracy(self) -> Tensor:
        """Equivalent minima of each family's valley, (F,)."""
        return self.section.degeneracy

    def family(self, index: int) -> tuple[Tensor, Tensor]:
        """Functions (C, M_f) and energies (M_f,) of one family, without padding."""
        size = self.sizes[index]
        return self.functions[index, :, :size], self.energies[index, :size]


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
    """Assemble the Hamiltonian of the empty section, see `_kinetic`, with the barrier of the oxide, eV."""
    return sparse.csr_array(_kinetic(grid, (valley.mass_y, valley.mass_z), valley.mixing))


def kinetic_slope(grid: Grid, valley: Valley, axis: int) -> sparse.csr_array:
    """Return the derivative of `kinetic_operator` by the mass along y (`axis` 0) or z (1), eV/m₀.

    By a complex step: entries are rational functions of the masses, so that Im f(m + ih)/h is exact to rounding.
    """
    masses: list[complex] = [valley.mass_y, valley.mass_z]
    masses[axis] += 1e-30j
    return sparse.csr_array(_kinetic(grid, (masses[0], masses[1]), valley.mixing).imag / 1e-30)


def _kinetic(grid: Grid, masses: tuple[complex, complex], mixing: float) -> sparse.csr_array:
    """Finite-volume Hamiltonian of the empty section, −ħ²/2 ∂·W·∂ + barrier, on its occupied cells (row-major), eV.

    It acts on amplitudes √area · ψ. Masses are averaged across a face as resistances in series, which keeps the flux
    ∂ψ/m continuous (BenDaniel & Duke 1966). A wall half a cell away is the mirror value −ψ, which keeps second order:
    eigenvalues of a rectangle are 2t(1 − cos(nπ/N)) per axis. W_yz enters through the differences across the diagonals
    of four cells around a corner; on a straight wall, where ψ is constant along it, it drops out.
    """
    index = np.full(grid.occupied.shape, -1)
    index[grid.occupied] = np.arange(grid.occupied.sum())
    area = grid.area[grid.occupied]
    diagonal = np.zeros(len(area), dtype=np.result_type(*masses))
    links: list[tuple[Ints, Ints, Floats]] = []

    def stretch(cells: tuple[Ints, Ints], squared_difference: Floats) -> None:
        """Add Σ c (ψ_first − ψ_second)² to the quadratic form."""
        first, second = cells
        np.add.at(diagonal, first, squared_difference / area[first])
        np.add.at(diagonal, second, squared_difference / area[second])
        links.append((first, second, -squared_difference / np.sqrt(area[first] * area[second])))

    sizes = np.broadcast_arrays(grid.dy[:, None], grid.dz[None, :])
    for axis, mass in enumerate(masses):
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
    if mixing:
        # Four cells around a corner, and which of them a wave may be in; in the oxide nothing mixes.
        cells = np.where(grid.semiconductor, index, -1)
        corner = np.stack([cells[:-1, :-1], cells[1:, :-1], cells[1:, 1:], cells[:-1, 1:]], -1).reshape(-1, 4)
        strength = HBAR2_OVER_2M0 * mixing / 2
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


def empty_section(device: Device) -> Section:
    """Solve the empty section: every valley in every mirror symmetry."""
    grid = device.grid
    area = grid.area[grid.occupied]
    symmetries = list(_symmetries(grid))
    first_image = np.unique(grid.representative[grid.occupied], return_index=True)[1]
    functions, energies, valleys = [], [], []
    for valley in device.valleys:
        operator = kinetic_operator(grid, valley)
        for symmetry in symmetries:
            levels, vectors = np.linalg.eigh((symmetry.T @ operator @ symmetry).toarray())
            functions.append(torch.from_numpy((symmetry @ vectors / np.sqrt(area)[:, None])[first_image]))
            energies.append(torch.from_numpy(levels))
            valleys.append(valley)
    weights = np.bincount(grid.representative[grid.occupied], weights=area)[grid.channel_cells]
    return Section(
        functions=tuple(functions),
        energies=tuple(energies),
        weights=torch.tensor(weights),
        mass_x=torch.tensor([valley.mass_x for valley in valleys], dtype=torch.float64),
        degeneracy=torch.tensor([valley.degeneracy for valley in valleys], dtype=torch.float64),
    )


def section_slopes(device: Device, section: Section, valley: int, axis: int) -> list[Tensor]:
    """Matrix elements ⟨b|∂T/∂m|c⟩ between all functions of each family of one valley, (M_f, M_f) each, eV/m₀.

    Parameters
    ----------
    section : Section
        Of the device.
    valley : int
        Of `device.valleys`; its families follow one another in the section.
    axis : int
        Of the mass m: 0 for that along y, 1 for z.
    """
    grid = device.grid
    slope = kinetic_slope(grid, device.valleys[valley], axis)
    symmetries = list(_symmetries(grid))
    first_image = np.unique(grid.representative[grid.occupied], return_index=True)[1]
    root = np.sqrt(grid.area[grid.occupied])[first_image]
    found = []
    for place, symmetry in enumerate(symmetries):
        # One entry in each column: the way back from folded cells to the orthonormal symmetric vectors.
        kept = symmetry[first_image]
        functions = section.functions[valley * len(symmetries) + place].numpy() * root[:, None]
        vectors = (kept.T @ functions) / np.asarray(kept.power(2).sum(axis=0))[:, None]
        found.append(torch.from_numpy(vectors.T @ (symmetry.T @ slope @ symmetry @ vectors)))
    return found


def transverse_basis(device: Device, size: int = 20) -> TransverseBasis:
    """Build a basis of given size: for every valley the lowest `size` functions for each of four mirror symmetries.

    The subspace converges fast because the potential is smooth on the scale of the highest function; the tests
    compare it with the whole space. `basis.sufficient_basis` chooses the sizes by what is left out.
    """
    section = empty_section(device)
    symmetries = len(section.energies) // len(device.valleys)
    return TransverseBasis.of(section, [size * 4 // symmetries] * len(section.energies))


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
    weighted = energy * basis.weights
    energies = basis.energies[:, None, :].repeat(1, len(energy), 1)
    coefficients = torch.eye(energies.shape[-1], dtype=energies.dtype).repeat(*energies.shape[:2], 1, 1)
    for family, size in enumerate(basis.sizes):
        functions, levels = basis.family(family)
        matrices = project(functions, weighted)
        matrices.diagonal(dim1=-2, dim2=-1).add_(levels)
        found, vectors = torch.linalg.eigh(matrices)
        order = _follow(vectors)
        energies[family, :, :size] = found.gather(-1, order)
        coefficients[family, :, :size, :size] = vectors.gather(-1, order[:, None, :].expand_as(vectors))
    return Subbands(energies, coefficients)


def potential_energy(grid: Grid, potential: Floats) -> Tensor:
    """Energy U = E_band − φ on the cells where wave functions live, (nx, C), eV, of a folded potential, V."""
    return torch.from_numpy(np.ascontiguousarray(grid.band_edge - potential[:, grid.channel_cells]))


def project(functions: Tensor, energy: Tensor) -> Tensor:
    """Matrix elements Σ_c f_cm energy_xc f_cn: functions (C, M), energy times area (nx, C), to (nx, M, M)."""
    size = functions.shape[1]
    if len(energy) < size:  # products of all pairs do not pay for a few slices
        return functions.T @ (energy[:, :, None] * functions)
    row, column = torch.tril_indices(size, size)
    elements = energy @ (functions[:, row] * functions[:, column])
    matrices = torch.empty(len(energy), size, size, dtype=elements.dtype)
    matrices[:, row, column] = elements
    matrices[:, column, row] = elements
    return matrices


def _follow(coefficients: Tensor) -> Tensor:
    """Rank of every followed subband of a family in every slice, (nx, M), by the largest overlap of neighbours."""
    overlaps = (coefficients[:-1].mT @ coefficients[1:]).square().numpy()
    steps, size, _ = overlaps.shape
    best = overlaps.argmax(-1)
    order = np.empty((steps + 1, size), dtype=np.int64)
    order[0] = np.arange(size)
    for step in np.flatnonzero((np.sort(best, -1) != np.arange(size)).any(-1)).tolist():
        best[step] = linear_sum_assignment(-overlaps[step])[1]
    for step in range(steps):
        order[step + 1] = best[step, order[step]]
    return torch.from_numpy(order)


def cell_densities(functions: Tensor, coefficients: Tensor) -> Tensor:
    """|ψ|² on the semiconductor's folded cells, (K, nx, C), nm⁻²; functions (K, C, M), coefficients (K, nx, M)."""
    return (coefficients @ functions.transpose(1, 2)).square()
