"""Random devices at random biases, cold: who arrives, where, after how much work, and how honest is the estimate.

    python benchmarks/robustness.py --cases 300 --output data/robustness.jsonl --workers 2
    python benchmarks/robustness.py --output data/robustness.jsonl --report --store book/results/robustness.json
    python benchmarks/robustness.py --no-references --beside "" --output data/cold.jsonl

Every case has a reference of 1e-7 V, reached by raising the gate voltage from the closed channel, where the solution is
unique. Without references, at a third of the time, who arrives and after how much work, but not where. A run that was
stopped goes on where it was; other seeds draw other devices.
"""

import json
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from threadpoolctl import ThreadpoolController
from tqdm import tqdm

import mlnegf
from mlnegf._common import Floats
from mlnegf._files import write_whole
from mlnegf.scf.equations import Equations
from mlnegf.scf.guesses import ExtrapolatedBias
from mlnegf.scf.loop import Attempt, Limits, from_off_state, from_warmth
from mlnegf.scf.problem import Problem
from mlnegf.scf.schemes import Automatic

TOLERANCE = 1e-4
"""Of the runs that are judged, V."""

WRONG_BRANCH = 5e-3
"""A certified potential farther than this from the reference is another solution, V."""


def draw(seed: int, index: int, spacing: float = 0.5) -> tuple[mlnegf.Device, float, float]:
    """Draw a device, a gate and a drain voltage.

    The spacing is that across. Along, 0.25 nm: at 0.5 the heaviest valley's lattice band ends at 0.67 eV, below what
    0.8 V fills.
    """
    chance = np.random.default_rng([seed, index])
    device = mlnegf.Device(
        width=round(chance.uniform(3.0, 12.0), 1),
        thickness=round(chance.uniform(3.0, 6.0), 1),
        gate_length=0.5 * round(chance.uniform(6.0, 30.0) / 0.5),
        doping=round(5e19 * 4 ** chance.uniform(), -17),
        temperature=round(chance.uniform(77.0, 400.0)),
        spacing=(min(spacing, 0.25), spacing, spacing),
    )
    return device, round(chance.uniform(0.0, 0.8), 3), round(chance.uniform(0.0, 0.8), 3)


def reference_of(equations: Equations, gate: float, drain: float) -> Attempt:
    """Raise the gate voltage from the closed channel, or else cool the device from 600 K; converge to 0.1 μV."""
    limits = Limits(tolerance=1e-7, current_tolerance=1e-3, solves=200)
    scheme = Automatic(patience=8)
    ways = (
        lambda problem: from_off_state(problem, scheme, limits, step=0.06),
        lambda problem: from_off_state(problem, scheme, limits, step=0.03),
        lambda problem: from_warmth(problem, scheme, limits, ratio=1.25),
    )
    for way in ways:
        run = way(Problem.of(equations, gate, drain))
        if run.converged:
            break
    return run


def judged(solution: mlnegf.Solution, potential: Floats, current: float) -> dict[str, Any]:
    """Compare a run with the reference's potential and current."""
    error = float(abs(solution.potential - potential).max())
    return {
        "status": solution.outcome.name,
        "converged": solution.converged,
        "error": error,
        "error_estimate": solution.error_estimate,
        "current_error": abs(solution.current / current - 1) if current else 0.0,
        "work": vars(solution.work),
        "warnings": solution.warnings,
    }


def identity(seed: int, index: int, spacing: float) -> dict[str, Any]:
    """Say which case a row is."""
    device, gate, drain = draw(seed, index, spacing)
    made = {"seed": seed, "index": index, "spacing": spacing, "version": mlnegf.__version__}
    return {**made, "device": device.to_dict(), "gate": gate, "drain": drain}


