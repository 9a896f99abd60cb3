"""The self-consistency problem of one device at one bias, every piece of work counted.

The unknown is the potential φ; the equation is R(φ) = L φ − b V_gate − (e/ε₀) v (N_D − n[φ]) = 0, with n[φ] from one
NEGF solve. All fields here are folded: (nx, cells), see `grid`.
"""

import time
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np
from scipy.sparse.linalg import LinearOperator, gmres

from mlnegf._common import Floats
from mlnegf.nanosheet.charge import Charge, Negf
from mlnegf.nanosheet.device import Device
from mlnegf.nanosheet.poisson import Density, Poisson, Screened
from mlnegf.nanosheet.semiclassical import neutral_potential, quasi_fermi_level, semiclassical_density
from mlnegf.scf.predictors import shifted_density

CERTAIN = 1e-3
"""Relative residual of the Krylov solver from which on a correction may certify."""


@dataclass
class Work:
    """What a solution cost.

    Attributes
    ----------
    charge_evaluations : int
        NEGF solves: potential to charge and current.
    linearised_applications : int
        Products of the exact response of NEGF with a change of potential.
    poisson_solves : int
        Linear Poisson solves; one multigrid cycle inside a Krylov iteration counts as one.
    seconds : float
        Wall time, inference included.
    """

    charge_evaluations: int = 0
    linearised_applications: int = 0
    poisson_solves: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class Correction:
    """Solution of the linearised problem at a point: φ + δ solves R(φ + δ) = 0 to first order.

    Attributes
    ----------
    tolerance : float
        Relative residual asked of the Krylov solver.
    step : ndarray, (nx, cells)
        δ = −(∂R/∂φ)⁻¹ R, V.
    error : float
        Estimated largest distance from the fixed point, V: ‖δ‖ + κ‖ρ‖ + 1.2 ‖δ‖²/kT + κ‖β‖, with ρ what the Krylov
        solver left, κ ≥ 1 the observed ‖δ‖ over the preconditioned residual, and β the next.
    basis_error : float
        ‖β‖, V: what transverse functions left out of the basis would change; 0 in a correction too rough to certify.
    current_error : float
        |∂I/∂φ · δ| / |I|, and the same of β.
    """

    tolerance: float
    step: Floats
    error: float
    basis_error: float
    current_error: float


@dataclass(frozen=True, eq=False)
class Problem:
    """A device at one bias.

    Attributes
    ----------
    gate, drain : float
        V, in the n-type picture, see `Device.mirror`.
    tolerance : float
        Of the potential, V, which the transverse basis is made for.
    work : Work
        Counts everything done through this problem.
    """

    device: Device
    gate: float
    drain: float
    filling: str = "sides"
    modes: str = "uncoupled"
    tolerance: float = 1e-3
    work: Work = field(default_factory=Work)
    started: float = field(default_factory=time.perf_counter)

    @property
    def negf(self) -> Negf:
        """The NEGF solver."""
        return _equations(self.device, self.filling, self.modes, self.tolerance)[0]

    @property
    def poisson(self) -> Poisson:
        """Poisson's equation."""
        return _equations(self.device, self.filling, self.modes, self.tolerance)[1]

    @property
    def gate_potential(self) -> float:
        """Potential on the oxide's surface, V."""
        return self.device.gate_potential(self.gate)

    def evaluate(self, potential: Floats) -> "Point":
        """One NEGF solve."""
        self.work.charge_evaluations += 1
        charge = self.negf(potential, self.drain)
        _require_finite(self, charge.density)
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
        density = semiclassical_density(self.device, self.negf.basis.section, level)
        return self.predicted(density, np.full(self.poisson.donors.shape, self.neutral_potential()), 1e-7)

    def neutral_potential(self) -> float:
        """Uniform potential that makes the source's section neutral, V."""
        return neutral_potential(self.device, self.negf.basis.section)


def _require_finite(problem: Problem, values: Floats) -> None:
    """Refuse a channel closed so long that waves under it leave the range of numbers."""
    if not np.isfinite(values).all():
        raise ValueError(
            f"solve: gate_length = {problem.device.gate_length} nm at gate = {problem.device.mirror * problem.gate} V: "
            "waves under the closed channel fall by more than 1e-300, which numbers cannot hold; expected a "
            "shorter gate or a more open channel."
        )


