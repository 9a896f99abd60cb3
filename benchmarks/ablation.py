"""What each thing that the learned guess is told is worth: the same network, trained without it.

What is left out reads as zero, in training and in the test. Judged on the unseen devices by the largest error over the
semiconductor. `all` is trained from three seeds, which say how much of a difference is chance. A second run computes
only what is missing.

    python benchmarks/ablation.py --data data/nanosheets --output book/results/ablation.json
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from shared import Record, arguments, shares, shuffled

from mlnegf.learning.networks.separable import SeparableNetwork
from mlnegf.learning.training import Settings
from mlnegf.learning.training import train as train_network
from mlnegf.warmstart.dataset import cases, split
from mlnegf.warmstart.description import ACROSS, ALONG, CONDITIONS
from mlnegf.warmstart.learned import corrected
from mlnegf.warmstart.start_training import NOTICEABLE, Lesson, lessons, loss

NAMES = list(CONDITIONS)

# Inputs by part of the description and index.
INPUTS = {
    "device": ("conditions", range(NAMES.index("gate_potential"))),
    "bias": ("conditions", range(NAMES.index("gate_potential"), NAMES.index("dx"))),
    "grid": ("conditions", range(NAMES.index("dx"), NAMES.index("filling"))),
    "shape of the section": ("conditions", range(NAMES.index("filling"), NAMES.index("first_level"))),
    "subband levels": ("conditions", range(NAMES.index("first_level"), NAMES.index("neutral_potential"))),
    "neutral potential": ("conditions", range(NAMES.index("neutral_potential"), len(NAMES))),
    "semiclassical potential": ("along", (0, 1, 2, 3, 4, 6)),
    "Fermi levels along": ("along", (5,)),
    "distance from the gate's edges": ("along", range(7, 11)),
    "distance from the ends": ("along", (11, 12)),
    "wave functions": ("across", range(3)),
    "places in the section": ("across", range(3, ACROSS)),
}


def without(name: str, lesson: Lesson) -> Lesson:
    """Return a lesson that does not tell one of the inputs."""
    part, index = INPUTS[name]
    told = getattr(lesson.description, part).clone()
    if part == "across":
        told[:, list(index)] = 0.0
    else:
        told[list(index)] = 0.0
    return replace(lesson, description=replace(lesson.description, **{part: told}))


Objective = Callable[[SeparableNetwork, Lesson], tuple[torch.Tensor, torch.Tensor]]


def mean_square(model: SeparableNetwork, lesson: Lesson) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the plain mean square: large cases first, and no cell more than another."""
    error = corrected(model, lesson.description) - lesson.answer
    square = (error.square() * lesson.weights).sum(-1).mean()
    return square / NOTICEABLE**2, square.detach()


def mean_only(model: SeparableNetwork, lesson: Lesson) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the logarithm of the mean square, without the eighth power."""
    scaled, square = mean_square(model, lesson)
    return torch.log(scaled + 0.02), square


def judged(
    objective: Objective, seed: int, taught: Sequence[Lesson], exams: Sequence[Lesson], tests: Sequence[Lesson]
) -> dict[str, Any]:
    """Train once, and say the largest errors on tests, V."""
    began = time.perf_counter()
    torch.manual_seed(seed)
    model = SeparableNetwork(len(CONDITIONS), ALONG, ACROSS)
    settings = Settings(epochs=40, learning_rate=1.5e-3, seed=seed)
    trained = train_network(model, objective, taught, exams, settings, f"{len(taught)} cases", progress=False).model
    with torch.no_grad():
        errors = [float((corrected(trained, one.description) - one.answer).abs().max()) for one in tests]
    return {"largest_errors": shares(errors), "seconds": round(time.perf_counter() - began, 1)}


def main() -> None:
    """Run, or go on."""
    given = arguments(__doc__, cases=200, exams=60)
    parts = split(cases(given.data), test=0.0)
    taught = lessons(shuffled(parts.training)[: given.cases])
    exams = lessons(shuffled(parts.validation)[: given.exams])
    tests = lessons([case for case in parts.unseen_device if case.converged])
    record = Record(given.output, sys.argv, {"cases": len(taught), "exams": len(exams), "tests": len(tests)})
    for seed in range(3):
        record.add({"without": "nothing", "seed": seed}, judged, loss, seed, taught, exams, tests)
    for name in INPUTS:
        told = [[without(name, lesson) for lesson in some] for some in (taught, exams, tests)]
        record.add({"without": name, "seed": 0}, judged, loss, 0, *told)
    for name, objective in (("the worst cell in the loss", mean_only), ("logarithms in the loss", mean_square)):
        record.add({"without": name, "seed": 0}, judged, objective, 0, taught, exams, tests)


if __name__ == "__main__":
    main()
