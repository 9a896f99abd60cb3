"""Slices of a body standing where they belong, seen from any side: two sliders turn it, with their own script."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from mlnegf.widgets.slider import figure, slider

# The view is kept in the figure itself, so that copies on one page turn apart.
_ON_INPUT: Final = (
    "const f=this.closest('figure'),[t,k]=[...f.querySelectorAll('input')].map(i=>+i.value);"
    "f.dataset.view=t+','+k;"
    "f.querySelector('.mlnegf-body').style.transform=`rotateX(${-k}deg) rotateY(${t}deg)`;"
    "this.setAttribute('aria-valuetext',this.value+'°');this.nextElementSibling.textContent=this.value+'°'"
)
_FACES: Final = (  # how each face of a box of (length, height, depth) is turned outwards, and its two sides
    ("rotateY(0deg)", 2, 0, 1),
    ("rotateY(180deg)", 2, 0, 1),
    ("rotateX(90deg)", 1, 0, 2),
    ("rotateX(-90deg)", 1, 0, 2),
)


def _nm(length: float) -> str:
    """Return a CSS length; how long a nanometre is, the body says."""
    return f"calc(var(--nm)*{length:.3f})"


@dataclass(frozen=True)
class Box:
    """An open box around the axis, such as a gate: from `begin` to `end` along, `height` and `depth` across, nm."""

    begin: float
    end: float
    height: float
    depth: float
    colour: str
    name: str


class Turntable:
    """Pictures of slices on their axis, and open boxes about it.

    Parameters
    ----------
    slices : sequence of (float, bytes)
        Place along the axis, nm, and a PNG whose transparent parts are empty.
    size : (float, float, float)
        Length of the body, height and depth of a slice, nm.
    boxes : sequence of Box
    caption : str
    turn, tilt : int
        The view to begin with, degrees.
    pixels : float
        Of one nm, at most: a narrow page shows all of the body.
    """

    def __init__(
        self,
        slices: Sequence[tuple[float, bytes]],
        size: tuple[float, float, float],
        boxes: Sequence[Box] = (),
        caption: str = "",
        turn: int = 35,
        tilt: int = 20,
        pixels: float = 18.0,
    ) -> None:
        if not slices:
            raise ValueError("Turntable: slices = [], expected one picture or more.")
        self.slices, self.size, self.boxes, self.caption = list(slices), size, list(boxes), caption
        self.view, self.pixels = (turn, tilt), pixels

    def _place(self, wide: float, high: float, transform: str, inside: str, style: str = "", name: str = "") -> str:
        """Return an element centred on the axis, then moved; its name shows where the pointer rests."""
        return (
            f'<div title="{escape(name)}" style="position:absolute;left:{_nm(-wide / 2)};top:{_nm(-high / 2)};'
            f'width:{_nm(wide)};height:{_nm(high)};transform:{transform};{style}">{inside}</div>'
        )

    def _slice(self, place: float, png: bytes) -> str:
        length, height, depth = self.size
        picture = (
            f'<img alt="" style="width:100%;height:100%;max-width:none;padding:0;background:none;display:block" '
            f'src="data:image/png;base64,{base64.b64encode(png).decode()}">'
        )
        return self._place(depth, height, f"translateX({_nm(place - length / 2)}) rotateY(90deg)", picture)

    def _box(self, box: Box) -> str:
        middle = (box.begin + box.end) / 2 - self.size[0] / 2
        sides = box.end - box.begin, box.height, box.depth
        look = f"background:{box.colour};opacity:.12;border:1px solid black"
        return "".join(
            self._place(
                sides[across],
                sides[up],
                f"translateX({_nm(middle)}) {turned} translateZ({_nm(sides[apart] / 2)})",
                "",
                look,
                box.name,
            )
            for turned, apart, across, up in _FACES
        )

    def __repr__(self) -> str:
        """Say what there is to see, where there is only text."""
        return f"Turntable of {len(self.slices)} slices: {self.caption}"

    def _repr_html_(self) -> str:
        """Return a plain HTML figure: two sliders and the body that they turn."""
        turn, tilt = self.view
        parts = [self._slice(*one) for one in self.slices] + [self._box(box) for box in self.boxes]
        nm = f"min({self.pixels}px,{75 / self.size[0]:.2f}cqw)"
        body = (
            f'<div class="mlnegf-body" style="--nm:{nm};position:absolute;left:50%;top:50%;'
            f'transform-style:preserve-3d;transform:rotateX({-tilt}deg) rotateY({turn}deg)">{"".join(parts)}</div>'
        )
        scene = (
            f'<div role="img" aria-label="{escape(self.caption)}" style="position:relative;container-type:inline-size;'
            f"height:min({0.6 * self.size[0] * self.pixels:.0f}px,62vw);overflow:hidden;perspective:1400px;"
            f'background:white">{body}</div>'
        )
        sliders = slider("turn", -90, 90, turn, f"{turn}°", _ON_INPUT) + slider(
            "tilt", -20, 80, tilt, f"{tilt}°", _ON_INPUT
        )
        return figure(sliders + scene, self.caption, f'data-view="{turn},{tilt}"')
