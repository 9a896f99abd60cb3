"""What the README says its ten lines print is what they print."""

import re
from pathlib import Path
from typing import Any

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
