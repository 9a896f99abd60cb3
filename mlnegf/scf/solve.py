"""The self-consistent solution of a device at one bias."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from threadpoolctl import ThreadpoolController

from mlnegf._common import Floats, is_finite, require
from mlnegf.nanosheet.device import HOTTEST, Device
from mlnegf.scf.guesses import Guess, Semiclassical, as_guess
from mlnegf.scf.loop import CERTIFICATE, Iteration, Limits, Run, from_off_state, from_warmth, iterate
from mlnegf.scf.problem import Point, Problem, Work
from mlnegf.scf.schemes import SCHEMES, Scheme
from mlnegf.transport.bound_states import FILLINGS
from mlnegf.units import PER_CUBIC_CENTIMETRE

_require = partial(require, caller="solve")

_THREADS = ThreadpoolController()
# The arrays are small: a second thread gains nothing alone and loses a factor beside another process.


@dataclass(frozen=True, eq=False)
class Solution:
    """Potential, charge and current of one and the same NEGF solve, and how good they are.

    Attributes
    ----------
    gate, drain : float
        V.
    converged : bool
        Whether both error estimates are under their tolerances.
    status : str
        One word, and one sentence that says why and what to try.
    error_estimate : float
        Estimated largest distance of the potential from the fixed point, V; see `problem.Correction`.
    current_error : float
        Relative change of the current under the same correction.
    modes : str
        "uncoupled" or "coupled".
    work : Work
        What it cost.
    history : tuple of Iteration
        One for each NEGF solve of the outer loop, at the device's own temperature and on the way there.
    warnings : tuple of str
        What the equations cannot tell: contacts that are not flat, wells below a lead's edge, charge left out, a guess
        not used.
    potential, charge : ndarray, (nx, ny, nz)
        On `device.grid`: V; electrons (holes if p-type) per cm³.
    current : float
        Into the drain, A: positive at a positive drain voltage.
    """

    device: Device
    gate: float
    drain: float
    converged: bool
    status: str
    error_estimate: float
    current_error: float
    modes: str
    work: Work
    history: tuple[Iteration, ...]
    warnings: tuple[str, ...]
    potential: Floats
    charge: Floats
    current: float

    @property
    def negf_solves(self) -> int:
        """NEGF solves, the first and the certifying one included."""
        return self.work.charge_evaluations


def solve(
    device: Device,
    gate: float,
    drain: float,
    guess: Any = "semiclassical",
    scheme: str | Scheme = "auto",
    tolerance: float = 1e-3,
    current_tolerance: float = 1e-2,
    filling: str = "sides",
    modes: str = "uncoupled",
    max_solves: int = 100,
) -> Solution:
    """Solve NEGF and Poisson self-consistently at one bias.

    Parameters
    ----------
    device : Device
    gate, drain : float
        V; the source is at 0.
    guess : str, Solution, ndarray or Guess
        "semiclassical", "flat", a solution or a potential (nx, ny, nz) in V to start from, or any object of
        `mlnegf.scf.guesses`.
    scheme : str or Scheme
        "auto", "gummel", "anderson", "newton", or any object of `mlnegf.scf.schemes`.
    tolerance : float
        Of the estimated error of the potential, V.
    current_tolerance : float
        Of the estimated relative error of the current.
    filling : str
        How states bound below both contacts are filled, a name in `bound_states.FILLINGS`; coupled modes know
        "threshold" alone.
    modes : str
        "uncoupled", or "coupled" where subbands mix along x: ten to thirty times the work, see `coupled`.
        `coupling` says what it would change.
    max_solves : int
        NEGF solves allowed.

    Returns
    -------
    Solution
        Also when it did not converge, then the best point of all: ask `converged`, read `status`.

    Raises
    ------
    ValueError
        For an argument out of range, naming it, its value and what to try.
    """
    for name, value in (("gate", gate), ("drain", drain)):
        _require(is_finite(value) and abs(value) <= 2.0, name, value, "volts between −2 and 2")
    for name, value in (("tolerance", tolerance), ("current_tolerance", current_tolerance)):
        _require(is_finite(value) and value > 0, name, value, "a positive number")
    _require(
        isinstance(max_solves, (int, np.integer)) and max_solves >= 1,
        "max_solves",
        max_solves,
        "a whole number, 1 or more",
    )
    _require(filling in FILLINGS, "filling", filling, f"one of {sorted(FILLINGS)}")
    _require(modes in ("uncoupled", "coupled"), "modes", modes, "'uncoupled' or 'coupled'")
    _require(
        modes == "uncoupled" or device.mean_free_path is None,
        "modes",
        modes,
        "'uncoupled', which alone knows a mean_free_path",
    )
    if isinstance(scheme, str):
        _require(scheme in SCHEMES, "scheme", scheme, f"one of {sorted(SCHEMES)} or a Scheme object")
        scheme = SCHEMES[scheme]
    problem = Problem(device, device.mirror * float(gate), device.mirror * float(drain), filling, modes, tolerance)
    with _THREADS.limit(limits=1):
        run = _run(problem, as_guess(guess), scheme, Limits(tolerance, current_tolerance, max_solves, scheme.patience))
        return _solution(run)


@dataclass(frozen=True)
class Coupling:
    """What coupled modes would change in a solution of uncoupled ones, to first order.

    Attributes
    ----------
    potential : float
        Largest change of the self-consistent potential, V.
    current : float
        Relative change of the current, that of the potential included.
    """

    potential: float
    current: float


def coupling(solution: Solution) -> Coupling:
    """Say what the coupling of modes, neglected in a solution, would have changed.

    It takes one NEGF solve with coupled modes and one without.
    """
    device = solution.device
    require(
        device.mean_free_path is None,
        "mean_free_path",
        device.mean_free_path,
        "None: coupled modes do not know scattering",
        caller="coupling",
    )
    bias = device.mirror * solution.gate, device.mirror * solution.drain
    with _THREADS.limit(limits=1):
        potential = device.mirror * device.grid.fold(solution.potential)
        alone, mixed = (
            Problem(device, *bias, "threshold", modes).evaluate(potential) for modes in ("uncoupled", "coupled")
        )
        before, after = (point.correct(1e-3) for point in (alone, mixed))
        step = after.step - before.step
        current = alone.charge.current
        _, moved = alone.charge.respond(step)
        return Coupling(float(abs(step).max()), (mixed.charge.current + moved) / current - 1 if current else 0.0)


def _run(problem: Problem, guess: Guess, scheme: Scheme, limits: Limits) -> Run:
    """Follow the guess; if it leads nowhere and the scheme may, start again from ever safer places.

    None but the last may spend more than half of the solves that are left.
    """
    run = iterate(problem, guess(problem), scheme, limits)
    ways: dict[str, Callable[[Limits], Run]] = {
        "semiclassically": lambda some: iterate(problem, Semiclassical()(problem), scheme, some),
        "from the closed channel, raising the gate voltage": lambda some: from_off_state(problem, scheme, some),
        f"at {HOTTEST:g} K, cooling the device": lambda some: from_warmth(problem, scheme, some),
    }
    if isinstance(guess, Semiclassical):
        del ways["semiclassically"]
    for left, (name, way) in zip(range(len(ways) - 1, -1, -1), ways.items(), strict=True):
        rest = limits.solves - problem.work.charge_evaluations
        if limits.patience is None or run.converged or rest <= 0:
            break
        note = f"the start led nowhere in {len(run.history)} NEGF solves; started again, {name}"
        again = way(replace(limits, solves=limits.solves - (rest // 2 if left else 0)))
        better = again.converged or again.point.distance <= run.point.distance
        run = replace(
            again,
            point=again.point if better else run.point,
            history=run.history + again.history,
            notes=(*run.notes, note, *again.notes),
        )
    return run


def _solution(run: Run) -> Solution:
    point, problem = run.point, run.point.problem
    correction = point.correct(CERTIFICATE)
    solves = problem.work.charge_evaluations
    found = f"estimated errors {correction.error * 1e3:.2g} mV and {correction.current_error:.1%} of the current"
    status = {
        "converged": f"converged: {found} after {solves} NEGF solves.",
        "over": f"unconverged: {found} after all {solves} NEGF solves; try a nearer guess, or scheme='auto'.",
        "stalled": f"stalled: {found}, no better in {solves} NEGF solves; come from a nearby bias, with sweep.",
        "diverged": f"diverged: no next potential after {solves} NEGF solves; try a nearer guess or scheme='auto'.",
    }[run.ended]
    problem.work.seconds = time.perf_counter() - problem.started
    unfold, mirror = problem.device.grid.unfold, problem.device.mirror
    return Solution(
        device=problem.device,
        gate=mirror * problem.gate,
        drain=mirror * problem.drain,
        converged=run.converged,
        status=status,
        error_estimate=correction.error,
        current_error=correction.current_error,
        modes=problem.modes,
        work=problem.work,
        history=run.history,
        warnings=(*run.notes, *_warnings(point)),
        potential=mirror * unfold(point.potential),
        charge=unfold(point.charge.density) / PER_CUBIC_CENTIMETRE,
        current=mirror * point.charge.current,
    )


def _warnings(point: Point, flat: float = 0.01, deep: float = 0.05) -> Iterator[str]:
    """Say what marks the branch that equilibrium does not lead to, and of charge that was lost; limits in eV."""
    charge, device = point.charge, point.problem.device
    lowest = charge.chains.onsite.numpy()[charge.chains.onsite[:, 0].argmin()]
    away = max(1, round(1.0 / device.grid.dx))
    ends = (
        ("source", lowest[: round(device.source_length / device.grid.dx)]),
        ("drain", lowest[::-1][: round(device.drain_length / device.grid.dx)]),
    )
    for name, energy in ends:
        slope, depth = abs(energy[0] - energy[min(away, len(energy) - 1)]), energy[0] - energy.min()
        if slope > flat:
            yield (
                f"the {name} is not flat: its lowest subband moves {slope * 1e3:.0f} meV in 1 nm; "
                f"lengthen {name}_length"
            )
        if depth > deep:
            yield (
                f"a well {depth * 1e3:.0f} meV below the lead's edge lies in the {name}: this may not be the solution "
                "that equilibrium leads to; come from a lower bias"
            )
    chains, contacts = charge.chains, charge.contacts
    band_top = float((torch.minimum(*chains.edges) + 4 * chains.hopping).min())
    filled = max(contacts.source, contacts.drain) + 8 * contacts.kT
    if band_top < filled:
        yield (
            f"the lattice has no states of the heaviest subband above {band_top:.2f} eV, yet contacts are filled up to "
            f"{filled:.2f} eV: charge is lost; use a smaller spacing[0] than {device.grid.dx} nm"
        )
    if (missed := max(charge.injected.unresolved, charge.single.unresolved)) > 0:
        yield f"the energy integral missed its tolerance {missed:.1g} times over"
    if (lost := point.correct(CERTIFICATE).basis_error) > 0.2 * point.problem.tolerance:
        yield (
            f"transverse functions left out of the basis would move the potential by {lost * 1e3:.2g} mV; a smaller "
            "tolerance chooses a larger basis"
        )
    if (overlap := charge.continuity) < 0.7:
        yield (
            f"a subband changes its shape within one step (overlap {overlap:.2f}): modes couple there, which uncoupled "
            "modes do not know, and the error estimate does not hold"
        )
