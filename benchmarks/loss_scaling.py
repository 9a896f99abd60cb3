"""What a loss of the charge is worth: one network of slices trained with each, on the same cases, judged by solves.

Each network reads the first NEGF solve and says charge and potential of the last; `charge` networks are taught the
charge alone and make a potential of it by one nonlinear Poisson step about the first, `both` are taught the potential
beside it. Judged on validation devices that training has not seen: the error of the charge in every decade of the true
density, the largest error of the start, and the NEGF solves behind it, the one that was read included. A second run
computes only what is missing.

    python benchmarks/loss_scaling.py --data data/nanosheets --output book/results/loss_scaling.json
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from shared import Record, arguments, shuffled
from tqdm import tqdm

from mlnegf._common import Floats
from mlnegf.learning.losses import LOSSES
from mlnegf.learning.networks.slice_autoencoder import SliceAutoencoder
from mlnegf.nanosheet.poisson import PoissonError
from mlnegf.scf.equations import Equations
from mlnegf.scf.guesses import Start
from mlnegf.scf.point import Point
from mlnegf.scf.problem import Problem
from mlnegf.scf.solve import solve
from mlnegf.warmstart.dataset import cases, split
from mlnegf.warmstart.objective import Settings, train
from mlnegf.warmstart.samples import FirstIteration, Sample
from mlnegf.warmstart.slice_guess import stitched
from mlnegf.warmstart.slices import predict
from mlnegf.warmstart.storage import Case

DECADES = range(-9, 0)
"""Of the true density, nm⁻³: from 1e12 cm⁻³ up to 1e21."""
TAUGHT = {"charge": 0.0, "both": 1.0}
"""Weight of the potential in training."""


class SmallSlices(SliceAutoencoder, name="small_slices"):
    """The slice autoencoder with half of its channels, on a square of 16 cells: many trainings in little time."""

    def __init__(self, features: int, conditions: int) -> None:
        super().__init__(features, conditions, channels=12, size=16)


@dataclass(frozen=True, eq=False)
class Exam:
    """A case after its first NEGF solve, and its answer."""

    case: Case
    point: Point
    first: FirstIteration
    answer: Sample

    @staticmethod
    def of(case: Case) -> "Exam":
        """Solve once."""
        problem = Problem.of(Equations.of(case.device), case.gate, case.drain)
        point = problem.evaluate(problem.semiclassical())
        return Exam(case, point, FirstIteration.of(point), case.sample())

    def error(self, start: Floats) -> float:
        """Return the largest error of a start on the semiconductor, V."""
        cells = self.case.device.grid.doped_cells
        return float(abs(start - self.point.problem.folded(self.case.solved().potential))[:, cells].max())

    def solves(self, start: Floats) -> float:
        """Return the NEGF solves behind a start, the one read included; infinite where it does not converge."""
        problem = self.point.problem
        guess = lambda again: Start(start, evaluated=Point(again, self.point.potential, self.point.charge))  # noqa: E731
        found = solve(problem.equations, *problem.bias, guess=guess)
        return 1 + found.negf_solves if found.converged else float("inf")


def judge(exams: Sequence[Exam], predicted: Sequence[tuple[Floats, Floats]]) -> dict[str, Any]:
    """Judge predicted charges, nm⁻³, and potentials, V."""
    squares, counts = np.zeros(len(DECADES)), np.zeros(len(DECADES))
    errors, solves = [], []
    for exam, (charge, potential) in zip(exams, predicted, strict=True):
        true, inside = exam.answer.charge, np.broadcast_to(exam.answer.mask, exam.answer.charge.shape)
        decade = np.floor(np.log10(np.maximum(true[inside], 1e-30))).astype(int) - DECADES[0]
        relative = np.log(np.maximum(charge[inside], 1e-30) / np.maximum(true[inside], 1e-30)) ** 2
        known = (decade >= 0) & (decade < len(DECADES))
        squares += np.bincount(decade[known], relative[known], len(DECADES))
        counts += np.bincount(decade[known], minlength=len(DECADES))
        try:
            start = exam.point.problem.exponential(*stitched(exam.point, charge, potential))
        except PoissonError:
            start = exam.point.potential
        errors.append(exam.error(start))
        solves.append(exam.solves(start))
    by_decade = np.sqrt(squares / np.maximum(counts, 1))
    return {
        "log_error": dict(zip(map(str, DECADES), by_decade.round(4).tolist(), strict=True)),
        "largest_errors": sorted(round(error, 6) for error in errors),
        "solves": solves,
    }


def main() -> None:
    """Run, or go on."""
    given = arguments(__doc__, cases=100, exams=12, epochs=10, seeds=3)
    parts = split(cases(given.data), test=0.0)
    lessons = [case.sample() for case in shuffled(parts.training)[: given.cases]]
    held = shuffled(parts.validation)
    exams = [Exam.of(case) for case in tqdm(held[: given.exams], desc="first solves")]
    choosing = [case.sample() for case in held[given.exams :][:20]]
    about = {"cases": len(lessons), "exams": len(exams), "epochs": given.epochs}
    record = Record(given.output, sys.argv, about)
    firsts = [(exam.first.first_charge, exam.first.first_potential) for exam in exams]
    record.add({"loss": "none", "taught": "first", "seed": 0}, lambda: judge(exams, firsts))
    exact = [(exam.answer.charge, exam.first.first_potential) for exam in exams]
    record.add({"loss": "none", "taught": "exact charge", "seed": 0}, lambda: judge(exams, exact))

    def run(loss: str, taught: str, seed: int) -> dict[str, Any]:
        weight = TAUGHT[taught]
        settings = Settings(epochs=given.epochs, loss=loss, potential_weight=weight, seed=seed, network="small_slices")
        began = time.perf_counter()
        model = train(lessons, choosing, settings, progress=False).model
        seconds = time.perf_counter() - began
        predicted = [predict(model, exam.first) for exam in exams]
        if taught == "charge":
            predicted = [
                (charge, exam.first.first_potential) for (charge, _), exam in zip(predicted, exams, strict=True)
            ]
        return {**judge(exams, predicted), "seconds": round(seconds, 1)}

    for seed, taught, loss in product(range(given.seeds), TAUGHT, LOSSES):
        record.add({"loss": loss, "taught": taught, "seed": seed}, lambda *now: run(*now), loss, taught, seed)


if __name__ == "__main__":
    main()
