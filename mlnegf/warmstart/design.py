"""Which devices and biases are solved to learn from and to be judged on: a small file that travels with the data.

A design is a TOML file of groups. A group says what it is for, how many devices it holds and how many biases each has;
what varies in it is drawn together, devices and biases alike, by one scrambled Sobol' sequence (Owen, J. Complexity 14,
466, 1998), so that any number of them fills the space evenly:

    [[group]]
    part = "known"
    devices = 100
    biases = 3                              # of each device
    width = {from = 3.0, to = 12.0}         # nm
    doping = {from = 5e19, to = 2e20, scale = "log"}
    cross_section = {one_of = ["rectangle", "ellipse"]}
    temperature = 300.0                     # what does not vary
    gate = {from = 0.0, to = 0.8}           # V
    drain = {from = 0.0, to = 0.8}

A group may list its biases instead, ``gates = [...]`` and ``drains = [...]``: every pair of them. What all groups share
stands once in a table ``[each]``; a group's own word wins. Of ``gate = {from = 0.0, to = 0.8, near_threshold = 0.3}``
that share lies within 0.15 V of where the device opens.
"""

import hashlib
import json
import math
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property, partial
from importlib import resources
from importlib.resources.abc import Traversable
from itertools import chain, islice, product
from os import PathLike
from pathlib import Path
from typing import Any, Final

import numpy as np
from scipy.stats import qmc

from mlnegf._common import Floats, is_count, is_finite, require, shown
from mlnegf.nanosheet.device import Device
from mlnegf.nanosheet.grid import build_grid
from mlnegf.scf.equations import voltage
from mlnegf.units import HBAR2_OVER_2M0

PARTS: Final = ("known", "unseen", "outside")
"""What a device is for: to learn from; kept whole to be judged on; the same, and beyond what is learned from."""
LISTED: Final = {"gates", "drains"}
DRAWN: Final = {"biases", "gate", "drain"}
"""The two ways to say biases."""

_require = partial(require, caller="Design")

MOST_DEVICES: Final = 100_000
"""Of a design: more would be drawn for minutes before the first is solved."""
MOST_BIASES: Final = 10_000
"""Of a device."""
HOPELESS: Final = 1000
"""Draws after which less than one valid device in a hundred is none to wait for."""

Bias = tuple[float, float]
"""Gate and drain voltage, V."""


@dataclass(frozen=True)
class Plan:
    """One device, the biases it is to be solved at, V, and what it is for."""

    device: Device
    biases: tuple[Bias, ...]
    part: str

    @cached_property
    def digest(self) -> str:
        """Checksum of the device's parameters."""
        return hashlib.sha256(json.dumps(self.device.to_dict(), sort_keys=True).encode()).hexdigest()[:8]

    @property
    def name(self) -> str:
        """A name for a file: readable, and no other device's."""
        device = self.device
        return f"{device.thickness:g}x{device.width:g}_gate{device.gate_length:g}_{self.digest}"


