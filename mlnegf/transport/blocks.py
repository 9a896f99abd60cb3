"""Block-tridiagonal Hamiltonians, and how E S − H − Σ is solved: block by block, all energies at once.

Blocks are eliminated without pivoting between them; what that costs in digits, where a part of the device resonates, is
won back by iterative refinement, and the residual of every energy is told. `banded` is the slow way that always works.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.linalg import solve_banded

from mlnegf.transport.leads import Lead, SelfEnergy, complex_self_energy

Tensor = torch.Tensor

REFINED = 1e-13
"""Relative residual at which refinement stops."""

TRUSTED = 1e-11
"""Relative residual above which an energy is solved again, more safely."""


@dataclass(frozen=True, eq=False)
class System:
    """A device between its leads.

    Attributes
    ----------
    diagonal : Tensor, (sites, block, block)
        ⟨n|H|n⟩, Hermitian; any energy unit.
    upper : Tensor, (sites − 1, block, block)
        ⟨n|H|n+1⟩.
    left, right : Lead
    overlap, overlap_upper : Tensor, optional
        ⟨n|S|n⟩ and ⟨n|S|n+1⟩, as `diagonal` and `upper`; unit matrix and zero unless given.
    """

    diagonal: Tensor
    upper: Tensor
    left: Lead
    right: Lead
    overlap: Tensor | None = None
    overlap_upper: Tensor | None = None

    @staticmethod
    def of(
        diagonal: Any,
        upper: Any,
        left_lead: Lead | Sequence[Any],
        right_lead: Lead | Sequence[Any],
        overlap: Sequence[Any] | None = None,
        device: str | torch.device | None = None,
    ) -> "System":
        """Check the blocks and bring them to one type and `device`.

        Raises
        ------
        ValueError
            Naming the argument, its shape and the shape expected.
        """
        blocks = as_tensor("diagonal", diagonal)
        if blocks.ndim != 3 or blocks.shape[1] != blocks.shape[2] or len(blocks) < 2:
            raise ValueError(
                f"transport: diagonal has shape {tuple(blocks.shape)}, expected (sites, block, block) with 2 sites or "
                "more; repeat a lead's block for a shorter device."
            )
        sites, block, _ = blocks.shape
        named: dict[str, tuple[Any, tuple[int, ...]]] = {"upper": (upper, (sites - 1, block, block))}
        for side, lead in (("left_lead", left_lead), ("right_lead", right_lead)):
            parts = tuple(vars(lead).values() if isinstance(lead, Lead) else lead)
            if len(parts) not in (2, 3, 4):
                raise ValueError(f"transport: {side} has {len(parts)} parts, expected (onsite, hopping) and overlaps.")
            for name, part in zip(("onsite", "hopping", "overlap", "overlap_hopping"), parts, strict=False):
                named[f"{side} {name}"] = (part, (block, block))
        if overlap is not None and len(overlap) != 2:
            raise ValueError(f"transport: overlap has {len(overlap)} parts, expected ⟨n|S|n⟩ and ⟨n|S|n+1⟩.")
        if overlap is not None:
            named |= {
                "overlap[0]": (overlap[0], (sites, block, block)),
                "overlap[1]": (overlap[1], (sites - 1, block, block)),
            }
        given = {"diagonal": blocks}
        for name, (value, shape) in named.items():
            if value is None:
                continue
            given[name] = as_tensor(name, value)
            if tuple(given[name].shape) != shape:
                raise ValueError(f"transport: {name} has shape {tuple(given[name].shape)}, expected {shape}.")
        for name, value in given.items():
            if not bool(torch.isfinite(value.abs()).all()):
                raise ValueError(f"transport: {name} has entries that are not finite; remove NaN and inf.")
        hermitian = {f"{side} {name}" for side in ("left_lead", "right_lead") for name in ("onsite", "overlap")}
        for name in sorted(given.keys() & (hermitian | {"diagonal", "overlap[0]"})):
            skew = float((given[name] - given[name].mH).abs().max())
            if skew > 1e-9 * float(given[name].abs().max()):
                raise ValueError(
                    f"transport: {name} differs from its adjoint by {skew:.1e}, expected Hermitian blocks."
                )
        kind = torch.complex128 if any(value.is_complex() for value in given.values()) else torch.float64
        tensors = {name: value.to(device, kind) for name, value in given.items()}

        def lead_of(side: str) -> Lead:
            names = ("onsite", "hopping", "overlap", "overlap_hopping")
            return Lead(*(tensors.get(f"{side} {name}") for name in names))  # type: ignore[arg-type]

        return System(
            tensors["diagonal"],
            tensors["upper"],
            lead_of("left_lead"),
            lead_of("right_lead"),
            tensors.get("overlap[0]"),
            tensors.get("overlap[1]"),
        )


class Elimination:
    """Block elimination, left to right, of Q matrices E S − H − Σ at once.

    Attributes
    ----------
    inverses : list of Tensor, (Q, block, block)
        Of the diagonal blocks that are left when everything to their left is gone.
    """

    def __init__(self, energies: Tensor, system: System, left: Tensor, right: Tensor) -> None:
        kind = torch.complex128 if energies.is_complex() else system.diagonal.dtype
        energy = energies[:, None, None].to(kind)
        self.system, self.energy, self.ends = system, energy, (left, right)
        # Couplings along one orbital each, as on a cubic lattice, are multiplied as vectors.
        along = system.upper.diagonal(dim1=-2, dim2=-1)
        plain = system.overlap_upper is None and bool((torch.diag_embed(along) == system.upper).all())
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

    def _diagonal(self, n: int) -> Tensor:
        system = self.system
        if system.overlap is None:
            matrix = (-system.diagonal[n]).to(self.energy.dtype).repeat(len(self.energy), 1, 1)
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

    def waves(self, left: SelfEnergy, right: SelfEnergy) -> tuple[Tensor, Tensor]:
        """Solve for the columns of [W_L W_R], (Q, sites, block, p), and tell the relative residual left, (Q,)."""
        source = sources(len(self.inverses), left, right).to(self.energy.dtype)
        if source.shape[-1] == 0:
            return source, torch.zeros(len(source), dtype=torch.float64, device=source.device)
        size = source.abs().amax((1, 2, 3)).clamp_min(1e-300)
        solution = self._substitute(source)
        left_over = source - self._apply(solution)
        residual = left_over.abs().amax((1, 2, 3)) / size
        for _ in range(3):
            if not bool((residual > REFINED).any()):
                break
            trial = solution + self._substitute(left_over)
            trial_left_over = source - self._apply(trial)
            trial_residual = trial_left_over.abs().amax((1, 2, 3)) / size
            better = (trial_residual < residual)[:, None, None, None]
            solution = torch.where(better, trial, solution)
            left_over = torch.where(better, trial_left_over, left_over)
            residual = torch.where(better[:, 0, 0, 0], trial_residual, residual)
        return solution, residual

    def _substitute(self, source: Tensor) -> Tensor:
        folded = [source[:, 0]]
        for n, inverse in enumerate(self.inverses[:-1]):
            folded.append(source[:, n + 1] + self.behind(n, inverse @ folded[n]))
        solution = [self.inverses[-1] @ folded[-1]]
        for n in range(len(self.inverses) - 2, -1, -1):
            solution.append(self.inverses[n] @ (folded[n] + self.ahead(n, solution[-1])))
        return torch.stack(solution[::-1], 1)

    def _apply(self, waves: Tensor) -> Tensor:
        product = [self._diagonal(n) @ waves[:, n] for n in range(waves.shape[1])]
        for n in range(waves.shape[1] - 1):
            product[n] = product[n] - self.ahead(n, waves[:, n + 1])
            product[n + 1] = product[n + 1] - self.behind(n, waves[:, n])
        return torch.stack(product, 1)


def green_blocks(energies: Tensor, system: System) -> Tensor:
    """Diagonal blocks ⟨n|G|n⟩ at complex energies above the real axis, (Q, sites, block, block).

    The recursive Green's function: G_nn = (A_n − what lies to the left − what lies to the right)⁻¹.
    """
    left, right = (
        complex_self_energy(energies, lead, side) for lead, side in ((system.left, "left"), (system.right, "right"))
    )
    forward = Elimination(energies, system, left, right)
    blocks = [forward.inverses[-1]]
    for n in range(len(system.diagonal) - 2, -1, -1):
        # G_nn = g_n + g_n H_n,n+1 G_n+1,n+1 H_n+1,n g_n
        inverse = forward.inverses[n]
        blocks.append(inverse + inverse @ forward.ahead(n, blocks[-1] @ forward.behind(n, inverse)))
    return torch.stack(blocks[::-1], 1)


def banded(energy: float, system: System, left: SelfEnergy, right: SelfEnergy) -> Tensor:
    """Solve one energy with pivoting between blocks, (sites, block, p); NaN where E S − H − Σ is singular."""
    sites, block, _ = system.diagonal.shape
    width = 2 * block - 1
    band = np.zeros((2 * width + 1, sites * block), dtype=np.complex128)
    unit = torch.eye(block, dtype=torch.complex128, device=system.diagonal.device)

    def put(row: int, column: int, values: Tensor) -> None:
        i, j = np.meshgrid(np.arange(block) + row * block, np.arange(block) + column * block, indexing="ij")
        band[width + i - j, j] += values.cpu().numpy()

    for n in range(sites):
        overlap = unit if system.overlap is None else system.overlap[n]
        put(n, n, energy * overlap - system.diagonal[n])
        if n + 1 < sites:
            link = system.upper[n].to(torch.complex128)
            if system.overlap_upper is not None:
                link = link - energy * system.overlap_upper[n]
            put(n, n + 1, -link)
            put(n + 1, n, -link.mH)
    put(0, 0, -left.matrix[0])
    put(sites - 1, sites - 1, -right.matrix[0])
    source = sources(sites, left, right)[0].reshape(sites * block, -1).to(torch.complex128).cpu().numpy()
    try:
        solution = solve_banded((width, width), band, source)
    except np.linalg.LinAlgError:
        solution = np.full(source.shape, np.nan + 0j)
    return torch.from_numpy(np.asarray(solution)).reshape(sites, block, -1)


def sources(sites: int, left: SelfEnergy, right: SelfEnergy) -> Tensor:
    """Columns of [W_L W_R], (Q, sites, block, p)."""
    energies, block, split = left.injection.shape
    columns = split + right.injection.shape[-1]
    source = torch.zeros(energies, sites, block, columns, dtype=left.injection.dtype, device=left.injection.device)
    source[:, 0, :, :split] = left.injection
    source[:, -1, :, split:] = right.injection
    return source


def as_tensor(name: str, value: Any) -> Tensor:
    """Turn any array of numbers into a tensor of its own, real or complex in double precision."""
    if isinstance(value, Tensor):
        return value.to(torch.complex128 if value.is_complex() else torch.float64)
    array = np.array(value)
    if array.dtype.kind not in "fiuc":
        raise ValueError(f"transport: {name} has type {array.dtype}, expected real or complex numbers.")
    return torch.from_numpy(array.astype(np.complex128 if array.dtype.kind == "c" else np.float64))
