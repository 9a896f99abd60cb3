"""A design says what is solved: it is drawn evenly and repeatably, and what is wrong in it is named."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mlnegf import Device
from mlnegf.nanosheet.geometry import CROSS_SECTIONS
from mlnegf.warmstart.design import Design, Plan, shipped, threshold

RANGES = ("width", "thickness", "gate_length", "source_length", "drain_length", "oxide_thickness")
CONDITIONS = (*RANGES, "doping", "temperature")

SAMPLED = """
seed = 3

[[group]]
devices = 64
biases = 2
width = { from = 3.0, to = 12.0 }
doping = { from = 5e19, to = 2e20, scale = "log" }
cross_section = { one_of = ["rectangle", "ellipse", "T"] }
temperature = 250.0
spacing = [0.5, 0.5, 0.5]
gate = { from = 0.0, to = 0.8 }
drain = { from = 0.1, to = 0.6 }
"""
"""64 is a power of two: of such a number of Sobol' points every half, quarter, ... of a range holds its share."""


@pytest.fixture(scope="module")
def sampled() -> tuple[Plan, ...]:
    return Design(SAMPLED).plans


@pytest.fixture(scope="module")
def nanosheets() -> tuple[Plan, ...]:
    return Design.read("nanosheets").plans


def of_part(plans: tuple[Plan, ...], part: str) -> list[Plan]:
    return [plan for plan in plans if plan.part == part]


def near(share: float, **others: str) -> str:
    """A design of gate voltages, that share of them near the threshold."""
    gate = f"gate = {{ from = 0.0, to = 0.8, near_threshold = {share} }}"
    sampled = SAMPLED.replace("gate = { from = 0.0, to = 0.8 }", gate)
    return "\n".join([sampled, *(f"{name} = {value}" for name, value in others.items())])


def gates(text: str) -> list[tuple[Device, float]]:
    return [(plan.device, gate) for plan in Design(text).plans for gate, _ in plan.biases]


def test_a_listed_group_is_every_pair_of_its_voltages(design: Design, device: Device) -> None:
    biases = ((0.1, 0.1), (0.3, 0.1), (0.5, 0.1), (0.1, 0.4), (0.3, 0.4), (0.5, 0.4))
    assert design.plans == (
        Plan(device, biases, "known"),
        Plan(replace(device, gate_length=7.0), biases, "known"),
        Plan(replace(device, width=2.5), biases, "unseen"),
    )


def test_a_sampled_group_holds_what_it_says(sampled: tuple[Plan, ...]) -> None:
    assert len({plan.device for plan in sampled}) == 64
    assert {len(plan.biases) for plan in sampled} == {2}
    assert {plan.part for plan in sampled} == {"known"}
    assert {plan.device.temperature for plan in sampled} == {250.0}


def test_ranges_are_respected_and_filled_evenly(sampled: tuple[Plan, ...]) -> None:
    widths = [plan.device.width for plan in sampled]
    drains = [drain for plan in sampled for _, drain in plan.biases]
    assert np.histogram(widths, bins=8, range=(3.0, 12.0))[0].tolist() == [8] * 8
    assert np.histogram(drains, bins=4, range=(0.1, 0.6))[0].tolist() == [32] * 4


def test_a_log_range_is_even_in_the_logarithm(sampled: tuple[Plan, ...]) -> None:
    doping = np.log([plan.device.doping for plan in sampled])
    assert np.histogram(doping, bins=4, range=(np.log(5e19), np.log(2e20)))[0].tolist() == [16] * 4


def test_every_choice_is_taken_as_often(sampled: tuple[Plan, ...]) -> None:
    sections = [plan.device.cross_section for plan in sampled]
    assert {sections.count(name) for name in ("rectangle", "ellipse", "T")} <= {21, 22}


def test_a_seed_repeats_its_draws(sampled: tuple[Plan, ...]) -> None:
    assert Design(SAMPLED).plans == sampled


def test_another_seed_draws_others(sampled: tuple[Plan, ...]) -> None:
    other = Design(SAMPLED.replace("seed = 3", "seed = 4")).plans
    assert not {plan.device for plan in other} & {plan.device for plan in sampled}


def test_two_groups_alike_draw_different_devices() -> None:
    _, group = SAMPLED.split("[[group]]")
    assert len({plan.device for plan in Design(f"[[group]]{group}[[group]]{group}").plans}) == 128


def test_a_longer_design_goes_on_where_a_shorter_one_ended(sampled: tuple[Plan, ...]) -> None:
    assert Design(SAMPLED.replace("devices = 64", "devices = 80")).plans[:64] == sampled


def test_draws_stay_as_they_are(sampled: tuple[Plan, ...]) -> None:
    """Data on disk are found again by the names of their devices, and refused at other biases."""
    first = sampled[0]
    assert first.name == "3x4.019_gate10_876fac90"
    assert first.biases == ((0.3026, 0.5508), (0.5129, 0.2237))


