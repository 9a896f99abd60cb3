"""The two reservoirs: how source and drain fill the states they inject into."""

from dataclasses import dataclass

import torch

from mlnegf._common import hold, is_finite, plain, require

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
            good = is_finite(value) and abs(plain(value)) <= 1e100
            require(good, name, value, "a finite energy, eV, up to 1e100", "Contacts")
        require(plain(self.kT) >= 1e-100, "kT", self.kT, "a positive energy, eV, 1e-100 or more", "Contacts")
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
