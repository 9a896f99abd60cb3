"""Tasks on many processes: a cluster of Dask's on this machine, or one that runs elsewhere, by the same code.

A task is a function of its arguments alone, at the top of a module, and returns what its caller stores: workers share
neither memory nor a disk. A worker has one thread and a bound on its memory. When one is lost, its task is given to
another. Whatever ends the caller ends the workers of its own cluster, busy or not.
"""

import logging
import os
import signal
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import psutil

from mlnegf._common import __version__, is_count, is_finite, require
from mlnegf.runs.threads import one_thread

MEMORY: Final = 4.0
"""Of a worker, GiB, unless given, or unless the machine has less."""
LEAST: Final = 0.25
"""GiB that a worker needs to start."""
LOST: Final = 3
"""How many workers a task may lose before it is taken for their end."""
FAREWELL: Final = 10.0
"""Seconds that a cluster is given to end in order."""
THREADS: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
LOGGERS: Final = ("distributed", "distributed.client", "tornado.application", "asyncio")
STARTS: Final = 3
"""How often a cluster is started before it is said that it cannot be."""
ANSWERS: Final = 20.0
"""Seconds that a scheduler is waited for."""
AHEAD: Final = 4
"""Tasks under way for each worker: none waits for its next, and no results pile up."""
AT_ONCE: Final = 64
"""Tasks under way at least."""

GONE: Final = "the scheduler is gone; start it and run again: whole files are kept."

_require = partial(require, caller="workers")


class RunError(RuntimeError):
    """A cluster that cannot go on: its scheduler is gone, or a task has ended worker after worker."""


@dataclass(frozen=True)
class Workers:
    """Who runs tasks.

    Parameters
    ----------
    count : int, optional
        Processes on this machine; as many as there are cores unless given. One is this process itself.
    memory : float, optional
        Of each, GiB: one that takes more is ended, and its task given to another. `MEMORY` unless given, or a fair
        share of the machine's where that is less.
    scheduler : str, optional
        Address of a running scheduler of Dask, such as "tls://host:8786", whose workers are used instead.
    """

    count: int | None = None
    memory: float | None = None
    scheduler: str | None = None

    def __post_init__(self) -> None:
        count, memory, address = self.count, self.memory, self.scheduler
        _require(count is None or is_count(count), "workers", count, "a whole number, 1 or more")
        enough = memory is None or (is_finite(memory) and memory >= LEAST)
        _require(enough, "memory", memory, f"GiB, {LEAST:g} or more")
        known = isinstance(address, str) and address.partition("://")[0] in ("tcp", "tls", "inproc")
        _require(address is None or known, "scheduler", address, "an address such as tcp://127.0.0.1:8786")
        _require(address is None or count is None, "workers", count, "none beside a scheduler, which has its own")

    @contextmanager
    def opened(self, most: int | None = None) -> "Iterator[Tasks]":
        """Start them, and end them with the block, whatever they are doing.

        Parameters
        ----------
        most : int, optional
            Tasks to come; no more processes than these are started.
        """
        count = min(self.count or os.cpu_count() or 1, most if most is not None else 1 << 30)
        if self.scheduler is None and count <= 1:
            yield Tasks()
            return
        with _quiet(), _cluster(self, count) if self.scheduler is None else _joined(self) as (client, words):
            yield _ClusterTasks(client, words)


class Tasks:
    """Tasks given and results taken, in this process: one after the other, in the order given."""

    words = "this process"
    """Who works."""
    here = True
    """Whether in this process."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Any, tuple[Any, ...]]] = deque()

    def give(self, key: Any, function: Callable[..., Any], *arguments: Any) -> None:
        """Ask for the result of a function; more may be given while results are taken."""
        self._waiting.append((key, (function, *arguments)))

    def results(self) -> Iterator[tuple[Any, Any]]:
        """Yield the key of each task and its result, as they come, until all that were given are done."""
        while self._waiting:
            key, task = self._waiting.popleft()
            yield key, _run(__version__, *task)


class _ClusterTasks(Tasks):
    """Tasks on a cluster."""

    here = False

    def __init__(self, client: Any, words: str) -> None:
        super().__init__()
        self.client, self.words = client, words

    def results(self) -> Iterator[tuple[Any, Any]]:
        """Yield the key of each task and its result, as they come; few are under way at any time."""
        from distributed import as_completed

        running: dict[Any, Any] = {}
        done = as_completed([], loop=self.client.loop, with_results=True, raise_errors=False)
        ahead = 0
        while self._waiting or running:
            if self._waiting and len(running) <= ahead // 2:
                # Workers may come and go. Tasks go in batches, since each message costs as much as many tasks.
                ahead = max(AHEAD * self._threads(), AT_ONCE)
                batch = [self._waiting.popleft() for _ in range(min(ahead, len(self._waiting)))]
                tasks = [task for _, task in batch]
                futures = self.client.map(partial(_run_on_worker, __version__), tasks, pure=False)
                running.update(zip(futures, (key for key, _ in batch), strict=True))
                done.update(futures)
            future, result = next(done)
            key = running.pop(future)
            yield key, result if future.status == "finished" else _result(future)

    def _threads(self) -> int:
        try:
            return sum(self.client.nthreads().values())
        except (OSError, TimeoutError) as error:
            raise RunError(GONE) from error


def _run(version: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Run a task."""
    if version != __version__:
        raise RunError(f"a worker has version {__version__} of mlnegf, expected {version}; install the same on all.")
    with one_thread():
        return function(*arguments)


