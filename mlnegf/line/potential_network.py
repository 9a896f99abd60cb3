"""The potential of one density that is known with noise, by a network that is told Kohn and Sham's equation.

The orbital is written φ = φ₀ e^N, with φ₀ of a potential v₀ to start from and N a network of x, so that it stays
positive. Then v = v₀ + ε − ε₀ + ½ (N″ + N′²) + N′ φ₀′/φ₀ solves the equation exactly, whatever N says. What is left
to ask is that the density be met within its noise, norm and all, and v, but for a constant, be left no further from v₀
than that is doubted: a physics-informed network (Raissi, Perdikaris & Karniadakis, J. Comput. Phys. 378, 686 (2019))
whose physics is no penalty with a weight to be chosen.
"""

from typing import Any, Final

import numpy as np
import torch
from torch import nn

from mlnegf._common import Floats, is_count, is_finite, is_positive, require
from mlnegf.learning import least_squares
from mlnegf.learning.networks.jet import JetNetwork
from mlnegf.line.grid import LARGEST, LEAST, Line, checked

Tensor = torch.Tensor

MOST: Final = 1000
"""Evaluations."""
FAINT: Final = 1e-8
"""Orbital that is not believed, relative to its largest."""


class PotentialNetwork(nn.Module):
    """N of φ = φ₀ e^N; zero before it is taught.

    Parameters
    ----------
    reach : float
        From the middle to either end, a_B.
    width, layers : int
    """

    def __init__(self, reach: float, width: int = 20, layers: int = 2) -> None:
        super().__init__()
        self.reach = reach
        self.inner = JetNetwork(1, 1, width, layers).double()
        nn.init.zeros_(self.inner.last.weight)

    def forward(self, x: Tensor, tilt: Tensor) -> tuple[Tensor, Tensor]:
        """Return N, and by how much it moves the potential but for a constant, Hartree; `tilt` is φ₀′/φ₀."""
        value, slope, bent = (found.reshape(-1, len(x))[0] for found in self.inner.jet(x[:, None] / self.reach))
        slope, bent = slope / self.reach, bent / self.reach**2
        return value, (bent + slope**2) / 2 + slope * tilt

    def residual(self, x: Tensor, tilt: Tensor, begun: Tensor, density: Tensor, noise: Tensor, doubt: Tensor) -> Tensor:
        """Return what is missing of the density, by its noise, and what is added to v₀, by its doubt, (points, 2)."""
        value, moved = self(x, tilt)
        return torch.stack([(begun * torch.exp(2 * value) - density) / noise, moved / doubt], 1)


def told(
    line: Line,
    density: Any,
    start: Any,
    energy: float,
    noise: float,
    doubt: float,
    evaluations: int = 300,
    seed: int = 0,
) -> Floats:
    """Find the potential of two electrons' density by a network.

    Parameters
    ----------
    line : Line
    density : array, (points,)
        1/a_B; noise may have made it negative here and there.
    start : array, (points,)
        v₀, Hartree.
    energy : float
        ε, Hartree.
    noise : float
        Of the density, 1/a_B.
    doubt : float
        Of the start, Hartree.
    evaluations : int
        At most.
    seed : int

    Returns
    -------
    ndarray, (points,)
        Hartree.
    """
    wanted = checked(line, "told").values("density", density, "told")
    given = line.values("start", start, "told")
    (begun,), (wave,) = line.levels(given)
    good = is_finite(energy) and abs(energy) <= LARGEST
    require(good, "energy", energy, f"a number of Hartree, not beyond {LARGEST:g}", "told")
    for name, value in (("noise", noise), ("doubt", doubt)):
        good = is_positive(value) and LEAST <= value <= LARGEST
        require(good, name, value, f"a number from {LEAST:g} to {LARGEST:g}", "told")
    require(is_count(evaluations, 1, MOST), "evaluations", evaluations, f"a whole number, 1 to {MOST}", "told")
    require(is_count(seed, 0), "seed", seed, "a whole number, 0 or more", "told")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = PotentialNetwork(line.half)
    # Where the orbital is lost in rounding its decay goes on as it was.
    seen = abs(wave) > FAINT * abs(wave).max()
    decay = np.interp(line.x, line.x[seen], (line.slope(wave)[seen] / wave[seen]))
    x, tilt, first, last = (torch.from_numpy(values.copy()) for values in (line.x, decay, 2 * wave**2, wanted))
    spread = (torch.full_like(x, float(value)) for value in (noise, doubt))
    least_squares.fit(model, (x, tilt, first, last, *spread), evaluations)
    with torch.no_grad():
        moved = model(x, tilt)[1].numpy()
    return np.asarray(given + moved + energy - begun)
