"""Networks that read the charge slices after the first NEGF solve and predict those of the last.

A case travels: `encode` brings its slices to the network's square, a `Network` predicts two corrections to the first
iteration, the logarithm of the charge ratio and the change of potential, and `decode` brings the corrections back to
the device's own cells. Only corrections make the round trip, so every detail of the first iteration survives it.
`predict` is the three in a row; `save` and `load` keep a network in one file.
"""

import hashlib
import json
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

from mlnegf.losses import Cell
from mlnegf.rescale import rescale

Floats = NDArray[np.float64]

CHARGE_FLOOR: Final = 1e-12
"""Density, nm⁻³ (1e9 cm⁻³), under which a first charge is read as this much: its logarithm stays finite."""

CHARGE_SCALE: Final = 0.1
"""Density, nm⁻³ (1e20 cm⁻³), that is one in the network's units."""

POTENTIAL_SCALE: Final = 0.5
"""Start potential, V, that is one in the network's units."""

CORRECTION_SCALE: Final = 0.1
"""Potential correction, V, for an output of one."""

FORMAT_VERSION: Final = "1"
"""Of the weight files; raised when a reader of the old form would misread the new one."""

NETWORKS: Final[dict[str, type["Network"]]] = {}
"""Every network by name."""


class DeviceShape(Protocol):
    """What a network is told of a device: lengths in nm, doping in cm⁻³."""

    @property
    def width(self) -> float: ...  # noqa: D102
    @property
    def thickness(self) -> float: ...  # noqa: D102
    @property
    def gate_length(self) -> float: ...  # noqa: D102
    @property
    def source_length(self) -> float: ...  # noqa: D102
    @property
    def drain_length(self) -> float: ...  # noqa: D102
    @property
    def oxide_thickness(self) -> float: ...  # noqa: D102
    @property
    def doping(self) -> float: ...  # noqa: D102


