"""The network starts as the identity, the square keeps the charge, and files keep the network."""

import json
import math
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.torch import save_file

from mlnegf.autoencoder import (
    CONDITIONS,
    NETWORKS,
    Network,
    SliceAutoencoder,
    cell_average,
    conditions,
    decode,
    describe,
    doubt,
    doubts,
    encode,
    interpolation,
    load,
    predict,
    save,
    seen,
)
from mlnegf.device import Device
from mlnegf.rescale import rescale

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Case:
    """Slices of a device at a bias, without the physics."""

    device: Device
    gate: float
    drain: float
    x: Floats
    mask: NDArray[np.bool_]
    first_potential: Floats
    first_charge: Floats


def make_case(ny: int = 24, nz: int = 12, nx: int = 10, seed: int = 0, ellipse: bool = False) -> Case:
    rng = np.random.default_rng(seed)
    y, z = ((np.arange(cells) + 0.5) / cells * 2 - 1 for cells in (ny, nz))
    inside = y[:, None] ** 2 + z**2 <= 1.0 if ellipse else np.ones((ny, nz), bool)
    x = (np.arange(nx) + 0.5) * 2.0
    third = 2.0 * nx / 4
    profile = 10.0 ** rng.uniform(-11.5, -1, nx)[:, None, None]
    shape = (1 + 0.5 * np.cos(np.pi * y[:, None] / 2) * np.cos(np.pi * z / 2)) * profile
    return Case(
        device=Device(
            gate_length=2 * third,
            source_length=third,
            drain_length=third,
            width=ny * 0.25,
            thickness=nz * 0.25,
            spacing=(0.5, 0.25, 0.25),
        ),
        gate=0.4,
        drain=0.6,
        x=np.asarray(x, dtype=np.float64),
        mask=inside,
        first_potential=rng.normal(0.5, 0.2, (nx, ny, nz)),
        first_charge=np.where(inside, shape, 0.0),
    )


def shaken(seed: int = 0, **config: int) -> SliceAutoencoder:
    """A network whose last layer is no longer zero."""
    torch.manual_seed(seed)
    model = SliceAutoencoder(**config)
    torch.nn.init.normal_(model.leave.weight, std=0.05)
    return model


@pytest.mark.parametrize("name", sorted(NETWORKS))
@pytest.mark.parametrize(("ny", "nz", "ellipse"), [(12, 12, False), (48, 12, False), (22, 17, True)])
def test_untrained_network_says_the_first_iteration(name: str, ny: int, nz: int, ellipse: bool) -> None:
    case = make_case(ny, nz, ellipse=ellipse)
    charge, potential = predict(NETWORKS[name](), case)
    assert charge.dtype == potential.dtype == np.float64
    np.testing.assert_allclose(charge, case.first_charge, rtol=1e-9, atol=5e-12)
    assert np.array_equal(potential, case.first_potential)


def test_empty_barrier_stays_under_the_floor() -> None:
    case = make_case()
    empty = replace(case, first_charge=np.full_like(case.first_charge, 1e-15))
    charge, _ = predict(SliceAutoencoder(), empty)
    assert charge.max() <= 1.01e-12


@given(st.integers(4, 50), st.integers(4, 50), st.integers(0, 99), st.booleans())
@settings(max_examples=25, deadline=None)
def test_line_charge_of_the_square_is_kept(ny: int, nz: int, seed: int, ellipse: bool) -> None:
    case = make_case(ny, nz, 5, seed, ellipse)
    squares = encode(case, 24)
    area = case.device.width * case.device.thickness
    native = case.first_charge.mean(axis=(1, 2)) * area
    np.testing.assert_allclose(squares.charge.mean(dim=(1, 2)).numpy() * area, native, rtol=1e-12)
    log_ratio = torch.from_numpy(np.random.default_rng(seed).normal(size=(5, 24, 24)))
    charge, _ = decode(case, squares, log_ratio, torch.zeros_like(log_ratio))
    predicted = squares.predicted_charge(log_ratio).mean(dim=(1, 2)).numpy()
    np.testing.assert_allclose(charge.mean(axis=(1, 2)), predicted, rtol=1e-12)
    assert not charge[:, ~case.mask].any()


