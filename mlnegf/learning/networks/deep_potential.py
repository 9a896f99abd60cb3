"""The energy of atoms from what surrounds each, and the forces that follow: a smooth Deep Potential.

    s(r) = w(r)/r,    R_ij = s(r_ij) (1, x/r, y/r, z/r),    D_i = (Gᵀ R)(Rᵀ G′)/n²,    E = Σ_i f(D_i),

G the rows g(r_ij) of a small network that reads the distance by Gaussians, G′ its first columns, n a number of
neighbours; D does not change under rotations, nor when neighbours change places. Zhang et al., *End-to-end symmetry
preserving inter-atomic potential energy model*, NeurIPS 31 (2018).
"""

import torch
from torch import nn

from mlnegf._common import is_positive, require
from mlnegf.learning.networks.network import counted

Tensor = torch.Tensor

NEIGHBOURS = 16.0
"""n: what sums over neighbours are divided by."""

SPACING = 0.5
"""Between the places of the Gaussians that the first layer reads, and their width, Å."""
CLOSEST = 3.0
"""The first of them, Å."""
FARTHEST = 30.0
"""Cutoff allowed, Å."""


class DeepPotential(nn.Module):
    """Energies of atoms of one kind.

    Parameters
    ----------
    near, cutoff : float
        Where the surroundings begin to fade, and end, Å.
    embedding, axis, width : int
        Columns of G and of G′, and width of the layers that read D.
    """

    places: Tensor
    mean: Tensor
    spread: Tensor
    level: Tensor

    def __init__(
        self, near: float = 5.0, cutoff: float = 7.5, embedding: int = 24, axis: int = 6, width: int = 48
    ) -> None:
        words = f"a number of Å between {CLOSEST:g} and {FARTHEST:g}"
        for name, value in (("near", near), ("cutoff", cutoff)):
            good = is_positive(value) and CLOSEST < value <= FARTHEST
            require(good, name, value, words, "DeepPotential")
        require(near < cutoff, "near", near, f"less than cutoff = {cutoff}", "DeepPotential")
        counts = counted("DeepPotential", embedding=embedding, axis=axis, width=width)
        embedding, axis, width = counts.values()
        require(axis <= embedding, "axis", axis, f"no more than embedding = {embedding}", "DeepPotential")
        super().__init__()
        near, cutoff = float(near), float(cutoff)
        self.config = {"near": near, "cutoff": cutoff, **counts}
        self.near, self.cutoff, self.axis = near, cutoff, axis
        places = torch.arange(CLOSEST, cutoff, SPACING)
        self.register_buffer("places", places)
        self.embed = nn.Sequential(nn.Linear(len(places), embedding), nn.SiLU(), nn.Linear(embedding, embedding))
        self.fit = nn.Sequential(
            nn.Linear(embedding * axis, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1)
        )
        # What D is like: means and spreads, and the mean energy of an atom; see `settle`.
        self.register_buffer("mean", torch.zeros(embedding * axis))
        self.register_buffer("spread", torch.ones(embedding * axis))
        self.register_buffer("level", torch.zeros(()))

    def descriptors(self, positions: Tensor, pairs: Tensor) -> Tensor:
        """Return D, (atoms, embedding · axis), of positions (atoms, 3), Å, and pairs (pairs, 2) in both orders."""
        one, other = pairs[:, 0], pairs[:, 1]
        away = positions[other] - positions[one]
        distance = away.square().sum(-1).sqrt()
        rest = ((self.cutoff - distance) / (self.cutoff - self.near)).clamp(0.0, 1.0)
        fading = rest**3 * (10.0 - 15.0 * rest + 6.0 * rest**2) / distance
        seen = torch.cat([fading[:, None], (fading / distance)[:, None] * away], -1)
        rows = self.embed(torch.exp(-0.5 * ((distance[:, None] - self.places) / SPACING).square()))
        outer = (rows[:, :, None] * seen[:, None, :]).flatten(1) / NEIGHBOURS
        summed = torch.zeros(len(positions), outer.shape[1], dtype=outer.dtype).index_add(0, one, outer)
        first = summed.reshape(len(positions), -1, 4)
        found: Tensor = (first @ first[:, : self.axis].mT).flatten(1)
        return found

    def settle(self, positions: Tensor, pairs: Tensor, energy: float) -> None:
        """Take the spread of D from some structures, and the mean energy of an atom, eV."""
        with torch.no_grad():
            found = self.descriptors(positions, pairs)
            self.mean.copy_(found.mean(0))
            self.spread.copy_(found.std(0) + 0.05 * found.std())
            self.level.fill_(energy)

    def forward(self, positions: Tensor, pairs: Tensor) -> Tensor:
        """Return the energy of every atom, (atoms,), eV."""
        scaled = (self.descriptors(positions, pairs) - self.mean) / self.spread
        found: Tensor = self.fit(scaled)[:, 0] + self.level
        return found

    def energies_and_forces(self, positions: Tensor, pairs: Tensor, graph: bool = False) -> tuple[Tensor, Tensor]:
        """Return energies, (atoms,), eV, and forces, (atoms, 3), eV/Å; `graph` keeps what training asks for."""
        tracked = positions if positions.requires_grad else positions.detach().requires_grad_()
        energies = self(tracked, pairs)
        (slope,) = torch.autograd.grad(energies.sum(), tracked, create_graph=graph)
        return energies, -slope
