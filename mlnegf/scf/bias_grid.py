"""A grid of biases as tasks: each starts from solved neighbours, and may begin as soon as those are there.

For every drain voltage the gate voltages follow each other; the first two start from lower drain voltages. So whole
drain voltages go side by side once their first two biases are solved, and who solves a bias, and when, changes nothing.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import Any, Final

import numpy as np
from tqdm import tqdm

from mlnegf._common import Floats, plain, require
from mlnegf.nanosheet.device import Device
from mlnegf.runs.folder import Entry, Folder, content_of
from mlnegf.runs.journal import checksum
from mlnegf.runs.workers import Workers
from mlnegf.scf.biases import Place, follow, neighbours, solve_or_say_why
from mlnegf.scf.equations import Equations
from mlnegf.scf.guesses import Solved
from mlnegf.scf.loop import Outcome
from mlnegf.scf.problem import Work
from mlnegf.scf.solve import Solution

SUFFIX: Final = ".npy"


VALUES: Final = ("current", "converged", "status", "guess_used", "error_estimate", "current_error")
COLUMNS: Final = (*VALUES, "outcome", *vars(Work()), "warnings")
"""What a table says of a bias, in this order."""


def row_of(solution: Solution) -> dict[str, Any]:
    """Return what a table says of a solution, as numbers and words."""
    row = {name: plain(getattr(solution, name)) for name in VALUES}
    return row | {"outcome": solution.outcome.name, **vars(solution.work), "warnings": "; ".join(solution.warnings)}


@dataclass(frozen=True, eq=False)
class SolvedBias:
    """What another bias starts from: `potential`, (nx, ny, nz), V."""

    device: Device
    gate: float
    drain: float
    potential: Floats


Answer = tuple[dict[str, Any], Floats]
"""What a table says of a bias, see `row_of`, and the potential there, (nx, ny, nz), V."""


@dataclass(frozen=True)
class Recipe:
    """Equations that a worker makes for itself, once."""

    device: Device
    filling: str
    modes: str
    tolerance: float


@dataclass(frozen=True, eq=False)
class Grid:
    """Biases to solve, and how.

    Attributes
    ----------
    equations : Equations
    gates, drains : list of float
        V.
    guess : object
        "extrapolated" or "previous", or what every bias starts from.
    follows : bool
        Whether it is one of those two.
    options : dict
        Of `solve`.
    """

    equations: Equations
    gates: list[float]
    drains: list[float]
    guess: Any
    follows: bool
    options: dict[str, Any]

    @property
    def places(self) -> list[Place]:
        """Row and column of every bias, drain by drain."""
        return [(row, column) for column in range(len(self.drains)) for row in range(len(self.gates))]

    def needs(self, place: Place) -> list[Place]:
        """Return the places that must be solved before another."""
        return neighbours(*place) if self.follows else []


@dataclass(frozen=True, eq=False)
class Store:
    """Where answers are kept: in memory, and in a folder if there is one, by place."""

    known: dict[Place, Answer] = field(default_factory=dict)
    folder: Folder | None = None
    about: str = ""

    def keep(self, place: Place, answer: Answer) -> None:
        """Keep an answer."""
        self.known[place] = answer
        if self.folder is not None:
            content, (row, potential) = BytesIO(), answer
            np.save(content, potential, allow_pickle=False)
            self.folder.add(_name(place), content.getvalue(), {"sweep": self.about, "row": row}, {})

    def forget_all_but(self, needed: set[Place]) -> None:
        """Let go of the potentials that no other bias will start from."""
        for place, (row, potential) in self.known.items():
            if potential.size and place not in needed:
                self.known[place] = row, np.zeros(0)


def _name(place: Place) -> str:
    return f"{place[1]:05d}_{place[0]:05d}{SUFFIX}"


@contextmanager
def kept(folder: str | PathLike[str] | None, about: Mapping[str, Any]) -> Iterator[Store]:
    """Open the store of a grid of biases; `about` says which one, and another one's folder is refused."""
    if folder is None:
        yield Store()
        return
    with Folder.opened(Path(folder), SUFFIX) as opened:
        store = Store(folder=opened, about=checksum(about))
        for name, entry in opened.entries.items():
            words = "that of this sweep; name another folder, or delete this one"
            require(entry.get("sweep") == store.about, "sweep", entry.get("sweep"), words, str(opened.path / name))
            column, row = (int(part) for part in name.removesuffix(SUFFIX).split("_"))
            store.known[row, column] = entry["row"], _potential(opened.path / name, entry)
        yield store


def _potential(path: Path, entry: Entry) -> Floats:
    return np.asarray(np.load(BytesIO(content_of(path, entry)), allow_pickle=False), dtype=np.float64)


def solved_grid(grid: Grid, workers: Workers, store: Store, progress: bool) -> list[dict[str, Any]]:
    """Solve what the store does not know yet; return the rows of all biases, drain by drain."""
    waiting = [place for place in grid.places if place not in store.known]
    with (
        workers.opened(len(grid.drains) if grid.follows else len(waiting)) as tasks,
        tqdm(total=len(grid.places), initial=len(store.known), disable=not progress, unit="bias") as bar,
    ):
        recipe = grid.equations if tasks.here else _recipe(grid.equations)

        def give() -> None:
            ready = [place for place in waiting if all(other in store.known for other in grid.needs(place))]
            for place in ready:
                bias = grid.gates[place[0]], grid.drains[place[1]]
                start = _line(grid, place, store) if grid.follows else grid.guess
                tasks.give(place, _answer, recipe, bias, start, grid.options)
            gone = set(ready)
            waiting[:] = [place for place in waiting if place not in gone]
            store.forget_all_but({other for place in waiting for other in grid.needs(place)})

        give()
        for place, answer in tasks.results():
            store.keep(place, answer)
            bar.update()
            give()
    return [store.known[place][0] for place in grid.places]


def _recipe(equations: Equations) -> Recipe:
    return Recipe(equations.device, equations.filling, equations.modes, equations.tolerance)


def _line(grid: Grid, place: Place, store: Store) -> list[Solved]:
    """Return the solved biases that another starts from, the nearest last; those without an answer are left out."""
    line: list[Solved] = []
    for row, column in grid.needs(place):
        about, potential = store.known[row, column]
        if about["outcome"] != Outcome.failed.name:
            line.append(SolvedBias(grid.equations.device, grid.gates[row], grid.drains[column], potential))
    return line[-1:] if grid.guess == "previous" else line


def _answer(recipe: Equations | Recipe, bias: tuple[float, float], start: Any, options: dict[str, Any]) -> Answer:
    """Solve one bias: from a line of solved ones, or from a guess."""
    equations = recipe if isinstance(recipe, Equations) else _made(recipe)
    if isinstance(start, list):
        solution = follow(equations, bias, start, **options)
    else:
        solution = solve_or_say_why(equations, *bias, guess=start, **options)
    return row_of(solution), solution.potential


@lru_cache(maxsize=1)
def _made(recipe: Recipe) -> Equations:
    return Equations.of(recipe.device, recipe.filling, recipe.modes, recipe.tolerance)
