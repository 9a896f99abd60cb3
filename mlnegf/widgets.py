"""Figures behind sliders, and tables: alive in a static page without kernel or network, and in JupyterLab."""

from __future__ import annotations

import base64
import io
import itertools
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, TypeAlias, cast

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    Frame: TypeAlias = bytes | Figure

# Found relative to the slider that moved: with no ids, any number of copies can share a page.
_ON_INPUT = (
    "const f=this.closest('figure'),s=[...f.querySelectorAll('input')],"
    "k=s.reduce((k,i)=>k*(+i.max+1)+ +i.value,0);"
    "f.querySelectorAll('img').forEach((m,j)=>{m.style.display=j===k?'':'none'});"
    "const t=JSON.parse(this.dataset.labels)[this.value];"
    "this.setAttribute('aria-valuetext',t);this.nextElementSibling.textContent=t"
)


def _png(frame: Frame) -> bytes:
    """PNG bytes of a frame; a figure is closed, so that a notebook does not show it again."""
    if isinstance(frame, bytes):
        return frame
    import matplotlib.pyplot as plt

    buffer = io.BytesIO()
    frame.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    plt.close(frame)
    return buffer.getvalue()


def _subscripts(name: str) -> str:
    """HTML of a name in which ``V_G`` carries its subscript."""
    return re.sub(r"_(\w+)", r"<sub>\1</sub>", escape(name))


# Begins with a digit, and is no size such as 3×6 nm.
_NUMBER = re.compile(r"[+−-]?\.?[\d∞][^×]*$")


class Table:
    """Rows of named cells: a table on a page, aligned columns where there is only text.

    Parameters
    ----------
    rows : sequence of mappings
        One cell for each column name, the same names in every row. Numbers that are not whole are shown to `digits`
        significant ones; a column of numbers, or of texts that begin with one, is aligned to the right.
    caption : str, optional
        Text above the table.
    digits : int, optional
    """

    def __init__(self, rows: Sequence[Mapping[str, object]], caption: str = "", digits: int = 3) -> None:
        self.caption, self.names = caption, list(rows[0]) if rows else []
        if not rows or any(list(row) != self.names for row in rows):
            raise ValueError(f"Table: rows = {list(rows)!r}, expected one row or more, the same columns in each.")
        self.cells = [[self._text(value, digits) for value in row.values()] for row in rows]
        self.right = [all(_NUMBER.match(cell) for cell in column if cell) for column in zip(*self.cells, strict=True)]

    @staticmethod
    def _text(value: object, digits: int) -> str:
        if isinstance(value, float):
            return ("−∞" if value < 0 else "∞") if math.isinf(value) else f"{value:.{digits}g}"
        return str(value)

    def _repr_html_(self) -> str:
        """Return a plain HTML table."""
        styles = ["text-align:right" if right else "text-align:left" for right in self.right]

        def line(tag: str, cells: Sequence[str]) -> str:
            inside = "".join(f'<{tag} style="{s}">{escape(c)}</{tag}>' for s, c in zip(styles, cells, strict=True))
            return f"<tr>{inside}</tr>"

        caption = f"<caption>{escape(self.caption)}</caption>" if self.caption else ""
        head = f"<thead>{line('th', self.names)}</thead>" if any(map(str.strip, self.names)) else ""
        body = "".join(line("td", row) for row in self.cells)
        return f"<table>{caption}{head}<tbody>{body}</tbody></table>"

    def __repr__(self) -> str:
        """Aligned columns under their names."""
        lines = [self.names, *self.cells] if any(map(str.strip, self.names)) else self.cells
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        aligned = [
            "  ".join(f"{cell:{'>' if right else '<'}{width}}" for cell, right, width in row).rstrip()
            for row in (zip(line, self.right, widths, strict=True) for line in lines)
        ]
        return "\n".join([self.caption, *aligned] if self.caption else aligned)


def facts(values: Mapping[str, object], caption: str = "", digits: int = 3) -> Table:
    """Return a table of two columns without names: what, and its value with the unit in the words."""
    return Table([{"": what, " ": value} for what, value in values.items()], caption, digits)


