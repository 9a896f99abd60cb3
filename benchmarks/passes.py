"""What a pass of the chains costs beside a NEGF solve: side by side, one thread, on unseen devices of the design.

A solve is the charge at one potential with its correction; a pass, the frozen equations at one step with the linear
solve that follows it, as in `scf/frozen.py`.

    python benchmarks/passes.py --output book/results/passes.json
"""

import sys
import time

from shared import Record, arguments

import mlnegf
from mlnegf.scf.point import LOOSE, ROUGH
from mlnegf.scf.problem import Problem
from mlnegf.scf.steps import limited
from mlnegf.warmstart.design import Design


def costs(device: mlnegf.Device, gate: float, drain: float) -> dict[str, float]:
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
    return {"solve": clock[1] - clock[0], "pass": clock[2] - clock[1]}


def main() -> None:
    """Time, or go on."""
    given = arguments(__doc__, files=["output"])
    plans = [plan for plan in Design.read("nanosheets").plans if plan.part == "unseen"]
    costs(plans[0].device, *plans[0].biases[0])  # the first of all pays for what is made once
    record = Record(given.output, sys.argv, {})
    for plan in plans:
        gate, drain = plan.biases[0]
        record.add({"device": plan.name, "gate": gate, "drain": drain}, costs, plan.device, gate, drain)


if __name__ == "__main__":
    main()
