"""Shapes: the cross-section on (y, z), scaled so that its box is [-1, 1]², and boxes of other materials."""

from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np

from mlnegf._common import Bools, Floats, Variant, as_array, is_finite, reals, require
from mlnegf.nanosheet.materials import MATERIALS

Mask = tuple[tuple[bool, ...], ...]
MOST_PIXELS: Final = 10**6
"""Of a mask: finer than any grid."""


class Section(Variant):
    """A shape across the channel, drawn in its bounding box, scaled to [-1, 1]².

    A new one is ``class Mine(Section, name="mine")`` with this one method. It must touch all four sides of the box.
    """

    @staticmethod
    def contains(y: Floats, z: Floats) -> Bools:
        """Say which points lie inside; y to the right, z up, arrays of one shape."""
        raise NotImplementedError


class Rectangle(Section, name="rectangle"):
    """All of the box."""

    @staticmethod
    def contains(y: Floats, z: Floats) -> Bools:
        """|y|, |z| ≤ 1."""
        return np.maximum(abs(y), abs(z)) <= 1.0


class Ellipse(Section, name="ellipse"):
    """A circle in a square box."""

    @staticmethod
    def contains(y: Floats, z: Floats) -> Bools:
        """y² + z² ≤ 1."""
        return y**2 + z**2 <= 1.0


class Rounded(Section, name="rounded"):
    """A rectangle with round corners: a superellipse."""

    @staticmethod
    def contains(y: Floats, z: Floats) -> Bools:
        """y⁴ + z⁴ ≤ 1."""
        return y**4 + z**4 <= 1.0


class Trapezoid(Section, name="trapezoid"):
    """Half as wide at the top as at the bottom."""

    @staticmethod
    def contains(y: Floats, z: Floats) -> Bools:
        """|y| ≤ (3 − z)/4."""
        return abs(y) <= 0.75 - 0.25 * z


class LShape(Section, name="L"):
    """All but the quarter at the top right."""

    @staticmethod
    def contains(y: Floats, z: Floats) -> Bools:
        """Left, or low."""
        return (y <= 0.0) | (z <= 0.0)


class TShape(Section, name="T"):
    """A bar above, a stem half as wide below."""

    @staticmethod
    def contains(y: Floats, z: Floats) -> Bools:
        """In the middle, or high."""
        return (abs(y) <= 0.5) | (z >= 0.0)


CROSS_SECTIONS: Final[dict[str, type[Section]]] = Section.variants
"""Every section by name."""


def as_mask(pixels: Any) -> Mask | None:
    """Return a 2D array of bool as nested tuples, or None if it is none that touches all four sides of its box."""
    array = as_array(pixels)
    if array is None or array.dtype != bool or array.ndim != 2 or not 0 < array.size <= MOST_PIXELS:
        return None
    if not all(side.any() for side in (array[0], array[-1], array[:, 0], array[:, -1])):
        return None
    return tuple(tuple(bool(pixel) for pixel in row) for row in array)


def inside(section: str | Mask, y: Floats, z: Floats) -> Bools:
    """Say which points of the tensor grid y × z (scaled to the bounding box) lie in a section, (ny, nz)."""
    across, up = np.meshgrid(y, z, indexing="ij")
    box = np.maximum(abs(across), abs(up)) <= 1.0
    if isinstance(section, str):
        return np.asarray(CROSS_SECTIONS[section].contains(across, up) & box)
    pixels = np.array(section)
    row, column = (
        np.clip(np.floor((axis + 1) / 2 * count), 0, count - 1).astype(int)
        for axis, count in zip((across, up), pixels.shape, strict=True)
    )
    return np.asarray(pixels[row, column] & box)


class Profile:
    """A field on the cells of a device, frozen: equal to another of the same numbers.

    Parameters
    ----------
    values : array, (nx, ny, nz)
    """

    def __init__(self, values: Floats) -> None:
        self.values: Floats = np.array(values)
        self.values.flags.writeable = False

    @property
    def cells(self) -> tuple[int, ...]:
        """Cells along x, y and z."""
        return self.values.shape

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Profile) and np.array_equal(self.values, other.values)

    def __hash__(self) -> int:
        return hash((self.cells, self.values.tobytes()))

    def __repr__(self) -> str:
        return f"Profile(mean {self.values.mean():.4g} of {' × '.join(map(str, self.cells))} cells)"


def as_profile(field: Any, least: float, most: float) -> Profile | None:
    """Return a 3D array of real numbers within bounds as a profile, or None if it is none."""
    if isinstance(field, Profile):
        field = field.values
    values = reals(field, 3)
    return Profile(values) if values is not None and least <= values.min() <= values.max() <= most else None


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
            if isinstance(interval, np.ndarray):
                interval = interval.tolist()
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
    names = {field.name for field in fields(Region)}
    require(
        isinstance(regions, (tuple, list))
        and all(
            isinstance(region, Region) or (isinstance(region, dict) and {"material"} <= region.keys() <= names)
            for region in regions
        ),
        "regions",
        regions,
        f"a tuple such as (Region('hafnium dioxide'),), or of dictionaries with {sorted(names)}, the material always",
        "Device",
    )
    return tuple(region if isinstance(region, Region) else Region(**region) for region in regions)
