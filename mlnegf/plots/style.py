"""One style for all figures: units named, and readable without colour."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from typing import Any, Final

import matplotlib.pyplot as plt
import torch
from cycler import cycler
from matplotlib.figure import Figure

from mlnegf._common import require
from mlnegf._files import write_whole

COLOURS: Final = ("#1b4965", "#d1495b", "#3d8b5f", "#e09f3e", "#7b5ea7", "#6c757d")
STYLE: Final[dict[str, Any]] = {
    "figure.dpi": 110,
    "figure.constrained_layout.use": True,
    "figure.max_open_warning": 0,  # the frames of a slider are many figures
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e5e5e5",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "image.cmap": "magma",
    # Line style changes with colour, so that a grey print says the same.
    "axes.prop_cycle": cycler(color=COLOURS) + cycler(linestyle=["-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), "-"]),
}
MARKERS: Final = "os^Dvx"


def set_up() -> None:
    """Prepare a notebook: this style for its own figures too, and one thread, since two fight over small arrays."""
    parameters: Any = plt.rcParams
    parameters.update(STYLE)
    torch.set_num_threads(1)


@contextmanager
def styled() -> Iterator[None]:
    """Draw in the style, all of a drawing: legends, titles and lines take it when they are made, not from their axes.

    Not by rc_context: it would also undo what a notebook's backend sets when the first figure loads it.
    """
    parameters: Any = plt.rcParams
    before = {name: parameters[name] for name in STYLE}
    parameters.update(STYLE)
    try:
        yield
    finally:
        parameters.update(before)


def require_kind(name: str, value: object, kind: type, caller: str) -> None:
    """Refuse to draw what is of another kind."""
    require(isinstance(value, kind), name, value, f"a {kind.__name__}", f"plots.{caller}")


def require_named(name: str, value: object, kind: type, caller: str) -> None:
    """Refuse to draw what is no mapping of names to things of a kind, one or more."""
    good = isinstance(value, Mapping) and bool(value) and all(isinstance(item, kind) for item in value.values())
    require(good, name, value, f"a mapping of one name or more to a {kind.__name__} each", f"plots.{caller}")


def panels(width: float, height: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Figure, Any]:
    """Make a figure of a size in inches, and its axes, (rows, columns)."""
    return plt.subplots(rows, columns, figsize=(width, height), squeeze=False, **options)


def save(figure: Figure, path: str) -> None:
    """Write a figure to a PNG file."""
    content = BytesIO()
    figure.savefig(content, format="png", dpi=150)
    write_whole(path, content.getvalue())
