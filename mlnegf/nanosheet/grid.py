"""The cell-centred tensor grid, its masks, and the mirror folding that drops symmetric copies of a cell.

A device with a gate all around a mirror-symmetric section has a mirror-symmetric solution. Inside the package fields
are therefore kept on *folded* sections, one representative cell for each set of mirror images: arrays (nx, cells).
Outside, fields are (nx, ny, nz). A section without symmetry folds onto itself and costs nothing but its size.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sparse

from mlnegf._common import Bools, Floats, Ints, require
from mlnegf.nanosheet.geometry import inside
from mlnegf.nanosheet.materials import MATERIALS, Material
from mlnegf.units import PER_CUBIC_CENTIMETRE

if TYPE_CHECKING:
    from mlnegf.nanosheet.device import Device

EDGE = 1e-9
"""A centre this close to the face of a region lies inside, nm."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Cells of a device.

    Attributes
    ----------
    x, y, z : ndarray
        Cell centres, nm; x runs from 0 at the source end, y and z are centred on the section.
    dx : float
        Cell size along x, nm.
    dy, dz : ndarray
        Cell sizes along y (ny,) and z (nz,), nm.
    semiconductor : ndarray of bool, (ny, nz)
        Cells of the channel; the rest is oxide.
    occupied : ndarray of bool, (ny, nz)
        Cells where wave functions live: the semiconductor, or all of the section.
    barrier, tunnel_mass : ndarray, (ny, nz); float
        Band edge of the oxide over that of the semiconductor, eV, 0 inside; mass in the oxide, m₀.
    permittivity : ndarray, (nx, ny, nz)
        Relative.
    offset : ndarray, (nx, ny, nz)
        Band edge over that of the device without regions, eV.
    upright : bool
        Whether no valley mixes y and z, so that wave functions have the mirror symmetries of the section.
    gated : ndarray of bool, (nx,)
        Slices under the gate.
    donors : ndarray, (nx, ny, nz)
        Net donors, nm⁻³.
    """

    x: Floats
    y: Floats
    z: Floats
    dx: float
    dy: Floats
    dz: Floats
    semiconductor: Bools
    occupied: Bools
    barrier: Floats
    tunnel_mass: float
    permittivity: Floats
    offset: Floats
    upright: bool
    gated: Bools
    donors: Floats

    @property
    def shape(self) -> tuple[int, int, int]:
        """Cells along x, y and z."""
        return len(self.x), len(self.y), len(self.z)

    @property
    def gate(self) -> tuple[float, float]:
        """Where the gate begins and ends along x, nm."""
        slices = np.flatnonzero(self.gated)
        return float(slices[0] * self.dx), float((slices[-1] + 1) * self.dx)

    @cached_property
    def box(self) -> tuple[slice, slice]:
        """Bounding box of the semiconductor in (y, z)."""
        rows, columns = np.nonzero(self.semiconductor)
        return slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)

    @cached_property
    def area(self) -> Floats:
        """Cross-sections of the cells (ny, nz), nm²."""
        return self.dy[:, None] * self.dz[None, :]

    @cached_property
    def representative(self) -> Ints:
        """Folded index of every cell of the section, (ny, nz)."""
        ny, nz = self.semiconductor.shape
        rows, columns = np.arange(ny), np.arange(nz)
        if self.mirrored[0]:
            rows = np.minimum(rows, ny - 1 - rows)
        if self.mirrored[1]:
            columns = np.minimum(columns, nz - 1 - columns)
        flat = rows[:, None] * nz + columns[None, :]
        return np.unique(flat, return_inverse=True)[1].reshape(ny, nz)

    @cached_property
    def mirrored(self) -> tuple[bool, bool]:
        """Whether the device equals its mirror image in y and in z."""
        maps = self.semiconductor[None], self.permittivity, self.offset, self.donors
        return (
            self.upright and all(np.array_equal(values, values[:, ::-1]) for values in maps),
            self.upright and all(np.array_equal(values, values[:, :, ::-1]) for values in maps),
        )

    @cached_property
    def images(self) -> Floats:
        """How many cells each folded cell stands for."""
        return np.bincount(self.representative.ravel()).astype(np.float64)

    @cached_property
    def unfolding(self) -> sparse.csr_array:
        """The 0/1 matrix (ny·nz, cells) that copies folded values to all images."""
        index = self.representative.ravel()
        return sparse.csr_array((np.ones(index.size), (np.arange(index.size), index)))

    @cached_property
    def channel_cells(self) -> Ints:
        """Folded indices of the cells where wave functions live."""
        return np.unique(self.representative[self.occupied])

    @cached_property
    def doped_cells(self) -> Ints:
        """Folded indices of the semiconductor's cells."""
        return np.unique(self.representative[self.semiconductor])

    @cached_property
    def band_edge(self) -> Floats:
        """`offset` where wave functions live, folded: (nx, `channel_cells`), eV."""
        return self.fold(self.offset)[:, self.channel_cells]

    @cached_property
    def volumes(self) -> Floats:
        """Volume each folded cell stands for, images included, nm³, (cells,)."""
        return np.asarray(np.bincount(self.representative.ravel(), weights=self.area.ravel()) * self.dx)

    def fold(self, field: Floats) -> Floats:
        """Average a field (nx, ny, nz) over mirror images: (nx, cells)."""
        return np.asarray(field.reshape(len(field), -1) @ self.unfolding) / self.images

    def unfold(self, folded: Floats) -> Floats:
        """Copy a folded field (nx, cells) to all images: (nx, ny, nz)."""
        return folded[:, self.representative]


