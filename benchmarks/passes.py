"""What a pass of the chains costs beside a NEGF solve: side by side, one thread, on unseen devices of the design.

A solve is the charge at one potential with its correction; a pass, the frozen equations at one step with the linear
solve that follows it, as in `scf/frozen.py`.

    python benchmarks/passes.py --output book/results/passes.json
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import torch
from threadpoolctl import ThreadpoolController

import mlnegf
from mlnegf._common import write_whole
from mlnegf.scf.point import LOOSE, ROUGH
from mlnegf.scf.problem import Problem
from mlnegf.scf.steps import limited
from mlnegf.warmstart.design import Design


def costs(device: mlnegf.Device, gate: float, drain: float) -> tuple[float, float]:
    """Seconds of one solve with its correction, and of one pass with its linear solve, at the semiclassical start."""
    problem = Problem.of(device, gate, drain)
    potential = problem.semiclassical()
    clock = [time.perf_counter()]
    point = problem.evaluate(potential)
    step = point.correct(ROUGH).step
    clock.append(time.perf_counter())
    residual = point.frozen_residual(limited(step, point.thermal_voltage))
    point.solve_linearised(point.preconditioned(-residual), LOOSE)
    clock.append(time.perf_counter())
    return clock[1] - clock[0], clock[2] - clock[1]


def main() -> None:
    """Time, and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    ThreadpoolController().limit(limits=1)
    plans = [plan for plan in Design.read("nanosheets").plans if plan.part == "unseen"]
    costs(plans[0].device, *plans[0].biases[0])  # the first of all pays for what is made once
    rows = []
    for plan in plans:
        gate, drain = plan.biases[0]
        solve, one_pass = costs(plan.device, gate, drain)
        rows.append({"device": plan.name, "gate": gate, "drain": drain, "solve": solve, "pass": one_pass})
    found = {
        "command": "python benchmarks/passes.py " + " ".join(sys.argv[1:]),
        "version": mlnegf.__version__,
        "pass over solve, median": statistics.median(row["pass"] / row["solve"] for row in rows),
        "rows": rows,
    }
    write_whole(given.output, lambda path: Path(path).write_text(json.dumps(found, indent=1) + "\n"))
    print(f"{len(rows)} devices: a pass costs {found['pass over solve, median']:.2f} of a solve, median")


if __name__ == "__main__":
    main()
