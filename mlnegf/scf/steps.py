"""What is done to steps before they are taken: cut to a length, or combined with those before."""

from collections.abc import Sequence

import numpy as np

from mlnegf._common import Floats


def limited(step: Floats, longest: float) -> Floats:
    """Scale a step, V, down to `longest`, V, at its largest cell, if it is longer."""
    return step * min(1.0, longest / max(float(abs(step).max()), 1e-300))


def combined(places: Sequence[Floats], steps: Sequence[Floats], condition: float) -> Floats:
    """Return where the linear combination of places leads whose combined step is the smallest.

    Anderson, J. ACM 12, 547 (1965), in the least-squares form of Walker & Ni, SIAM J. Numer. Anal. 49, 1715 (2011).

    Parameters
    ----------
    places, steps : sequence of ndarray, (nx, cells)
        What was tried, oldest first, and the step that each asked for, V.
    condition : float
        Singular values below this share of the largest are dropped from the least squares.

    Returns
    -------
    ndarray, (nx, cells)
        V; the last place and its step, if there is but one.
    """
    left = np.stack([step.ravel() for step in steps])
    images = np.stack([place.ravel() for place in places]) + left
    image = images[-1]
    if len(left) > 1:
        share = np.linalg.lstsq(np.diff(left, axis=0).T, left[-1], rcond=condition)[0]
        image = image - share @ np.diff(images, axis=0)
    return np.asarray(image.reshape(places[-1].shape))