@dataclass(frozen=True)
class Design:
    """A design.

    Attributes
    ----------
    text : str
        The file.
    source : str
        Its name, for errors.

    Raises
    ------
    ValueError
        If the text is no design; the error names the group and the key.
    """

    text: str
    source: str = "design"

    def __post_init__(self) -> None:
        _require(isinstance(self.source, str), "source", self.source, "the name of the file")
        _require(isinstance(self.text, str), "text", self.text, "the text of a TOML file")
        twice = sorted(name for name, count in Counter(plan.name for plan in self.plans).items() if count > 1)
        _require(not twice, "group", twice, f"each device once in {self.source}")

    @staticmethod
    def read(file: str | PathLike[str]) -> "Design":
        """Read a file, or one of the designs that come with the package by its name."""
        words = f"a TOML file or one of {shipped()}"
        _require(isinstance(file, (str, PathLike)), "file", file, words)
        if str(file) in shipped():
            return Design(_folder().joinpath(f"{file}.toml").read_text(encoding="utf-8"), str(file))
        path = Path(file)
        try:
            _require(path.is_file(), "design", str(file), words)
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise _no_toml(str(path), error) from error
        except OSError as error:
            raise ValueError(f"Design: design = {shown(str(file))} cannot be read ({error.strerror}).") from error
        return Design(text, str(path))

    @cached_property
    def _table(self) -> dict[str, Any]:
        try:
            return tomllib.loads(self.text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise _no_toml(self.source, error) from error

    @cached_property
    def plans(self) -> tuple[Plan, ...]:
        """Every device with its biases, group by group."""
        groups, seed, each = self._table.get("group"), self._table.get("seed", 0), self._table.get("each", {})
        rest = sorted(self._table.keys() - {"group", "seed", "each"})
        _require(not rest, ", ".join(rest), [self._table[name] for name in rest], "only seed, each and group")
        tables = isinstance(groups, list) and all(isinstance(group, dict) for group in groups)
        _require(tables and bool(groups), "group", groups, f"[[group]] tables in {self.source}")
        _require(isinstance(each, dict), "each", each, "a table, [each]")
        _require(is_count(seed, 0, math.inf), "seed", seed, "a whole number, 0 or more")
        plans = chain.from_iterable(self._group(index, seed, each) for index in range(len(groups or ())))
        found = tuple(islice(plans, MOST_DEVICES + 1))
        _require(
            len(found) <= MOST_DEVICES,
            "group",
            f"{len(groups or ())} tables",
            f"{MOST_DEVICES} devices in all, or fewer",
        )
        return found

    def _group(self, index: int, seed: int, each: Mapping[str, Any]) -> Iterator[Plan]:
        try:
            yield from _plans(_merged(each, self._table["group"][index]), (seed, index))
        except ValueError as error:
            raise ValueError(f"{self.source}, group {index + 1}: {error}") from error


def shipped() -> list[str]:
    """List the designs that come with the package."""
    return sorted(file.name.removesuffix(".toml") for file in _folder().iterdir() if file.name.endswith(".toml"))


def _folder() -> Traversable:
    return resources.files("mlnegf.warmstart").joinpath("designs")


def _no_toml(source: str, error: Exception) -> ValueError:
    return ValueError(f"Design: {source} is no TOML ({error}); see `mlnegf.warmstart.design`.")


def _merged(each: Mapping[str, Any], group: Mapping[str, Any]) -> dict[str, Any]:
    """Let a group win over what all share; one that lists its biases draws none, and the other way round."""
    other = DRAWN if LISTED & group.keys() else LISTED if DRAWN & group.keys() else set()
    merged = {**{name: value for name, value in each.items() if name not in other}, **group}
    both = sorted(merged.keys() & (LISTED | DRAWN))
    _require(not (LISTED & merged.keys() and DRAWN & merged.keys()), "biases", both, "gates and drains, or the others")
    return merged


def _plans(group: Mapping[str, Any], seed: tuple[int, int]) -> Iterator[Plan]:
    """Draw the devices of a group, each with its biases; a draw that makes no device on its grid is passed over."""
    part, count, biases = group.get("part", "known"), group.get("devices", 1), group.get("biases", 1)
    _require(isinstance(part, str) and part in PARTS, "part", part, f"one of {PARTS}")
    for name, value, most in (("devices", count, MOST_DEVICES), ("biases", biases, MOST_BIASES)):
        _require(is_count(value, 1, most), name, value, f"a whole number, 1 or more, up to {most}")
    about = {name: value for name, value in group.items() if name not in {"part", "devices"} | LISTED | DRAWN}
    unknown = sorted(about.keys() - {field.name for field in fields(Device)})
    _require(not unknown, ", ".join(unknown), [about[name] for name in unknown], "a parameter of Device")
    listed = bool(LISTED & group.keys())
    names = [name for name, value in about.items() if isinstance(value, Mapping)]
    width = len(names) + (0 if listed else 2 * biases)
    draws = qmc.Sobol(max(width, 1), rng=np.random.default_rng(seed)) if width else None
    made, refused = 0, ""
    for drawn in range(20 * count):
        if made == count:
            return
        if drawn >= HOPELESS and made < drawn / 100:
            break
        point = draws.random()[0] if draws is not None else np.zeros(0)
        chosen = {name: _draw(name, about[name], share) for name, share in zip(names, point, strict=False)}
        try:
            device = Device(**{**about, **chosen})
            # Not `device.grid`, which a thousand devices would keep.
            build_grid(device)
        except ValueError as error:
            if not names:
                raise
            refused = f"; the last refused: {error}"
            continue
        made += 1
        yield Plan(device, _biases(group, device, point[len(names) :], listed), part)
    _require(made == count, "devices", count, f"ranges that make so many valid devices, not {made}{refused}")


def _biases(group: Mapping[str, Any], device: Device, point: Floats, listed: bool) -> tuple[Bias, ...]:
    if listed:
        gates, drains = (_voltages(name, group.get(name)) for name in ("gates", "drains"))
        pairs = len(gates) * len(drains)
        _require(pairs <= MOST_BIASES, "gates", f"{pairs} pairs with drains", f"{MOST_BIASES} biases or fewer")
        biases = tuple((gate, drain) for drain, gate in product(drains, gates))
    else:
        gates, drains = (
            tuple(_voltage(name, group.get(name), device, float(share)) for share in point[place::2])
            for place, name in enumerate(("gate", "drain"))
        )
        biases = tuple(zip(gates, drains, strict=True))
    _require(len(set(biases)) == len(biases), "biases", biases, "each once")
    return biases


def _voltages(name: str, values: Any) -> tuple[float, ...]:
    _require(isinstance(values, list) and bool(values), name, values, "a list of volts; gates and drains come together")
    return tuple(voltage(name, value, "Design") for value in values)


def _voltage(name: str, given: Any, device: Device, share: float) -> float:
    """Draw a voltage; one `near` the threshold is measured from where the gate opens the lowest subband."""
    if is_finite(given):
        return voltage(name, given, "Design")
    _require(isinstance(given, Mapping), name, given, "volts, or what to draw them from, {from = ..., to = ...}")
    near, rest = given.get("near_threshold"), {key: given[key] for key in given if key != "near_threshold"}
    if near is None:
        return voltage(name, _draw(name, rest, share, 4), "Design")
    good = name == "gate" and is_finite(near) and 0 < near < 1 and "one_of" not in rest
    _require(good, "near_threshold", near, "a share between 0 and 1, of gate = {from = ..., to = ...}")
    elsewhere = voltage(name, _draw(name, rest, max(share - near, 0.0) / (1 - near), 4), "Design")
    if share >= near:
        return elsewhere
    low, high = sorted((float(rest["from"]), float(rest["to"])))
    opening = device.polarity_sign * threshold(device) + 0.15 * (2 * share / float(near) - 1)
    return round(min(max(opening, low), high), 4)


def threshold(device: Device) -> float:
    """Gate voltage that brings the lowest level of the section's box to the source's Fermi level, V; n-type picture."""
    across = 1 / device.width**2, 1 / device.thickness**2
    levels = [across[0] / valley.mass_y + across[1] / valley.mass_z for valley in device.valleys]
    return HBAR2_OVER_2M0 * math.pi**2 * min(levels) - device.gate_potential(0.0)


def _draw(name: str, given: Mapping[str, Any], share: float, digits: int | None = None) -> Any:
    """Turn a number between 0 and 1 into a value."""
    choices, scale = given.get("one_of"), given.get("scale", "linear")
    ends: tuple[Any, Any] = given.get("from"), given.get("to")
    if given.keys() == {"one_of"} and isinstance(choices, list) and choices:
        return choices[min(int(share * len(choices)), len(choices) - 1)]
    good = {"from", "to"} <= given.keys() <= {"from", "to", "scale"} and all(map(is_finite, ends))
    good = good and (scale == "linear" or (scale == "log" and min(ends) > 0))
    words = '{from = ..., to = ...}, with scale = "log" if both are positive, or {one_of = [...]}'
    _require(good, name, dict(given), words)
    low, high = map(float, np.log(ends) if scale == "log" else ends)
    value = low + share * (high - low)
    value = float(np.exp(value)) if scale == "log" else float(value)
    return round(value, digits) if digits is not None else float(f"{value:.4g}")
