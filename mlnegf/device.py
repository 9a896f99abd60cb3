"""The device: what is simulated, as frozen data that validates itself."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from mlnegf.units import PER_CUBIC_CENTIMETRE, thermal_energy

if TYPE_CHECKING:
    from mlnegf.grid import Grid

Shape = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.bool_]]


@dataclass(frozen=True)
class Valley:
    """A pair of conduction-band minima: effective masses along x, y, z in m₀ and how many minima share them."""

    mass_x: float
    mass_y: float
    mass_z: float
    degeneracy: int


@dataclass(frozen=True)
class Material:
    """What the solver knows of a material: permittivity, affinity (eV) and the valleys of its conduction band."""

    name: str
    permittivity: float
    affinity: float
    valleys: tuple[Valley, ...] = ()


SILICON: Final = Material(
    "silicon",
    permittivity=11.7,
    affinity=4.05,
    valleys=(Valley(0.91, 0.19, 0.19, 2), Valley(0.19, 0.91, 0.19, 2), Valley(0.19, 0.19, 0.91, 2)),
)
SILICON_DIOXIDE: Final = Material("silicon dioxide", permittivity=3.9, affinity=0.9)
MATERIALS: Final = {material.name: material for material in (SILICON, SILICON_DIOXIDE)}

COLDEST, HOTTEST = 4.0, 600.0
"""Temperatures allowed, K."""

# A cross-section is a predicate on (y, z) scaled so that the bounding box is [-1, 1]².
CROSS_SECTIONS: Final[dict[str, Shape]] = {
    "rectangle": lambda y, z: np.maximum(abs(y), abs(z)) <= 1.0,
    "ellipse": lambda y, z: y**2 + z**2 <= 1.0,
    "rounded": lambda y, z: y**4 + z**4 <= 1.0,
    "trapezoid": lambda y, z: abs(y) <= 0.75 - 0.25 * z,
    "L": lambda y, z: (y <= 0.0) | (z <= 0.0),
    "T": lambda y, z: (abs(y) <= 0.5) | (z >= 0.0),
}


@dataclass(frozen=True)
class Device:
    """A gate-all-around n-type nanosheet or nanowire transistor; transport along x.

    Parameters
    ----------
    gate_length, width, thickness : float
        Gate length along x, extent of the semiconductor along y and along z, nm.
    source_length, drain_length : float
        Lengths of the doped extensions, nm.
    oxide_thickness : float
        Oxide around the semiconductor, along the whole device, nm.
    doping : float
        Donors in source and drain, cm⁻³; the channel is undoped.
    cross_section : str
        A name in `CROSS_SECTIONS`.
    spacing : tuple of float
        Largest cell (dx, dy, dz), nm. The three lengths along x are multiples of dx; dy and dz shrink to fit.
    temperature : float
        K, 4 to 600.
    work_function : float, optional
        Of the gate, eV; the semiconductor's affinity unless given.
    semiconductor, oxide : str
        Names in `MATERIALS`.

    Raises
    ------
    ValueError
        For any argument out of range, naming it, its value and what to try.
    """

    gate_length: float = 10.0
    width: float = 6.0
    thickness: float = 3.0
    source_length: float = 8.0
    drain_length: float = 8.0
    oxide_thickness: float = 1.0
    doping: float = 1e20
    cross_section: str = "rectangle"
    spacing: tuple[float, float, float] = (0.25, 0.25, 0.25)
    temperature: float = 300.0
    work_function: float | None = None
    semiconductor: str = "silicon"
    oxide: str = "silicon dioxide"

    def __post_init__(self) -> None:
        object.__setattr__(self, "spacing", _three(self.spacing))
        lengths = ("gate_length", "width", "thickness", "source_length", "drain_length", "oxide_thickness", "doping")
        for name in (*lengths, "temperature"):
            value = getattr(self, name)
            _require(_is_number(value) and value > 0, name, value, "a positive, finite number")
        _require(1e17 <= self.doping <= 5e20, "doping", self.doping, "donors per cm³ between 1e17 and 5e20")
        _require(
            COLDEST <= self.temperature <= HOTTEST,
            "temperature",
            self.temperature,
            f"kelvin between {COLDEST:g} and {HOTTEST:g}",
        )
        _require(
            self.work_function is None or (_is_number(self.work_function) and 2.0 <= self.work_function <= 7.0),
            "work_function",
            self.work_function,
            "electronvolts between 2 and 7, or None for the affinity",
        )
        _require(
            isinstance(self.cross_section, str) and self.cross_section in CROSS_SECTIONS,
            "cross_section",
            self.cross_section,
            f"one of {sorted(CROSS_SECTIONS)}",
        )
        for name in ("semiconductor", "oxide"):
            value = getattr(self, name)
            _require(value in MATERIALS, name, value, f"one of {sorted(MATERIALS)}")
        _require(bool(self.channel.valleys), "semiconductor", self.semiconductor, "a material with valleys")
        dx, dy, dz = self.spacing
        for name in ("gate_length", "source_length", "drain_length"):
            value = getattr(self, name)
            cells = round(value / dx)
            _require(
                cells >= 2 and math.isclose(cells * dx, value, rel_tol=1e-9),
                name,
                value,
                f"at least 2 whole cells of spacing[0] = {dx} nm; the nearest is {max(cells, 2) * dx:g}",
            )
        for name, step in (("width", dy), ("thickness", dz)):
            value = getattr(self, name)
            _require(value >= 3.99 * step, name, value, f"at least 4 cells of {step} nm; refine spacing")
        _require(
            self.oxide_thickness >= 0.99 * max(dy, dz),
            "oxide_thickness",
            self.oxide_thickness,
            f"at least one cell of {max(dy, dz)} nm; refine spacing",
        )

    @property
    def channel(self) -> Material:
        """The semiconductor."""
        return MATERIALS[self.semiconductor]

    @property
    def length(self) -> float:
        """Source, gate and drain together, nm."""
        return self.source_length + self.gate_length + self.drain_length

    @property
    def thermal_energy(self) -> float:
        """The thermal energy kT, eV."""
        return thermal_energy(self.temperature)

    def at(self, temperature: float) -> "Device":
        """Return the same device at another temperature, K."""
        return replace(self, temperature=temperature)

    @property
    def donors(self) -> float:
        """Donors in source and drain, nm⁻³."""
        return self.doping * PER_CUBIC_CENTIMETRE

    def gate_potential(self, gate: float) -> float:
        """Electrostatic potential on the oxide's surface under a gate voltage, V: V_G − (Φ_M − χ)/e."""
        return gate - (0.0 if self.work_function is None else self.work_function - self.channel.affinity)

    @cached_property
    def grid(self) -> "Grid":
        """The cell-centred grid of this device."""
        from mlnegf.grid import build_grid

        return build_grid(self)

    def to_dict(self) -> dict[str, Any]:
        """Return the parameters as plain data, for files."""
        return asdict(self)


def _three(spacing: Any) -> tuple[float, float, float]:
    values = tuple(spacing) if isinstance(spacing, (tuple, list)) else (spacing,)
    _require(
        len(values) == 3 and all(_is_number(value) and 0 < value <= 2 for value in values),
        "spacing",
        spacing,
        "three cell sizes (dx, dy, dz) in nm, each between 0 and 2",
    )
    dx, dy, dz = (float(value) for value in values)
    return dx, dy, dz


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float, np.integer, np.floating)) and math.isfinite(value)


def _require(condition: bool, name: str, value: object, expected: str) -> None:
    if not condition:
        raise ValueError(f"Device: {name} = {value!r}, expected {expected}.")
