"""Networks that read the charge slices after the first NEGF solve and predict those of the last.

A case travels: `encode` brings its slices to the network's square, a `Network` predicts two corrections to the first
iteration, the logarithm of the charge ratio and the change of potential, and `decode` brings them back to the device's
own cells. Only corrections make the round trip, so every detail of the first iteration survives it. `predict` is the
three in a row; `save` and `load` keep a network in one file.
"""

import json
from collections.abc import Mapping
from typing import Any, ClassVar, Final

import torch
from torch import nn
from torch.nn.functional import silu

from mlnegf.dataset import FirstIteration
from mlnegf.doubt import Ranges
from mlnegf.grid import Floats
from mlnegf.squares import CONDITIONS, Squares, decode, encode
from mlnegf.weights import Location, read_tensors, write_tensors

CORRECTION_SCALE: Final = 0.1
"""Potential correction, V, for an output of one."""
NETWORKS: Final[dict[str, type["Network"]]] = {}
"""Every network by name."""


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


def predict(model: Network, slices: FirstIteration) -> tuple[Floats, Floats]:
    """Predict a case's converged charge, nm⁻³, and potential, V: (nx, ny, nz) on its own cells."""
    squares = encode(slices, model.size)
    with torch.no_grad():
        log_ratio, correction = model.eval()(squares)
    return decode(slices, squares, log_ratio, correction)


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
