"""Runs that are killed, interrupted, or out of disk lose nothing but what is in flight, and go on to the same bytes.

Each kind of fault comes `ROUNDS` times, at random moments; `make soak` asks for more.
"""

import hashlib
import os
import random
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import xarray
import yaml
from distributed import Security

from mlnegf.runs.folder import LOG, entries_of
from mlnegf.runs.journal import Journal

ROUNDS = range(int(os.environ.get("MLNEGF_SOAK", "3")))
SIZES = {"width": 3, "thickness": 3, "gate-length": 6, "source-length": 5, "drain-length": 5, "spacing": 0.5}
DEVICE = [word for name, value in SIZES.items() for word in (f"--{name}", value)]
DESIGN = """
[each]
width = 3.0
thickness = 3.0
source_length = 5.0
drain_length = 5.0
spacing = [0.5, 0.5, 0.5]
gates = [0.2]
drains = [0.1]
[[group]]
devices = 8
gate_length = {from = 5.0, to = 7.0}
doping = {from = 5e19, to = 1e20}
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def design(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("design") / "design.toml"
    path.write_text(DESIGN)
    return path


class Run:
    """`mlnegf`, as a process of its own in a group of its own."""

    def __init__(self, *arguments: object, limit: int | None = None) -> None:
        def begin() -> None:
            # As in a terminal, whatever the tests run under.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            if limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        self.process = subprocess.Popen(
            [sys.executable, "-m", "mlnegf", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=begin,
            text=True,
        )

    def workers(self) -> list[psutil.Process]:
        """Processes that solve: those of the cluster."""
        try:
            children = psutil.Process(self.process.pid).children(recursive=True)
            return [child for child in children if "spawn_main" in " ".join(child.cmdline())]
        except psutil.NoSuchProcess:
            return []

    def end(self, seconds: float = 120) -> tuple[int, str]:
        """Wait: return the exit code, and what was said on the error channel."""
        errors = self.process.communicate(timeout=seconds)[1]
        return self.process.returncode, errors

    def until(self, happened: Callable[[], bool], seconds: float = 120) -> None:
        """Wait until something has happened or the run has ended."""
        deadline = time.monotonic() + seconds
        while not happened() and self.process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def generate(design: Path, output: Path, *options: object, limit: int | None = None) -> Run:
    return Run("generate", "--design", design, "--output", output, *options, limit=limit)


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.nc")}


@pytest.fixture(scope="module")
def undisturbed(design: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Checksums of a run that nothing happens to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    code, errors = generate(design, folder, "--workers", 1).end()
    assert code == 0, errors
    found = digests(folder)
    assert len(found) == 8
    return found


def require_resumed(design: Path, folder: Path, undisturbed: dict[str, str]) -> None:
    """See that another run goes on: it solves what is missing and nothing else, to the same bytes."""
    before = {path.name: path.stat().st_ino for path in folder.glob("*.nc")}
    assert digests(folder).items() <= undisturbed.items()
    code, errors = generate(design, folder, "--workers", 1).end()
    assert code == 0, errors
    assert digests(folder) == undisturbed
    assert {name: entry["sha256"] for name, entry in entries_of(folder).items()} == undisturbed
    assert {name: (folder / name).stat().st_ino for name in before} == before
    # A case is logged after it is whole: one killed in between is whole without a word.
    assert len(Journal(folder / LOG).read()[0]) >= len(undisturbed) - 1
    assert not list(folder.glob(".*"))
    assert not (folder / "quarantine").exists()


def at_random(seed: int, run: Run, folder: Path) -> None:
    """Wait until some file is there, and a moment more."""
    rng = random.Random(seed)
    count = rng.randrange(6)
    run.until(lambda: len(list(folder.glob("*.nc"))) >= count)
    time.sleep(rng.uniform(0.0, 0.7))


@pytest.mark.parametrize("seed", ROUNDS)
def test_a_killed_worker_costs_nothing(design: Path, undisturbed: dict[str, str], tmp_path: Path, seed: int) -> None:
    run = generate(design, tmp_path, "--workers", 2)
    run.until(lambda: len(run.workers()) == 2)
    at_random(seed, run, tmp_path)
    for worker in random.Random(seed).sample(run.workers(), k=min(1, len(run.workers()))):
        worker.kill()
    code, errors = run.end()
    assert code == 0, errors
    assert digests(tmp_path) == undisturbed
    assert len(Journal(tmp_path / LOG).read()[0]) == 8


@pytest.mark.parametrize("seed", ROUNDS)
def test_a_killed_run_loses_what_is_in_flight(
    design: Path, undisturbed: dict[str, str], tmp_path: Path, seed: int
) -> None:
    run = generate(design, tmp_path, "--workers", 2)
    at_random(seed, run, tmp_path)
    workers = run.workers()
    run.process.kill()
    run.process.wait()
    assert not psutil.wait_procs(workers, timeout=10)[1]
    require_resumed(design, tmp_path, undisturbed)


@pytest.fixture(scope="module", autouse=True)
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keys for connections, as the page *On many machines* says: read by scheduler, workers and runs alike."""
    folder = tmp_path_factory.mktemp("dask")
    found = Security.temporary().get_tls_config_for_role("client")
    (folder / "dask.key").write_text(found["key"])
    (folder / "dask.crt").write_text(found["cert"])
    pair = {"cert": str(folder / "dask.crt"), "key": str(folder / "dask.key")}
    tls = {"ca-file": pair["cert"], **dict.fromkeys(("scheduler", "worker", "client"), pair)}
    settings = {"distributed": {"comm": {"require-encryption": True, "tls": tls}}}
    (folder / "mlnegf.yaml").write_text(yaml.safe_dump(settings))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DASK_CONFIG", str(folder))
        yield


