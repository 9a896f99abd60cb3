"""How the shapes of subbands answer to a change of potential, their fillings held."""

from dataclasses import dataclass

import torch

from mlnegf.nanosheet.subbands import Subbands, TransverseBasis

Tensor = torch.Tensor


@dataclass(frozen=True, eq=False)
class Polarisation:
    """Response of Σ_m N_m |ψ_m|² to U at fixed N_m, slice by slice, by first-order perturbation of wave functions.

    A pair of subbands of one family enters by ψ_m ψ_n 2 (N_m − N_n)/(E_m − E_n), where N_n = 0 unless n is kept. For
    each family are held the kept waves (nx, K, C), the functions (C, M), the coefficients of all subbands (nx, M, M),
    and these weights of kept with all (nx, K, M), 1/eV nm. No matrix between cells is formed.
    """

    families: dict[int, tuple[Tensor, Tensor, Tensor, Tensor]]
    areas: Tensor

    @staticmethod
    def of(basis: TransverseBasis, subbands: Subbands, family: Tensor, rank: Tensor, lines: Tensor) -> "Polarisation":
        """Prepare the response for kept subbands (K,) with `lines` (K, nx) electrons per nm."""
        found = {}
        for index in torch.unique(family).tolist():
            size, kept = basis.sizes[index], rank[family == index]
            functions, coefficients = basis.family(index)[0], subbands.coefficients[index, :, :size, :size]
            levels = subbands.energies[index, :, :size]
            density = torch.zeros_like(levels)
            density[:, kept] = lines[family == index].T
            gap = levels[:, kept, None] - levels[:, None, :]
            weight = torch.where(gap.abs() > 1e-9, 2 * (density[:, kept, None] - density[:, None, :]) / gap, 0.0)
            weight[:, :, kept] /= 2  # such a pair comes twice
            waves = coefficients[:, :, kept].transpose(1, 2) @ functions.T
            found[index] = waves, functions, coefficients, weight
        return Polarisation(found, basis.weights)

    def __call__(self, energy: Tensor) -> Tensor:
        """Change of the density, nm⁻³, by a change of U, eV; both (nx, C)."""
        density = torch.zeros_like(energy)
        weighted = (energy * self.areas)[:, None, :]
        for family, (waves, functions, coefficients, _) in self.families.items():
            density += self.mixed(family, ((waves * weighted) @ functions) @ coefficients)
        return density

    def mixed(self, family: int, perturbation: Tensor) -> Tensor:
        """Change of the density, (nx, C), nm⁻³, by matrix elements of kept with all subbands, (nx, K, M), eV."""
        waves, functions, coefficients, weight = self.families[family]
        return (waves * ((perturbation * weight) @ coefficients.mT @ functions.T)).sum(1)

    def transposed(self, weights: Tensor) -> Tensor:
        """Apply the transpose to weights of the density (nx, C): the response is a symmetric kernel times the areas."""
        return self(weights / self.areas) * self.areas
