"""What benchmarks on stored cases share: their arguments, an order of cases, and a result that grows row by row."""

import argparse
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from threadpoolctl import ThreadpoolController
from tqdm import tqdm

import mlnegf
from mlnegf._files import write_whole

Item = TypeVar("Item")
SHARES = 0.25, 0.5, 0.75, 0.95


def arguments(about: str, files: Sequence[str] = ("data", "output"), **counts: int) -> argparse.Namespace:
    """Read ``--data``, ``--output`` (or other `files`) and whole numbers with these defaults, and use one thread.

    Parameters
    ----------
    about : str
        The script's docstring.
    files : sequence of str
    **counts
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in files:
        parser.add_argument(f"--{name}", type=Path, required=True)
    for name, default in counts.items():
        parser.add_argument(f"--{name}", type=int, default=default, help=f"{default} unless given")
    _one_thread()
    return parser.parse_args()


def shuffled(items: Sequence[Item], seed: int = 0) -> list[Item]:
    """Return items in an order that has seen all kinds of them early."""
    return [items[index] for index in np.random.default_rng(seed).permutation(len(items))]


def shares(errors: Sequence[float]) -> dict[str, float]:
    """Return below what 25, 50, 75 and 95 % of errors lie, in their unit."""
    return {f"{share:.0%}": float(value) for share, value in zip(SHARES, np.quantile(errors, SHARES), strict=True)}


def kept(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Read arrays from a file, or make and write them."""
    if not path.exists():
        made = make()
        partial = path.with_suffix(".part.npz")
        np.savez(partial, **made)
        os.replace(partial, path)
    with np.load(path) as found:
        return dict(found)


def shared_out(workers: int, task: Callable[..., Any], lots: Iterable[tuple[Any, ...]], words: str) -> None:
    """Do a task for each of its arguments in several processes of one thread; what it finds, it keeps in files."""
    with ProcessPoolExecutor(workers, get_context("spawn"), _one_thread) as pool:
        waiting = [pool.submit(_done, task, lot) for lot in lots]
        for one in tqdm(waiting, desc=words, mininterval=5.0):
            one.result()


def _one_thread() -> None:
    """Keep torch and the linear algebra of numpy and SciPy to one thread: workers would fight for the cores."""
    torch.set_num_threads(1)
    ThreadpoolController().limit(limits=1)


def _done(task: Callable[..., Any], lot: tuple[Any, ...]) -> None:
    """Do a task; nothing is sent back."""
    task(*lot)


class Record:
    """Rows in a JSON file, each known by its key, rewritten whole after every new one.

    Parameters
    ----------
    path : path
    command : sequence of str
        `sys.argv`, written into the file.
    about : mapping
        What all rows share; a file of other values is refused.
    """

    def __init__(self, path: Path, command: Sequence[str], about: Mapping[str, Any]) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = []
        words = "python benchmarks/" + " ".join([Path(command[0]).name, *command[1:]])
        self._about = {"command": words, "version": mlnegf.__version__, **about}
        if path.exists():
            found = json.loads(path.read_text())
            self.rows = found.pop("rows")
            for name, value in about.items():
                if found.get(name) != value:
                    raise SystemExit(f"{path}: {name} = {found.get(name)!r}, not {value!r}; name another output.")

    def add(self, key: Mapping[str, Any], compute: Callable[..., Mapping[str, Any]], *arguments: Any) -> None:
        """Compute the row of a key, unless it is there."""
        if any(all(row.get(name) == value for name, value in key.items()) for row in self.rows):
            return
        row = {**key, **compute(*arguments)}
        self.rows.append(row)
        print(json.dumps(row), flush=True)
        write_whole(self.path, json.dumps({**self._about, "rows": self.rows}, indent=1))
