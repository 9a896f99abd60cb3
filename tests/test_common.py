"""A file is whole or not there."""

import os
from pathlib import Path

import pytest

from mlnegf._common import Variant, write_whole


def half(path: Path) -> None:
    path.write_text("half")
    raise OSError("disk full")


def test_content_is_written(tmp_path: Path) -> None:
    write_whole(tmp_path / "file", lambda path: path.write_text("whole"))
    assert (tmp_path / "file").read_text() == "whole"


def test_nothing_else_is_left(tmp_path: Path) -> None:
    write_whole(tmp_path / "file", lambda path: path.write_text("whole"))
    assert os.listdir(tmp_path) == ["file"]


def test_folders_are_made(tmp_path: Path) -> None:
    write_whole(tmp_path / "a" / "b" / "file", lambda path: path.write_text("whole"))
    assert (tmp_path / "a" / "b" / "file").read_text() == "whole"


def test_the_new_file_replaces_the_old(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old and longer")
    write_whole(str(tmp_path / "file"), lambda path: path.write_text("new"))
    assert (tmp_path / "file").read_text() == "new"


def test_a_failing_writer_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="disk full"):
        write_whole(tmp_path / "file", half)
    assert os.listdir(tmp_path) == []


def test_a_failing_writer_keeps_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    with pytest.raises(OSError, match="disk full"):
        write_whole(tmp_path / "file", half)
    assert (tmp_path / "file").read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_an_interrupted_writer_leaves_nothing(tmp_path: Path) -> None:
    def interrupted(path: Path) -> None:
        path.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "file", interrupted)
    assert os.listdir(tmp_path) == []


def test_a_failing_move_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    (tmp_path / "file").write_text("old")
    monkeypatch.setattr("mlnegf._common.os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_whole(tmp_path / "file", lambda path: path.write_text("new"))
    assert (tmp_path / "file").read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_writer_that_writes_nothing_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "file", lambda path: None)
    assert (tmp_path / "file").read_text() == "old"


def test_a_variant_is_known_by_the_name_it_gives_itself() -> None:
    class Shape(Variant):
        """A base."""

    class Other(Variant):
        """Another, whose variants are its own."""

    class Round(Shape, name="round"):
        """A variant."""

    class Unnamed(Round):
        """Known by nobody."""

    with pytest.raises(ValueError, match=r"Oval: name = 'round', expected one that .*Round does not have"):

        class Oval(Shape, name="round"):
            """A name is given once."""

    assert Unnamed.name == ""
    assert Shape.variants == {"round": Round}
    assert Other.variants == {}
    assert Round.name == "round"
