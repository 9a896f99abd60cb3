"""The self-consistency problem of one device at one bias, every piece of work counted.

The unknown is the potential φ; the equation is R(φ) = L φ − b V_gate − (e/ε₀) v (N_D − n[φ]) = 0, with n[φ] from one
NEGF solve. All fields here are folded: (nx, cells), see `grid`.
"""

import time
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

import numpy as np

from mlnegf._common import Floats
from mlnegf.nanosheet.charge import Negf
from mlnegf.nanosheet.device import Device
from mlnegf.nanosheet.poisson import Density, Poisson
from mlnegf.nanosheet.semiclassical import neutral_potential, quasi_fermi_level, semiclassical_density
from mlnegf.scf.equations import Equations, voltage
from mlnegf.scf.point import Point, require_finite

Values = TypeVar("Values", float, Floats)

BEYOND: Final = 3.0
"""How far a start may lie beyond the potentials of gate, source and drain, V."""


@dataclass
class Work:
    """What a solution cost.

    Attributes
    ----------
    charge_evaluations : int
        NEGF solves: potential to charge and current.
    linearised_applications : int
        Products of the exact response of NEGF with a change of potential.
    chain_passes : int
        Solves of the chains alone, at levels moved to first order and at energies chosen before, see `frozen`; the
        linear part of that move belongs to the pass and is not counted again.
    poisson_solves : int
        Linear Poisson solves; one multigrid cycle inside a Krylov iteration counts as one.
    seconds : float
        Wall time, inference included.
    """

    charge_evaluations: int = 0
    linearised_applications: int = 0
    chain_passes: int = 0
    poisson_solves: int = 0
    seconds: float = 0.0

    def add(self, other: "Work") -> None:
        """Count another's work as well."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


@dataclass(frozen=True, eq=False)
class Problem:
    """A device at one bias, in the n-type picture: see `Device.polarity_sign`.

    `of` takes a bias of the real device, `folded` its potentials; `bias`, `own` and `unfolded` lead back to its signs.
    A copy, ``replace(problem, gate=0.3)``, shares with its original the equations, the count of work and the clock.

    Attributes
    ----------
    equations : Equations
    gate, drain : float
        V, in the n-type picture.
    work : Work
        Counts everything done through this problem and its copies.
    started : float
        When, s, by `time.perf_counter`.
    """

    equations: Equations
    gate: float
    drain: float
    work: Work = field(default_factory=Work)
    started: float = field(default_factory=time.perf_counter)

    @staticmethod
    def of(
        device: Device | Equations,
        gate: float,
        drain: float,
        filling: str | None = None,
        modes: str | None = None,
        tolerance: float = 1e-3,
    ) -> "Problem":
        """Pose the problem of a device, or of its equations, at its own gate and drain voltages, V.

        The rest is that of `Equations.of`.
        """
        started = time.perf_counter()
        equations = Equations.of(device, filling, modes, tolerance)
        sign = equations.device.polarity_sign
        gate, drain = (sign * voltage(name, value, "solve") for name, value in (("gate", gate), ("drain", drain)))
        return Problem(equations, gate, drain, started=started)

    @property
    def device(self) -> Device:
        """The device."""
        return self.equations.device

    @property
    def negf(self) -> Negf:
        """The NEGF solver."""
        return self.equations.negf

    @property
    def poisson(self) -> Poisson:
        """Poisson's equation."""
        return self.equations.poisson

    def at(self, temperature: float) -> "Problem":
        """Return this problem at another temperature, K."""
        return replace(self, equations=self.equations.at(temperature))

    def filled(self, filling: str) -> "Problem":
        """Return this problem with bound states filled by another rule."""
        return replace(self, equations=self.equations.filled(filling))

    def own(self, values: Values) -> Values:
        """Turn potentials, voltages and currents of the n-type picture into the device's own, or back."""
        return self.device.polarity_sign * values

    @property
    def bias(self) -> tuple[float, float]:
        """The device's own gate and drain voltage, V."""
        return self.own(self.gate), self.own(self.drain)

    def folded(self, potential: Floats) -> Floats:
        """Turn a potential of the device, (nx, ny, nz), into the n-type picture's, (nx, cells), V."""
        return self.own(self.device.grid.fold(potential))

    def unfolded(self, potential: Floats) -> Floats:
        """Turn a potential of the n-type picture, (nx, cells), into the device's own, (nx, ny, nz), V."""
        return self.own(self.device.grid.unfold(potential))

    @property
    def gate_potential(self) -> float:
        """Potential on the oxide's surface, V."""
        return self.device.gate_potential(self.gate)

    def holds(self, potential: Floats) -> bool:
        """Say whether a potential lies within `BEYOND` of those of gate, neutral source and neutral drain.

        What lies farther is no start but a mistake, of units or of a network: the NEGF solve would ask for gigabytes.
        """
        low, high = float(potential.min()), float(potential.max())
        known = [self.gate_potential]
        # The gate alone mostly decides it; the source's potential takes a search.
        if not known[0] - BEYOND <= low <= high <= known[0] + BEYOND:
            source = self.neutral_potential()
            known += [source, source + self.drain]
        return min(known) - BEYOND <= low <= high <= max(known) + BEYOND

    def evaluate(self, potential: Floats) -> Point:
        """One NEGF solve."""
        self.work.charge_evaluations += 1
        charge = self.negf(potential, self.drain)
        require_finite(self, charge.density)
        return Point(self, potential, charge)

    def predicted(self, density: Density, start: Floats, tolerance: float) -> Floats:
        """Solve Poisson's equation with a density n(φ), from a start."""
        potential, solves = self.poisson.solve(density, self.gate_potential, start, tolerance)
        self.work.poisson_solves += solves
        return potential

    def exponential(self, density: Floats, about: Floats, tolerance: float = 1e-7) -> Floats:
        """Solve Poisson's equation with the density n exp((φ − φ₀)/kT) of `density` at the potential `about`.

        The exponential predictor of Trellakis et al., J. Appl. Phys. 81, 7880 (1997).
        """
        kT = self.device.thermal_energy

        def predicted(potential: Floats) -> tuple[Floats, Floats]:
            values = density * np.exp(np.clip((potential - about) / kT, -60, 60))
            return values, values / kT

        return self.predicted(predicted, about, tolerance)

    def semiclassical(self) -> Floats:
        """Potential with the charge of locally filled, undistorted subbands."""
        level = quasi_fermi_level(self.device, self.drain)
        density = semiclassical_density(self.device, self.negf.basis.section, level, table=self.negf.table)
        # As full as the source everywhere: Newton's first step from an empty drain would overshoot by volts.
        start = np.broadcast_to((self.neutral_potential() - level)[:, None], self.poisson.donors.shape)
        # The step that follows one below a tenth of a millivolt is below a microvolt.
        return self.predicted(density, start, 1e-4)

    def neutral_potential(self) -> float:
        """Uniform potential that makes the source's section neutral, V."""
        return neutral_potential(self.device, self.negf.basis.section)
