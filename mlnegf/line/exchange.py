"""The exchange–correlation potential of a density, by an operator that has learned from exact pairs of them.

Martinetto, Shah, Cangi & Pribram-Jones, Mach. Learn.: Sci. Technol. 5, 015050 (2024). What is learned is a map from
functions to functions, n(x) ↦ v_xc(x), of all molecules at once; what it is worth is told by the density that
v + v_H + v_xc makes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import torch

from mlnegf._common import Bools, Floats, require
from mlnegf.learning import training as loop
from mlnegf.learning.networks.fourier import FourierOperator
from mlnegf.learning.training import Settings, Trained
from mlnegf.line.grid import Line, Molecule
from mlnegf.line.kohn_sham import ground_density, hartree, read_off
from mlnegf.line.two_electrons import two_electrons

Tensor = torch.Tensor

DENSE: Final = 1e-2
"""Density from which on the potential counts in full, 1/a_B; below it in proportion."""


@dataclass(frozen=True, eq=False)
class Exact:
    """A molecule's two electrons, and the potential that belongs to them.

    Attributes
    ----------
    line : Line
    molecule : Molecule
    density : ndarray, (points,)
        1/a_B.
    exchange : ndarray, (points,)
        v_xc, Hartree; where hardly an electron is, −1/√(x² + 1) about the middle of the charge, which need not join on.
    known : ndarray of bool, (points,)
        Where it was read off the density.
    energy : float
        Of the two electrons, Hartree.
    """

    line: Line
    molecule: Molecule
    density: Floats
    exchange: Floats
    known: Bools
    energy: float


def exact(line: Line, molecule: Molecule) -> Exact:
    """Solve for two electrons, and read their potential off the density."""
    outer = molecule.potential(line)
    found = two_electrons(line, outer)
    density = found.density
    whole, known = read_off(line, density, -found.ionisation)
    middle = float((density * line.x).sum() * line.step / 2)
    far = -1 / np.sqrt((line.x - middle) ** 2 + 1)
    exchange = np.where(known, whole - outer - hartree(line, density), far)
    return Exact(line, molecule, density, exchange, known, found.energy)


class Densities(NamedTuple):
    """Some molecules: densities and potentials, (molecules, 1, points)."""

    density: Tensor
    exchange: Tensor


def dealt(examples: Sequence[Exact], size: int = 16, seed: int = 0) -> list[Densities]:
    """Deal molecules on equal lines out, in an order drawn once."""
    require(bool(examples), "examples", examples, "at least one Exact", "dealt")
    alike = len({(one.line.half, one.line.points) for one in examples}) == 1
    require(alike, "examples", examples, "examples on equal lines", "dealt")
    order = np.random.default_rng(seed).permutation(len(examples))
    fields = (
        torch.tensor(np.array([getattr(one, name) for one in examples]), dtype=torch.float32)[:, None]
        for name in ("density", "exchange")
    )
    density, exchange = fields
    return [Densities(density[part], exchange[part]) for part in np.array_split(order, max(1, len(order) // size))]


def loss(model: FourierOperator, some: Densities) -> tuple[Tensor, Tensor]:
    """Return the mean squared error of v_xc where electrons are, Hartree², twice: it is made small and watched."""
    weight = (some.density / DENSE).clamp(max=1.0)
    square = (weight * (model(some.density) - some.exchange).square()).sum() / weight.sum()
    return square, square.detach()


def train(
    training: Sequence[Densities],
    validation: Sequence[Densities],
    settings: Settings,
    modes: int = 24,
    width: int = 32,
    layers: int = 4,
    progress: bool = True,
) -> Trained[FourierOperator]:
    """Train an operator; see `learning.training.train`."""

    def new() -> FourierOperator:
        return FourierOperator(1, 1, (modes,), width, layers)

    return loop.train_new(new, loss, training, validation, settings, progress)


def said(model: FourierOperator, example: Exact) -> Floats:
    """Return v_xc as an operator says it, Hartree, (points,), on a line as long as those it was taught on.

    It is asked twice, from the left and from the right, and the mean is as symmetric as the truth.
    """
    with torch.no_grad():
        fields = torch.tensor(np.stack([example.density, example.density[::-1]]), dtype=torch.float32)[:, None]
        left, right = model(fields)[:, 0].double().numpy()
    return np.asarray((left + right[::-1]) / 2)


def there_and_back(example: Exact, exchange: Floats) -> float:
    """Return ∫ |n[v + v_H + v_xc] − n| of a v_xc: twice as much as there are electrons in the wrong place."""
    line = example.line
    whole = example.molecule.potential(line) + hartree(line, example.density) + exchange
    return float(abs(ground_density(line, whole) - example.density).sum() * line.step)
