"""One run at a time in one place; the second is told who the first is."""

import os
import platform
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a folder, or the name of a file, for this process; the hold ends with the block or with the process.

    Raises
    ------
    ValueError
        If another process holds it: naming its host, number and command.
    """
    place = path / ".lock" if path.is_dir() else path.with_name(f".{path.name[:100]}.lock")
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(place, timeout=0)
        lock.acquire()
    except Timeout:
        owner = place.read_text(encoding="utf-8", errors="replace").strip() or "another process"
        raise ValueError(
            f"output = {str(path)!r} is in use by {owner}; wait until it has ended, or name another output."
        ) from None
    try:
        with suppress(OSError):  # a full disk: the lock holds without its label
            place.write_text(_owner(), encoding="utf-8")
        yield
    finally:
        # Whoever has opened it meanwhile finds its last name gone, and opens it anew.
        place.unlink(missing_ok=True)
        lock.release()


def _owner() -> str:
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    return f"process {os.getpid()} on {platform.node()}: {command[:500]}"
