"""The local density of states of a crystal, d(ε, r) = 2 Σ_k w_k Σ_n |ψ_nk(r)|² g(ε − E_nk), and what follows from it.

Density n(r) = ∫ f(ε) d(ε, r) dε, density of states D(ε) = ∫ d(ε, r) dr, the Fermi level from the number of electrons,
band energy and entropy. So a network that says d(ε, r) says all of them: Chandrasekaran et al., npj Comput. Mater. 5,
22 (2019); Ellis et al., Phys. Rev. B 104, 035120 (2021).

Wave vectors that differ from their opposites by a reciprocal vector, as all of a 2 × 2 × 2 mesh do, have real states: H
is laid out in cosines and sines, and costs a quarter.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from scipy.fft import next_fast_len
from scipy.linalg import eigh
from scipy.optimize import brentq
from scipy.special import expit, xlog1py, xlogy

from mlnegf._common import Complexes, Floats, Ints, are_counts, is_positive, reals, require
from mlnegf.crystal.form_factors import FormFactors
from mlnegf.crystal.lattice import Crystal
from mlnegf.crystal.plane_waves import PlaneWaves

TAIL: Final = 5.0
"""States are asked for up to so many widths beyond the last energy."""
HEAD: Final = 3.0
"""The lowest level lies at least so many widths above the first energy: nothing is missed."""
EMPTY: Final = 1e-3
"""What may be filled of the last energy."""


def mesh(counts: Sequence[int]) -> Floats:
    """Return wave vectors of a mesh through zero, (k, 3), in reciprocal vectors."""
    require(are_counts(counts, 3, 1, 100), "counts", counts, "three whole numbers, 1 to 100", "mesh")
    steps = np.stack(np.meshgrid(*(np.arange(count) / count for count in counts), indexing="ij"), -1)
    return steps.reshape(-1, 3)


def real_states(waves: PlaneWaves, n: int, potential: Complexes, highest: float) -> tuple[Floats, Complexes]:
    """Return the states, up to an energy, of a wave vector that equals its opposite.

    With c = (|q⟩ + |−q⟩)/√2 and s = (|q⟩ − |−q⟩)/i√2, and V(−G) = V(G)*, ⟨c|H|c′⟩ = Re (H_qq′ + H_q,−q′), ⟨s|H|s′⟩ =
    Re (H_qq′ − H_q,−q′), ⟨c|H|s′⟩ = Im (H_qq′ − H_q,−q′).

    Returns
    -------
    energies : ndarray, (states,)
    coefficients : ndarray, (waves, states)
    """
    partner = _partners(waves, n)
    own = np.arange(len(partner))
    chosen, alone = own[own < partner], own[own == partner]
    matrix = potential[waves.places(n)[np.concatenate([chosen, alone])]]
    kinetic = waves.kinetic(n)
    pairs, singles = len(chosen), len(alone)
    straight, turned = matrix[:pairs, chosen], matrix[:pairs, partner[chosen]]
    size = 2 * pairs + singles
    found = np.zeros((size, size))
    found[:pairs, :pairs] = (straight + turned).real
    found[pairs : 2 * pairs, pairs : 2 * pairs] = (straight - turned).real
    found[:pairs, pairs : 2 * pairs] = (straight - turned).imag
    found[2 * pairs :, :pairs] = np.sqrt(2) * matrix[pairs:, chosen].real
    found[2 * pairs :, pairs : 2 * pairs] = np.sqrt(2) * matrix[pairs:, chosen].imag
    found[2 * pairs :, 2 * pairs :] = matrix[pairs:, alone].real
    found[pairs : 2 * pairs, :pairs] = found[:pairs, pairs : 2 * pairs].T
    found[np.diag_indices(size)] += np.concatenate([kinetic[chosen], kinetic[chosen], kinetic[alone]])
    energies, states = eigh(found, subset_by_value=(-np.inf, highest), driver="evr", overwrite_a=True)
    result = np.zeros((len(partner), len(energies)), dtype=complex)
    cosine, sine = states[:pairs], states[pairs : 2 * pairs]
    result[chosen] = (cosine - 1j * sine) / np.sqrt(2)
    result[partner[chosen]] = (cosine + 1j * sine) / np.sqrt(2)
    result[alone] = states[2 * pairs :]
    return energies, result


def is_own_opposite(k: Floats) -> bool:
    """Say whether a wave vector differs from its opposite by a reciprocal vector."""
    return bool((abs(2 * k - np.round(2 * k)) < 1e-9).all())


def _partners(waves: PlaneWaves, n: int) -> Ints:
    """Return which wave is −q of each q = k + G."""
    double = np.round(2 * waves.k[n]).astype(int)
    known = {tuple(wave): place for place, wave in enumerate(waves.waves[n].tolist())}
    return np.array([known[tuple(wave)] for wave in (-waves.waves[n] - double).tolist()])


@dataclass(frozen=True, eq=False)
class LocalDensity:
    """A local density of states on a grid.

    Attributes
    ----------
    crystal : Crystal
    electrons : float
        Of the cell.
    energies : ndarray, (energies,)
        ε, eV, in equal steps.
    values : ndarray, (energies, points)
        d(ε, r), 1/(eV Å³); points as `points` says.
    shape : (int, int, int)
        Points along each lattice vector.
    """

    crystal: Crystal
    electrons: float
    energies: Floats
    values: np.ndarray
    shape: tuple[int, int, int]

    @property
    def fractions(self) -> Floats:
        """Places of the points, (points, 3), in lattice vectors."""
        steps = (np.arange(count) / count for count in self.shape)
        return np.stack(np.meshgrid(*steps, indexing="ij"), -1).reshape(-1, 3)

    @property
    def step(self) -> float:
        """Between energies, eV."""
        return float(self.energies[1] - self.energies[0])

    @cached_property
    def density_of_states(self) -> Floats:
        """D(ε), 1/eV, of the cell, (energies,)."""
        volume = self.crystal.volume / self.values.shape[1]
        return np.asarray(self.values.sum(1, dtype=np.float64) * volume)

    def fermi_level(self, thermal_energy: float) -> float:
        """Return μ, eV, at which the cell holds its electrons, at kT in eV.

        Raises
        ------
        ValueError
            If the energies do not hold as many states.
        """
        require(is_positive(thermal_energy), "thermal_energy", thermal_energy, "a positive number of eV", "fermi_level")

        def surplus(level: float) -> float:
            return (
                float((self.density_of_states * self._filled(level, thermal_energy)).sum() * self.step) - self.electrons
            )

        least, most = float(self.energies[0]) - 10.0, float(self.energies[-1]) + 10.0
        words = f"states for {self.electrons:g} electrons; reach to higher energies"
        require(surplus(most) > 0, "energies", self.energies[-1], words, "fermi_level")
        level = float(brentq(surplus, least, most, xtol=1e-13, rtol=1e-14))
        highest = float(self._filled(level, thermal_energy)[-1])
        require(highest < EMPTY, "energies", self.energies[-1], words, "fermi_level")
        return level

    def _filled(self, level: float, thermal_energy: float) -> Floats:
        return np.asarray(expit((level - self.energies) / thermal_energy))

    def density(self, thermal_energy: float) -> Floats:
        """Return n(r), 1/Å³, (points,)."""
        filled = self._filled(self.fermi_level(thermal_energy), thermal_energy)
        return np.asarray((filled * self.step) @ self.values)

    def band_energy(self, thermal_energy: float) -> float:
        """Return ∫ ε f D dε, eV an atom."""
        filled = self._filled(self.fermi_level(thermal_energy), thermal_energy)
        total = float((self.energies * filled * self.density_of_states).sum() * self.step)
        return total / len(self.crystal.species)

    def entropy(self, thermal_energy: float) -> float:
        """Return −∫ (f ln f + (1−f) ln(1−f)) D dε, k an atom."""
        filled = self._filled(self.fermi_level(thermal_energy), thermal_energy)
        mixed = -(xlogy(filled, filled) + xlog1py(1 - filled, -filled))
        return float((mixed * self.density_of_states).sum() * self.step) / len(self.crystal.species)


def local_density(
    crystal: Crystal,
    form_factors: FormFactors,
    electrons: float,
    cutoff: float,
    k: Any,
    energies: Any,
    width: float,
) -> LocalDensity:
    """Work out a local density of states.

    Parameters
    ----------
    crystal : Crystal
    form_factors : FormFactors
    electrons : float
        Of the cell.
    cutoff : float
        eV.
    k : array, (k, 3)
        Of a mesh; all weigh the same.
    energies : array, (energies,)
        ε, eV, in equal steps.
    width : float
        Standard deviation of g, eV.
    """
    given = reals(energies, 1)
    steps = None if given is None else np.diff(given)
    good = steps is not None and len(steps) > 1 and steps[0] > 0 and bool(np.allclose(steps, steps[0]))
    require(good, "energies", energies, "two or more numbers of eV, rising in equal steps", "local_density")
    assert given is not None
    require(is_positive(electrons), "electrons", electrons, "a positive number", "local_density")
    step = float(given[1] - given[0])
    good = is_positive(width) and width >= step
    require(good, "width", width, f"a number of eV, no less than a step of the energies, {step:g}", "local_density")
    waves = PlaneWaves.of(crystal, cutoff, k)
    potential = waves.potential(form_factors).detach().numpy()
    highest = float(given[-1]) + TAIL * width
    a, b, c = (next_fast_len(int(most) + 1) for most in waves.differences.max(0) - waves.differences.min(0))
    values = np.zeros((len(given), a * b * c))
    for n, one in enumerate(waves.k):
        if is_own_opposite(one):
            levels, states = real_states(waves, n, potential, highest)
        else:
            matrix = waves.hamiltonian(potential, n)
            found: Any = eigh(matrix, subset_by_value=(-np.inf, highest), driver="evr", overwrite_a=True)
            levels, states = found
        lowest = float(levels.min(initial=np.inf))
        words = f"energies that begin {HEAD:g} widths below the lowest level, {lowest:.3f} eV"
        require(lowest >= given[0] + HEAD * width, "energies", float(given[0]), words, "local_density")
        grid = np.zeros((len(levels), a, b, c), dtype=complex)
        grid[(slice(None), *waves.waves[n].T)] = states.T
        squares = abs(np.fft.ifftn(grid, axes=(1, 2, 3))) ** 2 * (a * b * c) ** 2 / crystal.volume
        shapes = np.exp(-0.5 * ((given[:, None] - levels) / width) ** 2) / (np.sqrt(2 * np.pi) * width)
        values += (2.0 / len(waves.k)) * shapes @ squares.reshape(len(levels), -1)
    return LocalDensity(crystal, float(electrons), given, values.astype(np.float32), (a, b, c))
