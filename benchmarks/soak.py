"""Five hundred random devices, each at a random bias, solved one after the other in one process.

Every case must end as converged, as not converged with a reason, or as refused by name; every tenth converged answer is
followed by Newton's steps until they end, and must be found where it said it was. Memory must stay flat: that which is
held once the allocator has handed back what is free, for what it keeps is that of the largest device so far.

    python benchmarks/soak.py --output book/results/soak.json
"""

import ctypes
import gc
import sys
import time
from typing import Any

import numpy as np
import psutil
from shared import Record, arguments

import mlnegf
from mlnegf.scf.equations import LARGEST
from mlnegf.scf.problem import Problem

TOLERANCE = 1e-3
SECTIONS = ("rectangle", "ellipse", "rounded", "trapezoid", "L", "T")


def drawn(seed: int) -> tuple[dict[str, Any], float, float]:
    """Draw a device's parameters and a bias, V: wide enough that some of them make no device."""
    rng = np.random.default_rng(seed)
    lengths = {
        name: float(rng.uniform(*ends))
        for name, ends in {
            "width": (1.5, 8.0),
            "thickness": (1.5, 6.0),
            "gate_length": (3.0, 20.0),
            "source_length": (2.0, 10.0),
            "drain_length": (2.0, 10.0),
            "oxide_thickness": (0.3, 2.0),
        }.items()
    }
    polarity = str(rng.choice(["n", "p"], p=[0.8, 0.2]))
    sign = 1 if polarity == "n" else -1
    parameters = lengths | {
        "doping": float(10 ** rng.uniform(18.5, 20.5)),
        "temperature": float(rng.choice([rng.uniform(40, 200), rng.uniform(200, 450)])),
        "cross_section": str(rng.choice(SECTIONS)),
        "polarity": polarity,
        "mean_free_path": float(rng.uniform(2.0, 40.0)) if rng.random() < 0.1 else None,
        "spacing": (0.5, 0.5, 0.5),
    }
    return parameters, sign * float(rng.uniform(-0.4, 1.2)), sign * float(rng.uniform(0.0, 1.0))


def case(seed: int) -> dict[str, Any]:
    """Solve one case, and say how it ended."""
    begun = time.perf_counter()
    parameters, gate, drain = drawn(seed)
    row: dict[str, Any] = {"parameters": parameters, "gate": gate, "drain": drain}
    try:
        solution = mlnegf.solve(mlnegf.Device(**parameters), gate, drain, tolerance=TOLERANCE)
    except ValueError as error:
        row |= {"ended": "refused", "words": str(error)[:300]}
    else:
        row |= {"ended": solution.outcome.name, "words": solution.status, "solves": solution.negf_solves}
        row |= {"error_estimate": solution.error_estimate, "marked": solution.marked}
        finite = bool(np.isfinite(solution.potential).all() and np.isfinite([solution.current]).all())
        row["sound"] = finite and (not solution.converged or solution.error_estimate <= TOLERANCE)
        if solution.converged and seed % 10 == 0:
            row["true_error"] = true_error(solution)
    gc.collect()
    row["seconds"] = time.perf_counter() - begun
    row["memory"], row["held"] = psutil.Process().memory_info().rss / 2**20, held()
    return row


def true_error(solution: mlnegf.Solution) -> float | None:
    """Follow Newton's steps in a larger basis, and return how far an answer was off, V; None if they do not end."""
    problem = Problem.of(solution.device, solution.gate, solution.drain, tolerance=TOLERANCE / 50)
    answer = potential = problem.folded(solution.potential)
    for _ in range(20):
        step = problem.evaluate(potential).correct(1e-3)
        potential = potential + step.step
        if step.size < 1e-7:
            return float(abs(potential - answer).max())
    return None


def held() -> float:
    """Memory of this process, MiB, once what is free is handed back."""
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)
    return float(psutil.Process().memory_info().rss / 2**20)


def main() -> None:
    """Solve, or go on."""
    given = arguments(__doc__, files=["output"], cases=500)
    record = Record(given.output, sys.argv, {"tolerance": TOLERANCE, "largest": LARGEST})
    for seed in range(given.cases):
        record.add({"seed": seed}, case, seed)


if __name__ == "__main__":
    main()
