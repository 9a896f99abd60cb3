"""Colours: known ones, there and back, and the floor under every affine map."""

import numpy as np
import pytest

from mlnegf.learning.colours import inks_of, light_of


def test_known_colours() -> None:
    light = [[1, 0, 0], [0, 0, 0], [1, 1, 1], [0.5, 0.5, 0.5], [1, 0.5, 0.25]]
    inks = [[0, 1, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0.5], [0, 0.5, 0.75, 0]]
    np.testing.assert_allclose(inks_of(light), inks)
    np.testing.assert_allclose(light_of(inks), light)


def test_there_and_back() -> None:
    light = np.random.default_rng(0).random((4, 5, 3))
    np.testing.assert_allclose(light_of(inks_of(light)), light, atol=1e-15)
    assert (inks_of(light)[..., :3].min(-1) == 0).all()


def test_the_floor_of_an_affine_map() -> None:
    """K = 1 − max leaves 3/80 − 3 · 12/40² = 0.015; the mean over four inks is 0.0168."""
    rng = np.random.default_rng(1)
    light = rng.random((400_000, 3))
    inks = inks_of(light)
    design = np.concatenate([light, np.ones((len(light), 1))], 1)
    solution = np.linalg.lstsq(design, inks, rcond=None)[0]
    left = ((design @ solution - inks) ** 2).mean(0)
    assert left[3] == pytest.approx(0.015, abs=2e-4)
    assert left.mean() == pytest.approx(0.0168, abs=1e-4)


@pytest.mark.parametrize("bad", [[1.2, 0, 0], [0.1, 0.2], "red", None, [[np.nan, 0, 0]], 0.5])
def test_what_is_no_colour_is_refused(bad: object) -> None:
    with pytest.raises(ValueError, match="light"):
        inks_of(bad)
