"""A file is whole or not there."""

import errno
import os
import resource
import stat
from pathlib import Path

import pytest

from mlnegf._common import Variant
from mlnegf._files import PART, remove_leftovers, write_whole


def test_content_is_written_and_nothing_else(tmp_path: Path) -> None:
    write_whole(tmp_path / "bytes", b"\x00whole")
    write_whole(str(tmp_path / "text"), "φ whole")
    assert (tmp_path / "bytes").read_bytes() == b"\x00whole"
    assert (tmp_path / "text").read_text(encoding="utf-8") == "φ whole"
    assert sorted(os.listdir(tmp_path)) == ["bytes", "text"]


def test_folders_are_made(tmp_path: Path) -> None:
    write_whole(tmp_path / "a" / "b" / "file", "whole")
    assert (tmp_path / "a" / "b" / "file").read_text() == "whole"


def test_the_new_file_replaces_the_old_and_keeps_its_permissions(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old and longer")
    (tmp_path / "file").chmod(0o600)
    write_whole(tmp_path / "file", "new")
    assert (tmp_path / "file").read_text() == "new"
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600


def test_a_new_file_has_the_permissions_of_any_other(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("")
    write_whole(tmp_path / "file", "new")
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.parametrize("call", ["replace", "fsync", "fchmod"])
def test_a_failure_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "file").write_text("old")
    monkeypatch.setattr(f"mlnegf._files.os.{call}", fail)
    with pytest.raises(OSError, match="No space left"):
        write_whole(tmp_path / "file", "new")
    assert (tmp_path / "file").read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_file_too_large_for_the_disk_leaves_nothing(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            write_whole(tmp_path / "file", bytes(10_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.listdir(tmp_path) == []


def test_an_interrupt_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("mlnegf._files.os.fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "file", "new")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("kind", ["folder", "fifo", "device"])
def test_only_a_regular_file_is_replaced(tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path = Path("/dev/null")
    with pytest.raises(OSError, match=rf"{path}: not a regular file"):
        write_whole(path, "new")
    assert not path.is_file()


def test_a_link_is_replaced_and_its_victim_is_unharmed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "file").symlink_to(tmp_path / "victim")
    write_whole(tmp_path / "file", "new")
    assert (tmp_path / "victim").read_text() == "mine"
    assert not (tmp_path / "file").is_symlink()


def test_nobody_can_guess_a_temporary_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever can has planted a link there; it is not followed, and the write fails."""
    (tmp_path / "victim").write_text("mine")
    monkeypatch.setattr("mlnegf._files.secrets.token_hex", lambda _: "0" * 16)
    (tmp_path / f".file.{'0' * 16}{PART}").symlink_to(tmp_path / "victim")
    with pytest.raises(FileExistsError):
        write_whole(tmp_path / "file", "new")
    assert (tmp_path / "victim").read_text() == "mine"


def test_leftovers_of_a_killed_run_go_and_nothing_else(tmp_path: Path) -> None:
    for name in (f".a.{'0' * 16}{PART}", f".a.b.{'1' * 16}{PART}", ".a.mine.part", "a", ".a"):
        (tmp_path / name).touch()
    remove_leftovers(tmp_path, "a")
    assert not (tmp_path / f".a.{'0' * 16}{PART}").exists()
    assert (tmp_path / f".a.b.{'1' * 16}{PART}").exists()
    remove_leftovers(tmp_path)
    assert sorted(os.listdir(tmp_path)) == [".a", ".a.mine.part", "a"]


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
