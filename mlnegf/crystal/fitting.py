"""Form factors from bands: least squares by Levenberg and Marquardt, with slopes by Hellmann and Feynman.

What decides a band is v(q) at a few lengths of G − G′ alone, and E is differentiated by them without a second solution:
∂E/∂v_s(q) = Σ_{|G−G′| = q} Re [S_s(G − G′) c*_G c_G′]/Ω. So a step of the fit costs one solution of every crystal,
whatever the number of parameters.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import torch
from scipy.linalg import eigh
from scipy.optimize import least_squares
from torch import nn

from mlnegf._common import Floats, is_count, reals, require
from mlnegf.crystal.lattice import Crystal
from mlnegf.crystal.plane_waves import PlaneWaves

STEADY: Final = 1e-6
"""Error, eV, that counts as much as a change of all parameters by their own sizes: who is not asked stays."""
SMALLEST: Final = 0.3
"""Size of a parameter that starts at nothing."""

Tensor = torch.Tensor


@dataclass(frozen=True, eq=False)
class Target:
    """Bands of a crystal to be met.

    Parameters
    ----------
    crystal : Crystal
    cutoff : float
        eV.
    k : array, (k, 3)
        In reciprocal vectors.
    energies : array, (k, bands)
        Of the lowest bands, eV.
    weights : array, (k, bands)
        Of their squared errors.
    """

    crystal: Crystal
    cutoff: float
    k: Floats
    energies: Floats
    weights: Floats

    def __post_init__(self) -> None:
        energies, weights = reals(self.energies, 2), reals(self.weights, 2)
        require(energies is not None, "energies", self.energies, "finite numbers of shape (k, bands)", "Target")
        assert energies is not None
        good = weights is not None and weights.shape == energies.shape and bool((weights >= 0).all())
        require(good, "weights", self.weights, f"numbers of shape {energies.shape}, none negative", "Target")
        k = reals(self.k, 2)
        good = k is not None and k.shape == (len(energies), 3)
        require(good, "k", self.k, f"numbers of shape {(len(energies), 3)}", "Target")
        for name, value in (("k", k), ("energies", energies), ("weights", weights)):
            object.__setattr__(self, name, value)
        fewest = min(len(waves) for waves in self.waves.waves)
        words = f"enough plane waves for {energies.shape[1]} bands; there are {fewest}"
        require(energies.shape[1] <= fewest, "cutoff", self.cutoff, words, "Target")

    @cached_property
    def waves(self) -> PlaneWaves:
        """Plane waves of all wave vectors."""
        return PlaneWaves.of(self.crystal, self.cutoff, self.k)

    def solved(self, values: dict[str, Floats]) -> tuple[Floats, dict[str, Floats]]:
        """Return the bands of v(q) at the shells, and how they follow it.

        Parameters
        ----------
        values : dict of ndarray, (shells,)
            v of each kind of atom, eV Å³.

        Returns
        -------
        energies : ndarray, (k, bands)
            eV.
        slopes : dict of ndarray, (k, bands, shells)
            By v of each kind of atom.
        """
        waves, bands = self.waves, self.energies.shape[1]
        lengths, which = waves.shells
        potential = sum(structure * values[name][which] for name, structure in waves.structure.items())
        energies = np.empty((len(self.k), bands))
        slopes = {name: np.empty((len(self.k), bands, len(lengths))) for name in waves.structure}
        row = np.arange(bands)[:, None] * len(lengths) + which
        for n, matrix in enumerate(waves.hamiltonians(np.asarray(potential))):
            energies[n], states = eigh(matrix, subset_by_index=(0, bands - 1), overwrite_a=True, driver="evr")
            products = waves.products(n, states)
            for name, structure in waves.structure.items():
                parts = (structure * products).real
                slopes[name][n] = np.bincount(row.ravel(), parts.ravel(), row.max() + 1).reshape(bands, -1)
        return energies, slopes


def fit(model: nn.Module, targets: Sequence[Target], solutions: int = 40) -> Floats:
    """Fit the parameters of a model of v(q), in place, by a trust region's least squares.

    Parameters
    ----------
    model : Module
        Form factors in double precision, such as `FourParameters` and `LearnedFormFactors`.
    targets : sequence of Target
    solutions : int
        Of all crystals, at most.

    Returns
    -------
    ndarray, (solutions,)
        Root of the weighted mean square error of every solution on the way, eV.
    """
    require(bool(targets), "targets", targets, "at least one Target", "fit")
    require(is_count(solutions), "solutions", solutions, "a whole number, 1 or more", "fit")
    problem = _Problem(model, targets)
    found = least_squares(
        problem.residuals, problem.start, problem.slopes, max_nfev=int(solutions), xtol=1e-6, ftol=1e-6, gtol=None
    )
    nn.utils.vector_to_parameters(problem.parameters(found.x), model.parameters())
    return np.array(problem.errors)


class _Problem:
    """Residuals and slopes by parameters, each in units of its size at the start; the last answer is remembered."""

    def __init__(self, model: nn.Module, targets: Sequence[Target]) -> None:
        self.model, self.targets = model, targets
        self.names = [name for name, _ in model.named_parameters()]
        self.shapes = [parameter.shape for parameter in model.parameters()]
        self.origin = nn.utils.parameters_to_vector(model.parameters()).detach().clone()
        self.size = self.origin.abs().clamp(min=SMALLEST)
        self.start = np.zeros(len(self.origin))
        self.total = float(sum(target.weights.sum() for target in targets))
        self.errors: list[float] = []
        self._asked, self._answer = b"", (self.start, self.start)

    def parameters(self, x: Floats) -> Tensor:
        return self.origin + self.size * torch.from_numpy(x)

    def residuals(self, x: Floats) -> Floats:
        return self._solved(x)[0]

    def slopes(self, x: Floats) -> Floats:
        return self._solved(x)[1]

    def values(self, vector: Tensor) -> Tensor:
        """Return v at every shell, of every kind of atom, of every target, one after the other, eV Å³."""
        parts = torch.split(vector, [shape.numel() for shape in self.shapes])
        state = {n: part.reshape(shape) for n, part, shape in zip(self.names, parts, self.shapes, strict=True)}
        found = [
            torch.func.functional_call(self.model, state, (name, torch.from_numpy(target.waves.shells[0])))
            for target in self.targets
            for name in target.waves.structure
        ]
        return torch.cat(found)

    def _solved(self, x: Floats) -> tuple[Floats, Floats]:
        if x.tobytes() == self._asked:
            return self._answer
        vector = self.parameters(x)
        values = self.values(vector).detach().numpy()
        # Fewer parameters than shells: forward.
        by_parameter = (torch.func.jacfwd(self.values)(vector) * self.size).detach().numpy()
        residuals, rows, first = [], [], 0
        for target in self.targets:
            own, by_own = {}, {}
            for name in target.waves.structure:
                part = slice(first, first + len(target.waves.shells[0]))
                own[name], by_own[name], first = values[part], by_parameter[part], part.stop
            energies, slopes = target.solved(own)
            root = np.sqrt(target.weights / self.total)
            residuals.append((root * (energies - target.energies)).ravel())
            slope = sum(slopes[name] @ by_own[name] for name in slopes)
            rows.append((root[..., None] * slope).reshape(-1, len(x)))
        self.errors.append(float(np.sqrt((np.concatenate(residuals) ** 2).sum())))
        still = STEADY / np.sqrt(len(x))
        self._asked = x.tobytes()
        self._answer = np.concatenate([*residuals, still * x]), np.concatenate([*rows, still * np.eye(len(x))])
        return self._answer
