"""Shapes: the cross-section on (y, z), scaled so that its box is [-1, 1]², and boxes of other materials."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mlnegf._common import is_finite, require
from mlnegf.nanosheet.materials import MATERIALS

Shape = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.bool_]]
Mask = tuple[tuple[bool, ...], ...]

CROSS_SECTIONS: Final[dict[str, Shape]] = {
    "rectangle": lambda y, z: np.maximum(abs(y), abs(z)) <= 1.0,
    "ellipse": lambda y, z: y**2 + z**2 <= 1.0,
    "rounded": lambda y, z: y**4 + z**4 <= 1.0,
    "trapezoid": lambda y, z: abs(y) <= 0.75 - 0.25 * z,
    "L": lambda y, z: (y <= 0.0) | (z <= 0.0),
    "T": lambda y, z: (abs(y) <= 0.5) | (z >= 0.0),
}


def as_mask(pixels: Any) -> Mask | None:
    """Return a 2D array of bool as nested tuples, or None if it is none that touches all four sides of its box."""
    try:
        array = np.asarray(pixels)
    except ValueError:
        return None
    if array.dtype != bool or array.ndim != 2 or array.size == 0:
        return None
    if not all(side.any() for side in (array[0], array[-1], array[:, 0], array[:, -1])):
        return None
    return tuple(tuple(bool(pixel) for pixel in row) for row in array)


def inside(section: str | Mask, y: NDArray[np.float64], z: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Say which points of the tensor grid y × z (scaled to the bounding box) lie in a section, (ny, nz)."""
    across, up = np.meshgrid(y, z, indexing="ij")
    box = np.maximum(abs(across), abs(up)) <= 1.0
    if isinstance(section, str):
        return np.asarray(CROSS_SECTIONS[section](across, up) & box)
    pixels = np.array(section)
    row, column = (
        np.clip(np.floor((axis + 1) / 2 * count), 0, count - 1).astype(int)
        for axis, count in zip((across, up), pixels.shape, strict=True)
    )
    return np.asarray(pixels[row, column] & box)


Interval = tuple[float, float]


@dataclass(frozen=True)
class Region:
    """A box of another material: permittivity and band edge change there, masses do not.

    A semiconductor replaces the semiconductor inside the box, an insulator the oxide.

    Attributes
    ----------
    material : str
        A name in `MATERIALS`.
    x, y, z : tuple of float, optional
        From and to, nm; x from the source end, y and z from the middle of the section. None: everywhere.
    """

    material: str
    x: Interval | None = None
    y: Interval | None = None
    z: Interval | None = None

    def __post_init__(self) -> None:
        expected = f"one of {sorted(MATERIALS)}"
        known = isinstance(self.material, str) and self.material in MATERIALS
        require(known, "material", self.material, expected, "Region")
        for axis in "xyz":
            interval = getattr(self, axis)
            if interval is None:
                continue
            require(
                isinstance(interval, (tuple, list))
                and len(interval) == 2
                and all(map(is_finite, interval))
                and interval[0] < interval[1],
                axis,
                interval,
                "(from, to) in nm, ascending, or None for everywhere",
                "Region",
            )
            object.__setattr__(self, axis, tuple(float(end) for end in interval))


def as_regions(regions: Any) -> tuple[Region, ...]:
    """Turn regions, or what a file made of them, into a tuple of `Region`."""
    require(
        isinstance(regions, (tuple, list))
        and all(
            isinstance(r, Region) or (isinstance(r, dict) and r.keys() <= set(Region.__dataclass_fields__))
            for r in regions
        ),
        "regions",
        regions,
        "a tuple such as (Region('hafnium dioxide'),)",
        "Device",
    )
    return tuple(region if isinstance(region, Region) else Region(**region) for region in regions)
