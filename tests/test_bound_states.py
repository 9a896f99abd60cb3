"""States that no contact injects: closed form, and a charge that is continuous whatever levels and edges do."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mlnegf.transport.bound_states import FILLINGS, bound_states
from mlnegf.transport.chain_charge import ChainCharge
from mlnegf.transport.chains import Chains, hopping_energy
from mlnegf.transport.contacts import Contacts

SPACING, MASS = 0.25, 0.19
HOPPING = float(hopping_energy(MASS, SPACING))
KT = 0.02585
X = (np.arange(104) + 0.5) * SPACING
CONTINUOUS = ["edges", "threshold"]


def solved(onsite: np.ndarray, filling: str = "edges", drain: float = 0.05) -> ChainCharge:
    return ChainCharge.of(Chains.one(onsite, MASS, SPACING, 4.0), Contacts(0.0, -drain, KT), 1.5, 1e-7, filling)


def electrons(charge: ChainCharge) -> float:
    return float(charge.density.sum()) * SPACING


def well(depth: float, drain: float = 0.05, barrier: float = 0.0, thickness: float = 3.0) -> np.ndarray:
    """A well, the drain's lead below the source's, and between well and drain a barrier."""
    wall = barrier * (abs(X - 21.0) < thickness / 2)
    return np.asarray(-depth * np.exp(-(((X - 11) / 4) ** 2)) - 0.15 - drain / (1 + np.exp(-(X - 18.0) / 0.3)) + wall)


def last_before(states: int, onsite: object, low: float, high: float) -> float:
    """Bisect the depth at which one level more than `states` is bound."""
    for _ in range(50):
        middle = (low + high) / 2
        count = len(bound_states(Chains.one(onsite(middle), MASS, SPACING), Contacts(0.0, 0.0, KT)).mode)  # type: ignore[operator]
        low, high = (low, middle) if count > states else (middle, high)
    return low


def test_one_impurity_binds_one_state() -> None:
    """E = 2t − √(4t² + U²) below the band, |φ|² falling by the factor of a lead outside."""
    onsite = np.zeros(61)
    onsite[30] = -0.5
    bound = solved(onsite).bound
    assert len(bound.mode) == 1
    assert bound.energy[0] == pytest.approx(2 * HOPPING - np.sqrt(4 * HOPPING**2 + 0.25), abs=1e-10)
    cosine = 1 - bound.energy[0] / (2 * HOPPING)
    decay = cosine - np.sqrt(cosine**2 - 1)
    assert np.allclose(bound.wave[0, 31:] / bound.wave[0, 30:-1], decay, rtol=1e-6)


def test_the_leads_part_of_the_wave_is_counted() -> None:
    short, long = np.zeros(5), np.zeros(301)
    short[2], long[150] = -0.3, -0.3
    near, far = (solved(onsite).bound for onsite in (short, long))
    inside = far.wave[0, 148:153] / np.sqrt(far.norm[0])
    assert np.allclose(abs(near.wave[0]) / np.sqrt(near.norm[0]), abs(inside), atol=1e-9)


@pytest.mark.parametrize("filling", CONTINUOUS)
@pytest.mark.parametrize("barrier", [0.0, 0.01, 0.05, 0.2, 1.0])
@pytest.mark.parametrize("side", ["drain below", "source below"])
def test_total_charge_is_continuous_as_a_level_crosses_the_lower_edge(filling: str, barrier: float, side: str) -> None:
    """However thick the barrier between the well and the lead whose edge the level crosses."""

    def onsite(depth: float) -> np.ndarray:
        line = well(depth, barrier=barrier)
        return line if side == "drain below" else line[::-1].copy()

    depth = last_before(len(solved(onsite(0.02)).bound.mode), onsite, 0.02, 0.4)
    jumps = []
    for step in (1e-4, 1e-6, 1e-9):
        before, after = (solved(onsite(depth + sign * step), filling) for sign in (-1, 1))
        assert len(after.bound.mode) == len(before.bound.mode) + 1
        jumps.append(abs(electrons(after) - electrons(before)))
    # The jump vanishes with the step, down to the tolerance of the energy integral.
    assert jumps[0] < 0.1
    assert jumps[1] < 1e-3
    assert jumps[2] < 1e-5


@pytest.mark.parametrize(("filling", "jumps"), [("edges", False), ("threshold", True)])
@pytest.mark.parametrize("barrier", [0.0, 0.2])
def test_the_charge_is_continuous_where_the_edges_change_order(filling: str, jumps: bool, barrier: float) -> None:
    """The contacts are filled to different levels, whichever edge is the lower one."""

    def charge(tilt: float) -> float:
        line = well(0.25, 0.0, barrier)
        level = line - (line[-1] - line[0]) * np.linspace(-0.5, 0.5, 104)  # both edges at one energy
        return electrons(solved(level + tilt * np.linspace(-0.5, 0.5, 104), filling))

    steps = [abs(charge(step) - charge(-step)) for step in (1e-6, 1e-8)]
    assert (steps[1] > 0.01) == jumps
    assert jumps or steps[1] < 0.2 * steps[0] < 1e-3


@pytest.mark.parametrize("filling", FILLINGS)
def test_levels_that_avoid_each_other_leave_the_charge_smooth(filling: str) -> None:
    """Two wells behind a barrier swap their levels within 1e-9 eV: a rule of the energy alone does not see it."""

    def charge(lift: float) -> np.ndarray:
        wells = -0.25 * (abs(X - 8.0) < 2.0) - (0.25 - lift) * (abs(X - 18.0) < 2.0)
        return np.asarray(solved(wells + 1.0 * (abs(X - 13.0) < 2.5) - 0.15 - 0.05 * (X > 13.0), filling).density[0])

    lifts = 0.05 + np.array([-1e-4, -1e-7, -1e-10, 0.0, 1e-10, 1e-7, 1e-4])
    lines = np.stack([charge(lift) for lift in lifts])
    assert abs(np.diff(lines[1:-1], axis=0)).max() < 1e-5
    assert abs(np.diff(lines, axis=0)).max() < 1e-2


@settings(max_examples=25, deadline=None)
@given(
    barrier=st.floats(0.0, 0.5),
    drain=st.floats(-0.2, 0.2),
    depth=st.floats(0.0, 0.5),
    applied=st.floats(0.0, 0.3),
    direction=st.integers(0, 2**16),
)
def test_no_small_change_of_the_device_makes_a_jump(
    barrier: float, drain: float, depth: float, applied: float, direction: int
) -> None:
    """1e-9 eV anywhere, leads included, changes the charge by no more than the energy integral's tolerance.

    Edges apart: where they meet under a voltage, what one contact alone injects between them grows as the root of their
    distance, whatever bound states do.
    """
    onsite = well(depth, drain, barrier)
    assume(abs(onsite[0] - onsite[-1]) > 1e-3)
    change = 1e-9 * np.random.default_rng(direction).uniform(-1, 1, len(X))
    before, after = (electrons(solved(line, drain=applied)) for line in (onsite, onsite + change))
    assert abs(after - before) < 2e-5


def test_the_occupation_is_that_of_the_lower_contact_at_its_edge_and_of_both_far_below() -> None:
    deep, far = np.array([0.3]), np.array([1e6])
    rule = FILLINGS["edges"]()
    assert rule.source(deep, np.zeros(1))[0] == 0.0
    assert rule.source(np.zeros(1), deep)[0] == 1.0
    assert rule.source(far, far + 0.05)[0] == pytest.approx(0.5, abs=1e-7)
    step = 1e-6
    for place in range(2):
        moved = [np.array([0.2]), np.array([0.1])]
        exact = rule.source(*moved)[1 + place]
        ends = []
        for sign in (1, -1):
            depths = [value + sign * step * (place == index) for index, value in enumerate(moved)]
            ends.append(rule.source(*depths)[0])
        assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(exact, rel=1e-6)


def test_the_rules_differ_by_whole_electrons_deep_in_the_well() -> None:
    charges = {rule: electrons(solved(well(0.25), rule)) for rule in FILLINGS}
    assert charges["empty"] + 1.0 < charges["drain"] < charges["mean"] < charges["source"]
    assert charges["threshold"] in (charges["source"], charges["drain"])
    assert charges["drain"] < charges["edges"] < charges["source"]


def test_every_rule_is_registered_by_its_name() -> None:
    assert list(FILLINGS) == ["edges", "threshold", "source", "drain", "mean", "empty"]
    assert torch.tensor([rule().total for rule in FILLINGS.values()]).sum() == 5
