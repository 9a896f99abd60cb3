"""Tensors and their metadata in one safetensors file, whole or not at all, with a checksum."""

import hashlib
import json
import os
import zlib
from collections.abc import Iterable, Mapping
from typing import Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as serialise
from torch import nn

from mlnegf._common import write_whole

Location = str | os.PathLike[str]

FORMAT_VERSION: Final = "2"
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
            check = zlib.crc32(tensor.contiguous().numpy().tobytes(), check)
    return f"{check:08x}"


def kind_of(path: Location) -> str:
    """Say what a file of `write_tensors` holds: its kind and format version; empty if it does not say."""
    try:
        with safe_open(os.fspath(path), framework="pt") as file:
            return str((file.metadata() or {}).get("format", ""))
    except SafetensorError:
        return ""


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
