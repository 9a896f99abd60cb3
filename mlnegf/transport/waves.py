"""The scattering states ψ = G W of both leads, at every energy as safely as it takes.

If H is real, so is all of G⁻¹ but the broadening: G⁻¹ = B + (i/2) W W†, W = [W_L W_R]. Then the elimination runs on
the real B, at a quarter of the work, and with X = B⁻¹W and the reaction matrix K = W†X follows ψ = X (1 + iK/2)⁻¹.

Where B is nearly singular the elimination is repeated in complex numbers, which the open modes keep from being so. They
cannot where a state x is decoupled from every open mode, W†x = 0 = B x: no lead fills it, x†ψ = 0, but in floating
numbers ψ holds of it what it likes. The solutions ψ± of (G⁻¹ ± δ S) ψ = W hold 1e-16/δ at most, with opposite signs,
and where they agree to 1e-3 their mean is ψ but for the square of that. Where they do not, a true resonance is near and
G⁻¹ is regular; what elimination cannot solve there is left to a banded factorisation with pivoting.
"""

import numpy as np
import torch
from scipy.linalg import solve_banded

from mlnegf.transport.blocks import System
from mlnegf.transport.elimination import Elimination
from mlnegf.transport.self_energies import SelfEnergy

Tensor = torch.Tensor

TRUSTED = 1e-11
"""Relative residual above which an energy is solved again, more safely."""

UNSURE = 1e-9
"""Estimated error above which the same is done: the residual times the largest entry of an inverse."""

SINGULAR = 1e6
"""Largest entry of an inverse, in units of one over the largest hopping, above which the same is done."""

ASIDE = 1e-7
"""δ, in units of the largest hopping."""

AGREEING = 1e-3
"""Relative difference of ψ+ and ψ− up to which their mean is taken."""

SOLVED = 1e-8
"""Relative residual above which the last resort is no answer either."""


def injected_waves(energies: Tensor, system: System, left: SelfEnergy, right: SelfEnergy) -> Tensor:
    """Solve for ψ of the left and then of the right lead's open modes, (Q, sites, block, p); NaN where that failed.

    The system in its own unit.
    """
    source = sources(len(system.diagonal), left, right)
    if source.shape[-1] == 0:
        return source.to(torch.complex128)
    if system.diagonal.is_complex():
        found, doubtful = source.clone(), torch.ones_like(energies, dtype=torch.bool)
    else:
        found, doubtful = by_reaction_matrix(energies, system, left, right, source)
    chosen = torch.nonzero(doubtful)[:, 0]
    if len(chosen):
        found[chosen] = _in_complex_numbers(energies[chosen], system, left.select(chosen), right.select(chosen))
    return found


def by_reaction_matrix(
    energies: Tensor, system: System, left: SelfEnergy, right: SelfEnergy, source: Tensor
) -> tuple[Tensor, Tensor]:
    """Solve in real numbers, and tell where that is in doubt, (Q,)."""
    matrix = Elimination(energies, system, left.shift, right.shift)
    real, residual = matrix.solve(source)
    reaction = torch.cat([left.injection.mT @ real[:, 0], right.injection.mT @ real[:, -1]], -2)
    unit = torch.eye(real.shape[-1], dtype=torch.complex128, device=real.device)
    broadened = torch.linalg.inv_ex(unit + 0.5j * reaction).inverse[:, None]
    return torch.complex(real @ broadened.real, real @ broadened.imag), _is_doubtful(matrix, residual)


def _is_doubtful(matrix: Elimination, residual: Tensor) -> Tensor:
    error = residual * matrix.largest
    # So written, what is not a number is in doubt.
    return ~((residual < TRUSTED) & (error < UNSURE) & (matrix.largest < SINGULAR))


def _in_complex_numbers(energies: Tensor, system: System, left: SelfEnergy, right: SelfEnergy) -> Tensor:
    source = sources(len(system.diagonal), left, right)
    matrix = Elimination(energies.to(torch.complex128), system, left.matrix, right.matrix)
    found, residual = matrix.solve(source)
    chosen = torch.nonzero(_is_doubtful(matrix, residual))[:, 0]
    if not len(chosen):
        return found
    some = energies[chosen], left.select(chosen), right.select(chosen), source[chosen]
    mean, agreeing = _from_both_sides(system, *some)
    found[chosen[agreeing]] = mean[agreeing]
    for n in chosen[~agreeing & ~(residual[chosen] < TRUSTED)].tolist():
        sides = left.select(n), right.select(n)
        alone = Elimination(energies[n : n + 1].to(torch.complex128), system, *(side.matrix for side in sides))
        found[n] = _banded(float(energies[n]), system, *sides)
        rest = (source[n] - alone.apply(found[n : n + 1])).abs().max()
        if not bool(rest < SOLVED * source[n].abs().max()):
            found[n] = torch.nan
    return found


def _from_both_sides(
    system: System, energies: Tensor, left: SelfEnergy, right: SelfEnergy, source: Tensor
) -> tuple[Tensor, Tensor]:
    """Mean of ψ+ and ψ−, (Q, sites, block, p), and whether both agree, (Q,)."""
    sides = []
    for aside in (ASIDE, -ASIDE):
        matrix = Elimination((energies + aside).to(torch.complex128), system, left.matrix, right.matrix)
        waves, residual = matrix.solve(source, refined=1e-15)
        waves[~(residual < TRUSTED)] = torch.nan
        sides.append(waves)
    above, below = sides
    mean = (above + below) / 2
    return mean, ((above - below).abs().amax((1, 2)) <= AGREEING * mean.abs().amax((1, 2))).all(-1)


def _banded(energy: float, system: System, left: SelfEnergy, right: SelfEnergy) -> Tensor:
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
        solution = solve_banded((width, width), band, source, check_finite=False)
    except np.linalg.LinAlgError:
        solution = np.full(source.shape, np.nan + 0j)
    return torch.from_numpy(np.asarray(solution)).reshape(sites, block, -1)


def sources(sites: int, left: SelfEnergy, right: SelfEnergy) -> Tensor:
    """Return the columns of [W_L W_R], (Q, sites, block, p)."""
    energies, block, split = left.injection.shape
    columns = split + right.injection.shape[-1]
    source = torch.zeros(energies, sites, block, columns, dtype=left.injection.dtype, device=left.injection.device)
    source[:, 0, :, :split] = left.injection
    source[:, -1, :, split:] = right.injection
    return source
