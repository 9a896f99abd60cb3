"""The learned guess: networks say, from a device's parameters alone, where the potential will end.

What they say is a correction to the semiclassical start on the semiconductor; the oxide follows from Laplace's equation
about it. No NEGF solve is spent. Several networks, trained from different seeds, vote, a little outside their training
too: their mean is the guess. Where they disagree by more than they did on validation, or a case lies farther outside,
the semiclassical start is taken instead and the solution says so.
"""

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib import resources
from typing import Final

import numpy as np
import torch

from mlnegf._common import Floats, Ints, items, require
from mlnegf.learning.networks.network import ranges_of
from mlnegf.learning.networks.separable import SeparableNetwork
from mlnegf.learning.weights import Location, filled, fingerprint, read_tensors, write_tensors
from mlnegf.nanosheet.device import Device
from mlnegf.nanosheet.poisson import Poisson
from mlnegf.scf.guesses import Guess, Semiclassical, Start
from mlnegf.scf.problem import Problem
from mlnegf.warmstart.description import CONDITIONS, RANGED, Description, Shape
from mlnegf.warmstart.trained_range import never_varied, trained_for

_require = partial(require, caller="LearnedGuess")

FILE: Final = "start.safetensors"
"""The shipped weights, in `mlnegf/warmstart/weights`."""
KIND: Final = "mlnegf start networks"
SCALE: Final = 0.05
"""Correction, V, for an output of one."""
BEYOND: Final = 0.5
"""How far outside a range of training, in parts of it, votes are asked: see `benchmarks/extrapolation.py`."""
CLOSE: Final = 0.02
"""As much outside as a sample of the range may leave out."""
TOLD: Final = {
    *("width", "thickness", "gate_length", "source_length", "drain_length", "oxide_thickness", "doping", "temperature"),
    *("work_function", "spacing"),
}
"""Fields of a device that the networks are told; any other must be as it was in training."""
SEEN: Final = {"cross_section"}
"""Fields that show in what the networks are told; where several vote, their agreement decides on untrained values."""


def corrected(model: SeparableNetwork, description: Description) -> torch.Tensor:
    """Return the correction to the semiclassical start, (nx, cells), V."""
    parts = description.conditions, description.along, description.across, description.steps
    field: torch.Tensor = model(*parts) * SCALE
    return field


