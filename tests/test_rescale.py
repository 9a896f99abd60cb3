"""The rescaler keeps the sum, is linear and differentiable, and respects masks."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from mlnegf.warmstart.rescale import rescale, shares

sides = st.integers(1, 30)
shapes = st.tuples(sides, sides)
seeds = st.integers(0, 2**32 - 1)


def random_mask(rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.bool_]:
    mask = rng.random(shape) < rng.uniform(0.05, 0.95)
    mask[rng.integers(shape[0]), rng.integers(shape[1])] = True
    return mask


def test_block_of_ones() -> None:
    assert_allclose(rescale(np.ones((4, 3)), (3, 3)), np.full((3, 3), 4 / 3), rtol=1e-15)


def test_shares_of_two_on_three() -> None:
    expected = np.array([[2 / 3, 0], [1 / 3, 1 / 3], [0, 2 / 3]])
    assert_allclose(shares(2, 3), expected, rtol=1e-15)


@given(shapes, shapes, seeds)
def test_sum_is_kept_there_and_back(source: tuple[int, int], target: tuple[int, int], seed: int) -> None:
    content = np.random.default_rng(seed).uniform(0, 1e20, source)
    there = rescale(content, target)
    back = rescale(there, source)
    assert there.shape == target
    assert_allclose([there.sum(), back.sum()], content.sum(), rtol=1e-12)


@given(shapes, shapes, seeds)
@settings(deadline=None)
def test_masked_sum_is_kept_there_and_back(source: tuple[int, int], target: tuple[int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    here, there = random_mask(rng, source), random_mask(rng, target)
    content = rng.lognormal(0, 5, source)
    moved = rescale(content, target, here, there)
    back = rescale(moved, source, there, here)
    assert_allclose([moved.sum(), back.sum()], content[here].sum(), rtol=1e-12)
    assert not moved[~there].any()
    assert not back[~here].any()


@given(shapes, shapes, seeds)
@settings(deadline=None)
def test_linear(source: tuple[int, int], target: tuple[int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = random_mask(rng, target)
    one, two = rng.normal(size=(2, *source))
    together = rescale(2.0 * one - 3.0 * two, target, target_mask=mask)
    apart = 2.0 * rescale(one, target, target_mask=mask) - 3.0 * rescale(two, target, target_mask=mask)
    assert_allclose(together, apart, atol=1e-11)


@given(shapes, seeds)
def test_same_shape_is_identity(shape: tuple[int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = random_mask(rng, shape)
    content = rng.normal(size=shape)
    assert np.array_equal(rescale(content, shape), content)
    assert np.array_equal(rescale(content, shape, mask, mask), np.where(mask, content, 0.0))


@given(sides, sides, st.integers(1, 4), st.integers(1, 4), seeds)
def test_refining_and_coarsening_is_identity(ny: int, nz: int, fy: int, fz: int, seed: int) -> None:
    content = np.random.default_rng(seed).normal(size=(ny, nz))
    refined = rescale(content, (fy * ny, fz * nz))
    assert_allclose(refined, np.kron(content, np.ones((fy, fz))) / (fy * fz), atol=1e-14)
    assert_allclose(rescale(refined, (ny, nz)), content, atol=1e-13)


@given(shapes, shapes, shapes, seeds)
def test_full_masks_change_nothing(
    source: tuple[int, int], target: tuple[int, int], batch: tuple[int, int], seed: int
) -> None:
    content = np.random.default_rng(seed).normal(size=(*batch[:1], *source))
    masked = rescale(content, target, np.ones(source, bool), np.ones(target, bool))
    assert_allclose(masked, rescale(content, target), atol=1e-13)


@given(shapes, shapes, seeds)
@settings(deadline=None)
def test_mirror_symmetry_survives(source: tuple[int, int], target: tuple[int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = random_mask(rng, target)
    content = rng.random(source)
    straight = rescale(content, target, target_mask=mask)
    mirrored = rescale(content[::-1], target, target_mask=mask[::-1])
    assert_allclose(mirrored[::-1], straight, atol=1e-12)


def test_masked_shares_by_overlap_and_orphans_to_the_nearest() -> None:
    mask = np.array([[True, False, False], [True, True, False]])
    # The left cell meets three cells of the mask with areas 2 : 2 : 1; the right one meets one.
    result = rescale(np.array([[5.0, 7.0]]), (2, 3), target_mask=mask)
    assert_allclose(result, [[2.0, 0, 0], [2.0, 1.0 + 7.0, 0]], rtol=1e-14)
    # Cells that meet none, near or far, end in the only cell there is.
    only = np.array([[True, False, False, False]])
    assert_allclose(rescale(np.array([[1.0, 2.0, 3.0, 4.0]]), (1, 4), target_mask=only), [[10, 0, 0, 0]])
    between = np.array([[True, False, True]])
    assert_allclose(rescale(np.array([[0.0, 6.0, 0.0]]), (1, 3), target_mask=between), [[3, 0, 3]])


def test_batch_is_slice_by_slice() -> None:
    rng = np.random.default_rng(0)
    content, mask = rng.random((2, 5, 12, 20)), random_mask(rng, (24, 24))
    batched = rescale(content, (24, 24), target_mask=mask)
    assert batched.shape == (2, 5, 24, 24)
    assert_allclose(batched[1, 3], rescale(content[1, 3], (24, 24), target_mask=mask), rtol=1e-13)


def test_kind_of_array_is_kept() -> None:
    integers = np.arange(12).reshape(4, 3)
    assert isinstance(rescale(integers, (3, 3)), np.ndarray)
    assert rescale(integers, (3, 3)).dtype == np.float64
    assert rescale(integers.astype(np.float32), (3, 3)).dtype == np.float32
    tensor = torch.arange(12.0).reshape(4, 3)
    assert isinstance(rescale(tensor, (3, 3)), torch.Tensor)
    assert rescale(tensor, (3, 3)).dtype == torch.float32
    assert_allclose(rescale(tensor.double(), (3, 3)).numpy(), rescale(integers, (3, 3)))
    frozen = integers[::-1, ::-1].astype(">f8")
    frozen.flags.writeable = False
    assert_allclose(rescale(frozen, (3, 3)), rescale(integers, (3, 3))[::-1, ::-1])


@pytest.mark.parametrize("masked", [False, True])
def test_gradient(masked: bool) -> None:
    rng = np.random.default_rng(1)
    source_mask, target_mask = random_mask(rng, (5, 4)), random_mask(rng, (3, 6))
    masks = (source_mask, target_mask) if masked else (None, None)
    content = torch.from_numpy(rng.random((2, 5, 4))).requires_grad_()
    assert torch.autograd.gradcheck(lambda values: rescale(values, (3, 6), *masks), (content,))


def test_source_mask_hides_anything() -> None:
    content = np.array([[1.0, np.nan], [2.0, np.inf]])
    mask = np.array([[True, False], [True, False]])
    assert_allclose(rescale(content, (1, 1), source_mask=mask), [[3.0]])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((np.ones(4), (3, 3)), r"slice_ has shape \(4,\).*slice_\[None"),
        ((np.ones((0, 4)), (3, 3)), "at least one cell"),
        ((np.ones((2, 2)) * 1j, (3, 3)), "complex128.*real"),
        ((np.full((2, 2), np.nan), (3, 3)), "4 cells that are NaN.*source_mask"),
        ((np.ones((2, 2)), (3,)), r"shape = \(3,\).*two positive whole numbers"),
        ((np.ones((2, 2)), (3, 0)), r"shape = \(3, 0\)"),
        ((np.ones((2, 2)), (3, 2.5)), r"shape = \(3, 2.5\)"),
        ((np.ones((2, 2)), (3, True)), r"shape = \(3, True\)"),
        ((np.ones((2, 2)), 3), "shape = 3"),
        ((np.ones((2, 2)), (3, 3), np.ones((3, 3), bool)), r"source_mask has shape \(3, 3\)"),
        ((np.ones((2, 2)), (3, 3), None, np.ones((2, 2), bool)), r"target_mask has shape \(2, 2\)"),
        ((np.ones((2, 2)), (3, 3), None, np.zeros((3, 3), bool)), "target_mask is empty"),
        ((np.ones((2, 2)), (3, 3), np.zeros((2, 2), bool)), "source_mask is empty"),
        ((np.ones((2, 2)), (3, 3), None, np.full((3, 3), 0.5)), "target_mask > 0.5"),
    ],
)
def test_unusable_arguments_are_named(arguments: tuple[object, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        rescale(*arguments)  # type: ignore[call-overload]
