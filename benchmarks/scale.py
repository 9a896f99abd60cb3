"""What it costs to solve in parallel: throughput of two workers beside one, the scheduler's own time, files, memory.

On an idle machine with two cores or more. All devices of the throughput are alike, as large as a usual one of the
design `nanosheets`, and the first result of each worker, which pays for its imports, and the last ones, when others
have nothing left to do, are left out; what they cost is given apart.

    python benchmarks/scale.py --data data/nanosheets --output book/results/scale.json
"""

import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from shared import Record, arguments

from mlnegf.runs.folder import LOG, Folder, entries_of
from mlnegf.runs.journal import Journal
from mlnegf.runs.workers import Workers
from mlnegf.warmstart.design import Design, Plan
from mlnegf.warmstart.generation import solved

MANY = 10_000


def alike(devices: int) -> list[Plan]:
    """Devices that differ by a millionth of their doping, at three biases each."""
    plans = [plan for plan in Design.read("nanosheets").plans if plan.part == "known"]
    usual = sorted(plans, key=lambda plan: plan.device.grid.shape[0] * plan.device.grid.shape[1])[len(plans) // 2]
    doping = usual.device.doping
    return [replace(usual, device=replace(usual.device, doping=doping * (1 + 1e-6 * n))) for n in range(devices)]


def memory_of(plan: Plan) -> tuple[int, float]:
    """Solve a device; return how large its file is, and the most memory this process has had so far, MiB."""
    content, _ = solved(plan)
    return len(content), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def throughput(workers: int, devices: int) -> dict[str, float]:
    """Solve devices on so many workers."""
    plans, begun = alike(devices), time.perf_counter()
    moments, sizes, most = [], [], []
    with Workers(workers).opened() as tasks:
        started = time.perf_counter()
        for number, plan in enumerate(plans):
            tasks.give(number, memory_of, plan)
        for _, (size, memory) in tasks.results():
            moments.append(time.perf_counter())
            sizes.append(size)
            most.append(memory)
    kept = moments[workers : len(moments) - workers]
    return {
        "biases_each": len(plans[0].biases),
        "start": started - begun,
        "first": moments[0] - started,
        "whole": time.perf_counter() - begun,
        "devices_per_second": (len(kept) - 1) / (kept[-1] - kept[0]),
        "bytes_per_device": sum(sizes) / len(sizes),
        "memory": max(most),
    }


def simulated(seconds: float) -> bytes:
    """Wait as long as a case takes, and return as much as it does."""
    time.sleep(seconds)
    return bytes(600_000 if seconds else 0)


def overhead(tasks: int, seconds: float, workers: int) -> dict[str, float]:
    """Give so many tasks of no work, or of work that waits, to a cluster: what the scheduler adds to each."""
    with Workers(workers).opened() as given:
        begun, spent = time.perf_counter(), time.process_time()
        for number in range(tasks):
            given.give(number, simulated, seconds)
        count = sum(1 for _ in given.results())
        took = time.perf_counter() - begun
        own = time.process_time() - spent
    return {
        "done": count,
        "took": took,
        "milliseconds_each": took / tasks * 1e3,
        "own_milliseconds_each": own / tasks * 1e3,
    }


def files(count: int, size: int) -> dict[str, float]:
    """Add files to a folder and open it again, on this machine's disk: milliseconds each."""
    content = os.urandom(size)
    about = {"device": Design.read("reduced").plans[0].device.to_dict(), "part": "known", "command": "made up"}
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as place:
        folder = Path(place)
        begun = time.perf_counter()
        with Folder.opened(folder, ".nc") as opened:
            for number in range(count):
                opened.add(f"{number:06d}.nc", content, about, {"seconds": 0.0})
        added = time.perf_counter()
        with Folder.opened(folder, ".nc") as opened:
            assert len(opened.entries) == count
        verified = time.perf_counter()
        assert len(entries_of(folder)) == count
        lines = (folder / "manifest.jsonl").stat().st_size / count
    return {
        "add_milliseconds": (added - begun) / count * 1e3,
        "verify_milliseconds": (verified - added) / count * 1e3,
        "manifest_bytes": lines,
    }


def spread(data: Path) -> dict[str, float]:
    """Read the log of a whole design: how long its known devices took, the usual, the slow and the slowest."""
    entries = entries_of(data)
    rows = [row for row in Journal(data / LOG).read()[0] if entries[row["file"]]["part"] == "known"]
    seconds = np.array([row["seconds"] for row in rows])
    shares = {f"share_{share}": float(np.quantile(seconds, share / 100)) for share in (50, 95, 99)}
    return {"devices": len(seconds), "seconds": float(seconds.sum()), "slowest": float(seconds.max()), **shares}


def main() -> None:
    """Measure, or go on."""
    given = arguments(__doc__, devices=16)
    record = Record(given.output, sys.argv, {"cores": os.cpu_count()})
    wanted: list[tuple[str, Callable[..., dict[str, float]], dict[str, float]]] = [
        *(("throughput", throughput, {"workers": workers, "devices": given.devices}) for workers in (1, 2)),
        *(("overhead", overhead, {"tasks": tasks, "seconds": 0.0, "workers": 2}) for tasks in (1_000, MANY)),
        ("overhead", overhead, {"tasks": MANY, "seconds": 0.2, "workers": 32}),
        *(("files", files, {"count": count, "size": 600_000}) for count in (300, 3_000)),
    ]
    record.add({"kind": "spread"}, spread, given.data)
    for kind, measure, options in wanted:
        record.add({"kind": kind, **options}, measure, *options.values())


if __name__ == "__main__":
    main()
