"""Transmission of many systems at once, a Hamiltonian for each energy, between the same two leads.

What `scattering_states` does for many energies of one system is done here for many systems: the elimination is the
same, and so are its doubts. A system in doubt is solved again by itself.
"""

from functools import partial
from typing import Any

import torch

from mlnegf._common import require
from mlnegf.transport.blocks import System
from mlnegf.transport.checks import finite, require_broadening
from mlnegf.transport.leads import Lead, self_energies
from mlnegf.transport.scattering import ScatteringStates
from mlnegf.transport.transmission import transmission
from mlnegf.transport.waves import by_reaction_matrix, sources

Tensor = torch.Tensor

_require = partial(require, caller="transmissions")

MEMORY = 2**28
"""Bytes of eliminated blocks kept at a time."""


def transmissions(
    energy: float, diagonal: Any, upper: Any, left: Lead, right: Lead, broadening: float = 1e-10
) -> Tensor:
    """Transmission of many real systems between the same leads at one energy.

    Parameters
    ----------
    energy : float
        In the unit of the Hamiltonians.
    diagonal : array, (systems, sites, block, block)
        ⟨n|H|n⟩ of each system, real and symmetric.
    upper : array, (systems, sites − 1, block, block)
        ⟨n|H|n+1⟩.
    left, right : Lead
        Of real blocks (block, block).
    broadening : float
        Of leads without a closed form, see `leads.self_energy`.

    Returns
    -------
    Tensor, (systems,)
        Without gradients.
    """
    require_broadening(broadening)
    for name, lead in (("left", left), ("right", right)):
        good = isinstance(lead, Lead) and not any(part is not None and part.is_complex() for part in lead.blocks)
        _require(good, name, lead, "a Lead of real blocks")
        for part in lead.blocks:
            _require(part is None or not part.requires_grad, name, lead, "blocks without gradient; see transmission")
    for name, part in (("diagonal", diagonal), ("upper", upper)):
        tracked = isinstance(part, Tensor) and part.requires_grad
        _require(not tracked, name, part, "a tensor without gradient; transmission has one, system by system")
    diagonal = finite("diagonal", diagonal, (None, None, len(left.onsite), len(left.onsite)), "transmissions")
    systems, sites, block, _ = diagonal.shape
    upper = finite("upper", upper, (systems, sites - 1, block, block), "transmissions")
    _require(sites > 1, "diagonal", diagonal, "two sites or more; repeat a lead's block for a shorter device")
    skew = float((diagonal - diagonal.mT).abs().max())
    _require(skew <= 1e-9 * float(diagonal.abs().max()), "diagonal", skew, "symmetric blocks")
    # Refuses leads that do not fit, in words of its own.
    System.of(diagonal[0], upper[0], left, right)
    point = finite("energy", [energy], (1,), "transmissions")
    per = max(1, MEMORY // (8 * sites * block * block))
    some = (slice(n, n + per) for n in range(0, systems, per))
    return torch.cat([_at_once(point, diagonal[n], upper[n], left, right, broadening) for n in some])


def _at_once(point: Tensor, diagonal: Tensor, upper: Tensor, left: Lead, right: Lead, broadening: float) -> Tensor:
    # System by system in the place of energy by energy.
    given = System(diagonal.transpose(0, 1), upper.transpose(0, 1), left, right)
    system, energies = given.in_own_unit, (point / given.unit).expand(len(diagonal))
    contacts = self_energies(energies[:1], system.left, system.right, broadening)
    one, other = (contact.select(torch.zeros(len(diagonal), dtype=torch.long)) for contact in contacts)
    waves, doubtful = by_reaction_matrix(energies, system, one, other, sources(len(given.diagonal), one, other))
    split = one.injection.shape[-1]
    found = ScatteringStates(waves[..., :split], waves[..., split:], one, other, system).transmission
    for n in torch.nonzero(doubtful | ~found.isfinite())[:, 0].tolist():
        found[n] = transmission(point, diagonal[n], upper[n], left, right, broadening=broadening)[0]
    return found
