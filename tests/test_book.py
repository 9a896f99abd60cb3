"""The pages keep the conventions of `docs/book.md`."""

import importlib
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from scipy.constants import e, hbar

from mlnegf.runs.workers import LOST
from mlnegf.scf.point import SHAPES
from mlnegf.transport.chains import hopping_energy
from mlnegf.units import CONDUCTANCE_QUANTUM
from mlnegf.warmstart.design import MOST_DEVICES

BOOK = Path(__file__).parent.parent / "book"
PAGES = sorted(BOOK.glob("*.ipynb"))
TEXTS = [*PAGES, *sorted(BOOK.glob("*.md"))]
FIGURE = re.compile(r"^(?:figure, \w+ = plt\.subplots|plots\.(?!set_up|in_space)\w+\()", re.MULTILINE)
"""A figure drawn by the cell itself, not by a function that a slider calls."""


def cells(page: Path, kind: str) -> Iterator[tuple[dict[str, Any], str]]:
    for cell in json.loads(page.read_text())["cells"]:
        if cell["cell_type"] == kind:
            yield cell["metadata"], "".join(cell["source"])


def words_of(page: Path) -> str:
    if page.suffix == ".md":
        return page.read_text()
    return "\n".join(source for _, source in cells(page, "markdown"))


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


def chapters() -> list[str]:
    """Numbered pages, in the order of the table of contents."""
    parts = yaml.safe_load((BOOK.parent / "_toc.yml").read_text())["parts"]
    return [Path(page["file"]).name for part in parts if part.get("numbered") for page in part["chapters"]]


def test_chapters_are_named_by_their_number() -> None:
    assert [name[:3] for name in chapters()] == [f"{k:02d}_" for k in range(1, len(chapters()) + 1)]


def test_every_page_is_in_the_table_of_contents() -> None:
    text = (BOOK.parent / "_toc.yml").read_text()
    assert all(f"book/{page.stem}" in text for page in BOOK.iterdir() if page.suffix in (".md", ".ipynb"))


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.stem)
def test_a_chapter_is_called_by_its_number_and_linked_as_a_file(page: Path) -> None:
    text = words_of(page)
    for number, name in re.findall(r"\[[Cc]hapter (\d+)\]\((\w+)\.(?:ipynb|md)\)", text):
        assert int(name[:2]) == int(number), f"{page.stem}: chapter {number} is not {name}"
    bare = [link for link in re.findall(r"\]\(([\w-]+)\)", text) if (BOOK / f"{link}.ipynb").exists()]
    assert not bare, "links without .ipynb open nothing in JupyterLab"


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.stem)
def test_a_chapter_opens_with_whom_it_is_for(page: Path) -> None:
    if page.stem in chapters():
        text = words_of(page)
        assert re.search(r"\A# .+\n\n\*\*For\*\* .+?\n\*\*Shows\*\*", text, re.DOTALL), text[:300]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_chapter_ends_with_what_to_take_along(page: Path) -> None:
    if page.stem in chapters():
        assert re.search(r"^## (In short|What survives)", words_of(page), re.MULTILINE)


def test_there_is_enough_to_do_and_to_move() -> None:
    text = "\n".join(map(words_of, PAGES))
    assert text.count("```{exercise}") >= 25
    code = "\n".join(source for page in PAGES for _, source in cells(page, "code"))
    assert len(re.findall(r"^(?:Explorer|FrameGrid|FrameSlider|plots\.in_space)\(", code, re.MULTILINE)) >= 8


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_control_has_a_caption(page: Path) -> None:
    for _, source in cells(page, "code"):
        for call in re.findall(
            r"^(?:Explorer|FrameGrid|FrameSlider|plots\.in_space)\(.*", source, re.MULTILINE | re.DOTALL
        ):
            assert "caption=" in call, call[:100]


