"""Losses for charge densities that span twenty-eight decades.

A loss compares two charge densities of one case on the network's square, (nx, S, S) in nm⁻³, and
says with one number how wrong the first is. Mean squares see only the crowded source and drain;
relative and logarithmic errors see the empty barrier too; `PotentialNorm` sees what the outer loop
feels, the potential that the charge error causes.

All share one call, ``loss(prediction, target, weight, cell)``. The weight is the volume of each
cell inside the section: zero on padding, where a loss neither looks nor sends a gradient. Most are
means over cells of a field, and adding one is one class here or elsewhere:

    class Absolute(Loss, name="absolute"):
        def field(self, prediction, target, weight, cell):
            return (prediction - target).abs()

A loss that is no mean defines `compare` instead.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import torch

from mlnegf._common import Variant, hold, is_dense, is_positive, plain, require
from mlnegf.units import CHARGE_OVER_EPSILON0

Tensor = torch.Tensor
FLOATING: Final = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
Cell = tuple[float, float, float]
"""Cell sizes (dx, dy, dz) of the square's extrusion along x, nm."""


class Loss(Variant):
    """A number that says how wrong a charge density is; zero for a perfect one."""

    def __init_subclass__(cls, **options: Any) -> None:
        if cls.field is Loss.field and cls.compare is Loss.compare:
            raise TypeError(f"{cls.__name__}: defines neither `field` nor `compare`, expected one of them.")
        super().__init_subclass__(**options)

    def __call__(
        self,
        prediction: Tensor,
        target: Tensor,
        weight: Tensor,
        cell: Cell | None = None,
    ) -> Tensor:
        """Compare two densities.

        Parameters
        ----------
        prediction, target : Tensor, (nx, S, S)
            Charge densities, nm⁻³.
        weight : Tensor, broadcastable to (nx, S, S)
            Volume of each cell inside the section, nm³; zero on padding.
        cell : tuple of float, optional
            Cell sizes (dx, dy, dz), nm; needed by losses that solve an equation in space.

        Returns
        -------
        Tensor, scalar
            In the loss's own unit.

        Raises
        ------
        ValueError
            If the shapes do not fit or no cell has weight.
        """
        caller = type(self).__name__
        for name, given in (("prediction", prediction), ("target", target)):
            good = is_dense(given) and given.dtype in FLOATING
            require(good, name, given, "a dense tensor of floating numbers, (nx, S, S)", caller)
        if prediction.ndim != 3 or prediction.shape != target.shape:
            raise ValueError(
                f"{type(self).__name__}: prediction {tuple(prediction.shape)} and target "
                f"{tuple(target.shape)}, expected one shape (nx, S, S); call it once per case."
            )
        _require_weight(weight, prediction.shape, caller)
        if cell is not None:
            sizes = isinstance(cell, (tuple, list)) and len(cell) == 3 and all(map(is_positive, cell))
            require(sizes, "cell", cell, "three positive cell sizes (dx, dy, dz) in nm, or None", caller)
        weight = weight.expand_as(prediction)
        inside = weight > 0
        if not bool(inside.any()):
            raise ValueError(
                f"{type(self).__name__}: weight is zero everywhere, expected the volume of each "
                "cell inside the section; check the mask."
            )
        # Replaced, not multiplied: a padding cell may hold anything, and 0 · inf would still be
        # NaN.
        nothing = prediction.new_zeros(())
        return self.compare(
            torch.where(inside, prediction, nothing),
            torch.where(inside, target, nothing),
            weight,
            cell,
        )

    def compare(self, prediction: Tensor, target: Tensor, weight: Tensor, cell: Cell | None) -> Tensor:
        """Return the loss of densities that are zero on padding: the mean of `field`."""
        return weighted_mean(self.field(prediction, target, weight, cell), weight)

    def field(self, prediction: Tensor, target: Tensor, weight: Tensor, cell: Cell | None) -> Tensor:
        """Return what each cell contributes, (nx, S, S), of densities that are zero on padding."""
        raise NotImplementedError


def _require_weight(weight: Tensor, shape: torch.Size, caller: str) -> None:
    good = is_dense(weight) and weight.dtype in (*FLOATING, torch.bool, torch.int32, torch.int64) and weight.ndim <= 3
    fits = good and all(
        size in (1, whole) for size, whole in zip(reversed(weight.shape), reversed(shape), strict=False)
    )
    words = f"a dense tensor of volumes, finite and not negative, that can be expanded to {tuple(shape)}"
    require(fits and bool(((weight >= 0) & weight.isfinite()).all()), "weight", weight, words, caller)


