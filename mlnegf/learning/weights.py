"""Tensors and their metadata in one safetensors file, whole or not at all, with a checksum."""

import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load as deserialise
from safetensors.torch import save as serialise
from torch import nn

from mlnegf._files import read_whole, write_whole

Location = str | os.PathLike[str]
Model = TypeVar("Model", bound=nn.Module)

FORMAT_VERSION: Final = "3"
"""Of the weight files; raised when a reader of the old form would misread the new one."""


def write_tensors(path: Location, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str], kind: str) -> None:
    """Write tensors and metadata to a safetensors file, whole or not at all."""
    contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    card = {**metadata, "format": f"{kind} {FORMAT_VERSION}"}
    card["checksum"] = _checksum(contiguous, card)
    write_whole(path, serialise(contiguous, card))


def fingerprint(models: Iterable[nn.Module]) -> str:
    """Return a checksum of all weights, eight hexadecimal digits."""
    check = 0
    for model in models:
        for tensor in model.state_dict().values():
            check = zlib.crc32(_bytes(tensor), check)
    return f"{check:08x}"


def kind_of(path: Location) -> str:
    """Say what a file of `write_tensors` holds: its kind and format version; empty if it does not say."""
    try:
        return str(_card(read_whole(path)).get("format", ""))
    except (ValueError, TypeError, AttributeError, RecursionError, OverflowError):
        return ""


def _card(content: bytes) -> dict[str, str]:
    """Read the metadata of a safetensors file: JSON behind eight bytes that say how long it is."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return {str(name): str(value) for name, value in header.get("__metadata__", {}).items()}


def read_tensors(path: Location, kind: str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Read what `write_tensors` wrote; ValueError for any other file."""
    content = read_whole(path)
    expected, again = f"{kind} {FORMAT_VERSION}", "copy the file again or train again"
    try:
        metadata, tensors = _card(content), deserialise(content)
    except (SafetensorError, ValueError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise ValueError(f"{path}: not a whole safetensors file ({error}), expected {expected!r}; {again}.") from error
    if metadata.get("format") != expected:
        raise ValueError(
            f"{path}: format {metadata.get('format')!r}, expected {expected!r}; train again with this version of "
            "mlnegf, or use the version that wrote the file."
        )
    if metadata.pop("checksum", "") != _checksum(tensors, metadata):
        raise ValueError(f"{path}: contents do not match their checksum, expected {expected!r} unharmed; {again}.")
    wrong = [name for name, tensor in tensors.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if wrong:
        raise ValueError(f"{path}: {', '.join(wrong)} not finite, expected numbers; the training diverged, {again}.")
    return tensors, metadata


def filled(make: Callable[[], Model], tensors: Mapping[str, torch.Tensor], path: Location) -> Model:
    """Make a network with these weights, ready to predict; sizes are compared before any take memory."""
    again = "expected those of this installation; train it again"
    try:
        with torch.device("meta"):
            wanted = {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in make().state_dict().items()}
        given = {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}
        wrong = sorted(name for name in {*wanted, *given} if wanted.get(name) != given.get(name))
        if wrong:
            raise ValueError(f"{', '.join(wrong[:3])} of other names, types or sizes")
        model = make()
        model.load_state_dict(dict(tensors))
    except (ValueError, TypeError, KeyError, RuntimeError, OverflowError) as error:
        raise ValueError(f"{path}: weights do not fit their network ({error}), {again}.") from error
    model.eval()
    return model


def _bytes(tensor: torch.Tensor) -> bytes:
    """Return the memory of a tensor, whatever its type: numpy does not know all of them."""
    return tensor.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes() if tensor.numel() else b""


def _checksum(tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(dict(metadata), sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode() + _bytes(tensor))
    return digest.hexdigest()
