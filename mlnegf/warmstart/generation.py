"""The devices of a design, solved into labelled files.

One unit of work is one device at all its biases; workers share nothing but the folder. One file holds one device and is
written whole or not at all, so that a killed run loses the devices in flight and a second run goes on behind them. The
design lies beside the files.

What networks are judged on is solved slowly and surely: the gate voltage is raised from where the channel is closed,
which follows the solution that equilibrium leads to. What they learn from starts cold, and goes the slow way where the
cold answer is marked as one that equilibrium may not lead to.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from pathlib import Path
from typing import Any, Final

from tqdm import tqdm

from mlnegf._common import require, write_whole
from mlnegf.scf.equations import Equations
from mlnegf.scf.solve import Solution, solve_from_off_state
from mlnegf.scf.sweep import solve_or_say_why
from mlnegf.warmstart.design import Design, Plan
from mlnegf.warmstart.storage import open_file, write_device
from mlnegf.warmstart.workers import pool

TOLERANCES: Final = {"known": 5e-4, "unseen": 2e-5, "outside": 2e-5}
"""Estimated error of the answers, V, by what a device is for."""
PROMISING: Final = 15
"""NEGF solves after which a cold start is given up for the slow way: most take two or three."""
DESIGN: Final = "design.toml"


def generate(
    design: Design, output: str | Path, command: str, workers: int | None = None, progress: bool = True
) -> None:
    """Solve every device of a design at its biases, in parallel; devices already on disk are kept.

    Parameters
    ----------
    design : Design
    output : path
        Folder of the files; made if it does not exist.
    command : str
        What to write into the files as their origin.
    workers : int, optional
        Processes, with one thread each; as many as there are cores, or devices if those are fewer, unless given.
    progress : bool
        Whether to draw a progress bar on stderr.

    Raises
    ------
    ValueError
        If a file that is already there is damaged, or was made by other code or for another design.
    """
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    paths = {plan: output / f"{plan.name}.nc" for plan in design.plans}
    for plan, path in paths.items():
        if path.exists():
            _require_same(path, plan)
    write_whole(output / DESIGN, lambda file: file.write_text(design.text))
    wanted = [plan for plan, path in paths.items() if not path.exists()]
    # In no order of theirs, so that a run cut short has seen all kinds of devices.
    wanted.sort(key=lambda plan: plan.digest)
    with tqdm(total=len(paths), initial=len(paths) - len(wanted), unit="device", disable=not progress) as bar:
        for _ in _done(wanted, paths, {"command": command}, min(workers or os.cpu_count() or 1, len(wanted))):
            bar.update()


def _done(plans: Sequence[Plan], paths: dict[Plan, Path], origin: dict[str, str], workers: int) -> Iterator[None]:
    """Solve, yielding after each device."""
    if workers <= 1:
        for plan in plans:
            _store(plan, paths[plan], origin)
            yield
        return
    with pool(workers) as processes:
        for future in as_completed([processes.submit(_store, plan, paths[plan], origin) for plan in plans]):
            future.result()
            yield


def _require_same(path: Path, plan: Plan) -> None:
    """Refuse a file that another design left."""
    with open_file(path) as file:
        biases = tuple(zip(file["gate"].values.tolist(), file["drain"].values.tolist(), strict=True))
        part = file.attrs.get("part")
    for what, found, mine in (("biases", biases, plan.biases), ("part", part, plan.part)):
        require(found == mine, what, found, f"those of the design, {mine!r}; choose another output", str(path))


def _store(plan: Plan, path: Path, origin: dict[str, Any]) -> None:
    """Solve one device and write its file."""
    tolerance = TOLERANCES[plan.part]
    equations = Equations.of(plan.device, tolerance=tolerance)
    solutions = [answer(equations, *bias, tolerance, slowly=plan.part != "known") for bias in plan.biases]
    write_device(path, solutions, plan.part, tolerance=tolerance, **origin)


def answer(equations: Equations, gate: float, drain: float, tolerance: float, slowly: bool) -> Solution:
    """Solve one bias; from the closed channel if `slowly`, or if the cold answer is marked or there is none."""
    if not slowly:
        # Nothing that was learned may colour what is learned from.
        cold = solve_or_say_why(
            equations, gate, drain, guess="semiclassical", tolerance=tolerance, max_solves=PROMISING
        )
        if cold.converged and not cold.marked:
            return cold
    return solve_or_say_why(equations, gate, drain, solve_from_off_state, tolerance=tolerance)
