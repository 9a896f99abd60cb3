"""Tasks for workers to run: at the top of a small module, so that a worker that runs them loads little."""

import os
import signal
import time
from pathlib import Path

from threadpoolctl import threadpool_info


def square(number: int) -> int:
    return number * number


def process() -> int:
    return os.getpid()


def threads() -> list[int]:
    import numpy as np

    np.ones((4, 4)) @ np.ones((4, 4))
    return [pool["num_threads"] for pool in threadpool_info()]


def fail(message: str) -> None:
    raise KeyError(message)


def sleep(seconds: float) -> None:
    time.sleep(seconds)


def allocate(gibibytes: float) -> int:
    """Take memory, slowly enough to be seen, and keep it until somebody ends this process or a minute has passed."""
    taken = []
    for _ in range(int(gibibytes * 16)):
        taken.append(bytearray(os.urandom(1 << 20) * 64))
        time.sleep(0.05)
    time.sleep(60)
    return len(taken)


def die_once(mark: str) -> str:
    """End the worker, as the machine does when it is out of memory, unless a worker before has ended here."""
    if not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
