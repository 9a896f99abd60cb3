"""Damaged and hostile files: refused by name, before they cost memory, and never read as something else.

Damage is met by checksums, whatever it hits. Someone who changes a file on purpose makes its checksum anew: then names,
shapes, types and values still have to be those of a file of ours.
"""

import json
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from made_up import TRIAL, sign

from mlnegf import LearnedGuess
from mlnegf.learning.networks import load
from mlnegf.learning.training import CHECKPOINT
from mlnegf.learning.weights import read_tensors, write_tensors
from mlnegf.runs.folder import MANIFEST
from mlnegf.runs.journal import checksum
from mlnegf.warmstart.dataset import cases
from mlnegf.warmstart.learned import KIND
from mlnegf.warmstart.trials import read, write

SEEDS = range(25)
SHIPPED = Path(__file__).parent.parent / "mlnegf/warmstart/weights/start.safetensors"

Damage = Callable[[bytes, random.Random], bytes]


def flipped(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def zeroed(content: bytes, rng: random.Random) -> bytes:
    """A sector of a disk."""
    start = 512 * rng.randrange(max(1, len(content) // 512))
    found = content[:start] + bytes(len(content[start : start + 512])) + content[start + 512 :]
    return found if found != content else flipped(content, rng)


def swapped(content: bytes, rng: random.Random) -> bytes:
    first, second = sorted(rng.sample(range(len(content)), 2))
    found = bytearray(content)
    found[first], found[second] = found[second], found[first]
    return bytes(found) if bytes(found) != content else flipped(content, rng)


DAMAGES: dict[str, Damage] = {
    "flipped": flipped,
    "zeroed": zeroed,
    "swapped": swapped,
    "truncated": lambda content, rng: content[: rng.randrange(len(content))],
    "longer": lambda content, rng: content + rng.randbytes(1 + rng.randrange(600)),
}


@pytest.fixture(scope="module")
def originals(data: Path, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Any]]:
    """A file of each kind, and what reads it."""
    folder = tmp_path_factory.mktemp("originals")
    write(folder / "runs.json", [replace(TRIAL, gate=gate / 10) for gate in range(8)], {"command": "the tests"})
    write_tensors(folder / "run.safetensors", {"a": torch.arange(100.0)}, {"history": "[]"}, CHECKPOINT)
    return {
        "data": (next(data.glob("*.nc")), lambda path: cases(path.parent)),
        "manifest": (data / MANIFEST, lambda path: cases(path.parent)),
        "runs": (folder / "runs.json", read),
        "start": (SHIPPED, LearnedGuess.load),
        "network": (weights, load),
        "checkpoint": (folder / "run.safetensors", lambda path: read_tensors(path, CHECKPOINT)),
    }


@pytest.mark.parametrize("kind", ["data", "manifest", "runs", "start", "network", "checkpoint"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_any_damage_is_refused_with_the_files_name(
    originals: dict[str, tuple[Path, Any]], tmp_path: Path, kind: str, damage: str
) -> None:
    """25 damages of each sort to each kind of file: 750 in all."""
    original, reader = originals[kind]
    path = tmp_path / "copy" / original.name
    if kind in ("data", "manifest"):
        shutil.copytree(original.parent, path.parent)
    else:
        path.parent.mkdir()
    content = original.read_bytes()
    for seed in SEEDS:
        path.write_bytes(DAMAGES[damage](content, random.Random(seed)))
        if kind == "manifest" and damage in ("truncated", "longer") and _lines_are_whole(path, content):
            continue  # the end of a line is no damage
        with pytest.raises(ValueError, match=str(tmp_path)) as refused:
            reader(path)
        assert path.name in str(refused.value) or MANIFEST in str(refused.value)
    path.write_bytes(content)
    assert reader(path) is not None


def _lines_are_whole(path: Path, content: bytes) -> bool:
    return path.read_bytes().split(b"\n") == content.split(b"\n")[:-1] and path.read_bytes() + b"\n" == content


@pytest.fixture
def copied(data: Path, tmp_path: Path) -> Path:
    """A file of data, in a folder of its own."""
    shutil.copytree(data, tmp_path / "copy")
    first, *others = sorted((tmp_path / "copy").glob("*.nc"))
    for other in others:
        other.unlink()
    return first


def put(name: str, values: Any) -> Callable[[h5py.File], None]:
    """Replace a field by another array, as it is."""

    def change(file: h5py.File) -> None:
        old = file[name]
        new = values(old[...]) if callable(values) else values
        attributes = {key: value for key, value in old.attrs.items() if key in ("units", "_Netcdf4Dimid")}
        del file[name]
        file.create_dataset(name, data=new).attrs.update(attributes)

    return change


def at_first(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(values: np.ndarray) -> np.ndarray:
        values.flat[0] = value
        return values

    return change


def attribute(name: str, value: Any) -> Callable[[h5py.File], None]:
    return lambda file: file.attrs.__setitem__(name, value)


def linked(link: Any) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file["potential"]
        file["potential"] = link

    return change


def outside(file: h5py.File) -> None:
    """A field whose values lie in another file, which HDF5 would open."""
    shape = file["potential"].shape
    del file["potential"]
    file.create_dataset("potential", shape, "f4", external=[("/etc/passwd", 0, 4 * int(np.prod(shape)))])


def virtual(file: h5py.File) -> None:
    shape = file["potential"].shape
    del file["potential"]
    layout = h5py.VirtualLayout(shape, "f4")
    layout[...] = h5py.VirtualSource("/etc/passwd", "x", shape)
    file.create_virtual_dataset("potential", layout)


def bomb(file: h5py.File) -> None:
    """Petabytes that take no room in the file."""
    del file["potential"]
    file.create_dataset("potential", (1 << 20, 1 << 10, 1 << 10, 1 << 8), "f4", chunks=(1, 64, 64, 64), fillvalue=1.0)


def chunk_bomb(file: h5py.File) -> None:
    """A field of the right shape, in chunks that do not fit into memory."""
    shape = file["charge"].shape
    del file["charge"]
    file.create_dataset("charge", shape, "f4", chunks=(1 << 10, 1 << 9, 1 << 5, 1 << 5), maxshape=(None,) * 4)


def device(**change: Any) -> Callable[[h5py.File], None]:
    def swap(file: h5py.File) -> None:
        file.attrs["device"] = json.dumps(json.loads(file.attrs["device"]) | change)

    return swap


CHANGES: dict[str, Callable[[h5py.File], None]] = {
    "a label that is NaN": put("potential", at_first(np.nan)),
    "a charge that is infinite": put("charge", at_first(np.inf)),
    "a negative charge": put("first_charge", at_first(-1.0)),
    "volts of another world": put("potential", at_first(1e30)),
    "a start of another world": put("first_potential", at_first(-1e4)),
    "a current that is NaN": put("current", at_first(np.nan)),
    "one slice short": put("potential", lambda values: values[:, :-1]),
    "one bias short": put("current", lambda values: values[:-1]),
    "double precision": put("potential", lambda values: values.astype("f8")),
    "whole numbers": put("charge", lambda values: values.astype("i4")),
    "other words": put("outcome", np.array([b"great"] * 6, dtype=h5py.string_dtype())),
    "numbers for words": put("outcome", np.arange(6)),
    "less than no work": put("charge_evaluations", at_first(-1)),
    "another drain voltage": put("drain", at_first(0.11)),
    "a gate voltage of kilovolts": put("gate", at_first(1e3)),
    "a gate voltage that is NaN": put("gate", at_first(np.nan)),
    "another place": put("x", lambda values: values + 0.1),
    "a field too many": lambda file: file.create_dataset("spare", data=np.zeros(3)),
    "a folder": lambda file: file.create_group("spare"),
    "a field too few": lambda file: file.__delitem__("first_charge"),
    "a folder for a field": lambda file: (file.__delitem__("charge"), file.create_group("charge"))[0],
    "petabytes": bomb,
    "chunks of gigabytes": chunk_bomb,
    "a link within": linked(h5py.SoftLink("/charge")),
    "a link outside": linked(h5py.ExternalLink("/etc/passwd", "/x")),
    "values outside": outside,
    "a virtual field": virtual,
    "another device": device(width=2.75),
    "a device of another doping": device(doping=9e19),
    "a device as large as a house": device(gate_length=1e4, spacing=[1e-4, 1e-4, 1e-4]),
    "a device of nonsense": device(gate_length="long"),
    "no device": attribute("device", "[" * 5000),
    "no device at all": lambda file: file.attrs.__delitem__("device"),
    "another start": attribute("start", "flat"),
    "another format": attribute("format", "mlnegf cases 999"),
    "another part": attribute("part", "outside"),
    "a part of nonsense": attribute("part", "../../etc"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_changed_on_purpose_is_refused_with_its_name(copied: Path, change: str) -> None:
    with h5py.File(copied, "r+") as file:
        CHANGES[change](file)
    sign(copied)
    before = sorted(copied.parent.iterdir())
    with pytest.raises(ValueError, match=copied.name):
        cases(copied.parent)
    assert sorted(copied.parent.iterdir()) == before


def test_a_file_under_another_name_is_refused(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "copy")
    first, second, _ = sorted((tmp_path / "copy").glob("*.nc"))
    shutil.copy(second, first)
    sign(first)
    with pytest.raises(ValueError, match=rf"{first}: values of device are not those of the manifest"):
        cases(first.parent)


def test_a_link_to_data_is_no_data(copied: Path, tmp_path: Path) -> None:
    shutil.move(copied, tmp_path / "elsewhere.nc")
    copied.symlink_to(tmp_path / "elsewhere.nc")
    with pytest.raises(ValueError, match="no data files"):
        cases(copied.parent)


@pytest.mark.parametrize(
    "row",
    [
        {"file": "../../evil.nc"},
        {"file": 7},
        {"file": None, "sha256": None, "bytes": -1},
        {"nothing": "at all"},
        {"file": "a.nc", "bytes": 1e300},
    ],
)
def test_a_manifest_of_nonsense_harms_nobody(copied: Path, row: dict[str, Any]) -> None:
    """What is named is looked for in no other folder, and what is not there is no case."""
    with (copied.parent / MANIFEST).open("a") as file:
        file.write(json.dumps({**row, "checksum": checksum(row)}) + "\n")
    if "file" in row:
        assert {case.path for case in cases(copied.parent)} == {copied}
    else:
        with pytest.raises(ValueError, match=MANIFEST):
            cases(copied.parent)


def tensors_of(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    tensors, card = read_tensors(path, KIND)
    return tensors, {name: value for name, value in card.items() if name != "format"}


WEIGHTS: dict[str, Callable[[dict[str, torch.Tensor], dict[str, str]], object]] = {
    "not a number": lambda tensors, _: next(iter(tensors.values())).fill_(torch.nan),
    "infinite": lambda tensors, _: next(iter(tensors.values())).fill_(torch.inf),
    "whole numbers": lambda tensors, _: tensors.update({name: value.int() for name, value in tensors.items()}),
    "half precision": lambda tensors, _: tensors.update({name: value.half() for name, value in tensors.items()}),
    "one row short": lambda tensors, _: tensors.update({name: value[1:] for name, value in tensors.items()}),
    "a tensor too many": lambda tensors, _: tensors.update({"0.spare": torch.ones(3)}),
    "a tensor too few": lambda tensors, _: tensors.pop(next(iter(tensors))),
    "no tensors": lambda tensors, _: tensors.clear(),
    "a network of terabytes": lambda _, card: card.update(
        config=json.dumps(json.loads(card["config"]) | {"channels": 1 << 40})
    ),
    "a network of no size": lambda _, card: card.update(
        config=json.dumps(json.loads(card["config"]) | {"channels": -3})
    ),
    "a network of words": lambda _, card: card.update(config='{"conditions": "many"}'),
    "a network of other words": lambda _, card: card.update(config='["conditions"]'),
    "a network of brackets": lambda _, card: card.update(config="[" * 100_000),
    "millions of networks": lambda _, card: card.update(models="1000000000"),
    "minus one network": lambda _, card: card.update(models="-1"),
    "networks of words": lambda _, card: card.update(models="three"),
    "ranges that are NaN": lambda _, card: card.update(ranges=card["ranges"].replace("[", "[NaN, ", 1)),
    "ranges upside down": lambda _, card: card.update(
        ranges=json.dumps({k: [b, a] for k, (a, b) in json.loads(card["ranges"]).items()})
    ),
    "no ranges": lambda _, card: card.pop("ranges"),
    "doubt that is NaN": lambda _, card: card.update(doubt="nan"),
    "doubt below zero": lambda _, card: card.update(doubt="-0.5"),
    "doubt in words": lambda _, card: card.update(doubt="some"),
    "no doubt": lambda _, card: card.pop("doubt"),
    "nothing it was trained for": lambda _, card: card.pop("trained_for"),
}


@pytest.mark.parametrize("change", WEIGHTS)
def test_weights_changed_on_purpose_are_refused_with_their_name(tmp_path: Path, change: str) -> None:
    tensors, card = tensors_of(SHIPPED)
    WEIGHTS[change](tensors, card)
    path = tmp_path / "changed.safetensors"
    write_tensors(path, tensors, card, KIND)
    with pytest.raises(ValueError, match=str(path)):
        LearnedGuess.load(path)


RUNS: dict[str, Callable[[dict[str, Any]], object]] = {
    "work in words": lambda table: table["runs"][0].update(charge_evaluations="2"),
    "half a solve": lambda table: table["runs"][0].update(charge_evaluations=2.5),
    "less than no work": lambda table: table["runs"][0].update(poisson_solves=-1),
    "less than no time": lambda table: table["runs"][0].update(seconds=-0.1),
    "truth in numbers": lambda table: table["runs"][0].update(fallback=1),
    "numbers in truth": lambda table: table["runs"][0].update(true_error=True),
    "an outcome of its own": lambda table: table["runs"][0].update(outcome="excellent"),
    "a voltage that is NaN": lambda table: table["runs"][0].update(gate=float("nan")),
    "one run twice": lambda table: table["runs"].append(table["runs"][0]),
    "a value too many": lambda table: table["runs"][0].update(bonus=1),
    "a value too few": lambda table: table["runs"][0].pop("seconds"),
    "runs in words": lambda table: table.update(runs="none"),
    "runs in a table": lambda table: table.update(runs={"a": 1}),
    "runs of numbers": lambda table: table.update(runs=[1, 2]),
    "no runs": lambda table: table.pop("runs"),
}


@pytest.mark.parametrize("change", RUNS)
def test_results_changed_on_purpose_are_refused_with_their_name(tmp_path: Path, change: str) -> None:
    table: dict[str, Any] = {"command": "by hand", "runs": [asdict(replace(TRIAL, gate=gate)) for gate in (0.1, 0.2)]}
    RUNS[change](table)
    path = tmp_path / "runs.json"
    path.write_text(json.dumps({**table, "checksum": checksum(table)}))
    with pytest.raises(ValueError, match=str(path)):
        read(path)


@pytest.mark.parametrize("reader", [read, LearnedGuess.load, load])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, reader: Callable[[Path], object]) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises((ValueError, OSError), match=str(path)):
            reader(path)
