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
def held(path: Path, wait: bool = False) -> Iterator[None]:
    """Hold a folder, or the name of a file, for this process; the hold ends with the block or with the process.

    Parameters
    ----------
    path : Path
    wait : bool
        Whether to wait for another process that holds it, and say so on stderr, instead of refusing.

    Raises
    ------
    ValueError
        If another process holds it: naming its host, number and command.
    """
    place = path / ".lock" if path.is_dir() else path.with_name(f".{path.name[:100]}.lock")
    place.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(place)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        words = f"output = {str(path)!r} is in use by {_owner_of(place)}"
        if not wait:
            raise ValueError(f"{words}; wait until it has ended, or name another output.") from None
        print(f"{words}; waiting until it has ended.", file=sys.stderr, flush=True)
        lock.acquire(poll_interval=0.2)
    try:
        with suppress(OSError):  # a full disk: the lock holds without its label
            place.write_text(_owner(), encoding="utf-8")
        yield
    finally:
        # Whoever has opened it meanwhile finds its last name gone, and opens it anew.
        place.unlink(missing_ok=True)
        lock.release()


def _owner_of(place: Path) -> str:
    try:
        return place.read_text(encoding="utf-8", errors="replace").strip() or "another process"
    except OSError:
        return "another process"


def _owner() -> str:
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    return f"process {os.getpid()} on {platform.node()}: {command[:500]}"
