"""One network for every atom, then rounds in which each atom hears the largest of what its neighbours say.

After two rounds an atom knows of surroundings two neighbours farther away; the structure is the largest over atoms.
Such stacks of local poolings are those of Qi et al., PointNet++ (2017).
"""

from typing import Final

import torch
from torch import nn

from mlnegf.learning.networks.network import counted

Tensor = torch.Tensor

ROUNDS: Final = 2


class StackedNetwork(nn.Module):
    """Features of atoms and lists of their neighbours to one number of the structure, whatever their order and number.

    Parameters
    ----------
    features : int
        Numbers an atom.
    width : int
        Of the layers.
    """

    def __init__(self, features: int, width: int = 64) -> None:
        counts = counted("StackedNetwork", features=features, width=width)
        super().__init__()
        self.config = counts
        features, width = counts.values()
        self.atom = nn.Sequential(nn.Linear(features, width), nn.SiLU(), nn.Linear(width, width))
        self.rounds = nn.ModuleList(
            nn.Sequential(nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, width)) for _ in range(ROUNDS)
        )
        self.structure = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1))

    def forward(self, features: Tensor, neighbours: Tensor) -> Tensor:
        """Return the number of each structure, (structures,).

        Parameters
        ----------
        features : Tensor, (structures, atoms, features)
        neighbours : Tensor, (structures, atoms, neighbours)
            Which atoms of the structure they are.
        """
        said = self.atom(features)
        structures, atoms, width = said.shape
        # In one list of all atoms: gathering rows of it is several times faster than indexing two axes.
        first = atoms * torch.arange(structures, device=said.device)[:, None, None]
        places = (neighbours + first).flatten()
        for hear in self.rounds:
            near = said.reshape(-1, width).index_select(0, places).reshape(structures, atoms, -1, width)
            said = said + hear(torch.cat([said, near.max(2).values], -1))
        found: Tensor = self.structure(said.amax(1))
        return found[..., 0]
