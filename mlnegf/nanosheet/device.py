"""The device: what is simulated, as frozen data that validates itself."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property, partial
from typing import Any, Final

from mlnegf._common import as_array, is_finite, plain, require
from mlnegf.nanosheet.geometry import CROSS_SECTIONS, Mask, Profile, Region, as_mask, as_profile, as_regions
from mlnegf.nanosheet.grid import Grid, build_grid, fit_cells
from mlnegf.nanosheet.materials import ALLOWED, CUBIC, MATERIALS, Material, Orientation, Valley, oriented
from mlnegf.units import PER_CUBIC_CENTIMETRE, thermal_energy

COLDEST, HOTTEST = 4.0, 600.0
"""Temperatures allowed, K."""
LENGTHS: Final = ("gate_length", "width", "thickness", "source_length", "drain_length", "oxide_thickness")
LONGEST: Final = 1e4
"""Of any of them, nm."""
LARGEST_INDEX: Final = 100
"""Of a crystal direction."""
PROFILES: Final = {"doping_profile": (-1e24, 1e24), "permittivity_profile": ALLOWED["permittivity"]}
"""Fields a device may be given, from and to: one donor in a cube of 0.1 nm is 1e24 cm⁻³."""
MOST_CELLS: Final = 4e6
"""A device of more would exhaust the memory long before the patience."""

_require = partial(require, caller="Device")


@dataclass(frozen=True)
class Device:
    """A gate-all-around nanosheet or nanowire transistor; transport along x.

    Parameters
    ----------
    gate_length, width, thickness : float
        Gate length along x, extent of the semiconductor along y and along z, nm.
    source_length, drain_length : float
        Lengths of the doped extensions, nm.
    oxide_thickness : float
        Oxide around the semiconductor, along the whole device, nm.
    doping : float
        Donors (acceptors if p-type) in source and drain, cm⁻³; the channel is undoped.
    doping_profile : array of float, (nx, ny, nz), optional
        Donors less acceptors (the other way round if p-type) in every cell of `grid`, cm⁻³, in their place; `doping` is
        then what neutral contacts hold, where a solution starts. Cells of oxide may hold fixed charge.
    permittivity_profile : array of float, (nx, ny, nz), optional
        Relative permittivity of every cell of `grid`, in the place of that of the materials.
    cross_section : str or 2D array of bool
        A name in `CROSS_SECTIONS`, or a mask of any resolution, rows along y and columns along z, stretched over width
        and thickness.
    spacing : tuple of float
        Largest cell (dx, dy, dz), nm. They shrink to fit; `grid` says to what, and where along x not all three lengths
        are multiples of one dx, to which whole cells source and drain are rounded, see `grid.fit_cells`.
    temperature : float
        K, 4 to 600.
    work_function : float, optional
        Of the gate, eV; unless given, that which aligns the gate with the carriers' band.
    semiconductor, oxide : str
        Names in `MATERIALS`.
    polarity : str
        "n", or "p": holes of one parabolic band.
    orientation : tuple
        Crystal directions of x and z, as Miller indices.
    penetration : bool
        Whether wave functions enter the oxide, to vanish at the gate; along x carriers keep the semiconductor's mass.
    regions : tuple of Region
        Boxes of other materials, the last one wins.
    mean_free_path : float, optional
        Between collisions in source and drain, nm, which keep the carriers there at the contact's equilibrium; None:
        ballistic throughout.

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
    cross_section: str | Mask = "rectangle"
    spacing: tuple[float, float, float] = (0.25, 0.25, 0.25)
    temperature: float = 300.0
    work_function: float | None = None
    semiconductor: str = "silicon"
    oxide: str = "silicon dioxide"
    polarity: str = "n"
    orientation: Orientation = CUBIC
    penetration: bool = False
    regions: tuple[Region, ...] = ()
    mean_free_path: float | None = None
    doping_profile: Profile | None = None
    permittivity_profile: Profile | None = None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            object.__setattr__(self, name, plain(value))
        object.__setattr__(self, "spacing", _three(self.spacing))
        if not isinstance(self.cross_section, str):
            object.__setattr__(self, "cross_section", as_mask(self.cross_section) or self.cross_section)
        object.__setattr__(self, "orientation", _orientation(self.orientation))
        object.__setattr__(self, "regions", as_regions(self.regions))
        for name, (least, most) in PROFILES.items():
            if (given := getattr(self, name)) is not None:
                profile = as_profile(given, least, most)
                words = f"numbers from {least:g} to {most:g} in an array (nx, ny, nz), one for each cell, or None"
                _require(profile is not None, name, given, words)
                object.__setattr__(self, name, profile)
        self._check_numbers()
        self._check_names()
        self._check_materials()
        self._check_cells()

    def _check_numbers(self) -> None:
        for name in (*LENGTHS, "doping", "temperature"):
            value = getattr(self, name)
            _require(is_finite(value) and value > 0, name, value, "a positive, finite number")
        for name in LENGTHS:
            _require(getattr(self, name) <= LONGEST, name, getattr(self, name), f"nm, at most {LONGEST:g}")
        _require(1e17 <= self.doping <= 5e20, "doping", self.doping, "donors per cm³ between 1e17 and 5e20")
        _require(
            COLDEST <= self.temperature <= HOTTEST,
            "temperature",
            self.temperature,
            f"kelvin between {COLDEST:g} and {HOTTEST:g}",
        )
        _require(
            self.work_function is None or (is_finite(self.work_function) and 2.0 <= self.work_function <= 7.0),
            "work_function",
            self.work_function,
            "electronvolts between 2 and 7, or None for the affinity",
        )
        dx, free = self.spacing[0], self.mean_free_path
        _require(
            free is None or (is_finite(free) and free >= 4 * dx),
            "mean_free_path",
            free,
            f"nm, at least 4 cells of spacing[0] = {dx} nm, or None for ballistic contacts",
        )
        for name in (*LENGTHS, "doping", "temperature", "work_function", "mean_free_path"):
            if (given := getattr(self, name)) is not None:
                object.__setattr__(self, name, float(given))

    def _check_names(self) -> None:
        _require(
            as_mask(self.cross_section) is not None
            or (isinstance(self.cross_section, str) and self.cross_section in CROSS_SECTIONS),
            "cross_section",
            self.cross_section,
            f"one of {sorted(CROSS_SECTIONS)}, or a 2D array of bool that touches all four sides of its box",
        )
        _require(
            isinstance(self.polarity, str) and self.polarity in ("n", "p"), "polarity", self.polarity, "'n' or 'p'"
        )
        _require(isinstance(self.penetration, bool), "penetration", self.penetration, "True or False")
        for name in ("semiconductor", "oxide"):
            value = getattr(self, name)
            known = isinstance(value, str) and value in MATERIALS
            _require(known, name, value, f"one of {sorted(MATERIALS)}")

    def _check_materials(self) -> None:
        _require(
            bool(self.valleys),
            "semiconductor",
            self.semiconductor,
            f"a material that declares {'electrons' if self.polarity == 'n' else 'holes'}",
        )
        _require(
            not self.penetration or not self.bands(MATERIALS[self.oxide]),
            "oxide",
            self.oxide,
            "an insulator where wave functions penetrate",
        )
        for region in self.regions:
            bands = self.bands(MATERIALS[region.material])
            _require(
                bands in ((), self.bands(self.channel)),
                "regions",
                region.material,
                f"an insulator, or a semiconductor with the masses of {self.semiconductor}: masses change nowhere",
            )

    def _check_cells(self) -> None:
        dx, dy, dz = self.spacing
        for name in ("gate_length", "source_length", "drain_length"):
            value = getattr(self, name)
            _require(value >= 1.99 * dx, name, value, f"at least 2 cells of spacing[0] = {dx} nm; refine spacing")
        for name, step in (("width", dy), ("thickness", dz)):
            value = getattr(self, name)
            _require(value >= 3.99 * step, name, value, f"at least 4 cells of {step} nm; refine spacing")
        _require(
            self.oxide_thickness >= 0.99 * max(dy, dz),
            "oxide_thickness",
            self.oxide_thickness,
            f"at least one cell of {max(dy, dz)} nm; refine spacing",
        )
        sides = [self.width + 2 * self.oxide_thickness, self.thickness + 2 * self.oxide_thickness]
        along = self.source_length + self.gate_length + self.drain_length
        cells = math.prod(length / step for length, step in zip((along, *sides), self.spacing, strict=True))
        _require(
            cells <= MOST_CELLS,
            "spacing",
            self.spacing,
            f"larger cells or a smaller device: {along:g} × {sides[0]:g} × {sides[1]:g} nm with the oxide would take "
            f"{cells:.2g} of them, at most {MOST_CELLS:g}",
        )

    @property
    def channel(self) -> type[Material]:
        """The semiconductor."""
        return MATERIALS[self.semiconductor]

    def bands(self, material: type[Material]) -> tuple[Valley, ...]:
        """Return the bands of a material for this device's carriers, along the cubic axes."""
        return material.electrons if self.polarity == "n" else material.holes

    @property
    def valleys(self) -> tuple[Valley, ...]:
        """The carriers' valleys along the axes of the device."""
        return oriented(self.bands(self.channel), self.orientation)

    def band_edge(self, material: type[Material]) -> float:
        """Energy of a material's band edge for this device's carriers, over that of the semiconductor, eV."""
        if self.polarity == "n":
            return self.channel.affinity - material.affinity
        return (material.affinity + material.gap) - (self.channel.affinity + self.channel.gap)

    @property
    def polarity_sign(self) -> float:
        """+1; −1 if p-type, which is solved as the n-type device it becomes when all charges and voltages change sign.

        Inside the package, energies, potentials and voltages are those of the n-type picture. `solve`, `Solution`,
        `sweep` and guesses speak of the real device.
        """
        return 1.0 if self.polarity == "n" else -1.0

    @cached_property
    def cells_along(self) -> tuple[float, tuple[int, int, int]]:
        """Cell size along x, nm, and how many make the source, the gate and the drain."""
        return fit_cells(self.gate_length, self.source_length, self.drain_length, self.spacing[0])

    @property
    def length(self) -> float:
        """Source, gate and drain together, as they are on the grid, nm."""
        dx, cells = self.cells_along
        return dx * sum(cells)

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
        """Electrostatic potential on the oxide's surface under a gate voltage, V: V_G − (Φ_M − χ)/e, n-type picture."""
        return gate - self.polarity_sign * (self.gate_work_function - self.aligned_work_function)

    @property
    def aligned_work_function(self) -> float:
        """That of a gate whose Fermi level is the carriers' band edge, eV."""
        return self.channel.affinity + (0.0 if self.polarity == "n" else self.channel.gap)

    @property
    def gate_work_function(self) -> float:
        """That of the gate, eV."""
        return self.aligned_work_function if self.work_function is None else self.work_function

    @cached_property
    def grid(self) -> Grid:
        """The cell-centred grid of this device."""
        return build_grid(self)

    def to_dict(self) -> dict[str, Any]:
        """Return the parameters as plain data, for files; profiles only if there are any, for they are large."""
        profiles = {name: getattr(self, name) for name in PROFILES}
        numbers = {name: value for name, value in asdict(self).items() if name not in PROFILES}
        return numbers | {name: field.values.tolist() for name, field in profiles.items() if field is not None}

    @classmethod
    def from_dict(cls, parameters: Mapping[str, Any]) -> "Device":
        """Make a device of what `to_dict` returned, or a file made of it; what is not there is the default."""
        words = "a mapping, such as Device.to_dict returns"
        _require(isinstance(parameters, Mapping), "parameters", parameters, words)
        known = {field.name for field in fields(cls)}
        unknown = sorted(map(str, parameters.keys() - known))
        _require(not unknown, ", ".join(unknown), [parameters.get(name) for name in unknown], f"only {sorted(known)}")
        return cls(**parameters)


def _three(spacing: Any) -> tuple[float, float, float]:
    array = as_array(spacing)
    values = spacing if isinstance(spacing, (tuple, list)) else () if array is None or array.ndim != 1 else array
    _require(
        len(values) == 3 and all(is_finite(value) and 0 < value <= 2 for value in values),
        "spacing",
        spacing,
        "three cell sizes (dx, dy, dz) in nm, each between 0 and 2",
    )
    dx, dy, dz = (float(value) for value in values)
    return dx, dy, dz


def _orientation(orientation: Any) -> Orientation:
    directions = as_array(orientation)
    good = directions is not None and directions.shape == (2, 3) and directions.dtype.kind == "i"
    x, z = ((0, 0, 0), (0, 0, 0)) if directions is None or not good else map(tuple, directions.tolist())
    _require(
        any(x)
        and any(z)
        and sum(a * b for a, b in zip(x, z, strict=True)) == 0
        and max(map(abs, (*x, *z))) <= LARGEST_INDEX,
        "orientation",
        orientation,
        "Miller indices of x and z, perpendicular, such as ((1, 1, 0), (0, 0, 1))",
    )
    return x, z
