"""Leave out of the built book what no page needs: most of MathJax, maps of scripts, a kernel from elsewhere.

And read docstrings as they are written.
"""

import itertools
import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

KEPT = (
    "tex-chtml.js",
    "output/chtml/fonts/*",
    "input/tex/extensions/*",
    "a11y/*",  # formulas read aloud, in English
    "sre/mathmaps/base.json",
    "sre/mathmaps/en.json",
    "sre/mathmaps/nemeth.json",
    "ui/*",
)
"""Of MathJax: the component that pages name, and what it may ask for."""


def leave_out(app: Any, error: Exception | None) -> None:
    """Remove files that were copied into the book for nothing."""
    static = Path(app.outdir) / "_static"
    if error or not static.exists():
        return
    for file in (static / "mathjax").rglob("*"):
        name = str(file.relative_to(static / "mathjax"))
        if file.is_file() and not any(fnmatch(name, kept) for kept in KEPT):
            file.unlink()
    for file in static.rglob("*.map"):
        file.unlink()


def without_thebe(_app: Any, _name: str, _template: str, context: dict[str, Any], _tree: Any) -> None:
    """Drop the scripts that would fetch a live kernel from the network; twice on a page, they are an error besides."""
    scripts = context.get("script_files", [])
    context["script_files"] = [
        script
        for script in scripts
        if "thebe" not in f"{getattr(script, 'filename', script)} {getattr(script, 'attributes', {})}".lower()
    ]


def one_by_one(_app: Any, _what: str, _name: str, _thing: Any, _options: Any, lines: list[str]) -> None:
    """Give attributes that share a description one each: Sphinx takes `gate, drain : float` for one name and a type."""
    result: list[str] = []
    inside = False
    for k, line in enumerate(lines):
        if line and set(line) == {"-"}:
            inside = lines[k - 1] == "Attributes"
        shared = re.fullmatch(r"(\w+(?:, \w+)+) : (.*)", line) if inside else None
        if shared is None:
            result.append(line)
            continue
        rest = list(itertools.takewhile(lambda text: text.startswith(" ") or not text, lines[k + 1 :]))
        *others, last = shared[1].split(", ")
        for name in others:
            result += [f"{name} : {shared[2]}", *rest]
        result.append(f"{last} : {shared[2]}")
    lines[:] = result


def setup(app: Any) -> dict[str, bool]:
    """Come after whoever adds."""
    app.connect("build-finished", leave_out, priority=900)
    app.connect("html-page-context", without_thebe, priority=900)
    app.connect("autodoc-process-docstring", one_by_one, priority=100)  # before napoleon reads it
    return {"parallel_read_safe": True, "parallel_write_safe": True}
