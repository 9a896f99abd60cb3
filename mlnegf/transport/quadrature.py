"""Energy points and weights that know the band edges.

The charge that a contact injects starts with an inverse square root at its band edge and has a square-root kink at the
other's. On the real axis, above both edges, E = E_high + q² takes them. The whole spectral function is integrated from
the lower edge up a ramp E = E_low + (1 + i)η sin²s into the upper half-plane and on at the height η, far from every
resonance. In q and s the integrand is smooth, and Gauss–Kronrod panels converge fast; those whose error estimate is
too large are halved.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import torch

from mlnegf._common import Floats

Tensor = torch.Tensor


def _gauss_kronrod() -> tuple[Floats, Floats, Floats]:
    """Return the 7-point Gauss rule inside the 15-point Kronrod rule on [-1, 1] (Kronrod 1965)."""
    nodes = [0.991455371120812639206854697526329, 0.949107912342758524526189684047851]
    nodes += [0.864864423359769072789712788640926, 0.741531185599394439863864773280788]
    nodes += [0.586087235467691130294144045337202, 0.405845151377397166906606412076961]
    nodes += [0.207784955007898467600689403773245]
    kronrod = [0.022935322010529224963732008058970, 0.063092092629978553290700663189204]
    kronrod += [0.104790010322250183839876322541518, 0.140653259715525918745189590510238]
    kronrod += [0.169004726639267902826583426598550, 0.190350578064785409913256402421014]
    kronrod += [0.204432940075298892414161999234649]
    gauss = [0.0, 0.129484966168869693270611432679082, 0.0, 0.279705391489276667901467771423780]
    gauss += [0.0, 0.381830050505118944950369775488975, 0.0]
    return (
        np.array([-node for node in nodes] + [0.0] + nodes[::-1]),
        np.array([*kronrod, 0.209482141084727828012999174891714, *kronrod[::-1]]),
        np.array([*gauss, 0.417959183673469387755102040816327, *gauss[::-1]]),
    )


MOST_PANELS: Final = 4096
"""That a halving may lead to, or four times the first ones: what fails on more is nothing that halving mends."""

NODES, KRONROD, GAUSS = _gauss_kronrod()


@dataclass(frozen=True, eq=False)
class Panels:
    """Intervals of the variable integrated over; every array has one entry a panel.

    Attributes
    ----------
    mode : int64
        Subband the panel belongs to.
    start, stop : float64
        Interval.
    """

    mode: Tensor
    start: Tensor
    stop: Tensor

    def select(self, chosen: Tensor) -> "Panels":
        """Return the chosen panels."""
        return Panels(self.mode[chosen], self.start[chosen], self.stop[chosen])

    def halves(self) -> "Panels":
        """Return both halves of every panel."""
        middle = (self.start + self.stop) / 2
        return Panels(self.mode.repeat(2), torch.cat([self.start, middle]), torch.cat([middle, self.stop]))

    @staticmethod
    def cut(modes: Tensor, reach: Tensor, shares: tuple[float, ...]) -> "Panels":
        """Cut [0, `reach`] of each of `modes` at `shares` of it, 0 and 1 included."""
        edges = torch.tensor(shares, dtype=reach.dtype) * reach[:, None]
        return Panels(modes.repeat_interleave(len(shares) - 1), edges[:, :-1].reshape(-1), edges[:, 1:].reshape(-1))

    @staticmethod
    def join(parts: list["Panels"]) -> "Panels":
        """Concatenate panels."""
        return Panels(*(torch.cat([getattr(part, name) for part in parts]) for name in ("mode", "start", "stop")))


@dataclass(frozen=True, eq=False)
class EnergyPoints:
    """Energies, one row of 15 a panel.

    Attributes
    ----------
    mode : int64, (P,)
        Subband of each panel.
    energy, weight, gauss_weight : Tensor, (P, 15)
        eV; Kronrod and embedded Gauss weights, dE included; complex off the real axis.
    """

    mode: Tensor
    energy: Tensor
    weight: Tensor
    gauss_weight: Tensor

    @cached_property
    def modes(self) -> Tensor:
        """Subband of every energy, (P · 15,)."""
        return self.mode.repeat_interleave(self.energy.shape[1])


# A level about to cross an edge shows within a tiny interval beside it: panels there are short from the start.
ABOVE = (0.0, 0.003, 1 / 6, 1 / 3, 1 / 2, 2 / 3, 5 / 6, 1.0)
RAMP = (0.0, 0.003, 0.5, 1.0)


def nodes_of(panels: Panels) -> tuple[Tensor, Tensor, Tensor]:
    """Return the variable (P, 15), and Kronrod's and Gauss's weights without dE."""
    nodes, kronrod, gauss = (torch.as_tensor(rule, dtype=panels.start.dtype) for rule in (NODES, KRONROD, GAUSS))
    half = ((panels.stop - panels.start) / 2)[:, None]
    return (panels.start + panels.stop)[:, None] / 2 + half * nodes, half * kronrod, half * gauss


def energies_of(rows: Tensor) -> Tensor:
    """Return where the energies of panels at `rows` (P,) lie in flat arrays, (P · 15,)."""
    return (rows[:, None] * len(NODES) + torch.arange(len(NODES))).reshape(-1)


def above(panels: Panels, high: Tensor) -> EnergyPoints:
    """Place the points of panels in q, E = E_high + q²; `high` (K,) in eV."""
    q, kronrod, gauss = nodes_of(panels)
    return EnergyPoints(panels.mode, high[panels.mode][:, None] + q.square(), kronrod * 2 * q, gauss * 2 * q)


def off_axis(panels: Panels, low: Tensor, height: float) -> EnergyPoints:
    """Place the points of panels in s: up the ramp for s ≤ π/2, then along the height η, E rising by η per s.

    `low` (K,) is E_low and `height` η, eV. No panel may hold π/2 inside.
    """
    s, kronrod, gauss = nodes_of(panels)
    ramp = s <= torch.pi / 2
    corner = complex(height, height)
    along = torch.where(ramp, 0.0, s - torch.pi / 2) * height
    energy = low[panels.mode][:, None] + corner * torch.where(ramp, torch.sin(s).square(), 1.0) + along
    slope = torch.where(ramp, corner * torch.sin(2 * s), torch.full_like(energy, height))
    return EnergyPoints(panels.mode, energy, kronrod * slope, gauss * slope)


def off_axis_panels(low: Tensor, stop: Tensor, height: float, width: float = 4.0) -> Panels:
    """Cut the ramp, and the line from its end to the energy `stop` (K,), eV, into panels of `width` · η."""
    modes = torch.arange(len(low))
    ramp = Panels.cut(modes, torch.full_like(low, torch.pi / 2), RAMP)
    rest = ((stop - low) / height - 1).clamp_min(0.0)
    counts = (rest / width).ceil().to(torch.int64)
    mode = modes.repeat_interleave(counts)
    first = counts.cumsum(0) - counts
    step = (rest / counts.clamp_min(1))[mode]
    start = torch.pi / 2 + (torch.arange(len(mode)) - first[mode]) * step
    return Panels.join([ramp, Panels(mode, start, start + step)])


def refine(
    panels: Panels,
    place: Callable[[Panels], EnergyPoints],
    defect: Callable[[EnergyPoints], Tensor],
    depth: int = 16,
) -> tuple[Panels, Tensor, float]:
    """Halve panels until each one's defect is below 1.

    Parameters
    ----------
    place : callable
        `above` or `off_axis`, its edges given.
    defect : callable
        Maps energy points to |Kronrod − Gauss| in units of the tolerance, one number a panel.
    depth : int
        Largest number of halvings; fewer, where they would lead to more than `MOST_PANELS`.

    Returns
    -------
    panels : Panels
        Sorted by subband.
    rows : int64 Tensor, (P,)
        Where each of them lies among all that `defect` was asked, call after call.
    left : float
        Largest defect of a panel that was still above 1 after the last halving; 0 when there is none.
    """
    accepted: list[Panels] = []
    rows: list[Tensor] = []
    left, asked, most = 0.0, 0, max(MOST_PANELS, 4 * len(panels.start))
    for level in range(depth + 1):
        error = defect(place(panels))
        failing = error > 1.0
        if bool(failing.any()) and (level == depth or 2 * int(failing.sum()) > most):
            left = float(error[failing].max())
            failing = torch.zeros_like(failing)
        accepted.append(panels.select(~failing))
        rows.append(asked + (~failing).nonzero()[:, 0])
        if not bool(failing.any()):
            break
        asked += len(failing)
        panels = panels.select(failing).halves()
    joined = Panels.join(accepted)
    order = torch.argsort(joined.mode, stable=True)
    return joined.select(order), torch.cat(rows)[order], left
