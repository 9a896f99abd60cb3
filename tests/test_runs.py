"""Rows, files, locks and workers of long runs, without the physics."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import tasks
import xarray
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import ThreadpoolController, threadpool_limits

from mlnegf._common import __version__
from mlnegf.runs import netcdf as making
from mlnegf.runs import workers as running
from mlnegf.runs.folder import LOG, MANIFEST, QUARANTINE, DamagedFileError, Folder, content_of, entries_of
from mlnegf.runs.journal import Journal, checksum
from mlnegf.runs.lock import held
from mlnegf.runs.netcdf import netcdf
from mlnegf.runs.threads import one_thread
from mlnegf.runs.workers import RunError, Workers

ROWS = [{"n": 1, "text": "φ"}, {"n": 2.5, "list": [1, None, True]}, {"n": float("inf")}]


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    journal = Journal(tmp_path / "rows.jsonl")
    for row in ROWS:
        journal.append(row)
    return journal


def test_rows_come_back_in_order(journal: Journal) -> None:
    assert journal.read() == (ROWS, 0)
    assert journal.begin() == ROWS
    assert Journal(journal.path.with_name("absent")).read() == ([], 0)


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_a_flipped_bit_costs_its_rows_and_no_other(tmp_path_factory: pytest.TempPathFactory, place: float, bit: int):
    journal = Journal(tmp_path_factory.mktemp("journal") / "rows.jsonl")
    for row in ROWS:
        journal.append(row)
    content = bytearray(journal.path.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    journal.path.write_bytes(content)
    rows, harmed = journal.read()
    # A line's end is one of its bytes, and two rows on one line are none.
    assert all(row in ROWS for row in rows)
    assert harmed >= 1 or len(rows) == 3
    assert len(rows) >= 1


@pytest.mark.parametrize("left", range(1, 60, 7))
def test_a_torn_line_is_removed_before_the_next(journal: Journal, left: int) -> None:
    whole = journal.path.read_bytes()
    journal.path.write_bytes(whole[:-left])
    again = Journal(journal.path)
    expected = ROWS if left == 1 else ROWS[:2]
    assert again.begin() == expected
    again.append({"n": 4})
    assert again.read() == ([*expected, {"n": 4}], 0)


def test_a_row_that_does_not_fit_the_disk_leaves_the_journal_as_it_was(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = journal.path.read_bytes()
    monkeypatch.setattr("mlnegf.runs.journal.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        journal.append({"n": 5})
    assert journal.path.read_bytes() == before


def test_a_checksum_does_not_depend_on_the_order_of_keys() -> None:
    assert checksum({"a": 1, "b": [2.5]}) == checksum({"b": [2.5], "a": 1}) != checksum({"a": 1, "b": [2.25]})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two files."""
    with Folder.opened(tmp_path / "kept", ".bin") as opened:
        opened.add("a.bin", b"first", {"what": "A"}, {"seconds": 1.0})
        opened.add("b.bin", b"second", {"what": "B"}, {"seconds": 2.0})
    return tmp_path / "kept"


def test_a_folder_knows_its_files(folder: Path) -> None:
    entries = entries_of(folder)
    assert {name: entry["what"] for name, entry in entries.items()} == {"a.bin": "A", "b.bin": "B"}
    assert entries["a.bin"]["version"] == __version__
    assert content_of(folder / "a.bin", entries["a.bin"]) == b"first"
    assert [row["seconds"] for row in Journal(folder / LOG).read()[0]] == [1.0, 2.0]
    assert sorted(os.listdir(folder)) == ["a.bin", "b.bin", LOG, MANIFEST]


@pytest.mark.parametrize(
    "name", ["../out.bin", "/out.bin", "a/b.bin", ".bin", ".hidden.bin", "a.txt", "", "..", "manifest.jsonl"]
)
def test_no_file_leaves_its_folder(folder: Path, name: str) -> None:
    with (
        Folder.opened(folder, ".bin") as opened,
        pytest.raises(ValueError, match=r"Folder.add: name = .*expected a plain file name"),
    ):
        opened.add(name, b"out", {}, {})
    assert not (folder.parent / "out.bin").exists()


@pytest.mark.parametrize("content", [b"", b"firsT", b"first ", b"firs", bytes(1 << 20)])
def test_a_file_that_is_not_the_one_promised_is_refused(folder: Path, content: bytes) -> None:
    (folder / "a.bin").write_bytes(content)
    with pytest.raises(DamagedFileError, match=rf"{folder}/a.bin: {len(content)} bytes that do not match.*expected 5"):
        content_of(folder / "a.bin", entries_of(folder)["a.bin"])
    with pytest.raises(DamagedFileError, match=r"c.bin: not in manifest.jsonl"):
        content_of(folder / "c.bin", None)


