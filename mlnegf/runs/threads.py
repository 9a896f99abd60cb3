"""One thread for numerical libraries as long as anybody asks for it, and the caller's own settings afterwards."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from threadpoolctl import OpenBLASController, ThreadpoolController

_lock = threading.Lock()
_inside = 0
_limits: list[Any] = []


@contextmanager
def one_thread() -> Iterator[None]:
    """Let BLAS and OpenMP use one thread inside the block, in any number of Python threads at once.

    OpenMP's setting belongs to the thread that makes it. BLAS has one for the whole process: whoever comes first limits
    it, and whoever leaves last restores what the first one found.
    """
    global _inside
    libraries = ThreadpoolController()
    with _lock:
        _inside += 1
        if _inside == 1:
            _take_over()
            _limits.append(libraries.select(user_api="blas").limit(limits=1))
    try:
        with libraries.select(user_api="openmp").limit(limits=1):
            yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _take_over()
                _limits.pop().restore_original_limits()


def _take_over() -> None:
    """Let this thread set what another has set: the library grants it to one at a time, and ignores all others."""
    OpenBLASController.clear_controlling_thread(force=True)