class FrameGrid:
    """Frames over a grid of labels, with one slider for each axis.

    Parameters
    ----------
    frames : mapping of index tuple to PNG bytes or Figure
        One frame for every index ``(i, j, ...)`` of the grid.
    labels : sequence of sequences of str
        What each axis shows at each index, unit included: ``"0.40 V"``.
    names : sequence of str
        One name per axis; ``V_G`` is shown with a subscript.
    caption : str, optional
        Text below the figure, and its description for screen readers.
    """

    def __init__(
        self,
        frames: Mapping[tuple[int, ...], Frame],
        labels: Sequence[Sequence[str]],
        names: Sequence[str],
        caption: str = "",
    ) -> None:
        indices = list(itertools.product(*(range(len(axis)) for axis in labels)))
        if len(labels) != len(names) or not indices or set(indices) != set(frames):
            raise ValueError("every index of the grid of labels needs one frame, every axis a name")
        self.names, self.labels, self.caption = tuple(names), [list(a) for a in labels], caption
        self.pngs = {index: _png(frames[index]) for index in indices}

    def _slider(self, name: str, labels: Sequence[str]) -> str:
        first = escape(labels[0])
        # autocomplete=off: a reloaded page starts at its first frame, slider and picture alike
        # data-lm-suppress-shortcuts: JupyterLab would take the arrow keys for itself
        return (
            '<label style="display:flex;gap:.6em;align-items:center;justify-content:center">'
            f"<span>{_subscripts(name)} =</span>"
            f'<input type="range" min="0" max="{len(labels) - 1}" step="1" value="0" '
            f'autocomplete="off" data-lm-suppress-shortcuts="true" style="flex:0 1 18em" aria-label="{escape(name)}" '
            f'aria-valuetext="{first}" data-labels="{escape(json.dumps(labels))}" '
            f'oninput="{_ON_INPUT}">'
            f'<output style="min-width:5em;text-align:left">{first}</output></label>'
        )

    def _repr_html_(self) -> str:
        """Self-contained HTML: sliders, frames, caption."""
        sliders = "".join(map(self._slider, self.names, self.labels))
        images: list[str] = []
        for index, png in self.pngs.items():
            where = ", ".join(
                f"{name} = {axis[i]}" for name, axis, i in zip(self.names, self.labels, index, strict=True)
            )
            hidden = "display:none;" if images else ""  # style, because themes override `hidden`
            images.append(
                f'<img style="{hidden}" alt="{escape(f"{self.caption} ({where})".strip())}" '
                f'src="data:image/png;base64,{base64.b64encode(png).decode()}">'
            )
        caption = f"<figcaption>{escape(self.caption)}</figcaption>" if self.caption else ""
        return (
            '<figure class="mlnegf-frames" style="text-align:center;margin:1em 0">'
            f"{sliders}<div>{''.join(images)}</div>{caption}</figure>"
        )


class FrameSlider(FrameGrid):
    """Frames behind one slider.

    Parameters
    ----------
    figures_or_pngs : sequence of PNG bytes or Figure
        The frames, in the order of the slider.
    labels : sequence of str
        What the slider shows at each frame, unit included: ``"0.40 V"``.
    name : str
        The quantity, as in ``V_G``.
    caption : str, optional
        Text below the figure.
    """

    def __init__(
        self,
        figures_or_pngs: Sequence[Frame],
        labels: Sequence[str],
        name: str,
        caption: str = "",
    ) -> None:
        frames: dict[tuple[int, ...], Frame] = {(i,): f for i, f in enumerate(figures_or_pngs)}
        super().__init__(frames, [labels], [name], caption)


class Explorer(FrameGrid):
    """Figures of a function of one or two numbers: frames when displayed, live on demand.

    Parameters
    ----------
    function : callable
        Takes one number per name, in order, and returns a Figure or PNG bytes.
    name : str or sequence of str
        The quantity on each slider, as in ``"V_G"`` or ``("V_G", "V_D")``.
    values : sequence of float, or one such sequence per name
        The values of the frames, computed when the explorer is made.
    unit : str, optional
        Shown after each value.
    digits : int, optional
        Decimals shown.
    caption : str, optional
        Text below the figure.
    """

    def __init__(
        self,
        function: Callable[..., Frame],
        name: str | Sequence[str],
        values: Sequence[float] | Sequence[Sequence[float]],
        unit: str = "",
        digits: int = 2,
        caption: str = "",
    ) -> None:
        single = isinstance(name, str)
        names = [name] if isinstance(name, str) else list(name)
        self.function = function
        self.values = cast("list[Sequence[float]]", [values] if single else list(values))
        grid = itertools.product(*(range(len(axis)) for axis in self.values))
        frames = {
            index: _png(function(*(axis[i] for axis, i in zip(self.values, index, strict=True)))) for index in grid
        }
        labels = [[f"{v:.{digits}f} {unit}".strip() for v in axis] for axis in self.values]
        super().__init__(frames, labels, names, caption)

    def live(self) -> Any:
        """Widget that calls the function at any value in range; a static page shows the frames."""
        import ipywidgets

        frames = self._repr_html_()

        class Live(ipywidgets.VBox):  # type: ignore[misc]
            def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
                return {**super()._repr_mimebundle_(**kwargs), "text/html": frames}

        seen = dict(zip(itertools.product(*self.values), self.pngs.values(), strict=True))
        sliders = [
            ipywidgets.FloatSlider(
                value=axis[0],
                min=min(axis),
                max=max(axis),
                step=(max(axis) - min(axis)) / 100 or 1.0,
                description=name,
                continuous_update=False,  # a frame may take seconds: compute when released
            )
            for name, axis in zip(self.names, self.values, strict=True)
        ]
        image = ipywidgets.Image(value=next(iter(self.pngs.values())))

        def show(_change: object) -> None:
            point = tuple(slider.value for slider in sliders)
            if point not in seen:
                seen[point] = _png(self.function(*point))
            image.value = seen[point]

        for slider in sliders:
            slider.observe(show, names="value")
        return Live([*sliders, image])
