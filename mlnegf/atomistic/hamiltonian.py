"""One s orbital an atom: the Hamiltonian of a wire, laid out between its leads.

The hopping is Harrison's, with a smooth end between the second and the third shell of the bcc crystal,

    t(d) = η ħ²/(m d²) s(d),    η = −1.32,    s = 1 below 5.5 Å, 0 above 7.4 Å, a quintic between,

Harrison, *Elementary Electronic Structure* (1999); levels are zero, and the Fermi energy is that of the half-filled
bulk, one electron an atom. Nearest neighbours alone will not do: their half-filled Fermi surface is a cube, which never
meets [110]. The bands are three times as wide as free electrons'; conductance at the Fermi energy knows no unit of
energy.

A wire falls into blocks by the number of hops from its left cell, so that each block meets its neighbours alone. Blocks
are padded to one size with orbitals that nothing links.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Final

import numpy as np
import torch

from mlnegf._common import Bools, Floats, Ints, hold, is_finite, is_positive, require
from mlnegf.atomistic.potential import POTASSIUM
from mlnegf.transport import Lead
from mlnegf.units import HBAR2_OVER_2M0

_require = partial(require, caller="Orbitals")

HBAR2_OVER_M0: Final = 200.0 * HBAR2_OVER_2M0
"""ħ²/m₀ in eV Å²."""
ASIDE: Final = 1e3
"""Level, eV, of orbitals that only fill a block up."""
MEMORY: Final = 2**28
"""Bytes of distances between atoms kept at a time."""


@dataclass(frozen=True)
class Orbitals:
    """Hopping between s orbitals.

    Attributes
    ----------
    strength : float
        η.
    near, far : float
        Where the hopping begins to end, and ends, Å.
    fermi_energy : float
        From the level of an orbital, eV.
    """

    strength: float = -1.32
    near: float = 5.5
    far: float = 7.4
    fermi_energy: float = 0.6085

    def __post_init__(self) -> None:
        for name in ("strength", "fermi_energy"):
            _require(is_finite(getattr(self, name)), name, getattr(self, name), "a finite number")
        for name in ("near", "far"):
            value = getattr(self, name)
            _require(is_positive(value) and value <= 50.0, name, value, "a positive number of Å, 50 or less")
        hold(self, float, "strength", "near", "far", "fermi_energy")
        _require(self.near < self.far, "near", self.near, f"less than far = {self.far:g}")

    def hopping(self, distance: Floats) -> Floats:
        """Return t(d), eV, of distances, Å; none of an atom with itself."""
        distance = np.asarray(distance, dtype=np.float64)
        found = np.zeros_like(distance)
        met = (distance > 0) & (distance < self.far)
        near = distance[met]
        rest = np.clip((self.far - near) / (self.far - self.near), 0.0, 1.0)
        smooth = rest * rest * rest * (10.0 - 15.0 * rest + 6.0 * rest * rest)
        found[met] = self.strength * HBAR2_OVER_M0 / (near * near) * smooth
        return found

    def between(self, one: Floats, other: Floats) -> Floats:
        """Return ⟨i|H|j⟩, (..., atoms, others), of positions (..., atoms, 3) and (..., others, 3), Å."""
        # Component by component: a third of the memory, a third of the time.
        square = sum((one[..., :, None, k] - other[..., None, :, k]) ** 2 for k in range(3))
        return self.hopping(np.sqrt(square))

    def lead(self, cell: Floats, period: float) -> tuple[Floats, Floats]:
        """Return the blocks ⟨n|H|n⟩ and ⟨n|H|n+1⟩ of a perfect wire.

        Parameters
        ----------
        cell : ndarray, (atoms, 3)
            Å.
        period : float
            Along x, Å.
        """
        shift = np.array([period, 0.0, 0.0])
        beyond = self.between(cell, cell + 2 * shift)
        _require(not beyond.any(), "far", self.far, "less than what two cells are apart, so that neighbours alone meet")
        return self.between(cell, cell), self.between(cell, cell + shift)

    @cached_property
    def bulk(self) -> "Bulk":
        """The bcc crystal of potassium."""
        return Bulk(self, POTASSIUM.lattice_constant)


@dataclass(frozen=True)
class Bulk:
    """Bands of a bcc crystal, one s orbital an atom."""

    orbitals: Orbitals
    lattice_constant: float

    def energy(self, k: Floats) -> Floats:
        """Return E(k), eV, of wave vectors (..., 3), 1/Å."""
        most = int(2 * self.orbitals.far / self.lattice_constant) + 1
        halves = np.arange(-most, most + 1) / 2
        places = np.stack(np.meshgrid(halves, halves, halves, indexing="ij"), -1).reshape(-1, 3)
        whole = (places % 1 == 0).all(-1) | (places % 1 == 0.5).all(-1)
        sites = self.lattice_constant * places[whole & places.any(-1)]
        hopping = self.orbitals.hopping(np.linalg.norm(sites, axis=-1))
        met = hopping != 0
        return np.asarray(np.cos(k @ sites[met].T) @ hopping[met])

    def fermi_energy(self, points: int = 100) -> float:
        """Return the energy below which half of all states lie, eV, by a regular mesh of k points in the cubic cell."""
        # Twice the zone of the cubic cell along each axis: whole periods of the bcc crystal's.
        steps = 4 * np.pi / self.lattice_constant * (np.arange(points) + 0.5) / points
        k = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(-1, 3)
        return float(np.median(np.concatenate([self.energy(part) for part in np.array_split(k, 64)])))


@dataclass(frozen=True, eq=False)
class Blocks:
    """Wires that fall into the same number of blocks.

    Attributes
    ----------
    index : ndarray, (wires,)
        Which wires of those given.
    diagonal, upper : Tensor, (wires, sites, block, block), (wires, sites − 1, block, block)
        ⟨n|H|n⟩ and ⟨n|H|n+1⟩, eV; the first orbitals of the first block and of the last are those of the rigid cells.
    left, right : Lead
        Padded to the same size.
    places : ndarray, (wires, sites, block)
        Which atom each orbital is of; the number of atoms where there is none.
    """

    index: Ints
    diagonal: torch.Tensor
    upper: torch.Tensor
    left: Lead
    right: Lead
    places: Ints


def blocks_of(orbitals: Orbitals, positions: Floats, held: int, period: float) -> Iterator[Blocks]:
    """Lay wires out between their leads, those with as many blocks together; wires with no path are left out.

    Parameters
    ----------
    positions : ndarray, (wires, atoms, 3)
        Å, the first and the last `held` atoms rigid cells of a perfect wire.
    held : int
    period : float
        Of the perfect wire, Å.
    """
    atoms = positions.shape[1]
    per = max(1, MEMORY // (32 * atoms**2))
    for start in range(0, len(positions), per):
        some = positions[start : start + per]
        hamiltonian = orbitals.between(some, some)
        levels = levels_of(hamiltonian != 0, held)
        last = levels[:, -held:].max(1)
        for count in np.unique(last[last > 0]).tolist():
            chosen = np.flatnonzero(last == count)
            yield _laid_out(orbitals, some[chosen], hamiltonian[chosen], levels[chosen], held, period, chosen + start)


def levels_of(linked: Bools, held: int) -> Ints:
    """Return the number of hops from the left cell, (wires, atoms); −1 in a wire whose cells no path joins.

    From where the right cell begins all is one block. What the left cell does not reach is in it too if the right cell
    does, and stands aside in the first one otherwise.
    """
    atoms = linked.shape[1]
    levels = _hops(linked, slice(None, held))
    right = levels[:, -held:]
    joined: Bools = np.asarray((right >= 0).any(1))
    last: Ints = np.where(joined, np.where(right >= 0, right, atoms).min(1), -1)
    reached = _hops(linked, slice(-held, None)) >= 0
    aside = np.where(reached, last[:, None], 0)
    found: Ints = np.where(levels >= 0, np.minimum(levels, last[:, None]), aside)
    found[:, -held:] = last[:, None]
    return np.asarray(np.where(joined[:, None], found, -1))


def _hops(linked: Bools, cell: slice) -> Ints:
    """Return the number of hops from a cell, (wires, atoms); −1 where none lead."""
    found = np.full(linked.shape[:2], -1)
    front = np.zeros(linked.shape[:2], dtype=bool)
    front[:, cell] = True
    number = 0
    while front.any():
        found[front] = number
        front = (linked & front[:, :, None]).any(1) & (found < 0)
        number += 1
    return found


def _laid_out(
    orbitals: Orbitals, positions: Floats, hamiltonian: Floats, levels: Ints, held: int, period: float, index: Ints
) -> Blocks:
    wires, atoms = levels.shape
    sites = int(levels[0, -1]) + 1
    # Rigid cells first in their block, in their own order.
    rank = np.ones(atoms)
    rank[:held] = rank[-held:] = 0
    order = np.argsort(levels + 0.25 * rank, axis=1, kind="stable")
    sorted_levels = np.take_along_axis(levels, order, 1)
    counts = np.stack([(levels == site).sum(1) for site in range(sites)], 1)
    block = int(counts.max())
    within = np.arange(atoms) - np.take_along_axis(np.cumsum(counts, 1) - counts, sorted_levels, 1)
    place = np.full((wires, sites, block), atoms)
    place[np.arange(wires)[:, None], sorted_levels, within] = order
    padded = np.zeros((wires, atoms + 1, atoms + 1))
    padded[:, :atoms, :atoms] = hamiltonian
    wire = np.arange(wires)[:, None, None, None]
    diagonal = padded[wire, place[..., :, None], place[..., None, :]]
    upper = padded[wire, place[:, :-1, :, None], place[:, 1:, None, :]]
    empty = place == atoms
    diagonal[..., np.arange(block), np.arange(block)] += ASIDE * empty
    left, right = (_padded(orbitals.lead(cell, period), block) for cell in (positions[0, :held], positions[0, -held:]))
    return Blocks(index, torch.from_numpy(diagonal), torch.from_numpy(upper), left, right, place)


def _padded(blocks: tuple[Any, Any], block: int) -> Lead:
    """Fill a lead up to a block's size."""
    held = len(blocks[0])
    onsite, hopping = np.zeros((block, block)), np.zeros((block, block))
    onsite[:held, :held], hopping[:held, :held] = blocks
    onsite[np.arange(held, block), np.arange(held, block)] = ASIDE
    return Lead(torch.from_numpy(onsite), torch.from_numpy(hopping))
