"""Leave out of the built book what no page loads: most of MathJax, and the maps of scripts for who debugs them."""

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


def setup(app: Any) -> dict[str, bool]:
    """Come after whoever copies."""
    app.connect("build-finished", leave_out, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
