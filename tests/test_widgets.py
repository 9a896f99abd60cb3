import html
import json
import math
import re

import pytest
from matplotlib.figure import Figure

from mlnegf.widgets import Explorer, FrameGrid, FrameSlider, Table, Turntable, facts
from mlnegf.widgets.turntable import Box

PNG = [bytes([0x89, *b"PNG", i]) for i in range(6)]


def line(*slopes: float) -> Figure:
    figure = Figure(figsize=(1, 1))
    for slope in slopes:
        figure.subplots().plot([0, 1], [0, slope])
    return figure


def images(page: str) -> list[str]:
    return re.findall(r"<img [^>]*>", page)


def test_slider_shows_the_first_frame_and_holds_all():
    page = FrameSlider(PNG[:3], ["0.00 V", "0.20 V", "0.40 V"], "V_G", "Barrier")._repr_html_()
    assert ["display:none" in image for image in images(page)] == [False, True, True]
    assert len({re.search(r'src="([^"]*)"', image)[1] for image in images(page)}) == 3
    assert 'alt="Barrier (V_G = 0.40 V)"' in page
    assert "V<sub>G</sub> =" in page
    assert 'type="range" min="0" max="2"' in page
    stored = re.search(r'data-labels="([^"]*)"', page)[1]
    assert json.loads(html.unescape(stored)) == ["0.00 V", "0.20 V", "0.40 V"]


def test_page_is_self_contained():
    page = FrameSlider(PNG[:2], ["a", "b"], "x")._repr_html_()
    assert "http" not in page
    assert "<script" not in page
    assert " id=" not in page  # copies on one page cannot clash


def test_text_is_escaped():
    page = FrameSlider(PNG[:2], ['<"a">', "b"], "<x>", "<caption & more>")._repr_html_()
    assert "<x>" not in page
    assert "<caption" not in page
    assert '<"a">' not in page


def test_grid_orders_frames_as_the_script_counts_them():
    indices = [(i, j) for i in range(2) for j in range(3)]
    frames = dict(zip(reversed(indices), reversed(PNG), strict=True))
    grid = FrameGrid(frames, [["0", "1"], ["0", "1", "2"]], ["V_G", "V_D"])
    assert list(grid.pngs.values()) == PNG
    assert grid._repr_html_().count('type="range"') == 2


@pytest.mark.parametrize(
    ("frames", "labels", "names"),
    [
        ({}, [[]], ["x"]),
        ({(0,): PNG[0]}, [["a", "b"]], ["x"]),
        ({(0,): PNG[0], (1,): PNG[1]}, [["a"]], ["x"]),
        ({(0,): PNG[0]}, [["a"]], []),
    ],
)
def test_incomplete_grid_is_refused(frames, labels, names):
    with pytest.raises(ValueError, match="one frame"):
        FrameGrid(frames, labels, names)


def test_explorer_computes_each_frame_once():
    calls = []

    def plot(gate):
        calls.append(gate)
        return line(gate)

    explorer = Explorer(plot, "V_G", [0.0, 0.4], unit="V")
    page = explorer._repr_html_() + explorer._repr_html_()
    assert calls == [0.0, 0.4]
    assert "V_G = 0.40 V" in page
    assert all(png.startswith(b"\x89PNG") for png in explorer.pngs.values())
    assert len(set(explorer.pngs.values())) == 2


def test_explorer_of_two_parameters():
    explorer = Explorer(lambda *v: line(*v), ("V_G", "V_D"), [[0.0, 0.4], [0.1, 0.6, 0.7]], unit="V")
    assert set(explorer.pngs) == {(i, j) for i in range(2) for j in range(3)}
    assert "(V_G = 0.40 V, V_D = 0.70 V)" in explorer._repr_html_()


def test_explorer_of_parameters_in_units_of_their_own():
    page = Explorer(lambda *v: line(*v), ("V_G", "W"), [[0.0, 0.4], [3.0]], unit=("V", "nm"), digits=1)._repr_html_()
    assert "(V_G = 0.4 V, W = 3.0 nm)" in page


def test_live_view_calls_the_function_at_the_value_set():
    calls = []
    explorer = Explorer(lambda v: calls.append(v) or line(v), "V_G", [0.0, 0.4], unit="V")
    slider, image, words = explorer.live().children
    assert slider.description == "V_G (V)"
    assert words.value == explorer.caption
    assert (slider.min, slider.max) == (0.0, 0.4)
    assert calls == [0.0, 0.4]  # the first picture is not computed again
    assert bytes(image.value) == explorer.pngs[0,]
    slider.value = 0.12
    assert calls[2:] == [0.12]
    assert bytes(image.value) not in explorer.pngs.values()


def test_live_view_falls_back_to_the_frames():
    explorer = Explorer(line, "V_G", [0.0, 0.4], unit="V")
    bundle = explorer.live()._repr_mimebundle_()
    assert bundle["text/html"] == explorer._repr_html_()
    assert "application/vnd.jupyter.widget-view+json" in bundle


ROWS = [{"rule": "sides", "solves": 4, "μA": 12.3456}, {"rule": "<empty>", "solves": 12, "μA": -math.inf}]


def test_table_is_aligned_text():
    assert repr(Table(ROWS, "rules")).split("\n") == [
        "rules",
        "rule     solves    μA",
        "sides         4  12.3",
        "<empty>      12    −∞",
    ]


def test_table_is_a_page_of_its_own():
    page = Table(ROWS, "a & b")._repr_html_()
    assert re.findall(r"<th [^>]*>([^<]*)</th>", page) == ["rule", "solves", "μA"]
    assert re.findall(r"<td [^>]*>([^<]*)</td>", page) == ["sides", "4", "12.3", "&lt;empty&gt;", "12", "−∞"]
    assert "<caption>a &amp; b</caption>" in page
    assert page.count("text-align:right") == 6


@pytest.mark.parametrize("rows", [[], [{"a": 1}, {"b": 1}], [{"a": 1}, {"a": 1, "b": 2}]])
def test_table_of_unlike_rows_is_refused(rows):
    with pytest.raises(ValueError, match="expected one row or more, the same columns"):
        Table(rows)


def test_texts_that_begin_with_a_number_are_aligned_as_numbers():
    page = Table([{"device": "3×6 nm", "solves": "2 (4)"}, {"device": "L", "solves": "∞"}])._repr_html_()
    assert re.findall(r'<td style="text-align:(\w+)">', page) == ["left", "right"] * 2


def test_facts_have_no_head():
    found = facts({"solves": 2, "error (mV)": 0.12345}, "one start")
    assert repr(found).split("\n") == ["one start", "solves          2", "error (mV)  0.123"]
    assert "<thead>" not in found._repr_html_()


def test_turntable_stands_slices_along_the_axis_and_needs_nothing():
    boxes = [Box(3.0, 7.0, 5.0, 8.0, "#333333", "<gate>")]
    slices = [(1.0, PNG[0]), (9.0, PNG[1])]
    page = Turntable(slices, (10.0, 3.0, 6.0), boxes, caption="a <body>", pixels=10.0)._repr_html_()
    assert page.count('title="&lt;gate&gt;"') == 4
    assert re.findall(r"translateX\(calc\(var\(--nm\)\*(-?[\d.]+)\)\) rotateY\(90deg\)", page) == ["-4.000", "4.000"]
    assert page.count('type="range"') == 2
    assert 'data-view="35,20"' in page
    assert "http" not in page
    assert " id=" not in page
    assert "<body>" not in page


def test_turntable_of_nothing_is_refused():
    with pytest.raises(ValueError, match="one picture or more"):
        Turntable([], (10.0, 3.0, 6.0))
