"""The implicit function of a solution: how its outputs follow its inputs.

R(φ; p) = 0 makes the potential a function of the inputs. With J = ∂R/∂φ, the exact response of both equations,

    dφ = −J⁻¹ ∂R/∂p dp,    dy = ∂y/∂φ dφ + ∂y/∂p dp,                                                (1)

or, the other way round, for one output and any number of inputs,

    Jᵀλ = (∂y/∂φ)ᵀ,    dy/dp = ∂y/∂p − (∂R/∂p)ᵀ λ.                                                  (2)

Each takes one linear solve, by GMRES on matrix-free products with the multigrid cycle that preconditions Newton's
step, which is symmetric: the outer iterations that led to φ leave no trace in time or memory.
"""

from dataclasses import dataclass, fields
from functools import cached_property
from typing import Final

import numpy as np
import torch

from mlnegf._common import Floats
from mlnegf.nanosheet.changes import Change, answered
from mlnegf.scf.equations import Equations
from mlnegf.scf.inputs import INPUTS, Few, Field, negf_of
from mlnegf.scf.point import Point
from mlnegf.scf.problem import Problem
from mlnegf.scf.solve import Solution
from mlnegf.transport.response import transmission_response
from mlnegf.units import PER_CUBIC_CENTIMETRE

Tensor = torch.Tensor


OUTPUTS: Final = {"current": "A", "charge": "cm^-3", "potential": "V", "transmission": "1"}
"""Outputs of a solution, and their units."""


class LinearisationError(RuntimeError):
    """A linearised problem was not solved."""


@dataclass(frozen=True, eq=False)
class Outputs:
    """Outputs of a solution, or changes of them, or weights on them; device's own signs and units.

    Attributes
    ----------
    current : float
        A.
    charge, potential : ndarray, (nx, ny, nz)
        cm⁻³, V.
    transmission : ndarray, (Q,)
        One spin, all valleys, at the energies of the `Linearisation`.
    """

    current: float
    charge: Floats
    potential: Floats
    transmission: Floats