def test_the_numbers_of_every_page_are_on_record() -> None:
    assert {path.stem for path in (Path(__file__).parent / "printed").iterdir()} == {page.stem for page in PAGES}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_folds_jupyterlab_folds_too(page: Path) -> None:
    answering = False
    for cell in json.loads(page.read_text())["cells"]:
        source, about = "".join(cell["source"]), cell["metadata"]
        if "hide-input" in about.get("tags", []) or (answering and "{exercise}" not in source):
            assert about.get("jupyter", {}).get("source_hidden"), source[:200]
        answering = "{solution-end}" not in source and (answering or "{solution-start}" in source)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_cell_with_a_figure_shows_nothing_else(page: Path) -> None:
    for about, source in cells(page, "code"):
        if "mystnb" in about:
            assert not re.search(r"^(?:Table|facts)\(", source, re.MULTILINE), "a figure's name would be given twice"


def test_the_numbers_of_the_theory_pages() -> None:
    """Chapters 1 and 3 run no code; what they say in numbers follows here."""
    text = (BOOK / "01_one_site.md").read_text()
    hopping = float(hopping_energy(0.19, 0.25))
    gamma = 2 * hopping * np.sin(np.arccos(1 - 0.1 / (2 * hopping)))
    assert f"$t = {hopping:.2f}$ eV" in text
    assert f"$\\Gamma = {gamma:.2f}$ eV" in text
    assert f"$\\hbar/\\Gamma = {hbar / e * 1e15 / gamma:.1f}$ fs" in text
    assert f"{1e6 * CONDUCTANCE_QUANTUM:.2f}" in text
    assert f"{SHAPES} " in (BOOK / "03_equations.md").read_text().replace("\\,", " ")


def test_the_numbers_of_the_page_on_many_machines() -> None:
    text = words_of(BOOK / "many_machines.ipynb")
    assert "a task that ends four workers" in text
    assert LOST == 3
    assert "A design holds a hundred thousand devices at most" in text
    assert MOST_DEVICES == 100_000
    soak = (BOOK.parent / "Makefile").read_text()
    assert "three kills of each kind, at random moments, whenever the tests run, and twenty in `make soak`" in text
    assert "MLNEGF_SOAK=20" in soak
    assert '"MLNEGF_SOAK", "3"' in (BOOK.parent / "tests/test_faults.py").read_text()


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.stem)
def test_formulas_have_single_backslashes(page: Path) -> None:
    """A doubled one before a letter is a line break to TeX, and comes from a notebook made by a program."""
    assert not re.findall(r"\\\\[a-zA-Z]{2,}", words_of(page))


def test_what_is_cited_stands_once_in_the_bibliography() -> None:
    keys = re.findall(r"^@\w+\{(\w+),", (BOOK / "references.bib").read_text(), re.MULTILINE)
    assert len(keys) == len(set(keys))
    cited = {
        key.strip()
        for page in TEXTS
        for keys in re.findall(r"\{cite[^}]*\}`([^`]+)`", words_of(page))
        for key in keys.split(",")
    }
    assert cited <= set(keys)


def test_docstrings_of_the_reference_name_no_substitution() -> None:
    """A word between bars is the name of a substitution to Sphinx, and an error if there is none."""
    substitution = re.compile(r"(?<!\w)\|[^\s|](?:[^|\n]*[^\s|])?\|(?=[\s.,;:)]|$)", re.MULTILINE)
    entry = re.compile(r"^\.\. auto(?:class|function):: (\S+)\n(?:   :members:(.*)\n)?", re.MULTILINE)
    found = entry.findall((BOOK / "reference.md").read_text())
    assert len(found) > 50
    for name, shown in found:
        room, _, own = name.rpartition(".")
        thing = getattr(importlib.import_module(room), own)
        members = [getattr(thing, member, None) for member in re.findall(r"\w+", shown)]  # a field has none
        for one in (thing, *members):
            text = re.sub(r"`[^`]*`|^\.\. math::\n(?:\n| .*\n)+", "", inspect.getdoc(one) or "", flags=re.MULTILINE)
            assert not substitution.search(text), f"{name}: {substitution.search(text)}"
