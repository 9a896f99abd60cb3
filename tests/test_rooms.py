"""The walls of the house: who may import whom, read from the imports themselves."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "mlnegf"

BASE = {"units", "_common", "_files"}
MAY_IMPORT = {
    "units": set(),
    "_common": set(),
    "_files": set(),
    "transport": BASE,
    "runs": {"_common", "_files"},
    "learning": BASE,
    "nanosheet": BASE | {"transport"},
    "scf": BASE | {"runs", "transport", "nanosheet"},
    "warmstart": BASE | {"learning", "nanosheet", "runs", "scf"},
    "atomistic": BASE | {"transport", "learning", "runs"},
    "crystal": BASE | {"learning", "runs"},
    "line": BASE | {"learning"},
    "plots": BASE | {"atomistic", "crystal", "learning", "nanosheet", "scf", "warmstart", "widgets"},
    "widgets": BASE,
    "__init__": BASE | {"nanosheet", "scf", "warmstart"},
    "_options": BASE | {"learning", "nanosheet", "scf", "warmstart"},
    "__main__": BASE | {"_options", "atomistic", "learning", "nanosheet", "runs", "scf", "warmstart", "plots"},
}


def modules() -> dict[str, Path]:
    """Every module by its dotted name below `mlnegf`."""
    paths = sorted(PACKAGE.rglob("*.py"))
    return {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in paths}


def for_types_only(tree: ast.Module) -> set[ast.stmt]:
    blocks = (node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))
    return {statement for block in blocks for statement in block.body}


def imports(path: Path) -> Iterator[str]:
    """Modules of ours that a file imports when it runs, inside functions too."""
    tree = ast.parse(path.read_text())
    skipped = for_types_only(tree)
    for node in ast.walk(tree):
        if node in skipped:
            continue
        names: list[str] = []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import hides the wall it goes through"
            names = [f"{node.module}.{alias.name}" for alias in node.names] if node.module else []
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            if name.startswith("mlnegf."):
                yield resolved(name.removeprefix("mlnegf."))


def resolved(name: str) -> str:
    """The module that a dotted name lies in, or is."""
    known = modules()
    while name and name not in known and f"{name}.__init__" not in known:
        name = name.rpartition(".")[0]
    return name if name in known else f"{name}.__init__" if name else "__init__"


def room(module: str) -> str:
    return module.partition(".")[0]


@pytest.mark.parametrize("module", modules())
def test_a_room_imports_only_what_it_may(module: str) -> None:
    allowed = MAY_IMPORT[room(module)] | {room(module)}
    found = {room(name) for name in imports(modules()[module])} - {"__init__"}
    assert found <= allowed, f"{module} may not import {found - allowed}"


def test_no_circles() -> None:
    edges = {name: set(imports(path)) - {name} for name, path in modules().items()}
    done: set[str] = set()
    while left := {name for name in edges if name not in done and edges[name] <= done}:
        done |= left
    assert done == set(edges), f"modules that import each other: {sorted(set(edges) - done)}"


@pytest.mark.parametrize("name", sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py")))
def test_a_room_says_what_it_is(name: str) -> None:
    text = ast.get_docstring(ast.parse((PACKAGE / name / "__init__.py").read_text()))
    assert text
    assert "import" in text.lower()
    assert len(text.splitlines()) <= 6
