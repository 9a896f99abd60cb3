"""Every figure is drawn, with named axes, in one style."""

import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Final

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
import xarray
from made_up import TRIAL
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from PIL import Image

from mlnegf import Device, Solution, plots, sweep
from mlnegf.atomistic.wires import Wire
from mlnegf.learning.training import History, Trained
from mlnegf.plots.atoms import draw_wire
from mlnegf.plots.style import styled
from mlnegf.scf.spectrum import Spectrum, spectrum
from mlnegf.warmstart.samples import Sample

RUNS = [
    replace(TRIAL, gate=gate, guess=guess, scheme=scheme, charge_evaluations=solves, outcome=outcome)
    for scheme in ("newton", "gummel")
    for guess, solves in (("semiclassical", 5), ("learned", 2))
    for gate, outcome in ((0.1, "right"), (0.3, "right"), (0.5, "failed"))
]


@dataclass(frozen=True, eq=False)
class Given:
    """What there is to draw."""

    device: Device
    solution: Solution
    spectrum: Spectrum
    table: xarray.Dataset
    sample: Sample
    history: History


DRAWN: Final[dict[str, Callable[[Given], Figure]]] = {
    "section": lambda given: plots.section(given.device),
    "states": lambda given: plots.energy_map(given.spectrum),
    "electrons": lambda given: plots.energy_map(given.spectrum, "electrons", lowest=1),
    "transfer": lambda given: plots.transfer({"": given.table}, thermal_slope=0.06),
    "transfer of two": lambda given: plots.transfer({"thin, ": given.table, "thick, ": given.table}),
    "convergence": lambda given: plots.convergence({"newton": given.solution}),
    "solution": lambda given: plots.solution(given.solution, given.spectrum),
    "slices": lambda given: plots.slices(given.sample, [2.0, 8.0]),
    "slices predicted": lambda given: plots.slices(given.sample, [2.0, 8.0], given.sample.charge * 1.1),
    "iterations": lambda given: plots.iterations(given.sample),
    "over bias": lambda given: plots.over_bias(np.array([[1.0, 9.0]]), [0.1], [0.1, 0.4], "distance (mV)"),
    "learning curve": lambda given: plots.learning_curve({"potential": given.history}),
    "comparison": lambda given: plots.comparison(RUNS),
    "certificates": lambda given: plots.certificates(RUNS),
}
every = pytest.mark.parametrize("name", DRAWN)


@pytest.fixture(scope="module")
def given(device: Device, solution: Solution, training: list[Sample], trained: Trained) -> Given:
    resolved = spectrum(solution, np.linspace(-0.45, 0.35, 60) + 1.7e-5)
    table = sweep(device, [0.1, 0.3], [0.1, 0.4])
    return Given(device, solution, resolved, table, training[0], trained.history)


@pytest.fixture
def draw(given: Given) -> Iterator[Callable[[str], Figure]]:
    yield lambda name: DRAWN[name](given)
    plt.close("all")


Draw = Callable[[str], Figure]


def panels(figure: Figure) -> list[Axes]:
    """Return the axes that are no colour bars."""
    return [axis for axis in figure.axes if axis.get_label() != "<colorbar>"]


@every
def test_every_panel_has_content(draw: Draw, name: str) -> None:
    assert all(axis.has_data() for axis in panels(draw(name)))


@every
def test_every_axis_is_named_with_its_unit(draw: Draw, name: str) -> None:
    for axis in panels(draw(name)):
        below, left = axis.get_shared_x_axes().get_siblings(axis), axis.get_shared_y_axes().get_siblings(axis)
        for labels in ({one.get_xlabel() for one in below}, {one.get_ylabel() for one in left}):
            assert any(
                re.search(r"\(.+\)$", words) or words in ("epoch", "NEGF solve", "NEGF solves") for words in labels
            )


