"""Training through the solver: what a network learns from its own first solves, with no converged answers.

A network is taught a few labelled cases. Then it meets cases without labels: each epoch it proposes a potential φ, one
NEGF solve is made there with its exact response, and the network follows the gradient of

    residual     ½ ‖P⁻¹R(φ)‖², P the screened Poisson operator: the gradient is (∂R/∂φ)ᵀ P⁻² R, one transposed product;
    corrected    ½ ‖δ(φ)‖², δ = −(∂R/∂φ)⁻¹R: ∂δ/∂φ = −1 to first order, so the gradient is −δ and each first solve is
                 the label φ + δ at a tenth of the price of a converged one; with frozen subbands, φ + x.

Beside them stands the same network taught converged answers of the same cases. Judged by the largest error on unseen
devices, with the NEGF solves that each kind of label took.

    python benchmarks/through_solver.py --data data/nanosheets --output book/results/through_solver.json
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from shared import Record, arguments, shares, shuffled

from mlnegf._common import Floats
from mlnegf.learning.networks.separable import SeparableNetwork
from mlnegf.learning.training import Settings
from mlnegf.scf.equations import Equations
from mlnegf.scf.frozen import settle
from mlnegf.scf.point import ROUGH, Point
from mlnegf.scf.problem import Problem
from mlnegf.scf.schemes import Automatic
from mlnegf.warmstart.dataset import cases, split
from mlnegf.warmstart.learned import add_correction, corrected
from mlnegf.warmstart.start_training import Lesson, lessons, train
from mlnegf.warmstart.storage import Case


def first_solve(model: SeparableNetwork, case: Case, lesson: Lesson) -> tuple[Point, Floats]:
    """Solve once where a network says; return the point, and the folded cells of the semiconductor."""
    problem, inside = Problem.of(Equations.of(case.device), case.gate, case.drain), case.device.grid.doped_cells
    with torch.no_grad():
        correction = corrected(model, lesson.description).double().numpy()
    return problem.evaluate(add_correction(problem, problem.semiclassical(), correction)), inside


def labelled(model: SeparableNetwork, case: Case, lesson: Lesson) -> tuple[Lesson, int]:
    """Replace the answer of a lesson by the network's proposal and the solver's step from there."""
    point, inside = first_solve(model, case, lesson)
    said = point.potential[:, inside] + settle(point, ROUGH, Automatic().newton.longest)[:, inside]
    answer = torch.from_numpy(said - point.problem.semiclassical()[:, inside]).float()
    return replace(lesson, answer=answer), point.problem.work.charge_evaluations


def residual_gradient(point: Point) -> Floats:
    """Return the gradient of ½ ‖P⁻¹R‖² by the semiconductor's potential (nx, cells); the oxide follows by Laplace."""
    poisson, defect = point.problem.poisson, point.defect
    # P is symmetric.
    twice = point.screened.solve(-defect, 1e-3)
    gradient = (poisson.operator @ twice.ravel()).reshape(twice.shape)
    gradient = gradient + point.charge.respond_transposed(poisson.source * twice, 0.0)
    return carried(point.problem, gradient)


def carried(problem: Problem, gradient: Floats) -> Floats:
    """Return a gradient by the semiconductor's potential, (nx, cells), of one by all cells: the oxide follows.

    φ_o = −L_oo⁻¹ L_os φ_s, transposed.
    """
    poisson, inside = problem.poisson, problem.device.grid.doped_cells
    held = np.zeros_like(gradient)
    held[:, inside] = 1e6 * float(poisson.operator.diagonal().max())
    outside = gradient.copy()
    outside[:, inside] = 0.0
    passed = poisson.screened(held / poisson.source).solve(outside, 1e-6)
    passed[:, inside] = 0.0
    return np.asarray(gradient - (poisson.operator @ passed.ravel()).reshape(passed.shape))[:, inside]


def by_residual(
    model: SeparableNetwork, taught: Sequence[tuple[Case, Lesson]], epochs: int, rate: float
) -> tuple[SeparableNetwork, int]:
    """Follow the gradient of the residual, a solve for every step of the weights."""
    optimiser, solves = torch.optim.Adam(model.parameters(), lr=rate), 0
    for epoch in range(epochs):
        for index in np.random.default_rng(epoch).permutation(len(taught)):
            case, lesson = taught[index]
            point, _ = first_solve(model, case, lesson)
            solves += 1
            gradient = residual_gradient(point)
            # The scale of each case is taken out, as the logarithm of the labelled loss does.
            gradient /= max(float(np.sum(point.defect**2)), 1e-12)
            optimiser.zero_grad()
            said = corrected(model, lesson.description)
            torch.autograd.backward(said, torch.from_numpy(gradient).to(said))
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
    return model, solves


def main() -> None:
    """Run, or go on."""
    given = arguments(__doc__, labelled=80, unlabelled=120, epochs=40, tests=225)
    parts = split(cases(given.data), test=0.0)
    every = list(zip(parts.training, lessons(parts.training), strict=True))
    pairs = shuffled(every)[: given.labelled + given.unlabelled]
    known, unknown = pairs[: given.labelled], pairs[given.labelled :]
    exams = lessons(parts.validation)
    tests = lessons([case for case in parts.unseen_device if case.converged][: given.tests])
    about = {"labelled": len(known), "unlabelled": len(unknown), "epochs": given.epochs, "tests": len(tests)}
    record = Record(given.output, sys.argv, about)
    settings = Settings(epochs=given.epochs, learning_rate=1.5e-3)

    def judged(model: SeparableNetwork) -> dict[str, float]:
        with torch.no_grad():
            errors = [float((corrected(model, lesson.description) - lesson.answer).abs().max()) for lesson in tests]
        return shares(errors)

    def row(made: Callable[[], tuple[SeparableNetwork, int]]) -> dict[str, Any]:
        began = time.perf_counter()
        model, solves = made()
        return {"largest_errors": judged(model), "solves": solves, "seconds": round(time.perf_counter() - began, 1)}

    def taught(some: Sequence[Lesson]) -> SeparableNetwork:
        return train(some, exams, settings, progress=False).model

    base = taught([lesson for _, lesson in known])
    converged = [lesson for _, lesson in pairs]
    record.add({"labels": "few converged"}, lambda: row(lambda: (base, 0)))
    record.add({"labels": "all converged"}, lambda: row(lambda: (taught(converged), 0)))

    def pseudo() -> tuple[SeparableNetwork, int]:
        made = [labelled(base, *pair) for pair in unknown]
        errors = [
            float((one.answer - lesson.answer).abs().max()) for (one, _), (_, lesson) in zip(made, unknown, strict=True)
        ]
        print("largest errors of the labels, V", shares(errors), flush=True)
        return taught([lesson for _, lesson in known] + [one for one, _ in made]), sum(count for _, count in made)

    record.add({"labels": "few converged, the others corrected"}, lambda: row(pseudo))
    for epochs in (1, 2):
        record.add(
            {"labels": f"few converged, {epochs} epochs of the others by residual"},
            lambda n=epochs: row(lambda: by_residual(taught([x for _, x in known]), unknown, n, 1e-4)),
        )


if __name__ == "__main__":
    main()
