"""What a network reads, the first iteration, and what it learns from, that and its answer.

All fields here lie on the bounding box of the silicon and have the device's own sign: a p-type device's voltages and
potentials are those of the real device, not of the n-type picture it is solved in; see `Problem`.
"""

from dataclasses import dataclass
from typing import Final

from mlnegf._common import Bools, Floats
from mlnegf.nanosheet.charge import Negf
from mlnegf.nanosheet.device import Device
from mlnegf.scf.equations import Equations
from mlnegf.scf.guesses import Semiclassical
from mlnegf.scf.point import Point
from mlnegf.scf.problem import Problem
from mlnegf.scf.solve import Solution
from mlnegf.units import PER_CUBIC_CENTIMETRE

FILLING: Final = Negf.filling
"""How the first iteration fills bound states; see `bound_states.FILLINGS`."""
START: Final = f"semiclassical; bound states filled by {FILLING}"
"""What made the first iteration; travels with data and weights."""


@dataclass(frozen=True, eq=False)
class BiasedDevice:
    """One device at one bias, cut to the bounding box of its silicon.

    Attributes
    ----------
    gate, drain : float
        V.
    x : ndarray, (nx,)
        Slice centres, nm.
    mask : ndarray of bool, (ny, nz)
        Silicon.
    """

    device: Device
    gate: float
    drain: float
    x: Floats
    mask: Bools

    @classmethod
    def at(cls, problem: Problem) -> "BiasedDevice":
        """Say which device at which bias a problem is about."""
        grid = problem.device.grid
        return BiasedDevice(problem.device, *problem.bias, grid.x, grid.semiconductor[grid.box])


@dataclass(frozen=True, eq=False)
class FirstIteration(BiasedDevice):
    """A device after its first NEGF solve: what a network reads.

    Attributes
    ----------
    first_potential, first_charge : ndarray, (nx, ny, nz)
        Semiclassical start, V, and what one NEGF solve makes of it, nm⁻³.
    """

    first_potential: Floats
    first_charge: Floats

    @classmethod
    def of(cls, point: Point) -> "FirstIteration":
        """Read a potential and its charge off one NEGF solve."""
        problem, grid = point.problem, point.problem.device.grid
        box = (slice(None), *grid.box)
        potential, charge = problem.unfolded(point.potential), grid.unfold(point.charge.density)
        return FirstIteration(
            **vars(BiasedDevice.at(problem)), first_potential=potential[box], first_charge=charge[box]
        )

    def answered(self, solution: Solution) -> "Sample":
        """Set the solution of the same device and bias beside its first iteration."""
        box = (slice(None), *self.device.grid.box)
        return Sample(
            **vars(self), potential=solution.potential[box], charge=solution.charge[box] * PER_CUBIC_CENTIMETRE
        )


@dataclass(frozen=True, eq=False)
class Sample(FirstIteration):
    """A first iteration with its answer: what a network learns from.

    Attributes
    ----------
    potential, charge : ndarray, (nx, ny, nz)
        Converged: V and nm⁻³.
    """

    potential: Floats
    charge: Floats


def first_iteration(device: Device | Equations, gate: float, drain: float) -> FirstIteration:
    """Solve once, from the semiclassical start, with bound states filled by `FILLING`; the bias is the device's, V."""
    problem = Problem.of(device, gate, drain, FILLING)
    return FirstIteration.of(problem.evaluate(Semiclassical()(problem).potential))
