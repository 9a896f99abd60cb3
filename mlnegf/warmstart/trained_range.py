"""How far a case lies outside what a network was trained on."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np

from mlnegf.learning.networks.network import Ranges
from mlnegf.nanosheet.device import Device
from mlnegf.warmstart.dataset import FirstIteration
from mlnegf.warmstart.slices import CONDITIONS, conditions

NOT_CONDITIONS: Final = (
    "temperature",
    "work_function",
    "semiconductor",
    "oxide",
    "polarity",
    "orientation",
    "penetration",
    "regions",
    "mean_free_path",
)
"""What a network is not told: it may not differ from training at all."""


def ranges_of(samples: Iterable[FirstIteration]) -> Ranges:
    """Return the least and largest of every condition over samples, in the units of `CONDITIONS`."""
    extremes = [(values.min(axis=0), values.max(axis=0)) for values in map(conditions, samples)]
    low, high = (np.array(side) for side in zip(*extremes, strict=True))
    return dict(zip(CONDITIONS, zip(low.min(axis=0).tolist(), high.max(axis=0).tolist(), strict=True), strict=True))


def excesses(ranges: Ranges, slices: FirstIteration) -> dict[str, float]:
    """Return how far each condition of a case lies outside its range, relative to the range's width.

    A condition that never varied in training is measured against the unit change of `CONDITIONS`.
    """
    values, result = conditions(slices), {}
    for (name, (_, unit)), low, high in zip(CONDITIONS.items(), values.min(axis=0), values.max(axis=0), strict=True):
        least, most = ranges[name]
        outside, width = max(least - low, high - most, 0.0), most - least
        # Equal up to rounding is inside.
        result[name] = float(outside / (width if width > 1e-9 * unit else unit)) if outside > 1e-9 * unit else 0.0
    return result


def doubts(metadata: Mapping[str, str], slices: FirstIteration) -> list[str]:
    """Say what of a case lies outside the training that a file's metadata describes; empty if nothing does."""
    ranges, values = json.loads(metadata["ranges"]), dict(zip(CONDITIONS, conditions(slices).T, strict=True))
    words = [
        f"{name} = {values[name].min():.6g} to {values[name].max():.6g} is outside the trained "
        "{:.6g} to {:.6g}".format(*ranges[name])
        for name, excess in excesses(ranges, slices).items()
        if excess > 0
    ]
    trained_for = json.loads(metadata["trained_for"])
    given, usual = _told_nothing_of(slices.device), _told_nothing_of(Device())
    words += [
        f"{name} = {given[name]!r} is none of the trained {trained}"
        for name in NOT_CONDITIONS
        if given[name] not in (trained := trained_for.get(name, [usual[name]]))
    ]
    return words


def _told_nothing_of(device: Device) -> dict[str, Any]:
    """Values of `NOT_CONDITIONS`, as they come back from a file."""
    plain: dict[str, Any] = json.loads(json.dumps(device.to_dict()))
    return {name: plain[name] for name in NOT_CONDITIONS}


def describe(samples: Iterable[FirstIteration], start: str, data: str) -> dict[str, str]:
    """Write what must travel with the weights: the start, the data, and what was seen in training."""
    samples = list(samples)
    told = [_told_nothing_of(sample.device) for sample in samples]
    trained_for = {
        name: [json.loads(value) for value in sorted({json.dumps(values[name]) for values in told})]
        for name in NOT_CONDITIONS
    }
    return {
        "start": start,
        "data": data,
        "ranges": json.dumps(ranges_of(samples)),
        "trained_for": json.dumps(trained_for),
    }
