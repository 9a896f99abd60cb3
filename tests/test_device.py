"""A device validates itself, and its errors name the argument, its value and what to try."""

import json
from typing import Any

import numpy as np
import pytest

from mlnegf.nanosheet.device import Device
from mlnegf.nanosheet.geometry import CROSS_SECTIONS, Region


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
        ("cross_section", [[True], [True, False]]),
        ("cross_section", [[True, False], [True, False]]),
        ("orientation", ((1, 0, 0), (0, 0))),
        ("orientation", ((1, 0, 0), (1, 0, 1))),
        ("polarity", "m"),
        ("penetration", "yes"),
        ("mean_free_path", 0.1),
        ("regions", ({"stuff": "silicon"},)),
        ("semiconductor", ["silicon"]),
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


def test_every_parameter_survives_a_file() -> None:
    device = Device(
        gate_length=np.float32(10.0),  # type: ignore[arg-type]
        temperature=np.int64(77),  # type: ignore[arg-type]
        cross_section=np.ones((2, 3), dtype=bool),  # type: ignore[arg-type]
        orientation=((1, 1, 0), (0, 0, 1)),
        regions=(Region("hafnium dioxide", x=(0, 4)),),
        polarity="p",
        mean_free_path=5.0,
    )
    assert Device(**json.loads(json.dumps(device.to_dict()))) == device


def test_an_outline_lost_between_cells_is_refused() -> None:
    ring = np.zeros((40, 40), dtype=bool)
    ring[[0, -1]] = ring[:, [0, -1]] = True
    device = Device(width=3.0, thickness=2.0, cross_section=ring, spacing=(0.5, 0.5, 0.5))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"cross_section.*refine spacing"):
        _ = device.grid


@pytest.mark.parametrize("reach", [0.2, 0.2 + 1e-10])
def test_a_region_whose_face_meets_centres_is_symmetric(reach: float) -> None:
    device = Device(
        width=4.0,
        thickness=3.2,
        oxide_thickness=1.2,
        spacing=(0.5, 0.4, 0.4),
        regions=(Region("silicon germanium 30 %", y=(-reach, reach)),),
    )
    assert device.grid.mirrored == (True, True)


def test_the_gate_sees_the_work_function_difference() -> None:
    assert Device().gate_potential(0.3) == 0.3
    assert Device(work_function=4.35).gate_potential(0.3) == pytest.approx(0.0)
