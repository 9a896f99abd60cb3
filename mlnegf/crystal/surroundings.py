"""What a point of a crystal sees of the atoms around it: a power spectrum that no rotation changes.

The atoms within a cutoff are expanded in bumps along r and spherical harmonics, c_nlm = Σ_i R_n(r_i) Y_lm(r̂_i), and
p_nn'l = Σ_m c*_nlm c_n'lm/√(2l+1) is kept: Bartók, Kondor & Csányi, Phys. Rev. B 87, 184115 (2013), here for any point
of space, and with atoms as points.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree
from scipy.special import sph_harm_y

from mlnegf._common import Floats, hold, is_count, is_positive, reals, require
from mlnegf.crystal.lattice import Crystal

_require = partial(require, caller="Surroundings")

AT_ONCE: Final = 2000
"""Points worked on at a time."""


@dataclass(frozen=True)
class Surroundings:
    """Power spectrum of the atoms around a point, all of one kind.

    Parameters
    ----------
    cutoff : float
        Å.
    radial : int
        Bumps along r.
    angular : int
        Largest l.
    """

    cutoff: float = 6.0
    radial: int = 8
    angular: int = 4

    def __post_init__(self) -> None:
        good = is_positive(self.cutoff) and 1.0 <= self.cutoff <= 30.0
        _require(good, "cutoff", self.cutoff, "a number of Å between 1 and 30")
        _require(is_count(self.radial, 2, 40), "radial", self.radial, "a whole number between 2 and 40")
        _require(is_count(self.angular, 0, 20), "angular", self.angular, "a whole number between 0 and 20")
        hold(self, float, "cutoff")
        hold(self, int, "radial", "angular")

    @property
    def size(self) -> int:
        """Numbers a point."""
        return self.radial * (self.radial + 1) // 2 * (self.angular + 1) + self.radial

    def __call__(self, crystal: Crystal, fractions: Any) -> NDArray[np.float32]:
        """Return what each point sees, (points, size): c_n00, and then the power spectrum.

        Parameters
        ----------
        crystal : Crystal
        fractions : array, (points, 3)
            In lattice vectors.
        """
        return np.concatenate(list(self.streamed(crystal, fractions)))

    def streamed(self, crystal: Crystal, fractions: Any) -> Iterator[NDArray[np.float32]]:
        """Yield the same in parts of `AT_ONCE` points: memory does not grow with their number."""
        _require(isinstance(crystal, Crystal), "crystal", crystal, "a Crystal")
        given = reals(fractions, 2)
        _require(given is not None and given.shape[1] == 3, "fractions", fractions, "numbers of shape (points, 3)")
        assert given is not None
        images = _images(crystal, self.cutoff)
        tree = KDTree(images)
        inside = (given % 1.0) @ crystal.vectors
        for first in range(0, len(inside), AT_ONCE):
            points = inside[first : first + AT_ONCE]
            pairs: list[list[int]] = list(tree.query_ball_point(points, self.cutoff))  # type: ignore[arg-type]
            counts = np.array([len(near) for near in pairs])
            flat = np.concatenate([np.asarray(near, dtype=int) for near in pairs])
            owner = np.repeat(np.arange(len(points)), counts)
            yield self._spectra(images[flat] - points[owner], owner, len(points))

    def _spectra(self, away: Floats, owner: NDArray[np.int64], points: int) -> NDArray[np.float32]:
        distance = np.linalg.norm(away, axis=1)
        bumps = self._radial(distance)
        polar = np.arccos(np.clip(away[:, 2] / np.maximum(distance, 1e-12), -1, 1))
        around = np.arctan2(away[:, 1], away[:, 0])
        starts = np.searchsorted(owner, np.arange(points))
        empty = np.searchsorted(owner, np.arange(points), side="right") == starts
        upper = np.triu_indices(self.radial)
        double = np.where(upper[0] == upper[1], 1.0, np.sqrt(2.0))
        parts = []
        for degree in range(self.angular + 1):
            power = np.zeros((points, len(upper[0])))
            for order in range(degree + 1):
                wave = sph_harm_y(degree, order, polar, around)
                sums = np.add.reduceat(np.vstack([bumps * wave[:, None], np.zeros((1, self.radial))]), starts, axis=0)
                sums[empty] = 0.0
                if degree == order == 0:
                    parts.append(sums.real)
                # −m and m hold the same: their parts count twice.
                power += (1 if order == 0 else 2) * (sums[:, upper[0]].conj() * sums[:, upper[1]]).real
            parts.append(power * double / np.sqrt(2 * degree + 1))
        return np.concatenate(parts, 1).astype(np.float32)

    def _radial(self, distance: Floats) -> Floats:
        """Return Gaussians along r that end smoothly at the cutoff, (pairs, radial)."""
        wide = self.cutoff / self.radial
        centres = wide * np.arange(self.radial)
        ends = 0.5 * (1 + np.cos(np.pi * np.minimum(distance / self.cutoff, 1.0)))
        return np.asarray(np.exp(-0.5 * ((distance[:, None] - centres) / wide) ** 2) * ends[:, None])


def _images(crystal: Crystal, cutoff: float) -> Floats:
    """Return atoms of the cell and of its neighbours that a point of the cell can see, Å."""
    heights = 2 * np.pi / np.linalg.norm(crystal.reciprocal, axis=1)
    most = np.ceil(cutoff / heights).astype(int)
    steps = np.stack(np.meshgrid(*(np.arange(-m, m + 1) for m in most), indexing="ij"), -1).reshape(-1, 1, 3)
    places = (steps + crystal.fractions % 1.0).reshape(-1, 3)
    margin = cutoff / heights
    seen = ((places > -margin - 1e-9) & (places < 1 + margin + 1e-9)).all(1)
    return np.asarray(places[seen] @ crystal.vectors)
