"""The equations of a point with its subbands frozen: what one NEGF solve can say of potentials near its own.

In φ + x the levels and shapes of the subbands of φ follow x to first order; the chains are solved at these levels, on
the energies of φ, without expansion (`Charge.respond_frozen`). What is not linear in a transistor is mostly in the
chains, a resonance that rises through a Fermi level above all; where the response is soft, an expansion in x holds over
a millivolt, and these equations over a kT or more. A pass of the chains costs, with its linear solve, about a quarter
of a NEGF solve with its correction (`benchmarks/passes.py`).
"""

from typing import Final

import numpy as np

from mlnegf._common import Floats
from mlnegf.scf.point import LOOSE, Point
from mlnegf.scf.steps import combined, limited

LONGEST: Final = 1.0
"""Longest move, kT/e, between two passes: beyond, occupations of a level change altogether."""
CLOSE: Final = 0.05
"""Step, kT/e, so small that another pass of the chains is not worth its price."""
SMALL: Final = 0.2
"""Step, kT/e, that is taken on trust where no pass follows."""
PASSES: Final = 8
KEPT: Final = 1e-3
"""Singular values below this share of the largest are dropped where steps are combined."""


def settle(point: Point, tolerance: float, longest: float) -> Floats:
    """Return the step x at which the frozen equations hold, (nx, cells), V, or come nearest to it.

    Newton's iteration with the point's own Jacobian, x → x − (∂R/∂φ)⁻¹ R_frozen(x), accelerated as Anderson's: each
    pass adds what it has found of the charge's curvature along the way.

    Parameters
    ----------
    point : Point
    tolerance : float
        Relative residual of the linear solve that the iteration begins with.
    longest : float
        Longest step of Newton's, kT/e, which is the answer where no pass comes nearer than the point itself.
    """
    kT, newton = point.thermal_voltage, point.correct(tolerance).step
    moves: list[Floats] = []
    steps: list[Floats] = []
    x, best = limited(newton, LONGEST * kT), limited(newton, longest * kT)
    nearest = float(abs(point.preconditioned(point.residual)).max())
    for _ in range(PASSES):
        residual = point.frozen_residual(x)
        if not np.isfinite(residual).all():
            break
        right = point.preconditioned(-residual)
        step = point.solve_linearised(right, LOOSE)
        size, left = float(abs(step).max()), float(abs(right).max())
        if size < CLOSE * kT:
            return x + step
        if left < nearest:
            # Where the response is soft a step may lead far off though little is left; it is taken if it is small.
            best, nearest = x + step if size < SMALL * kT else x, left
        moves.append(x)
        steps.append(step)
        x = x + limited(combined(moves, steps, KEPT) - x, LONGEST * kT)
    return best
