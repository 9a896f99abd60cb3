"""Electrons of a crystal as sums of plane waves: (ħ²/2m |k+G|² − E) c_G + Σ_G' V(G − G') c_G' = 0.

Every wave vector has its own waves, those with ħ²|k+G|²/2m below a cutoff, so that its symmetry is kept; for several
at once they are filled up to one size with waves that nothing meets.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import torch
from scipy.fft import fftn, ifftn, next_fast_len
from scipy.linalg import eigh

from mlnegf._common import Bools, Complexes, Floats, Ints, is_count, is_positive, reals, require
from mlnegf.crystal.form_factors import FormFactors
from mlnegf.crystal.lattice import Crystal
from mlnegf.units import HBAR2_OVER_2M0

HBAR2_OVER_2M: Final = 100.0 * HBAR2_OVER_2M0
"""ħ²/2m₀ in eV Å²."""
HIGHEST: Final = 1e6
"""Cutoff, eV."""
MOST: Final = 20_000
"""Plane waves of one wave vector."""

Tensor = torch.Tensor


@dataclass(frozen=True, eq=False)
class PlaneWaves:
    """Plane waves for some wave vectors of a crystal.

    Attributes
    ----------
    crystal : Crystal
    k : ndarray, (k, 3)
        In reciprocal vectors.
    waves : tuple of ndarray, each (waves, 3)
        G of each wave vector, in reciprocal vectors.
    """

    crystal: Crystal
    k: Floats
    waves: tuple[Ints, ...]

    @staticmethod
    def of(crystal: Crystal, cutoff: float, k: Any, centre: Any = None) -> "PlaneWaves":
        """Take the waves below a cutoff.

        Parameters
        ----------
        crystal : Crystal
        cutoff : float
            Largest ħ²|k+G|²/2m, eV.
        k : array, (k, 3)
            In reciprocal vectors.
        centre : array, (3,), optional
            The waves are those of this wave vector for all, instead of their own: bands are then smooth in k.

        Raises
        ------
        ValueError
            If the cutoff holds fewer waves than there are atoms, or more than fit.
        """
        require(isinstance(crystal, Crystal), "crystal", crystal, "a Crystal, such as zinc_blende(...)", "PlaneWaves")
        good = is_positive(cutoff) and cutoff <= HIGHEST
        require(good, "cutoff", cutoff, f"a positive number of eV, up to {HIGHEST:g}", "PlaneWaves")
        given = reals(k, 2)
        good = given is not None and given.shape[1] == 3 and float(abs(given).max()) < 1e3
        require(good, "k", k, "finite numbers of shape (k, 3)", "PlaneWaves")
        assert given is not None
        middle = None if centre is None else reals(centre, 1)
        good = centre is None or (middle is not None and middle.shape == (3,))
        require(good, "centre", centre, "three finite numbers, or None", "PlaneWaves")
        radius = float(np.sqrt(cutoff / HBAR2_OVER_2M))
        expected = crystal.volume * radius**3 / (6 * np.pi**2)
        words = f"more than holds a wave for each of {len(crystal.species)} atoms, less than holds {MOST}"
        require(len(crystal.species) <= expected <= MOST, "cutoff", cutoff, words, "PlaneWaves")
        if middle is not None:
            some = _inside(crystal, radius, middle)
            return PlaneWaves(crystal, given, (some,) * len(given))
        return PlaneWaves(crystal, given, tuple(_inside(crystal, radius, one) for one in given))

    @cached_property
    def _reach(self) -> Ints:
        """Largest difference between two waves, in each direction."""
        return np.asarray(np.max([waves.max(0) - waves.min(0) for waves in self.waves], axis=0))

    @cached_property
    def differences(self) -> Ints:
        """Return G − G′ that occur, (differences, 3), in reciprocal vectors: a box around zero."""
        steps = (np.arange(-most, most + 1) for most in self._reach)
        return np.stack(np.meshgrid(*steps, indexing="ij"), -1).reshape(-1, 3)

    def places(self, n: int) -> Ints:
        """Return where G − G′ stands among the differences, (waves, waves), for the nth wave vector."""
        sides = 2 * self._reach + 1
        flat = np.array([sides[1] * sides[2], sides[2], 1])
        numbers = self.waves[n] @ flat
        return np.asarray(numbers[:, None] - numbers + self._reach @ flat)

    @cached_property
    def shells(self) -> tuple[Floats, Ints]:
        """Lengths |G − G′| that differ, 1/Å, (shells,), and which of them each difference has, (differences,)."""
        lengths = np.linalg.norm(self.differences @ self.crystal.reciprocal, axis=1)
        found, which = np.unique(lengths.round(9), return_inverse=True)
        return found, which

    @cached_property
    def structure(self) -> dict[str, Complexes]:
        """Return Σ e^{−i(G−G′)·τ}/Ω, 1/Å³, (differences,), over the atoms of each kind."""
        phases = np.exp(-2j * np.pi * self.differences @ self.crystal.fractions.T) / self.crystal.volume
        kinds = np.array(self.crystal.species)
        return {name: phases[:, kinds == name].sum(1) for name in dict.fromkeys(self.crystal.species)}

    def potential(self, form_factors: FormFactors) -> Tensor:
        """Return V(G − G′), eV, (differences,), complex; differentiable by whatever the form factors are."""
        require(callable(form_factors), "form_factors", form_factors, "a function of species and q", "PlaneWaves")
        lengths, which = (torch.from_numpy(some) for some in self.shells)
        found = torch.zeros(len(which), dtype=torch.complex128)
        for name, structure in self.structure.items():
            found = found + torch.from_numpy(structure) * form_factors(name, lengths)[which]
        require(bool(torch.isfinite(found.detach()).all()), "form_factors", form_factors, "finite v(q)", "PlaneWaves")
        return found

    def kinetic(self, n: int) -> Floats:
        """Return ħ²|k+G|²/2m, eV, (waves,), of the nth wave vector."""
        return np.asarray(HBAR2_OVER_2M * (self.momenta(n) ** 2).sum(1))

    def momenta(self, n: int) -> Floats:
        """Return k + G, 1/Å, (waves, 3), of the nth wave vector."""
        return np.asarray((self.waves[n] + self.k[n]) @ self.crystal.reciprocal)

    def hamiltonians(self, potential: Complexes) -> Iterator[Complexes]:
        """Yield H, eV, (waves, waves), of one wave vector after the other, of V(G − G′)."""
        for n in range(len(self.k)):
            yield self.hamiltonian(potential, n)

    def hamiltonian(self, potential: Complexes, n: int) -> Complexes:
        """Return H, eV, (waves, waves), of the nth wave vector, of V(G − G′)."""
        matrix = potential[self.places(n)]
        matrix[np.diag_indices_from(matrix)] += self.kinetic(n)
        return matrix

    def products(self, n: int, states: Any) -> Complexes:
        """Return Σ c*_G c_G′ over pairs G − G′, (states, differences), of states (waves, states): ∂E/∂V(G − G′).

        They are Fourier coefficients of |ψ(r)|², on a grid that holds every difference.
        """
        grid = tuple(next_fast_len(2 * int(most) + 1) for most in self._reach)
        spread = np.zeros((states.shape[1], *grid), dtype=complex)
        spread[(slice(None), *self.waves[n].T)] = states.T
        density = abs(fftn(spread, axes=(1, 2, 3))) ** 2
        return np.asarray(ifftn(density, axes=(1, 2, 3))[(slice(None), *self.differences.T)].conj())


def _inside(crystal: Crystal, radius: float, k: Floats) -> Ints:
    """Return integer G with |k+G| up to a radius, 1/Å."""
    most = np.ceil(radius * np.linalg.norm(crystal.vectors, axis=1) / (2 * np.pi) + abs(k)).astype(int)
    steps = np.stack(np.meshgrid(*(np.arange(-m, m + 1) for m in most), indexing="ij"), -1).reshape(-1, 3)
    within: Bools = np.linalg.norm((steps + k) @ crystal.reciprocal, axis=1) <= radius * (1 + 1e-9)
    return np.asarray(steps[within])


def lowest(waves: PlaneWaves, potential: Tensor, bands: int) -> Tensor:
    """Return the energies of the lowest bands, eV, (k, bands), rising.

    Differentiable by the potential: ∂E/∂V(G − G′) = Σ c*_G c_G′ (Hellmann and Feynman), for which no other state is
    asked. Where bands touch each alone has no derivative; what does not tell them apart, such as a sum, has.

    Parameters
    ----------
    waves : PlaneWaves
    potential : Tensor, (differences,)
        Of `PlaneWaves.potential`.
    bands : int
    """
    fewest = min(len(some) for some in waves.waves)
    words = f"1 to {fewest}, the plane waves; or raise the cutoff"
    require(is_count(bands, 1, fewest), "bands", bands, words, "lowest")
    found: Tensor = _Lowest.apply(potential, waves, int(bands))  # type: ignore[no-untyped-call]
    return found


class _Lowest(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, potential: Tensor, waves: PlaneWaves, bands: int) -> Tensor:
        matrices = waves.hamiltonians(potential.detach().numpy())
        pairs = [eigh(matrix, subset_by_index=(0, bands - 1), overwrite_a=True, driver="evr") for matrix in matrices]
        ctx.waves, ctx.states = waves, [states for _, states in pairs]
        return torch.from_numpy(np.array([energies for energies, _ in pairs]))

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None, None]:
        # PyTorch's gradient by a complex number is the conjugate of what it is multiplied by.
        parts = (weights @ ctx.waves.products(n, ctx.states[n]) for n, weights in enumerate(slope.numpy()))
        return torch.from_numpy(np.conj(sum(parts))), None, None
