"""What the coupling of modes would change in a solution that neglects it."""

from dataclasses import dataclass
from functools import partial

from mlnegf._common import require
from mlnegf.runs.threads import one_thread
from mlnegf.scf.equations import COUPLED_FILLING, Equations
from mlnegf.scf.problem import Problem
from mlnegf.scf.solve import Solution

_require = partial(require, caller="coupling")


@dataclass(frozen=True)
class Coupling:
    """What coupled modes would change in a solution of uncoupled ones, to first order.

    Attributes
    ----------
    potential : float
        Largest change of the self-consistent potential, V.
    current : float
        Relative change of the current, that of the potential included.
    """

    potential: float
    current: float


def coupling(solution: Solution) -> Coupling:
    """Say what the coupling of modes, neglected in a solution, would have changed.

    It takes one NEGF solve with coupled modes and one without.
    """
    _require(isinstance(solution, Solution), "solution", solution, "a Solution, such as solve returns")
    device, path = solution.device, solution.device.mean_free_path
    _require(path is None, "mean_free_path", path, "None: coupled modes do not know scattering")
    _require(solution.modes == "uncoupled", "modes", solution.modes, "a solution of uncoupled modes")
    with one_thread():
        uncoupled, coupled = (
            Problem.of(Equations.of(device, COUPLED_FILLING, modes), solution.gate, solution.drain)
            for modes in ("uncoupled", "coupled")
        )
        alone, mixed = (problem.evaluate(problem.folded(solution.potential)) for problem in (uncoupled, coupled))
        before, after = (point.correct(1e-3) for point in (alone, mixed))
        step = after.step - before.step
        current = alone.charge.current
        _, moved = alone.charge.respond(step)
        return Coupling(float(abs(step).max()), (mixed.charge.current + moved) / current - 1 if current else 0.0)
