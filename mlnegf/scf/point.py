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


ROUGH: Final = 1e-2
"""Relative residual of the Krylov solver that a certificate begins with."""
LOOSE: Final = 0.1
"""That where a part is asked that is small itself."""
TIGHT: Final = 1e-4
"""That beyond which none need go."""
REACH: Final = 1.0
"""Longest step, kT/e, whose second order is asked: occupations change over kT."""
MARGIN: Final = 2.0
"""How much the error bound takes the second order for: what comes after it is of the third."""
SHAPES: Final = 0.08
"""Part of ‖δ‖²/kT added for the shapes of subbands, which the second order knows to first order only."""
SHAPES_OF_CURRENT: Final = 1e-3
"""The same of the current, relative: part of ‖δ‖/kT."""


@dataclass(frozen=True, eq=False)
class Correction:
    """Solution of the linearised problem at a point: φ + δ solves R(φ + δ) = 0 to first order.

    Attributes
    ----------
    tolerance : float
        Relative residual asked of the Krylov solver.
    step : ndarray, (nx, cells)
        δ = −(∂R/∂φ)⁻¹ R, V.
    density : ndarray, (nx, cells)
        ∂n/∂φ δ, nm⁻³.
    current : float
        ∂I/∂φ δ, A.
    left : float
        κ‖ρ‖, V: what the Krylov solver left, with κ ≥ 1 the observed ‖δ‖ over the preconditioned residual.
    amplification : float
        κ.
    """

    tolerance: float
    step: Floats
    density: Floats
    current: float
    left: float
    amplification: float

    @property
    def size(self) -> float:
        """‖δ‖, the largest step, V."""
        return float(abs(self.step).max())


@dataclass(frozen=True, eq=False)
class SecondOrder:
    """What the second order adds to a correction.

    Attributes
    ----------
    step : ndarray, (nx, cells)
        ε = −(∂R/∂φ)⁻¹ (R(φ + δ) − R(φ) − ∂R/∂φ δ), V, in which subbands keep their shapes.
    current : float
        The same of the current, and ∂I/∂φ ε: A.
    left : float
        κ‖ρ‖ of its linear solve, V, see `Correction`.
    """

    step: Floats
    current: float
    left: float


