"""The Fourier operator: the same on every grid, carried along by shifts, in one, two and three dimensions."""

import numpy as np
import pytest
import torch

from mlnegf.learning.networks.fourier import FourierLayer, FourierOperator


def smooth(points: int, dimensions: int, shift: float = 0.0) -> torch.Tensor:
    """A few waves on a periodic box, (1, 2, points, ...)."""
    axis = torch.arange(points) / points * 2 * np.pi + shift
    grid = torch.meshgrid(*[axis] * dimensions, indexing="ij")
    one = sum(torch.sin((n + 1) * x + n) for n, x in enumerate(grid))
    other = torch.cos(2 * grid[0]) * torch.cos(grid[-1])
    return torch.stack([one, other])[None]


@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_a_layer_does_not_know_the_grid(dimensions: int) -> None:
    torch.manual_seed(0)
    layer = FourierLayer(2, (4,) * dimensions)
    coarse, fine = (layer(smooth(points, dimensions)) for points in (12, 24))
    every = (slice(None), slice(None), *[slice(None, None, 2)] * dimensions)
    torch.testing.assert_close(fine[every], coarse, rtol=1e-5, atol=1e-5)


def test_a_grid_coarser_than_the_waves_keeps_what_it_holds() -> None:
    layer = FourierLayer(2, (8, 8))
    assert layer(smooth(6, 2)).shape == (1, 2, 6, 6)
    assert layer(smooth(7, 2)).isfinite().all()


def test_an_operator_is_carried_along_by_a_shift() -> None:
    torch.manual_seed(1)
    model = FourierOperator(2, 3, (5,), width=8, layers=2)
    one, other = model(smooth(32, 1)), model(smooth(32, 1, shift=2 * np.pi * 3 / 32))
    torch.testing.assert_close(other, one.roll(-3, -1), rtol=1e-4, atol=1e-5)


def test_an_operator_learns_a_derivative() -> None:
    """d/dx is a multiplication of waves: a few hundred steps suffice, and another grid changes nothing."""
    torch.manual_seed(0)
    model = FourierOperator(1, 1, (8,), width=12, layers=1)
    rng = torch.Generator().manual_seed(0)
    numbers = torch.arange(1, 6)

    def pair(points: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        x = torch.arange(points) / points * 2 * np.pi
        sizes = torch.randn(count, 2, 5, generator=rng) / numbers
        waves = torch.stack([torch.sin(numbers[:, None] * x), torch.cos(numbers[:, None] * x)])
        slopes = torch.stack([waves[1], -waves[0]]) * numbers[:, None]
        return tuple(torch.einsum("bsk,skx->bx", sizes, some)[:, None] for some in (waves, slopes))  # type: ignore[return-value]

    optimiser = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(400):
        given, wanted = pair(32, 32)
        loss = (model(given) - wanted).square().mean() / wanted.square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    errors = []
    for points in (32, 64):
        given, wanted = pair(points, 64)
        errors.append(((model(given) - wanted).square().mean() / wanted.square().mean()).item())
    assert max(errors) < 0.02


def test_the_same_operator_is_made_again() -> None:
    model = FourierOperator(2, 1, (3, 4), width=6, layers=2)
    again = FourierOperator(**model.config)
    again.load_state_dict(model.state_dict())
    torch.testing.assert_close(again(smooth(10, 2)), model(smooth(10, 2)))
    for bad in ((), (0,), (1, 2, 3, 4), "ab"):
        with pytest.raises(ValueError, match="modes"):
            FourierOperator(1, 1, bad)  # type: ignore[arg-type]
