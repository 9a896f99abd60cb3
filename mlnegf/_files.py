"""Files that are read and written whole: what is on the disk is the old file or the new one."""

import glob
import os
import secrets
import stat
from pathlib import Path
from typing import Final

PART: Final = ".part"
"""How the name of a file ends that is not whole yet."""


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


def read_whole(path: str | os.PathLike[str]) -> bytes:
    """Read a file; what is none, such as a device or a pipe without an end, is refused.

    Raises
    ------
    OSError
        If it is not there, or no regular file.
    """
    # Not to wait for whoever might write into a pipe.
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(f"{os.fspath(path)}: not a regular file, expected one.")
        return file.read()
