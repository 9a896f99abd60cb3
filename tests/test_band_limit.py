"""Barriers above the end of a lattice's band: what is lost is said, and the finer lattice that cures it is right."""

import numpy as np
import pytest
import torch

from mlnegf.transport.band_limit import NOTICEABLE, band_limit, refined
from mlnegf.transport.chains import Chains
from mlnegf.transport.contacts import Contacts
from mlnegf.transport.nonequilibrium import nonequilibrium_charge
from mlnegf.units import CONDUCTANCE_QUANTUM

KT = 0.02585


def barrier(spacing: float, height: float, length: float = 60.0, mass: float = 0.49) -> Chains:
    """A barrier so long and smooth that what is above it passes and what is below does not."""
    x = (np.arange(round(length / spacing)) + 0.5) * spacing
    return Chains.one(height / np.cosh((x - length / 2) / 9) ** 2, mass, spacing)


def currents(chains: Chains, contacts: Contacts) -> torch.Tensor:
    return nonequilibrium_charge(chains, contacts, 1.0).current


def current(chains: Chains, contacts: Contacts) -> float:
    return float(currents(chains, contacts).sum())


@pytest.mark.parametrize("height", [1.4, 1.6])
def test_what_a_barrier_above_the_band_loses_is_told(height: float) -> None:
    """Band end at 1.24 eV; over the barrier flows Natori's thermionic current."""
    contacts = Contacts(0.0, -0.1, KT)
    coarse = barrier(0.5, height)
    edge = float(coarse.onsite[0, 0])
    natori = CONDUCTANCE_QUANTUM * KT * np.diff(np.log1p(np.exp((np.array([-0.1, 0.0]) - height) / KT)))[0]
    assert height - edge > 0.9 * float(4 * coarse.hopping)
    assert current(coarse, contacts) < 1e-2 * natori
    limit = band_limit(coarse, contacts, currents(coarse, contacts))
    cured = barrier(limit.spacing, height)
    assert limit.current > 1e2
    assert current(cured, contacts) == pytest.approx(natori, rel=0.1)
    assert limit.current == pytest.approx(current(cured, contacts) / current(coarse, contacts), rel=0.1)
    assert band_limit(cured, contacts, currents(cured, contacts)).current < 0.02


def test_only_high_barriers_are_looked_at() -> None:
    """A light subband beside the heavy one is not laid finer, and its current counts in the whole."""
    contacts = Contacts(0.0, -0.1, KT)
    heavy, light = barrier(0.5, 1.1), barrier(0.5, 0.3, mass=0.05)
    onsite, hopping, held = (
        torch.cat([getattr(chains, name) for chains in (heavy, light)]) for name in ("onsite", "hopping", "degeneracy")
    )
    both = Chains(onsite, hopping, 0.5, held)
    alone, beside = (band_limit(some, contacts, currents(some, contacts)) for some in (heavy, both))
    assert beside.spacing == alone.spacing
    change = alone.current * min(current(heavy, contacts), current(refined(heavy, 2), contacts))
    assert beside.current == pytest.approx(change / current(both, contacts), rel=0.01)


def test_deep_in_the_band_nothing_is_asked() -> None:
    chains = barrier(0.25, 0.3)
    assert float((chains.onsite.max() - chains.onsite[0, 0]) / (4 * chains.hopping)) < NOTICEABLE
    contacts = Contacts(0.0, -0.1, KT)
    assert band_limit(chains, contacts, currents(chains, contacts)).current == 0.0


def test_a_refined_chain_keeps_leads_length_and_mass() -> None:
    chains = barrier(0.5, 0.4)
    fine = refined(chains, 3)
    assert fine.onsite.shape[1] * fine.spacing == pytest.approx(chains.onsite.shape[1] * chains.spacing)
    assert torch.allclose(fine.hopping * fine.spacing**2, chains.hopping * chains.spacing**2)
    assert torch.equal(fine.onsite[:, 0], chains.onsite[:, 0])
    x = (np.arange(fine.onsite.shape[1]) + 0.5) * fine.spacing
    exact = 0.4 / np.cosh((x - 30.0) / 9) ** 2
    assert abs(fine.onsite[0].numpy() - exact).max() < 1e-4
