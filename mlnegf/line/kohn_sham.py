"""The potential that gives electrons without interaction a given density, and what it consists of.

Two electrons of a singlet share one orbital, φ = √(n/2), so that Kohn and Sham's equation (−½∂² + v)φ = εφ is solved
for the potential by hand, v = ε + φ″/2φ, with ε = −I, the ionisation energy, for v to vanish far away; less nuclei and
Hartree's ∫ n W it is the exchange–correlation potential. Where hardly an electron is, φ″/φ is a quotient of nothings:
there a search for v by its density, with the response of n to v, knows no better than its start.
"""

from typing import Any, Final

import numpy as np
from scipy.optimize import least_squares

from mlnegf._common import Floats, is_count, is_finite, is_positive, require
from mlnegf.line.grid import LARGEST, LEAST, Line, checked

FAINT: Final = 1e-6
"""Density below which a potential cannot be read off it, 1/a_B."""
MISSING: Final = 0.5
"""Electrons that noise may add to two or take from them."""


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


def searched(
    line: Line,
    density: Any,
    start: Any,
    solutions: int = 60,
    noise: float = 1.0,
    doubt: float | None = None,
    smooth: float = 0.0,
) -> tuple[Floats, Floats]:
    """Find the potential of two electrons' density by a trust region's least squares on n[v] − n.

    δn/δv(x, x′) = 4 Σ_a φ₀φ_a(x) φ₀φ_a(x′)/(ε₀ − ε_a). What changes nothing, a constant and all that lies where no
    electron is, is left as it was. With a doubt it is Σ (n[v] − n)²/noise² + (v − start)ᵀK⁻¹(v − start) that is made
    small, K being doubt² for each point by itself, or doubt² exp(−(x − x′)²/2 smooth²).

    Parameters
    ----------
    line : Line
    density : array, (points,)
        Of two electrons, 1/a_B; noise may have made it negative here and there.
    start : array, (points,)
        v to begin with, Hartree.
    solutions : int
        At most.
    noise : float
        Of the density, 1/a_B; tells something beside a doubt alone.
    doubt : float
        Of the start, Hartree; None: without end.
    smooth : float
        Length over which the start is wrong alike, a_B; 0: none.

    Returns
    -------
    potential : ndarray, (points,)
    errors : ndarray, (solutions,)
        Of every solution on the way, the integral of the difference of n[v] from n, either sign counted, electrons.
    """
    wanted = checked(line, "searched").values("density", density, "searched")
    count = float(wanted.sum() * line.step)
    require(abs(count - 2) < MISSING, "density", density, f"that of two electrons; {count:.3g} are in it", "searched")
    begin = line.values("start", start, "searched")
    require(is_count(solutions), "solutions", solutions, "a whole number, 1 or more", "searched")
    good = is_positive(noise) and LEAST <= noise <= LARGEST
    require(good, "noise", noise, f"a number from {LEAST:g} to {LARGEST:g}", "searched")
    good = doubt is None or (is_positive(doubt) and LEAST <= doubt <= LARGEST)
    require(good, "doubt", doubt, f"None, or a number from {LEAST:g} to {LARGEST:g}", "searched")
    good = is_finite(smooth) and 0 <= smooth <= line.half
    require(good, "smooth", smooth, f"a length from 0 to {line.half:g} a_B", "searched")
    held = _held(line, doubt, float(smooth))
    errors: list[float] = []
    solved: dict[str, Floats] = {}

    def missing(potential: Floats) -> Floats:
        solved["energies"], solved["waves"] = line.levels(potential, line.points)
        solved["at"] = potential.copy()
        apart = 2 * solved["waves"][0] ** 2 - wanted
        errors.append(float(abs(apart).sum() * line.step))
        return np.concatenate([apart / noise, held @ (potential - begin)])

    def response(potential: Floats) -> Floats:
        # Mostly asked where it was solved last.
        if not np.array_equal(potential, solved["at"]):
            solved["energies"], solved["waves"] = line.levels(potential, line.points)
        pairs = solved["waves"][0] * solved["waves"][1:]
        moved = 4 * line.step * (pairs.T / (solved["energies"][0] - solved["energies"][1:])) @ pairs
        return np.vstack([moved / noise, held])

    found = least_squares(missing, begin, response, max_nfev=int(solutions), xtol=1e-15, ftol=1e-15, gtol=None)
    return np.asarray(found.x), np.array(errors)


def _held(line: Line, doubt: float | None, smooth: float) -> Floats:
    """Return a matrix whose square is K⁻¹; see `searched`."""
    if doubt is None:
        return np.zeros((line.points, line.points))
    alike = np.eye(line.points)
    if smooth > 0:
        apart = line.x[:, None] - line.x
        # A little of each point's own keeps the matrix from being singular.
        alike = np.exp(-(apart**2) / (2 * smooth**2)) + 1e-6 * alike
    return np.asarray(np.linalg.inv(np.linalg.cholesky(alike)) / doubt)
