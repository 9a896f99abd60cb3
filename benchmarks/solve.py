"""Time one bias from several starts, side by side in one process, and say where the seconds go.

Run it on an idle machine:  python benchmarks/solve.py

Ratios are of the same work done in turn, the median of several rounds; absolute seconds belong to the machine.
"""

import time
from statistics import median

import torch

import mlnegf
from mlnegf.scf.equations import Equations
from mlnegf.scf.guesses import ExtrapolatedBias, Semiclassical
from mlnegf.scf.problem import Problem

ROUNDS = 5
BIASES = [(0.1, 0.1), (0.3, 0.5), (0.5, 0.3), (0.6, 0.6)]


def parts(equations: Equations, gate: float, drain: float) -> dict[str, float]:
    """Seconds of each part of one outer iteration."""
    problem = Problem.of(equations, gate, drain)
    clock = [time.perf_counter()]
    start = Semiclassical()(problem).potential
    clock.append(time.perf_counter())
    point = problem.evaluate(start)
    clock.append(time.perf_counter())
    point.correct(1e-2)
    clock.append(time.perf_counter())
    _ = point.image
    clock.append(time.perf_counter())
    names = ("semiclassical start", "charge evaluation", "Newton correction", "Gummel step")
    return {name: after - before for name, before, after in zip(names, clock, clock[1:], strict=False)}


def main() -> None:
    """Print both tables."""
    torch.set_num_threads(1)
    device = mlnegf.Device(width=9.0)
    learned = mlnegf.LearnedGuess.pretrained()
    equations = Equations.of(device)
    mlnegf.solve(equations, 0.2, 0.2)  # operators and hierarchies are made once for a device
    print(f"{device.grid.shape} cells, {len(device.grid.images) * len(device.grid.x)} unknowns after folding\n")
    rounds = [parts(equations, *bias) for bias in BIASES for _ in range(ROUNDS)]
    for name in rounds[0]:
        print(f"{name:22} {median(timing[name] for timing in rounds):6.3f} s")
    print(f"\n{'gate, drain':12} {'start':15} {'scheme':8} solves   seconds   against cold Newton")
    for gate, drain in BIASES:
        line = [mlnegf.solve(equations, gate - shift, drain, tolerance=1e-5) for shift in (0.1, 0.05)]
        starts = {"semiclassical": "semiclassical", "extrapolated": ExtrapolatedBias(*line), "learned": learned}
        cases = [(name, "newton") for name in starts] + [("semiclassical", "gummel"), ("learned", "gummel")]
        seconds: dict[tuple[str, str], list[float]] = {case: [] for case in cases}
        solves = {}
        for _ in range(ROUNDS):
            for name, scheme in cases:
                if scheme == "gummel" and seconds[name, scheme]:
                    continue  # a minute each: once
                solution = mlnegf.solve(equations, gate, drain, guess=starts[name], scheme=scheme)
                seconds[name, scheme].append(solution.work.seconds)
                solves[name, scheme] = solution.negf_solves if solution.converged else float("inf")
        cold = median(seconds["semiclassical", "newton"])
        for name, scheme in cases:
            spent = median(seconds[name, scheme])
            count = solves[name, scheme]
            print(f"{gate:4.1f}, {drain:4.1f}   {name:15} {scheme:8} {count:6.0f} {spent:9.2f} {spent / cold:9.2f}")


if __name__ == "__main__":
    main()
