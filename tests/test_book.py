"""The pages keep the conventions of `docs/book.md`."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BOOK = Path(__file__).parent.parent / "book"
PAGES = sorted(BOOK.glob("*.ipynb"))
FIGURE = re.compile(r"^(?:figure, \w+ = plt\.subplots|plots\.(?!set_up)\w+\(.*;)", re.MULTILINE)
"""A figure drawn by the cell itself, not by a function that a slider calls."""


def cells(page: Path, kind: str) -> Iterator[tuple[dict[str, Any], str]]:
    for cell in json.loads(page.read_text())["cells"]:
        if cell["cell_type"] == kind:
            yield cell["metadata"], "".join(cell["source"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_figure_has_a_number_a_caption_and_words_for_who_does_not_see_it(page: Path) -> None:
    for about, source in cells(page, "code"):
        if FIGURE.search(source):
            shown = about.get("mystnb", {})
            assert shown.get("figure", {}).get("name", "").startswith("fig-"), source[:200]
            assert shown["figure"]["caption"].endswith("."), source[:200]
            assert len(shown["image"]["alt"]) > 20, source[:200]


def test_names_of_figures_are_unique() -> None:
    names = [
        about["mystnb"]["figure"]["name"] for page in PAGES for about, _ in cells(page, "code") if "mystnb" in about
    ]
    assert len(names) == len(set(names)) > 20


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_exercise_has_a_folded_solution_whose_code_runs(page: Path) -> None:
    text = "\n".join(source for _, source in cells(page, "markdown"))
    exercises = re.findall(r"```\{exercise\}\n:label: (\S+)", text)
    assert re.findall(r"```\{solution-start\} (\S+)\n:class: dropdown", text) == exercises
    assert text.count("```{solution-end}") == len(exercises)
    assert "{solution}" not in text, "code in a solution of one piece does not run"
    assert "```python" not in text, "code in prose does not run"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_carries_no_output_of_another_run(page: Path) -> None:
    for cell in json.loads(page.read_text())["cells"]:
        if cell["cell_type"] == "code":
            assert not cell["outputs"]
            assert cell["execution_count"] is None
