"""Bands of crystals, and what lies in a plane of one."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes

from mlnegf._common import Floats
from mlnegf.crystal.lattice import Crystal
from mlnegf.crystal.local_density import LocalDensity

JUMP: Final = 3.0
"""A step so many times as long as most leads to an equivalent point, and has no length of its own."""


def along(crystal: Crystal, k: Floats) -> Floats:
    """Return how far along a path wave vectors (k, 3) lie, in reciprocal vectors, 1/Å, (k,)."""
    steps = np.linalg.norm(np.diff(k, axis=0) @ crystal.reciprocal, axis=1)
    jumps = np.flatnonzero(steps > JUMP * np.median(steps))
    steps[jumps] = steps[np.minimum(jumps + 1, len(steps) - 1)]
    return np.concatenate([[0.0], np.cumsum(steps)])


def draw_bands(
    axis: Axes, places: Floats, bands: Floats, ticks: Sequence[tuple[float, str]], label: str = "", **options: Any
) -> None:
    """Draw bands (k, bands), eV, over how far along their path they lie, with its corners named."""
    lines = axis.plot(places, bands, **options)
    lines[0].set_label(label or "_")
    axis.set_xticks([place for place, _ in ticks], [name for _, name in ticks])
    axis.set(xlim=(places[0], places[-1]), ylabel="energy (eV)")


def draw_plane(axis: Axes, density: LocalDensity, values: Floats, height: int = 0, **options: Any) -> Any:
    """Draw numbers of the points of a rectangular cell, (points,), in the plane of one number of the third vector."""
    a, b, _ = np.linalg.norm(density.crystal.vectors, axis=1)
    plane = values.reshape(density.shape)[:, :, height]
    image = axis.imshow(plane.T, origin="lower", extent=(0, a, 0, b), interpolation="bicubic", **options)
    axis.set(xlabel="x (Å)", ylabel="y (Å)")
    axis.grid(False)
    return image
