"""What a contact does to a device: Σ, split into what shifts levels and what lets electrons in."""

from dataclasses import dataclass

import torch

Tensor = torch.Tensor


@dataclass(frozen=True, eq=False)
class SelfEnergy:
    """Σ at Q energies, split into what shifts and what broadens.

    Attributes
    ----------
    shift : Tensor, (Q, block, block)
        (Σ + Σ†)/2; real symmetric for a real Hamiltonian, as time reversal asks.
    injection : Tensor, (Q, block, p)
        W with Γ = i(Σ − Σ†) = W W†; p is the largest number of open modes, columns beyond them are zero.
    """

    shift: Tensor
    injection: Tensor

    def select(self, energies: Tensor | int) -> "SelfEnergy":
        """Return that of some of the energies, or of one."""
        chosen = torch.as_tensor(energies).reshape(-1)
        return SelfEnergy(self.shift[chosen], self.injection[chosen])

    def replaced(self, chosen: Tensor, others: "SelfEnergy") -> "SelfEnergy":
        """Put others in the place of the chosen energies."""
        more = max(0, others.injection.shape[-1] - self.injection.shape[-1])
        shift, injection = self.shift.clone(), torch.nn.functional.pad(self.injection, (0, more))
        injection[chosen] = 0.0
        shift[chosen], injection[chosen, :, : others.injection.shape[-1]] = others.shift, others.injection
        return SelfEnergy(shift, injection)

    def in_units_of(self, energy: float) -> "SelfEnergy":
        """Divide by a unit of energy."""
        return SelfEnergy(self.shift / energy, self.injection / energy**0.5)

    @property
    def gamma(self) -> Tensor:
        """Γ, (Q, block, block)."""
        return self.injection @ self.injection.mH

    @property
    def matrix(self) -> Tensor:
        """Σ, (Q, block, block), complex."""
        return self.shift - 0.5j * self.gamma

    @property
    def is_known(self) -> Tensor:
        """Whether Σ is defined, (Q,)."""
        return self.shift.isfinite().all(-1).all(-1)