@every
def test_every_figure_renders_without_a_warning(draw: Draw, name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw(name).savefig(BytesIO(), format="png")


@every
def test_every_figure_has_the_style(draw: Draw, name: str) -> None:
    figure = draw(name)
    assert not any(axis.spines["top"].get_visible() for axis in panels(figure))
    assert not any(legend.get_frame_on() for axis in figure.axes if (legend := axis.get_legend()))
    assert all(axis.get_title() == "" for axis in panels(figure)), "titles stand on the left"


@every
def test_the_style_of_others_is_left_alone(draw: Draw, name: str) -> None:
    before = dict(plt.rcParams)
    draw(name)
    assert dict(plt.rcParams) == before


def test_lines_differ_without_colour(draw: Draw) -> None:
    (left, right) = panels(draw("comparison"))
    assert len({line.get_linestyle() for line in left.get_lines()}) == 2
    assert left.get_lines()[0].get_linestyle() == right.get_lines()[0].get_linestyle()


def test_convergence_shows_every_solve(draw: Draw, solution: Solution) -> None:
    residual = panels(draw("convergence"))[0].get_lines()[0]
    np.testing.assert_array_equal(residual.get_xdata(), np.arange(1, solution.negf_solves + 1))


def test_transfer_is_logarithmic_and_linear(draw: Draw, given: Given) -> None:
    left, right = panels(draw("transfer"))
    assert (left.get_yscale(), right.get_yscale()) == ("log", "linear")
    currents = given.table["current"].sel(drain=0.1) * 1e6
    np.testing.assert_allclose(right.get_lines()[0].get_ydata(), currents)


def test_a_thermal_slope_is_volts_a_decade(draw: Draw) -> None:
    guide = panels(draw("transfer"))[0].get_lines()[-1]
    volts, current = np.asarray(guide.get_xdata()), np.asarray(guide.get_ydata())
    assert np.diff(volts)[0] / np.diff(np.log10(current))[0] == pytest.approx(0.06)


def test_the_current_by_energy_is_drawn(draw: Draw, given: Given) -> None:
    _, right = panels(draw("states"))
    np.testing.assert_allclose(right.get_lines()[0].get_xdata(), given.spectrum.current * 1e6)


def test_the_charge_of_a_solution_is_all_there(draw: Draw, solution: Solution) -> None:
    """Mean over y times depth, over the whole plane, is the number of electrons."""
    grid = solution.device.grid
    charge = panels(draw("solution"))[4]
    (image,) = (mesh for mesh in charge.collections if isinstance(mesh, QuadMesh))
    mean = np.ma.filled(image.get_array(), 0.0).reshape(len(grid.z), len(grid.x))
    depth = (grid.semiconductor * grid.dy[:, None]).sum(axis=0)
    drawn = (mean * (depth * grid.dz)[:, None]).sum()
    assert drawn == pytest.approx((solution.charge * grid.area).sum(), rel=1e-3)


def test_a_solution_says_its_bias_and_current(draw: Draw, solution: Solution) -> None:
    assert draw("solution").get_suptitle() == f"gate 0.4 V, drain 0.3 V: {solution.current * 1e6:.4g} μA"


def test_a_bias_that_did_not_converge_is_no_part_of_the_curve(given: Given) -> None:
    table = given.table.copy(deep=True)
    table["converged"][1, 0] = False
    _, right = panels(plots.transfer({"": table}))
    curve, crosses, *_ = right.get_lines()
    np.testing.assert_array_equal(np.isfinite(curve.get_ydata()), [True, False])  # type: ignore[arg-type]
    np.testing.assert_array_equal(np.isfinite(crosses.get_ydata()), [False, True])  # type: ignore[arg-type]
    plt.close("all")


def test_currents_of_holes_are_drawn_as_magnitudes(given: Given) -> None:
    holes = given.table.assign(current=-given.table["current"])
    left, _ = panels(plots.transfer({"": holes}))
    np.testing.assert_allclose(left.get_lines()[0].get_ydata(), given.table["current"].isel(drain=0) * 1e6)
    plt.close("all")


@pytest.mark.parametrize(("name", "rows"), [("slices", 3), ("slices predicted", 4)])
def test_slices_stand_at_the_positions_asked(draw: Draw, name: str, rows: int) -> None:
    axes = panels(draw(name))
    assert len(axes) == 2 * rows
    assert [axis.get_title("left") for axis in axes[:2]] == ["x = 1.8 nm", "x = 7.8 nm"]


def test_runs_that_failed_are_never_solved(draw: Draw) -> None:
    for axis in panels(draw("comparison")):
        for line in axis.get_lines():
            assert np.asarray(line.get_ydata())[-1] == pytest.approx(200 / 3)


def test_the_share_rises_at_the_solves_it_took(draw: Draw) -> None:
    cold, learned = (np.asarray(line.get_ydata()) for line in panels(draw("comparison"))[0].get_lines())
    assert cold[:4].max() == learned[:1].max() == 0.0
    assert cold[4] == learned[1] == pytest.approx(200 / 3)


def test_a_comparison_can_be_of_one_split() -> None:
    other = [replace(TRIAL, split="unseen_device", scheme="anderson")]
    figure = plots.comparison(RUNS + other, "unseen_bias")
    assert [axis.get_title("left") for axis in panels(figure)] == ["newton", "gummel"]
    plt.close(figure)


def test_only_certified_runs_have_a_certificate(draw: Draw) -> None:
    newton, gummel, _ = panels(draw("certificates"))[0].get_lines()
    assert len(newton.get_xdata()) == len(gummel.get_xdata()) == 4


def test_a_figure_is_saved_as_png(draw: Draw, tmp_path: Path) -> None:
    plots.save(draw("section"), str(tmp_path / "section.png"))
    with Image.open(tmp_path / "section.png") as image:
        assert image.format == "PNG"
        assert image.width > 500


def test_the_style_undoes_itself_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """A notebook's backend turns on interactive mode when the first figure loads it, and needs it from then on."""
    monkeypatch.setitem(plt.rcParams, "interactive", False)
    size = plt.rcParams["font.size"] + 1
    monkeypatch.setitem(plt.rcParams, "font.size", size)
    with styled():
        plt.rcParams["interactive"] = True
        assert plt.rcParams["font.size"] == plots.STYLE["font.size"]
    assert plt.rcParams["interactive"]
    assert plt.rcParams["font.size"] == size


def test_iterations_show_all_electrons(draw: Draw, given: Given) -> None:
    """Under the curve of electrons per length lies the charge of the device."""
    electrons, _ = panels(draw("iterations"))
    for line, charge in zip(electrons.get_lines(), (given.sample.first_charge, given.sample.charge), strict=True):
        total = np.trapezoid(np.asarray(line.get_ydata()), np.asarray(line.get_xdata()))
        ends = np.asarray(line.get_ydata())[[0, -1]].mean() * 0.5
        assert total + ends == pytest.approx(charge.sum() * 0.5**3, rel=1e-9)


def test_every_number_over_bias_stands_in_its_place(draw: Draw) -> None:
    (axis,) = panels(draw("over bias"))
    assert [(text.get_position(), text.get_text(), text.get_color()) for text in axis.texts] == [
        ((0, 0), "1", "w"),
        ((1, 0), "9", "k"),
    ]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["0.1", "0.4"]


def test_a_notebook_is_set_up_in_one_line() -> None:
    with plt.rc_context():
        plots.set_up()
        assert all(plt.rcParams[name] == value for name, value in plots.STYLE.items())
    assert torch.get_num_threads() == 1


def test_losses_that_are_logarithms_are_drawn_below_zero() -> None:
    falling = np.array([1.0, 0.1, -0.7])
    shown = {
        sign: plots.learning_curve({"one": History(abs(falling) + 0.1 if sign else falling, falling + 2, falling + 2)})
        for sign in (True, False)
    }
    assert [shown[sign].axes[0].get_yscale() for sign in (True, False)] == ["log", "linear"]


def test_a_portrait_shows_five_slices_in_four_decades(given: Given) -> None:
    figure = plots.portrait(given.solution, given.spectrum, "12 μA")
    slices = [axis for axis in panels(figure) if axis.get_title(loc="left").startswith("x = ")]
    assert len(slices) == 5
    assert figure.get_suptitle() == "12 μA"
    for axis in slices:
        low, high = axis.collections[0].get_clim()
        assert high / low == pytest.approx(1e4)
    plt.close(figure)


def test_a_device_in_space_has_oxide_gate_and_its_slices(given: Given) -> None:
    body = plots.in_space(given.solution, slices=6, caption="charge")
    assert len(body.slices) == 6
    assert [box.name for box in body.boxes] == ["oxide", "gate"]
    assert body.boxes[1].begin == pytest.approx(given.device.grid.gate[0])
    image = plt.imread(BytesIO(body.slices[2][1]))
    rows, columns, _ = image.shape
    grid = given.device.grid
    assert rows / columns == pytest.approx(grid.dz.size / grid.dy.size)
    assert (image[..., 3] == 0).any(), "the oxide is clear"
    assert image[rows // 2, columns // 2, 3] > 0.3, "the charge is not"


def test_a_diagram_has_a_box_and_an_arrow_for_each() -> None:
    boxes = {"in": (0, 0, "given", "charge"), "out": (1, 0, "said", "start"), "below": (1, 1, "learned", "weights")}
    figure = plots.diagram(boxes, [("in", "out"), ("below", "out")], (4, 2))
    axis = figure.axes[0]
    assert [text.get_text() for text in axis.texts] == ["charge", "start", "weights"]
    assert len(axis.patches) == 5
    plt.close(figure)


def test_every_atom_of_a_wire_is_drawn() -> None:
    wire = Wire.of_crystal(30.0, 9.0)
    figure, axis = plt.subplots()
    draw_wire(axis, wire)
    (atoms,) = axis.collections
    assert len(atoms.get_offsets()) == len(wire.positions)
    low, high = axis.get_xlim()
    assert low < 0.0
    assert high > wire.length / 10.0
    plt.close(figure)
