"""Networks that read the charge slices after the first NEGF solve and predict those of the last.

A case travels: `encode` brings its slices to the network's square, a `Network` predicts two corrections to the first
iteration, the logarithm of the charge ratio and the change of potential, and `decode` brings them back to the device's
own cells. Only corrections make the round trip, so every detail of the first iteration survives it. `predict` is the
three in a row; `save` and `load` keep a network in one file; `doubt` says how far a case lies outside its training.
"""

import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch import nn
from torch.nn.functional import silu

from mlnegf.device import Device
from mlnegf.losses import Cell
from mlnegf.rescale import rescale

Floats = NDArray[np.float64]
Location = str | os.PathLike[str]
Ranges = dict[str, tuple[float, float]]

CHARGE_FLOOR: Final = 1e-12
"""Density, nm⁻³ (1e9 cm⁻³): a smaller first charge is read as this, to have a logarithm."""
CHARGE_SCALE: Final = 0.1
"""Density, nm⁻³ (1e20 cm⁻³), that is one in the network's units."""
POTENTIAL_SCALE: Final = 0.5
"""Start potential, V, that is one in the network's units."""
CORRECTION_SCALE: Final = 0.1
"""Potential correction, V, for an output of one."""
FORMAT_VERSION: Final = "2"
"""Of the weight files; raised when a reader of the old form would misread the new one."""
NETWORKS: Final[dict[str, type["Network"]]] = {}
"""Every network by name."""

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


class Slices(Protocol):
    """One device at one bias after its first NEGF solve, on the bounding box of its silicon.

    Attributes
    ----------
    device : Device
    gate, drain : float
        V.
    x : ndarray, (nx,)
        Slice centres from the source end, nm; equally spaced.
    mask : ndarray of bool, (ny, nz)
        Silicon; y along the width, z along the thickness.
    first_potential, first_charge : ndarray, (nx, ny, nz)
        The start potential, V, and the charge that NEGF makes of it, nm⁻³.
    """

    @property
    def device(self) -> Device: ...  # noqa: D102
    @property
    def gate(self) -> float: ...  # noqa: D102
    @property
    def drain(self) -> float: ...  # noqa: D102
    @property
    def x(self) -> Floats: ...  # noqa: D102
    @property
    def mask(self) -> NDArray[np.bool_]: ...  # noqa: D102
    @property
    def first_potential(self) -> Floats: ...  # noqa: D102
    @property
    def first_charge(self) -> Floats: ...  # noqa: D102


def conditions(slices: Slices) -> Floats:
    """Say where each slice stands, in the order and units of `CONDITIONS`: (nx, conditions).

    Filling is the silicon's part of its bounding box; the three distances are signed, positive towards the drain, from
    the source's edge of the gate, the drain's edge and the middle of the device.
    """
    device = slices.device
    lengths = [getattr(device, name) for name in list(CONDITIONS)[2:8]]
    same = [slices.gate, slices.drain, *lengths, math.log10(device.doping), slices.mask.mean()]
    drain_edge = device.source_length + device.gate_length
    edges = np.array([device.source_length, drain_edge, (drain_edge + device.drain_length) / 2])
    return np.hstack([np.broadcast_to(same, (len(slices.x), len(same))), slices.x[:, None] - edges])


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

    def features(self, reach: float) -> torch.Tensor:
        """Stack what a network sees of each slice: (nx, 8, S, S), float32.

        Channels: charge, its logarithm and the potential; logarithm and potential of the slices `reach` nm towards
        source and drain (the end slices continue the device); the silicon's fraction.
        """
        logarithm = torch.log(self.charge.clamp_min(CHARGE_FLOOR) / CHARGE_SCALE) / 10.0
        own = torch.stack([logarithm, self.potential / POTENTIAL_SCALE], dim=1)
        index, step = torch.arange(len(own)), max(1, round(reach / self.cell[0]))
        before, after = own[(index - step).clamp_min(0)], own[(index + step).clamp_max(len(own) - 1)]
        charge = self.charge[:, None] / CHARGE_SCALE
        return torch.cat([charge, own, before, after, self.fraction.expand_as(charge)], dim=1).float()

    def predicted_charge(self, log_ratio: torch.Tensor) -> torch.Tensor:
        """Return the charge density, nm⁻³, of a log-ratio to the first one; zero on padding."""
        # No ratio of two physical densities leaves e^±40, and exp stays finite whatever a network says.
        density = self.charge.clamp_min(CHARGE_FLOOR) * torch.exp(log_ratio.clamp(-40.0, 40.0))
        return torch.where(self.fraction > 0, density, 0.0)


