"""What a run of the book's pages by nbval leaves behind: outputs for the build, and a check of every printed number.

nbval runs each page as a test. This plugin (`-p tests.pages`) keeps what the cells put out in the cache that
`jupyter-book build` reads, so that a page runs once for both; and holds the numbers that a page prints against
`tests/printed/`, which `--accept-numbers` writes anew.
"""

import json
import re
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from nbformat import NotebookNode

ROOT = Path(__file__).parent.parent
CACHE = ROOT / "_build" / ".jupyter_cache"
PRINTED = Path(__file__).parent / "printed"
VARIES = "varies"
"""Tag of a cell whose numbers belong to the machine: seconds, short trainings, iterations that wander."""
NUMBER = re.compile(r"(?<![\w.])[+−-]?\d[\d,]*\.?\d*(?:e[+-]?\d+)?")
RELATIVE = 0.02
"""Two machines may differ by that much, and by one in the last digit that is printed."""
ROUNDING = 1e-7
"""What is smaller, is rounding."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--accept-numbers", action="store_true", help="write what the pages print to tests/printed")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        _ = get_cache(CACHE).db  # made once, before two workers would


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: Any) -> Generator[None, Any, Any]:
    report = yield
    if report.failed and hasattr(item, "cell"):
        item.parent.failed = True
    return report


def pytest_runtest_setup(item: Any) -> None:
    if hasattr(item, "cell") and not hasattr(item.parent, "started"):
        item.parent.started = time.monotonic()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: Any, nextitem: Any) -> Iterator[None]:
    """Keep the outputs of each cell; after the last one of a page, and its kernel's end, the page."""
    yield
    if not hasattr(item, "cell"):
        return
    item.cell.outputs, item.cell.execution_count = list(shown(item)), item.cell_num + 1
    page = item.parent
    last = nextitem is None or nextitem.parent is not page
    if last and not hasattr(page, "failed"):
        path = Path(page.fspath)
        seconds = time.monotonic() - page.started
        bundle = CacheBundleIn(page.nb, str(path), data={"execution_seconds": seconds})
        get_cache(CACHE).cache_notebook_bundle(bundle, check_validity=False, overwrite=True)
        hold(path.stem, [cell for cell in page.nb.cells if cell.cell_type == "code"], item.config)


def shown(item: Any) -> Iterator[NotebookNode]:
    """Outputs of a cell as a reader sees them: nbval keeps no history, without which a semicolon silences nothing."""
    silenced = item.cell.source.rstrip().endswith(";")
    for output in item.test_outputs or []:
        if not (silenced and output.output_type == "execute_result"):
            yield output


def texts(cell: NotebookNode) -> Iterator[str]:
    """What a cell puts out as text: printed lines and tables."""
    for output in cell.outputs:
        if output.output_type == "stream" and output.name == "stdout":
            yield output.text
        elif "data" in output and "<table>" in output.data.get("text/html", ""):
            yield output.data["text/plain"]


def numbers(cell: NotebookNode) -> list[str]:
    """Return the numbers in what a cell puts out as text, as they are written."""
    return [found for text in texts(cell) for found in NUMBER.findall(text)]


def same(one: str, two: str) -> bool:
    """Say whether two printed numbers are one, but for rounding and the last digit."""
    a, b = (float(text.replace(",", "").replace("−", "-")) for text in (one, two))
    mantissa, _, power = one.partition("e")
    _, _, decimals = mantissa.partition(".")
    digit = 10.0 ** (int(power or 0) - len(decimals))
    return abs(a - b) <= max(RELATIVE * max(abs(a), abs(b)), 1.01 * digit, ROUNDING)


def hold(page: str, cells: list[NotebookNode], config: pytest.Config) -> None:
    """Compare the numbers of a page with those on record, or put them there."""
    found = {cell.id: numbers(cell) for cell in cells if VARIES not in cell.metadata.get("tags", []) and numbers(cell)}
    record = PRINTED / f"{page}.json"
    if config.getoption("--accept-numbers"):
        PRINTED.mkdir(exist_ok=True)
        record.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
        return
    known = json.loads(record.read_text()) if record.exists() else {}
    changed = []
    for name in sorted(found.keys() | known.keys()):
        here, there = found.get(name, []), known.get(name, [])
        if len(here) != len(there) or not all(same(*pair) for pair in zip(there, here, strict=True)):
            pairs = [f"{b} for {a}" for a, b in zip(there, here, strict=False) if not same(a, b)]
            changed.append(f"cell {name}: {', '.join(pairs) or f'{len(here)} numbers for {len(there)}'}")
    if changed:
        words = "\n".join(changed)
        pytest.fail(
            f"{page} prints other numbers than on record. If they are right, run `make accept`.\n{words}", pytrace=False
        )
