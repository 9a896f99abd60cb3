"""A network says what of a case it was not trained on."""

import json
from dataclasses import dataclass, fields, replace

import numpy as np
import pytest
from made_up import make_case

from mlnegf.nanosheet.device import PROFILES, Device
from mlnegf.warmstart.samples import FirstIteration
from mlnegf.warmstart.slices import TOLD
from mlnegf.warmstart.trained_range import describe, doubts, excesses, ranges_of

CASE = make_case()
HIGHER = replace(CASE, gate=0.6)
CARD = describe([CASE, HIGHER], "semiclassical", "two cases")


def excess(case: FirstIteration) -> float:
    return max(excesses(ranges_of([CASE, HIGHER]), case).values())


def test_the_card_holds_what_was_seen() -> None:
    assert CARD["start"] == "semiclassical"
    assert CARD["data"] == "two cases"
    assert json.loads(CARD["ranges"])["gate"] == [0.4, 0.6]
    assert json.loads(CARD["trained_for"])["temperature"] == [300.0]


@pytest.mark.parametrize("gate", [0.4, 0.5, 0.6])
def test_inside_the_training_there_is_no_doubt(gate: float) -> None:
    assert doubts(CARD, replace(CASE, gate=gate)) == []
    assert excess(replace(CASE, gate=gate)) == 0.0


def test_a_doubt_names_value_and_range() -> None:
    assert doubts(CARD, replace(CASE, gate=0.7)) == ["gate = 0.7 to 0.7 is outside the trained 0.4 to 0.6"]


def test_every_condition_outside_is_named() -> None:
    words = doubts(CARD, replace(CASE, gate=0.7, drain=0.1))
    assert [line.split()[0] for line in words] == ["gate", "drain"]


def test_another_section_is_doubted() -> None:
    assert any(line.startswith("filling") for line in doubts(CARD, make_case(ellipse=True)))


@pytest.mark.parametrize(("name", "value"), [("temperature", 77.0), ("work_function", 4.2)])
def test_what_a_network_is_not_told_may_not_differ(name: str, value: float) -> None:
    (words,) = doubts(CARD, replace(CASE, device=replace(CASE.device, **{name: value})))
    assert words.startswith(f"{name} = {value} is none of the trained")


def test_a_work_function_that_was_trained_is_not_doubted() -> None:
    other = replace(CASE, device=replace(CASE.device, work_function=4.2))
    assert doubts(describe([CASE, other], "semiclassical", "two cases"), other) == []


def test_excess_is_relative_to_the_range() -> None:
    assert excess(replace(CASE, gate=0.7)) == pytest.approx(0.5)
    assert excess(replace(CASE, gate=0.2)) == pytest.approx(1.0)


def test_excess_of_what_never_varied_is_in_units_of_the_condition() -> None:
    # The drain never varied; its unit is 0.4 V.
    assert excess(replace(CASE, drain=1.0)) == pytest.approx(1.0)


@dataclass(frozen=True)
class Strained(Device):
    """A device with a field that no network was told of."""

    strain: float = 0.0


def test_a_new_field_is_doubted() -> None:
    strained = Strained(**{field.name: getattr(CASE.device, field.name) for field in fields(CASE.device)})
    assert doubts(CARD, replace(CASE, device=strained)) == []
    words = doubts(CARD, replace(CASE, device=replace(strained, strain=0.01)))
    assert words == ["strain = 0.01 is none of the trained [0.0]"]


def test_everything_is_doubted_but_what_a_network_is_told() -> None:
    doubted = set(json.loads(CARD["trained_for"]))
    assert doubted | TOLD | PROFILES.keys() == {field.name for field in fields(Device)}
    shape = CASE.device.grid.shape
    profiled = replace(CASE.device, doping_profile=np.full(shape, 1e19))
    assert any("doping_profile" in word for word in doubts(CARD, replace(CASE, device=profiled)))
    assert not doubted & TOLD
    assert {"temperature", "semiconductor", "polarity", "regions", "mean_free_path"} <= doubted