def _run_on_worker(version: str, task: tuple[Any, ...]) -> Any:
    """Run a task; what Dask runs may not ask the cluster for locks, as xarray does when it makes a file."""
    import dask

    dask.config.set(scheduler="synchronous")
    return _run(version, *task)


def _result(future: Any) -> Any:
    """Raise what a task that is not finished has ended with: its own error, or that of those who ran it."""
    from distributed import KilledWorker

    if future.status != "error":
        raise RunError(GONE)
    try:
        return future.result()
    except KilledWorker as error:
        raise RunError(
            f"a task has ended {LOST + 1} workers, the last one {error.last_worker.name}; is its memory too small "
            "(--memory)? Run again: whole files are kept."
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Say nothing of what is no news: a worker or a scheduler that is lost is a new worker, or an error with advice."""
    import distributed  # noqa: F401  # which sets its loggers when it is loaded

    loggers = [logging.getLogger(name) for name in LOGGERS]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


@contextmanager
def _cluster(workers: Workers, count: int) -> Iterator[tuple[Any, str]]:
    """Start a cluster on this machine, which nobody else can reach: on the loopback, with keys made for it alone."""
    import dask
    from distributed import Client

    memory = workers.memory or min(MEMORY, psutil.virtual_memory().total / 2**30 / count)
    settings = {
        "distributed.scheduler.allowed-failures": LOST,
        # What a case needs it needs: nothing of it is written to a disk.
        "distributed.worker.memory.target": False,
        "distributed.worker.memory.spill": False,
        "distributed.worker.memory.pause": False,
        # Without Dask's MALLOC_TRIM_THRESHOLD_, see docs/decisions/23-dask.md.
        "distributed.nanny.pre-spawn-environ": dict.fromkeys(THREADS, 1),
        # News, profiles and pages about a run have no reader.
        "logging": dict.fromkeys(LOGGERS, "critical"),
        "distributed.worker.profile.enabled": False,
        "distributed.scheduler.http.routes": [],
        "distributed.worker.http.routes": [],
    }
    with (
        tempfile.TemporaryDirectory(prefix="mlnegf-", ignore_cleanup_errors=True) as folder,
        dask.config.set(settings),
    ):
        cluster = _started(
            n_workers=count,
            threads_per_worker=1,
            memory_limit=f"{memory}GiB",
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            security=True,
            local_directory=folder,
            silence_logs=logging.CRITICAL,
        )
        client = Client(cluster, set_as_default=False)
        idle = False
        try:
            yield client, f"{count} workers on this machine, one thread and {memory:.3g} GiB each"
            idle = True
        finally:
            if not idle:
                _kill(cluster)
            # What is said now, of workers that have gone already, is of no use to anybody.
            with suppress(Exception):
                client.close(timeout=FAREWELL)
            with suppress(Exception):
                cluster.close(timeout=FAREWELL)
            _kill(cluster)


def _started(**options: Any) -> Any:
    """Start a cluster; again, if a worker is lost before it is one."""
    from distributed import LocalCluster

    for _ in range(STARTS):
        with suppress(RuntimeError):
            return LocalCluster(**options)
    raise RunError(f"no worker could be started in {STARTS} attempts; is its memory too small (--memory)?")


def _kill(cluster: Any) -> None:
    """End the workers of a cluster at once, instead of asking them to finish."""
    for nanny in list(cluster.workers.values()):
        nanny.auto_restart = False
        with suppress(ProcessLookupError, TypeError, AttributeError):
            os.kill(nanny.pid, signal.SIGKILL)


@contextmanager
def _joined(workers: Workers) -> Iterator[tuple[Any, str]]:
    """Join a cluster that runs already."""
    from distributed import Client

    address = workers.scheduler
    try:
        client = Client(address, timeout=ANSWERS, set_as_default=False)
    except (OSError, ValueError, ImportError) as error:
        raise ValueError(
            f"workers: scheduler = {address!r}: nobody answers ({error}); start one with `dask scheduler`, and workers "
            "with `dask worker ADDRESS --nthreads 1`."
        ) from error
    with client:
        threads = client.nthreads()
        yield client, f"{len(threads)} workers with {sum(threads.values())} threads at {address}"