def _require_floor(loss: Any) -> None:
    good = is_positive(loss.floor) and 1e-30 <= plain(loss.floor) <= 1e30
    require(good, "floor", loss.floor, "a density between 1e-30 and 1e30 nm⁻³", type(loss).__name__)
    hold(loss, float, "floor")


LOSSES: Final[dict[str, type[Loss]]] = Loss.variants
"""Every loss by name."""


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Average values over cells by volume."""
    weight = weight.expand_as(values)
    return (weight * values).sum() / weight.sum()


@dataclass(frozen=True)
class MeanSquared(Loss, name="mean_squared"):
    """Mean squared density error, nm⁻⁶: blind below a percent of the largest density."""

    def field(self, prediction: Tensor, target: Tensor, weight: Tensor, cell: Cell | None) -> Tensor:
        """Return (n − n*)²."""
        return (prediction - target) ** 2


@dataclass(frozen=True)
class Relative(Loss, name="relative"):
    """Mean squared relative error, ⟨((n − n*)/(n* + floor))²⟩.

    Parameters
    ----------
    floor : float
        Density, nm⁻³, below which errors are no longer measured against the density itself. Without
        it the loss spends itself on cells that hold no charge. The default, 1e18 cm⁻³, is where the
        Debye length (4 nm) outgrows a section: less charge than that bends no potential in it.
    """

    floor: float = 1e-3

    def __post_init__(self) -> None:
        _require_floor(self)

    def field(self, prediction: Tensor, target: Tensor, weight: Tensor, cell: Cell | None) -> Tensor:
        """Return ((n − n*)/(n* + floor))²."""
        return ((prediction - target) / (target + self.floor)) ** 2


@dataclass(frozen=True)
class Logarithmic(Loss, name="logarithmic"):
    """Mean squared error of the logarithm, ⟨ln²((n + floor)/(n* + floor))⟩.

    Where charge is thin, that is (error of the potential/kT)².

    Parameters
    ----------
    floor : float
        Density, nm⁻³, below which decades no longer count; the default is 1e12 cm⁻³.
    """

    floor: float = 1e-9

    def __post_init__(self) -> None:
        _require_floor(self)

    def field(self, prediction: Tensor, target: Tensor, weight: Tensor, cell: Cell | None) -> Tensor:
        """Return ln²((n + floor)/(n* + floor)); a negative density counts as none."""
        ratio = (prediction.clamp_min(0.0) + self.floor) / (target.clamp_min(0.0) + self.floor)
        return torch.log(ratio) ** 2


@dataclass(frozen=True)
class Ratio(Loss, name="ratio"):
    """Mean squared error of target over prediction, ⟨((n* + floor)/(n + floor) − 1)²⟩.

    The relative error measured against the prediction: too little charge costs more than too much.

    Parameters
    ----------
    floor : float
        As of `Relative`.
    """

    floor: float = 1e-3

    def __post_init__(self) -> None:
        _require_floor(self)

    def field(self, prediction: Tensor, target: Tensor, weight: Tensor, cell: Cell | None) -> Tensor:
        """Return ((n* + floor)/(n + floor) − 1)²; a negative density counts as none."""
        ratio = (target.clamp_min(0.0) + self.floor) / (prediction.clamp_min(0.0) + self.floor)
        return (ratio - 1) ** 2


@dataclass(frozen=True)
class InverseHyperbolic(Loss, name="asinh"):
    """Mean squared error of asinh(n/floor): the density itself below the floor, its logarithm above.

    Parameters
    ----------
    floor : float
        Density, nm⁻³, where one turns into the other; the default is that of `Relative`.
    """

    floor: float = 1e-3

    def __post_init__(self) -> None:
        _require_floor(self)

    def field(self, prediction: Tensor, target: Tensor, weight: Tensor, cell: Cell | None) -> Tensor:
        """Return (asinh(n/floor) − asinh(n*/floor))²."""
        return (torch.asinh(prediction / self.floor) - torch.asinh(target / self.floor)) ** 2


@dataclass(frozen=True)
class Normalised(Loss, name="normalised"):
    """Mean squared error over the mean square of the target, case by case: every case counts alike."""

    def field(self, prediction: Tensor, target: Tensor, weight: Tensor, cell: Cell | None) -> Tensor:
        """Return (n − n*)²/⟨n*²⟩."""
        size = weighted_mean(target**2, weight).clamp_min(torch.finfo(target.dtype).tiny)
        return (prediction - target) ** 2 / size


@dataclass(frozen=True)
class PotentialNorm(Loss, name="potential_norm"):
    r"""Mean squared potential, V², that the charge error causes in a screened device.

    Solves :math:`(-\nabla^2 + \lambda^{-2})\,\delta\varphi = (e/\varepsilon_0\varepsilon_r)\,\delta
    n` on the extruded box, with no field through its ends along x and zero potential on its sides
    (the gate grounded on the silicon's surface), and returns the mean of :math:`\delta\varphi^2`
    over the section. Unscreened, a uniform 1 % of charge would weigh 32 mV and drown all else;
    screened, as the nonlinear Poisson step screens it, 0.26 mV.

    Parameters
    ----------
    screening_length : float
        λ, nm. The default is the Debye length √(ε kT/e²n) at 1e20 cm⁻³ and 300 K; `math.inf`
        screens nothing.
    permittivity : float
        ε_r; silicon's unless given.
    """

    screening_length: float = 0.41
    permittivity: float = 11.7

    def __post_init__(self) -> None:
        length = self.screening_length
        unscreened = isinstance(length, float) and length == math.inf
        good = unscreened or (is_positive(length) and 1e-30 <= plain(length) <= 1e30)
        require(good, "screening_length", length, "a positive length in nm, or math.inf", "PotentialNorm")
        good = is_positive(self.permittivity) and 1 <= plain(self.permittivity) <= 1e6
        require(good, "permittivity", self.permittivity, "a number between 1 and 1e6", "PotentialNorm")
        hold(self, float, "screening_length", "permittivity")

    def field(self, prediction: Tensor, target: Tensor, weight: Tensor, cell: Cell | None) -> Tensor:
        """Return δφ²."""
        if cell is None:
            raise ValueError(
                "PotentialNorm: cell = None, expected cell sizes (dx, dy, dz) in nm; it solves "
                "Poisson's equation, so call loss(prediction, target, weight, cell)."
            )
        return self.potential(prediction - target, cell) ** 2

    def potential(self, charge: Tensor, cell: Cell) -> Tensor:
        """Solve the screened Poisson equation for a charge density.

        The seven-point operator is a sum of three one-dimensional ones, so their eigenvectors
        diagonalise it: three small matrix products there, a division, three back (Lynch, Rice &
        Thomas, Numer. Math. 6, 185 (1964)).

        Parameters
        ----------
        charge : Tensor, (nx, ny, nz)
            Electron density error, nm⁻³.
        cell : tuple of float
            Cell sizes (dx, dy, dz), nm.

        Returns
        -------
        Tensor, (nx, ny, nz)
            Potential, V, of a positive charge (the sign drops out of the loss).
        """
        bases = [
            eigenbasis(cells, grounded).to(charge)
            for cells, grounded in zip(charge.shape, (False, True, True), strict=True)
        ]
        x, y, z = (
            curvatures(cells, grounded).to(charge) / size**2
            for cells, grounded, size in zip(charge.shape, (False, True, True), cell, strict=True)
        )
        operator = x[:, None, None] + y[:, None] + z + self.screening_length**-2
        spectrum = _transform(charge * (CHARGE_OVER_EPSILON0 / self.permittivity), bases)
        return _transform(spectrum / operator, [basis.T for basis in bases])


def _transform(field: Tensor, bases: list[Tensor]) -> Tensor:
    """Apply basisᵀ along each of the three axes."""
    x, y, z = bases
    transformed: Tensor = torch.tensordot(x.T, y.T @ field @ z, dims=1)
    return transformed


@lru_cache(maxsize=256)
def eigenbasis(cells: int, grounded: bool) -> Tensor:
    """Return the eigenvectors, as columns, of −d²/dx² on cells of unit size: (cells, cells).

    Cosines for no field through both ends; sines for zero potential on them, half a cell outside
    the first and last centre (the type-II transforms of Strang, SIAM Rev. 41, 135 (1999)).
    """
    centre = torch.arange(cells, dtype=torch.float64)[:, None] + 0.5
    angle = math.pi * centre * _orders(cells, grounded) / cells
    vectors = torch.sin(angle) if grounded else torch.cos(angle)
    normalised: Tensor = vectors / torch.linalg.vector_norm(vectors, dim=0)
    return normalised


@lru_cache(maxsize=256)
def curvatures(cells: int, grounded: bool) -> Tensor:
    """Return the eigenvalues, (cells,), that belong to `eigenbasis`: 2 − 2 cos(πk/cells)."""
    return 2.0 - 2.0 * torch.cos(math.pi * _orders(cells, grounded) / cells)


def _orders(cells: int, grounded: bool) -> Tensor:
    return torch.arange(cells, dtype=torch.float64) + (1.0 if grounded else 0.0)
