"""Figures behind sliders: alive in a static page without kernel or network, and in JupyterLab."""

from __future__ import annotations

import base64
import io
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from mlnegf._common import is_count, items, reals, require
from mlnegf.widgets.slider import figure, slider

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
    require(hasattr(frame, "savefig"), "frames", frame, "bytes of a PNG, or a Figure", "FrameGrid")
    import matplotlib.pyplot as plt
    from PIL import Image

    drawn, packed = io.BytesIO(), io.BytesIO()
    frame.savefig(drawn, format="png", dpi=110, bbox_inches="tight")
    plt.close(frame)
    # Drawings need few colours; a palette of them makes a page of frames a third as heavy.
    Image.open(drawn).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(packed, "PNG", optimize=True)
    return packed.getvalue()


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
        own = type(self).__name__
        require(isinstance(caption, str), "caption", caption, "text", own)
        whole = "one frame for every index of the grid of labels, and a name for every axis"
        require(bool(items(names, str)) and not isinstance(names, str), "names", names, whole, own)
        axes = items(labels, Sequence) or []  # type: ignore[type-abstract]
        good = len(axes) == len(names) and all(items(axis, str) for axis in axes)
        require(good, "labels", labels, whole, own)
        indices = list(itertools.product(*(range(len(axis)) for axis in axes)))
        require(isinstance(frames, Mapping) and set(indices) == set(frames), "frames", frames, whole, own)
        self.names, self.labels, self.caption = tuple(names), [list(a) for a in labels], caption
        self.pngs = {index: _png(frames[index]) for index in indices}

    def _slider(self, name: str, labels: Sequence[str]) -> str:
        data = f'data-labels="{escape(json.dumps(labels))}"'
        return slider(name, 0, len(labels) - 1, 0, labels[0], _ON_INPUT, data)

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
        return figure(f"{sliders}<div>{''.join(images)}</div>", self.caption)


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
        own = type(self).__name__
        given = items(figures_or_pngs, object)
        require(given is not None, "figures_or_pngs", figures_or_pngs, "a list of frames", own)
        require(isinstance(name, str), "name", name, "text, as in V_G", own)
        require(bool(items(labels, str)), "labels", labels, "a text for each frame", own)
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
    unit : str or sequence of str, optional
        Shown after each value; one for all names, or one for each.
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
        unit: str | Sequence[str] = "",
        digits: int = 2,
        caption: str = "",
    ) -> None:
        require(callable(function), "function", function, "a function that returns a Figure or a PNG", "Explorer")
        require(bool(items(name, str)), "name", name, "a text, or one for each number", "Explorer")
        require(
            isinstance(unit, str) or bool(items(unit, str)), "unit", unit, "a text, or one for each name", "Explorer"
        )
        require(is_count(digits, 0, 17), "digits", digits, "a whole number up to 17", "Explorer")
        single = isinstance(name, str)
        names = [name] if isinstance(name, str) else list(name)
        self.function, self.digits = function, digits
        self.units = [unit] * len(names) if isinstance(unit, str) else list(unit)
        grid_of = [reals(axis, 1) for axis in ([values] if single else items(values, object) or [])]
        good = len(grid_of) == len(names) and all(axis is not None for axis in grid_of)
        require(good, "values", values, "finite numbers, or as many lists of them as names", "Explorer")
        self.values = cast("list[Sequence[float]]", [values] if single else list(values))
        require(len(self.units) == len(names), "unit", unit, "one, or one for each name", "Explorer")
        grid = itertools.product(*(range(len(axis)) for axis in self.values))
        frames = {
            index: _png(function(*(axis[i] for axis, i in zip(self.values, index, strict=True)))) for index in grid
        }
        labels = [
            [f"{v:.{digits}f} {unit}".strip() for v in axis] for axis, unit in zip(self.values, self.units, strict=True)
        ]
        super().__init__(frames, labels, names, caption)

    def live(self) -> Any:
        """Widget that calls the function at any value in range; a static page shows the frames."""
        import ipywidgets

        frames = self._repr_html_()

        class Live(ipywidgets.VBox):  # type: ignore[misc]
            def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
                return {**super()._repr_mimebundle_(**kwargs), "text/html": frames}

        seen = dict(zip(itertools.product(*self.values), self.pngs.values(), strict=True))
        controls = [
            ipywidgets.FloatSlider(
                value=axis[0],
                min=min(axis),
                max=max(axis),
                step=(max(axis) - min(axis)) / 100 or 1.0,
                description=f"{name} ({unit})" if unit else name,
                readout_format=f".{self.digits + 1}f",
                continuous_update=False,  # a frame may take seconds: compute when released
                style={"description_width": "initial"},
            )
            for name, axis, unit in zip(self.names, self.values, self.units, strict=True)
        ]
        image = ipywidgets.Image(value=next(iter(self.pngs.values())))
        words = ipywidgets.Label(self.caption)

        def show(_change: object) -> None:
            point = tuple(control.value for control in controls)
            if point not in seen:
                words.value = "computing …"
                seen[point] = _png(self.function(*point))
                words.value = self.caption
            image.value = seen[point]

        for control in controls:
            control.observe(show, names="value")
        return Live([*controls, image, words])