@dataclass(frozen=True, eq=False)
class Linearisation:
    """Outputs of a solution as a linear function of its inputs.

    Attributes
    ----------
    point : Point
        At the self-consistent potential, of uncoupled modes.
    energies : Tensor, (Q,)
        At which transmission is asked for, from the source's Fermi level, eV.
    tolerance : float
        Relative residual of the linear problem.
    """

    point: Point
    energies: Tensor
    tolerance: float = 1e-10

    @staticmethod
    def of(solution: Solution, energies: Tensor, tolerance: float) -> "Linearisation":
        """Linearise the equations of a solution at its potential: one NEGF solve."""
        equations = Equations.of(solution.device, solution.filling, solution.modes, solution.tolerance)
        problem = Problem.of(equations, solution.gate, solution.drain)
        return Linearisation(problem.evaluate(problem.folded(solution.potential)), energies, tolerance)

    def outputs(self) -> Outputs:
        """Return the outputs themselves."""
        problem, grid = self.point.problem, self.point.problem.device.grid
        degeneracy = negf_of(self.point).lines.chains.degeneracy / 2
        return Outputs(
            current=problem.own(self.point.charge.current),
            charge=grid.unfold(self.point.charge.density) / PER_CUBIC_CENTIMETRE,
            potential=problem.unfolded(self.point.potential),
            transmission=(degeneracy @ self._transmission[0]).numpy(),
        )

    def nothing(self) -> Outputs:
        """Return weights of zero."""
        shape = self.point.problem.device.grid.shape
        return Outputs(0.0, np.zeros(shape), np.zeros(shape), np.zeros(len(self.energies)))

    def push(self, name: str, change: Floats) -> Outputs:
        """Return how the outputs follow a change of one input: equation (1)."""
        point, problem = self.point, self.point.problem
        grid, poisson = problem.device.grid, problem.poisson
        residual, direct = self._moved(name, change)
        density, current = answered(negf_of(point), direct) if direct else (np.zeros_like(residual), 0.0)
        right = point.preconditioned(-(residual + poisson.source * density))
        step = self._solved(right)
        follows, flow = point.charge.respond(step)
        return Outputs(
            current=problem.own(current + flow),
            charge=grid.unfold(density + follows) / PER_CUBIC_CENTIMETRE,
            potential=problem.unfolded(step),
            transmission=(self._transmission_by_potential(step) + self._transmission_by(direct)).numpy(),
        )

    def pull(self, weights: Outputs, *names: str) -> dict[str, Floats]:
        """Return the gradient of weighted outputs, Σ weights · outputs, by each of the inputs: equation (2)."""
        point, problem = self.point, self.point.problem
        poisson = problem.poisson
        flow = problem.own(float(weights.current))
        # Sums over mirror images: outputs on the folded grid stand for all of them.
        density = self._summed(weights.charge) / PER_CUBIC_CENTIMETRE
        of_transmission = torch.from_numpy(np.asarray(weights.transmission, dtype=np.float64))
        by_potential = point.charge.respond_transposed(density, flow)
        by_potential += problem.own(self._summed(weights.potential)) + self._transmission_pulled(of_transmission)
        adjoint = self._solved(point.preconditioned(by_potential), transposed=True)
        found: dict[str, Floats] = {}
        for name in names:
            kind = INPUTS[name]
            if issubclass(kind, Field):
                found[name] = -kind.pull(point, adjoint)
                continue
            assert issubclass(kind, Few)
            values = []
            for moved in kind.moved(point):
                value = -float((adjoint * moved.residual).sum())
                if moved.change is not None:
                    filled, current = answered(negf_of(point), moved.change)
                    value += float(((density - poisson.source * adjoint) * filled).sum()) + flow * current
                    value += float(of_transmission @ self._transmission_by(moved.change))
                values.append(value)
            found[name] = np.array(values) if kind.dimensions else np.array(values[0])
        return found

    def _summed(self, field: Floats) -> Floats:
        grid = self.point.problem.device.grid
        return grid.fold(field) * grid.images

    def _moved(self, name: str, change: Floats) -> tuple[Floats, Change | None]:
        """Residual (nx, cells) and change of the NEGF solve that a change of an input makes."""
        kind = INPUTS[name]
        if issubclass(kind, Field):
            return kind.push(self.point, change), None
        assert issubclass(kind, Few)
        total, direct = np.zeros_like(self.point.potential), None
        for amount, moved in zip(np.atleast_1d(change).tolist(), kind.moved(self.point), strict=True):
            total += amount * moved.residual
            if moved.change is not None:
                direct = _added(direct, moved.change, amount)
        return total, direct

    def _solved(self, right: Floats, transposed: bool = False) -> Floats:
        """Solve the linearised problem, or refuse to answer."""
        point = self.point
        found = point.solve_linearised(right, self.tolerance, transposed=transposed)
        left = right - point.applied(found, transposed)
        size, rest = (float(np.linalg.norm(field)) for field in (right, left))
        if not rest <= 100 * self.tolerance * size:
            raise LinearisationError(
                f"linearisation: GMRES left a relative residual of {rest / size:.1e}, expected {self.tolerance:.0e}; "
                "near a fold of solutions there is no derivative; elsewhere take a larger tolerance."
            )
        return found

    @cached_property
    def _transmission(self) -> tuple[Tensor, Tensor]:
        """T (K, Q) and ∂T/∂E_m(x) (K, Q, nx) of every kept subband."""
        chains = negf_of(self.point).lines.chains
        if not len(self.energies):
            subbands, sites = chains.onsite.shape
            return torch.zeros(subbands, 0, dtype=torch.float64), torch.zeros(subbands, 0, sites, dtype=torch.float64)
        return transmission_response(chains, self.energies)

    def _transmission_by(self, change: Change | None) -> Tensor:
        """∂T of a change of the NEGF solve, (Q,): t ∂T/∂t = Σ_x (E − E_m) ∂T/∂E_m."""
        chains, slopes = negf_of(self.point).lines.chains, self._transmission[1]
        if change is None:
            return torch.zeros(slopes.shape[1], dtype=torch.float64)
        by_hopping = ((self.energies[:, None] - chains.onsite[:, None]) * slopes).sum(-1) / chains.hopping[:, None]
        moved = torch.einsum("kqx,kx->kq", slopes, change.levels) + by_hopping * change.hopping[:, None]
        return (chains.degeneracy / 2) @ moved

    def _transmission_by_potential(self, step: Floats) -> Tensor:
        charge = negf_of(self.point)
        levels = charge.levels(step)
        return torch.einsum("k,kqx,kx->q", charge.lines.chains.degeneracy / 2, self._transmission[1], levels)

    def _transmission_pulled(self, weights: Tensor) -> Floats:
        charge = negf_of(self.point)
        levels = torch.einsum("q,k,kqx->kx", weights, charge.lines.chains.degeneracy / 2, self._transmission[1])
        return charge.levels_transposed(levels)


def _added(total: Change | None, change: Change, amount: float) -> Change:
    """Return a sum of changes."""
    parts = {field.name: amount * getattr(change, field.name) for field in fields(Change)}
    return Change(**{name: part if total is None else getattr(total, name) + part for name, part in parts.items()})
