"""The network's square: the slices of any device brought to one shape, and corrections brought back.

A case travels: `encode` brings its slices to the square, a network predicts two corrections to the first iteration, the
logarithm of the charge ratio and the change of potential, and `decode` brings them back to the device's own cells. Only
corrections make the round trip, so every detail of the first iteration survives it. `predict` is the three in a row.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from mlnegf._common import Bools, Floats, require
from mlnegf.learning.losses import Cell
from mlnegf.learning.networks import NETWORKS, Network
from mlnegf.nanosheet.device import LENGTHS
from mlnegf.warmstart.rescale import rescale
from mlnegf.warmstart.samples import BiasedDevice, FirstIteration

CHARGE_FLOOR: Final = 1e-12
"""Density, nm⁻³ (1e9 cm⁻³): a smaller first charge is read as this, to have a logarithm."""
CHARGE_SCALE: Final = 0.1
"""Density, nm⁻³ (1e20 cm⁻³), that is one in the network's units."""
POTENTIAL_SCALE: Final = 0.5
"""Start potential, V, that is one in the network's units."""
CORRECTION_SCALE: Final = 0.1
"""Potential correction, V, for an output of one."""

FEATURES: Final = (
    "charge",
    "log_charge",
    "potential",
    "log_charge_towards_source",
    "potential_towards_source",
    "log_charge_towards_drain",
    "potential_towards_drain",
    "silicon",
)
"""What a network sees of each slice, image by image."""

# Each condition: the value that reads as zero and the change that reads as one. Lengths in nm, voltages in V.
CONDITIONS: Final[dict[str, tuple[float, float]]] = {
    "gate": (0.4, 0.4),
    "drain": (0.4, 0.4),
    "width": (6.0, 3.0),
    "thickness": (3.0, 1.0),
    "gate_length": (10.0, 5.0),
    "source_length": (8.0, 4.0),
    "drain_length": (8.0, 4.0),
    "oxide_thickness": (1.0, 0.5),
    "log10_doping": (20.0, 0.5),
    "filling": (1.0, 0.2),
    "from_source_edge": (0.0, 5.0),
    "from_drain_edge": (0.0, 5.0),
    "from_centre": (0.0, 5.0),
}
COUNTS: Final = {"features": len(FEATURES), "conditions": len(CONDITIONS)}
"""What every network that reads slices is made with."""
TOLD: Final = {*(set(LENGTHS) & set(CONDITIONS)), "doping", "cross_section", "spacing"}
"""Fields of a device that a network knows: from its conditions, or from the images and the cells they lie on."""


def conditions(case: BiasedDevice) -> Floats:
    """Say where each slice stands, in the order and units of `CONDITIONS`: (nx, conditions).

    Filling is the silicon's part of its bounding box; the three distances are signed, positive towards the drain, from
    the source's edge of the gate, the drain's edge and the middle of the device.
    """
    device, x = case.device, case.x
    gate_begins, gate_ends = device.grid.gate
    values: dict[str, float | Floats] = {
        "gate": case.gate,
        "drain": case.drain,
        **{name: getattr(device, name) for name in LENGTHS},
        "log10_doping": math.log10(device.doping),
        "filling": float(case.mask.mean()),
        "from_source_edge": x - gate_begins,
        "from_drain_edge": x - gate_ends,
        "from_centre": x - device.length / 2,
    }
    return np.stack([np.broadcast_to(values[name], x.shape) for name in CONDITIONS], axis=1)


def untrained(name: str, **config: float) -> Network:
    """Make a network of `NETWORKS` that reads these features and conditions, with its first weights."""
    known = isinstance(name, str) and name in NETWORKS
    require(known, "name", name, f"one of {sorted(NETWORKS)}", "untrained")
    make: Callable[..., Network] = NETWORKS[name]
    return make(**COUNTS, **config)


@dataclass(frozen=True, eq=False)
class Squares:
    """A case on the network's square.

    Attributes
    ----------
    charge, potential : Tensor, (nx, S, S)
        First charge, nm⁻³ (per volume of the square's cell), and start potential, V (its mean over the silicon).
    fraction : Tensor, (S, S)
        Part of each cell that is silicon; zero on padding.
    conditions : Tensor, (nx, conditions)
        Normalised as `CONDITIONS` states.
    cell : tuple of float
        Cell sizes (dx, dy, dz), nm.
    """

    charge: torch.Tensor
    potential: torch.Tensor
    fraction: torch.Tensor
    conditions: torch.Tensor
    cell: Cell

    @property
    def weight(self) -> torch.Tensor:
        """Volume of silicon in each cell, nm³, (S, S): the weight of every loss."""
        return self.fraction * math.prod(self.cell)

    def features(self, reach: float, alone: bool = False) -> torch.Tensor:
        """Stack what a network sees of each slice, in the order of `FEATURES`: (nx, features, S, S), float32.

        Parameters
        ----------
        reach : float
            How far away the slices towards source and drain stand, nm; the end slices continue the device.
        alone : bool
            Whether those slices are hidden.
        """
        images = {
            "charge": self.charge / CHARGE_SCALE,
            "log_charge": torch.log(self.charge.clamp_min(CHARGE_FLOOR) / CHARGE_SCALE) / 10.0,
            "potential": self.potential / POTENTIAL_SCALE,
            "silicon": self.fraction.expand_as(self.charge),
        }
        index, step = torch.arange(len(self.charge)), max(1, round(reach / self.cell[0]))
        for side, there in (("source", index - step), ("drain", index + step)):
            for name in ("log_charge", "potential"):
                shown = images[name][there.clamp(0, len(index) - 1)]
                images[f"{name}_towards_{side}"] = torch.zeros_like(shown) if alone else shown
        return torch.stack([images[name] for name in FEATURES], dim=1).float()

    def predicted_charge(self, log_ratio: torch.Tensor) -> torch.Tensor:
        """Return the charge density, nm⁻³, of a log-ratio to the first one; zero on padding."""
        # No ratio of two physical densities leaves e^±40, and exp stays finite whatever a network says.
        density = self.charge.clamp_min(CHARGE_FLOOR) * torch.exp(log_ratio.clamp(-40.0, 40.0))
        return torch.where(self.fraction > 0, density, 0.0)


