"""What the end of a lattice's band costs: carriers that should pass over a barrier and find no states there.

A lead of spacing a has states from its edge E₀ to E₀ + 4t, t = ħ²/2ma². Where a barrier's top lies in the upper part of
that band, waves over it are no longer those of the continuum; where it lies above, there are none, and the current is
what tunnels below: wrong by any number of decades, and no sign of it on the lattice itself. So the same subbands are
laid on a finer chain, whose band ends far above the top, and the currents compared; subbands whose barriers lie deep in
their band are left out, for nothing would change.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.interpolate import CubicSpline

from mlnegf.transport.chains import Chains
from mlnegf.transport.contacts import Contacts
from mlnegf.transport.nonequilibrium import nonequilibrium_charge

Tensor = torch.Tensor

NOTICEABLE = 0.25
"""Part of the band below a barrier's top from which on the lattice is looked at."""


@dataclass(frozen=True)
class BandLimit:
    """What a finer lattice would change.

    Attributes
    ----------
    current : float
        |I − I of the finer lattice| over the smaller of both; 0 where barriers lie deep in the band.
    spacing : float
        With which they would, nm.
    """

    current: float
    spacing: float


def band_limit(chains: Chains, contacts: Contacts, current: Tensor) -> BandLimit:
    """Compare the `current` of chains (K,), A, with that of the same subbands on finer ones."""
    part = (chains.onsite.max(1).values - torch.minimum(*chains.edges)) / (4 * chains.hopping)
    high = part > NOTICEABLE
    spacing = chains.spacing * (NOTICEABLE / max(float(part.max()), NOTICEABLE)) ** 0.5
    if contacts.source == contacts.drain or not high.any():
        return BandLimit(0.0, spacing)
    finer = refined(chosen(chains, high), int(np.ceil(chains.spacing / spacing)))
    change = nonequilibrium_charge(finer, contacts, density_scale=1.0).current.sum() - current[high].sum()
    coarse = float(current.sum())
    smaller = max(min(abs(coarse), abs(coarse + float(change))), 1e-300)
    return BandLimit(abs(float(change)) / smaller, spacing)


def chosen(chains: Chains, mask: Tensor) -> Chains:
    """Return those chains that a mask (K,) marks."""
    onsite, hopping, degeneracy = chains.onsite[mask], chains.hopping[mask], chains.degeneracy[mask]
    return replace(chains, onsite=onsite, hopping=hopping, degeneracy=degeneracy)


def refined(chains: Chains, factor: int) -> Chains:
    """Lay chains on sites `factor` times as dense, by cubic interpolation between cell centres.

    Beyond the outermost old centres the site energy stays that of the lead.
    """
    nx = chains.onsite.shape[1]
    old, new = np.arange(nx) + 0.5, (np.arange(nx * factor) + 0.5) / factor
    onsite = CubicSpline(old, chains.onsite.numpy(), axis=1)(np.clip(new, old[0], old[-1]))
    scattering = None if chains.scattering is None else chains.scattering.repeat_interleave(factor, 1) / factor
    return replace(
        chains,
        onsite=torch.from_numpy(np.ascontiguousarray(onsite)),
        hopping=chains.hopping * factor**2,
        spacing=chains.spacing / factor,
        scattering=scattering,
    )
