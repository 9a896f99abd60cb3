"""Boxes and arrows: how data flow through a network."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from mlnegf.plots.style import COLOURS, panels, styled

FILLS = {"given": "#e8eef2", "learned": "#cfe3d6", "physics": "#f6e3c5", "said": "#f3d3d7"}
"""What a box is, and its colour; the figure's caption says which is which."""


@styled()
def diagram(
    boxes: Mapping[str, tuple[float, float, str, str]], arrows: Sequence[tuple[str, str]], size: tuple[float, float]
) -> Figure:
    """Draw boxes and the arrows between them.

    Parameters
    ----------
    boxes : mapping of name to (column, row, kind, text)
        Columns from the left, rows from above; kinds are those of `FILLS`.
    arrows : sequence of (name, name)
        From one box to another.
    size : (float, float)
        Of the figure, inches.
    """
    figure, axes = panels(*size)
    axis = axes[0, 0]
    columns = [column for column, *_ in boxes.values()]
    rows = [row for _, row, *_ in boxes.values()]
    wide, high = 0.78, 0.62
    for column, row, kind, text in boxes.values():
        corner = column - wide / 2, -row - high / 2
        axis.add_patch(
            FancyBboxPatch(corner, wide, high, boxstyle="round,pad=0.03", facecolor=FILLS[kind], edgecolor="#555555")
        )
        axis.text(column, -row, text, ha="center", va="center", fontsize=8.5)
    for start, end in arrows:
        (x0, y0, *_), (x1, y1, *_) = boxes[start], boxes[end]
        sideways = abs(x1 - x0) >= abs(y1 - y0)
        sign = 1 if (x1 > x0 if sideways else y1 > y0) else -1
        begin = (x0 + sign * (wide / 2 + 0.04), -y0) if sideways else (x0, -y0 - sign * (high / 2 + 0.04))
        stop = (x1 - sign * (wide / 2 + 0.05), -y1) if sideways else (x1, -y1 + sign * (high / 2 + 0.05))
        axis.add_patch(
            FancyArrowPatch(begin, stop, arrowstyle="-|>", mutation_scale=10, color=COLOURS[5], lw=1.2, zorder=0)
        )
    axis.set(xlim=(min(columns) - 0.55, max(columns) + 0.55), ylim=(-max(rows) - 0.45, -min(rows) + 0.45))
    axis.axis("off")
    return figure
