"""Losses: zero when perfect, blind to padding, and the potential norm against a dense solve."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlnegf.learning.losses import (
    LOSSES,
    InverseHyperbolic,
    Logarithmic,
    Loss,
    MeanSquared,
    Normalised,
    PotentialNorm,
    Ratio,
    Relative,
    curvatures,
    eigenbasis,
    weighted_mean,
)
from mlnegf.units import CHARGE_OVER_EPSILON0

CELL = (0.25, 0.2, 0.15)
BUILT_IN = sorted(LOSSES)


def densities(seed: int, shape: tuple[int, int, int] = (7, 6, 6)) -> torch.Tensor:
    decades = torch.from_numpy(np.random.default_rng(seed).uniform(-14, -0.5, shape))
    return 10.0**decades


def weights(seed: int) -> torch.Tensor:
    fraction = torch.from_numpy(np.random.default_rng(seed).uniform(0.0, 1.0, (6, 6)))
    return torch.where(fraction < 0.3, 0.0, fraction) * math.prod(CELL)


@pytest.mark.parametrize("name", BUILT_IN)
@given(seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_zero_only_at_equality(name: str, seed: int) -> None:
    loss, target, weight = LOSSES[name](), densities(seed), weights(seed)
    assert loss(target.clone(), target, weight, CELL).item() == 0.0
    assert loss(target + 1e-3, target, weight, CELL).item() > 0.0


@pytest.mark.parametrize("name", BUILT_IN)
@pytest.mark.parametrize("anything", [1e3, math.inf, math.nan, -1.0])
def test_padding_never_enters(name: str, anything: float) -> None:
    loss, target, weight = LOSSES[name](), densities(0), weights(1)
    prediction = densities(2).requires_grad_()
    clean = loss(prediction, target, weight, CELL)
    (gradient,) = torch.autograd.grad(clean, prediction)
    padding = (weight == 0).expand_as(target)
    dirty = prediction.detach().masked_fill(padding, anything).requires_grad_()
    value = loss(dirty, target.masked_fill(padding, anything), weight, CELL)
    (dirty_gradient,) = torch.autograd.grad(value, dirty)
    assert padding.any()
    assert value.item() == clean.item()
    assert torch.equal(dirty_gradient, gradient)
    assert not gradient[padding].any()


@pytest.mark.parametrize("name", BUILT_IN)
def test_gradient(name: str) -> None:
    target, weight = densities(3, (3, 4, 4)).clamp_min(1e-4), weights(4)[:4, :4]
    prediction = (target * 1.3).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda values: LOSSES[name]()(values, target, weight, CELL) * 1e4, (prediction,), atol=1e-6
    )


def test_closed_forms() -> None:
    target = torch.full((2, 3, 3), 0.1)
    weight = torch.ones(3, 3)
    assert MeanSquared()(target + 0.01, target, weight).item() == pytest.approx(1e-4)
    assert Relative(floor=0.1)(target + 0.01, target, weight).item() == pytest.approx(0.05**2)
    assert Logarithmic()(target * math.e, target, weight).item() == pytest.approx(1.0)
    assert Ratio(floor=0.1)(target + 0.2, target, weight).item() == pytest.approx(0.5**2)
    steps = math.asinh(0.3 / 0.2) - math.asinh(0.1 / 0.2)
    assert InverseHyperbolic(floor=0.2)(target + 0.2, target, weight).item() == pytest.approx(steps**2)
    assert Normalised()(target * 1.1, target, weight).item() == pytest.approx(0.01, rel=1e-5)
    weight = torch.tensor([[1.0, 3.0]])
    assert weighted_mean(torch.tensor([[[2.0, 6.0]]]), weight).item() == pytest.approx(5.0)


def second_difference(cells: int, size: float, grounded: bool) -> np.ndarray:
    matrix = 2 * np.eye(cells) - np.eye(cells, k=1) - np.eye(cells, k=-1)
    # A face at zero potential half a cell away counts as a ghost cell of the opposite value.
    matrix[0, 0] = matrix[-1, -1] = 3.0 if grounded else 1.0
    return matrix / size**2


@pytest.mark.parametrize("screening_length", [0.41, 2.0, math.inf])
def test_potential_is_the_dense_solution(screening_length: float) -> None:
    shape = (5, 4, 6)
    charge = torch.from_numpy(np.random.default_rng(5).normal(size=shape))
    x, y, z = (
        second_difference(cells, size, grounded)
        for cells, size, grounded in zip(shape, CELL, (False, True, True), strict=True)
    )
    one_x, one_y, one_z = (np.eye(cells) for cells in shape)
    laplacian = (
        np.kron(np.kron(x, one_y), one_z) + np.kron(np.kron(one_x, y), one_z) + np.kron(np.kron(one_x, one_y), z)
    )
    operator = laplacian + np.eye(charge.numel()) / screening_length**2
    source = CHARGE_OVER_EPSILON0 / 11.7 * charge.numpy().ravel()
    expected = np.linalg.solve(operator, source).reshape(shape)
    found = PotentialNorm(screening_length).potential(charge, CELL).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 * abs(expected).max())


@pytest.mark.parametrize("grounded", [False, True])
def test_basis_diagonalises(grounded: bool) -> None:
    basis = eigenbasis(9, grounded).numpy()
    np.testing.assert_allclose(basis.T @ basis, np.eye(9), atol=1e-13)
    matrix = second_difference(9, 1.0, grounded)
    np.testing.assert_allclose(matrix @ basis, basis * curvatures(9, grounded).numpy(), atol=1e-13)


def test_uniform_error_far_from_the_gate() -> None:
    """A uniform 1 % of 1e20 cm⁻³ is λ²·e·δn/ε = 0.26 mV where the gate is many λ away."""
    charge = torch.full((4, 80, 80), 1e-3, dtype=torch.float64)
    centre = PotentialNorm().potential(charge, (0.25, 0.25, 0.25))[2, 40, 40].item()
    assert centre == pytest.approx(0.41**2 * 18.0951 / 11.7 * 1e-3, rel=1e-4)
    assert centre == pytest.approx(0.26e-3, rel=0.01)
    norm = PotentialNorm()(charge, torch.zeros_like(charge), torch.ones(80, 80), (0.25, 0.25, 0.25))
    assert math.sqrt(norm.item()) == pytest.approx(0.26e-3, rel=0.1)


def test_a_new_loss_is_one_class() -> None:
    class Absolute(Loss, name="absolute"):
        def field(self, prediction, target, weight, cell):  # type: ignore[no-untyped-def]
            return (prediction - target).abs()

    try:
        target = densities(6)
        assert LOSSES["absolute"]()(target + 0.5, target, weights(6)).item() == pytest.approx(0.5)
    finally:
        del LOSSES["absolute"]


def test_a_loss_that_is_no_mean_defines_its_own_comparison() -> None:
    class Worst(Loss):
        def compare(self, prediction, target, weight, cell):  # type: ignore[no-untyped-def]
            return (prediction - target).abs().max()

    target = densities(6)
    assert Worst()(target + 0.5, target, weights(6)).item() == pytest.approx(0.5)
    with pytest.raises(TypeError, match="Nothing: defines neither `field` nor `compare`"):

        class Nothing(Loss, name="nothing"):
            pass

    assert "nothing" not in LOSSES


def test_unusable_arguments_are_named() -> None:
    target, weight = densities(7), weights(7)
    with pytest.raises(ValueError, match=r"MeanSquared: prediction \(2, 6, 6\) and target \(7, 6, 6\)"):
        MeanSquared()(target[:2], target, weight)
    with pytest.raises(ValueError, match=r"weight is zero everywhere.*mask"):
        Relative()(target, target, torch.zeros(6, 6))
    with pytest.raises(ValueError, match=r"cell = None.*\(dx, dy, dz\)"):
        PotentialNorm()(target, target, weight)
