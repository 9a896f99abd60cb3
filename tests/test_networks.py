"""A network starts as the identity, sees what it should, and survives its file."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from made_up import make_case, shaken

from mlnegf.learning.networks import NETWORKS, Network, SliceAutoencoder, load, save
from mlnegf.learning.networks.deep_potential import DeepPotential
from mlnegf.learning.networks.separable import SeparableNetwork
from mlnegf.learning.networks.stacked import StackedNetwork
from mlnegf.warmstart.slices import COUNTS, FEATURES, corrections, encode, predict, untrained
from mlnegf.warmstart.trained_range import describe, ranges_of

CARD = describe([make_case()], start="semiclassical", data="one case")


@pytest.fixture
def register() -> Iterator[None]:
    """Forget the networks that a test defines."""
    before = dict(NETWORKS)
    yield
    NETWORKS.clear()
    NETWORKS.update(before)


@pytest.mark.parametrize("name", sorted(NETWORKS))
@pytest.mark.parametrize(("ny", "nz", "ellipse"), [(12, 12, False), (48, 12, False), (22, 17, True)])
def test_an_untrained_network_says_the_first_iteration(name: str, ny: int, nz: int, ellipse: bool) -> None:
    case = make_case(ny, nz, ellipse=ellipse)
    charge, potential = predict(untrained(name), case)
    assert charge.dtype == potential.dtype == np.float64
    np.testing.assert_allclose(charge, case.first_charge, rtol=1e-9, atol=5e-12)
    assert np.array_equal(potential, case.first_potential)


def test_an_empty_barrier_stays_empty() -> None:
    case = make_case()
    charge, _ = predict(
        untrained("slice_autoencoder"), replace(case, first_charge=np.full_like(case.first_charge, 1e-15))
    )
    assert charge.max() <= 1.01e-12


def test_the_network_is_small() -> None:
    assert 1e5 < sum(weight.numel() for weight in untrained("slice_autoencoder").parameters()) < 3e5


def test_a_size_that_cannot_be_halved_twice_is_named() -> None:
    with pytest.raises(ValueError, match=r"size = 10.*multiple of 4"):
        SliceAutoencoder(1, 1, size=10)


@pytest.mark.parametrize(("name", "blind"), [("plain_autoencoder", True), ("slice_autoencoder", False)])
def test_only_the_plain_network_is_blind_to_the_bias(name: str, blind: bool) -> None:
    torch.manual_seed(0)
    model = untrained(name)
    torch.nn.init.normal_(model.leave.weight)  # type: ignore[union-attr, arg-type]
    one, other = (encode(replace(make_case(), gate=gate), 24) for gate in (0.4, 0.8))
    assert torch.equal(corrections(model, one)[0], corrections(model, other)[0]) == blind


def test_a_file_keeps_the_network(tmp_path: Path) -> None:
    model, case = shaken(channels=8, reach=2), make_case()
    save(tmp_path / "weights", model, CARD)
    found, _ = load(tmp_path / "weights")
    assert (found.name, found.config) == (model.name, model.config)
    for mine, theirs in zip(predict(model, case), predict(found, case), strict=True):
        assert np.array_equal(mine, theirs)


def test_a_file_keeps_its_card(tmp_path: Path) -> None:
    save(tmp_path / "weights", shaken(), CARD)
    _, metadata = load(tmp_path / "weights")
    assert {name: metadata[name] for name in CARD} == CARD


def test_the_ranges_of_the_network_go_before_those_of_the_card(tmp_path: Path) -> None:
    model = shaken()
    model.ranges = ranges_of([make_case(), replace(make_case(), gate=0.6)])
    save(tmp_path / "weights", model, CARD)
    found, _ = load(tmp_path / "weights")
    assert found.ranges["gate"] == (0.4, 0.6)


@pytest.mark.parametrize(
    "make",
    [
        lambda number: SliceAutoencoder(8, 4, channels=number, embedding=number),
        lambda number: SeparableNetwork(4, 8, 8, channels=number, embedding=number),
        lambda number: StackedNetwork(8, width=number),
        lambda number: DeepPotential(embedding=number, axis=number, width=number),
    ],
)
def test_a_count_in_a_small_type_is_a_number(make: Callable[[int], torch.nn.Module]) -> None:
    """Twice 64 is -128 in eight bits."""
    small, plain = (make(number).state_dict() for number in (np.int8(64), 64))  # type: ignore[arg-type]
    assert {name: value.shape for name, value in small.items()} == {name: value.shape for name, value in plain.items()}


def test_an_unknown_network_is_named(tmp_path: Path, register: None) -> None:
    class Fleeting(SliceAutoencoder, name="fleeting"):
        pass

    save(tmp_path / "weights", Fleeting(**COUNTS), CARD)
    del NETWORKS["fleeting"]
    with pytest.raises(ValueError, match=r"network 'fleeting', expected one of \[.*'plain.*import the module"):
        load(tmp_path / "weights")


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    model = shaken()
    model.config = {**model.config, "channels": 8}
    save(tmp_path / "weights", model, CARD)
    with pytest.raises(ValueError, match=r"weights do not fit their network .*bottom"):
        load(tmp_path / "weights")


def test_a_new_network_is_one_class(register: None) -> None:
    class Lift(Network, name="lift"):
        """Raises the potential everywhere by a tenth of a volt."""

        def __init__(self, features: int, conditions: int) -> None:
            super().__init__()
            self.config, self.size, self.reach = {"features": features, "conditions": conditions}, 24, 1.0

        def forward(self, features: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
            return torch.stack([torch.zeros_like(features[:, 0]), torch.ones_like(features[:, 0])], 1)

    case = make_case()
    _, potential = predict(untrained("lift"), case)
    np.testing.assert_allclose(potential - case.first_potential, 0.1, rtol=1e-6)


class Witness(Network):
    """Keeps what it is shown."""

    def __init__(self, blind: bool) -> None:
        super().__init__()
        self.blind, self.reach = blind, 2.0  # type: ignore[misc]

    def forward(self, features: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
        self.features, self.conditions = features, conditions
        return torch.zeros_like(features[:, :2])


def test_a_blind_network_is_shown_each_slice_by_itself() -> None:
    seeing, blind, squares = Witness(False), Witness(True), encode(make_case(), 24)
    for model in (seeing, blind):
        corrections(model, squares)
    hidden = [name.endswith(("_source", "_drain")) for name in FEATURES]
    assert sum(hidden) == 4
    assert not blind.features[:, hidden].any()
    assert not blind.conditions.any()
    own = [not name for name in hidden]
    assert torch.equal(blind.features[:, own], seeing.features[:, own])
    assert torch.equal(seeing.conditions, squares.conditions)


def test_a_file_that_leaves_its_counts_out_is_read_with_the_usual_ones(tmp_path: Path) -> None:
    model, case = shaken(), make_case()
    model.config = {name: value for name, value in model.config.items() if name not in COUNTS}
    save(tmp_path / "weights", model, CARD)
    found, _ = load(tmp_path / "weights", **COUNTS)
    assert np.array_equal(predict(found, case)[0], predict(model, case)[0])
