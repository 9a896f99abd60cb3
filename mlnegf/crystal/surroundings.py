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
        _require(len(set(crystal.species)) == 1, "crystal", crystal.species, "atoms all of one kind")
        given = reals(fractions, 2)
        _require(given is not None and given.shape[1] == 3, "fractions", fractions, "numbers of shape (points, 3)")
        assert given is not None
        images = _images(crystal, self.cutoff)
        tree = KDTree(images)
        inside = (given % 1.0) @ crystal.vectors
        for first in range(0, len(inside), AT_ONCE):
            points = inside[first : first + AT_ONCE]
            near: list[list[int]] = list(tree.query_ball_point(points, self.cutoff))  # type: ignore[arg-type]
            counts = np.array([len(some) for some in near])
            # A row for each point; what fills it up lies at the cutoff, where nothing is seen.
            away = np.full((len(points), max(1, counts.max()), 3), self.cutoff)
            seen = np.arange(away.shape[1]) < counts[:, None]
            away[seen] = images[np.concatenate([np.asarray(some, dtype=int) for some in near])]
            away[seen] -= np.repeat(points, counts, axis=0)
            yield self._spectra(away)

    def _spectra(self, away: Floats) -> NDArray[np.float32]:
        """Return what points see of atoms, (points, neighbours, 3), Å."""
        distance = np.linalg.norm(away, axis=2)
        bumps = np.ascontiguousarray(self._radial(distance).swapaxes(1, 2))
        # An atom at the point itself has no direction.
        directed = bumps * -np.expm1(-((distance / self._wide) ** 2))[:, None]
        upper = np.triu_indices(self.radial)
        double = np.where(upper[0] == upper[1], 1.0, np.sqrt(2.0))
        parts = []
        for degree, waves in enumerate(_harmonics(away / np.maximum(distance, 1e-12)[..., None], self.angular)):
            sums = (directed if degree else bumps) @ waves
            if degree == 0:
                parts.append(sums[..., 0])
            power = sums @ sums.swapaxes(1, 2)
            parts.append(power[:, upper[0], upper[1]] * double / np.sqrt(2 * degree + 1))
        return np.concatenate(parts, 1).astype(np.float32)

    @property
    def _wide(self) -> float:
        """Width of a bump, and what lies between two, Å."""
        return self.cutoff / self.radial

    def _radial(self, distance: Floats) -> Floats:
        """Return Gaussians along r that end smoothly at the cutoff, (..., radial)."""
        centres = self._wide * np.arange(self.radial)
        ends = 0.5 * (1 + np.cos(np.pi * np.minimum(distance / self.cutoff, 1.0)))
        return np.asarray(np.exp(-0.5 * ((distance[..., None] - centres) / self._wide) ** 2) * ends[..., None])


def _harmonics(directions: Floats, highest: int) -> Iterator[Floats]:
    """Yield real spherical harmonics of unit vectors (..., 3), one degree after the other, (..., 2l + 1)."""
    z, plane = directions[..., 2], directions[..., 0] + 1j * directions[..., 1]
    before: list[Any] = []
    last: list[Any] = [np.full(z.shape, 1 / np.sqrt(4 * np.pi))]
    for degree in range(highest + 1):
        parts = [last[0], *(side for wave in last[1:] for side in (wave.real * np.sqrt(2), wave.imag * np.sqrt(2)))]
        yield np.stack(parts, -1)
        # The next degree by the last two, and its highest order by the last one's.
        above, following = degree + 1, []
        for m, wave in enumerate(last):
            scale = np.sqrt((4 * above**2 - 1) / (above**2 - m**2))
            older = np.sqrt((degree**2 - m**2) / (4 * degree**2 - 1)) * before[m] if m < degree else 0.0
            following.append(scale * (z * wave - older))
        following.append(-np.sqrt((2 * above + 1) / (2 * above)) * plane * last[-1])
        before, last = last, following


def _images(crystal: Crystal, cutoff: float) -> Floats:
    """Return atoms of the cell and of its neighbours that a point of the cell can see, Å."""
    heights = 2 * np.pi / np.linalg.norm(crystal.reciprocal, axis=1)
    most = np.ceil(cutoff / heights).astype(int)
    steps = np.stack(np.meshgrid(*(np.arange(-m, m + 1) for m in most), indexing="ij"), -1).reshape(-1, 1, 3)
    places = (steps + crystal.fractions % 1.0).reshape(-1, 3)
    margin = cutoff / heights
    seen = ((places > -margin - 1e-9) & (places < 1 + margin + 1e-9)).all(1)
    return np.asarray(places[seen] @ crystal.vectors)
