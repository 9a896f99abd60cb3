"""Learning through the solver: start networks go on learning from cases of devices they have not seen.

Two of them: the first of the shipped ones, and one taught a few labelled cases only.

Every step of the weights reads one case. Followed are, all by the loss of `start_training` (logarithms, worst cells
weighted) and its gradient through the network,

    labels        the error against the converged answer: what supervised training does;
    step, once    the same with φ + δ for the answer, δ = −J⁻¹R Newton's step from the first proposal, J = ∂R/∂φ;
    step, renewed δ at the proposal of the moment: to first order the error, with the opposite sign, dδ = −dφ. One NEGF
                  solve and one linear solve a step of the weights;
    what is left  ε = −J⁻¹R(φ + δ), what the corrected answer lacks, on which it hangs whether one solve certifies.
                  From Jδ = −R follows dδ = −dφ − J⁻¹ H(δ) dφ, H(δ) the derivative of J along δ, and
                  dε = J⁻¹ J(φ+δ) J⁻¹ H(δ) dφ but for a term of the order of ε. Transposed: two adjoint solves, the
                  second a part of the next order, one product at φ + δ, and H(δ)ᵀ as the difference of two products a
                  little apart along δ. Three NEGF solves a step.

Taught are every second validation device's cases. Judged, on unseen devices, by the largest error and by solving from
what the network says.

    python benchmarks/label_free.py --data data/nanosheets --output book/results/label_free.json
"""

import copy
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import torch
from shared import Record, arguments, shares, shuffled
from through_solver import carried

from mlnegf._common import Floats
from mlnegf.learning.networks.separable import SeparableNetwork
from mlnegf.learning.training import Settings, schedule
from mlnegf.scf.equations import Equations
from mlnegf.scf.guesses import Guess, Start
from mlnegf.scf.point import Point
from mlnegf.scf.problem import Problem, Work
from mlnegf.scf.solve import solve
from mlnegf.warmstart.dataset import cases, split
from mlnegf.warmstart.learned import LearnedGuess, add_correction, corrected
from mlnegf.warmstart.start_training import Lesson, lessons, train
from mlnegf.warmstart.storage import Case

Pair = tuple[Case, Lesson]
NOTICEABLE: Final = {"labels": 1e-2, "step, renewed": 1e-2, "what is left": 1e-3}
"""Error, V, that counts as one: a thousandth for what a correction leaves."""
CLOSE: Final = 1e-3
"""Relative residual of the linear solves."""
APART: Final = 0.02
"""Part of δ between two products whose difference is the curvature."""
TOLERANCE: Final = 1e-3
"""Of the solutions judged by, V."""


@dataclass(frozen=True, eq=False)
class Proposal(Guess):
    """What one network says, without conditions."""

    model: SeparableNetwork
    lesson: Lesson

    def __call__(self, problem: Problem) -> Start:
        """Correct the semiclassical start."""
        return Start(proposed(self.model, problem, self.lesson))


@dataclass
class Cost:
    """What teaching took."""

    work: Work = field(default_factory=Work)
    skipped: int = 0


def proposed(model: SeparableNetwork, problem: Problem, lesson: Lesson) -> Floats:
    """Return the potential that a network proposes, (nx, cells), V."""
    with torch.no_grad():
        correction = corrected(model, lesson.description).double().numpy()
    return add_correction(problem, problem.semiclassical(), correction)


def loss(error: torch.Tensor, weights: torch.Tensor, noticeable: float) -> torch.Tensor:
    """Return the loss of `start_training` of an error, V, in a unit of one's own."""
    square = (error.square() * weights).sum(-1).mean() / noticeable**2
    worst = ((error.abs() / noticeable + 1e-6) ** 8).mean() ** 0.25
    return torch.log(square + 0.3 * worst + 0.02)


def slope(error: Floats, lesson: Lesson, noticeable: float) -> tuple[float, Floats]:
    """Return the loss of an error on the semiconductor, (nx, cells), V, and its gradient."""
    tracked = torch.from_numpy(error).requires_grad_()
    value = loss(tracked, lesson.weights.double(), noticeable)
    return value.item(), torch.autograd.grad(value, tracked)[0].numpy()


def by_label(point: Point, lesson: Lesson, said: Floats) -> tuple[float, Floats]:
    """Return the loss of what was said and its gradient, the answer known; the point is not needed."""
    return slope(said - lesson.answer.double().numpy(), lesson, NOTICEABLE["labels"])


