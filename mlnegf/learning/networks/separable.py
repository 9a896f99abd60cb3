"""A field over a long body of constant section, as a sum of products of functions along and functions across.

    field(x, r) = Σ_k c_k(x) b_k(r)

c comes from a convolution network along the body, b from a small network of the place in the section; both know the
conditions of the case. (The idea of DeepONet, Lu et al., Nat. Mach. Intell. 3, 218 (2021), with a convolution for a
branch.)
"""

import torch
from torch import nn
from torch.nn.functional import silu

from mlnegf._common import require
from mlnegf.learning.networks.network import counted, require_input


class SeparableNetwork(nn.Module):
    """A network that reads a case along and across, and returns a field on its cells.

    Parameters
    ----------
    conditions, along, across : int
        Numbers that describe the case, each step along it and each cell of its section.
    channels : int
        Of the convolutions along.
    terms : int
        Products summed.
    embedding : int
        Width of the layers that read the conditions.

    Attributes
    ----------
    config : dict
        Keywords that make the same network again.
    """

    dilations = (1, 2, 4, 8, 1, 2)

    def __init__(
        self, conditions: int, along: int, across: int, channels: int = 48, terms: int = 16, embedding: int = 64
    ) -> None:
        counts = counted(
            "SeparableNetwork",
            conditions=conditions,
            along=along,
            across=across,
            channels=channels,
            terms=terms,
            embedding=embedding,
        )
        conditions, along, across, channels, terms, embedding = counts.values()
        require(terms > 1, "terms", terms, "2 or more: the first is the same everywhere across", "SeparableNetwork")
        super().__init__()
        self.config = counts
        self.embed = nn.Sequential(
            nn.Linear(conditions, embedding), nn.SiLU(), nn.Linear(embedding, embedding), nn.SiLU()
        )
        self.enter = nn.Conv1d(along, channels, 1)
        self.look = nn.ModuleList(
            nn.Conv1d(channels, channels, 5, padding=2 * reach, dilation=reach, padding_mode="replicate")
            for reach in self.dilations
        )
        self.film = nn.ModuleList(nn.Linear(embedding, 2 * channels) for _ in self.dilations)
        self.mix = nn.ModuleList(nn.Conv1d(channels, channels, 1) for _ in self.dilations)
        self.leave = nn.Conv1d(channels, terms, 1)
        self.place = nn.Linear(across, channels)
        self.placed = nn.Linear(embedding, channels)
        self.shape = nn.Sequential(nn.Linear(channels, channels), nn.SiLU(), nn.Linear(channels, terms - 1))
        # Untrained, the network says that nothing is to be corrected.
        for parameter in self.leave.parameters():
            nn.init.zeros_(parameter)

    def forward(
        self, conditions: torch.Tensor, along: torch.Tensor, across: torch.Tensor, steps: torch.Tensor
    ) -> torch.Tensor:
        """Return the field, (nx, cells).

        Parameters
        ----------
        conditions : Tensor, (conditions,)
        along : Tensor, (along, n)
            On even steps.
        across : Tensor, (cells, across)
        steps : Tensor, (nx, n)
            Interpolation from even steps to the nx slices wanted.
        """
        require_input("conditions", conditions, (self.config["conditions"],), self.enter.weight)
        require_input("along", along, (self.enter.in_channels, None), self.enter.weight)
        require_input("across", across, (None, self.place.in_features), self.enter.weight)
        require_input("steps", steps, (None, along.shape[1]), self.enter.weight)
        known = self.embed(conditions)
        hidden = self.enter(along[None])
        for look, film, mix in zip(self.look, self.film, self.mix, strict=True):
            gain, shift = film(known).chunk(2)
            hidden = hidden + mix(silu(look(hidden) * (1 + gain[:, None]) + shift[:, None]))
        amounts = steps @ self.leave(hidden)[0].T
        shapes = self.shape(silu(self.place(across) + self.placed(known)))
        field: torch.Tensor = amounts @ torch.cat([torch.ones_like(shapes[:, :1]), shapes], 1).T
        return field
