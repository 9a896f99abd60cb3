"""What every room may use: array types, refusal of arguments, files written whole, the version."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

__version__ = "0.2.0"

Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]


def require(condition: bool, name: str, value: object, expected: str, caller: str) -> None:
    """Raise a ValueError that names an argument of `caller` unless a condition holds."""
    if not condition:
        raise ValueError(f"{caller}: {name} = {value!r}, expected {expected}.")


def plain(value: Any) -> Any:
    """Return the Python number, bool or string in a numpy scalar or zero-dimensional array; anything else as it is."""
    return value.item() if isinstance(value, (np.generic, np.ndarray)) and value.ndim == 0 else value


def is_finite(value: object) -> bool:
    """Say whether a value is a finite real number, of Python or numpy; a bool is none."""
    value = plain(value)
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def write_whole(path: str | os.PathLike[str], write: Callable[[Path], object]) -> None:
    """Let `write` fill a file beside `path`, and put it in its place when it is complete.

    Whatever happens, `path` is then the old file or the new one, and nothing else is left.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


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