def by_step(point: Point, lesson: Lesson, said: Floats) -> tuple[float, Floats]:
    """Return the loss of Newton's step and, to first order in it, its gradient."""
    inside = point.problem.device.grid.doped_cells
    value, gradient = slope(-point.correct(CLOSE).step[:, inside], lesson, NOTICEABLE["step, renewed"])
    return value, gradient


def by_rest(point: Point, lesson: Lesson, said: Floats) -> tuple[float, Floats]:
    """Return the loss of what the corrected answer lacks and its gradient by the potential on the semiconductor."""
    problem, inside = point.problem, point.problem.device.grid.doped_cells
    following = problem.evaluate(point.potential + point.correct(CLOSE).step)
    left = point.solve_linearised(point.preconditioned(-following.residual), CLOSE)
    value, gradient = slope(left[:, inside], lesson, NOTICEABLE["what is left"])
    weights = np.zeros_like(left)
    weights[:, inside] = gradient
    adjoint = point.solve_linearised(point.preconditioned(weights), CLOSE, transposed=True)
    again = point.preconditioned(transposed(following, adjoint))
    adjoint = point.solve_linearised(again, CLOSE, transposed=True)
    near = problem.evaluate(point.potential + APART * point.correct(CLOSE).step)
    curvature = (transposed(near, adjoint) - transposed(point, adjoint)) / APART
    return value, carried(problem, curvature)


def transposed(point: Point, field: Floats) -> Floats:
    """Return (∂R/∂φ)ᵀ of a field, (nx, cells), V, at a point."""
    poisson = point.problem.poisson
    point.problem.work.linearised_applications += 1
    linear = (poisson.operator @ field.ravel()).reshape(field.shape)
    return np.asarray(linear + point.charge.respond_transposed(poisson.source * field, 0.0))


OBJECTIVES: Final[dict[str, Callable[[Point, Lesson, Floats], tuple[float, Floats]]]] = {
    "labels": by_label,
    "step, renewed": by_step,
    "what is left": by_rest,
}


def labelled_once(model: SeparableNetwork, pairs: Sequence[Pair], cost: Cost) -> list[Pair]:
    """Take the proposal and Newton's step from there for the answer of every case."""
    found = []
    for case, lesson in pairs:
        problem = Problem.of(Equations.of(case.device), case.gate, case.drain)
        point, inside = problem.evaluate(proposed(model, problem, lesson)), case.device.grid.doped_cells
        said = (point.potential + point.correct(CLOSE).step - problem.semiclassical())[:, inside]
        found.append((case, replace(lesson, answer=torch.from_numpy(said).float())))
        cost.work.add(problem.work)
    return found


def teach(
    first: SeparableNetwork, pairs: Sequence[Pair], name: str, epochs: int, rate: float
) -> tuple[SeparableNetwork, Cost]:
    """Go on training a copy of a network, one case at a time."""
    model, cost = copy.deepcopy(first), Cost()
    if name == "step, once":
        pairs, name = labelled_once(first, pairs, cost), "labels"
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=1e-4)
    for epoch in range(epochs):
        values = []
        for place, index in enumerate(np.random.default_rng(epoch).permutation(len(pairs))):
            case, lesson = pairs[index]
            optimiser.param_groups[0]["lr"] = rate * schedule((epoch + (place + 1) / len(pairs)) / epochs)
            said = corrected(model, lesson.description)
            problem = Problem.of(Equations.of(case.device), case.gate, case.drain)
            potential = add_correction(problem, problem.semiclassical(), said.detach().double().numpy())
            point = Point(problem, potential, None) if name == "labels" else problem.evaluate(potential)  # type: ignore[arg-type]
            value, gradient = OBJECTIVES[name](point, lesson, said.detach().double().numpy())
            if name != "labels":
                cost.work.add(problem.work)
            if not np.isfinite(gradient).all():
                cost.skipped += 1
                continue
            values.append(value)
            optimiser.zero_grad()
            torch.autograd.backward(said, torch.from_numpy(gradient).to(said))
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
        print(f"{name}, epoch {epoch}: loss {np.mean(values):.3f}", flush=True)
    return model, cost