@contextmanager
def scheduler() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A scheduler with two workers on the loopback, started as people do, with keys."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host, port = "127.0.0.1", str(free.getsockname()[1])
    address = f"tls://{host}:{port}"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    dask, common = [sys.executable, "-m", "dask"], ["--protocol", "tls", "--no-dashboard"]
    one = subprocess.Popen([*dask, "scheduler", "--host", host, "--port", port, *common], **quiet)
    workers = [
        subprocess.Popen([*dask, "worker", address, "--nthreads", "1", "--no-nanny", *common], **quiet)
        for _ in range(2)
    ]
    try:
        yield address, one
    finally:
        for process in (one, *workers):
            process.kill()
            process.wait()


@pytest.mark.parametrize("seed", ROUNDS)
def test_a_killed_scheduler_ends_the_run_with_advice(
    design: Path, undisturbed: dict[str, str], tmp_path: Path, seed: int
) -> None:
    with scheduler() as (address, process):
        run = generate(design, tmp_path / "data", "--scheduler", address)
        at_random(seed, run, tmp_path / "data")
        process.kill()
        code, errors = run.end()
    if code:  # else it was done before
        assert code == 2, errors
        assert "whole files are kept" in errors or "nobody answers" in errors
        assert "Traceback" not in errors
    (tmp_path / "data").mkdir(exist_ok=True)
    require_resumed(design, tmp_path / "data", undisturbed)


def test_a_scheduler_elsewhere_changes_nothing(design: Path, undisturbed: dict[str, str], tmp_path: Path) -> None:
    """The same design and the same sweep, through a scheduler and two workers started apart: the same bytes."""
    sweep = ["sweep", *DEVICE, "--gates", "0.1:0.3:3", "--drains", "0.05,0.2,0.3", "--output"]
    with scheduler() as (address, _):
        code, errors = generate(design, tmp_path / "data", "--scheduler", address).end()
        assert (code, digests(tmp_path / "data")) == (0, undisturbed), errors
        assert Run(*sweep, tmp_path / "there.nc", "--scheduler", address).end()[0] == 0
    assert Run(*sweep, tmp_path / "here.nc", "--workers", 1).end()[0] == 0
    assert (tmp_path / "there.nc").read_bytes() == (tmp_path / "here.nc").read_bytes()
    table = xarray.load_dataset(tmp_path / "here.nc", engine="h5netcdf")
    assert bool(table["converged"].all())
    assert "seconds" not in table
    assert len((tmp_path / "here.nc.log.jsonl").read_text().splitlines()) == 9