def test_voltages_near_the_threshold_are_clipped_to_their_range() -> None:
    wide_open = gates(near(0.999, work_function="3.0"))
    assert all(device.gate_potential(0.0) > 1 for device, _ in wide_open)
    assert np.mean([gate == 0.0 for _, gate in wide_open]) > 0.95
    assert all(0.0 <= gate <= 0.8 for share in (0.25, 0.999) for _, gate in gates(near(share)))


def test_voltages_near_the_threshold_are() -> None:
    """Half of them lie within 0.15 V of it, and as many of the others as of an even draw."""
    apart = [abs(gate - threshold(device)) <= 0.15 + 1e-4 for device, gate in gates(near(0.5))]
    even = [abs(gate - threshold(device)) <= 0.15 + 1e-4 for device, gate in gates(SAMPLED)]
    assert np.mean(apart) == pytest.approx(0.5 + 0.5 * np.mean(even), abs=0.06)


def test_the_threshold_of_a_p_type_device_is_negative() -> None:
    mirrored = near(0.999, polarity='"p"').replace("gate = { from = 0.0, to = 0.8", "gate = { from = -0.8, to = 0.0")
    drawn = gates(mirrored)
    assert all(-0.8 <= gate <= 0.0 for _, gate in drawn)
    assert np.mean([abs(gate + threshold(device)) <= 0.15 + 1e-4 for device, gate in drawn]) > 0.95


def test_a_gate_at_its_threshold_holds_the_lowest_level_at_the_fermi_level() -> None:
    """Electrons of mass 0.916 m₀ across 3 nm and 0.19 m₀ across 6 nm."""
    level = 0.0380998 * np.pi**2 * (1 / 0.916 / 3**2 + 1 / 0.19 / 6**2)
    assert threshold(Device(width=6.0, thickness=3.0)) == pytest.approx(level, rel=1e-2)
    shifted = Device(width=6.0, thickness=3.0, work_function=Device().channel.affinity + 0.1)
    assert threshold(shifted) == pytest.approx(level + 0.1, rel=1e-2)


def test_a_draw_that_makes_no_device_is_passed_over() -> None:
    text = SAMPLED.replace("width = { from = 3.0", "width = { from = 0.5")
    widths = [plan.device.width for plan in Design(text).plans]
    assert len(widths) == 64
    assert min(widths) >= 1.99


def test_what_all_groups_share_is_said_once_and_a_groups_own_word_wins() -> None:
    text = "[each]\nwidth = 4.0\ngates = [0.1]\ndrains = [0.2]\n[[group]]\n[[group]]\nwidth = 5.0\ngates = [0.3]"
    assert [(plan.device.width, plan.biases) for plan in Design(text).plans] == [
        (4.0, ((0.1, 0.2),)),
        (5.0, ((0.3, 0.2),)),
    ]


def test_a_group_may_draw_where_the_others_list_and_list_where_they_draw() -> None:
    listing, drawing = "gates = [0.1]\ndrains = [0.2, 0.3]", "biases = 3\ngate = 0.1\ndrain = { from = 0.1, to = 0.3 }"
    for each, group, count in ((listing, drawing, 3), (drawing, listing, 2)):
        (plan,) = Design(f"[each]\n{each}\n[[group]]\n{group}").plans
        assert len(plan.biases) == count


