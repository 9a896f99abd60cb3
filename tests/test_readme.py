"""What the README says its ten lines print is what they print."""

import re
import tomllib
from pathlib import Path
from typing import Any

import mlnegf

README = Path(__file__).parent.parent / "README.md"


def test_the_ten_lines_do_what_is_said_of_them() -> None:
    text = README.read_text()
    names: dict[str, Any] = {}
    found = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert found
    exec(found.group(1), names)
    cold, learned = names["cold"], names["learned"]
    said = re.search(
        r"converged in (\d+) NEGF solves to ([\d.]+) μA, with an estimated error of ([\d.]+) mV, and that the\s+"
        r"learned one took (\d+)",
        text,
    )
    assert said
    assert cold.converged
    assert (cold.negf_solves, learned.negf_solves) == (int(said[1]), int(said[4]))
    assert f"{1e6 * cold.current:.2f}" == said[2]
    assert f"{1e3 * cold.error_estimate:.2f}" == said[3]


def test_the_file_of_a_device_is_one() -> None:
    found = re.search(r"```toml\n(.*?)```", README.read_text(), re.DOTALL)
    assert found
    device = mlnegf.Device.from_dict(tomllib.loads(found.group(1)))
    assert (device.gate_length, device.width) == (9.3, 5.0)
    assert device.grid.permittivity.max() == 22.0