def encode(slices: FirstIteration, size: int, dtype: torch.dtype = torch.float64) -> Squares:
    """Bring a case to the square."""
    mask, device = slices.mask, slices.device
    offset, scale = np.array(list(CONDITIONS.values())).T
    return Squares(
        charge=torch.from_numpy(cell_average(slices.first_charge, mask, size)).to(dtype),
        potential=torch.from_numpy(silicon_average(slices.first_potential, mask, size)).to(dtype),
        fraction=torch.from_numpy(cell_average(np.ones(mask.shape), mask, size)).to(dtype),
        conditions=torch.from_numpy((conditions(slices) - offset) / scale).float(),
        cell=(
            float(slices.x[1] - slices.x[0]) if len(slices.x) > 1 else 1.0,
            device.width / size,
            device.thickness / size,
        ),
    )


def corrections(model: Network, squares: Squares) -> tuple[torch.Tensor, torch.Tensor]:
    """Let a network predict ln(converged/first charge) and the potential correction, V, each (nx, S, S)."""
    where = torch.zeros_like(squares.conditions) if model.blind else squares.conditions
    log_ratio, correction = model(squares.features(model.reach, alone=model.blind), where).unbind(dim=1)
    return log_ratio, correction * CORRECTION_SCALE


def predict(model: Network, slices: FirstIteration) -> tuple[Floats, Floats]:
    """Predict a case's converged charge, nm⁻³, and potential, V: (nx, ny, nz) on its own cells."""
    squares = encode(slices, model.size)
    with torch.no_grad():
        log_ratio, correction = corrections(model.eval(), squares)
    return decode(slices, squares, log_ratio, correction)


def cell_average(field: Floats, mask: Bools, size: int) -> Floats:
    """Average a field, zero outside the mask, over each cell of the square: (..., size, size).

    For a density this is its area-preserving rescaling: the charge of every slice is kept to 1e-12.
    """
    return rescale(field, (size, size), source_mask=mask) * (size * size / mask.size)


def silicon_average(field: Floats, mask: Bools, size: int) -> Floats:
    """Average a field over the silicon of each cell of the square; zero on padding."""
    fraction, total = cell_average(np.ones(mask.shape), mask, size), cell_average(field, mask, size)
    return np.divide(total, fraction, out=np.zeros_like(total), where=fraction > 0)


def decode(
    slices: FirstIteration, squares: Squares, log_ratio: torch.Tensor, correction: torch.Tensor
) -> tuple[Floats, Floats]:
    """Bring the two corrections back to the device's own cells and apply them there.

    Corrections are smooth, so they are interpolated linearly between cell centres, which is second order; spreading
    cell averages conservatively is first: 0.005 against 0.05 for a unit cosine on 48 × 12 cells. What interpolation
    does not keep is the charge of a slice, so each slice is then scaled to the one predicted on the square.

    Parameters
    ----------
    slices, squares
        The case, and what `encode` made of it.
    log_ratio, correction : Tensor, (nx, S, S)
        ln(converged/first charge); converged minus start potential, V.

    Returns
    -------
    charge, potential : ndarray, (nx, ny, nz)
        nm⁻³, zero outside the mask; V, the start potential outside the mask.
    """
    mask, (ny, nz) = slices.mask, slices.mask.shape
    known = (squares.fraction > 0).numpy().astype(np.float64)
    # Beyond the last centre of a full square lines are continued; on a padded one no line may leave the silicon.
    whole = bool(known.all())
    along_y, along_z = (interpolation(known.shape[0], cells, whole) for cells in (ny, nz))
    reached = np.where(mask, along_y @ known @ along_z.T, 1.0)

    def smooth(field: torch.Tensor) -> Floats:
        return np.where(mask, along_y @ (field.double().numpy() * known) @ along_z.T / reached, 0.0)

    growth = np.exp(np.clip(smooth(log_ratio), -40.0, 40.0))
    density = np.where(mask, np.maximum(slices.first_charge, CHARGE_FLOOR) * growth, 0.0)
    predicted = squares.predicted_charge(log_ratio.double()).double().mean(dim=(1, 2)).numpy()
    density *= (predicted / density.mean(axis=(1, 2)))[:, None, None]
    return density, slices.first_potential + smooth(correction)


def interpolation(source: int, target: int, extrapolate: bool) -> Floats:
    """Return the matrix of linear interpolation between cell centres: (target, source)."""
    if source == 1:
        return np.ones((target, 1))
    position = (np.arange(target) + 0.5) * source / target - 0.5
    left = np.clip(np.floor(position), 0, source - 2).astype(int)
    share = position - left if extrapolate else np.clip(position - left, 0.0, 1.0)
    matrix = np.zeros((target, source))
    matrix[np.arange(target), left], matrix[np.arange(target), left + 1] = 1.0 - share, share
    return matrix