def cold(seed: int, index: int, spacing: float, schemes: tuple[str, ...]) -> dict[str, Any]:
    """Run one case without a reference, on one thread."""
    torch.set_num_threads(1)
    ThreadpoolController().limit(limits=1)
    device, gate, drain = draw(seed, index, spacing)
    equations = Equations.of(device, tolerance=TOLERANCE)
    mlnegf.solve(equations, 0.0, 0.0, max_solves=1)
    runs = {scheme: mlnegf.solve(equations, gate, drain, scheme=scheme, tolerance=TOLERANCE) for scheme in schemes}
    return {
        **identity(seed, index, spacing),
        "reference": {"converged": False},
        "runs": {name: judged(run, run.potential, run.current) | {"error": None} for name, run in runs.items()},
    }


def case(seed: int, index: int, spacing: float, schemes: tuple[str, ...]) -> dict[str, Any]:
    """Run one case, on one thread."""
    torch.set_num_threads(1)
    ThreadpoolController().limit(limits=1)
    device, gate, drain = draw(seed, index, spacing)
    equations = Equations.of(device, tolerance=1e-7)  # with the reference's transverse basis
    mlnegf.solve(equations, 0.0, 0.0, max_solves=1)  # operators are made once for a device; not part of any run
    reference = reference_of(equations, gate, drain)
    potential, current = device.grid.unfold(reference.potential), reference.current
    runs = {scheme: mlnegf.solve(equations, gate, drain, scheme=scheme, tolerance=TOLERANCE) for scheme in schemes}
    if reference.converged:
        before = [mlnegf.solve(equations, gate - shift, drain, potential, tolerance=1e-5) for shift in (0.1, 0.05)]
        runs["extrapolated"] = mlnegf.solve(equations, gate, drain, ExtrapolatedBias(*before), tolerance=TOLERANCE)
    return {
        **identity(seed, index, spacing),
        "reference": {
            "converged": reference.converged,
            "ended": reference.outcome.name,
            "error_estimate": reference.point.errors(reference.corrected).potential,
            "solves": reference.point.problem.work.charge_evaluations,
            "current": current,
        },
        "runs": {name: judged(solution, potential, current) for name, solution in runs.items()},
    }


def outcome(run: dict[str, Any]) -> str:
    """Say in a word how a run ended."""
    if not run["converged"]:
        return "failed"
    if run["error"] is None:
        return "certified"
    if run["error"] > WRONG_BRANCH:
        return "other branch"
    return "right" if run["error"] <= TOLERANCE else "missed"


KINDS = ("charge_evaluations", "linearised_applications", "poisson_solves", "seconds")


def report(path: Path) -> Iterator[str]:
    """Lines of the table; a run that is not right took infinitely much work."""
    cases = [json.loads(line) for line in path.read_text().splitlines()]
    good = [case for case in cases if case["reference"]["converged"]]
    for name in sorted({name for case in cases for name in case["runs"]}):
        runs = [case["runs"][name] for case in cases if name in case["runs"]]
        spent = [run["work"]["charge_evaluations"] if run["converged"] else np.inf for run in runs]
        failed = sum(not run["converged"] for run in runs)
        middle, most = np.quantile(spent, (0.5, 0.95), method="higher")
        total = sum(run["work"]["charge_evaluations"] for run in runs)
        yield f"{name}: {failed} of {len(runs)} not certified; NEGF solves {middle:.3g} ({most:.3g}), {total} in all"
    yield f"{len(cases)} cases, {len(good)} with a reference; work: median (95th percentile)"
    heads = f"{'charges':14}{'linearised':14}{'Poisson':14}seconds"
    yield f"{'run':14}{'right':>7}{'failed':>8}{'missed':>8}{'other':>7}   {heads}"
    for name in sorted({name for case in good for name in case["runs"]}):
        runs = [case["runs"][name] for case in good if name in case["runs"]]
        words = [outcome(run) for run in runs]
        cells = []
        for kind in KINDS:
            spent = [run["work"][kind] if word == "right" else np.inf for run, word in zip(runs, words, strict=True)]
            middle, most = np.quantile(spent, (0.5, 0.95), method="higher")
            cells.append(f"{middle:.3g} ({most:.3g})")
        right, failed, missed, other = (words.count(w) for w in ("right", "failed", "missed", "other branch"))
        yield f"{name:14}{right:7}{failed:8}{missed:8}{other:7}   " + "".join(f"{cell:14}" for cell in cells)
        ratio = np.array(
            [
                run["error_estimate"] / run["error"]
                for run, word in zip(runs, words, strict=True)
                if word == "right" and run["error"] > 1e-6
            ]
        )
        if len(ratio):
            inside = np.mean((ratio >= 0.5) & (ratio <= 2))
            low, middle, most = np.quantile(ratio, (0.05, 0.5, 0.95))
            yield (
                f"{'':14}estimated over true error, {len(ratio)} errors over 1 μV: within a factor 2 in {inside:.1%}; "
                f"5 % {low:.2f}, median {middle:.2f}, 95 % {most:.2f}"
            )


