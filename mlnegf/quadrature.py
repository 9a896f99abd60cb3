"""Energy points and weights that know the band edges.

The charge injected from a contact starts with an inverse square root at the contact's band edge, and has a square-root
kink at the other contact's edge. Between the two edges E = E_low + (E_high − E_low) sin²θ, above both E = E_high + q²:
in θ and q the integrand is smooth, and Gauss–Kronrod panels converge fast. Panels whose error estimate is too large are
halved, which is how narrow resonances are found.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

Tensor = torch.Tensor
Floats = NDArray[np.float64]


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


NODES, KRONROD, GAUSS = _gauss_kronrod()


@dataclass(frozen=True, eq=False)
class Panels:
    """Intervals of θ or q; every array has one entry a panel.

    Attributes
    ----------
    mode : int64
        Subband the panel belongs to.
    above : bool
        True for q (above both edges), False for θ (between the edges).
    start, stop : float64
        Interval in the panel's own variable.
    """

    mode: Tensor
    above: Tensor
    start: Tensor
    stop: Tensor

    def select(self, chosen: Tensor) -> "Panels":
        """Return the chosen panels."""
        return Panels(self.mode[chosen], self.above[chosen], self.start[chosen], self.stop[chosen])

    def halves(self) -> "Panels":
        """Return both halves of every panel."""
        middle = (self.start + self.stop) / 2
        return Panels(
            self.mode.repeat(2),
            self.above.repeat(2),
            torch.cat([self.start, middle]),
            torch.cat([middle, self.stop]),
        )

    @staticmethod
    def join(parts: list["Panels"]) -> "Panels":
        """Concatenate panels."""
        return Panels(
            *(torch.cat([getattr(part, name) for part in parts]) for name in ("mode", "above", "start", "stop"))
        )


@dataclass(frozen=True, eq=False)
class EnergyPoints:
    """Energies, one row of 15 a panel, and how they move with the edges.

    Attributes
    ----------
    mode : int64, (P,)
        Subband of each panel.
    energy, weight, gauss_weight : float64, (P, 15)
        eV; Kronrod and embedded Gauss weights, dE included.
    low_share, high_share : float64, (P, 15)
        ∂E/∂E_low and ∂E/∂E_high at fixed θ or q.
    stretch : float64, (P, 15)
        ∂ ln(weight)/∂(E_high − E_low), 1/eV.
    """

    mode: Tensor
    energy: Tensor
    weight: Tensor
    gauss_weight: Tensor
    low_share: Tensor
    high_share: Tensor
    stretch: Tensor


def first_panels(low: Tensor, high: Tensor, top: Tensor, between: int = 3, above: int = 6) -> Panels:
    """Cut the range of every subband into panels.

    Parameters
    ----------
    low, high, top : Tensor, (K,)
        Lower and higher contact edge and the upper end of the integral of each subband, eV; low ≤ high ≤ top.
    between, above : int
        Panels between the edges and above them.
    """
    modes = torch.arange(len(low))
    theta = torch.linspace(0, torch.pi / 2, between + 1, dtype=low.dtype)
    q = torch.linspace(0, 1, above + 1, dtype=low.dtype) * (top - high).sqrt()[:, None]
    split = high - low > 1e-12
    count = int(split.sum())
    return Panels(
        mode=torch.cat([modes[split].repeat_interleave(between), modes.repeat_interleave(above)]),
        above=torch.arange(count * between + len(low) * above) >= count * between,
        start=torch.cat([theta[:-1].repeat(count), q[:, :-1].reshape(-1)]),
        stop=torch.cat([theta[1:].repeat(count), q[:, 1:].reshape(-1)]),
    )


def energy_points(panels: Panels, low: Tensor, high: Tensor) -> EnergyPoints:
    """Place the 15 Kronrod points of every panel."""
    nodes, kronrod, gauss = (torch.as_tensor(rule, dtype=low.dtype) for rule in (NODES, KRONROD, GAUSS))
    half = ((panels.stop - panels.start) / 2)[:, None]
    variable = (panels.start + panels.stop)[:, None] / 2 + half * nodes
    above = panels.above[:, None]
    edge_low, edge_high = low[panels.mode][:, None], high[panels.mode][:, None]
    gap = edge_high - edge_low
    share = torch.where(above, torch.ones_like(variable), torch.sin(variable).square())
    slope = torch.where(above, 2 * variable, gap * torch.sin(2 * variable))
    return EnergyPoints(
        mode=panels.mode,
        energy=torch.where(above, edge_high + variable.square(), edge_low + gap * share),
        weight=half * kronrod * slope,
        gauss_weight=half * gauss * slope,
        low_share=1 - share,
        high_share=share,
        stretch=torch.where(above, torch.zeros_like(gap), 1 / gap.clamp_min(1e-300)).expand_as(share),
    )


def refine(
    panels: Panels,
    low: Tensor,
    high: Tensor,
    defect: Callable[[EnergyPoints], Tensor],
    depth: int = 16,
) -> tuple[Panels, float]:
    """Halve panels until each one's defect is below 1.

    Parameters
    ----------
    defect : callable
        Maps energy points to |Kronrod − Gauss| in units of the tolerance, one number a panel.
    depth : int
        Largest number of halvings.

    Returns
    -------
    panels : Panels
        Sorted by subband.
    left : float
        Largest defect of a panel that was still above 1 after `depth` halvings; 0 when there is none.
    """
    accepted: list[Panels] = []
    for level in range(depth + 1):
        error = defect(energy_points(panels, low, high))
        failing = error > 1.0
        if level == depth or not bool(failing.any()):
            accepted.append(panels)
            break
        accepted.append(panels.select(~failing))
        panels = panels.select(failing).halves()
    joined = Panels.join(accepted)
    left = float(error[failing].max()) if bool(failing.any()) else 0.0
    return joined.select(torch.argsort(joined.mode, stable=True)), left