class Slices(Protocol):
    """One device at one bias after its first NEGF solve, on the bounding box of its silicon.

    Attributes
    ----------
    device : DeviceShape
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
    def device(self) -> DeviceShape: ...  # noqa: D102
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


def conditions(slices: Slices) -> Floats:
    """Tell a network where each slice stands, in the order and units of `CONDITIONS`: (nx, conditions).

    Filling is the silicon's part of its bounding box; the three distances are signed, positive towards the drain, from
    the source's edge of the gate, the drain's edge and the middle of the device.
    """
    device = slices.device
    drain_edge = device.source_length + device.gate_length
    same = [
        slices.gate,
        slices.drain,
        device.width,
        device.thickness,
        device.gate_length,
        device.source_length,
        device.drain_length,
        device.oxide_thickness,
        np.log10(device.doping),
        slices.mask.mean(),
    ]
    edges = np.array([device.source_length, drain_edge, (drain_edge + device.drain_length) / 2])
    own = slices.x[:, None] - edges
    return np.hstack([np.broadcast_to(same, (len(own), len(same))), own])


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
        return self.fraction * float(np.prod(self.cell))

    def features(self, reach: float) -> torch.Tensor:
        """Stack what a network sees of each slice: (nx, 8, S, S), float32.

        Channels: charge, its logarithm and the potential; logarithm and potential of the slices `reach` nm towards
        source and drain (the end slices continue the device); the silicon's fraction.
        """
        logarithm = torch.log(self.charge.clamp_min(CHARGE_FLOOR) / CHARGE_SCALE) / 10.0
        own = torch.stack([logarithm, self.potential / POTENTIAL_SCALE], dim=1)
        step = max(1, round(reach / self.cell[0]))
        index = torch.arange(len(own))
        before, after = own[(index - step).clamp_min(0)], own[(index + step).clamp_max(len(own) - 1)]
        charge = self.charge[:, None] / CHARGE_SCALE
        fraction = self.fraction.expand_as(charge)
        return torch.cat([charge, own, before, after, fraction], dim=1).float()

    def predicted_charge(self, log_ratio: torch.Tensor) -> torch.Tensor:
        """Return the charge density, nm⁻³, that a log-ratio to the first one stands for; zero on padding."""
        # No ratio of two physical densities leaves e^±40, and exp stays finite whatever a network says.
        density = self.charge.clamp_min(CHARGE_FLOOR) * torch.exp(log_ratio.clamp(-40.0, 40.0))
        return torch.where(self.fraction > 0, density, 0.0)


def encode(slices: Slices, size: int, dtype: torch.dtype = torch.float64) -> Squares:
    """Bring a case to the square."""
    mask = slices.mask
    (ny, nz), device = mask.shape, slices.device
    offset, scale = np.array(list(CONDITIONS.values())).T
    values = (conditions(slices) - offset) / scale
    dx = float(slices.x[1] - slices.x[0]) if len(slices.x) > 1 else 1.0
    return Squares(
        charge=torch.from_numpy(cell_average(slices.first_charge, mask, size)).to(dtype),
        potential=torch.from_numpy(silicon_average(slices.first_potential, mask, size)).to(dtype),
        fraction=torch.from_numpy(cell_average(np.ones((ny, nz)), mask, size)).to(dtype),
        conditions=torch.from_numpy(values).float(),
        cell=(dx, device.width / size, device.thickness / size),
    )


def cell_average(field: Floats, mask: NDArray[np.bool_], size: int) -> Floats:
    """Average a field over each cell of the square, counting it zero outside the mask: (..., size, size).

    For a density this is its area-preserving rescaling: the charge of every slice is kept to 1e-12.
    """
    return rescale(field, (size, size), source_mask=mask) * (size * size / mask.size)


def silicon_average(field: Floats, mask: NDArray[np.bool_], size: int) -> Floats:
    """Average a field over the silicon of each cell of the square; zero on padding."""
    fraction = cell_average(np.ones(mask.shape), mask, size)
    total = cell_average(field, mask, size)
    return np.divide(total, fraction, out=np.zeros_like(total), where=fraction > 0)


def decode(
    slices: Slices, squares: Squares, log_ratio: torch.Tensor, correction: torch.Tensor
) -> tuple[Floats, Floats]:
    """Bring the two corrections back to the device's own cells and apply them there.

    Corrections are smooth, and interpolating them linearly between cell centres is second order, while spreading
    each cell average conservatively is first: on a cosine across a 12 × 48 section the error is several times
    smaller. What interpolation does not keep is the charge of a slice, and the potential of a long device feels it
    most; so each slice is then scaled to the line charge that was predicted on the square.

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
    size, inside = log_ratio.shape[-1], squares.fraction.to(torch.float64).numpy()
    # Beyond the last centre of a full square lines are continued; on a padded one no line may leave the silicon.
    whole = bool((inside > 0).all())
    along_y, along_z = interpolation(size, ny, whole), interpolation(size, nz, whole)
    known = (inside > 0).astype(np.float64)
    reached = np.where(mask, along_y @ known @ along_z.T, 1.0)

    def smooth(field: torch.Tensor) -> Floats:
        values = field.to(torch.float64).numpy() * known
        return np.where(mask, along_y @ values @ along_z.T / reached, 0.0)

    density = np.maximum(slices.first_charge, CHARGE_FLOOR) * np.exp(np.clip(smooth(log_ratio), -40.0, 40.0))
    density = np.where(mask, density, 0.0)
    on_square = squares.predicted_charge(log_ratio.to(torch.float64)).to(torch.float64)
    predicted = on_square.mean(dim=(1, 2)).numpy()
    density *= (predicted / density.mean(axis=(1, 2)))[:, None, None]
    return density, slices.first_potential + smooth(correction)


def interpolation(source: int, target: int, extrapolate: bool) -> Floats:
    """Return the matrix, (target, source), of linear interpolation between the cell centres of two grids."""
    if source == 1:
        return np.ones((target, 1))
    position = (np.arange(target) + 0.5) * source / target - 0.5
    left = np.clip(np.floor(position), 0, source - 2).astype(int)
    right_share = position - left if extrapolate else np.clip(position - left, 0.0, 1.0)
    matrix = np.zeros((target, source))
    matrix[np.arange(target), left] = 1.0 - right_share
    matrix[np.arange(target), left + 1] = right_share
    return matrix