def judged(model: SeparableNetwork, pairs: Sequence[Pair]) -> dict[str, Any]:
    """Solve every case from where a network says."""
    errors, found = [], []
    for case, lesson in pairs:
        with torch.no_grad():
            errors.append(float((corrected(model, lesson.description) - lesson.answer).abs().max()))
        solution = solve(case.device, case.gate, case.drain, Proposal(model, lesson), tolerance=TOLERANCE)
        found.append((solution.converged, solution.work.charge_evaluations, solution.work))
    solves = np.array([count for converged, count, _ in found if converged])
    works = [work for _, _, work in found]
    return {
        "largest_errors": shares(errors),
        "converged": len(solves),
        "of_tests": len(pairs),
        "one_solve": float((solves == 1).mean()),
        "two_solves": float((solves <= 2).mean()),
        "solves": float(solves.mean()),
        "counts": [int(count) for _, count, _ in found],
        "products": float(np.mean([work.linearised_applications for work in works])),
        "passes": float(np.mean([work.chain_passes for work in works])),
        "seconds_of_solving": float(np.mean([work.seconds for work in works])),
    }


def slopes_checked(model: SeparableNetwork, pairs: Sequence[Pair]) -> dict[str, Any]:
    """Compare the gradients with central differences along one direction of the potential, case by case."""
    ratios = [slope_checked(model, pair) for pair in pairs]
    return {name: [ratio[name] for ratio in ratios] for name in ratios[0]}


def slope_checked(model: SeparableNetwork, pair: Pair) -> dict[str, float]:
    """Return gradient over difference for one case."""
    case, lesson = pair
    problem = Problem.of(Equations.of(case.device), case.gate, case.drain)
    with torch.no_grad():
        said = corrected(model, lesson.description).double().numpy()
    rng = np.random.default_rng(0)
    shape = np.sin(np.pi * np.linspace(0, 1, said.shape[0]))[:, None] * (1 + 0.1 * rng.standard_normal(said.shape[1]))
    found = {}
    for name in ("step, renewed", "what is left"):

        def value(amount: float, name: str = name) -> tuple[float, Floats]:
            moved = said + amount * shape
            point = problem.evaluate(add_correction(problem, problem.semiclassical(), moved))
            return OBJECTIVES[name](point, lesson, moved)

        size = 1e-4
        difference = (value(size)[0] - value(-size)[0]) / (2 * size)
        found[name] = float((value(0.0)[1] * shape).sum()) / difference
    return found


def main() -> None:
    """Run, or go on."""
    given = arguments(__doc__, few=80, tests=120)
    parts = split(cases(given.data))
    every = shuffled(parts.training)
    few, exams = lessons(every[: given.few]), lessons(every[given.few : 3 * given.few])
    first: dict[str, tuple[Callable[[], SeparableNetwork], int, float]] = {
        "shipped": (lambda: LearnedGuess.pretrained().models[0], 2, 1e-4),
        "few": (lambda: train(few, exams, Settings(epochs=40, learning_rate=1.5e-3), progress=False).model, 3, 1e-3),
    }
    devices = sorted({case.path for case in parts.validation})[::2]
    known = [case for case in parts.validation if case.path in devices]
    unseen = [case for case in parts.unseen_device if case.converged]
    pairs, tests = (list(zip(some, lessons(some), strict=True)) for some in (known, shuffled(unseen)[: given.tests]))
    about = {"few": given.few, "cases": len(pairs), "devices": len(devices), "tests": len(tests)}
    record = Record(given.output, sys.argv, {**about, "tolerance": TOLERANCE})
    for name, (made, epochs, rate) in first.items():
        network = made()
        key = {"network": name, "kind": "judged"}
        record.add({"network": name, "kind": "gradient"}, slopes_checked, network, pairs[:: len(pairs) // 8])
        record.add({**key, "followed": "nothing"}, lambda n=network: {"work": vars(Work()), **judged(n, tests)})
        for followed in ("labels", "step, once", "step, renewed", "what is left"):

            def row(followed: str = followed, epochs: int = epochs, rate: float = rate) -> dict[str, Any]:
                began = time.perf_counter()
                model, cost = teach(network, pairs, followed, epochs, rate)  # noqa: B023, called at once
                seconds = round(time.perf_counter() - began, 1)
                about = {"epochs": epochs, "rate": rate, "skipped": cost.skipped, "seconds": seconds}
                return {**about, "work": vars(cost.work), **judged(model, tests)}

            record.add({**key, "followed": followed}, row)


if __name__ == "__main__":
    main()