def test_a_damaged_manifest_is_refused_by_readers_and_mended_by_a_run(folder: Path) -> None:
    content = (folder / MANIFEST).read_bytes().replace(b'"what": "A"', b'"what": "X"')
    (folder / MANIFEST).write_bytes(content)
    with pytest.raises(DamagedFileError, match=rf"{folder / MANIFEST}: 1 damaged lines; run again"):
        entries_of(folder)
    with Folder.opened(folder, ".bin") as opened:
        assert list(opened.entries) == ["b.bin"]
        assert opened.set_aside == ["a.bin"]
    assert [path.read_bytes() for path in (folder / QUARANTINE).iterdir()] == [b"first"]
    assert list(entries_of(folder)) == ["b.bin"]


def test_a_second_run_is_told_who_the_first_is(folder: Path) -> None:
    code = f"""
from pathlib import Path
from mlnegf.runs.lock import held
with held(Path({str(folder)!r})):
    print("held", flush=True)
    input()
"""
    first = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert first.stdout is not None
    assert first.stdout.readline() == b"held\n"
    with (
        pytest.raises(ValueError, match=rf"output = '{folder}' is in use by process {first.pid} on .*; wait"),
        held(folder),
    ):
        pass
    first.kill()
    first.wait()
    with held(folder):  # a killed run holds nothing
        pass
    assert not (folder / ".lock").exists()


def test_a_file_to_be_is_held_by_its_name(tmp_path: Path) -> None:
    with held(tmp_path / "new" / "runs.json"):
        with pytest.raises(ValueError, match="in use by process"), held(tmp_path / "new" / "runs.json"):
            pass
        with held(tmp_path / "new" / "other.json"):
            pass
    assert os.listdir(tmp_path / "new") == []


def blas_threads() -> list[int]:
    return [pool["num_threads"] for pool in ThreadpoolController().select(user_api="blas").info()]


def test_the_callers_threads_come_back_however_blocks_overlap() -> None:
    """Whoever comes first limits all, whoever leaves last restores; the one in between does neither."""
    with threadpool_limits(2):
        before = blas_threads()
        assert set(before) == {2}
        gates = [threading.Event() for _ in range(3)]
        seen = []

        def work(enter: threading.Event, entered: threading.Event, leave: threading.Event) -> None:
            enter.wait(10)
            with one_thread():
                seen.append(blas_threads())
                entered.set()
                leave.wait(10)

        first = threading.Thread(target=work, args=(gates[0], gates[1], gates[2]))
        second_leave, second_entered = threading.Event(), threading.Event()
        second = threading.Thread(target=work, args=(gates[1], second_entered, second_leave))
        first.start()
        second.start()
        gates[0].set()
        second_entered.wait(10)
        gates[2].set()
        first.join()
        assert set(blas_threads()) == {1}
        second_leave.set()
        second.join()
        assert blas_threads() == before
        assert all(set(threads) == {1} for threads in seen)


def test_one_thread_is_left_by_an_error_too() -> None:
    with threadpool_limits(2):
        with pytest.raises(RuntimeError), one_thread(), one_thread():
            raise RuntimeError
        assert set(blas_threads()) == {2}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"count": 0}, "workers = 0, expected a whole number"),
        ({"count": True}, "workers = True, expected a whole number"),
        ({"count": 1.5}, r"workers = 1.5, expected a whole number"),
        ({"memory": 0.01}, "memory = 0.01, expected GiB, 0.25 or more"),
        ({"memory": float("nan")}, "memory = nan, expected GiB"),
        ({"scheduler": "localhost"}, "scheduler = 'localhost', expected an address such as"),
        ({"scheduler": 8786}, "scheduler = 8786, expected an address such as"),
        ({"scheduler": "tcp://127.0.0.1:9", "count": 2}, "workers = 2, expected none beside a scheduler"),
    ],
)
def test_workers_refuse_by_name(options: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Workers(**options)  # type: ignore[arg-type]


def test_a_scheduler_that_nobody_runs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "ANSWERS", 1.0)
    with (
        pytest.raises(ValueError, match=r"scheduler = 'tcp://127.0.0.1:9': nobody answers .*dask scheduler"),
        Workers(scheduler="tcp://127.0.0.1:9").opened(),
    ):
        pass


def test_one_worker_is_this_process_and_takes_tasks_in_order() -> None:
    with Workers(1).opened() as given:
        assert given.here
        for number in range(3):
            given.give(number, tasks.square, number)
        found = []
        for key, result in given.results():
            found.append((key, result))
            if key == 1:
                given.give("more", tasks.process)
    assert found == [(0, 0), (1, 1), (2, 4), ("more", os.getpid())]