LIST = "\ngates = [0.1]\ndrains = [0.1]"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gate = ", r"Design: design is no TOML \("),
        ("", r"group = None, expected \[\[group\]\] tables in design"),
        ("group = [1]", r"group = \[1\], expected \[\[group\]\]"),
        ("each = 3\n[[group]]" + LIST, "each = 3, expected a table"),
        ("seed = -1\n[[group]]" + LIST, "seed = -1, expected a whole number, 0 or more"),
        ("seeds = 1\n[[group]]" + LIST, r"seeds = \[1\], expected only seed, each and group"),
        ("[[group]]\ngate_lenght = 9.0" + LIST, r"design, group 1: .*gate_lenght = \[9.0\], expected a parameter"),
        (f"[[group]]{LIST}\n[[group]]\ndoping = -1{LIST}", "design, group 2: Device: doping = -1, expected"),
        ("[[group]]\npart = 'spare'" + LIST, r"part = 'spare', expected one of \('known', 'unseen', 'outside'\)"),
        ("[[group]]\ndevices = 0" + LIST, "devices = 0, expected a whole number, 1 or more"),
        ("[[group]]\nbiases = true\ngate = 0.1\ndrain = 0.1", "biases = True, expected a whole number, 1 or more"),
        ("[[group]]\ngates = [0.1]", "drains = None, expected a list of volts; gates and drains come together"),
        ("[[group]]\ngates = []\ndrains = [0.1]", r"gates = \[\], expected a list of volts"),
        ("[[group]]\ngates = [0.1, 30]\ndrains = [0.1]", "gates = 30, expected volts"),
        ("[[group]]\ngates = [0.1, 0.1]\ndrains = [0.1]", r"biases = .*expected each once"),
        ("[[group]]\ngate = 0.1" + LIST, r"biases = \['drains', 'gate', 'gates'\], expected gates and drains, or"),
        ("[[group]]\ngate = 0.1", "drain = None, expected volts, or what to draw them from"),
        ("[[group]]\ndrain = 0.1\ngate = { from = 0, to = 30 }", "gate = .*, expected volts between"),
        ("[[group]]\ndrain = 0.1\ngate = { from = 0, near_threshold = 0.5 }", r"gate = \{'from': 0\}, expected"),
        ("[[group]]\ndrain = 0.1\ngate = { from = 0, to = 1, near_threshold = 2 }", "near_threshold = 2, expected"),
        ("[[group]]\ngate = 0.1\ndrain = { from = 0, to = 1, near_threshold = 0.5 }", "near_threshold = 0.5, .*gate"),
        ("[[group]]\nwidth = { from = 3.0 }" + LIST, r"width = \{'from': 3.0\}, expected \{from = "),
        ("[[group]]\nwidth = { from = 3.0, to = 'wide' }" + LIST, r"width = .*'wide'\}, expected \{from = "),
        ("[[group]]\nwidth = { from = 3.0, to = 4.0, scale = 'odd' }" + LIST, r"width = .*'odd'\}, expected"),
        ("[[group]]\nwidth = { from = 0.0, to = 4.0, scale = 'log' }" + LIST, r"width = .*'log'\}, expected"),
        ("[[group]]\nwidth = { one_of = [] }" + LIST, r"width = \{'one_of': \[\]\}, expected"),
        ("[[group]]\nwidth = { one_of = [3.0], from = 1 }" + LIST, r"width = .*'from': 1\}, expected"),
        ("[[group]]\nwidth = { from = 0.1, to = 0.2 }" + LIST, r"devices = 1, .*valid devices, not 0; .*Device: width"),
        (f"[[group]]{LIST}\n[[group]]\npart = 'unseen'{LIST}", r"group = \['3x6_gate10_.*'\], .*each device once"),
        ("[[group]]\ndevices = 2" + LIST, r"group = \['3x6_gate10_.*'\], expected each device once"),
    ],
)
def test_what_is_wrong_is_named(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Design(text)


def test_a_design_is_read_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(SAMPLED)
    assert Design.read(path) == Design(SAMPLED, str(path))


@pytest.mark.parametrize("content", [b"gate = ", b"\xff\xfe"])
def test_a_file_that_is_no_design_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"Design: {path} is no TOML \("):
        Design.read(path)


def test_a_missing_design_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"design = '.*absent', expected a TOML file or one of .*'reduced'"):
        Design.read(tmp_path / "absent")


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_design_has_known_and_unseen_devices(name: str) -> None:
    plans = Design.read(name).plans
    parts = {part: {plan.device for plan in of_part(plans, part)} for part in ("known", "unseen", "outside")}
    assert parts["known"]
    assert parts["unseen"]
    assert sum(map(len, parts.values())) == len(set.union(*parts.values())) == len(plans)


@pytest.mark.parametrize("name", shipped())
def test_unseen_devices_lie_within_the_known_ones(name: str) -> None:
    plans = Design.read(name).plans
    known = [plan.device for plan in of_part(plans, "known")]
    unseen = [plan.device for plan in of_part(plans, "unseen")]
    for condition in CONDITIONS:
        values = [getattr(device, condition) for device in known]
        assert all(min(values) <= getattr(device, condition) <= max(values) for device in unseen), condition
    assert {device.cross_section for device in unseen} <= {device.cross_section for device in known}
    assert {device.spacing for device in unseen} <= {device.spacing for device in known}


def test_the_design_of_the_shipped_weights_is_as_large_as_it_says(nanosheets: tuple[Plan, ...]) -> None:
    known, unseen, outside = (of_part(nanosheets, part) for part in ("known", "unseen", "outside"))
    assert len(known) >= 800
    assert sum(len(plan.biases) for plan in known) >= 2500
    assert len(unseen) >= 20
    assert {len(plan.biases) for plan in unseen} == {9}
    assert len(outside) >= 20


def test_every_device_outside_is(nanosheets: tuple[Plan, ...]) -> None:
    known = [plan.device for plan in of_part(nanosheets, "known")]
    sections = {device.cross_section for device in known}
    ends = {name: sorted(getattr(device, name) for device in known) for name in CONDITIONS}
    for device in (plan.device for plan in of_part(nanosheets, "outside")):
        beyond = [name for name, (low, *_, high) in ends.items() if not low <= getattr(device, name) <= high]
        assert beyond or device.cross_section not in sections


def test_every_section_of_the_package_is_known(nanosheets: tuple[Plan, ...]) -> None:
    assert {plan.device.cross_section for plan in of_part(nanosheets, "known")} == set(CROSS_SECTIONS)
