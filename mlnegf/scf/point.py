"""A potential whose charge is known, and what follows from it: residual, predictions, Newton's correction."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.sparse.linalg import LinearOperator, gmres

from mlnegf._common import Floats
from mlnegf.nanosheet.charge import Charge
from mlnegf.nanosheet.poisson import Screened
from mlnegf.scf.predictors import shifted_density

if TYPE_CHECKING:
    from mlnegf.scf.problem import Problem


CERTAIN: Final = 1e-3
"""Relative residual of the Krylov solver from which on a correction may certify."""


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

    problem: "Problem"
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
            require_finite(self.problem, density)
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
        return found

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


def require_finite(problem: "Problem", values: Floats) -> None:
    """Refuse a channel closed so long that waves under it leave the range of numbers."""
    if not np.isfinite(values).all():
        raise ValueError(
            f"solve: gate_length = {problem.device.gate_length} nm at gate = {problem.bias[0]} V: "
            "waves under the closed channel fall by more than 1e-300, which numbers cannot hold; expected a "
            "shorter gate or a more open channel."
        )
