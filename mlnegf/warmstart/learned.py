"""The learned guess: networks say, from a device's parameters alone, where the potential will end.

What they say is a correction to the semiclassical start on the semiconductor; the oxide follows from Laplace's equation
about it. No NEGF solve is spent. Several networks, trained from different seeds, vote: their mean is the guess, and
where they disagree by more than they did on validation, or a case lies outside their training, the semiclassical start
is taken instead and the solution says so.
"""

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final

import numpy as np
import torch

from mlnegf._common import Floats
from mlnegf.learning.networks.separable import SeparableNetwork
from mlnegf.learning.weights import Location, read_tensors, write_tensors
from mlnegf.nanosheet.poisson import Poisson
from mlnegf.scf.guesses import Guess, Semiclassical, Start
from mlnegf.scf.problem import Problem
from mlnegf.warmstart.description import CONDITIONS, RANGED, Description, Shape
from mlnegf.warmstart.trained_range import not_told

FILE: Final = "start.safetensors"
"""The shipped weights, in `mlnegf/warmstart/weights`."""
KIND: Final = "mlnegf start networks"
SCALE: Final = 0.05
"""Correction, V, for an output of one."""
TOLD: Final = {
    *("width", "thickness", "gate_length", "source_length", "drain_length", "oxide_thickness", "doping", "temperature"),
    *("work_function", "spacing"),
}
"""Fields of a device that the networks are told; any other must be as it was in training."""


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

    @property
    def fingerprint(self) -> str:
        """Checksum of the weights."""
        check = 0
        for model in self.models:
            for tensor in model.state_dict().values():
                check = zlib.crc32(tensor.contiguous().numpy().tobytes(), check)
        return f"{check:08x}"

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
        tensors, metadata = read_tensors(path, KIND)
        try:
            models = []
            for index in range(int(metadata["models"])):
                model = SeparableNetwork(**json.loads(metadata["config"]))
                own = f"{index}."
                model.load_state_dict({k.removeprefix(own): v for k, v in tensors.items() if k.startswith(own)})
                models.append(model.eval())
        except (TypeError, KeyError, RuntimeError) as error:
            raise ValueError(f"{path}: weights do not fit their network ({error}); train it again.") from error
        told = list(json.loads(metadata["ranges"]))
        if told != list(CONDITIONS):
            raise ValueError(
                f"{path}: conditions = {told}, expected {list(CONDITIONS)}; train again with this version."
            )
        return cls(models, metadata)

    def save(self, path: Location) -> None:
        """Write the weights to one file, whole or not at all."""
        tensors = {f"{i}.{name}": t for i, model in enumerate(self.models) for name, t in model.state_dict().items()}
        own = {"models": str(len(self.models)), "config": json.dumps(self.models[0].config)}
        write_tensors(path, tensors, {**self.metadata, **own}, KIND)

    def __call__(self, problem: Problem) -> Start:
        """Correct the semiclassical start; no NEGF solve."""
        if reasons := self.doubts(problem):
            return _aside(problem, "; ".join(reasons))
        start, inside = problem.semiclassical(), problem.device.grid.doped_cells
        shape = Shape.of(problem.device, problem.negf.basis.section)
        correction, doubt = self.vote(shape.at(problem.gate_potential, problem.drain, start[:, inside]))
        if not doubt <= (limit := float(self.metadata["doubt"])):
            return _aside(problem, f"its networks disagree by {doubt * 1e3:.1f} mV, more than {limit * 1e3:.1f} mV")
        potential = start.copy()
        potential[:, inside] += correction
        problem.work.poisson_solves += 1
        return Start(fill_oxide(problem.poisson, potential, inside, problem.gate_potential))

    def vote(self, description: Description) -> tuple[Floats, float]:
        """Return the mean correction, (nx, cells), V, and the largest standard deviation of the votes, V."""
        with torch.no_grad():
            votes = torch.stack([corrected(model, description) for model in self.models]).double().numpy()
        return votes.mean(0), float(votes.std(0).max())

    def doubts(self, problem: Problem) -> list[str]:
        """Say what of a case lies outside the training; empty if nothing does."""
        ranges, trained_for = json.loads(self.metadata["ranges"]), json.loads(self.metadata["trained_for"])
        values = known_values(problem)
        words = [
            f"{name} = {values[name]:.6g} is outside the trained {ranges[name][0]:.6g} to {ranges[name][1]:.6g}"
            for name in RANGED
            if not _within(values[name], *ranges[name])
        ]
        words += [
            f"{name} = {str(value)[:40]!r} is none of the trained {trained_for.get(name)}"
            for name, value in not_told(problem.device, TOLD).items()
            if value not in trained_for.get(name, [])
        ]
        if (
            problem.equations.filling != (filling := self.metadata["filling"])
            and problem.equations.modes == "uncoupled"
        ):
            words.append(f"filling = {problem.equations.filling!r} is not the trained {filling!r}")
        return words


def known_values(problem: Problem) -> dict[str, float]:
    """Return the conditions of a problem that ranges are held against."""
    device, grid = problem.device, problem.device.grid
    begin, end = grid.gate
    return {
        **{name: getattr(device, name) for name in ("width", "thickness", "gate_length", "oxide_thickness")},
        "source_length": begin,
        "drain_length": device.length - end,
        "log10_doping": float(np.log10(device.doping)),
        "temperature": device.temperature,
        "gate_potential": problem.gate_potential,
        "drain": problem.drain,
        "dx": grid.dx,
        "dy": float(grid.dy[len(grid.dy) // 2]),
        "dz": float(grid.dz[len(grid.dz) // 2]),
    }


def _within(value: float, low: float, high: float) -> bool:
    """Whether a value lies in the trained range, or as little beyond it as a sample of the range may leave out."""
    slack = 0.02 * (high - low) + 1e-9
    return low - slack <= value <= high + slack


def _aside(problem: Problem, why: str) -> Start:
    start = Semiclassical()(problem)
    return Start(start.potential, f"the learned guess was not used: {why}", used=False)


def fill_oxide(poisson: Poisson, potential: Floats, inside: Any, gate_potential: float) -> Floats:
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


def card(descriptions: Sequence[Mapping[str, float]], devices: Sequence[Any], filling: str) -> dict[str, str]:
    """Write what must travel with the weights: ranges of training, and what never varied in it."""
    ranges = {name: (min(v[name] for v in descriptions), max(v[name] for v in descriptions)) for name in CONDITIONS}
    trained_for: dict[str, list[Any]] = {}
    for device in dict.fromkeys(devices):
        for name, value in not_told(device, TOLD).items():
            values = trained_for.setdefault(name, [])
            values += [value] * (value not in values)
    return {"ranges": json.dumps(ranges), "trained_for": json.dumps(trained_for), "filling": filling}
