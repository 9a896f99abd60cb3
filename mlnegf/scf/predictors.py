"""The charge that a change of potential would make if it only shifted the local density of states.

    n(r; δ) = ∫ Σ_i A_i(r; E) f_i(E − δ(r)) dE,

exact for a uniform shift of device and leads, and for slow ones nearly so: the predictor of Lacerda-Santos & Waintal
(arXiv 2507.03131), who solve the discontinuous problem it is for continuous spectra too. It is tabulated over δ, with
its derivative, from the energies the charge was integrated on.
"""

import numpy as np

from mlnegf._common import Floats
from mlnegf.nanosheet.charge import Charge
from mlnegf.nanosheet.poisson import Density

REACH = 20.0
"""Largest shift tabulated, kT: the energies of the charge end 30 kT above the Fermi levels."""
STEP = 0.5
"""Of the table, kT."""


def shifted_density(charge: Charge, potential: Floats) -> Density:
    """Return n(φ) and ∂n/∂φ about the folded `potential` (nx, cells), V, at which `charge` was solved.

    Beyond the table the charge falls exponentially and rises on a straight line.
    """
    kT = charge.lines.contacts.kT
    shifts = np.arange(-REACH, REACH + STEP / 2, STEP)
    values, slopes = charge.shifted(shifts * kT)
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
