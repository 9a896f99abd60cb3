"""Whole sweeps of unseen devices, nine gate by nine drain voltages: where neighbours are solved already.

Every start gets the same steps, the same answer and the same certificate. `extrapolated` follows the grid, from the
last two gate voltages. All work is counted, that of biases inserted on the way included; two sweeps disagree at a bias
where their currents differ by more than 2 %. A second run computes only what is missing.

    python benchmarks/whole_sweep.py --data data/nanosheets --output book/results/sweep.json
"""

import sys
from typing import Any

import numpy as np
from shared import Record, arguments, shuffled

import mlnegf
from mlnegf import Device
from mlnegf.warmstart.comparison import label
from mlnegf.warmstart.dataset import cases, split
from mlnegf.warmstart.trials import WORK

GATES = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
DRAINS = [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
GUESSES = "semiclassical", "extrapolated", "learned"


def run(device: Device) -> dict[str, Any]:
    """Sweep one device from every start."""
    tables = {guess: mlnegf.sweep(device, GATES, DRAINS, guess=guess) for guess in GUESSES}
    current = {guess: table.current.values for guess, table in tables.items()}
    apart = abs(current["learned"] / np.where(current["extrapolated"], current["extrapolated"], np.nan) - 1)
    return {
        "biases": len(GATES) * len(DRAINS),
        "disagree": int(np.sum(~(apart < 0.02))),
        "sweeps": {
            guess: {
                "converged": int(table.converged.sum()),
                **{name: float(table[name].sum()) for name in WORK},
                "solves": table.charge_evaluations.values.astype(int).ravel().tolist(),
            }
            for guess, table in tables.items()
        },
    }


def main() -> None:
    """Run, or go on."""
    given = arguments(__doc__, devices=4)
    unseen = {label(case): case.device for case in split(cases(given.data)).unseen_device}
    record = Record(given.output, sys.argv, {"gates": GATES, "drains": DRAINS})
    for name in shuffled(sorted(unseen))[: given.devices]:
        record.add({"device": name}, run, unseen[name])


if __name__ == "__main__":
    main()
