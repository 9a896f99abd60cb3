"""The devices of a design, solved into labelled files.

One task is one device at all its biases, and returns its file; this process alone writes, whole files or none, with a
manifest of checksums: see `runs`. A killed run loses the devices in flight, and a second run goes on behind them to the
same bytes. The design lies beside the files.

What networks are judged on is solved slowly and surely: the gate voltage is raised from where the channel is closed,
which follows the solution that equilibrium leads to. What they learn from starts cold, and goes the slow way where the
cold answer is marked as one that equilibrium may not lead to.
"""

import json
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from mlnegf._common import require
from mlnegf._files import write_whole
from mlnegf.runs.filling import fill
from mlnegf.runs.folder import Folder
from mlnegf.runs.workers import Workers
from mlnegf.scf.biases import solve_or_say_why
from mlnegf.scf.equations import Equations
from mlnegf.scf.solve import Solution, solve_from_off_state
from mlnegf.warmstart.design import Design, Plan
from mlnegf.warmstart.storage import SUFFIX, device_file

TOLERANCES: Final = {"known": 5e-4, "unseen": 2e-5, "outside": 2e-5}
"""Estimated error of the answers, V, by what a device is for."""
PROMISING: Final = 15
"""NEGF solves after which a cold start is given up for the slow way: most take two or three."""
DESIGN: Final = "design.toml"


def generate(
    design: Design,
    output: str | Path,
    command: str,
    workers: int | None = None,
    progress: bool = True,
    memory: float | None = None,
    scheduler: str | None = None,
    mix_versions: bool = False,
) -> None:
    """Solve every device of a design at its biases, in parallel; devices already there and whole are kept.

    While another run is at work in the folder, this one says so and waits: what that one leaves is for this one to do.

    Parameters
    ----------
    design : Design
    output : path
        Folder of the files; made if it does not exist.
    command : str
        What to write into the manifest as their origin.
    workers, memory, scheduler
        Who solves them: `count`, `memory` and `scheduler` of `runs.workers.Workers`.
    progress : bool
        Whether to draw a progress bar on stderr, with the time left.
    mix_versions : bool
        Whether to keep files of another version of the code, instead of refusing to mix.

    Raises
    ------
    ValueError
        If files that are there were made by other code or for another design.
    RunError
        If the scheduler is lost, or a device has ended one worker after the other.
    """
    who, plans = Workers(workers, memory, scheduler), {f"{plan.name}{SUFFIX}": plan for plan in design.plans}
    with Folder.opened(Path(output), SUFFIX, mix_versions, wait=True) as folder:
        for name in folder.entries.keys() & plans.keys():
            _require_same(folder.path / name, folder.entries[name], plans[name])
        write_whole(folder.path / DESIGN, design.text)
        # In no order of theirs, so that a run cut short has seen all kinds of devices.
        wanted = sorted((plan.digest, name) for name, plan in plans.items() if name not in folder.entries)
        fill(
            folder,
            who,
            solved,
            {name: plans[name] for _, name in wanted},
            lambda name: {"command": command, **_about(plans[name])},
            total=len(plans),
            unit="device",
            progress=progress,
        )


def _about(plan: Plan) -> dict[str, Any]:
    """Say in the manifest what a file is for."""
    about = {"biases": plan.biases, "part": plan.part, "device": plan.device.to_dict()}
    # As it comes back: JSON knows no tuples.
    return dict(json.loads(json.dumps(about)))


def _require_same(path: Path, entry: Mapping[str, Any], plan: Plan) -> None:
    """Refuse a file that another design left."""
    for name, mine in _about(plan).items():
        words = f"those of the design, {mine!r}; choose another output"
        require(entry.get(name) == mine, name, entry.get(name), words, str(path))


def solved(plan: Plan) -> tuple[bytes, dict[str, Any]]:
    """Solve one device: return its file, and what it took."""
    started, tolerance = time.perf_counter(), TOLERANCES[plan.part]
    equations = Equations.of(plan.device, tolerance=tolerance)
    solutions = [answer(equations, *bias, tolerance, slowly=plan.part != "known") for bias in plan.biases]
    content = device_file(solutions, plan.part, tolerance=tolerance)
    return content, {"seconds": round(time.perf_counter() - started, 3), "host": platform.node()}


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
