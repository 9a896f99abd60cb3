"""The classical ladder from a cold start, before and after the corrected answer: what every scheme takes by itself.

Unseen devices of the design, every scheme from the semiclassical start, asked for 1 mV and 1 %: once with the raw point
as the answer, once with the point and its correction. A run is right as in `mlnegf benchmark`. A second run computes
only what is missing.

    python benchmarks/ladder.py --data data/nanosheets --output book/results/ladder.json
"""

import sys
from itertools import product
from typing import Any

from shared import Record, arguments, shuffled

from mlnegf.scf.equations import Equations
from mlnegf.scf.problem import Problem
from mlnegf.scf.solve import solve
from mlnegf.warmstart.comparison import label, true_errors
from mlnegf.warmstart.dataset import cases, split
from mlnegf.warmstart.storage import Case
from mlnegf.warmstart.trials import WORK

SCHEMES = "gummel", "anderson", "newton", "auto"
TOLERANCE = 1e-3


def run(case: Case, equations: Equations, scheme: str, corrected: bool) -> dict[str, Any]:
    """Solve one case cold."""
    found = solve(equations, case.gate, case.drain, "semiclassical", scheme, TOLERANCE, corrected=corrected)
    error, off = true_errors(found, case.solved())
    work = {name: getattr(found.work, name) for name in WORK}
    right = found.converged and error <= TOLERANCE and off <= 0.01
    return {**work, "outcome": found.outcome.name, "right": bool(right), "error": error, "current_error": off}


def main() -> None:
    """Run, or go on."""
    given = arguments(__doc__, cases=60)
    unseen = [case for case in split(cases(given.data)).unseen_device if case.converged]
    chosen = shuffled(unseen, seed=1)[: given.cases]
    record = Record(given.output, sys.argv, {"cases": len(chosen)})
    for case in chosen:
        equations = Equations.of(case.device, tolerance=TOLERANCE)
        Problem.of(equations, case.gate, case.drain).semiclassical()  # what a device needs once is charged to none
        for scheme, corrected in product(SCHEMES, (False, True)):
            key = {"device": label(case), "gate": case.gate, "drain": case.drain}
            record.add({**key, "scheme": scheme, "corrected": corrected}, run, case, equations, scheme, corrected)


if __name__ == "__main__":
    main()
