"""A device validates itself, and its errors name the argument, its value and what to try."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mlnegf.nanosheet.device import Device
from mlnegf.nanosheet.geometry import CROSS_SECTIONS, Region, Section, as_mask
from mlnegf.nanosheet.materials import MATERIALS
from mlnegf.nanosheet.semiclassical import quasi_fermi_level
from mlnegf.units import PER_CUBIC_CENTIMETRE


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("gate_length", -10.0),
        ("gate_length", float("nan")),
        ("gate_length", 0.1),
        ("gate_length", "10"),
        ("width", 0.0),
        ("width", 0.5),
        ("gate_length", True),
        ("gate_length", 1e9),
        ("gate_length", 10**400),
        ("source_length", 0.4),
        ("width", 1e308),
        ("temperature", True),
        ("work_function", True),
        ("mean_free_path", True),
        ("regions", [{}]),
        ("regions", [{"material": "silicon", "w": (0, 1)}]),
        ("spacing", (1e-9, 1e-9, 1e-9)),
        ("spacing", (True, 0.5, 0.5)),
        ("spacing", None),
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


ALONG = ("gate_length", "source_length", "drain_length")


@settings(deadline=None)
@given(spacing=st.sampled_from([0.1, 0.25, 0.3, 0.5, 1.0]), cells=st.lists(st.integers(2, 99), min_size=3, max_size=3))
def test_lengths_of_whole_cells_are_taken_as_they_are(spacing: float, cells: list[int]) -> None:
    lengths = {name: count * spacing for name, count in zip(ALONG, cells, strict=True)}
    device = Device(spacing=(spacing, 1.0, 1.0), width=5.0, thickness=5.0, **lengths)  # type: ignore[arg-type]
    gate, source, drain = cells
    assert device.cells_along == (spacing, (source, gate, drain))
    np.testing.assert_array_equal(device.grid.x, (np.arange(sum(cells)) + 0.5) * spacing)


@settings(deadline=None)
@given(
    gate=st.floats(0.5, 60.0), source=st.floats(0.5, 60.0), drain=st.floats(0.5, 60.0), spacing=st.floats(0.05, 0.25)
)
def test_any_lengths_are_fitted(gate: float, source: float, drain: float, spacing: float) -> None:
    """The gate to rounding, source and drain to half a cell, the cell between half of the largest and the largest."""
    device = Device(
        gate_length=gate, source_length=source, drain_length=drain, oxide_thickness=2.0, spacing=(spacing, 1.0, 1.0),
        width=5.0, thickness=5.0,
    )  # fmt: skip
    grid = device.grid
    begin, end = grid.gate
    assert spacing / 2 - 1e-9 <= grid.dx <= spacing + 1e-9
    assert end - begin == pytest.approx(gate)
    assert begin == pytest.approx(source, abs=grid.dx / 2 + 1e-9)
    assert device.length == pytest.approx(len(grid.x) * grid.dx)
    assert device.length - end == pytest.approx(drain, abs=grid.dx / 2 + 1e-9)
    assert grid.gated.sum() * grid.dx == pytest.approx(gate)
    np.testing.assert_array_equal(grid.gated, (grid.x > begin) & (grid.x < end))


@pytest.mark.parametrize(
    ("lengths", "dx", "cells"),
    [
        ((9.3, 8.0, 8.0), 9.3 / 38, (33, 38, 33)),  # no cell between 0.125 and 0.25 nm divides 9.3 and 8
        ((9.3, 7.75, 7.75), 1.55 / 7, (35, 42, 35)),
        ((10.0, 8.1, 8.0), 0.25, (32, 40, 32)),
    ],
)
def test_what_divides_all_lengths_is_found(
    lengths: tuple[float, float, float], dx: float, cells: tuple[int, int, int]
) -> None:
    found, counts = Device(**dict(zip(ALONG, lengths, strict=True))).cells_along  # type: ignore[arg-type]
    assert found == pytest.approx(dx)
    assert counts == cells


def test_a_region_over_the_gate_covers_it_wherever_the_cells_lie() -> None:
    device = Device(gate_length=9.3, regions=(Region("silicon germanium 30 %", x=(8.0, 17.3)),))
    raised = (device.grid.offset != 0)[:, device.grid.semiconductor].any(axis=1)
    np.testing.assert_array_equal(raised, device.grid.gated)


def test_the_fermi_level_falls_under_the_gate_that_is_on_the_grid() -> None:
    device = Device(gate_length=9.3)
    level = quasi_fermi_level(device, 0.6)
    slices = np.flatnonzero(device.grid.gated)
    np.testing.assert_allclose(level[slices], -0.6 * (np.arange(38) + 0.5) / 38)
    assert set(level[: slices[0]]) == {0.0}
    assert set(level[slices[-1] + 1 :]) == {-0.6}


def test_a_device_of_too_many_cells_is_refused_before_it_is_laid() -> None:
    with pytest.raises(ValueError, match=r"spacing.*9016 × 8 × 5 nm with the oxide would take 2.3e\+07"):
        Device(gate_length=9000.0)


def test_an_ellipse_has_nearly_its_area() -> None:
    grid = Device(width=6.0, thickness=4.0, cross_section="ellipse", spacing=(0.5, 0.125, 0.125)).grid
    assert grid.area[grid.semiconductor].sum() == pytest.approx(np.pi * 6, rel=0.01)


numbers = st.floats(4.0, 9.0).map(lambda value: round(value, 2))
masks = arrays(np.bool_, (3, 4)).filter(lambda mask: as_mask(mask) is not None)
intervals = st.none() | st.tuples(st.floats(-9.0, 0.0), st.floats(1.0, 9.0))
regions = st.builds(Region, st.sampled_from(sorted(MATERIALS)), x=intervals, y=intervals, z=intervals)
devices = st.builds(
    Device,
    gate_length=numbers | st.integers(4, 20),
    width=numbers,
    cross_section=st.sampled_from(sorted(CROSS_SECTIONS)) | masks,
    spacing=st.sampled_from([(0.5, 0.5, 0.5), (0.25, 0.5, 0.4)]),
    work_function=st.none() | st.floats(2.0, 7.0),
    polarity=st.sampled_from("np"),
    orientation=st.sampled_from([((1, 0, 0), (0, 0, 1)), ((1, 1, 0), (0, 0, 1)), ((1, 1, 1), (1, 1, -2))]),
    penetration=st.booleans(),
    regions=st.lists(regions.filter(lambda region: "arsenide" not in region.material), max_size=3),
    mean_free_path=st.none() | numbers,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(device=devices)
def test_every_device_survives_a_file(device: Device) -> None:
    found = Device.from_dict(json.loads(json.dumps(device.to_dict())))
    assert found == device
    assert hash(found) == hash(device)
    assert json.dumps(found.to_dict()) == json.dumps(device.to_dict())


def test_unknown_parameters_are_named() -> None:
    with pytest.raises(ValueError, match=r"Device: gate_lenght = \[10.0\], expected only .*'gate_length'"):
        Device.from_dict({"gate_lenght": 10.0})


def test_what_a_dictionary_leaves_out_is_the_default() -> None:
    assert Device.from_dict({"width": 5}) == Device(width=5.0)


def test_numbers_of_numpy_are_numbers() -> None:
    device = Device(
        gate_length=np.float32(10.0),  # type: ignore[arg-type]
        width=np.array(5.0),  # type: ignore[arg-type]
        temperature=np.int64(77),  # type: ignore[arg-type]
        spacing=np.array([0.25, 0.5, 0.5]),  # type: ignore[arg-type]
        cross_section=np.ones((2, 3), dtype=bool),  # type: ignore[arg-type]
        orientation=np.array([[1, 1, 0], [0, 0, 1]]),  # type: ignore[arg-type]
        penetration=np.bool_(True),  # type: ignore[arg-type]
        regions=(Region("hafnium dioxide", x=np.array([0, 4])),),  # type: ignore[arg-type]
    )
    plain = Device(
        width=5.0,
        temperature=77.0,
        spacing=(0.25, 0.5, 0.5),
        cross_section=((True,) * 3,) * 2,
        orientation=((1, 1, 0), (0, 0, 1)),
        penetration=True,
        regions=(Region("hafnium dioxide", x=(0.0, 4.0)),),
    )
    assert device == plain
    assert json.dumps(device.to_dict()) == json.dumps(plain.to_dict())


def test_an_outline_lost_between_cells_is_refused() -> None:
    ring = np.zeros((40, 40), dtype=bool)
    ring[[0, -1]] = ring[:, [0, -1]] = True
    device = Device(width=3.0, thickness=2.0, cross_section=ring, spacing=(0.5, 0.5, 0.5))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"cross_section.*holds no cell centre on some side"):
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


def test_a_section_is_one_class(monkeypatch: pytest.MonkeyPatch) -> None:
    class Diamond(Section):
        """A square on its tip."""

        @staticmethod
        def contains(y: np.ndarray, z: np.ndarray) -> np.ndarray:
            return abs(y) + abs(z) <= 1.0 + 1e-9

    monkeypatch.setitem(Section.variants, "diamond", Diamond)
    grid = Device(width=6.0, thickness=6.0, cross_section="diamond", spacing=(0.5, 6 / 49, 6 / 49)).grid
    assert grid.area[grid.semiconductor].sum() == pytest.approx(18.0, rel=0.03)


def test_profiles_replace_doping_and_permittivity() -> None:
    device = Device(spacing=(0.5, 0.5, 0.5))
    donors, permittivity = device.grid.donors / PER_CUBIC_CENTIMETRE, device.grid.permittivity
    same = replace(device, doping_profile=donors, permittivity_profile=permittivity)
    for name in ("donors", "permittivity"):
        assert np.allclose(getattr(same.grid, name), getattr(device.grid, name), rtol=1e-15)
    assert same.grid.mirrored == (True, True)
    assert same != device
    assert same == replace(device, doping_profile=donors.tolist(), permittivity_profile=permittivity)
    assert hash(same) == hash(replace(same))
    assert Device.from_dict(json.loads(json.dumps(same.to_dict()))) == same
    assert "doping_profile" not in device.to_dict()
    assert len(repr(same)) < 1000
    donors[3, 4, 5] += 1e19
    assert replace(device, doping_profile=donors).grid.mirrored == (False, False)


@pytest.mark.parametrize("name", ["doping_profile", "permittivity_profile"])
@pytest.mark.parametrize("value", [np.ones((2, 3, 4)), np.ones(5), "none", np.full((52, 20, 10), np.nan), 1e20])
def test_profiles_of_other_shapes_or_no_numbers_are_refused(name: str, value: object) -> None:
    device = Device(spacing=(0.5, 0.5, 0.5))
    with pytest.raises(ValueError, match=name):
        _ = replace(device, **{name: value}).grid