@dataclass(frozen=True)
class Errors:
    """Estimated errors of a point, or of a point with its correction.

    Attributes
    ----------
    potential : float
        Largest distance from the fixed point, V.
    current : float
        Relative.
    linear : float
        The part of `potential` that a tighter linear solve would lessen, V.
    """

    potential: float
    current: float
    linear: float


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

    def _respond(self, change: Floats) -> tuple[Floats, float]:
        """Return ∂n/∂φ δ and ∂I/∂φ δ, and count the product."""
        self.problem.work.linearised_applications += 1
        density, current = self.charge.respond(change)
        require_finite(self.problem, density)
        return density, current

    def _apply(self, change: Floats) -> tuple[Floats, Floats, float]:
        """Return P⁻¹ ∂R/∂φ δ, flat, with P⁻¹ one multigrid cycle, and ∂n/∂φ δ and ∂I/∂φ δ."""
        poisson = self.problem.poisson
        density, current = self._respond(change.reshape(self.potential.shape))
        linear = (poisson.operator @ change.ravel()) + (poisson.source * density).ravel()
        return self.preconditioned(linear).ravel(), density, current

    def preconditioned(self, residual: Floats) -> Floats:
        """Return P⁻¹ of a residual, V nm, with P⁻¹ one multigrid cycle of the screened operator: V."""
        self.problem.work.poisson_solves += 1
        return np.asarray(self.screened.cycle.matvec(residual.ravel())).reshape(self.potential.shape)

    def applied(self, change: Floats, transposed: bool = False) -> Floats:
        """Return P⁻¹ ∂R/∂φ δ, or P⁻¹ (∂R/∂φ)ᵀ δ, P being symmetric: (nx, cells), V."""
        poisson = self.problem.poisson
        field = change.reshape(self.potential.shape)
        if not transposed:
            return self._apply(field)[0].reshape(field.shape)
        self.problem.work.linearised_applications += 1
        linear = (poisson.operator @ field.ravel()).reshape(field.shape)
        return self.preconditioned(linear + self.charge.respond_transposed(poisson.source * field, 0.0))

    def solve_linearised(
        self, right: Floats, tolerance: float, start: Floats | None = None, transposed: bool = False
    ) -> Floats:
        """Solve P⁻¹ ∂R/∂φ δ = `right`, (nx, cells), V, by GMRES on matrix-free products.

        Parameters
        ----------
        right : ndarray, (nx, cells)
            `preconditioned`.
        tolerance : float
            Of the relative residual.
        start : ndarray, (nx, cells), optional
            V; where to start.
        transposed : bool
            Solve with (∂R/∂φ)ᵀ.

        Returns
        -------
        ndarray, (nx, cells)
            δ, V.
        """
        begun = None if start is None else start.ravel()
        operator = LinearOperator(
            (right.size,) * 2, matvec=lambda change: self.applied(change, transposed).ravel(), dtype=np.float64
        )
        found = gmres(operator, right.ravel(), x0=begun, rtol=tolerance, restart=80, maxiter=2)[0]
        return np.asarray(found.reshape(right.shape))

    def respond_frozen(self, change: Floats) -> tuple[Floats, float]:
        """Return n(φ + δ) − n(φ) and the same of the current, subbands frozen, and count the pass; see `frozen`."""
        self.problem.work.chain_passes += 1
        return self.charge.respond_frozen(change)

    def frozen_residual(self, change: Floats) -> Floats:
        """Return R(φ + δ), V nm, with the subbands frozen; see `frozen`."""
        density, poisson = self.respond_frozen(change)[0], self.problem.poisson
        linear = (poisson.operator @ change.ravel()).reshape(change.shape)
        return np.asarray(self.residual + linear + poisson.source * density)

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
        right = self.preconditioned(-self.residual)
        step = self.solve_linearised(right, tolerance, self.corrections[-1].step if self.corrections else None)
        image, density, current = self._apply(step)
        amplification = max(1.0, abs(step).max() / max(abs(right).max(), 1e-300))
        left = float(amplification * abs(right - image.reshape(right.shape)).max())
        found = Correction(tolerance, step, density, current, left, float(amplification))
        self.corrections.append(found)
        return found

    @cached_property
    def second_order(self) -> SecondOrder | None:
        """What the second order adds to the correction; None where it is too long for an expansion.

        It takes one pass of the chains at the energies of this solve, and a few products. A tighter correction, worked
        out later, differs by a hundredth: its second order is the same to that.
        """
        correction = self.correct(ROUGH)
        if correction.size > REACH * self.thermal_voltage:
            return None
        density, current = self.respond_frozen(correction.step)
        if not np.isfinite(density).all():
            return None
        right = self.preconditioned(-self.problem.poisson.source * (density - correction.density))
        step = self.solve_linearised(right, LOOSE)
        image, _, change = self._apply(step)
        left = correction.amplification * float(abs(right - image.reshape(right.shape)).max())
        return SecondOrder(step, current - correction.current + change, left)

    def errors(self, corrected: bool) -> Errors:
        """Estimate the errors of this point, or of the point with its tightest correction.

        Of the point itself: ‖δ‖ + 1.2 ‖δ‖²/kT. With its correction: twice ‖ε‖, the second order, plus a little for the
        shapes of subbands, which it knows to first order. To both is added what the Krylov solvers and the basis left,
        and what the response of coupled modes misses.
        """
        correction = self.correct(ROUGH)
        basis, moved = self.left_out
        missed = self.charge.missed
        rest = correction.left + correction.amplification * basis + missed * correction.size
        square = correction.size**2 / self.thermal_voltage
        current = self.charge.current
        second = self.second_order if corrected else None
        if second is None:
            # A step too long for an expansion is no correction.
            change = (1 + missed) * abs(correction.current) + abs(moved)
            return Errors(correction.size + 1.2 * square + rest, _relative(change, current), correction.left)
        potential = MARGIN * float(abs(second.step).max()) + second.left + SHAPES * square + rest
        share = correction.left / max(correction.size, 1e-300) + missed
        change = MARGIN * abs(second.current) + share * abs(correction.current) + abs(moved)
        shapes = SHAPES_OF_CURRENT * correction.size / self.thermal_voltage
        return Errors(potential, _relative(change, current + correction.current) + shapes, correction.left)

    @cached_property
    def left_out(self) -> tuple[float, float]:
        """Change of potential (V) and of current (A) by transverse functions that the basis leaves out."""
        density, current = self.charge.left_out(self.potential)
        shift = self.screened.solve(-self.problem.poisson.source * density, 1e-2)
        self.problem.work.poisson_solves += 1
        return float(abs(shift).max()), current + self._respond(shift)[1]


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
