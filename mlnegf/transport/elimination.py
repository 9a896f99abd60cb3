"""How E S − H − Σ is solved: block by block, from left to right, all energies at once.

Blocks are eliminated without pivoting between them; what that costs in digits, where a part of the device resonates, is
won back by iterative refinement, and the residual of every energy is told.
"""

import torch

from mlnegf.transport.blocks import System, require_system
from mlnegf.transport.checks import finite, untracked
from mlnegf.transport.leads import complex_self_energies

Tensor = torch.Tensor


class Elimination:
    """Block elimination, left to right, of Q matrices E S − H − Σ at once.

    Attributes
    ----------
    inverses : list of Tensor, (Q, block, block)
        Of the diagonal blocks that are left when everything to their left is gone.
    largest : Tensor, (Q,)
        Their largest entry. Where E S − H − Σ is singular, one of those blocks is.
    """

    def __init__(self, energies: Tensor, system: System, left: Tensor, right: Tensor) -> None:
        kind = torch.complex128 if energies.is_complex() else system.diagonal.dtype
        energy = energies[:, None, None].to(kind)
        self.system, self.energy, self.ends = system, energy, (left, right)
        # Couplings along one orbital each, as on a cubic lattice, are multiplied as vectors.
        along = system.upper.diagonal(dim1=-2, dim2=-1)
        alone = system.overlap_upper is None and system.upper.ndim == 3
        plain = alone and bool((torch.diag_embed(along) == system.upper).all())
        self.along = along if plain else None
        self.inverses: list[Tensor] = []
        inverse = energy
        for n in range(len(system.diagonal)):
            matrix = self._diagonal(n)
            if n and self.along is not None:
                link = self.along[n - 1]
                matrix = matrix - link.conj()[:, None] * inverse * link
            elif n:
                link = self._upper(n - 1)
                matrix = matrix - self._lower(n - 1).to(inverse.dtype) @ inverse @ link.to(inverse.dtype)
            inverse = torch.linalg.inv_ex(matrix).inverse
            self.inverses.append(inverse)
        self.largest = torch.stack([inverse.abs().amax((-2, -1)) for inverse in self.inverses]).amax(0)

    def _diagonal(self, n: int) -> Tensor:
        system = self.system
        if system.overlap is None:
            block = system.diagonal.shape[-1]
            matrix = (-system.diagonal[n]).to(self.energy.dtype).expand(len(self.energy), block, block).clone()
            matrix.diagonal(dim1=-2, dim2=-1).add_(self.energy[..., 0])
        else:
            matrix = self.energy * system.overlap[n] - system.diagonal[n]
        if n == 0:
            matrix = matrix - self.ends[0]
        if n == len(system.diagonal) - 1:
            matrix = matrix - self.ends[1]
        return matrix

    def _upper(self, n: int) -> Tensor:
        """H − E S above the diagonal: minus the entry of the matrix that is inverted."""
        if self.system.overlap_upper is None:
            return self.system.upper[n]
        return self.system.upper[n] - self.energy * self.system.overlap_upper[n]

    def _lower(self, n: int) -> Tensor:
        """H − E S below the diagonal; at a complex energy not the adjoint of what is above."""
        if self.system.overlap_upper is None:
            return self.system.upper[n].mH
        return self.system.upper[n].mH - self.energy * self.system.overlap_upper[n].mH

    def ahead(self, n: int, waves: Tensor) -> Tensor:
        """Apply ⟨n|H|n+1⟩."""
        return self.along[n][:, None] * waves if self.along is not None else self._upper(n).to(waves.dtype) @ waves

    def behind(self, n: int, waves: Tensor) -> Tensor:
        """Apply ⟨n+1|H|n⟩."""
        return (
            self.along[n].conj()[:, None] * waves if self.along is not None else self._lower(n).to(waves.dtype) @ waves
        )

    def solve(self, source: Tensor, refined: float = 1e-13) -> tuple[Tensor, Tensor]:
        """Solve for columns (Q, sites, block, p), refined to a relative residual, and tell the one left, (Q,).

        Where a block to be inverted is nearly singular the residual has to be smaller, for the same error.
        """
        source = source.to(self.energy.dtype)
        if source.shape[-1] == 0:
            return source, torch.zeros(len(source), dtype=torch.float64, device=source.device)
        goal = (1e3 * refined / self.largest).clamp(1e-15, refined)
        size = source.abs().amax((1, 2, 3)).clamp_min(torch.finfo(torch.float64).tiny)
        solution = self._substitute(source)
        left_over = source - self.apply(solution)
        residual = left_over.abs().amax((1, 2, 3)) / size
        for _ in range(3):
            if not bool((residual > goal).any()):
                break
            trial = solution + self._substitute(left_over)
            trial_left_over = source - self.apply(trial)
            trial_residual = trial_left_over.abs().amax((1, 2, 3)) / size
            better = (trial_residual < residual)[:, None, None, None]
            solution = torch.where(better, trial, solution)
            left_over = torch.where(better, trial_left_over, left_over)
            halved = trial_residual < residual / 2
            residual = torch.where(better[:, 0, 0, 0], trial_residual, residual)
            if not bool((halved & (residual > goal)).any()):  # what is left is rounding
                break
        # What a large solution rounds off is lost whether the residual shows it or not.
        return solution, torch.maximum(residual, 1e-16 * solution.abs().amax((1, 2, 3)) / size)

    def _substitute(self, source: Tensor) -> Tensor:
        folded = [source[:, 0]]
        for n, inverse in enumerate(self.inverses[:-1]):
            folded.append(source[:, n + 1] + self.behind(n, inverse @ folded[n]))
        solution = [self.inverses[-1] @ folded[-1]]
        for n in range(len(self.inverses) - 2, -1, -1):
            solution.append(self.inverses[n] @ (folded[n] + self.ahead(n, solution[-1])))
        return torch.stack(solution[::-1], 1)

    def apply(self, waves: Tensor) -> Tensor:
        """Multiply by E S − H − Σ, (Q, sites, block, p)."""
        product = [self._diagonal(n) @ waves[:, n] for n in range(waves.shape[1])]
        for n in range(waves.shape[1] - 1):
            product[n] = product[n] - self.ahead(n, waves[:, n + 1])
            product[n + 1] = product[n + 1] - self.behind(n, waves[:, n])
        return torch.stack(product, 1)


