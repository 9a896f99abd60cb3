"""The classical ladder from a cold start, before and after the corrected answer: what every scheme takes by itself.

Unseen devices of the design, every scheme from the semiclassical start, asked for 1 mV and 1 %: once with the raw point
as the answer, once with the point and its correction. A run is right as in `mlnegf benchmark`. A second run computes
only what is missing.

    python benchmarks/ladder.py --data data/nanosheets --output book/results/ladder.json
"""

import argparse
import sys
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import Record
from threadpoolctl import ThreadpoolController

from mlnegf.scf.equations import Equations
from mlnegf.scf.problem import Problem
from mlnegf.scf.solve import solve
from mlnegf.warmstart.comparison import WORK, label
from mlnegf.warmstart.dataset import cases, split
from mlnegf.warmstart.storage import Case

SCHEMES = "gummel", "anderson", "newton", "auto"
TOLERANCE = 1e-3


def run(case: Case, equations: Equations, scheme: str, corrected: bool) -> dict[str, Any]:
    """Solve one case cold."""
    found = solve(equations, case.gate, case.drain, "semiclassical", scheme, TOLERANCE, corrected=corrected)
    reference = case.solved()
    error = float(abs(found.potential - reference.potential).max())
    off = abs(found.current / reference.current - 1)
    work = {name: getattr(found.work, name) for name in WORK}
    right = found.converged and error <= TOLERANCE and off <= 0.01
    return {**work, "outcome": found.outcome.name, "right": bool(right), "error": error, "current_error": float(off)}


def main() -> None:
    """Run, or go on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--cases", type=int, default=60)
    given = parser.parse_args()
    torch.set_num_threads(1)
    ThreadpoolController().limit(limits=1)
    unseen = [case for case in split(cases(given.data)).unseen_device if case.converged]
    chosen = [unseen[index] for index in np.random.default_rng(1).permutation(len(unseen))[: given.cases]]
    record = Record(given.output, sys.argv, {"cases": len(chosen)})
    for case in chosen:
        equations = Equations.of(case.device, tolerance=TOLERANCE)
        Problem.of(equations, case.gate, case.drain).semiclassical()  # what a device needs once is charged to none
        for scheme, corrected in product(SCHEMES, (False, True)):
            key = {"device": label(case), "gate": case.gate, "drain": case.drain}
            record.add({**key, "scheme": scheme, "corrected": corrected}, run, case, equations, scheme, corrected)


if __name__ == "__main__":
    main()
