"""Cold and learned starts with coupled modes, where NEGF is nearly all of the time.

The cases of unseen devices with the smallest sections, solved from both starts in coupled modes; both answers must
agree within their estimated errors. A second run computes only what is missing.

    python benchmarks/coupled.py --data data/nanosheets --output book/results/coupled.json
"""

import sys
from typing import Any

from shared import Record, arguments, shuffled

from mlnegf.scf.equations import Equations
from mlnegf.scf.problem import Problem
from mlnegf.scf.solve import solve
from mlnegf.warmstart.comparison import label
from mlnegf.warmstart.dataset import cases, split
from mlnegf.warmstart.storage import Case
from mlnegf.warmstart.trials import WORK

GUESSES = "semiclassical", "learned"


def run(case: Case) -> dict[str, Any]:
    """Solve one case from both starts."""
    equations = Equations.of(case.device, modes="coupled")
    Problem.of(equations, case.gate, case.drain).semiclassical()  # what a device needs once is charged to none
    found = {guess: solve(equations, case.gate, case.drain, guess, max_solves=20) for guess in GUESSES}
    cold, learned = found.values()
    return {
        "runs": {
            guess: {
                "outcome": one.outcome.name,
                "used": one.guess_used,
                "error_estimate": one.error_estimate,
                **{name: getattr(one.work, name) for name in WORK},
            }
            for guess, one in found.items()
        },
        "apart": float(abs(cold.potential - learned.potential).max()),
        "currents_apart": float(abs(learned.current / cold.current - 1)),
    }


def main() -> None:
    """Run, or go on."""
    given = arguments(__doc__, devices=5, biases=3)
    unseen: dict[str, list[Case]] = {}
    for case in split(cases(given.data)).unseen_device:
        if case.converged:
            unseen.setdefault(label(case), []).append(case)
    by_size = sorted(unseen.values(), key=lambda own: own[0].device.grid.doped_cells.size * len(own[0].device.grid.x))
    record = Record(given.output, sys.argv, {"devices": given.devices, "biases": given.biases})
    for own in by_size[: given.devices]:
        for case in shuffled(own)[: given.biases]:
            record.add({"device": label(case), "gate": case.gate, "drain": case.drain}, run, case)


if __name__ == "__main__":
    main()