@pytest.mark.parametrize("seed", ROUNDS)
def test_a_killed_sweep_goes_on_to_the_same_bytes(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    folder = tmp_path_factory.mktemp("sweep")
    options = [*DEVICE, "--gates", "0.1:0.4:4", "--drains", "0.05,0.2", "--workers", 1, "--output"]
    whole = tmp_path_factory.getbasetemp() / "whole.nc"
    if not whole.exists():
        assert Run("sweep", *options, whole).end()[0] == 0
    meanwhile, rng = folder / "iv.nc.run", random.Random(seed)
    run, count = Run("sweep", *options, folder / "iv.nc"), rng.randrange(1, 7)
    run.until(lambda: len(list(meanwhile.glob("*.npy"))) >= count)
    time.sleep(rng.uniform(0.0, 0.2))
    run.process.kill()
    run.process.wait()
    kept = {path: path.stat().st_ino for path in meanwhile.glob("*.npy")}
    assert len(kept) >= count or (folder / "iv.nc").exists()
    assert Run("sweep", *options, folder / "iv.nc").end()[0] == 0
    assert (folder / "iv.nc").read_bytes() == whole.read_bytes()
    assert sorted(os.listdir(folder)) == ["iv.nc", "iv.nc.log.jsonl"]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_all_at_once(
    design: Path, undisturbed: dict[str, str], tmp_path: Path, workers: int, how: signal.Signals
) -> None:
    run = generate(design, tmp_path, "--workers", workers)
    run.until(lambda: len(list(tmp_path.glob("*.nc"))) >= 2)
    found = run.workers()
    begun = time.monotonic()
    # As from a terminal: to all of them at once.
    os.killpg(run.process.pid, how) if how is signal.SIGINT else run.process.send_signal(how)
    code, errors = run.end()
    assert time.monotonic() - begun < 10
    assert code == (1 if how is signal.SIGINT else 128 + how), errors
    assert "Traceback" not in errors
    assert not psutil.wait_procs(found, timeout=5)[1]
    require_resumed(design, tmp_path, undisturbed)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("limit", [1, 3_000, 40_000])
def test_a_full_disk_is_one_line(
    design: Path, undisturbed: dict[str, str], tmp_path: Path, workers: int, limit: int
) -> None:
    """No file may grow beyond a limit, as on a full disk: refused at the design, at the manifest, or at a case."""
    code, errors = generate(design, tmp_path, "--workers", workers, limit=limit).end()
    assert code == 2, errors
    assert re.search(r"Error: .*(File too large|No space left)", errors)
    assert "Traceback" not in errors
    assert not list(tmp_path.glob(".*"))
    require_resumed(design, tmp_path, undisturbed)


def test_a_sweep_on_a_full_disk_is_one_line(tmp_path: Path) -> None:
    code, errors = Run("sweep", *DEVICE, "--gates", "0.1", "--output", tmp_path / "iv.nc", limit=2_000).end()
    assert code == 2, errors
    assert "File too large" in errors
    assert "Traceback" not in errors
    assert not (tmp_path / "iv.nc").exists()


def test_a_folder_that_cannot_be_written_to_is_named(design: Path) -> None:
    code, errors = generate(design, Path("/proc/mlnegf"), "--workers", 1).end()
    assert code == 2
    assert "/proc/mlnegf" in errors
    assert "Traceback" not in errors


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only for root")
def test_a_read_only_folder_is_named(design: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    code, errors = generate(design, tmp_path, "--workers", 1).end()
    tmp_path.chmod(0o700)
    assert code == 2
    assert str(tmp_path) in errors
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(shutil.which("mount") is None or os.geteuid() != 0, reason="only root mounts a small disk")
def test_a_small_disk_that_fills_up(design: Path, undisturbed: dict[str, str], tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", disk], check=False).returncode:
        pytest.skip("this machine mounts none")
    try:
        code, errors = generate(design, disk, "--workers", 2).end()
        assert code == 2, errors
        assert "No space left on device" in errors
        assert "Traceback" not in errors
        assert not list(disk.glob(".*"))
        shutil.copytree(disk, tmp_path / "data")
    finally:
        subprocess.run(["umount", disk], check=True)
    require_resumed(design, tmp_path / "data", undisturbed)
