"""The potential that gives electrons without interaction a given density, and what it consists of.

Two electrons of a singlet share one orbital, φ = √(n/2), so that Kohn and Sham's equation (−½∂² + v)φ = εφ is solved
for the potential by hand, v = ε + φ″/2φ, with ε = −I, the ionisation energy, for v to vanish far away; less nuclei and
Hartree's ∫ n W it is the exchange–correlation potential. Where hardly an electron is, φ″/φ is a quotient of nothings:
there a search for v by its density, Newton's with the response of n to v, knows no better than its start.
"""

from typing import Any, Final

import numpy as np

from mlnegf._common import Floats, is_count, is_finite, is_positive, require
from mlnegf.line.grid import Line, checked

SMALLEST: Final = 1e-12
"""Square of a response that is none."""
FAINT: Final = 1e-6
"""Density below which a potential cannot be read off it, 1/a_B."""


def ground_density(line: Line, potential: Any, electrons: int = 2) -> Floats:
    """Return the density of one or two electrons without interaction, 1/a_B, (points,)."""
    require(is_count(electrons, 1, 2), "electrons", electrons, "1 or 2", "ground_density")
    (wave,) = checked(line, "ground_density").levels(potential)[1]
    return np.asarray(electrons * wave**2)


def hartree(line: Line, density: Any) -> Floats:
    """Return ∫ n(x′) W(x − x′) dx′, Hartree, (points,)."""
    return np.asarray(checked(line, "hartree").repulsion @ line.values("density", density, "hartree") * line.step)


def read_off(line: Line, density: Any, energy: float, electrons: int = 2) -> tuple[Floats, np.ndarray]:
    """Return v = ε + φ″/2φ of a density of one orbital, and where it is known.

    Parameters
    ----------
    line : Line
    density : array, (points,)
        1/a_B.
    energy : float
        ε, Hartree.
    electrons : int
        1 or 2.

    Returns
    -------
    potential : ndarray, (points,)
        Hartree; zero where it is not known.
    known : ndarray of bool, (points,)
        Where the density is not `FAINT`.
    """
    given = checked(line, "read_off").values("density", density, "read_off")
    require(bool((given >= 0).all()), "density", density, "numbers that are not negative", "read_off")
    require(is_finite(energy), "energy", energy, "a finite number of Hartree", "read_off")
    require(is_count(electrons, 1, 2), "electrons", electrons, "1 or 2", "read_off")
    orbital = np.sqrt(given / electrons)
    known = given > FAINT
    require(bool(known.any()), "density", density, f"more than {FAINT:g} somewhere", "read_off")
    bent = line.kinetic @ orbital
    return np.where(known, energy - bent / np.where(known, orbital, 1.0), 0.0), known


def searched(line: Line, density: Any, start: Any, steps: int = 30, damping: float = 1e-6) -> tuple[Floats, Floats]:
    """Find the potential of two electrons' density by Newton's method on n[v], damped as Levenberg and Marquardt do.

    δn/δv(x, x′) = 4 Σ_a φ₀φ_a(x) φ₀φ_a(x′)/(ε₀ − ε_a). A constant changes nothing, and is left where it was.

    Parameters
    ----------
    line : Line
    density : array, (points,)
        1/a_B.
    start : array, (points,)
        v to begin with, Hartree.
    steps : int
        Solutions, at most.
    damping : float
        Square of the response that is hardly followed, relative to the largest.

    Returns
    -------
    potential : ndarray, (points,)
    errors : ndarray, (solutions,)
        ∫ |n[v] − n| of every solution on the way.
    """
    wanted = checked(line, "searched").values("density", density, "searched")
    potential = line.values("start", start, "searched").copy()
    require(is_count(steps), "steps", steps, "a whole number, 1 or more", "searched")
    require(is_positive(damping), "damping", damping, "a positive number", "searched")
    best, least, errors = potential, np.inf, []
    for _ in range(int(steps)):
        energies, waves = line.levels(potential, line.points)
        missing = wanted - 2 * waves[0] ** 2
        error = float(abs(missing).sum() * line.step)
        errors.append(error)
        if error < least:
            best, least, damping = potential, error, damping / 3
        else:
            damping *= 10
        if error < 1e-12:
            break
        pairs = waves[0] * waves[1:]
        response = 4 * line.step * (pairs.T / (energies[0] - energies[1:])) @ pairs
        square = response @ response
        held = damping * max(square.trace() / line.points, SMALLEST)
        step = np.linalg.solve(square + held * np.eye(line.points), response @ missing)
        potential = best + step if error <= least else best + step / 2
    return best, np.array(errors)
