"""How far a case lies outside what a network was trained on."""

import json
from collections.abc import Iterable, Mapping, Set
from typing import Any

import numpy as np

from mlnegf.learning.networks.network import Ranges
from mlnegf.nanosheet.device import Device
from mlnegf.warmstart.samples import BiasedDevice
from mlnegf.warmstart.slices import CONDITIONS, TOLD, conditions


def ranges_of(samples: Iterable[BiasedDevice]) -> Ranges:
    """Return the least and largest of every condition over samples, in the units of `CONDITIONS`."""
    extremes = [(values.min(axis=0), values.max(axis=0)) for values in map(conditions, samples)]
    low, high = (np.array(side) for side in zip(*extremes, strict=True))
    return dict(zip(CONDITIONS, zip(low.min(axis=0).tolist(), high.max(axis=0).tolist(), strict=True), strict=True))


def excesses(ranges: Ranges, case: BiasedDevice) -> dict[str, float]:
    """Return how far each condition of a case lies outside its range, relative to the range's width.

    A condition that never varied in training is measured against the unit change of `CONDITIONS`.
    """
    values, result = conditions(case), {}
    for (name, (_, unit)), low, high in zip(CONDITIONS.items(), values.min(axis=0), values.max(axis=0), strict=True):
        least, most = ranges[name]
        outside, width = max(least - low, high - most, 0.0), most - least
        # Equal up to rounding is inside.
        result[name] = float(outside / (width if width > 1e-9 * unit else unit)) if outside > 1e-9 * unit else 0.0
    return result


def doubts(metadata: Mapping[str, str], case: BiasedDevice) -> list[str]:
    """Say what of a case lies outside the training that a file's metadata describes; empty if nothing does."""
    ranges, values = json.loads(metadata["ranges"]), dict(zip(CONDITIONS, conditions(case).T, strict=True))
    words = [
        f"{name} = {values[name].min():.6g} to {values[name].max():.6g} is outside the trained "
        "{:.6g} to {:.6g}".format(*ranges[name])
        for name, excess in excesses(ranges, case).items()
        if excess > 0
    ]
    return words + never_varied(metadata, case.device, TOLD)


def never_varied(metadata: Mapping[str, str], device: Device, told: Set[str]) -> list[str]:
    """Say what of a device differs from training and is not `told` to the network; see `trained_for`."""
    trained, usual = json.loads(metadata["trained_for"]), not_told(type(device)(), told)
    return [
        f"{name} = {repr(value)[:60]} is none of the trained {known}"
        for name, value in not_told(device, told).items()
        if value not in (known := trained.get(name, [usual.get(name)]))
    ]


def not_told(device: Device, told: Set[str]) -> dict[str, Any]:
    """Return what a network is not told of a device, hence may not differ from training: all but `told`.

    So a field that a device is given later is doubted until a network learns of it. Values as they come from a file.
    """
    plain: dict[str, Any] = json.loads(json.dumps(device.to_dict()))
    return {name: value for name, value in plain.items() if name not in told}


def trained_for(devices: Iterable[Device], told: Set[str]) -> str:
    """List, as JSON, the values in training of every field that is not `told`: for the metadata of weights."""
    seen: dict[str, list[Any]] = {}
    for device in dict.fromkeys(devices):
        for name, value in not_told(device, told).items():
            values = seen.setdefault(name, [])
            values += [value] * (value not in values)
    return json.dumps(seen)


def describe(samples: Iterable[BiasedDevice], start: str, data: str) -> dict[str, str]:
    """Write what must travel with the weights: the start, the data, and what was seen in training."""
    samples = list(samples)
    return {
        "start": start,
        "data": data,
        "ranges": json.dumps(ranges_of(samples)),
        "trained_for": trained_for((sample.device for sample in samples), TOLD),
    }