def store(path: Path, output: Path) -> None:
    """Write the table and, of every case, what a figure needs."""
    cases = sorted((json.loads(line) for line in path.read_text().splitlines()), key=lambda case: case["index"])
    kept = [
        {
            "index": case["index"],
            "temperature": case["device"]["temperature"],
            "gate": case["gate"],
            "drain": case["drain"],
            "reference": case["reference"]["converged"],
            "runs": {
                name: {
                    "outcome": outcome(run),
                    **{key: run[key] for key in ("status", "error", "error_estimate")},
                    **{kind: round(run["work"][kind], 3) for kind in KINDS},
                }
                for name, run in case["runs"].items()
            },
        }
        for case in cases
    ]
    first = cases[0]
    command = f"benchmarks/robustness.py --cases {len(cases)} --seed {first['seed']} --spacing {first['spacing']}"
    command += "" if any(case["reference"]["converged"] for case in cases) else " --no-references"
    indices = [case["index"] for case in cases]
    command += "" if indices == list(range(len(cases))) else f" --only {','.join(map(str, indices))}"
    made = {"command": command, "version": first["version"], "table": list(report(path)), "cases": kept}
    write_whole(output, json.dumps(made, separators=(",", ":")) + "\n")


@click.command()
@click.option("--cases", default=300, show_default=True)
@click.option("--only", default="", help="comma-separated indices of the cases, instead of all")
@click.option("--seed", default=0, show_default=True)
@click.option("--spacing", default=0.5, show_default=True, help="across, nm")
@click.option("--schemes", default="auto", show_default=True, help="run cold")
@click.option("--beside", default="anderson,gummel", show_default=True, help="run cold on every tenth case")
@click.option("--references/--no-references", default=True, show_default=True)
@click.option("--workers", default=2, show_default=True)
@click.option("--output", type=click.Path(path_type=Path), default=Path("data/robustness.jsonl"), show_default=True)
@click.option("--report", "only_report", is_flag=True, help="print the table of what is there")
@click.option("--store", "stored", type=click.Path(path_type=Path), help="write table and cases for the book")
def main(
    cases: int,
    only: str,
    seed: int,
    spacing: float,
    schemes: str,
    beside: str,
    references: bool,
    workers: int,
    output: Path,
    only_report: bool,
    stored: Path | None,
) -> None:
    """Run the cases that OUTPUT does not hold yet, and print the table."""

    def wanted_schemes(index: int) -> tuple[str, ...]:
        names = f"{schemes},{beside}" if beside and index % 10 == 0 else schemes
        return tuple(names.split(","))

    if not only_report:
        done = {json.loads(line)["index"] for line in output.read_text().splitlines()} if output.exists() else set()
        with (
            ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool,
            output.open("a") as file,
        ):
            chosen = map(int, only.split(",")) if only else range(cases)
            wanted = [index for index in chosen if index not in done]
            work = case if references else cold
            jobs = [pool.submit(work, seed, index, spacing, wanted_schemes(index)) for index in wanted]
            for job in tqdm(as_completed(jobs), total=len(jobs), unit="case"):
                file.write(json.dumps(job.result()) + "\n")
                file.flush()
    for line in report(output):
        print(line)
    if stored:
        store(output, stored)


if __name__ == "__main__":
    main()
