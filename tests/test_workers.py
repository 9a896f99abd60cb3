"""No worker outlives the process that asked for it."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from mlnegf.warmstart.workers import pool

GENERATE = """
from mlnegf.warmstart.design import Design
from mlnegf.warmstart.generation import generate

DESIGN = '''
[[group]]
devices = 600
width = {from = 2.5, to = 3.5}
doping = {from = 5e19, to = 2e20}
thickness = 3.0
gate_length = 6.0
source_length = 5.0
drain_length = 5.0
spacing = [0.5, 0.5, 0.5]
gate = 0.1
drain = 0.05
'''

if __name__ == "__main__":
    generate(Design(DESIGN), "data", "the tests", workers=2, progress=False)
"""


@pytest.mark.slow
def test_workers_of_a_killed_generate_are_gone(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(GENERATE)
    # Whoever lives holds the other end of standard output; its end is the end of them all.
    parent = subprocess.Popen([sys.executable, str(script)], cwd=tmp_path, stdout=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 120
        while len(list(tmp_path.glob("data/*.nc"))) < 2:
            assert parent.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        parent.kill()
    parent.communicate(timeout=10)


def test_work_in_flight_ends_with_the_block() -> None:
    begun = time.monotonic()

    def interrupted() -> None:
        with pool(1) as processes:
            processes.submit(int).result()
            processes.submit(time.sleep, 300)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert time.monotonic() - begun < 60


def test_a_worker_has_one_thread() -> None:
    with pool(1) as processes:
        assert processes.submit(torch.get_num_threads).result() == 1
