"""The square keeps the charge, and smooth corrections survive the round trip."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up import make_case

from mlnegf.nanosheet.device import Device
from mlnegf.warmstart import slices
from mlnegf.warmstart.rescale import rescale
from mlnegf.warmstart.slices import (
    CHARGE_FLOOR,
    CONDITIONS,
    FEATURES,
    TOLD,
    cell_average,
    conditions,
    decode,
    encode,
    interpolation,
    silicon_average,
)

SIZE = 24
sections = given(st.integers(4, 50), st.integers(4, 50), st.integers(0, 99), st.booleans())


@sections
@settings(max_examples=25, deadline=None)
def test_the_square_keeps_the_line_charge(ny: int, nz: int, seed: int, ellipse: bool) -> None:
    case = make_case(ny, nz, 5, seed, ellipse)
    squares = encode(case, SIZE)
    native = case.first_charge.mean(axis=(1, 2))
    np.testing.assert_allclose(squares.charge.mean(dim=(1, 2)).numpy(), native, rtol=1e-12)


@sections
@settings(max_examples=25, deadline=None)
def test_the_way_back_keeps_the_predicted_line_charge(ny: int, nz: int, seed: int, ellipse: bool) -> None:
    case = make_case(ny, nz, 5, seed, ellipse)
    squares = encode(case, SIZE)
    log_ratio = torch.from_numpy(np.random.default_rng(seed).normal(size=(5, SIZE, SIZE)))
    charge, _ = decode(case, squares, log_ratio, torch.zeros_like(log_ratio))
    predicted = squares.predicted_charge(log_ratio).mean(dim=(1, 2)).numpy()
    np.testing.assert_allclose(charge.mean(axis=(1, 2)), predicted, rtol=1e-12)


def test_no_charge_leaves_the_silicon() -> None:
    case = make_case(24, 24, 3, ellipse=True)
    charge, _ = decode(case, encode(case, SIZE), torch.ones(3, SIZE, SIZE), torch.zeros(3, SIZE, SIZE))
    assert not charge[:, ~case.mask].any()
    assert (charge[:, case.mask] > 0).all()


@pytest.mark.parametrize(("ny", "nz"), [(12, 12), (24, 12), (36, 12), (48, 12), (48, 17)])
def test_smooth_corrections_round_trip_better_than_conservatively(ny: int, nz: int) -> None:
    case = make_case(ny, nz, 4)
    y, z = ((np.arange(cells) + 0.5) / cells for cells in (ny, nz))
    exact = np.cos(1.5 * np.pi * y[:, None]) * np.cos(np.pi * z + 0.3)
    square = torch.from_numpy(cell_average(np.broadcast_to(exact, (4, ny, nz)), case.mask, SIZE))
    _, potential = decode(case, encode(case, SIZE), torch.zeros_like(square), square)
    smooth = np.abs(potential - case.first_potential - exact).max()
    conservative = np.abs(rescale(square.numpy()[0], (ny, nz)) * SIZE**2 / (ny * nz) - exact).max()
    assert smooth < 0.02
    # Where the square refines the section evenly, the conservative way back is exact.
    assert smooth < 0.5 * conservative or conservative < 1e-12


def test_corrections_beside_padding_ignore_padding() -> None:
    case = make_case(24, 24, 3, ellipse=True)
    squares = encode(case, SIZE)
    correction = torch.where(squares.fraction > 0, 0.05, 1e6).expand(3, SIZE, SIZE)
    _, potential = decode(case, squares, torch.zeros(3, SIZE, SIZE), correction)
    change = (potential - case.first_potential)[:, case.mask]
    np.testing.assert_allclose(change, 0.05, rtol=1e-6)


def test_a_wild_ratio_stays_finite() -> None:
    case = make_case(24, 12, 3)
    charge, _ = decode(case, encode(case, SIZE), torch.full((3, SIZE, SIZE), 1e6), torch.zeros(3, SIZE, SIZE))
    assert np.isfinite(charge).all()


def test_an_average_over_silicon_ignores_the_oxide() -> None:
    case = make_case(22, 17, 3, ellipse=True)
    field = np.where(case.mask, 0.3, 1e6) * np.ones((3, 1, 1))
    square = silicon_average(np.where(case.mask, field, 0.0), case.mask, SIZE)
    known = encode(case, SIZE).fraction.numpy() > 0
    np.testing.assert_allclose(square[:, known], 0.3, rtol=1e-12)
    assert not square[:, ~known].any()


@pytest.mark.parametrize(("source", "target"), [(24, 12), (24, 48), (24, 17), (5, 9)])
def test_interpolation_is_exact_for_lines(source: int, target: int) -> None:
    centres, points = ((np.arange(cells) + 0.5) / cells for cells in (source, target))
    line = interpolation(source, target, True) @ (3 * centres - 1)
    np.testing.assert_allclose(line, 3 * points - 1, atol=1e-13)


@pytest.mark.parametrize(("source", "target"), [(24, 12), (24, 48), (24, 17), (5, 9), (1, 4)])
def test_interpolation_beside_padding_only_averages(source: int, target: int) -> None:
    matrix = interpolation(source, target, False)
    assert matrix.min() >= 0
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, rtol=1e-14)


def test_conditions_are_in_volts_and_nanometres() -> None:
    case = make_case()
    values = dict(zip(CONDITIONS, conditions(case)[0], strict=True))
    expected = {"gate": 0.4, "drain": 0.6, "width": 6.0, "thickness": 3.0, "gate_length": 10.0, "source_length": 5.0}
    expected |= {"drain_length": 5.0, "oxide_thickness": 1.0, "log10_doping": 20.0, "filling": 1.0}
    assert {name: values[name] for name in expected} == expected


def test_distances_are_signed_towards_the_drain() -> None:
    case = make_case()
    values = dict(zip(CONDITIONS, conditions(case).T, strict=True))
    np.testing.assert_allclose(values["from_source_edge"], case.x - 5.0)
    np.testing.assert_allclose(values["from_drain_edge"], case.x - 15.0)
    np.testing.assert_allclose(values["from_centre"], case.x - 10.0)


def test_features_show_the_neighbours_within_reach() -> None:
    features = encode(make_case(), SIZE).features(reach=4.0)
    assert features.shape == (10, len(FEATURES), SIZE, SIZE)
    assert features.dtype == torch.float32
    own, before, after = features[:, 1:3], features[:, 3:5], features[:, 5:7]
    # The slices of this case stand 2 nm apart.
    assert torch.equal(before[2:], own[:-2])
    assert torch.equal(after[:-2], own[2:])


def test_the_device_goes_on_beyond_its_ends() -> None:
    features = encode(make_case(), SIZE).features(reach=4.0)
    own, before, after = features[:, 1:3], features[:, 3:5], features[:, 5:7]
    assert torch.equal(before[:2], own[:1].expand(2, -1, -1, -1))
    assert torch.equal(after[-2:], own[-1:].expand(2, -1, -1, -1))


def test_an_empty_barrier_is_read_as_the_floor() -> None:
    case = make_case()
    squares = encode(replace(case, first_charge=np.full_like(case.first_charge, 1e-15)), SIZE)
    charge = squares.predicted_charge(torch.zeros(10, SIZE, SIZE))
    np.testing.assert_allclose(charge.numpy(), CHARGE_FLOOR)


def test_conditions_and_features_go_by_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turned round, the lists turn what is made of them round, and nothing else."""
    case = make_case()
    before, seen = conditions(case), encode(case, SIZE).features(4.0)
    monkeypatch.setattr(slices, "CONDITIONS", dict(reversed(CONDITIONS.items())))
    monkeypatch.setattr(slices, "FEATURES", FEATURES[::-1])
    np.testing.assert_array_equal(conditions(case), before[:, ::-1])
    assert torch.equal(encode(case, SIZE).features(4.0), seen.flip(1))


def test_every_field_that_a_network_is_told_is_one_of_a_device() -> None:
    assert {field.name for field in fields(Device)} >= TOLD
