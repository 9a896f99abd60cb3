"""Colours as numbers: light that adds up (red, green, blue) and inks that take away (cyan, magenta, yellow, key).

All between 0 and 1, along the last axis. A lesson for networks: one way is bent, K = 1 − max(R, G, B), the other is a
product, R = (1 − C)(1 − K).
"""

from typing import Any

import numpy as np

from mlnegf._common import Floats, as_array, require


def _checked(name: str, given: Any, count: int, caller: str) -> Floats:
    values = as_array(given)
    good = values is not None and values.dtype.kind in "fiu" and values.ndim > 0 and values.shape[-1] == count
    words = f"numbers between 0 and 1 of shape (..., {count})"
    require(good, name, given, words, caller)
    numbers = np.asarray(values, dtype=float)
    require(bool(((numbers >= 0) & (numbers <= 1)).all()), name, given, words, caller)
    return numbers


def inks_of(light: Any) -> Floats:
    """Return cyan, magenta, yellow and key, (..., 4), of red, green and blue, (..., 3); black is key alone."""
    given = _checked("light", light, 3, "inks_of")
    brightest = given.max(-1, keepdims=True)
    lit = np.where(brightest > 0, brightest, 1.0)
    return np.concatenate([np.where(brightest > 0, 1 - given / lit, 0.0), 1 - brightest], -1)


def light_of(inks: Any) -> Floats:
    """Return red, green and blue, (..., 3), of cyan, magenta, yellow and key, (..., 4)."""
    given = _checked("inks", inks, 4, "light_of")
    return np.asarray((1 - given[..., :3]) * (1 - given[..., 3:]))
