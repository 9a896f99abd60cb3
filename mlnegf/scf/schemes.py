"""Schemes of the outer loop: what potential to try next. Each is one class with one method, `propose`.

A scheme sees the points of this solve, oldest first, and returns the next potential. It keeps no state, so that one
object may serve any number of solves at once. A new scheme is a class, here or elsewhere:

    @dataclass(frozen=True)
    class Cautious(Scheme, name="cautious"):
        def propose(self, points):
            return (points[-1].potential + points[-1].image) / 2
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal, get_args

from mlnegf._common import Floats, Variant, hold, is_count, is_positive, require
from mlnegf.scf.frozen import settle
from mlnegf.scf.point import Point
from mlnegf.scf.steps import combined, limited

_require = partial(require, caller="scheme")


@dataclass(frozen=True, kw_only=True)
class Scheme(Variant, ABC):
    """A scheme of the outer loop.

    Parameters
    ----------
    memory : int
        How many points `propose` wants to see.
    patience : int, optional
        NEGF solves in which the least residual must halve; if it does not, the solve starts again from a safer place.
        None: never.
    """

    memory: int = 1
    patience: int | None = None

    def __post_init__(self) -> None:
        _check_counts(self)
        hold(self, int, "memory", *(["patience"] if self.patience is not None else []))

    @abstractmethod
    def propose(self, points: Sequence[Point]) -> Floats:
        """Return the next potential, V, from the last `memory` points, oldest first."""


def _check_counts(scheme: Any) -> None:
    memory, patience = scheme.memory, scheme.patience
    _require(is_count(memory), "memory", memory, "how many points it wants to see, 1 or more")
    _require(
        patience is None or is_count(patience), "patience", patience, "a number of NEGF solves, 1 or more, or None"
    )


Predictor = Literal["image", "shifted"]


def _check_predictor(predictor: object) -> None:
    known = isinstance(predictor, str) and predictor in get_args(Predictor)
    _require(known, "predictor", predictor, f"one of {get_args(Predictor)}")


@dataclass(frozen=True)
class Gummel(Scheme, name="gummel"):
    """A predictor, nothing else: robust near equilibrium, slow at high bias.

    Parameters
    ----------
    predictor : str
        "image", the exponential one, or "shifted", that of the local density of states.
    """

    predictor: Predictor = "image"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_predictor(self.predictor)

    def propose(self, points: Sequence[Point]) -> Floats:
        """Return what the predictor makes of the last point."""
        return _predicted(points[-1], self.predictor)


@dataclass(frozen=True)
class ShiftedGummel(Gummel, name="gummel-shift"):
    """The predictor of the local density of states, nothing else."""

    predictor: Predictor = "shifted"


def _predicted(point: Point, predictor: Predictor) -> Floats:
    return point.image if predictor == "image" else point.shifted


@dataclass(frozen=True)
class Anderson(Scheme, name="anderson"):
    """Anderson's acceleration of a predictor: the best linear combination of what it makes of the last few points.

    See `steps.combined`.

    Parameters
    ----------
    memory : int
        Points combined.
    condition : float
        Singular values below this share of the largest are dropped from the least squares.
    predictor : str
        As of `Gummel`.
    """

    memory: int = 8
    condition: float = 1e-4
    predictor: Predictor = "image"

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_predictor(self.predictor)
        good = is_positive(self.condition) and self.condition < 1
        _require(good, "condition", self.condition, "a share of the largest singular value, between 0 and 1")
        hold(self, float, "condition")

    def propose(self, points: Sequence[Point]) -> Floats:
        """Return the combination of images whose combined step is the smallest."""
        places = [point.potential for point in points]
        steps = [_predicted(point, self.predictor) - point.potential for point in points]
        return combined(places, steps, self.condition)


@dataclass(frozen=True)
class ShiftedAnderson(Anderson, name="anderson-shift"):
    """Anderson's acceleration of the predictor of the local density of states."""

    predictor: Predictor = "shifted"


@dataclass(frozen=True)
class Newton(Scheme, name="newton"):
    """Newton's method on the exact response, and Chebyshev's where the step is short enough for its second order.

    Parameters
    ----------
    tolerance : float
        Relative residual of each linear solve.
    longest : float
        A step is scaled down to this many kT/e at its largest cell: occupations change over kT, so that no
        linearisation holds farther.
    """

    tolerance: float = 1e-2
    longest: float = 4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        good = is_positive(self.tolerance) and self.tolerance < 1
        _require(good, "tolerance", self.tolerance, "a relative residual between 0 and 1")
        _require(is_positive(self.longest), "longest", self.longest, "a positive number of kT/e")
        hold(self, float, "tolerance", "longest")

    def propose(self, points: Sequence[Point]) -> Floats:
        """Return the last point plus its capped Newton step, and the second order if it is the smaller part."""
        point = points[-1]
        correction = point.correct(self.tolerance)
        second = point.second_order
        if second is not None and float(abs(second.step).max()) < correction.size / 2:
            return point.potential + correction.step + second.step
        return point.potential + limited(correction.step, self.longest * point.thermal_voltage)


@dataclass(frozen=True)
class FrozenSubbands(Newton, name="frozen"):
    """Newton's method, but each step solves the equations in which the subbands are frozen, not the linear ones.

    Where the response is soft, as with an open gate, Newton's steps overshoot and these do not; elsewhere they lead to
    the same place with a solve less, and cost passes of the chains. See `frozen`.
    """

    def propose(self, points: Sequence[Point]) -> Floats:
        """Return the last point plus the step at which its frozen equations hold."""
        return points[-1].potential + settle(points[-1], self.tolerance, self.longest)


@dataclass(frozen=True)
class Automatic(Scheme, name="auto"):
    """`FrozenSubbands`, guarded: the exponential predictor when the residual grows, a new start when it stalls.

    Parameters
    ----------
    growth : float
        Factor by which the residual may grow in one step.
    """

    newton: Newton = FrozenSubbands(longest=3.0)
    growth: float = 5.0
    memory: int = 2
    patience: int | None = 6

    def __post_init__(self) -> None:
        super().__post_init__()
        newton = as_scheme(self.newton)
        _require(newton.memory == 1, "newton", newton, "a scheme that sees one point, such as Newton()")
        _require(is_positive(self.growth), "growth", self.growth, "a positive factor")
        hold(self, float, "growth")

    def propose(self, points: Sequence[Point]) -> Floats:
        """Return Newton's proposal, or the image of the last point."""
        if len(points) > 1 and points[-1].distance > self.growth * points[-2].distance:
            return points[-1].image
        return self.newton.propose(points[-1:])


SCHEMES: Final[dict[str, type[Scheme]]] = Scheme.variants
"""Every scheme by name."""


def as_scheme(scheme: Any) -> Scheme:
    """Turn a name or a scheme into a scheme; what has `memory`, `patience` and `propose` is one."""
    if isinstance(scheme, str) and scheme in SCHEMES:
        return SCHEMES[scheme]()
    parts = ("memory", "patience", "propose")
    good = not isinstance(scheme, type) and all(hasattr(scheme, part) for part in parts) and callable(scheme.propose)
    require(good, "scheme", scheme, f"one of {sorted(SCHEMES)} or a Scheme object", caller="solve")
    _check_counts(scheme)
    found: Scheme = scheme
    return found
