"""Crystals as data: lattice vectors, atoms, and the way back to reciprocal space."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from ase.cell import Cell

from mlnegf._common import Floats, are_counts, is_count, is_positive, reals, require

LARGEST: Final = 1e3
"""Length of a lattice vector, Å."""
MOST_ATOMS: Final = 100_000
"""Of a repeated cell."""
FLATTEST: Final = 1e-3
"""Volume of a cell over the product of its vectors' lengths, at least."""


@dataclass(frozen=True, eq=False)
class Crystal:
    """A cell that repeats.

    Parameters
    ----------
    vectors : array, (3, 3)
        Lattice vectors in rows, Å.
    fractions : array, (atoms, 3)
        Places of the atoms, in lattice vectors.
    species : sequence of str
        What each atom is.
    """

    vectors: Floats
    fractions: Floats
    species: tuple[str, ...]

    def __post_init__(self) -> None:
        vectors, fractions = reals(self.vectors, 2), reals(self.fractions, 2)
        good = vectors is not None and vectors.shape == (3, 3) and float(abs(vectors).max()) <= LARGEST
        require(good, "vectors", self.vectors, f"three rows of three numbers of Å up to {LARGEST:g}", "Crystal")
        assert vectors is not None
        lengths = np.linalg.norm(vectors, axis=1)
        sound = bool((lengths > 0.1).all()) and abs(np.linalg.det(vectors)) > FLATTEST * lengths.prod()
        require(sound, "vectors", self.vectors, "vectors that span a cell, each longer than 0.1 Å", "Crystal")
        good = fractions is not None and fractions.shape[1] == 3
        require(good, "fractions", self.fractions, "finite numbers of shape (atoms, 3)", "Crystal")
        assert fractions is not None
        words = f"{len(fractions)} names, one for each atom"
        named = isinstance(self.species, Sequence) and all(isinstance(name, str) for name in self.species)
        require(named and len(self.species) == len(fractions), "species", self.species, words, "Crystal")
        object.__setattr__(self, "vectors", vectors)
        object.__setattr__(self, "fractions", fractions)
        object.__setattr__(self, "species", tuple(self.species))

    @property
    def volume(self) -> float:
        """Of the cell, Å³."""
        return abs(float(np.linalg.det(self.vectors)))

    @cached_property
    def reciprocal(self) -> Floats:
        """Reciprocal vectors in rows, 1/Å: a_i · b_j = 2π δ_ij."""
        return np.asarray(2 * np.pi * np.linalg.inv(self.vectors).T)

    def strained(self, strain: Any) -> "Crystal":
        """Return the crystal with all vectors r → (1 + ε) r, atoms carried along; `strain` (3, 3)."""
        given = reals(strain, 2)
        good = given is not None and given.shape == (3, 3) and float(abs(given).max()) < 1.0
        require(good, "strain", strain, "three rows of three numbers between -1 and 1", "strained")
        assert given is not None
        return Crystal(self.vectors @ (np.eye(3) + given).T, self.fractions, self.species)

    def repeated(self, counts: Sequence[int]) -> "Crystal":
        """Return the crystal described by a cell of several, (n₁, n₂, n₃) along each vector."""
        require(are_counts(counts, 3, 1, 100), "counts", counts, "three whole numbers, 1 to 100", "repeated")
        most = MOST_ATOMS // len(self.species)
        require(math.prod(map(int, counts)) <= most, "counts", counts, f"no more than {most} cells", "repeated")
        steps = np.stack(np.meshgrid(*(np.arange(count) for count in counts), indexing="ij"), -1).reshape(-1, 3)
        fractions = (steps[:, None] + self.fractions).reshape(-1, 3) / np.array(counts)
        return Crystal(self.vectors * np.array(counts)[:, None], fractions, self.species * len(steps))

    def path(self, corners: str, count: int) -> tuple[Floats, Floats, list[tuple[float, str]]]:
        """Return wave vectors along straight lines between points of symmetry.

        Parameters
        ----------
        corners : str
            Names as in Setyawan & Curtarolo, Comput. Mater. Sci. 49, 299 (2010), such as ``"LGXKG"``.
        count : int
            Of wave vectors.

        Returns
        -------
        k : ndarray, (count, 3)
            In reciprocal vectors.
        along : ndarray, (count,)
            How far along the path, 1/Å.
        ticks : list of (float, str)
            Where the corners lie.
        """
        cell = Cell(self.vectors)
        known = sorted(cell.bandpath(npoints=0).special_points)
        good = isinstance(corners, str) and all(letter in known for letter in corners.replace(",", ""))
        require(good and len(corners) > 1, "corners", corners, f"two or more of {''.join(known)}", "path")
        require(is_count(count, len(corners), 100_000), "count", count, f"{len(corners)} or more", "path")
        path = cell.bandpath(corners, npoints=count)
        along, places, names = path.get_linear_kpoint_axis()
        ticks = [(float(place), "Γ" if name == "G" else name) for place, name in zip(places, names, strict=True)]
        return np.asarray(path.kpts), np.asarray(along), ticks


def face_centred(lattice_constant: float) -> Floats:
    """Return the vectors of a face-centred cubic lattice, (3, 3), of a lattice constant, Å."""
    require(
        is_positive(lattice_constant), "lattice_constant", lattice_constant, "a positive number of Å", "face_centred"
    )
    return float(lattice_constant) / 2 * np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]])


def zinc_blende(lattice_constant: float, cation: str, anion: str) -> Crystal:
    """Return two atoms at ±⅛ of the cube's diagonal; diamond if they are the same."""
    for name, atom in (("cation", cation), ("anion", anion)):
        require(isinstance(atom, str), name, atom, "the name of an atom", "zinc_blende")
    return Crystal(face_centred(lattice_constant), np.array([[0.125] * 3, [-0.125] * 3]), (cation, anion))
