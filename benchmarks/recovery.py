"""What a device is made of, read off its currents: mass, permittivity and work function, with error bars.

A sheet of In₀.₅₃Ga₀.₄₇As is solved at sixteen biases; noise of one percent is added. Least squares find the
three numbers again, from a start far off, with Jacobians from the adjoint: one linear solve for each bias. The
error bars are those of the linearised fit; over all draws they must hold the truth as often as they say.

    python benchmarks/recovery.py --output book/results/recovery.json
"""

import sys
import time
from typing import Any

import numpy as np
import torch
from scipy.optimize import least_squares
from shared import Record, arguments

import mlnegf
from mlnegf._common import Floats

DEVICE = mlnegf.Device(
    gate_length=12.0,
    source_length=6.0,
    drain_length=6.0,
    width=5.0,
    thickness=4.0,
    doping=3e19,
    spacing=(0.5, 0.5, 0.5),
    semiconductor="indium gallium arsenide",
)
BIASES = [(float(gate), drain) for gate in np.linspace(0.4, 1.1, 8) for drain in (0.05, 0.4)]
NAMES = ("mass", "permittivity", "work_function")
TRUTH = np.array([0.041, 13.9, 4.5])
START = np.array([0.06, 11.0, 4.6])
NOISE = 0.01
"""Standard deviation of ln I."""


def currents(values: Floats, guesses: list[Any]) -> tuple[Floats, Floats, list[Any]]:
    """Return ln I at all biases, its Jacobian by the three numbers, and the solutions."""
    inside = torch.as_tensor(DEVICE.grid.semiconductor).expand(DEVICE.grid.shape)
    oxide = torch.as_tensor(DEVICE.grid.permittivity)
    found, slopes, solutions = [], [], []
    for bias, guess in zip(BIASES, guesses, strict=True):
        mass, permittivity, work_function = (
            torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in values
        )
        tracked = mlnegf.differentiable(
            DEVICE,
            *bias,
            guess=guess,
            permittivity=torch.where(inside, permittivity, oxide),
            work_function=work_function,
            **dict.fromkeys(("mass_x", "mass_y", "mass_z"), mass.reshape(1)),
        )
        value = tracked.current.log()
        slopes.append(torch.stack(torch.autograd.grad(value, (mass, permittivity, work_function))).numpy())
        found.append(value.item())
        solutions.append(tracked.solution)
    return np.array(found), np.array(slopes), solutions


def fitted(measured: Floats) -> dict[str, Any]:
    """Find the three numbers by least squares, each model with its Jacobian."""
    tried: dict[bytes, tuple[Floats, Floats]] = {}
    guesses: list[Any] = ["semiclassical"] * len(BIASES)

    def model(values: Floats) -> tuple[Floats, Floats]:
        nonlocal guesses
        key = values.tobytes()
        if key not in tried:
            found, slopes, guesses = currents(values, guesses)
            tried[key] = (found - measured) / NOISE, slopes / NOISE
        return tried[key]

    begun = time.perf_counter()
    found = least_squares(
        lambda values: model(values)[0],
        START,
        lambda values: model(values)[1],
        bounds=([0.02, 5.0, 4.2], [0.12, 25.0, 4.9]),
        x_scale=np.array([1e-3, 1.0, 1e-2]),
        xtol=1e-7,
        ftol=1e-7,
    )
    return {
        "values": found.x.tolist(),
        "errors": np.sqrt(np.diag(np.linalg.inv(found.jac.T @ found.jac))).tolist(),
        "chi_square": float(2 * found.cost),
        "ended": found.message,
        "models": len(tried),
        "seconds": time.perf_counter() - begun,
    }


def main() -> None:
    """Fit, or go on."""
    given = arguments(__doc__, files=["output"], draws=20)
    exact, slopes, _ = currents(TRUTH, ["semiclassical"] * len(BIASES))
    about = {"names": list(NAMES), "truth": TRUTH.tolist(), "start": START.tolist(), "noise": NOISE}
    record = Record(given.output, sys.argv, about | {"biases": [list(bias) for bias in BIASES]})
    record.add({"kind": "exact"}, lambda: {"log_currents": exact.tolist(), "slopes": slopes.tolist()})
    for seed in range(given.draws):
        noise = NOISE * np.random.default_rng(seed).standard_normal(len(BIASES))
        record.add({"kind": "draw", "seed": seed}, fitted, exact + noise)


if __name__ == "__main__":
    main()
