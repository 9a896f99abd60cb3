"""Wires of atoms, seen from the side."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection
from matplotlib.colors import to_rgb

from mlnegf.atomistic.wires import Wire

RADIUS = 2.0
"""Of an atom as drawn, Å: nearly as large as half a bond."""


def draw_wire(axis: Axes, wire: Wire, colour: str = "C0", ends: str = "0.55") -> None:
    """Draw the atoms of a wire from the side, those behind paler, rigid cells in grey; axes in nm."""
    order = np.argsort(wire.positions[:, 2])
    places, depth = wire.positions[order], wire.positions[order, 2]
    near = (depth - depth.min()) / max(float(np.ptp(depth)), 1e-9)
    base = np.where(wire.is_held[order, None], to_rgb(ends), to_rgb(colour))
    shades = 1.0 - (1.0 - base) * (0.35 + 0.65 * near[:, None])
    size = np.full(len(places), 0.2 * RADIUS)
    atoms = EllipseCollection(
        size,
        size,
        np.zeros(len(places)),
        units="xy",
        offsets=places[:, :2] / 10.0,
        offset_transform=axis.transData,
        facecolors=shades,
        edgecolors=0.75 * shades,
        linewidths=0.4,
    )
    axis.add_collection(atoms)
    low, high = places.min(0) / 10.0 - 0.3, places.max(0) / 10.0 + 0.3
    limits = {"xlim": (low[0], high[0]), "ylim": (low[1], high[1])}
    axis.set(aspect="equal", xlabel="x (nm)", ylabel="y (nm)", **limits)
