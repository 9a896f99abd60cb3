"""A network in the place of a metal's potential: taught its energies and forces, used to pull a wire."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import torch

from mlnegf._common import Floats
from mlnegf.atomistic.kernels import near_pairs
from mlnegf.atomistic.potential import FinnisSinclair, Forces, require_apart, require_positions
from mlnegf.learning import training as loop
from mlnegf.learning.networks.deep_potential import DeepPotential
from mlnegf.learning.training import Settings, Trained

FORCE: Final = 0.01
"""Error of a force that counts as one, eV/Å."""
ENERGY: Final = 0.001
"""The same of an energy, eV an atom."""


class Structures(NamedTuple):
    """Several structures laid side by side, no pair between them.

    Attributes
    ----------
    positions : Tensor, (atoms of all, 3)
        Å.
    pairs : Tensor, (pairs, 2)
        In both orders.
    owner : Tensor, (atoms of all,)
        Which structure an atom belongs to.
    energy : Tensor, (structures,)
        eV an atom.
    forces : Tensor, (atoms of all, 3)
        eV/Å.
    """

    positions: torch.Tensor
    pairs: torch.Tensor
    owner: torch.Tensor
    energy: torch.Tensor
    forces: torch.Tensor

    @staticmethod
    def of(positions: Sequence[Floats], metal: FinnisSinclair, cutoff: float) -> "Structures":
        """Ask a metal for the energies and forces of structures, each (atoms, 3), Å."""
        answers = [metal(structure) for structure in positions]
        starts = np.cumsum([0, *(len(structure) for structure in positions)])
        pairs = [both_ways(structure, cutoff) + start for structure, start in zip(positions, starts, strict=False)]
        owner = np.repeat(np.arange(len(positions)), np.diff(starts))
        return Structures(
            torch.from_numpy(np.concatenate(positions)).float(),
            torch.from_numpy(np.concatenate(pairs)),
            torch.from_numpy(owner),
            torch.tensor([answer.energies.mean() for answer in answers]).float(),
            torch.from_numpy(np.concatenate([answer.forces for answer in answers])).float(),
        )


def both_ways(positions: Floats, cutoff: float) -> Any:
    """Return pairs closer than a cutoff, Å, in both orders."""
    pairs = near_pairs(positions, cutoff)
    return np.concatenate([pairs, pairs[:, ::-1]])


def errors(model: DeepPotential, some: Structures, graph: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the error of the energy of each structure, eV an atom, and of each force, eV/Å."""
    energies, forces = model.energies_and_forces(some.positions, some.pairs, graph)
    count = torch.bincount(some.owner)
    means = torch.zeros_like(some.energy).index_add(0, some.owner, energies) / count
    return means - some.energy, forces - some.forces


def loss(model: DeepPotential, some: Structures) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the loss, and the mean squared error of a force's component, eV²/Å²."""
    with torch.enable_grad():
        energy, force = errors(model, some, graph=True)
    square = force.square().mean()
    return square / FORCE**2 + 0.1 * energy.square().mean() / ENERGY**2, square.detach()


def train(
    training: Sequence[Structures], validation: Sequence[Structures], settings: Settings, progress: bool = True
) -> Trained[DeepPotential]:
    """Teach a network a metal's energies and forces; see `learning.training.train`."""

    def new() -> DeepPotential:
        model, first = DeepPotential(), training[0]
        model.settle(first.positions, first.pairs, float(torch.cat([some.energy for some in training]).mean()))
        return model

    return loop.train_new(new, loss, training, validation, settings, progress)


@dataclass(frozen=True, eq=False)
class NeuralPotential:
    """A trained network as a potential, in double precision.

    Attributes
    ----------
    model : DeepPotential
    metal : FinnisSinclair
        What it was taught; its mass and lattice constant are this one's.
    """

    model: DeepPotential
    metal: FinnisSinclair

    @staticmethod
    def of(model: DeepPotential, metal: FinnisSinclair) -> "NeuralPotential":
        """Take a trained network."""
        return NeuralPotential(copy.deepcopy(model).double().eval(), metal)

    def __call__(self, positions: Any) -> Forces:
        """Return the energy of every atom, eV, and the force on it, eV/Å, of positions (atoms, 3), Å."""
        given = require_positions(positions, "NeuralPotential")
        require_apart(given, self.metal.lattice_constant, "NeuralPotential")
        pairs = torch.from_numpy(both_ways(given, self.model.cutoff))
        energies, forces = self.model.energies_and_forces(torch.from_numpy(given), pairs)
        return Forces(energies.detach().numpy(), forces.numpy())
