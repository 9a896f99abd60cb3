"""The half-infinite chain in closed form, at real and complex energies.

A chain of site energies ε = E₀ + 2t and hoppings −t has the waves ψ_n = λⁿ with

    cos ka = (λ + 1/λ)/2 = 1 − (E − E₀)/2t,    λ = e^{ika},                          (1)
    Σ = −tλ,    Γ = −2 Im Σ = 2t sin ka,                                             (2)
    dλ/dE = λ²/(t(1 − λ²)),    dΣ/dE = −λ²/(1 − λ²),    d²Σ/dE² = −2λ³/(t(1 − λ²)³), (3)

λ being the root that decays into the lead, or runs out of it inside the band: |λ| < 1, or Im λ > 0.
"""

from dataclasses import dataclass
from functools import cached_property

import torch

Tensor = torch.Tensor


def phase_factor(energy_above_edge: Tensor, hopping: Tensor | float) -> Tensor:
    """Return λ of equation (1), complex, for E − E₀ real or complex above the real axis, and t > 0; same units."""
    x = energy_above_edge / (2 * hopping)
    cosine = 1 - x
    if x.is_complex():
        root = (cosine.square() - 1).sqrt()
        growing = torch.where((cosine + root).abs() > (cosine - root).abs(), cosine + root, cosine - root)
        return 1 / growing
    sine_squared = x * (2 - x)
    root = sine_squared.abs().sqrt()
    inside = sine_squared > 0
    # Outside cos ∓ √(cos² − 1) as its reciprocal, where no digits cancel.
    decaying = torch.where(cosine < 0, -1.0, 1.0) / (cosine.abs() + root)
    return torch.complex(torch.where(inside, cosine, decaying), torch.where(inside, root, torch.zeros_like(root)))


@dataclass(frozen=True, eq=False)
class ChainLead:
    """A lead at Q energies.

    Attributes
    ----------
    phase : complex Tensor, (Q,)
        λ; |λ| < 1 outside the band.
    hopping : Tensor, (Q,)
        t, eV.
    """

    phase: Tensor
    hopping: Tensor

    @staticmethod
    def of(energy_above_edge: Tensor, hopping: Tensor) -> "ChainLead":
        """Solve a lead; E − E₀ and t (Q,), eV."""
        return ChainLead(phase_factor(energy_above_edge, hopping), hopping)

    def __getitem__(self, part: slice) -> "ChainLead":
        """Return some of the energies."""
        return ChainLead(self.phase[part], self.hopping[part])

    @cached_property
    def self_energy(self) -> Tensor:
        """Σ, eV."""
        return -self.hopping * self.phase

    @cached_property
    def self_energy_slope(self) -> Tensor:
        """Derivative dΣ/dE."""
        square = self.phase.square()
        return -square / (1 - square)

    @cached_property
    def self_energy_curvature(self) -> Tensor:
        """Second derivative d²Σ/dE², 1/eV."""
        return -2 * self.phase**3 / (self.hopping * (1 - self.phase.square()) ** 3)

    @cached_property
    def gamma(self) -> Tensor:
        """Γ, eV; zero outside the band."""
        return 2 * self.hopping * self.phase.imag

    @cached_property
    def gamma_slope(self) -> Tensor:
        """dΓ/dE at real energies; zero outside the band."""
        inside = self.phase.imag > 0
        return torch.where(inside, self.phase.real / self.phase.imag, torch.zeros_like(self.phase.imag))