@pytest.mark.parametrize(("ny", "nz"), [(12, 12), (24, 12), (36, 12), (48, 12), (48, 17)])
def test_smooth_corrections_round_trip_better_than_conservatively(ny: int, nz: int) -> None:
    case = make_case(ny, nz, 4)
    y, z = ((np.arange(cells) + 0.5) / cells for cells in (ny, nz))
    exact = np.cos(1.5 * np.pi * y[:, None]) * np.cos(np.pi * z + 0.3)
    square = torch.from_numpy(cell_average(np.broadcast_to(exact, (4, ny, nz)), case.mask, 24))
    squares = encode(case, 24)
    _, potential = decode(case, squares, torch.zeros_like(square), square)
    smooth = np.abs(potential - case.first_potential - exact).max()
    conservative = np.abs(rescale(square.numpy()[0], (ny, nz)) * 576 / (ny * nz) - exact).max()
    assert smooth < 0.02
    # Where the square refines the section evenly, the conservative way back is exact.
    assert smooth < 0.5 * conservative or conservative < 1e-12


def test_corrections_beside_padding_ignore_padding() -> None:
    case = make_case(24, 24, 3, ellipse=True)
    squares = encode(case, 24)
    correction = torch.where(squares.fraction > 0, 0.05, 1e6).expand(3, 24, 24)
    _, potential = decode(case, squares, torch.zeros(3, 24, 24), correction)
    change = (potential - case.first_potential)[:, case.mask]
    np.testing.assert_allclose(change, 0.05, rtol=1e-6)


def test_interpolation_is_exact_for_lines() -> None:
    for source, target in ((24, 12), (24, 48), (24, 17), (5, 9)):
        centres, points = ((np.arange(n) + 0.5) / n for n in (source, target))
        line = interpolation(source, target, True) @ (3 * centres - 1)
        np.testing.assert_allclose(line, 3 * points - 1, atol=1e-13)
        clamped = interpolation(source, target, False)
        assert clamped.min() >= 0
        assert np.allclose(clamped.sum(axis=1), 1.0)


def test_conditions_and_neighbours() -> None:
    case = make_case()
    values = dict(zip(CONDITIONS, conditions(case).T, strict=True))
    assert values["gate"][0] == 0.4
    assert values["width"][0] == 6.0
    assert values["log10_doping"][0] == 20
    np.testing.assert_allclose(values["from_source_edge"], case.x - 5.0)
    np.testing.assert_allclose(values["from_drain_edge"], case.x - 15.0)
    np.testing.assert_allclose(values["from_centre"], case.x - 10.0)
    features = encode(case, 24).features(reach=4.0)
    assert features.shape == (10, 8, 24, 24)
    assert features.dtype == torch.float32
    assert torch.equal(features[2:, 3:5], features[:-2, 1:3])
    assert torch.equal(features[:-2, 5:7], features[2:, 1:3])
    assert torch.equal(features[-1, 5:7], features[-1, 1:3])


def test_size_of_the_network() -> None:
    assert 1e5 < sum(weight.numel() for weight in SliceAutoencoder().parameters()) < 3e5
    with pytest.raises(ValueError, match=r"size = 10.*multiple of 4"):
        SliceAutoencoder(size=10)


def test_plain_network_is_blind_to_the_rest() -> None:
    torch.manual_seed(0)
    plain = NETWORKS["plain_autoencoder"]()
    torch.nn.init.normal_(plain.leave.weight)  # type: ignore[union-attr, arg-type]
    case = make_case()
    one = encode(case, 24)
    other = encode(replace(case, gate=0.8), 24)
    assert torch.equal(plain(one)[0], plain(other)[0])
    aware = shaken()
    assert not torch.equal(aware(one)[0], aware(other)[0])


def test_file_keeps_the_network(tmp_path: Path) -> None:
    model, case, path = shaken(channels=8, reach=2), make_case(), tmp_path / "weights.safetensors"
    save(path, model, describe([case], start="semiclassical", data="one case"))
    found, metadata = load(path)
    assert metadata["start"] == "semiclassical"
    assert metadata["data"] == "one case"
    assert found.config == model.config
    assert found.name == "slice_autoencoder"
    for mine, theirs in zip(predict(model, case), predict(found, case), strict=True):
        assert np.array_equal(mine, theirs)
    assert os.listdir(tmp_path) == ["weights.safetensors"]


