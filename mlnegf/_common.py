"""What every room may use: array types, refusal of arguments, named variants, the version."""

import sys
from collections.abc import Iterable
from itertools import islice
from reprlib import Repr
from typing import TYPE_CHECKING, Any, ClassVar, TypeGuard, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

__version__ = "0.2.0"

Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]
Kind = TypeVar("Kind")


class _Shortened(Repr):
    """Words for any value, also one of a million cells, of a thousand levels or digits, or whose own repr fails."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother = 4, 160, 240
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = 12

    def repr_dict(self, x: dict[Any, Any], level: int) -> str:
        if level <= 0:
            return "{...}"
        pairs = [f"{self.repr1(k, level - 1)}: {self.repr1(v, level - 1)}" for k, v in islice(x.items(), self.maxdict)]
        return f"{{{', '.join(pairs + ['...'] * (len(x) > self.maxdict))}}}"

    def repr_int(self, x: int, level: int) -> str:
        return repr(x) if x.bit_length() < 2000 else f"<whole number of {x.bit_length()} bits>"


_SHORTENED = _Shortened()


def shown(value: object) -> str:
    """Say what a value is, in a thousand characters or fewer."""
    words = _SHORTENED.repr(value)
    return words if len(words) <= 1000 else f"{words[:700]} ... {words[-200:]}"


def require(condition: bool, name: str, value: object, expected: str, caller: str) -> None:
    """Raise a ValueError that names an argument of `caller` unless a condition holds."""
    if not condition:
        raise ValueError(f"{caller}: {name} = {shown(value)}, expected {expected}.")


def plain(value: Any) -> Any:
    """Return the Python number, bool or string in a numpy scalar or zero-dimensional array; anything else as it is."""
    if not isinstance(value, (np.generic, np.ndarray)) or value.ndim or value.dtype.kind in "mM":
        return value  # a date of nanoseconds would become a number of them
    return value.item()


def is_finite(value: object) -> bool:
    """Say whether a value is a finite real number, of Python or numpy; a bool is none."""
    value = plain(value)
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def hold(instance: object, kind: type[float] | type[int], *names: str) -> None:
    """Let a frozen object hold, under these names, plain numbers of Python for those it was given."""
    for name in names:
        object.__setattr__(instance, name, kind(plain(getattr(instance, name))))


def is_positive(value: Any) -> bool:
    """Say whether a value is a finite real number above zero."""
    return is_finite(value) and plain(value) > 0


def is_count(value: Any, least: int = 1, most: float = sys.maxsize) -> bool:
    """Say whether a value is a whole number within bounds, of Python or numpy; a bool is none."""
    value = plain(value)
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def as_array(value: Any) -> NDArray[Any] | None:
    """Return what NumPy makes of a value; None where it makes nothing, or forgets that entries are masked."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError):  # ragged lists; tensors that are sparse, without data, or tracked
        return None
    return None if isinstance(value, np.ma.MaskedArray) and np.any(value.mask) else array


def is_dense(value: object) -> "TypeGuard[torch.Tensor]":
    """Say whether a value is a tensor whose entries lie in memory, one by one."""
    torch = sys.modules.get("torch")  # what nobody has loaded has no tensors
    return (
        torch is not None
        and isinstance(value, torch.Tensor)
        and value.layout == torch.strided
        and not (value.is_nested or value.is_quantized or value.device.type == "meta")
    )


def are_counts(values: object, length: int, least: int = 1, most: float = float("inf")) -> bool:
    """Say whether a value is a sequence of so many whole numbers between two."""
    array = as_array(values)
    return array is not None and array.shape == (length,) and all(is_count(value, least, most) for value in array)


def reals(value: Any, dimensions: int) -> Floats | None:
    """Return finite real numbers as an array of float64 of its own; None if a value is anything else, or empty."""
    array = as_array(value)
    if array is None or array.dtype.kind not in "fiu" or array.ndim != dimensions or not array.size:
        return None
    numbers = np.array(array, dtype=np.float64, order="C")
    return numbers if np.isfinite(numbers).all() else None


def items(value: Any, kind: type[Kind]) -> list[Kind] | None:
    """Return what an iterable holds; None if it is none, or holds anything but a kind."""
    found: list[Kind] = []
    if not isinstance(value, Iterable) or hasattr(value, "ndim"):
        return None
    for item in value:
        if not isinstance(item, kind):
            return None
        found.append(item)
    return found


class Variant:
    """A kind of thing that comes in named variants: a loss, a network, a guess, a scheme, a material, a section.

    A base class derives from `Variant` directly and thereby gets a registry of its own, `variants`. A variant says its
    name where it is defined, ``class Mine(Base, name="mine")``, and is known by it from then on, wherever its module is
    imported; without a name of its own it has none. A name can be given once; defining the same class again, as a
    notebook does, replaces it.
    """

    name: ClassVar[str] = ""
    variants: ClassVar[dict[str, Any]]

    def __init_subclass__(cls, *, name: str = "", **others: Any) -> None:
        """Give a base its registry, and enter a variant into its base's."""
        super().__init_subclass__(**others)
        if Variant in cls.__bases__:
            cls.variants = {}
        cls.name = name
        if name:
            other = cls.variants.get(name, cls)
            same = (other.__module__, other.__qualname__) == (cls.__module__, cls.__qualname__)
            require(same, "name", name, f"one that {other.__qualname__} does not have", cls.__name__)
            cls.variants[name] = cls
