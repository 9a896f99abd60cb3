"""States that no contact injects: closed form, continuity across an edge, and the filling rules."""

import numpy as np
import pytest
import torch

from mlnegf.transport.bound_states import FILLINGS, bound_states
from mlnegf.transport.chains import Chains, hopping_energy
from mlnegf.transport.contacts import Contacts
from mlnegf.transport.equilibrium import charge_of_one
from mlnegf.transport.nonequilibrium import inject

SPACING = 0.25
HOPPING = float(hopping_energy(0.19, SPACING))
FOUR = torch.tensor([4.0], dtype=torch.float64)


def problem(onsite: np.ndarray, drain: float = 0.05) -> tuple[Chains, Contacts]:
    chains = Chains(torch.as_tensor(onsite)[None], torch.tensor([HOPPING], dtype=torch.float64), SPACING, FOUR)
    return chains, Contacts(0.0, -drain, 0.02585)


def well(depth: float, drain: float = 0.05) -> np.ndarray:
    x = (np.arange(104) + 0.5) * SPACING
    return -depth * np.exp(-(((x - 13) / 5) ** 2)) - 0.15 - drain / (1 + np.exp(-(x - 16)))


def total_charge(depth: float, filling: str = "sides") -> tuple[float, int]:
    chains, contacts = problem(well(depth))
    bound = bound_states(chains, contacts, filling)
    line = bound.density(chains) + sum(part(chains, contacts, 1.5).density for part in (inject, charge_of_one))
    return float(line.sum()) * SPACING, len(bound.mode)


def test_one_impurity_binds_one_state() -> None:
    """E = 2t − √(4t² + U²) below the band, |φ|² falling by the factor of a lead outside."""
    onsite = np.zeros(61)
    onsite[30] = -0.5
    bound = bound_states(*problem(onsite), "sides")
    assert len(bound.mode) == 1
    assert bound.energy[0] == pytest.approx(2 * HOPPING - np.sqrt(4 * HOPPING**2 + 0.25), abs=1e-10)
    cosine = 1 - bound.energy[0] / (2 * HOPPING)
    decay = cosine - np.sqrt(cosine**2 - 1)
    assert np.allclose(bound.wave[0, 31:] / bound.wave[0, 30:-1], decay, rtol=1e-6)


def test_the_leads_part_of_the_wave_is_counted() -> None:
    short, long = np.zeros(5), np.zeros(301)
    short[2], long[150] = -0.3, -0.3
    near, far = (bound_states(*problem(onsite), "threshold") for onsite in (short, long))
    inside = far.wave[0, 148:153] / np.sqrt(far.norm[0])
    assert np.allclose(abs(near.wave[0]) / np.sqrt(near.norm[0]), abs(inside), atol=1e-9)


def crossing() -> float:
    low, high = 0.05, 0.3
    states = total_charge(low)[1]
    for _ in range(45):
        middle = (low + high) / 2
        low, high = (low, middle) if total_charge(middle)[1] > states else (middle, high)
    return low


@pytest.mark.parametrize("filling", ["sides", "threshold"])
def test_total_charge_is_continuous_as_a_level_crosses_the_edge(filling: str) -> None:
    depth = crossing()
    jumps = []
    for step in (1e-4, 1e-6, 1e-8):
        before, after = total_charge(depth - step, filling), total_charge(depth + step, filling)
        assert after[1] == before[1] + 1
        jumps.append(abs(after[0] - before[0]))
    # Continuous: the jump vanishes with the step, down to the tolerance of the energy integral.
    assert jumps[1] < 0.05 * jumps[0]
    assert jumps[2] < 1e-5


def test_the_rules_differ_by_whole_electrons_deep_in_the_well() -> None:
    charges = {rule: total_charge(0.25, rule)[0] for rule in FILLINGS}
    assert charges["empty"] + 1.0 < charges["drain"] < charges["mean"] < charges["source"]
    assert charges["threshold"] in (charges["source"], charges["drain"])


@pytest.mark.parametrize(("filling", "jumps"), [("sides", False), ("threshold", True)])
def test_the_charge_is_continuous_where_the_edges_change_order(filling: str, jumps: bool) -> None:
    """The contacts are filled to different levels, whichever edge is the lower one."""

    def charge(tilt: float) -> float:
        onsite = well(0.25, 0.0) + tilt * np.linspace(-0.5, 0.5, 104)
        chains, contacts = problem(onsite, drain=0.05)
        parts = (inject(chains, contacts, 1.5).density, charge_of_one(chains, contacts, 1.5).density)
        return float((bound_states(chains, contacts, filling).density(chains) + sum(parts)).sum()) * SPACING

    steps = [abs(charge(step) - charge(-step)) for step in (1e-6, 1e-8)]
    assert (steps[1] > 0.02) == jumps
    assert jumps or steps[1] < 0.2 * steps[0] < 1e-3
