"""What a solution may be differentiated by: how the two equations answer to each input, the potential held.

With R(φ; p) = L φ − b V_gate − (e/ε₀) v (N_D − n[φ; p]) = 0 an input p enters through L and b (permittivity), through
V_gate (gate voltage, work function), N_D (doping), or through the NEGF solve (`nanosheet.changes`). Units and signs are
the device's own; inside, as everywhere, stands the n-type picture.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, Final

import numpy as np
import torch

from mlnegf._common import Floats, Variant, require
from mlnegf.nanosheet.changes import Change, of_filling, of_mass_across, of_mass_along
from mlnegf.nanosheet.device import Device
from mlnegf.nanosheet.geometry import Profile
from mlnegf.nanosheet.materials import CUBIC, altered
from mlnegf.nanosheet.poisson import outflow
from mlnegf.nanosheet.uncoupled import UncoupledCharge
from mlnegf.scf.point import Point
from mlnegf.units import CHARGE_OVER_EPSILON0, PER_CUBIC_CENTIMETRE, thermal_energy

Tensor = torch.Tensor


@dataclass(frozen=True)
class Case:
    """A device at a bias, V."""

    device: Device
    gate: float
    drain: float


@dataclass(frozen=True, eq=False)
class Moved:
    """What one unit of an input moves at a fixed potential, to first order.

    Attributes
    ----------
    residual : ndarray, (nx, cells)
        ∂R/∂p but for the part of the charge, V nm per unit.
    change : Change, optional
        Of the NEGF solve, per unit; None where it does not know of the input.
    """

    residual: Floats
    change: Change | None = None


class Input(Variant):
    """An input, by the name of its variant.

    Attributes
    ----------
    unit : str
    dimensions : tuple of str
        Of its array: none for a number, "valley", or "x", "y", "z" for a field on the device's grid.
    """

    unit: ClassVar[str]
    dimensions: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def value(cls, case: Case) -> Floats:
        """Return what a case has of it."""
        raise NotImplementedError

    @classmethod
    def put(cls, case: Case, value: Floats) -> Case:
        """Return the case with another value."""
        raise NotImplementedError


class Few(Input):
    """An input of a few numbers, each moved by itself."""

    @staticmethod
    def moved(point: Point) -> Iterator[Moved]:
        """Yield what one unit of each number moves, in the array's order."""
        raise NotImplementedError


class Field(Input):
    """An input on the grid, of which the NEGF solve does not know."""

    dimensions = ("x", "y", "z")

    @staticmethod
    def push(point: Point, change: Floats) -> Floats:
        """Return what a change of the field (nx, ny, nz) makes of the residual, (nx, cells), V nm."""
        raise NotImplementedError

    @staticmethod
    def pull(point: Point, weights: Floats) -> Floats:
        """Apply the transpose of `push` to weights (nx, cells) of the residual: (nx, ny, nz)."""
        raise NotImplementedError


class Gate(Few, name="gate"):
    """Gate voltage."""

    unit = "V"

    @classmethod
    def value(cls, case: Case) -> Floats:
        """See `Input`."""
        return np.array(case.gate)

    @classmethod
    def put(cls, case: Case, value: Floats) -> Case:
        """See `Input`."""
        return replace(case, gate=float(value))

    @staticmethod
    def moved(point: Point) -> Iterator[Moved]:
        """∂R/∂V_G = −b."""
        yield Moved(-point.problem.own(point.problem.poisson.gate))


class WorkFunction(Few, name="work_function"):
    """Work function of the gate: one eV more is one volt less on the gate."""

    unit = "eV"

    @classmethod
    def value(cls, case: Case) -> Floats:
        """See `Input`."""
        return np.array(case.device.gate_work_function)

    @classmethod
    def put(cls, case: Case, value: Floats) -> Case:
        """See `Input`."""
        return replace(case, device=replace(case.device, work_function=float(value)))

    @staticmethod
    def moved(point: Point) -> Iterator[Moved]:
        """∂R/∂Φ_M = b/e."""
        yield Moved(point.problem.own(point.problem.poisson.gate))


class Drain(Few, name="drain"):
    """Drain voltage: it moves the Fermi level μ_D = −e V_D of the drain and nothing else."""

    unit = "V"

    @classmethod
    def value(cls, case: Case) -> Floats:
        """See `Input`."""
        return np.array(case.drain)

    @classmethod
    def put(cls, case: Case, value: Floats) -> Case:
        """See `Input`."""
        return replace(case, drain=float(value))

    @staticmethod
    def moved(point: Point) -> Iterator[Moved]:
        """δμ_D = −e δV_D."""
        yield Moved(_nothing(point), of_filling(negf_of(point), drain=-point.problem.own(1.0)))


class Temperature(Few, name="temperature"):
    """Temperature of both contacts."""

    unit = "K"

    @classmethod
    def value(cls, case: Case) -> Floats:
        """See `Input`."""
        return np.array(case.device.temperature)

    @classmethod
    def put(cls, case: Case, value: Floats) -> Case:
        """See `Input`."""
        return replace(case, device=case.device.at(float(value)))

    @staticmethod
    def moved(point: Point) -> Iterator[Moved]:
        """δkT = k δT."""
        yield Moved(_nothing(point), of_filling(negf_of(point), kT=thermal_energy(1.0)))