def fit_cells(gate: float, source: float, drain: float, largest: float) -> tuple[float, tuple[int, int, int]]:
    """Fit whole cells of one size into the three lengths along x, nm.

    The gate is never rounded, for the current depends on its length exponentially. Source and drain are exact as well
    where a cell between half of the largest and the largest divides all three; otherwise the gate is divided as
    coarsely as it may be, and they are rounded to whole cells.

    Returns
    -------
    dx : float
        nm, at most `largest`.
    cells : tuple of int
        Of source, gate and drain.
    """
    lengths = source, gate, drain

    def whole(dx: float) -> bool:
        return all(math.isclose(round(length / dx) * dx, length, rel_tol=1e-9) for length in lengths)

    least = math.ceil(gate / largest - 1e-9)
    finer = (gate / count for count in range(least, math.floor(2 * gate / largest + 1e-9) + 1))
    dx = next(filter(whole, (largest, *finer)), gate / least)
    first, middle, last = (round(length / dx) for length in lengths)
    return dx, (first, middle, last)


def build_grid(device: "Device") -> Grid:
    """Lay the grid of a device: along each axis the largest cells that fit under `device.spacing`."""
    _, dy, dz = device.spacing
    dx, cells = device.cells_along
    gated = np.repeat([False, True, False], cells)
    widths_y = _cell_sizes(device.width, device.oxide_thickness, dy)
    widths_z = _cell_sizes(device.thickness, device.oxide_thickness, dz)
    y, z = _centres(widths_y), _centres(widths_z)
    section = inside(device.cross_section, y / (device.width / 2), z / (device.thickness / 2))
    box = np.maximum(*np.broadcast_arrays(abs(y[:, None]) / device.width, abs(z) / device.thickness)) < 0.5
    sides = [np.argwhere(cells) for cells in (section, box)]
    if not section.any() or any((sides[0].min(0) != sides[1].min(0)) | (sides[0].max(0) != sides[1].max(0))):
        raise ValueError(
            f"Device: cross_section = {str(device.cross_section)[:60]!r} holds no cell centre on some side of its box "
            f"of {device.width} × {device.thickness} nm in cells of {dy} × {dz} nm, expected one on each of the four "
            "sides; a section that meets its box in points needs an odd number of cells there."
        )
    x = np.asarray((np.arange(len(gated)) + 0.5) * dx)
    oxide = MATERIALS[device.oxide]
    permittivity, edge = _materials(device, (x, y, z), section)
    barrier = np.where(section, 0.0, device.band_edge(oxide))
    return Grid(
        x=x,
        y=y,
        z=z,
        dx=dx,
        dy=widths_y,
        dz=widths_z,
        semiconductor=section,
        occupied=np.ones_like(section) if device.penetration else section,
        barrier=barrier,
        tunnel_mass=oxide.tunnel_mass,
        permittivity=permittivity,
        offset=edge - barrier,
        upright=all(valley.mixing == 0.0 for valley in device.valleys),
        gated=gated,
        donors=_donors(device, gated, section),
    )


def _donors(device: "Device", gated: Bools, section: Bools) -> Floats:
    """Net donors of every cell, (nx, ny, nz), nm⁻³."""
    uniform: Floats = np.where(~gated[:, None, None] & section, device.donors, 0.0)
    if device.doping_profile is None:
        return uniform
    return _on_cells(device, "doping_profile", uniform.shape) * PER_CUBIC_CENTIMETRE


def _on_cells(device: "Device", name: str, shape: tuple[int, ...]) -> Floats:
    """Values of one of a device's profiles, if they are as many as it has cells."""
    profile = getattr(device, name)
    words = f"one value for each of {' × '.join(map(str, shape))} cells, those of the device's own grid"
    require(profile.cells == shape, name, profile, words, "Device")
    return np.asarray(profile.values)


def _materials(device: "Device", axes: tuple[Floats, Floats, Floats], section: Bools) -> tuple[Floats, Floats]:
    """Permittivity and band edge (eV) of every cell, (nx, ny, nz)."""
    shape = tuple(map(len, axes))
    permittivity, edge = np.empty(shape), np.empty(shape)

    def fill(cells: Bools, material: type[Material]) -> None:
        permittivity[cells], edge[cells] = material.permittivity, device.band_edge(material)

    semiconductor = np.broadcast_to(section, shape)
    fill(semiconductor, device.channel)
    fill(~semiconductor, MATERIALS[device.oxide])
    for region in device.regions:
        material = MATERIALS[region.material]
        cells = semiconductor if device.bands(material) else ~semiconductor
        for axis, (centres, interval) in enumerate(zip(axes, (region.x, region.y, region.z), strict=True)):
            if interval is not None:
                chosen = (centres > interval[0] - EDGE) & (centres < interval[1] + EDGE)
                cells = cells & chosen.reshape([-1 if place == axis else 1 for place in range(3)])
        if not cells.any():
            raise ValueError(
                f"Device: regions = {region!r} holds no cell, expected a box that reaches the centre of a cell of "
                f"{'semiconductor' if device.bands(material) else 'oxide'}; x runs from 0 to {device.length:g} nm."
            )
        fill(cells, material)
    if device.permittivity_profile is not None:
        permittivity = _on_cells(device, "permittivity_profile", shape)
    return permittivity, edge


def _cell_sizes(inner: float, oxide: float, largest: float) -> Floats:
    outer = np.full(count := max(1, int(np.ceil(oxide / largest - 1e-9))), oxide / count)
    cells = int(np.ceil(inner / largest - 1e-9))
    return np.concatenate([outer, np.full(cells, inner / cells), outer])


def _centres(sizes: Floats) -> Floats:
    edges = np.concatenate([[0.0], np.cumsum(sizes)])
    centres = (edges[:-1] + edges[1:]) / 2
    return np.asarray((centres - centres[::-1]) / 2)  # symmetric to the last digit
