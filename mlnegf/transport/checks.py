"""How this room takes its arguments in: tensors of finite numbers, or a refusal that names them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from mlnegf._common import as_array, is_dense, is_positive, require, shown

Tensor = torch.Tensor


def as_tensor(name: str, value: Any, caller: str = "transport") -> Tensor:
    """Turn any array of numbers into a tensor of its own, real or complex in double precision."""
    if isinstance(value, Tensor):
        if not is_dense(value) or value.dtype == torch.bool:
            raise ValueError(
                f"{caller}: {name} has type {_kind(value)}, expected real or complex numbers in a dense tensor."
            )
        return value.to(torch.complex128 if value.is_complex() else torch.float64).resolve_conj()
    array = as_array(value)
    if array is None:
        raise ValueError(f"{caller}: {name} is no array of numbers: {shown(value)}, expected one that hides none.")
    if array.dtype.kind not in "fiuc":
        raise ValueError(f"{caller}: {name} has type {array.dtype}, expected real or complex numbers.")
    # A copy: torch takes neither reversed nor big-endian arrays.
    return torch.from_numpy(np.array(array, dtype=np.complex128 if array.dtype.kind == "c" else np.float64, order="C"))


def _kind(value: Tensor) -> str:
    words = ("nested", value.is_nested), ("quantized", value.is_quantized), ("meta", value.device.type == "meta")
    layout = "" if value.is_nested or value.layout == torch.strided else str(value.layout).removeprefix("torch.")
    return " ".join([str(value.dtype).removeprefix("torch."), layout, *(word for word, so in words if so)]).strip()


def finite(name: str, value: Any, shape: Sequence[int | None], caller: str = "transport", real: bool = True) -> Tensor:
    """Turn an array of finite numbers into a tensor; None in a shape stands for any size, one or more."""
    tensor = as_tensor(name, value, caller)
    if real and tensor.is_complex():
        raise ValueError(f"{caller}: {name} are complex, expected real numbers.")
    fits = len(shape) == tensor.ndim and all(
        size == wanted if wanted is not None else size > 0 for size, wanted in zip(tensor.shape, shape, strict=True)
    )
    if not fits or not bool(torch.isfinite(tensor.abs()).all()):
        what = f"shape {tuple(tensor.shape)}" if not fits else "entries that are not finite"
        words = ", ".join("any" if size is None else str(size) for size in shape)
        raise ValueError(f"{caller}: {name} has {what}, expected finite numbers of shape ({words}).")
    return tensor


def untracked(name: str, tensor: Tensor, caller: str) -> Tensor:
    """Return a tensor, or refuse it where a gradient is asked for that is not worked out."""
    require(not tensor.requires_grad, name, tensor, "a tensor without gradient; detach it first", caller)
    return tensor


def only_first_derivatives(caller: str) -> None:
    """Refuse, inside a backward pass, to be differentiated again: what is worked out there leaves no graph."""
    if torch.is_grad_enabled():
        raise RuntimeError(f"{caller}: second derivatives are not worked out, expected no create_graph.")


def real_energies(energies: Any) -> Tensor:
    """Take in energies, (Q,), on the real axis."""
    points = as_tensor("energies", energies)
    if points.is_complex():
        raise ValueError(
            "transport: energies are complex, expected real ones; for G off the real axis see green_blocks."
        )
    if points.ndim != 1 or not len(points) or not bool(torch.isfinite(points).all()):
        raise ValueError(
            f"transport: energies has shape {tuple(points.shape)}, expected a list of finite numbers, one dimension."
        )
    return points


def require_broadening(broadening: object) -> None:
    """Refuse a broadening that is no positive number."""
    require(is_positive(broadening), "broadening", broadening, "a small positive number such as 1e-10", "transport")
