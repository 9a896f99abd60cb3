"""The two reservoirs: how source and drain fill the states they inject into."""

from dataclasses import dataclass

import torch

from mlnegf._common import hold, is_finite, is_positive, require

Tensor = torch.Tensor


@dataclass(frozen=True, eq=False)
class Contacts:
    """Fermi levels of source and drain (eV) and kT (eV)."""

    source: float
    drain: float
    kT: float

    def __post_init__(self) -> None:
        for name in ("source", "drain", "kT"):
            value = getattr(self, name)
            require(is_finite(value), name, value, "a finite energy, eV", "Contacts")
        require(is_positive(self.kT), "kT", self.kT, "a positive energy, eV", "Contacts")
        hold(self, float, "source", "drain", "kT")

    def occupation(self, energy: Tensor) -> tuple[Tensor, Tensor]:
        """Fermi functions of source and drain."""
        return fermi(energy, self.source, self.kT), fermi(energy, self.drain, self.kT)

    def slope(self, occupation: Tensor) -> Tensor:
        """∂f/∂E of a Fermi function of value `occupation`, 1/eV."""
        return -occupation * (1 - occupation) / self.kT


def fermi(energy: Tensor, level: float | Tensor, kT: float) -> Tensor:
    """Fermi function at real energies, or at complex ones."""
    scaled = (level - energy) / kT
    if not scaled.is_complex():
        return torch.sigmoid(scaled)
    return 1 / (1 + torch.exp(torch.complex(-scaled.real.clamp(-600, 600), -scaled.imag)))
