"""Boxes of other materials inside a device."""

from dataclasses import dataclass
from typing import Any

from mlnegf.checks import is_finite, require
from mlnegf.materials import MATERIALS

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
