"""What the end of a lattice's band costs: carriers that should pass over a barrier and find no states there.

A lead of spacing a has states from its edge E₀ to E₀ + 4t, t = ħ²/2ma². Where a barrier's top lies in the upper part of
that band, waves over it are no longer those of the continuum; where it lies above, there are none, and the current is
what tunnels below: wrong by any number of decades, and no sign of it on the lattice itself. So the same subbands are
laid on a finer chain, whose band ends far above the top, and the currents compared.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.interpolate import CubicSpline

from mlnegf.transport.chains import Chains
from mlnegf.transport.contacts import Contacts
from mlnegf.transport.nonequilibrium import nonequilibrium_charge

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


def band_limit(chains: Chains, contacts: Contacts) -> BandLimit:
    """Compare the current with that of the same subbands on a finer chain."""
    height = chains.onsite.max(1).values - torch.minimum(*chains.edges)
    part = float((height / (4 * chains.hopping)).max())
    spacing = chains.spacing * (NOTICEABLE / max(part, NOTICEABLE)) ** 0.5
    if part <= NOTICEABLE or contacts.source == contacts.drain:
        return BandLimit(0.0, spacing)
    factor = int(np.ceil(chains.spacing / spacing))
    coarse, fine = (
        abs(float(nonequilibrium_charge(some, contacts, density_scale=1.0).current.sum()))
        for some in (chains, refined(chains, factor))
    )
    smaller = max(min(coarse, fine), 1e-300)
    return BandLimit(abs(coarse - fine) / smaller, spacing)


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
