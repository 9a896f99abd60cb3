"""Bands of a crystal: their energies along a path, and velocities and masses, which need no second wave vector.

With waves held fixed H depends on k through ħ²(k+G)²/2m alone, so that dE/dk is an expectation value (Hellmann and
Feynman) and d²E/dk² a sum over the other bands (k·p): Kane, in *Semiconductors and Semimetals* 1, 75 (1966).
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch

from mlnegf._common import Floats, is_count, reals, require
from mlnegf.crystal.form_factors import FormFactors
from mlnegf.crystal.lattice import Crystal
from mlnegf.crystal.plane_waves import HBAR2_OVER_2M, PlaneWaves, lowest

TOUCHING: Final = 1e-6
"""Bands closer than this are one, eV."""
STEPS: Final = 50
"""Of a search for an extremum."""
LONGEST: Final = 0.1
"""Step of a search, 1/Å."""
FLAT: Final = 1e-9
"""Slope of an extremum, eV Å."""


def energies(crystal: Crystal, cutoff: float, form_factors: FormFactors, k: Any, bands: int) -> Floats:
    """Return the energies of the lowest bands, eV, (k, bands), of wave vectors (k, 3) in reciprocal vectors."""
    waves = PlaneWaves.of(crystal, cutoff, k)
    with torch.no_grad():
        return lowest(waves, waves.potential(form_factors), bands).numpy()


@dataclass(frozen=True, eq=False)
class Extremum:
    """Where a band is flat.

    Attributes
    ----------
    k : ndarray, (3,)
        In reciprocal vectors.
    energy : float
        eV.
    inverse_mass : ndarray, (3, 3)
        m₀ ∂²E/∂k_i∂k_j/ħ², along the axes of the crystal's cube.
    """

    k: Floats
    energy: float
    inverse_mass: Floats

    @property
    def masses(self) -> Floats:
        """Along the principal axes, m₀, the smallest inverse first, (3,)."""
        return np.asarray(1 / np.linalg.eigvalsh(self.inverse_mass))


def local(
    crystal: Crystal, cutoff: float, form_factors: FormFactors, k: Any, band: int, centre: Any = None
) -> tuple[float, Floats, Floats]:
    """Return the energy of a band at a wave vector, its slope and its curvature.

    Parameters
    ----------
    k : array, (3,)
        In reciprocal vectors.
    band : int
        From 0.
    centre : array, (3,), optional
        The waves are those of this wave vector; of k itself unless given.

    Returns
    -------
    energy : float
        eV.
    slope : ndarray, (3,)
        dE/dk, eV Å.
    inverse_mass : ndarray, (3, 3)
        m₀ d²E/dk²/ħ².

    Raises
    ------
    ValueError
        If another band touches this one: neither has a mass of its own.
    """
    given = reals(k, 1)
    require(given is not None and given.shape == (3,), "k", k, "three finite numbers", "local")
    assert given is not None
    waves = PlaneWaves.of(crystal, cutoff, given[None], given if centre is None else centre)
    count = len(waves.waves[0])
    require(is_count(band, 0, count - 1), "band", band, f"0 to {count - 1}", "local")
    with torch.no_grad():
        (matrix,) = waves.hamiltonians(waves.potential(form_factors).numpy())
    levels, states = np.linalg.eigh(matrix)
    gaps = levels[band] - np.delete(levels, band)
    nearest = float(abs(gaps).min())
    words = "a band that no other touches there; masses of one that does depend on the direction"
    require(nearest > TOUCHING, "band", band, words, "local")
    momenta = waves.momenta(0)
    couplings = np.einsum("gi,gb,g->ib", momenta, states.conj(), states[:, band])
    slope = 2 * HBAR2_OVER_2M * couplings[:, band].real
    others = np.delete(couplings, band, 1)
    inverse = np.eye(3) + 4 * HBAR2_OVER_2M * ((others / gaps) @ others.conj().T).real
    return float(levels[band]), np.asarray(slope), np.asarray(inverse)


def extremum(crystal: Crystal, cutoff: float, form_factors: FormFactors, start: Any, band: int) -> Extremum:
    """Find where a band is flat, by Newton's method from a wave vector near it.

    The waves are those of the start throughout, so that the band is smooth.

    Raises
    ------
    RuntimeError
        If `STEPS` steps lead nowhere.
    """
    k = reals(start, 1)
    require(k is not None and k.shape == (3,), "start", start, "three finite numbers", "extremum")
    assert k is not None
    centre = k.copy()
    for _ in range(STEPS):
        energy, slope, inverse = local(crystal, cutoff, form_factors, k, band, centre)
        if float(abs(slope).max()) < FLAT:
            return Extremum(k, energy, inverse)
        step = -np.linalg.solve(2 * HBAR2_OVER_2M * inverse, slope)
        step *= min(1.0, LONGEST / max(float(np.linalg.norm(step)), 1e-30))
        k = k + step @ crystal.vectors.T / (2 * np.pi)
    raise RuntimeError(f"extremum: no flat place of band {band} near {np.round(centre, 4)} in {STEPS} steps.")
