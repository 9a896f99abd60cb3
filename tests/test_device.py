"""A device validates itself, and its errors name the argument, its value and what to try."""

from typing import Any

import numpy as np
import pytest

from mlnegf.device import Device
from mlnegf.sections import CROSS_SECTIONS


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("gate_length", -10.0),
        ("gate_length", float("nan")),
        ("gate_length", 0.1),
        ("gate_length", "10"),
        ("width", 0.0),
        ("width", 0.5),
        ("source_length", 8.1),
        ("oxide_thickness", 0.1),
        ("doping", 0),
        ("doping", 1e25),
        ("temperature", -300.0),
        ("temperature", 3.0),
        ("work_function", -100.0),
        ("cross_section", ["rectangle"]),
        ("work_function", float("inf")),
        ("cross_section", "pentagram"),
        ("semiconductor", "cheese"),
        ("semiconductor", "silicon dioxide"),
        ("oxide", "vacuum"),
        ("spacing", (0.25, 0.25)),
        ("spacing", (0.25, -0.25, 0.25)),
    ],
)
def test_bad_arguments_are_named(argument: str, value: Any) -> None:
    with pytest.raises(ValueError, match=argument) as caught:
        Device(**{argument: value})
    assert repr(value) in str(caught.value)
    assert "expected" in str(caught.value)


@pytest.mark.parametrize("shape", sorted(CROSS_SECTIONS))
def test_folding_loses_nothing(shape: str) -> None:
    grid = Device(width=5.0, thickness=4.0, cross_section=shape, spacing=(0.5, 0.25, 0.25)).grid
    rng = np.random.default_rng(0)
    folded = rng.normal(size=(len(grid.x), len(grid.images)))
    assert np.allclose(grid.fold(grid.unfold(folded)), folded)
    full = grid.unfold(folded)
    total = (full * grid.area).sum() * grid.dx
    assert total == pytest.approx((folded * grid.volumes).sum())


def test_cells_fill_the_device() -> None:
    device = Device(width=3.3, thickness=2.9, oxide_thickness=1.1)
    grid = device.grid
    assert grid.dy.sum() == pytest.approx(3.3 + 2.2)
    assert grid.dz.sum() == pytest.approx(2.9 + 2.2)
    assert grid.area[grid.semiconductor].sum() == pytest.approx(3.3 * 2.9)
    assert max(grid.dy.max(), grid.dz.max()) <= 0.25 + 1e-12
    assert len(grid.x) * grid.dx == pytest.approx(device.length)


def test_an_ellipse_has_nearly_its_area() -> None:
    grid = Device(width=6.0, thickness=4.0, cross_section="ellipse", spacing=(0.5, 0.125, 0.125)).grid
    assert grid.area[grid.semiconductor].sum() == pytest.approx(np.pi * 6, rel=0.01)


def test_a_device_is_plain_data() -> None:
    device = Device(width=5.0)
    assert Device(**device.to_dict()) == device
    assert hash(Device(**device.to_dict())) == hash(device)


def test_the_gate_sees_the_work_function_difference() -> None:
    assert Device().gate_potential(0.3) == 0.3
    assert Device(work_function=4.35).gate_potential(0.3) == pytest.approx(0.0)
