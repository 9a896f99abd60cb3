"""Weights come back as they were written, or not at all."""

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mlnegf.learning.weights import FORMAT_VERSION, read_tensors, write_tensors

TENSORS = {"weight": torch.arange(600.0).reshape(20, 30), "bias": torch.ones(3)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "weights.safetensors"
    write_tensors(path, TENSORS, {"data": "made up"}, "test")
    return path


def test_tensors_and_metadata_come_back(path: Path) -> None:
    tensors, metadata = read_tensors(path, "test")
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)
    assert metadata["data"] == "made up"


def test_a_view_is_written_as_it_reads(tmp_path: Path) -> None:
    write_tensors(tmp_path / "view", {"view": TENSORS["weight"].T}, {}, "test")
    assert torch.equal(read_tensors(tmp_path / "view", "test")[0]["view"], TENSORS["weight"].T)


def test_nothing_is_left_beside_the_file(path: Path) -> None:
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("damage", ["truncated", "flipped", "card", "empty", "text"])
def test_a_damaged_file_is_refused(path: Path, damage: str) -> None:
    whole = path.read_bytes()
    contents = {
        "truncated": whole[:-100],
        "flipped": whole[:-200] + bytes([whole[-200] ^ 1]) + whole[-199:],
        "card": whole.replace(b"made up", b"made in"),
        "empty": b"",
        "text": b"not tensors" * 9,
    }
    path.write_bytes(contents[damage])
    with pytest.raises(ValueError, match=r"weights.safetensors: .*(train again|copy the file again)"):
        read_tensors(path, "test")


def test_another_version_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlnegf.learning.weights.FORMAT_VERSION", "next")
    words = rf"format 'test {FORMAT_VERSION}', expected 'test next'; train again .*version"
    with pytest.raises(ValueError, match=words):
        read_tensors(path, "test")


def test_another_kind_is_refused(path: Path) -> None:
    with pytest.raises(ValueError, match=f"format 'test {FORMAT_VERSION}', expected 'other"):
        read_tensors(path, "other")


def test_a_file_of_someone_else_is_refused(path: Path) -> None:
    save_file(TENSORS, path)
    with pytest.raises(ValueError, match="format None, expected"):
        read_tensors(path, "test")


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="absent"):
        read_tensors(tmp_path / "absent", "test")