def test_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "weights.safetensors"
    save(path, shaken(), {})
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("mlnegf.autoencoder.os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        save(path, shaken(1), {})
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "text"])
def test_damaged_file_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "weights.safetensors"
    save(path, shaken(), {})
    whole = path.read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    contents = {
        "truncated": whole[:-100],
        "flipped": flipped,
        "empty": b"",
        "text": b"not tensors" * 9,
    }
    path.write_bytes(contents[damage])
    with pytest.raises(ValueError, match=r"weights.safetensors: .*(train again|copy the file again)"):
        load(path)


def test_other_versions_and_networks_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "weights.safetensors"
    with monkeypatch.context() as patch:
        patch.setattr("mlnegf.autoencoder.FORMAT_VERSION", "0")
        save(path, shaken(), {})
    with pytest.raises(ValueError, match=r"format 'mlnegf network 0', expected 'mlnegf network 2'.*version"):
        load(path)
    save_file({"weight": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="format None, expected"):
        load(path)

    class Fleeting(SliceAutoencoder, name="fleeting"):
        pass

    save(path, Fleeting(), {})
    del NETWORKS["fleeting"]
    with pytest.raises(ValueError, match=r"network 'fleeting', expected one of \["):
        load(path)
    model = shaken()
    model.config = {**model.config, "channels": 8}
    save(path, model, {})
    with pytest.raises(ValueError, match="weights do not fit"):
        load(path)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "absent")


def test_doubts_name_what_was_not_trained() -> None:
    case = make_case()
    card = describe([case, replace(case, gate=0.6)], "semiclassical", "two cases")
    assert json.loads(card["ranges"])["gate"] == [0.4, 0.6]
    assert doubts(card, case) == []
    assert doubts(card, replace(case, gate=0.5)) == []
    (words,) = doubts(card, replace(case, gate=0.7))
    assert words == "gate = 0.7 to 0.7 is outside the trained 0.4 to 0.6"
    assert any("filling" in words for words in doubts(card, make_case(ellipse=True)))


def test_doubt_is_the_largest_relative_excess(tmp_path: Path) -> None:
    case, model = make_case(), SliceAutoencoder()
    assert doubt(model, case) == math.inf, "an untrained network knows nothing"
    model.ranges = seen([case, replace(case, gate=0.6)])
    assert doubt(model, case) == doubt(model, replace(case, gate=0.5)) == 0.0
    assert doubt(model, replace(case, gate=0.7)) == pytest.approx(0.5)
    assert doubt(model, replace(case, gate=0.3, drain=0.7)) == pytest.approx(0.5)
    # The drain never varied: its excess counts in units of 0.4 V.
    assert doubt(model, replace(case, drain=1.0)) == pytest.approx(1.0)
    save(tmp_path / "weights", model, {})
    found, metadata = load(tmp_path / "weights")
    assert found.ranges == model.ranges
    assert doubts(metadata, case) == []


def test_a_case_is_fast() -> None:
    model, squares = SliceAutoencoder(), encode(make_case(24, 12, 104), 24, torch.float32)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    seconds = []
    for _ in range(4):
        start = time.process_time()
        sum(output.sum() for output in model(squares)).backward()
        seconds.append(time.process_time() - start)
    torch.set_num_threads(before)
    assert min(seconds) < 0.3, "0.06 s where it was measured; room for a slower machine"


def test_a_new_network_is_one_class() -> None:
    class Lift(Network, name="lift"):
        """Raises the potential everywhere by a tenth of a volt."""

        def __init__(self) -> None:
            super().__init__()
            self.config, self.size, self.reach = {}, 24, 1.0

        def correct(self, features: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
            return torch.stack([torch.zeros_like(features[:, 0]), torch.ones_like(features[:, 0])], 1)

    try:
        case = make_case()
        _, potential = predict(NETWORKS["lift"](), case)
        np.testing.assert_allclose(potential - case.first_potential, 0.1, rtol=1e-6)
    finally:
        del NETWORKS["lift"]