class Network(nn.Module):
    """A network on squares: features (nx, 8, S, S) and conditions (nx, c) in, two corrections (nx, S, S) out.

    One call is one case, its slices in order along x, so a network may look along x too. A subclass names itself,
    ``class Mine(Network, name="mine")``, keeps the keywords of its constructor in `config`, and returns raw outputs
    from `correct`, zero before training.
    """

    name: ClassVar[str]
    size: int
    reach: float
    config: dict[str, float]

    def __init_subclass__(cls, *, name: str, **others: Any) -> None:
        """Enter the class into `NETWORKS` under its name."""
        super().__init_subclass__(**others)
        cls.name = name
        NETWORKS[name] = cls

    def correct(self, features: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
        """Return raw outputs, (nx, 2, S, S), in the network's units."""
        raise NotImplementedError

    def forward(self, squares: Squares) -> tuple[torch.Tensor, torch.Tensor]:
        """Predict ln(converged/first charge) and the potential correction, V, each (nx, S, S)."""
        raw = self.correct(squares.features(self.reach), squares.conditions)
        return raw[:, 0], raw[:, 1] * CORRECTION_SCALE


class FilmBlock(nn.Module):
    """Two convolutions with a residual path; the conditions scale and shift what passes between them.

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
        inner = nn.functional.silu(self.first(nn.functional.silu(image)) * (1.0 + scale) + shift)
        result: torch.Tensor = image + self.second(inner)
        return result


class SliceAutoencoder(Network, name="slice_autoencoder"):
    """Convolutional encoder and decoder, slice by slice, that knows bias, geometry, position and neighbours.

    Two halvings of the square, a block at each level, and two doublings that add what the encoder saw at that level
    (as the U-Net of Ronneberger et al., arXiv:1505.04597, does by concatenation).

    Parameters
    ----------
    size : int
        Cells along each side of the square; a multiple of four.
    channels : int
        At full resolution; doubled at each halving.
    embedding : int
        Length of the embedded conditions.
    reach : float
        How far the neighbouring slices stand, nm; about the distance over which charge and potential change.
    """

    def __init__(self, size: int = 24, channels: int = 16, embedding: int = 64, reach: float = 1.0) -> None:
        if size < 4 or size % 4:
            raise ValueError(f"SliceAutoencoder: size = {size!r}, expected a multiple of four; it is halved twice.")
        super().__init__()
        self.config = {"size": size, "channels": channels, "embedding": embedding, "reach": reach}
        self.size, self.reach = size, reach
        self.embed = nn.Sequential(
            nn.Linear(len(CONDITIONS), embedding), nn.SiLU(), nn.Linear(embedding, embedding), nn.SiLU()
        )
        fine, middle, coarse = channels, 2 * channels, 4 * channels
        self.enter = nn.Conv2d(8, fine, 3, padding=1)
        self.halve_fine = nn.Conv2d(fine, middle, 2, stride=2)
        self.halve_middle = nn.Conv2d(middle, coarse, 2, stride=2)
        self.double_coarse = nn.ConvTranspose2d(coarse, middle, 2, stride=2)
        self.double_middle = nn.ConvTranspose2d(middle, fine, 2, stride=2)
        widths = {"down_fine": fine, "down_middle": middle, "bottom": coarse, "up_middle": middle, "up_fine": fine}
        self.blocks = nn.ModuleDict({level: FilmBlock(width, embedding) for level, width in widths.items()})
        self.leave = nn.Conv2d(fine, 2, 3, padding=1)
        # Untrained, the network says that the first iteration is the last: training starts from the identity.
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias if self.leave.bias is not None else torch.empty(0))

    def correct(self, features: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
        """Return raw outputs, (nx, 2, S, S)."""
        embedded, blocks = self.embed(conditions), self.blocks
        fine = blocks["down_fine"](self.enter(features), embedded)
        middle = blocks["down_middle"](self.halve_fine(fine), embedded)
        coarse = blocks["bottom"](self.halve_middle(middle), embedded)
        middle = blocks["up_middle"](middle + self.double_coarse(coarse), embedded)
        fine = blocks["up_fine"](fine + self.double_middle(middle), embedded)
        result: torch.Tensor = self.leave(nn.functional.silu(fine))
        return result


class PlainAutoencoder(SliceAutoencoder, name="plain_autoencoder"):
    """The same layers blindfolded: each slice alone, without neighbours, bias, geometry or position."""

    def correct(self, features: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
        """Return raw outputs, (nx, 2, S, S)."""
        own = torch.zeros_like(features)
        own[:, :3], own[:, -1:] = features[:, :3], features[:, -1:]
        return super().correct(own, torch.zeros_like(conditions))


def predict(model: Network, slices: Slices) -> tuple[Floats, Floats]:
    """Predict the converged charge, nm⁻³, and potential, V, of a case on its own cells, (nx, ny, nz)."""
    squares = encode(slices, model.size)
    with torch.no_grad():
        log_ratio, correction = model.eval()(squares)
    return decode(slices, squares, log_ratio, correction)


def describe(samples: Iterable[Slices], start: str, data: str) -> dict[str, str]:
    """Write the model card that travels with the weights: the start that made the first charges, the data, the range.

    The range of every condition seen in training is what `doubts` tests a new case against.
    """
    bounds: dict[str, list[float]] = {}
    for sample in samples:
        values = conditions(sample)
        for name, low, high in zip(CONDITIONS, values.min(axis=0), values.max(axis=0), strict=True):
            seen = bounds.setdefault(name, [float(low), float(high)])
            bounds[name] = [min(seen[0], float(low)), max(seen[1], float(high))]
    return {"start": start, "data": data, "ranges": json.dumps(bounds)}


def doubts(metadata: Mapping[str, str], slices: Slices) -> list[str]:
    """Say in words which conditions of a case lie outside the training range; empty if none does."""
    values = conditions(slices)
    found = []
    ranges = json.loads(metadata["ranges"])
    for name, low, high in zip(CONDITIONS, values.min(axis=0), values.max(axis=0), strict=True):
        least, most = ranges[name]
        slack = 1e-6 * max(1.0, abs(least), abs(most))
        if low < least - slack or high > most + slack:
            found.append(f"{name} = {low:.6g} to {high:.6g} is outside the trained {least:.6g} to {most:.6g}")
    return found


def save(path: str | os.PathLike[str], model: Network, metadata: Mapping[str, str]) -> None:
    """Write a network and its model card to one safetensors file, whole or not at all.

    Parameters
    ----------
    path : path
    model : Network
    metadata : mapping of str to str
        Kept with the weights; see `describe`. The keys format, network, config and checksum are the file's own.
    """
    card = {**metadata, "network": model.name, "config": json.dumps(model.config)}
    write_tensors(path, model.state_dict(), card, "mlnegf network")


def load(path: str | os.PathLike[str]) -> tuple[Network, dict[str, str]]:
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
    except (TypeError, KeyError, RuntimeError) as error:
        raise ValueError(
            f"{path}: weights do not fit the network {name!r} of this installation ({error}); train it again."
        ) from error
    return model.eval(), metadata


def write_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str], kind: str
) -> None:
    """Write tensors with metadata, a format line and a checksum to a safetensors file, atomically."""
    path = Path(path)
    contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    card = {**metadata, "format": f"{kind} {FORMAT_VERSION}", "checksum": _checksum(contiguous)}
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            file.write(serialise(contiguous, card))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_tensors(path: str | os.PathLike[str], kind: str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Read what `write_tensors` wrote; ValueError for any other file."""
    expected, again = f"{kind} {FORMAT_VERSION}", "copy the file again or train again"
    try:
        with safe_open(os.fspath(path), framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(
            f"{path}: not a whole safetensors file ({error}), expected {expected!r}; {again}."
        ) from error
    if metadata.get("format") != expected:
        raise ValueError(
            f"{path}: format {metadata.get('format')!r}, expected {expected!r}; train again with this version of "
            "mlnegf, or use the version that wrote the file."
        )
    if metadata.get("checksum") != _checksum(tensors):
        raise ValueError(f"{path}: contents do not match their checksum, expected {expected!r} undamaged; {again}.")
    return tensors, metadata


def _checksum(tensors: Mapping[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].numpy().tobytes())
    return digest.hexdigest()
