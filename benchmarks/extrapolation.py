"""How far outside their training networks that vote can be trusted: parts of the data held back, one side at a time.

Three networks learn from the devices of a box in width, thickness, gate length, doping and temperature, the lower or
the upper part of each range; devices outside in one of them alone are the test, by how far outside they lie in parts of
the box's side. A section that is in no training case is another test. Only known devices are used: the limits of
`LearnedGuess` were chosen from this, before a device outside the design's ranges was looked at.

    python benchmarks/extrapolation.py --data data/nanosheets --output book/results/extrapolation.json
"""

import math
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from shared import Record, arguments

from mlnegf import Device, LearnedGuess
from mlnegf.learning.training import Settings
from mlnegf.warmstart.dataset import cases, split
from mlnegf.warmstart.start_training import Lesson, lessons, train, voters

Box = dict[str, tuple[float, float]]
RANGES = {
    "width": (3, 12),
    "thickness": (3, 6),
    "gate_length": (6, 24),
    "doping": (5e19, 2e20),
    "temperature": (250, 400),
}
"""Of the known devices of the design; nm, cm⁻³, K. Doping counts by its logarithm."""
PART = 2 / 3
"""Of every range that a box keeps."""
SECTION = "T"
BINS = (0.0, 0.25), (0.25, 0.5), (0.5, 1.01)


def scaled(name: str, value: float) -> float:
    """Return what a range is even in."""
    return math.log(value) if name == "doping" else value


def boxes() -> dict[str, Box]:
    """Return the lower and the upper part of every range, as it is scaled."""
    lower, upper = {}, {}
    for name, ends in RANGES.items():
        low, high = (scaled(name, end) for end in ends)
        side = PART * (high - low)
        lower[name], upper[name] = (low, low + side), (high - side, high)
    return {"lower": lower, "upper": upper}


def outside(device: Device, box: Box) -> dict[str, float]:
    """Say by which part of its side a device lies outside a box, where it does."""
    found = {}
    for name, (low, high) in box.items():
        value = scaled(name, getattr(device, name))
        if (beyond := max(low - value, value - high) / (high - low)) > 1e-9:
            found[name] = beyond
    return found


def taught(inside: Sequence[Lesson], seeds: int) -> LearnedGuess:
    """Train networks on all but an eighth of the devices, which validate."""
    devices = list(dict.fromkeys(lesson.device for lesson in inside))
    held = {devices[i] for i in np.random.default_rng(0).permutation(len(devices))[: max(3, len(devices) // 8)]}
    training, exams = ([one for one in inside if (one.device in held) == kept] for kept in (False, True))
    settings = [Settings(epochs=60, learning_rate=1.5e-3, seed=seed) for seed in range(seeds)]
    return voters([train(training, exams, some, progress=False).model for some in settings], training, exams)


def judge(guess: LearnedGuess, tests: Sequence[Lesson]) -> dict[str, Any]:
    """Compare errors of the vote with those of the semiclassical start, V."""
    votes = [guess.vote(lesson.description) for lesson in tests]
    answers = [lesson.answer.double().numpy() for lesson in tests]
    errors = np.array([abs(vote - answer).max() for (vote, _), answer in zip(votes, answers, strict=True)])
    starts, doubts = np.array([abs(answer).max() for answer in answers]), np.array([doubt for _, doubt in votes])
    trusted = doubts <= float(guess.metadata["doubt"])
    return {
        "tests": len(tests),
        "trusted": float(trusted.mean()),
        "largest_error": float(np.median(errors[trusted])) if trusted.any() else None,
        "start": float(np.median(starts)),
        "worse_than_start": float(np.mean((errors > starts)[trusted])) if trusted.any() else None,
    }


def main() -> None:
    """Run, or go on."""
    given = arguments(__doc__, seeds=3)
    parts = split(cases(given.data), test=0.0)
    known = lessons([*parts.training, *parts.validation])
    record = Record(given.output, sys.argv, {"seeds": given.seeds})
    for name, box in boxes().items():
        inside = [lesson for lesson in known if not outside(lesson.device, box)]
        guess = taught(inside, given.seeds)
        about = {"cases": len(inside), "largest_error": float(guess.metadata["largest_error"])}
        record.add({"box": name, "beyond": "nothing, validation"}, dict, about)
        for side in box:
            for low, high in BINS:
                away = [outside(lesson.device, box) for lesson in known]
                tests = [
                    lesson
                    for lesson, by in zip(known, away, strict=True)
                    if list(by) == [side] and low < by[side] <= high
                ]
                if len(tests) >= 8:
                    record.add({"box": name, "beyond": side, "from": low, "to": high}, judge, guess, tests)
    inside = [lesson for lesson in known if lesson.device.cross_section != SECTION]
    chosen = [inside[i] for i in sorted(np.random.default_rng(0).permutation(len(inside))[:500])]
    tests = [lesson for lesson in known if lesson.device.cross_section == SECTION]
    record.add({"box": "all", "beyond": f"section {SECTION}"}, lambda: judge(taught(chosen, given.seeds), tests))


if __name__ == "__main__":
    main()