def encode(slices: Slices, size: int, dtype: torch.dtype = torch.float64) -> Squares:
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


def cell_average(field: Floats, mask: NDArray[np.bool_], size: int) -> Floats:
    """Average a field, zero outside the mask, over each cell of the square: (..., size, size).

    For a density this is its area-preserving rescaling: the charge of every slice is kept to 1e-12.
    """
    return rescale(field, (size, size), source_mask=mask) * (size * size / mask.size)


def silicon_average(field: Floats, mask: NDArray[np.bool_], size: int) -> Floats:
    """Average a field over the silicon of each cell of the square; zero on padding."""
    fraction, total = cell_average(np.ones(mask.shape), mask, size), cell_average(field, mask, size)
    return np.divide(total, fraction, out=np.zeros_like(total), where=fraction > 0)


def decode(
    slices: Slices, squares: Squares, log_ratio: torch.Tensor, correction: torch.Tensor
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


class Network(nn.Module):
    """A network on squares: two corrections, (nx, S, S) each, of a case.

    One call is one case, its slices in order along x, so a network may look along x too. A subclass names itself,
    ``class Mine(Network, name="mine")``, keeps the keywords of its constructor in `config`, and returns raw outputs
    from `correct`, zero before training. `ranges` are the least and largest of every condition seen in training.
    """

    name: ClassVar[str]
    size: int
    reach: float
    config: dict[str, float]
    ranges: Ranges

    def __init_subclass__(cls, *, name: str, **others: Any) -> None:
        """Enter the class into `NETWORKS` under its name."""
        super().__init_subclass__(**others)
        cls.name = name
        NETWORKS[name] = cls

    def __init__(self) -> None:
        super().__init__()
        self.ranges = {}

    def correct(self, features: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
        """Return raw outputs, (nx, 2, S, S), in the network's units."""
        raise NotImplementedError

    def forward(self, squares: Squares) -> tuple[torch.Tensor, torch.Tensor]:
        """Predict ln(converged/first charge) and the potential correction, V, each (nx, S, S)."""
        raw = self.correct(squares.features(self.reach), squares.conditions)
        return raw[:, 0], raw[:, 1] * CORRECTION_SCALE


class FilmBlock(nn.Module):
    """Two convolutions beside an identity; the conditions scale and shift what passes between.

    Feature-wise linear modulation: Perez et al., AAAI 2018, arXiv:1709.07871.
    """

    def __init__(self, channels: int, embedding: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.film = nn.Linear(embedding, 2 * channels)

    def forward(self, image: torch.Tensor, embedded: torch.Tensor) -> torch.Tensor:
        """Transform images (nx, channels, h, w) under an embedding (nx, embedding)."""
        scale, shift = self.film(embedded)[:, :, None, None].chunk(2, dim=1)
        result: torch.Tensor = image + self.second(silu(self.first(silu(image)) * (1.0 + scale) + shift))
        return result


class SliceAutoencoder(Network, name="slice_autoencoder"):
    """Convolutional encoder and decoder, slice by slice, that knows bias, place and neighbours.

    Two halvings of the square, with blocks after each, and two doublings; what the encoder saw at half resolution is
    added on the way back (as the U-Net of Ronneberger et al., arXiv:1505.04597, does by concatenation). Nothing is
    computed at full resolution: corrections are smooth, and a case costs a third of the time.

    Parameters
    ----------
    size : int
        Cells along each side of the square; a multiple of four.
    channels : int
        At half resolution; twice as many at a quarter.
    embedding : int
        Length of the embedded conditions.
    reach : float
        How far the neighbouring slices stand, nm; about the distance over which charge and potential change.
    """

    def __init__(self, size: int = 24, channels: int = 24, embedding: int = 64, reach: float = 1.0) -> None:
        if size < 4 or size % 4:
            raise ValueError(
                f"SliceAutoencoder: size = {size!r}, expected a multiple of 4, since it is halved twice; try 24."
            )
        super().__init__()
        self.config = {"size": size, "channels": channels, "embedding": embedding, "reach": reach}
        self.size, self.reach = size, reach
        self.embed = nn.Sequential(
            nn.Linear(len(CONDITIONS), embedding), nn.SiLU(), nn.Linear(embedding, embedding), nn.SiLU()
        )
        self.enter = nn.Conv2d(8, channels, 4, stride=2, padding=1)
        self.down = FilmBlock(channels, embedding)
        self.shrink = nn.Conv2d(channels, 2 * channels, 2, stride=2)
        self.bottom = nn.ModuleList(FilmBlock(2 * channels, embedding) for _ in range(2))
        self.enlarge = nn.ConvTranspose2d(2 * channels, channels, 2, stride=2)
        self.up = FilmBlock(channels, embedding)
        self.leave = nn.ConvTranspose2d(channels, 2, 4, stride=2, padding=1)
        # Untrained, the network says that the first iteration is the last: training starts from the identity.
        for parameter in self.leave.parameters():
            nn.init.zeros_(parameter)
        # The fast layout of a CPU's convolutions with few channels: half the time.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def correct(self, features: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
        """Return raw outputs, (nx, 2, S, S)."""
        embedded = self.embed(conditions)
        fine = self.down(self.enter(features.contiguous(memory_format=torch.channels_last)), embedded)
        coarse = self.shrink(fine)
        for block in self.bottom:
            coarse = block(coarse, embedded)
        result: torch.Tensor = self.leave(silu(self.up(fine + self.enlarge(coarse), embedded)))
        return result


class PlainAutoencoder(SliceAutoencoder, name="plain_autoencoder"):
    """The same layers blindfolded: each slice alone, without neighbours, bias or place."""

    def correct(self, features: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
        """Return raw outputs, (nx, 2, S, S)."""
        own = torch.zeros_like(features)
        own[:, :3], own[:, -1:] = features[:, :3], features[:, -1:]
        return super().correct(own, torch.zeros_like(conditions))


def predict(model: Network, slices: Slices) -> tuple[Floats, Floats]:
    """Predict a case's converged charge, nm⁻³, and potential, V: (nx, ny, nz) on its own cells."""
    squares = encode(slices, model.size)
    with torch.no_grad():
        log_ratio, correction = model.eval()(squares)
    return decode(slices, squares, log_ratio, correction)


def seen(samples: Iterable[Slices]) -> Ranges:
    """Return the least and largest of every condition over samples, in the units of `CONDITIONS`."""
    extremes = [(values.min(axis=0), values.max(axis=0)) for values in map(conditions, samples)]
    low, high = (np.array(side) for side in zip(*extremes, strict=True))
    return dict(zip(CONDITIONS, zip(low.min(axis=0).tolist(), high.max(axis=0).tolist(), strict=True), strict=True))


def excesses(ranges: Ranges, slices: Slices) -> dict[str, float]:
    """Return how far each condition of a case lies outside its range, relative to the range's width.

    A condition that never varied in training is measured against the unit change of `CONDITIONS`.
    """
    values, result = conditions(slices), {}
    for (name, (_, unit)), low, high in zip(CONDITIONS.items(), values.min(axis=0), values.max(axis=0), strict=True):
        least, most = ranges[name]
        outside, width = max(least - low, high - most, 0.0), most - least
        # Equal up to rounding is inside.
        result[name] = float(outside / (width if width > 1e-9 * unit else unit)) if outside > 1e-9 * unit else 0.0
    return result


def doubt(model: Network, slices: Slices) -> float:
    """Return 0 inside the trained range, the largest relative excess outside, infinity for an untrained network."""
    return max(excesses(model.ranges, slices).values()) if model.ranges else math.inf


def doubts(metadata: Mapping[str, str], slices: Slices) -> list[str]:
    """Say which conditions of a case lie outside the trained range in a file's metadata; empty if none does."""
    ranges, values = json.loads(metadata["ranges"]), dict(zip(CONDITIONS, conditions(slices).T, strict=True))
    return [
        f"{name} = {values[name].min():.6g} to {values[name].max():.6g} is outside the trained "
        "{:.6g} to {:.6g}".format(*ranges[name])
        for name, excess in excesses(ranges, slices).items()
        if excess > 0
    ]


def describe(samples: Iterable[Slices], start: str, data: str) -> dict[str, str]:
    """Write what must travel with the weights: the start, the data and the trained range."""
    return {"start": start, "data": data, "ranges": json.dumps(seen(samples))}


def save(path: Location, model: Network, metadata: Mapping[str, str]) -> None:
    """Write a network and its metadata (see `describe`) to one file, whole or not at all.

    The ranges are the network's own, or the metadata's where it has none.
    """
    ranges = json.dumps(model.ranges) if model.ranges else metadata.get("ranges", "{}")
    own = {"network": model.name, "config": json.dumps(model.config), "ranges": ranges}
    write_tensors(path, model.state_dict(), {**metadata, **own}, "mlnegf network")


def load(path: Location) -> tuple[Network, dict[str, str]]:
    """Read a network, ready to predict, and its metadata.

    Raises
    ------
    ValueError
        If the file is damaged, of another format version, or of a network this installation does not know.
    """
    tensors, metadata = read_tensors(path, "mlnegf network")
    name = metadata.get("network")
    if name not in NETWORKS:
        raise ValueError(
            f"{path}: network {name!r}, expected one of {sorted(NETWORKS)}; import the module that defines it first."
        )
    try:
        model = NETWORKS[name](**json.loads(metadata["config"]))
        model.load_state_dict(tensors)
        model.ranges = {key: (low, high) for key, (low, high) in json.loads(metadata["ranges"]).items()}
    except (TypeError, KeyError, RuntimeError) as error:
        raise ValueError(
            f"{path}: weights do not fit the network {name!r}, expected those of this installation ({error}); "
            "train it again."
        ) from error
    return model.eval(), metadata


def write_tensors(path: Location, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str], kind: str) -> None:
    """Write tensors and metadata to a safetensors file, whole or not at all."""
    path = Path(path)
    contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    card = {**metadata, "format": f"{kind} {FORMAT_VERSION}"}
    card["checksum"] = _checksum(contiguous, card)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            file.write(serialise(contiguous, card))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_tensors(path: Location, kind: str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Read what `write_tensors` wrote; ValueError for any other file."""
    expected, again = f"{kind} {FORMAT_VERSION}", "copy the file again or train again"
    try:
        with safe_open(os.fspath(path), framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path}: not a whole safetensors file ({error}), expected {expected!r}; {again}.") from error
    if metadata.get("format") != expected:
        raise ValueError(
            f"{path}: format {metadata.get('format')!r}, expected {expected!r}; train again with this version of "
            "mlnegf, or use the version that wrote the file."
        )
    if metadata.pop("checksum", None) != _checksum(tensors, metadata):
        raise ValueError(f"{path}: contents do not match their checksum, expected {expected!r} unharmed; {again}.")
    return tensors, metadata


def _checksum(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(dict(metadata), sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].numpy().tobytes())
    return digest.hexdigest()
