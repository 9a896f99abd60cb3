"""What the surroundings of an atom look like, in numbers that no rotation changes: the smooth overlap of positions.

The neighbours of an atom within a cutoff, each a Gaussian, are expanded in radial functions and spherical harmonics,
ρ(r) = Σ c_nlm R_n(r) Y_lm, and the power spectrum p_nn'l ∝ Σ_m c*_nlm c_n'lm is what remains of it under all rotations:
Bartók, Kondor & Csányi, Phys. Rev. B 87, 184115 (2013). With 17 radial functions and l = 0 … 9 these are
17·18/2·10 = 1,530 numbers an atom. Worked out by featomic.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Final

import featomic
import numpy as np
from featomic.systems import SystemBase
from numpy.typing import NDArray

from mlnegf._common import Floats, hold, is_count, is_positive, require
from mlnegf.atomistic.potential import POTASSIUM, require_apart, require_positions

_require = partial(require, caller="Soap")

Singles = NDArray[np.float32]

LEAST: Final = 0.02
"""Of the largest spread, that which the fainter ones are measured by."""


@dataclass(frozen=True)
class Soap:
    """Power spectrum of the surroundings of every atom.

    Parameters
    ----------
    cutoff : float
        Å.
    width : float
        Standard deviation of an atom's Gaussian, Å.
    radial : int
        Radial functions.
    angular : int
        Largest l.
    """

    cutoff: float = 8.0
    width: float = 1.0
    radial: int = 17
    angular: int = 9

    def __post_init__(self) -> None:
        for name, least, most in (("cutoff", 1.0, 30.0), ("width", 0.05, 5.0)):
            value = getattr(self, name)
            good = is_positive(value) and least <= value <= most
            _require(good, name, value, f"a number of Å between {least:g} and {most:g}")
        _require(is_count(self.radial, 1, 40), "radial", self.radial, "a whole number between 1 and 40")
        _require(is_count(self.angular, 0, 30), "angular", self.angular, "a whole number between 0 and 30")
        hold(self, float, "cutoff", "width")
        hold(self, int, "radial", "angular")

    @property
    def size(self) -> int:
        """Numbers an atom."""
        return self.radial * (self.radial + 1) // 2 * (self.angular + 1)

    @cached_property
    def _calculator(self) -> Any:
        return featomic.SoapPowerSpectrum(
            cutoff={"radius": self.cutoff, "smoothing": {"type": "ShiftedCosine", "width": 1.0}},
            density={"type": "Gaussian", "width": self.width},
            basis={
                "type": "TensorProduct",
                "max_angular": self.angular,
                "radial": {"type": "Gto", "max_radial": self.radial - 1},
            },
        )

    @cached_property
    def _kept(self) -> tuple[NDArray[np.intp], Floats]:
        """Columns n ≤ n′ of all, and √2 where n ≠ n′: scalar products stay what they were."""
        n, m, _ = np.indices((self.radial, self.radial, self.angular + 1))
        l_first = [np.moveaxis(index, -1, 0).ravel() for index in (n, m)]
        columns = np.flatnonzero(l_first[0] <= l_first[1])
        return columns, np.where(l_first[0] == l_first[1], 1.0, np.sqrt(2.0))[columns]

    def __call__(self, positions: Any) -> Floats:
        """Return what surrounds each atom, (atoms, size), of positions (atoms, 3), Å.

        Raises
        ------
        ValueError
            If these are no positions, or two atoms lie on each other.
        """
        found = self._calculator.compute([self._atoms(positions)], use_native_system=True)
        columns, weights = self._kept
        chosen = np.take(np.asarray(found.block(0).values), columns, axis=1)
        chosen *= weights
        return chosen

    def pull(self, positions: Any, weights: Floats) -> Floats:
        """Return the gradient of Σ weights · descriptors by the positions, (atoms, 3), of weights (atoms, size)."""
        atoms = self._atoms(positions)
        found = self._calculator.compute([atoms], gradients=["positions"], use_native_system=True)
        slopes = found.block(0).gradient("positions")
        columns, factors = self._kept
        centre, moved = (np.asarray(slopes.samples.column(name)) for name in ("sample", "atom"))
        parts = np.einsum("skf,sf->sk", slopes.values[:, :, columns], (weights * factors)[centre])
        total = np.zeros((atoms.size(), 3))
        np.add.at(total, moved, parts)
        return total

    @staticmethod
    def _atoms(positions: Any) -> "_Atoms":
        given = require_positions(positions, "Soap")
        require_apart(given, POTASSIUM.lattice_constant, "Soap")
        return _Atoms(given)


class _Atoms(SystemBase):  # type: ignore[misc, unused-ignore]
    """Atoms of one kind without periods, as featomic reads them."""

    def __init__(self, positions: Floats) -> None:
        super().__init__()
        self._positions, self._types = np.ascontiguousarray(positions), np.full(len(positions), 19, np.int32)

    def size(self) -> int:
        return len(self._types)

    def types(self) -> NDArray[np.int32]:
        return self._types

    def positions(self) -> Floats:
        return self._positions

    def cell(self) -> Floats:
        return np.zeros((3, 3))

    def compute_neighbors(self, cutoff: float) -> None:
        raise NotImplementedError

    def pairs(self) -> None:
        raise NotImplementedError

    def pairs_containing(self, atom: int) -> None:
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Projection:
    """The directions in which surroundings differ, in the order of how much.

    The 1,530 features are not brought to equal spreads: hundreds hold nothing but rounding. Directions are, down to
    `LEAST` of the first one's: what is fainter stays faint.

    Attributes
    ----------
    mean : ndarray, (size,)
    directions : ndarray, (size, kept)
    scale : ndarray, (kept,)
        By which each is divided.
    left_out : float
        Share of the spread's square that is not kept.
    """

    mean: Floats
    directions: Floats
    scale: Floats
    left_out: float

    @staticmethod
    def of(samples: Iterator[Floats] | Sequence[Floats], kept: int = 128) -> "Projection":
        """Find them from samples, each (atoms, size); only their sums are held."""
        require(is_count(kept), "kept", kept, "a whole number, 1 or more", "Projection")
        count, total, square = 0, None, None
        for features in samples:
            part = features.astype(np.float64)
            total = part.sum(0) if total is None else total + part.sum(0)
            square = part.T @ part if square is None else square + part.T @ part
            count += len(part)
        require(total is not None, "samples", samples, "at least one", "Projection")
        assert total is not None
        assert square is not None
        mean = total / count
        values, vectors = np.linalg.eigh(square / count - np.outer(mean, mean))
        chosen = slice(None, -kept - 1, -1)
        lost = float(values[:-kept].clip(0).sum() / values.clip(0).sum())
        spread = np.sqrt(values[chosen].clip(0))
        require(spread[0] > 0, "samples", count, "atoms that differ", "Projection")
        return Projection(mean, vectors[:, chosen], np.maximum(spread, LEAST * spread[0]), lost)

    def __call__(self, features: Floats) -> Singles:
        """Project features (..., size) to (..., kept)."""
        return np.asarray((features - self.mean) @ self.directions / self.scale, dtype=np.float32)