@dataclass(frozen=True, eq=False)
class LearnedGuess(Guess, name="learned"):
    """Networks that vote on the converged potential.

    Attributes
    ----------
    models : sequence of SeparableNetwork
    metadata : dict
        Of their file: ranges of training, `doubt` (V, the largest disagreement that is trusted), where they come from.
    """

    models: Sequence[SeparableNetwork]
    metadata: dict[str, str]

    def __post_init__(self) -> None:
        _require(bool(items(self.models, SeparableNetwork)), "models", self.models, "a list of SeparableNetwork")
        needed = {"ranges", "trained_for", "filling", "doubt"}
        good = isinstance(self.metadata, Mapping) and needed <= self.metadata.keys()
        _require(good, "metadata", self.metadata, f"a mapping with {sorted(needed)}; see start_training.voters")

    @property
    def fingerprint(self) -> str:
        """Checksum of the weights."""
        return fingerprint(self.models)

    @classmethod
    @cache
    def default(cls) -> "LearnedGuess":
        """Return the shipped one, loaded once."""
        return cls.pretrained()

    @classmethod
    def pretrained(cls) -> "LearnedGuess":
        """Load the shipped weights; `mlnegf/warmstart/weights/README.md` is their card."""
        with resources.as_file(resources.files("mlnegf.warmstart") / "weights" / FILE) as path:
            return cls.load(path)

    @classmethod
    def load(cls, path: Location) -> "LearnedGuess":
        """Load weights that `mlnegf train` wrote; ValueError for any other file."""
        _require(isinstance(path, (str, os.PathLike)), "path", path, "the path of a file that `mlnegf train` wrote")
        tensors, metadata = read_tensors(path, KIND)
        voters: dict[str, dict[str, torch.Tensor]] = {}
        for name, tensor in tensors.items():
            number, _, own = name.partition(".")
            voters.setdefault(number, {})[own] = tensor
        count, numbers = metadata.get("models", ""), [str(number) for number in range(len(voters))]
        if count != str(len(voters)) or sorted(voters) != sorted(numbers) or not voters:
            raise ValueError(f"{path}: models = {count!r} with weights of {len(voters)}; train it again.")
        models = [
            filled(lambda: SeparableNetwork(**json.loads(metadata["config"])), voters[number], path)
            for number in numbers
        ]
        told = list(ranges_of(metadata, path))
        missing = sorted({"doubt", "filling", "trained_for"} - metadata.keys())
        require(not missing, "card", sorted(metadata), f"one with {', '.join(missing)}", str(path))
        doubt = metadata["doubt"]
        require(bool(re.fullmatch(r"inf|[0-9.]+(e-?[0-9]+)?", doubt)), "doubt", doubt, "volts, 0 or more", str(path))
        if told != list(CONDITIONS):
            raise ValueError(
                f"{path}: conditions = {told}, expected {list(CONDITIONS)}; train again with this version."
            )
        return cls(models, metadata)

    def save(self, path: Location) -> None:
        """Write the weights to one file, whole or not at all."""
        _require(isinstance(path, (str, os.PathLike)), "path", path, "the path of a file")
        tensors = {f"{i}.{name}": t for i, model in enumerate(self.models) for name, t in model.state_dict().items()}
        own = {"models": str(len(self.models)), "config": json.dumps(self.models[0].config)}
        write_tensors(path, tensors, {**self.metadata, **own}, KIND)

    def __call__(self, problem: Problem) -> Start:
        """Correct the semiclassical start; no NEGF solve."""
        _require(isinstance(problem, Problem), "problem", problem, "a Problem, such as Problem.of(device, gate, drain)")
        if reasons := self._not_told(problem):
            return _aside(problem, "; ".join(reasons))
        shape, bias = Shape.of(problem.device, problem.negf.basis.section), (problem.gate_potential, problem.drain)
        values = shape.values(*bias)
        if reasons := self._out_of_range(values, BEYOND if self._vote else CLOSE):
            return _aside(problem, "; ".join(reasons))
        start, inside = problem.semiclassical(), problem.device.grid.doped_cells
        correction, doubt = self.vote(shape.at(*bias, start[:, inside]))
        if not doubt <= (limit := float(self.metadata["doubt"])):
            return _aside(problem, f"its networks disagree by {doubt * 1e3:.1f} mV, more than {limit * 1e3:.1f} mV")
        beyond = never_varied(self.metadata, problem.device, TOLD) + self._out_of_range(values, CLOSE)
        note = f"the networks of the learned guess agree, but {'; '.join(beyond)}" if beyond else ""
        return Start(add_correction(problem, start, correction), note)

    def vote(self, description: Description) -> tuple[Floats, float]:
        """Return the mean correction, (nx, cells), V, and the largest standard deviation of the votes, V."""
        _require(isinstance(description, Description), "description", description, "a Description of a case")
        with torch.no_grad():
            votes = torch.stack([corrected(model, description) for model in self.models]).double().numpy()
        return votes.mean(0), float(votes.std(0).max())

    @property
    def _vote(self) -> bool:
        """Whether there are several networks, which can disagree."""
        return len(self.models) > 1

    def _not_told(self, problem: Problem) -> list[str]:
        """Say what the networks are not told and is not as it was in training."""
        told = TOLD | SEEN if self._vote else TOLD
        words, found = never_varied(self.metadata, problem.device, told), problem.equations
        # Coupled modes know one filling only; it differs in bound states alone, and the solver is not misled.
        if found.modes == "uncoupled" and found.filling != (filling := self.metadata["filling"]):
            words.append(f"filling = {found.filling!r} is not the trained {filling!r}")
        return words

    def _out_of_range(self, values: Mapping[str, float], beyond: float) -> list[str]:
        """Say which conditions lie outside the training by more than `beyond` of its range."""
        ranges = json.loads(self.metadata["ranges"])
        return [
            f"{name} = {values[name]:.6g} is outside the trained {ranges[name][0]:.6g} to {ranges[name][1]:.6g}"
            for name in RANGED
            if not _within(values[name], ranges[name], beyond)
        ]


def _within(value: float, trained: tuple[float, float], beyond: float) -> bool:
    """Whether a value lies in a range, or outside by no more than a part of its width."""
    low, high = trained
    slack = beyond * (high - low) + 1e-9
    return low - slack <= value <= high + slack


def _aside(problem: Problem, why: str) -> Start:
    start = Semiclassical()(problem)
    return Start(start.potential, f"the learned guess was not used: {why}", used=False)


def add_correction(problem: Problem, start: Floats, correction: Floats) -> Floats:
    """Add a correction (nx, semiconductor's folded cells), V, to a start (nx, cells), V, and let the oxide follow."""
    potential, inside = start.copy(), problem.device.grid.doped_cells
    potential[:, inside] += correction
    problem.work.poisson_solves += 1
    return fill_oxide(problem.poisson, potential, inside, problem.gate_potential)


def fill_oxide(poisson: Poisson, potential: Floats, inside: Ints, gate_potential: float) -> Floats:
    """Solve Laplace's equation around the cells `inside`, whose potential, V, is held.

    Left as it was, the oxide would carry the charge that the change on the semiconductor's surface implies:
    20 to 80 mV.
    """
    flux = (poisson.operator @ potential.ravel()).reshape(potential.shape)
    missing = poisson.gate * gate_potential - flux
    missing[:, inside] = 0.0
    held = np.zeros_like(potential)
    held[:, inside] = 1e6 * float(poisson.operator.diagonal().max())
    change = poisson.screened(held / poisson.source).solve(missing, 1e-6)
    change[:, inside] = 0.0
    return potential + change


def card(descriptions: Sequence[Mapping[str, float]], devices: Iterable[Device], filling: str) -> dict[str, str]:
    """Write what must travel with the weights: ranges of training, and what never varied in it."""
    ranges = {name: (min(v[name] for v in descriptions), max(v[name] for v in descriptions)) for name in CONDITIONS}
    return {"ranges": json.dumps(ranges), "trained_for": trained_for(devices, TOLD), "filling": filling}
