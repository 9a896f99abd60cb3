"""How an argument is refused: its name, its value, what was expected."""

import math

import numpy as np


def require(condition: bool, name: str, value: object, expected: str, caller: str) -> None:
    """Raise a ValueError that names an argument of `caller` unless a condition holds."""
    if not condition:
        raise ValueError(f"{caller}: {name} = {value!r}, expected {expected}.")


def is_finite(value: object) -> bool:
    """Say whether a value is a finite number."""
    return isinstance(value, (int, float, np.integer, np.floating)) and math.isfinite(value)