@lru_cache(maxsize=4)
def _equations(device: Device, filling: str, modes: str, tolerance: float) -> tuple[Negf, Poisson]:
    return Negf.of(device, filling, modes=modes, potential_tolerance=tolerance), Poisson.of(device)


@dataclass(frozen=True, eq=False)
class Point:
    """A potential whose charge is known: one NEGF solve and what follows from it.

    Attributes
    ----------
    potential : ndarray, (nx, cells)
        V.
    charge : Charge
    corrections : list of Correction
        Those worked out so far, the tightest last.
    """

    problem: Problem
    potential: Floats
    charge: Charge
    corrections: list[Correction] = field(default_factory=list)

    @cached_property
    def residual(self) -> Floats:
        """R(φ), V nm."""
        return self.problem.poisson.residual(self.potential, self.charge.density, self.problem.gate_potential)

    @cached_property
    def screened(self) -> Screened:
        """Poisson's operator screened by the local slope of the charge: the preconditioner."""
        return self.problem.poisson.screened(self.charge.slope)

    @cached_property
    def defect(self) -> Floats:
        """−(screened operator)⁻¹ R: the residual in volts."""
        self.problem.work.poisson_solves += 1
        return self.screened.solve(-self.residual, 1e-2)

    @property
    def distance(self) -> float:
        """Largest `defect`, V."""
        return float(abs(self.defect).max())

    @property
    def thermal_voltage(self) -> float:
        """kT/e, V."""
        return self.problem.device.thermal_energy

    @cached_property
    def image(self) -> Floats:
        """The potential that the exponential predictor makes of this charge: the Gummel map."""
        # A thousandth of the step is more than any scheme can use.
        return self.problem.exponential(self.charge.density, self.potential, max(1e-7, 1e-3 * self.distance))

    @cached_property
    def shifted(self) -> Floats:
        """The potential that the predictor of `shift` makes of this charge."""
        tolerance = max(1e-7, 1e-3 * self.distance)
        return self.problem.predicted(shifted_density(self.charge, self.potential), self.potential, tolerance)

    def correct(self, tolerance: float) -> Correction:
        """Solve ∂R/∂φ δ = −R by GMRES on matrix-free products, each followed by one multigrid cycle.

        What an earlier call found is the start of a tighter one, and the answer to a looser one.

        Parameters
        ----------
        tolerance : float
            Of the relative preconditioned residual.
        """
        if self.corrections and self.corrections[-1].tolerance <= tolerance:
            return self.corrections[-1]
        work, poisson, cycle = self.problem.work, self.problem.poisson, self.screened.cycle

        def apply(change: Floats) -> tuple[Floats, float]:
            density, current = self.charge.respond(change.reshape(self.potential.shape))
            _require_finite(self.problem, density)
            work.linearised_applications += 1
            work.poisson_solves += 1
            linear = (poisson.operator @ change.ravel()) + (poisson.source * density).ravel()
            return np.asarray(cycle.matvec(linear)), current

        right = cycle.matvec(-self.residual.ravel())
        operator = LinearOperator((right.size,) * 2, matvec=lambda change: apply(change)[0], dtype=np.float64)
        first = self.corrections[-1].step.ravel() if self.corrections else None
        step, _ = gmres(operator, right, x0=first, rtol=tolerance, restart=80, maxiter=2)
        image, current = apply(step)
        size, left = abs(step).max(), abs(right - image).max()
        amplification = max(1.0, size / max(abs(right).max(), 1e-300))
        error = size + amplification * left + 1.2 * size**2 / self.problem.device.thermal_energy
        basis_error, moved = self._left_out if tolerance <= CERTAIN else (0.0, 0.0)
        error = float(error + amplification * basis_error)
        relative = _relative(abs(current) + abs(moved), self.charge.current)
        found = Correction(tolerance, step.reshape(self.potential.shape), error, basis_error, relative)
        self.corrections.append(found)
        return self.corrections[-1]

    @cached_property
    def _left_out(self) -> tuple[float, float]:
        """Change of potential (V) and of current (A) by transverse functions that the basis leaves out."""
        density, current = self.charge.left_out(self.potential)
        shift = self.screened.solve(-self.problem.poisson.source * density, 1e-2)
        self.problem.work.poisson_solves += 1
        return float(abs(shift).max()), current + self.charge.respond(shift)[1]


def _relative(change: float, value: float) -> float:
    """Change over value; a change of less than a tenth of an electron per second is none."""
    return 0.0 if abs(change) < 1e-20 and value == 0.0 else abs(change / value) if value else float("inf")