class _Mass(Few):
    """Mass of every valley of `device.valleys`, all its minima together."""

    unit = "m0"
    dimensions = ("valley",)
    axis: ClassVar[int]

    @classmethod
    def value(cls, case: Case) -> Floats:
        """See `Input`."""
        return np.array([getattr(valley, cls.name) for valley in case.device.valleys])

    @classmethod
    def put(cls, case: Case, value: Floats) -> Case:
        """See `Input`."""
        return replace(case, device=with_masses(case.device, cls.name, value))

    @classmethod
    def moved(cls, point: Point) -> Iterator[Moved]:
        """One valley after the other."""
        charge = negf_of(point)
        for valley in range(len(point.problem.device.valleys)):
            along = cls.axis == 0
            change = (
                of_mass_along(charge, valley)
                if along
                else of_mass_across(charge, point.potential, valley, cls.axis - 1)
            )
            yield Moved(_nothing(point), change)


class MassX(_Mass, name="mass_x"):
    """Along x."""

    axis = 0


class MassY(_Mass, name="mass_y"):
    """Along y."""

    axis = 1


class MassZ(_Mass, name="mass_z"):
    """Along z."""

    axis = 2


class Doping(Field, name="doping"):
    """Donors less acceptors (the other way round if p-type) in every cell, those of oxide included."""

    unit = "cm^-3"

    @classmethod
    def value(cls, case: Case) -> Floats:
        """See `Input`."""
        return np.array(case.device.grid.donors / PER_CUBIC_CENTIMETRE)

    @classmethod
    def put(cls, case: Case, value: Floats) -> Case:
        """See `Input`."""
        return replace(case, device=replace(case.device, doping_profile=Profile(value)))

    @staticmethod
    def push(point: Point, change: Floats) -> Floats:
        """∂R/∂N_D = −(e/ε₀) v."""
        return -point.problem.poisson.source * point.problem.device.grid.fold(change) * PER_CUBIC_CENTIMETRE

    @staticmethod
    def pull(point: Point, weights: Floats) -> Floats:
        """Every cell by itself, not with its mirror images."""
        grid = point.problem.device.grid
        return -grid.unfold(weights) * grid.area * (grid.dx * CHARGE_OVER_EPSILON0 * PER_CUBIC_CENTIMETRE)


class Permittivity(Field, name="permittivity"):
    """Relative permittivity of every cell."""

    unit = "1"

    @classmethod
    def value(cls, case: Case) -> Floats:
        """See `Input`."""
        return np.array(case.device.grid.permittivity)

    @classmethod
    def put(cls, case: Case, value: Floats) -> Case:
        """See `Input`."""
        return replace(case, device=replace(case.device, permittivity_profile=Profile(value)))

    @staticmethod
    def push(point: Point, change: Floats) -> Floats:
        """∂(L φ − b V_gate)/∂ε, summed over mirror images."""
        grid, (permittivity, potential) = point.problem.device.grid, _fields(point)
        flux = outflow(grid, potential, point.problem.gate_potential)
        direction = torch.from_numpy(np.ascontiguousarray(change))
        moved = torch.autograd.functional.jvp(flux, permittivity, direction)[1]  # type: ignore[no-untyped-call]
        return np.asarray(grid.fold(moved.numpy()) * grid.images)

    @staticmethod
    def pull(point: Point, weights: Floats) -> Floats:
        """Every cell by itself."""
        grid, (permittivity, potential) = point.problem.device.grid, _fields(point)
        flux = outflow(grid, potential, point.problem.gate_potential)
        cotangent = torch.from_numpy(grid.unfold(weights))
        found = torch.autograd.functional.vjp(flux, permittivity, cotangent)[1]  # type: ignore[no-untyped-call]
        return np.asarray(found.numpy())


INPUTS: Final[dict[str, type[Input]]] = Input.variants
"""Every input by name."""


def negf_of(point: Point) -> UncoupledCharge:
    """Return the charge of a point, of uncoupled modes: those alone are differentiated by all inputs."""
    assert isinstance(point.charge, UncoupledCharge)
    return point.charge


def with_masses(device: Device, name: str, values: Floats) -> Device:
    """Return a device of a semiconductor that differs in one mass of each valley: `name` is that of the attribute."""
    require(device.orientation == CUBIC, "orientation", device.orientation, f"{CUBIC}: other axes mix masses", "masses")
    band = "electrons" if device.polarity == "n" else "holes"
    valleys = tuple(
        replace(valley, **{name: float(value)})  # type: ignore[arg-type]
        for valley, value in zip(device.bands(device.channel), values.tolist(), strict=True)
    )
    changed = replace(device, semiconductor=altered(device.semiconductor, **{band: valleys}))
    words = f"masses that leave {len(valleys)} kinds of valleys apart"
    require(len(changed.valleys) == len(valleys), name, values, words, "masses")
    return changed


def _nothing(point: Point) -> Floats:
    return np.zeros_like(point.potential)


def _fields(point: Point) -> tuple[Tensor, Tensor]:
    grid = point.problem.device.grid
    return torch.tensor(grid.permittivity), torch.from_numpy(grid.unfold(point.potential))
