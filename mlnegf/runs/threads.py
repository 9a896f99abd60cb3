"""One thread for numerical libraries as long as anybody asks for it, and the caller's own settings afterwards."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import ThreadpoolController

_lock = threading.Lock()
_inside = 0
_limited: list[object] = []


@contextmanager
def one_thread() -> Iterator[None]:
    """Let BLAS and OpenMP use one thread inside the block, in any number of Python threads at once.

    OpenMP's setting belongs to the thread that makes it. BLAS has one for the whole process: whoever comes first limits
    it, and whoever leaves last restores what the first one found.
    """
    global _inside
    found = ThreadpoolController()
    with _lock:
        if _inside == 0:
            _limited.append(found.select(user_api="blas").limit(limits=1))
        _inside += 1
    try:
        with found.select(user_api="openmp").limit(limits=1):
            yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _limited.pop().restore_original_limits()  # type: ignore[attr-defined]
