"""What every network of images shares: a name, a constructor that can be repeated, and one file to travel in."""

import json
from collections.abc import Mapping
from typing import ClassVar, Final

import torch
from torch import nn

from mlnegf._common import Variant, is_count, is_dense, is_finite, plain, require
from mlnegf.learning.weights import Location, filled, read_tensors, write_tensors

Ranges = dict[str, tuple[float, float]]


class Network(Variant, nn.Module):
    """A network that reads images and conditions of a case, (n, features, S, S) and (n, conditions), n along one axis.

    One call is one case, its images in order, so a network may look along the case too. A subclass names itself,
    ``class Mine(Network, name="mine")``, takes the numbers `features` and `conditions` and any keywords of its own,
    keeps them all in `config`, and returns raw outputs, (n, outputs, S, S), from `forward`, zero before training.

    Attributes
    ----------
    size : int
        S.
    blind : bool
        Whether it is to see each image by itself: its neighbours and all conditions read as zero.
    reach : float
        How far apart along the case the neighbours stand whose images it is shown, in the unit of the case.
    config : dict
        Keywords that make the same network again.
    ranges : dict
        Least and largest of every condition seen in training.
    """

    blind: ClassVar[bool] = False
    size: int
    reach: float
    config: dict[str, float]
    ranges: Ranges

    def __init__(self) -> None:
        super().__init__()
        self.ranges = {}

    def forward(self, features: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
        """Return raw outputs, (n, outputs, S, S)."""
        raise NotImplementedError


MOST: Final = 1024
"""Channels, inputs and cells along a side that a network may have: more would fill the memory with weights."""


def counted(caller: str, **counts: int) -> dict[str, int]:
    """Return the numbers a network is made of, or refuse them."""
    for name, count in counts.items():
        require(is_count(count, 1, MOST), name, count, f"a whole number between 1 and {MOST}", caller)
    return {name: int(plain(count)) for name, count in counts.items()}


def require_input(name: str, value: torch.Tensor, shape: tuple[int | None, ...], weights: torch.Tensor) -> None:
    """Refuse what is no tensor, of the type and on the device of some weights, of a shape; None stands for any size."""
    alike = is_dense(value) and (value.dtype, value.device) == (weights.dtype, weights.device)
    fits = alike and len(shape) == value.ndim
    good = fits and all(wanted in (size, None) for size, wanted in zip(value.shape, shape, strict=True))
    words = ", ".join("any" if size is None else str(size) for size in shape)
    require(good, name, value, f"a dense tensor of {weights.dtype} on {weights.device}, of shape ({words})", "Network")


NETWORKS: Final[dict[str, type[Network]]] = Network.variants
"""Every network by name."""


def save(path: Location, model: Network, metadata: Mapping[str, str]) -> None:
    """Write a network and its metadata to one file, whole or not at all.

    The ranges are the network's own, or the metadata's where it has none.
    """
    ranges = json.dumps(model.ranges) if model.ranges else metadata.get("ranges", "{}")
    require(
        bool(model.name), "model", type(model).__name__, 'a class with a name, class Mine(Network, name="mine")', "save"
    )
    own = {"network": model.name, "config": json.dumps(model.config), "ranges": ranges}
    write_tensors(path, model.state_dict(), {**metadata, **own}, "mlnegf network")


def load(path: Location, **usual: float) -> tuple[Network, dict[str, str]]:
    """Read a network, ready to predict, and its metadata.

    Parameters
    ----------
    path : path
    **usual
        Keywords of the network's constructor that a file may leave out.

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
    model: Network = filled(lambda: NETWORKS[name](**{**usual, **json.loads(metadata["config"])}), tensors, path)
    model.ranges = ranges_of(metadata, path)
    return model, metadata


def ranges_of(metadata: Mapping[str, str], path: Location) -> Ranges:
    """Read the least and largest of every condition from a card."""
    try:
        ranges = {str(key): (low, high) for key, (low, high) in json.loads(metadata["ranges"]).items()}
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path}: its card has no ranges ({error}); train it again.") from error
    sound = all(is_finite(low) and is_finite(high) and low <= high for low, high in ranges.values())
    require(sound, "ranges", ranges, "least and largest of every condition", str(path))
    return ranges
