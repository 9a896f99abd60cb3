"""The area-preserving rescaler beside what image libraries offer, on real slices: charge kept, round trip, throughput.

Slices of stored charges, every section in its bounding box, go to the network's square and back: conservatively
(`mlnegf.rescale`), and by bilinear and nearest interpolation and adaptive average pooling of torch, whose values are
densities. The charge of a slice is the sum of its densities times the cell's area.

    python benchmarks/rescaling.py --data data/nanosheets --output book/results/rescaling.json
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from shared import Record, arguments
from torch.nn import functional

import mlnegf
from mlnegf._common import Bools, Floats
from mlnegf.warmstart.dataset import cases, split

SIZE = 24
Rescaling = Callable[[Floats, tuple[int, int], Bools | None, Bools | None], Floats]


def conservative(field: Floats, shape: tuple[int, int], source: Bools | None, target: Bools | None) -> Floats:
    """Rescale cell totals, and turn them into densities again."""
    moved = mlnegf.rescale(field, shape, source_mask=source, target_mask=target)
    return np.asarray(moved * (np.prod(shape) / np.prod(field.shape[1:])))


def interpolated(mode: str) -> Rescaling:
    """Return an interpolation of torch."""

    def rescaling(field: Floats, shape: tuple[int, int], source: Bools | None, target: Bools | None) -> Floats:
        options = {} if mode == "nearest" else {"align_corners": False}
        moved = functional.interpolate(torch.from_numpy(field)[None], shape, mode=mode, **options)[0].numpy()
        return moved if target is None else np.where(target, moved, 0.0)

    return rescaling


def pooled(field: Floats, shape: tuple[int, int], source: Bools | None, target: Bools | None) -> Floats:
    """Average adaptively."""
    moved = functional.adaptive_avg_pool2d(torch.from_numpy(field)[None], shape)[0].numpy()
    return moved if target is None else np.where(target, moved, 0.0)


METHODS: dict[str, Rescaling] = {
    "conservative": conservative,
    "bilinear": interpolated("bilinear"),
    "nearest": interpolated("nearest"),
    "adaptive pooling": pooled,
}


def judge(method: Rescaling, charges: list[tuple[Floats, Bools]]) -> dict[str, Any]:
    """Send slices there and back; all figures relative."""
    lost, lost_there_and_back, away, slices, seconds = [], [], [], 0, 0.0
    for charge, mask in charges:
        began = time.perf_counter()
        square = method(charge, (SIZE, SIZE), mask, None)
        back = method(square, mask.shape, None, mask)
        seconds += time.perf_counter() - began
        slices += len(charge)
        total = charge.mean((1, 2))
        lost.append(abs(square.mean((1, 2)) / total - 1).max())
        lost_there_and_back.append(abs(back.mean((1, 2)) / total - 1).max())
        away.append(abs(back - charge).max() / charge.max())
    return {
        "charge_error": float(np.max(lost)),
        "charge_error_there_and_back": float(np.max(lost_there_and_back)),
        "charge_error_median": float(np.median(lost_there_and_back)),
        "round_trip_median": float(np.median(away)),
        "round_trip_95": float(np.quantile(away, 0.95)),
        "slices": slices,
        "slices_per_second": round(slices / seconds),
    }


def main() -> None:
    """Run, or go on."""
    given = arguments(__doc__, cases=150)
    devices = {case.device: case for case in split(cases(given.data), test=0.0).training}
    samples = [case.sample() for case in list(devices.values())[: given.cases]]
    charges = [(np.ascontiguousarray(sample.charge), sample.mask) for sample in samples]
    record = Record(given.output, sys.argv, {"cases": len(charges), "size": SIZE})
    for name, method in METHODS.items():
        judge(method, charges[:5])  # warm
        record.add({"method": name}, judge, method, charges)


if __name__ == "__main__":
    main()
