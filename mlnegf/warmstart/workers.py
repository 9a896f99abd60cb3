"""Processes that work in parallel, with one thread each, and that never outlive the one that asked."""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait

import torch


@contextmanager
def pool(workers: int | None = None) -> Iterator[ProcessPoolExecutor]:
    """Open a pool of processes; as many as there are cores unless given.

    An executor alone waits for the work in flight when its owner fails, and works on when its owner is killed. Here
    both end it: every worker listens to one pipe, whose other end closes with the block or with the process around it.
    """
    context = get_context("spawn")
    listener, line = context.Pipe(duplex=False)
    executor = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin, initargs=(listener,))
    try:
        yield executor
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)
        line.close()
        raise
    finally:
        executor.shutdown()
        line.close()
        listener.close()


def _begin(listener: Connection) -> None:
    """Start a worker."""
    torch.set_num_threads(1)
    threading.Thread(target=_end_with, args=(listener,), daemon=True).start()


def _end_with(listener: Connection) -> None:
    """End this process, whatever it is doing, once nobody holds the other end of the line."""
    wait([listener])
    os._exit(1)