def green_blocks(energies: Tensor, system: System, leads: tuple[Tensor, Tensor] | None = None) -> Tensor:
    """Diagonal blocks ⟨n|G|n⟩ at complex energies above the real axis, (Q, sites, block, block).

    The recursive Green's function: G_nn = (A_n − what lies to the left − what lies to the right)⁻¹.

    Parameters
    ----------
    energies : Tensor, (Q,)
    system : System
    leads : (Tensor, Tensor), optional
        What `complex_self_energies` found for these energies and leads, where many systems share them.
    """
    device = require_system(system, "green_blocks").diagonal.device
    energies = untracked("energies", finite("energies", energies, (None,), real=False), "green_blocks").to(
        device, torch.complex128
    )
    if leads is None:
        leads = complex_self_energies(energies, system.left, system.right)
    forward = Elimination(energies, system, *leads)
    blocks = [forward.inverses[-1]]
    for n in range(len(system.diagonal) - 2, -1, -1):
        # G_nn = g_n + g_n H_n,n+1 G_n+1,n+1 H_n+1,n g_n
        inverse = forward.inverses[n]
        blocks.append(inverse + inverse @ forward.ahead(n, blocks[-1] @ forward.behind(n, inverse)))
    found = torch.stack(blocks[::-1], 1)
    for n in torch.nonzero(~found.isfinite().all((1, 2, 3)))[:1, 0].tolist():
        raise ValueError(
            f"transport: energies holds {complex(energies[n])!r}, where G is not finite; "
            "take energies above the real axis."
        )
    return found
