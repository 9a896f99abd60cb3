"""Materials as data, and their bands seen along the axes of a device.

The bands are parabolic. An electron valley is three masses along the cubic axes of the crystal; for a device cut along
others its inverse mass tensor W is turned, and what couples x to the section is removed by a phase exp(i k·r): along x
the mass is then 1/(W_xx − W_xt W_tt⁻¹ W_tx), across it the 2×2 block W_tt stays. This is exact in a uniform wire
(Stern & Howard, Phys. Rev. 163, 816 (1967); Bescond et al., Nanotechnology 18, 255201 (2007)).
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np

from mlnegf._common import Variant, hold, is_count, is_finite, is_positive, plain, require

Direction = tuple[int, int, int]
"""Miller indices in a cubic crystal."""

Orientation = tuple[Direction, Direction]
"""Directions of the device's x, along which current flows, and z."""

LIGHTEST, HEAVIEST = 1e-4, 1e4
"""Masses allowed, m₀."""

CUBIC: Final[Orientation] = ((1, 0, 0), (0, 0, 1))


@dataclass(frozen=True)
class Valley:
    """Equivalent minima of a parabolic band.

    Attributes
    ----------
    mass_x, mass_y, mass_z : float
        1/W_xx, 1/W_yy and 1/W_zz of the inverse mass tensor W, m₀.
    degeneracy : int
        How many minima share them.
    mixing : float
        W_yz, 1/m₀.
    """

    mass_x: float
    mass_y: float
    mass_z: float
    degeneracy: int
    mixing: float = 0.0

    def __post_init__(self) -> None:
        for name in ("mass_x", "mass_y", "mass_z"):
            _require_mass(name, getattr(self, name), "Valley")
        require(is_count(self.degeneracy), "degeneracy", self.degeneracy, "a whole number, 1 or more", "Valley")
        require(is_finite(self.mixing), "mixing", self.mixing, "a finite number", "Valley")
        hold(self, float, "mass_x", "mass_y", "mass_z", "mixing")
        hold(self, int, "degeneracy")


def _require_mass(name: str, value: object, caller: str) -> None:
    good = is_positive(value) and LIGHTEST <= plain(value) <= HEAVIEST
    require(good, name, value, f"a positive number of m₀, {LIGHTEST:g} to {HEAVIEST:g}", caller)


def delta_valleys(longitudinal: float, transverse: float) -> tuple[Valley, ...]:
    """Three pairs of ellipsoids along the cubic axes, masses in m₀."""
    for name, mass in (("longitudinal", longitudinal), ("transverse", transverse)):
        _require_mass(name, mass, "delta_valleys")
    ml, mt = longitudinal, transverse
    return Valley(ml, mt, mt, 2), Valley(mt, ml, mt, 2), Valley(mt, mt, ml, 2)


def isotropic(mass: float) -> tuple[Valley, ...]:
    """One sphere, its mass in m₀."""
    _require_mass("mass", mass, "isotropic")
    return (Valley(mass, mass, mass, 1),)


ALLOWED: Final = {
    "permittivity": (1.0, 1e6),
    "affinity": (0.0, 100.0),
    "gap": (0.0, 100.0),
    "tunnel_mass": (LIGHTEST, HEAVIEST),
}
"""What a material may declare, from and to."""


class Material(Variant):
    """What the solver knows of a material, declared by class attributes; one class is one material.

    A new one is ``class Mine(Material, name="mine")``. What it does not say it takes from the class it derives from.

    Attributes
    ----------
    permittivity : float
        Relative, static.
    affinity, gap : float
        Vacuum level over conduction band, conduction band over valence band, eV.
    electrons, holes : tuple of Valley
        Along the cubic axes; empty for an insulator.
    tunnel_mass : float
        Of carriers inside an insulator, m₀.
    """

    permittivity: ClassVar[float]
    affinity: ClassVar[float]
    gap: ClassVar[float]
    electrons: ClassVar[tuple[Valley, ...]] = ()
    holes: ClassVar[tuple[Valley, ...]] = ()
    tunnel_mass: ClassVar[float] = 1.0

    def __init_subclass__(cls, *, name: str = "", **others: Any) -> None:
        """Enter a material, or say what it forgot to declare."""
        if missing := [value for value in ("permittivity", "affinity", "gap") if not hasattr(cls, value)]:
            raise TypeError(f"{cls.__name__}: {missing} undeclared, expected a number for each; see `Material`.")
        for value, (least, most) in ALLOWED.items():
            given = getattr(cls, value)
            good = is_finite(given) and least <= given <= most
            require(good, value, given, f"a number, {least:g} or more, up to {most:g}", cls.__name__)
        for value in ("electrons", "holes"):
            given = getattr(cls, value)
            known = isinstance(given, tuple) and all(isinstance(v, Valley) and v.mixing == 0.0 for v in given)
            require(known, value, given, "a tuple of Valley along the cubic axes, without mixing", cls.__name__)
        super().__init_subclass__(name=name, **others)


