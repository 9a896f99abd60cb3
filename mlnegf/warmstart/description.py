"""A device at a bias in the words a network reads before any NEGF solve: its numbers, its slices, its section.

All of it follows from the parameters and from the semiclassical start. Places along x are told from both edges of the
gate, places across by the lowest wave function of each valley, so that the same words serve every section and grid.
Everything is in the n-type picture, on the semiconductor's folded cells.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from scipy.interpolate import CubicSpline

from mlnegf._common import Floats, Ints
from mlnegf.nanosheet.device import Device
from mlnegf.nanosheet.semiclassical import neutral_potential, quasi_fermi_level
from mlnegf.nanosheet.subbands import Section, empty_section

STEP: Final = 0.5
"""Of the even steps along x, nm."""

# Each condition: the value that reads as zero and the change that reads as one. nm, V, eV, K.
CONDITIONS: Final[dict[str, tuple[float, float]]] = {
    "width": (7.5, 3.0),
    "thickness": (4.5, 1.0),
    "gate_length": (15.0, 6.0),
    "source_length": (9.0, 2.0),
    "drain_length": (9.0, 2.0),
    "oxide_thickness": (1.1, 0.3),
    "log10_doping": (20.0, 0.2),
    "temperature": (325.0, 50.0),
    "gate_potential": (0.4, 0.25),
    "drain": (0.4, 0.25),
    "dx": (0.4, 0.1),
    "dy": (0.4, 0.1),
    "dz": (0.4, 0.1),
    "filling": (0.8, 0.15),
    "mean_y": (0.0, 0.25),
    "mean_z": (0.0, 0.25),
    "mean_yy": (0.0, 0.25),
    "mean_zz": (0.0, 0.25),
    "mean_yz": (0.0, 0.25),
    "first_level": (0.2, 0.15),
    "second_level": (0.2, 0.15),
    "third_level": (0.2, 0.15),
    "neutral_potential": (0.4, 0.15),
}
RANGED: Final = tuple(CONDITIONS)[:13]
"""Conditions whose training ranges are held against a new case."""
ALONG: Final = 13
ACROSS: Final = 8


@dataclass(frozen=True, eq=False)
class Shape:
    """What of a device no bias changes.

    Attributes
    ----------
    conditions : dict
        By name; nm, eV, K.
    x, even : ndarray
        Slice centres (nx,), and even steps (n,), nm.
    steps, back : ndarray, (nx, n) and (n, nx)
        Interpolation from even steps to slices, and from slices to even steps.
    across : ndarray, (cells, ACROSS)
        On the semiconductor's folded cells.
    weights, core : ndarray, (cells,)
        Share of the area, and of the lowest wave functions' charge, in each cell; sums of 1.
    lowest : float
        Lowest level of the empty section, eV.
    """

    device: Device
    conditions: dict[str, float]
    x: Floats
    even: Floats
    steps: Floats
    back: Floats
    across: Floats
    weights: Floats
    core: Floats
    lowest: float

    @staticmethod
    def of(device: Device, section: Section | None = None) -> "Shape":
        """Describe a device, of whose empty section the levels may be known."""
        section = section or empty_section(device)
        grid = device.grid
        places = [_first(grid.representative, field) for field in np.meshgrid(grid.y, grid.z, indexing="ij")]
        y, z = (
            place[grid.doped_cells] / half
            for place, half in zip(places, (device.width / 2, device.thickness / 2), strict=True)
        )
        areas = grid.volumes[grid.doped_cells]
        weights = areas / areas.sum()
        levels, waves = _lowest(section)
        where = np.searchsorted(grid.channel_cells, grid.doped_cells)
        waves = waves[:, where] / (waves[:, where] @ weights)[:, None]
        length, even_count = device.length, math.ceil(device.length / STEP)
        even = (np.arange(even_count) + 0.5) * (length / even_count)
        begin, end = grid.gate
        # Mirror images stand for each other where the section is symmetric: only even powers are told of it.
        sides = [not side for side in grid.mirrored]
        means = [float(weights @ field) for field in (y * sides[0], z * sides[1], y * y, z * z, y * z * all(sides))]
        values = {
            "width": device.width,
            "thickness": device.thickness,
            "gate_length": device.gate_length,
            "source_length": begin,
            "drain_length": length - end,
            "oxide_thickness": device.oxide_thickness,
            "log10_doping": math.log10(device.doping),
            "temperature": device.temperature,
            "dx": grid.dx,
            "dy": float(grid.dy[len(grid.dy) // 2]),
            "dz": float(grid.dz[len(grid.dz) // 2]),
            "filling": float(grid.area[grid.semiconductor].sum() / (device.width * device.thickness)),
            **dict(zip(("mean_y", "mean_z", "mean_yy", "mean_zz", "mean_yz"), means, strict=True)),
            **dict(zip(("first_level", "second_level", "third_level"), levels.tolist(), strict=True)),
            "neutral_potential": neutral_potential(device, section),
        }
        return Shape(
            device=device,
            conditions=values,
            x=grid.x,
            even=np.asarray(even),
            steps=CubicSpline(even, np.eye(even_count))(grid.x),
            back=np.stack([np.interp(even, grid.x, unit) for unit in np.eye(len(grid.x))], axis=1),
            across=np.stack([*waves, y * sides[0], z * sides[1], y * y, z * z, y * z * all(sides)], axis=1),
            weights=weights,
            core=weights * waves.mean(0),
            lowest=float(levels.min()),
        )

    def values(self, gate_potential: float, drain: float) -> dict[str, float]:
        """Return every condition at a bias, V, by name."""
        return {**self.conditions, "gate_potential": gate_potential, "drain": drain}

    def at(self, gate_potential: float, drain: float, start: Floats) -> "Description":
        """Describe it at a bias, V, and a start (nx, cells) on the semiconductor's folded cells, V."""
        values = self.values(gate_potential, drain)
        offset, scale = np.array(list(CONDITIONS.values())).T
        told = (np.array([values[name] for name in CONDITIONS]) - offset) / scale
        tensors = (told, self._along(gate_potential, drain, start), self.across, self.steps)
        return Description(values, *(torch.from_numpy(np.ascontiguousarray(field)).float() for field in tensors))

    def _along(self, gate_potential: float, drain: float, start: Floats) -> Floats:
        even, (begin, end) = self.even, self.device.grid.gate
        mean, core = (self.back @ (start @ share) for share in (self.weights, self.core))
        level = np.interp(even, self.x, quasi_fermi_level(self.device, drain))
        filled = mean - level - self.lowest
        bend = np.gradient(np.gradient(mean, even), even)
        edges = [np.tanh((even - edge) / reach) for edge in (begin, end) for reach in (2.0, 6.0)]
        ends = [np.exp(-even / 2.0), np.exp((even - self.device.length) / 2.0)]
        return np.stack(
            [
                (mean - self.conditions["neutral_potential"]) / 0.3,
                filled / 0.2,
                np.tanh(filled / (4 * self.device.thermal_energy)),
                (core - mean) / 0.1,
                bend / 0.1,
                level / 0.4,
                (gate_potential - mean) / 0.3,
                *edges,
                *ends,
            ]
        )


@dataclass(frozen=True, eq=False)
class Description:
    """A device at a bias: `values` by name, and what a `SeparableNetwork` reads, float32."""

    values: Mapping[str, float]
    conditions: torch.Tensor
    along: torch.Tensor
    across: torch.Tensor
    steps: torch.Tensor


def _first(index: Ints, field: Floats) -> Floats:
    """Value of a field (ny, nz) at the first image of every folded cell."""
    return np.asarray(field.ravel()[np.unique(index.ravel(), return_index=True)[1]])


def _lowest(section: Section) -> tuple[Floats, Floats]:
    """Lowest level of each of three valleys, eV, and its |ψ|² on the section's cells, (3, C)."""
    symmetries = len(section.energies) // 3
    levels, waves = [], []
    for valley in range(3):
        families = range(valley * symmetries, (valley + 1) * symmetries)
        best = min(families, key=lambda family: float(section.energies[family][0]))
        levels.append(float(section.energies[best][0]))
        waves.append(section.functions[best][:, 0].numpy() ** 2)
    return np.array(levels), np.array(waves)
