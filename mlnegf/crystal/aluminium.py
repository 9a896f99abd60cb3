"""Aluminium: a local form factor, and its atoms as they move.

v(q) = −(4πZ/q²) cos(q r_c)/ε(q) · e^{−(q/q₀)^p}: an empty core (Ashcroft, Phys. Lett. 23, 48 (1966)) among electrons
that screen it as free ones do (Lindhard), cut smoothly so that few plane waves hold it. r_c and q₀ are those with which
V(111) = 0.0179 Ry and V(200) = 0.0562 Ry, Ashcroft's, Philos. Mag. 8, 2055 (1963), from the Fermi surface. For q → 0
it is −⅔ of the Fermi energy of three free electrons an atom.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from ase import Atoms, units
from ase.calculators.emt import EMT
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta

from mlnegf._common import are_counts, is_count, is_positive, require
from mlnegf.crystal.form_factors import BOHR, NATURAL, known
from mlnegf.crystal.lattice import Crystal

LATTICE: Final = 4.05
"""Lattice constant of the cube, Å."""
ELECTRONS: Final = 3
"""An atom."""
MELTING: Final = 2500.0
"""At which an ordered start is forgotten, K."""
STEP: Final = 3.0
"""fs."""

CUBE: Final = Crystal(
    LATTICE * np.eye(3), np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]), ("Al",) * 4
)
"""Four atoms in a cube."""


@dataclass(frozen=True)
class AshcroftLindhard:
    """The form factor of aluminium.

    Attributes
    ----------
    core, fade : float
        r_c, a_B, and q₀, 1/a_B.
    power : float
        p.
    """

    core: float = 1.1618
    fade: float = 2.1250
    power: float = 8.0

    def __call__(self, species: str, q: torch.Tensor) -> torch.Tensor:
        """Return v(q), eV Å³, of wave numbers q, 1/Å."""
        known(species, {"Al": self}, "AshcroftLindhard")
        fermi = (3 * np.pi**2 * 4 * ELECTRONS * (BOHR / LATTICE) ** 3) ** (1 / 3)
        # Towards zero the quotient is smooth, its parts are not: 1e-4 stands for it.
        wave = (q * BOHR).clamp(min=1e-4)
        ratio = wave / (2 * fermi)
        away = (1 - ratio).abs().clamp(min=1e-9)
        screening = 0.5 + (1 - ratio**2) / (4 * ratio) * torch.log((1 + ratio) / away)
        permittivity = 1 + 4 * fermi / np.pi / wave**2 * screening
        bare = -4 * np.pi * ELECTRONS / wave**2 * torch.cos(wave * self.core)
        found: torch.Tensor = NATURAL * bare / permittivity * torch.exp(-((wave / self.fade) ** self.power))
        return found


def snapshots(
    cells: Sequence[int], temperature: float, count: int, seed: int = 0, molten: bool = False, every: int = 100
) -> Iterator[Crystal]:
    """Yield aluminium as it moves, by ASE's Langevin dynamics with effective-medium theory, at its measured density.

    Parameters
    ----------
    cells : three whole numbers
        Cubes of four atoms along each axis.
    temperature : float
        K.
    count : int
        Of snapshots.
    seed : int
    molten : bool
        Whether the crystal is first melted, at `MELTING`.
    every : int
        Steps of `STEP` between snapshots; five times as many come before the first.
    """
    require(are_counts(cells, 3, 1, 100), "cells", cells, "three whole numbers, 1 to 100", "snapshots")
    require(is_positive(temperature) and temperature < 1e4, "temperature", temperature, "up to 1e4 K", "snapshots")
    require(is_count(count), "count", count, "a whole number, 1 or more", "snapshots")
    require(is_count(every), "every", every, "a whole number of steps, 1 or more", "snapshots")
    require(is_count(seed, 0), "seed", seed, "a whole number, zero or more", "snapshots")
    crystal, rng = CUBE.repeated(cells), np.random.default_rng(seed)
    atoms = Atoms(crystal.species, scaled_positions=crystal.fractions, cell=crystal.vectors, pbc=True)
    atoms.calc = EMT()
    thermalize_momenta(atoms, temperature_K=temperature, rng=rng)
    dynamics = Langevin(
        atoms, STEP * units.fs, temperature_K=temperature, friction=0.02 / units.fs, fixcm=False, rng=rng
    )
    if molten:
        dynamics.set_temperature(temperature_K=MELTING)
        dynamics.run(10 * every)
        dynamics.set_temperature(temperature_K=temperature)
    dynamics.run(4 * every)
    for _ in range(count):
        dynamics.run(every)
        yield Crystal(crystal.vectors, atoms.get_scaled_positions(wrap=False), crystal.species)