class Silicon(Material, name="silicon"):
    """Three pairs of Δ valleys; holes of one parabolic band."""

    permittivity, affinity, gap = 11.7, 4.05, 1.12
    electrons = delta_valleys(0.91, 0.19)
    holes = isotropic(0.49)


class SiliconGermanium(Silicon, name="silicon germanium 30 %"):
    """Up to 85 % germanium the lowest valleys stay those of silicon (Rieger & Vogl, Phys. Rev. B 48, 14276 (1993))."""

    permittivity, affinity, gap = 13.0, 4.03, 0.92


class IndiumGalliumArsenide(Material, name="indium gallium arsenide"):
    """In₀.₅₃Ga₀.₄₇As: one light valley at Γ."""

    permittivity, affinity, gap = 13.9, 4.5, 0.74
    electrons = isotropic(0.041)
    holes = isotropic(0.45)


# Rounded from the review of Robertson, Rep. Prog. Phys. 69, 327 (2006); films differ by tenths of an eV.
class SiliconDioxide(Material, name="silicon dioxide"):
    """SiO₂."""

    permittivity, affinity, gap = 3.9, 0.9, 9.0
    tunnel_mass = 0.5


class SiliconNitride(Material, name="silicon nitride"):
    """Si₃N₄."""

    permittivity, affinity, gap = 7.5, 2.1, 5.1
    tunnel_mass = 0.4


class HafniumDioxide(Material, name="hafnium dioxide"):
    """HfO₂."""

    permittivity, affinity, gap = 22.0, 2.5, 5.7
    tunnel_mass = 0.2


def altered(name: str, **declared: Any) -> str:
    """Enter a material that differs from a known one, and return its name: the same for the same values.

    Parameters
    ----------
    name : str
        Of the known material.
    **declared
        Attributes of `Material`.
    """
    words = f"one of {sorted(Material.variants)}"
    require(isinstance(name, str) and name in Material.variants, "name", name, words, "altered")
    known = set(Material.__annotations__)
    require(declared.keys() <= known, "declared", sorted(declared), f"of {sorted(known)}", "altered")
    base = Material.variants[name]
    different = {key: value for key, value in declared.items() if getattr(base, key) != value}
    if not different:
        return name
    new = f"{name} with {', '.join(f'{key} = {value!r}' for key, value in sorted(different.items()))}"
    if new not in Material.variants:
        type("Altered", (base,), different, name=new)
    return new


SILICON: Final = Silicon
MATERIALS: Final[dict[str, type[Material]]] = Material.variants
"""Every material by name."""


def oriented(valleys: tuple[Valley, ...], orientation: Orientation) -> tuple[Valley, ...]:
    """Turn valleys from the cubic axes to those of a device; minima that become equal are joined.

    Parameters
    ----------
    valleys : tuple of Valley
        Along the cubic axes, without mixing.
    orientation : Orientation
        Two perpendicular directions.
    """
    x, z = (np.array(direction) / np.linalg.norm(direction) for direction in orientation)
    axes = np.stack([x, np.cross(z, x), z])
    joined: Counter[tuple[float, ...]] = Counter()
    for valley in valleys:
        tensor = axes @ np.diag([1 / valley.mass_x, 1 / valley.mass_y, 1 / valley.mass_z]) @ axes.T
        along = tensor[0, 0] - tensor[0, 1:] @ np.linalg.solve(tensor[1:, 1:], tensor[1:, 0])
        masses = 1 / along, 1 / tensor[1, 1], 1 / tensor[2, 2]
        joined[*(round(float(mass), 12) for mass in masses), round(float(tensor[1, 2]), 12) + 0.0] += valley.degeneracy
    return tuple(Valley(x, y, z, minima, mixing) for (x, y, z, mixing), minima in joined.items())