@pytest.fixture(scope="module")
def two() -> Iterator[Callable[[], object]]:
    """Two workers."""
    with Workers(2, memory=1.0).opened() as given:
        assert not given.here
        assert given.words == "2 workers on this machine, one thread and 1 GiB each"
        yield given


@pytest.mark.slow
class TestTwoWorkers:
    """On one cluster, since starting one takes seconds."""

    def test_results_come_with_their_keys(self, two: running.Tasks) -> None:
        for number in range(100):
            two.give(number, tasks.square, number)
        found = []
        for key, result in two.results():
            found.append((key, result))
            if len(found) == 100:
                two.give("more", tasks.process)
        assert dict(found[:100]) == {number: number**2 for number in range(100)}
        assert found[100][1] != os.getpid()

    def test_a_worker_has_one_thread(self, two: running.Tasks) -> None:
        two.give(0, tasks.threads)
        ((_, found),) = two.results()
        assert set(found) == {1}

    def test_an_error_of_a_task_is_the_callers_at_once(self, two: running.Tasks) -> None:
        two.give("long", tasks.sleep, 1.0)
        two.give("bad", tasks.fail, "this one")
        with pytest.raises(KeyError, match="this one"):
            list(two.results())

    def test_a_lost_workers_task_is_given_to_another(self, two: running.Tasks, tmp_path: Path) -> None:
        two.give("lost", tasks.die_once, str(tmp_path / "mark"))
        for number in range(6):
            two.give(number, tasks.square, number)
        found = dict(two.results())
        assert found.pop("lost") == "done"
        assert found == {number: number**2 for number in range(6)}

    def test_nobody_else_is_let_in(self, two: running.Tasks) -> None:
        """Connections are on the loopback, encrypted, and want a key made for this cluster alone."""
        from distributed import Client

        own = psutil.Process()
        ports = {
            connection.laddr
            for process in (own, *own.children(recursive=True))
            for connection in process.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
        assert ports
        assert {address.ip for address in ports} == {"127.0.0.1"}
        address = two.client.scheduler_info()["address"]  # type: ignore[attr-defined]
        assert address.startswith("tls://127.0.0.1:")
        loop = two.client.loop  # type: ignore[attr-defined]
        with pytest.raises((OSError, TypeError)):
            Client(address, timeout="2s", loop=loop)
        with pytest.raises(OSError, match=r".*"):
            Client(address.replace("tls", "tcp"), timeout="2s", loop=loop)


@pytest.mark.slow
def test_a_task_that_ends_every_worker_is_an_error_with_advice() -> None:
    with Workers(2, memory=0.5).opened() as given:
        given.give("deadly", tasks.die)
        with pytest.raises(RunError, match=r"a task has ended 4 workers.*--memory.*whole files are kept"):
            list(given.results())


@pytest.mark.slow
def test_a_worker_that_takes_too_much_memory_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "LOST", 0)
    begun = time.monotonic()
    with Workers(2, memory=0.5).opened() as given:
        given.give("greedy", tasks.allocate, 2.0)
        with pytest.raises(RunError, match="a task has ended 1 workers"):
            list(given.results())
    assert time.monotonic() - begun < 45


@pytest.mark.slow
def test_work_in_flight_ends_with_the_block() -> None:
    begun, own = time.monotonic(), psutil.Process()

    def interrupted() -> None:
        with Workers(2, memory=1.0).opened() as given:
            given.give("short", tasks.square, 1)
            given.give("long", tasks.sleep, 300.0)
            for _ in given.results():
                raise KeyboardInterrupt

    before = {process.pid for process in own.children(recursive=True)}
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert time.monotonic() - begun < 45
    left = [process for process in own.children(recursive=True) if process.pid not in before]
    assert not [process for process in left if "spawn_main" in " ".join(process.cmdline())]


def test_rows_are_json_that_others_read(journal: Journal) -> None:
    lines = journal.path.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["n"] for line in lines] == [1, 2.5, np.inf]


def test_a_file_is_made_until_it_comes_out_the_same_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a profiler disturbs is made again: layouts differ, numbers do not."""
    table = xarray.Dataset({"current": ("bias", np.arange(3.0))})
    whole, made = netcdf(table), []

    def disturbed(*given: Any) -> bytes:
        made.append(given)
        return b"another layout" if len(made) == 1 else whole

    monkeypatch.setattr(making, "_made", disturbed)
    assert netcdf(table) == whole
    assert len(made) == 3
