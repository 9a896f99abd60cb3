"""Waves that move: i ∂ψ/∂t = [−½ ∂²/∂x² + v(x, t)] ψ, in closed form for an oscillator, and step by step for any v."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from scipy.special import eval_hermite, gammaln

from mlnegf._common import Complexes, Floats, as_array, is_count, is_positive, items, reals, require
from mlnegf.line.grid import LARGEST, Line, checked

HIGHEST: Final = 60
"""Level of an oscillator."""


def oscillator(level: int, x: Any, frequency: Any = 1.0) -> Floats:
    """Return the wave of an oscillator's level at points, of any shape that `x` and `frequency` make together."""
    require(is_count(level, 0, HIGHEST), "level", level, f"a whole number from 0 to {HIGHEST}", "oscillator")
    places, omega = _numbers("x", x), _numbers("frequency", frequency)
    require(bool((omega > 0).all()), "frequency", frequency, "positive numbers", "oscillator")
    require(_fit(places, omega), "frequency", frequency, f"one, or as many as x, {np.shape(places)}", "oscillator")
    scaled = np.sqrt(omega) * places
    size = (omega / np.pi) ** 0.25 * np.exp(-0.5 * (level * np.log(2) + gammaln(level + 1)) - scaled**2 / 2)
    return np.asarray(size * eval_hermite(level, scaled))


def _fit(one: Any, other: Any) -> bool:
    """Say whether numbers go together, point by point."""
    sides = zip(np.shape(one)[::-1], np.shape(other)[::-1], strict=False)
    return all(1 in pair or pair[0] == pair[1] for pair in sides)


def _numbers(name: str, given: Any) -> Any:
    """Check real numbers of any shape."""
    values = as_array(given)
    good = values is not None and values.dtype.kind in "fiu" and values.size > 0
    words = f"numbers, none beyond {LARGEST:g}"
    require(good, name, given, words, "oscillator")
    assert values is not None
    require(bool((abs(values.astype(float)) <= LARGEST).all()), name, given, words, "oscillator")
    return np.asarray(values, dtype=float)


def superposed(levels: Sequence[int], x: Any, t: Any, frequency: Any = 1.0) -> Complexes:
    """Return Σ φ_n(x) e^{−i(n + ½)ωt}/√count of an oscillator."""
    known = items(levels, int)
    require(bool(known), "levels", levels, "one level or more", "superposed")
    places, times, omega = _numbers("x", x), _numbers("t", t), _numbers("frequency", frequency)
    fits = _fit(times, places) and _fit(times, omega)
    require(fits, "t", t, f"one, or as many as x, {places.shape}", "superposed")
    waves = [oscillator(n, places, omega) * np.exp(-1j * (n + 0.5) * omega * times) for n in known or []]
    return np.asarray(sum(waves) / np.sqrt(len(levels)))


def carried(
    line: Line, start: Any, potential: Callable[[float], Floats], duration: float, steps: int, kept: int = 1
) -> Complexes:
    """Carry a wave through time: (1 + iHΔ/2) ψ⁺ = (1 − iHΔ/2) ψ, H in the middle of the step (Crank and Nicolson).

    Parameters
    ----------
    line : Line
    start : array, (points,)
        ψ at t = 0.
    potential : callable
        v(x) at a time, Hartree, (points,).
    duration : float
        In atomic units, 24.2 as.
    steps : int
    kept : int
        Parts the time is divided in; ψ is returned at the end of each.

    Returns
    -------
    ndarray, (kept + 1, points)
        From t = 0 on; the norm is kept to rounding, the error falls as the square of a step.
    """
    checked(line, "carried")
    require(callable(potential), "potential", potential, "a function of time", "carried")
    given = as_array(start)
    words = f"numbers of shape ({line.points},), none beyond {LARGEST:g}"
    good = given is not None and given.dtype.kind in "fiuc" and given.shape == (line.points,)
    require(good, "start", start, words, "carried")
    assert given is not None
    require(bool((abs(given.astype(complex)) <= LARGEST).all()), "start", start, words, "carried")
    require(is_positive(duration), "duration", duration, "a positive number", "carried")
    require(is_count(steps), "steps", steps, "a whole number, 1 or more", "carried")
    require(is_count(kept, 1, steps) and steps % kept == 0, "kept", kept, f"a divisor of {steps} steps", "carried")
    wave, step = given.astype(complex), float(duration) / int(steps)
    found = [wave]
    before: Floats | None = None
    for n in range(int(steps)):
        now = reals(potential((n + 0.5) * step), 1)
        require(
            now is not None and now.shape == wave.shape, "potential", now, "finite numbers of the points", "carried"
        )
        assert now is not None
        if before is None or not np.array_equal(now, before):
            half = 0.5j * step * (line.kinetic + np.diag(now))
            forward = np.linalg.solve(np.eye(line.points) + half, np.eye(line.points) - half)
            before = now
        wave = forward @ wave
        if (n + 1) % (steps // kept) == 0:
            found.append(wave)
    return np.array(found)
