"""What every room may use: array types, refusal of arguments, files written whole, the version."""

import glob
import os
import secrets
import stat
import sys
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

__version__ = "0.2.0"

Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]

PART: Final = ".part"
"""How the name of a file ends that is not whole yet."""


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


def write_whole(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Put a file in its place when all of it is on the disk; text is written in UTF-8.

    Whatever happens, `path` is then the old file or the new one, and nothing else is left; only a process killed while
    it writes leaves a hidden file, its name ending in `PART`. The new file has the old one's permissions. No link is
    followed.

    Raises
    ------
    OSError
        If the disk is full, the folder cannot be written to, or `path` is no regular file, such as a device.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = _mode_of(path)
    # Nobody can have put anything in the place of a name nobody can guess.
    temporary = path.with_name(f".{path.name[:100]}.{secrets.token_hex(8)}{PART}")
    try:
        with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, mode or 0o666)) as file:
            file.write(content.encode() if isinstance(content, str) else content)
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _mode_of(path: Path) -> int | None:
    """Return the permissions of a file that is there; refuse what is no regular file."""
    try:
        found = path.lstat().st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(found):
        return None
    if not stat.S_ISREG(found):
        raise OSError(f"{path}: not a regular file, expected one or a new name; name another output.")
    return stat.S_IMODE(found)


def remove_leftovers(folder: Path, name: str = "") -> None:
    """Remove what processes killed in `write_whole` left of the file `name`, or of any; nobody may be writing now."""
    middle = f"{glob.escape(name[:100])}." if name else "*"
    for path in folder.glob(f".{middle}{'[0-9a-f]' * 16}{PART}"):
        path.unlink(missing_ok=True)


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
