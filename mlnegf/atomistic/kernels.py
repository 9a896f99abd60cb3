"""Loops over pairs of atoms, compiled: a step of 147 atoms takes a sixteenth of a millisecond.

Why compiled here, and not taken from a library: `docs/decisions/27-atoms.md`.
"""

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from mlnegf._common import Floats

Pairs = NDArray[np.int64]
"""(pairs, 2), the lower index first."""

FORCE: Final = 9.648533212e-3
"""Å/fs² for 1 eV/Å on one atomic mass unit."""


@njit(cache=True)
def near_pairs(positions: Floats, reach: float) -> Pairs:
    """Return pairs of atoms closer than `reach`, in rising order."""
    atoms = len(positions)
    found = np.empty((max(64, atoms * 32), 2), np.int64)
    count = 0
    for i in range(atoms):
        for j in range(i + 1, atoms):
            square = 0.0
            for k in range(3):
                square += (positions[i, k] - positions[j, k]) ** 2
            if square < reach * reach:
                if count == len(found):
                    longer = np.empty((2 * count, 2), np.int64)
                    longer[:count] = found
                    found = longer
                found[count, 0], found[count, 1] = i, j
                count += 1
    return found[:count].copy()


@njit(cache=True)
def energies_and_forces(
    positions: Floats, pairs: Pairs, a: Floats, r: Floats, A: Floats, R: Floats
) -> tuple[Floats, Floats]:
    """Return the energy of every atom, eV, and the force on it, eV/Å; see `potential`."""
    atoms = len(positions)
    energies, density, forces = np.zeros(atoms), np.zeros(atoms), np.zeros((atoms, 3))
    distance = np.empty(len(pairs))
    for n in range(len(pairs)):
        i, j = pairs[n]
        square = 0.0
        for k in range(3):
            square += (positions[i, k] - positions[j, k]) ** 2
        distance[n] = np.sqrt(square)
        attraction = 0.0
        for m in range(len(A)):
            depth = R[m] - distance[n]
            if depth > 0:
                attraction += A[m] * depth**3
        density[i] += attraction
        density[j] += attraction
    for i in range(atoms):
        energies[i] = -np.sqrt(density[i])
    for n in range(len(pairs)):
        i, j = pairs[n]
        slope, of_density, repulsion = 0.0, 0.0, 0.0
        for m in range(len(a)):
            depth = r[m] - distance[n]
            if depth > 0:
                repulsion += a[m] * depth**3
                slope -= 3 * a[m] * depth**2
        for m in range(len(A)):
            depth = R[m] - distance[n]
            if depth > 0:
                of_density -= 3 * A[m] * depth**2
        energies[i] += repulsion / 2
        energies[j] += repulsion / 2
        for atom in (i, j):
            if density[atom] > 0:
                slope -= of_density / (2 * np.sqrt(density[atom]))
        for k in range(3):
            part = -slope * (positions[i, k] - positions[j, k]) / distance[n]
            forces[i, k] += part
            forces[j, k] -= part
    return energies, forces


@njit(cache=True)
def advance(
    positions: Floats,
    velocities: Floats,
    held: NDArray[np.bool_],
    noise: Floats,
    step: float,
    memory: float,
    kick: float,
    inverse_mass: float,
    reach: float,
    skin: float,
    a: Floats,
    r: Floats,
    A: Floats,
    R: Floats,
) -> float:
    """Move atoms on by one step for each row of `noise`, in place: Langevin dynamics, BAOAB.

    Leimkuhler & Matthews, Appl. Math. Res. Express 2013, 34. Atoms that are held keep their velocity.

    Parameters
    ----------
    positions, velocities : ndarray, (atoms, 3)
        Å, Å/fs.
    held : ndarray, (atoms,)
    noise : ndarray, (steps, atoms, 3)
        Standard normal numbers.
    step : float
        fs.
    memory, kick : float
        e^{−γ dt}, and √(1 − e^{−2γ dt}) √(kT/m), Å/fs; one and zero for Newton's own equations.
    inverse_mass : float
        Å/fs² for a force of 1 eV/Å.
    reach, skin : float
        Cutoff of the potential, and how much farther pairs are listed, Å.

    Returns
    -------
    float
        Potential energy at the end, eV.
    """
    pairs = near_pairs(positions, reach + skin)
    listed = positions.copy()
    energies, forces = energies_and_forces(positions, pairs, a, r, A, R)
    for n in range(len(noise)):
        moved = 0.0
        for i in range(len(positions)):
            square = 0.0
            for k in range(3):
                if held[i]:
                    positions[i, k] += step * velocities[i, k]
                else:
                    velocity = velocities[i, k] + step / 2 * inverse_mass * forces[i, k]
                    positions[i, k] += step / 2 * velocity
                    velocity = memory * velocity + kick * noise[n, i, k]
                    positions[i, k] += step / 2 * velocity
                    velocities[i, k] = velocity
                square += (positions[i, k] - listed[i, k]) ** 2
            moved = max(moved, square)
        if 4 * moved > skin * skin:
            pairs = near_pairs(positions, reach + skin)
            listed = positions.copy()
        energies, forces = energies_and_forces(positions, pairs, a, r, A, R)
        for i in range(len(positions)):
            if not held[i]:
                for k in range(3):
                    velocities[i, k] += step / 2 * inverse_mass * forces[i, k]
    return float(energies.sum())
