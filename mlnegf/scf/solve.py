"""The self-consistent solution of a device at one bias."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from mlnegf._common import Floats, is_positive, plain, require
from mlnegf.nanosheet.device import HOTTEST, Device
from mlnegf.runs.threads import one_thread
from mlnegf.scf.cautions import cut_by_lattice, lost, slopes, wells
from mlnegf.scf.equations import Equations, number
from mlnegf.scf.guesses import Semiclassical, Start, as_guess, start_of
from mlnegf.scf.loop import Attempt, Iteration, Limits, Outcome, from_off_state, from_warmth, iterate
from mlnegf.scf.problem import Problem, Work
from mlnegf.scf.schemes import Scheme, as_scheme
from mlnegf.transport.band_limit import band_limit
from mlnegf.units import PER_CUBIC_CENTIMETRE

_require = partial(require, caller="solve")


@dataclass(frozen=True, eq=False)
class Solution:
    """Potential, charge and current of one and the same NEGF solve and its linear response, and how good they are.

    Attributes
    ----------
    gate, drain : float
        V.
    outcome : Outcome
        How it ended; `converged` asks for one of them, and `status` puts it into words.
    guess_used : bool
        Whether the guess asked for has led here: not, when it stood aside, or was dropped for a safer start.
    error_estimate : float
        Estimated largest distance of the potential from the fixed point, V; see `point.Correction`.
    current_error : float
        Relative change of the current under the same correction, and what the end of the lattice's band costs.
    filling : str
        Rule by which bound states were filled.
    modes : str
        "uncoupled" or "coupled".
    tolerance : float
        Of the potential, V, that the transverse basis was made for; see `Equations`.
    work : Work
        What it cost.
    history : tuple of Iteration
        One for each NEGF solve of the outer loop, at the device's own temperature and on the way there.
    warnings : tuple of str
        What the equations cannot tell: contacts that are not flat, wells below a lead's edge, charge left out, a guess
        not used.
    marked : bool
        Whether a deep well in a contact marks a solution that equilibrium may not lead to.
    corrected : bool
        Whether potential, charge and current are those of the last point with its correction, or of the point itself,
        as of a solve that did not converge.
    potential, charge : ndarray, (nx, ny, nz)
        On `device.grid`: V; electrons (holes if p-type) per cm³.
    current : float
        Into the drain, A: positive at a positive drain voltage.
    """

    device: Device
    gate: float
    drain: float
    outcome: Outcome
    guess_used: bool
    error_estimate: float
    current_error: float
    filling: str
    modes: str
    tolerance: float
    work: Work
    history: tuple[Iteration, ...]
    warnings: tuple[str, ...]
    marked: bool
    corrected: bool
    potential: Floats
    charge: Floats
    current: float

    @property
    def converged(self) -> bool:
        """Whether both error estimates are under their tolerances."""
        return self.outcome is Outcome.converged

    @property
    def status(self) -> str:
        """One word, and one sentence that says why and what to try."""
        if self.outcome is Outcome.failed:
            return f"failed: {'; '.join(self.warnings)}"
        share = f"{self.current_error:.1%}" if self.current_error < 10 else f"{self.current_error:.1g} times"
        found = (
            f"estimated errors {self.error_estimate * 1e3:.2g} mV and {share} of the current "
            f"after {self.negf_solves} NEGF solves"
        )
        return f"{self.outcome.name}: {found}" + ("." if self.converged else f"; {self.outcome.value}.")

    @property
    def negf_solves(self) -> int:
        """NEGF solves, the first and the certifying one included."""
        return self.work.charge_evaluations


def solve(
    device: Device | Equations,
    gate: float,
    drain: float,
    guess: Any = "semiclassical",
    scheme: str | Scheme = "auto",
    tolerance: float = 1e-3,
    current_tolerance: float = 1e-2,
    filling: str | None = None,
    modes: str | None = None,
    max_solves: int = 100,
    corrected: bool = True,
) -> Solution:
    """Solve NEGF and Poisson self-consistently at one bias.

    Parameters
    ----------
    device : Device or Equations
        Or its equations, `Equations.of(device)`, where many biases are solved one by one: they are made only once then.
    gate, drain : float
        V; the source is at 0.
    guess : str, Solution, ndarray or Guess
        "semiclassical", "flat", "learned", "auto" for the learned one where it was trained and the semiclassical one
        elsewhere, a solution or a potential (nx, ny, nz) in V to start from, or any object of `mlnegf.scf.guesses`.
    scheme : str or Scheme
        "auto", "gummel", "anderson", "newton", "frozen", or any object of `mlnegf.scf.schemes`.
    tolerance : float
        Of the estimated error of the potential, V.
    current_tolerance : float
        Of the estimated relative error of the current.
    filling : str, optional
        How states bound below both contacts are filled, a name in `bound_states.FILLINGS`; unless given, that of
        `Negf`, and "threshold" in coupled modes, which know no other.
    modes : str, optional
        "uncoupled", also unless given, or "coupled" where subbands mix along x: ten to thirty times the work, see
        `coupled`. `coupling` says what it would change.
    max_solves : int
        NEGF solves allowed.
    corrected : bool
        Whether to return the last point with its correction, φ + δ, n + ∂n/∂φ δ and I + ∂I/∂φ δ, all of one linear
        solve there; or else the point itself, which takes a NEGF solve more to come as near.

    Returns
    -------
    Solution
        Also when it did not converge, then the best point of all: ask `converged`, read `status`.

    Raises
    ------
    ValueError
        For an argument out of range, naming it, its value and what to try.
    """
    limits = limits_of(tolerance, current_tolerance, max_solves, corrected)
    chosen, start = as_scheme(scheme), as_guess(guess)
    problem = Problem.of(device, gate, drain, filling, modes, limits.tolerance)
    with one_thread():
        return _solution(_follow(problem, start, chosen, limits), limits)


def solve_from_off_state(
    device: Device | Equations, gate: float, drain: float, tolerance: float = 1e-3, max_solves: int = 200
) -> Solution:
    """Solve on the branch that equilibrium leads to: the gate voltage is raised from where the channel is closed.

    Slow and sure, for references; see `loop.from_off_state`.

    Parameters
    ----------
    device : Device or Equations
    gate, drain, tolerance : float
        V, as of `solve`.
    max_solves : int
        NEGF solves allowed, those on the way included.

    Returns
    -------
    Solution
        As of `solve`; `history` holds the way as well.
    """
    limits = limits_of(tolerance, 1e-2, max_solves)
    problem = Problem.of(device, gate, drain, tolerance=tolerance)
    with one_thread():
        return _solution(from_off_state(problem, as_scheme("auto"), limits), limits)


def limits_of(tolerance: float, current_tolerance: float, max_solves: int, corrected: bool = True) -> Limits:
    """Check when to stop."""
    errors = []
    for name, value in (("tolerance", tolerance), ("current_tolerance", current_tolerance)):
        _require(is_positive(value), name, value, "a positive number")
        errors.append(plain(value))
    solves = number(max_solves)
    _require(isinstance(solves, int) and solves >= 1, "max_solves", max_solves, "a whole number, 1 or more")
    _require(isinstance(corrected, (bool, np.bool_)), "corrected", corrected, "True or False")
    return Limits(errors[0], errors[1], int(solves or 1), bool(corrected))


def _follow(problem: Problem, guess: Callable[[Problem], Start], scheme: Scheme, limits: Limits) -> Attempt:
    """Follow the guess; if it leads nowhere and the scheme may, start again from ever safer places.

    None but the last may spend more than half of the solves that are left.
    """
    found = iterate(problem, start_of(guess, problem), scheme, limits)
    ways: dict[str, Callable[[Limits], Attempt]] = {
        "semiclassically": lambda some: iterate(problem, Semiclassical()(problem), scheme, some),
        "from the closed channel, raising the gate voltage": lambda some: from_off_state(problem, scheme, some),
        f"at {HOTTEST:g} K, cooling the device": lambda some: from_warmth(problem, scheme, some),
    }
    if isinstance(guess, Semiclassical):
        del ways["semiclassically"]
    for left, (name, way) in zip(range(len(ways) - 1, -1, -1), ways.items(), strict=True):
        rest = limits.solves - problem.work.charge_evaluations
        if scheme.patience is None or found.converged or rest <= 0:
            break
        note = f"the start led nowhere in {len(found.history)} NEGF solves; started again, {name}"
        again = way(replace(limits, solves=limits.solves - (rest // 2 if left else 0)))
        better = again.converged or again.point.distance <= found.point.distance
        found = replace(
            again,
            point=again.point if better else found.point,
            history=found.history + again.history,
            notes=(*found.notes, note, *again.notes),
            guess_used=found.guess_used and not better,
        )
    return found


def _solution(found: Attempt, limits: Limits) -> Solution:
    point, problem = found.point, found.point.problem
    errors = point.errors(found.corrected)
    lines = point.charge.lines
    lattice = band_limit(lines.chains, lines.contacts, lines.current)
    deep = tuple(wells(point))
    cut = found.converged and lattice.current > limits.current_tolerance
    gate, drain = problem.bias
    problem.work.seconds = time.perf_counter() - problem.started
    return Solution(
        device=problem.device,
        gate=gate,
        drain=drain,
        outcome=Outcome.coarse if cut else found.outcome,
        guess_used=found.guess_used,
        error_estimate=errors.potential,
        current_error=errors.current + lattice.current,
        filling=problem.equations.filling,
        modes=problem.equations.modes,
        tolerance=problem.equations.tolerance,
        work=problem.work,
        history=found.history,
        warnings=(*found.notes, *slopes(point), *deep, *lost(point), *cut_by_lattice(lattice)),
        marked=bool(deep),
        corrected=found.corrected,
        potential=problem.unfolded(found.potential),
        charge=problem.device.grid.unfold(found.density) / PER_CUBIC_CENTIMETRE,
        current=problem.own(found.current),
    )
