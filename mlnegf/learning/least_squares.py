"""Networks whose error is a sum of squares at points, taught by a trust region instead of by descent.

A step solves for all parameters at once what the residuals' slopes ask of them, within SciPy's trust region: a thousand
parameters cost a fraction of a second each step, and tens of steps do what tens of thousands of a descent do not.
Beyond some thousand parameters a descent is the cheaper.
"""

from collections.abc import Sequence
from typing import Final, Protocol, cast

import numpy as np
import torch
from scipy.optimize import least_squares
from torch import nn
from torch.func import functional_call, jacrev, vmap

from mlnegf._common import Floats, is_count, require

Tensor = torch.Tensor

MOST: Final = 2**27
"""Numbers of a table of slopes, a gigabyte."""


class Told(Protocol):
    """What a network is made to fulfil: residuals (points, outputs), each of its own point, all to become zero."""

    def residual(self, *points: Tensor) -> Tensor:
        """Return residuals of what is known of the points, each (points,) or (points, numbers)."""


class _Asked(nn.Module):
    """A network whose call is its residual."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, *points: Tensor) -> Tensor:
        return cast(Told, self.model).residual(*points)


def fit(model: nn.Module, points: Sequence[Tensor], evaluations: int = 40) -> Floats:
    """Fit the parameters of a network, in place, so that its residuals at points become small.

    Parameters
    ----------
    model : Module
        In double precision, with a method ``residual``; see `Told`.
    points : sequence of Tensor, (points,) or (points, numbers)
        Handed to ``residual``.
    evaluations : int
        Of all residuals, at most.

    Returns
    -------
    ndarray, (evaluations made,)
        Root of the mean square residual, on the way.
    """
    require(callable(getattr(model, "residual", None)), "model", model, "a Module with a method residual", "fit")
    require(is_count(evaluations), "evaluations", evaluations, "a whole number, 1 or more", "fit")
    asked = _Asked(model)
    names = [name for name, _ in asked.named_parameters()]
    shapes = [parameter.shape for parameter in asked.parameters()]
    given = nn.utils.parameters_to_vector(model.parameters()).detach().clone()
    require(given.dtype == torch.float64, "model", model, "parameters in double precision", "fit")
    errors: list[float] = []

    def one(vector: Tensor, *point: Tensor) -> Tensor:
        parts = torch.split(vector, [shape.numel() for shape in shapes])
        state = {name: part.reshape(shape) for name, part, shape in zip(names, parts, shapes, strict=True)}
        found: Tensor = functional_call(asked, state, tuple(value[None] for value in point))[0]
        return found

    each = (None, *[0] * len(points))
    all_of_them, slopes_of_all = vmap(one, each), vmap(jacrev(one), each)

    def residuals(x: Floats) -> Floats:
        found = all_of_them(torch.from_numpy(x), *points).detach().numpy().ravel()
        errors.append(float(np.sqrt((found**2).mean())))
        return np.asarray(found)

    def slopes(x: Floats) -> Floats:
        return np.asarray(slopes_of_all(torch.from_numpy(x), *points).detach().numpy().reshape(-1, len(x)))

    many = {len(point) for point in points}
    require(len(many) == 1 and many != {0}, "points", points, "tensors of as many points each, one or more", "fit")
    numbers = many.pop() * one(given, *(point[0] for point in points)).numel() * len(given)
    words = f"fewer points or parameters: slopes would be {numbers:,} numbers, more than {MOST:,}"
    require(numbers <= MOST, "points", points, words, "fit")
    found = least_squares(
        residuals, given.numpy(), slopes, max_nfev=int(evaluations), xtol=1e-12, ftol=1e-12, gtol=None
    )
    nn.utils.vector_to_parameters(torch.from_numpy(found.x), model.parameters())
    return np.array(errors)
