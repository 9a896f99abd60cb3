"""A convolutional autoencoder of charge slices, and the same blindfolded."""

import torch
from torch import nn
from torch.nn.functional import silu

from mlnegf._common import is_positive, plain, require
from mlnegf.learning.networks.network import Network, counted, require_input


class FilmBlock(nn.Module):
    """Two convolutions beside an identity; the conditions scale and shift what passes between.

    Feature-wise linear modulation: Perez et al., AAAI 2018, arXiv:1709.07871.
    """

    def __init__(self, channels: int, embedding: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.film = nn.Linear(embedding, 2 * channels)

    def forward(self, image: torch.Tensor, embedded: torch.Tensor) -> torch.Tensor:
        """Transform images (nx, channels, h, w) under an embedding (nx, embedding)."""
        scale, shift = self.film(embedded)[:, :, None, None].chunk(2, dim=1)
        result: torch.Tensor = image + self.second(silu(self.first(silu(image)) * (1.0 + scale) + shift))
        return result


class SliceAutoencoder(Network, name="slice_autoencoder"):
    """Convolutional encoder and decoder, slice by slice, that knows bias, place and neighbours.

    Two halvings of the square, with blocks after each, and two doublings; what the encoder saw at half resolution is
    added on the way back (as the U-Net of Ronneberger et al., arXiv:1505.04597, does by concatenation). Nothing is
    computed at full resolution: corrections are smooth, and a case costs a third of the time.

    Parameters
    ----------
    features, conditions : int
        Images of a slice, and numbers that say where it stands.
    size : int
        Cells along each side of the square; a multiple of four.
    channels : int
        At half resolution; twice as many at a quarter.
    embedding : int
        Length of the embedded conditions.
    reach : float
        How far the neighbouring slices stand, nm; about the distance over which charge and potential change.
    """

    def __init__(
        self,
        features: int,
        conditions: int,
        size: int = 24,
        channels: int = 24,
        embedding: int = 64,
        reach: float = 1.0,
    ) -> None:
        own = type(self).__name__
        counts = counted(own, size=size, channels=channels, embedding=embedding)
        size, channels, embedding = counts.values()
        require(size % 4 == 0, "size", size, "a multiple of 4, since it is halved twice; try 24", own)
        require(is_positive(reach), "reach", reach, "a positive length, nm", own)
        super().__init__()
        self.config = {
            **counts,
            "reach": plain(reach),
            **counted(own, features=features, conditions=conditions),
        }
        self.size, self.reach, self.told = counts["size"], plain(reach), conditions
        self.embed = nn.Sequential(
            nn.Linear(conditions, embedding), nn.SiLU(), nn.Linear(embedding, embedding), nn.SiLU()
        )
        self.enter = nn.Conv2d(features, channels, 4, stride=2, padding=1)
        self.down = FilmBlock(channels, embedding)
        self.shrink = nn.Conv2d(channels, 2 * channels, 2, stride=2)
        self.bottom = nn.ModuleList(FilmBlock(2 * channels, embedding) for _ in range(2))
        self.enlarge = nn.ConvTranspose2d(2 * channels, channels, 2, stride=2)
        self.up = FilmBlock(channels, embedding)
        self.leave = nn.ConvTranspose2d(channels, 2, 4, stride=2, padding=1)
        # Untrained, the network says that the first iteration is the last: training starts from the identity.
        for parameter in self.leave.parameters():
            nn.init.zeros_(parameter)
        # The fast layout of a CPU's convolutions with few channels: half the time.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, features: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
        """Return raw outputs, (nx, 2, S, S)."""
        shape = (self.enter.in_channels, self.size, self.size)
        require_input("features", features, (None, *shape), self.enter.weight)
        require_input("conditions", conditions, (len(features), self.told), self.enter.weight)
        embedded = self.embed(conditions)
        fine = self.down(self.enter(features.contiguous(memory_format=torch.channels_last)), embedded)
        coarse = self.shrink(fine)
        for block in self.bottom:
            coarse = block(coarse, embedded)
        result: torch.Tensor = self.leave(silu(self.up(fine + self.enlarge(coarse), embedded)))
        return result


class PlainAutoencoder(SliceAutoencoder, name="plain_autoencoder"):
    """The same layers blindfolded: each slice alone, without neighbours, bias or place."""

    blind = True
