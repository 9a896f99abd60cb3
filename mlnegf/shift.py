"""The charge that a change of potential would make if it only shifted the local density of states.

    n(r; δ) = ∫ Σ_i A_i(r; E) f_i(E − δ(r)) dE,

exact for a uniform shift of device and leads, and for slow ones nearly so: the predictor of Lacerda-Santos & Waintal
(arXiv 2507.03131), who solve the discontinuous problem it is for continuous spectra too. It is tabulated over δ, with
its derivative, from the energies the charge was integrated on.
"""

import numpy as np
import torch

from mlnegf.contacts import Contacts
from mlnegf.contour import occupation
from mlnegf.grid import Floats
from mlnegf.injection import beyond, by_mode, per_state
from mlnegf.negf import Charge
from mlnegf.poisson import Density

Tensor = torch.Tensor

REACH = 20.0
"""Largest shift tabulated, kT: the energies of the charge end 30 kT above the Fermi levels."""
STEP = 0.5
"""Of the table, kT."""


def shifted_density(charge: Charge, potential: Floats) -> Density:
    """Return n(φ) and ∂n/∂φ about the folded `potential` (nx, cells), V, at which `charge` was solved.

    Beyond the table the charge falls exponentially and rises on a straight line.
    """
    kT = charge.contacts.kT
    shifts = np.arange(-REACH, REACH + STEP / 2, STEP)
    values, slopes = (
        np.stack([charge.on_grid(torch.einsum("kx,kxc->xc", line, charge.shapes)) for line in lines])
        for lines in _lines(charge, torch.as_tensor(shifts * kT))
    )
    values = np.maximum(values + charge.density - values[len(shifts) // 2], 1e-300)

    def density(trial: Floats) -> tuple[Floats, Floats]:
        wanted = (trial - potential) / kT
        inside = np.clip(wanted, -REACH, REACH)
        row = np.minimum((inside + REACH) / STEP, len(shifts) - 2).astype(int)[None]
        t = inside - shifts[row[0]]
        (low, low_slope), (high, high_slope) = (
            [np.take_along_axis(table, place, 0)[0] for table in (values, slopes)] for place in (row, row + 1)
        )
        found, slope = _hermite(t / STEP, low, low_slope * kT * STEP, high, high_slope * kT * STEP)
        slope = np.maximum(slope / (kT * STEP), 1e-12 * found / kT)
        less, more = np.minimum(wanted + REACH, 0.0), np.maximum(wanted - REACH, 0.0)
        decay = np.exp(np.maximum(less, -600.0))
        slope = np.where(less < 0, found * decay / kT, slope)
        return found * decay + more * kT * slope, slope

    return density


def _hermite(t: Floats, low: Floats, low_slope: Floats, high: Floats, high_slope: Floats) -> tuple[Floats, Floats]:
    """Cubic through values and slopes at t = 0 and 1, and its derivative by t."""
    rise = high - low
    bend, twist = 3 * rise - 2 * low_slope - high_slope, low_slope + high_slope - 2 * rise
    return low + t * (low_slope + t * (bend + t * twist)), low_slope + t * (2 * bend + 3 * t * twist)


def _lines(charge: Charge, shifts: Tensor) -> tuple[Tensor, Tensor]:
    """Charge of every subband with all levels lowered by `shifts` (J,), eV, and its derivative by them.

    Both (J, K, nx): electrons per nm, and per nm and eV.
    """
    chains, contacts = charge.chains, charge.contacts
    real, contour = charge.injected.points, charge.single.points
    subbands = len(chains.onsite)
    one = torch.ones_like(real.energy)
    excess = beyond(chains, real, charge.injected.states, one, 0 * one)
    excess = (real.weight * per_state(chains, real))[..., None] * excess  # per difference of source and drain
    diagonal = charge.single.resolvent.diagonal.reshape(*contour.energy.shape, -1)
    diagonal = -2 * (contour.weight * per_state(chains, contour))[..., None] * diagonal
    on_axis, on_contour, of_bound = [], [], []
    for shift in shifts.tolist():
        moved = Contacts(contacts.source + shift, contacts.drain + shift, contacts.kT)
        on_axis.append(_with_slope(moved, torch.stack(moved.occupation(real.energy))))
        on_contour.append(_with_slope(moved, occupation(chains, moved, contour)))
        of_bound.append(_with_slope(moved, torch.stack(moved.occupation(torch.as_tensor(charge.bound.energy)))))
    source, drain = torch.stack(on_axis).unbind(2)  # (J, 2, P, 15), the values and their slopes
    along = (source - drain).flatten(0, 1).movedim(0, 1) @ excess
    single = (torch.stack(on_contour).flatten(0, 1).movedim(0, 1) @ diagonal).imag
    lines = by_mode(real.mode, along, subbands) + by_mode(contour.mode, single, subbands)
    lines = lines.movedim(1, 0).reshape(len(shifts), 2, *chains.onsite.shape)
    shares = torch.as_tensor(charge.bound.shares).T
    for row, held in enumerate((torch.stack(of_bound) * shares).sum(2)):
        for kind in range(2):
            lines[row, kind] += charge.bound.density(chains, held[kind].numpy())
    values, slopes = lines.unbind(1)
    return values, slopes


def _with_slope(contacts: Contacts, occupied: Tensor) -> Tensor:
    """Stack an occupation and its derivative by a fall of all levels."""
    return torch.stack([occupied, -contacts.slope(occupied)])
