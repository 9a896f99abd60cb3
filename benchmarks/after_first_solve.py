"""What networks that read the first NEGF solve could add to the solver's own step: errors left, side by side.

One NEGF solve from the shipped guess gives a charge, Newton's correction δ and, with frozen subbands, the step x that
the solver takes. A network that reads charge, potential, δ and x on the slices is taught what x leaves: converged minus
φ + x.
`slices` is the slice autoencoder with its neighbours; `fourier` lets whole devices speak along x, in Fourier layers
between the slices' convolutions. `published` are the same taught the older way: from the first charge to the last
potential, with no step. Judged on unseen devices. The products of each linear solve are counted besides: what a learned
preconditioner could save.

    python benchmarks/after_first_solve.py --data data/nanosheets --output book/results/after_first_solve.json
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
from shared import Record, arguments, shuffled
from torch import nn
from tqdm import tqdm

from mlnegf import LearnedGuess
from mlnegf._common import Floats
from mlnegf.learning import training
from mlnegf.learning.networks import Network
from mlnegf.learning.networks.slice_autoencoder import SliceAutoencoder
from mlnegf.scf.equations import Equations
from mlnegf.scf.frozen import settle
from mlnegf.scf.guesses import start_of
from mlnegf.scf.point import ROUGH
from mlnegf.scf.problem import Problem
from mlnegf.scf.schemes import Automatic
from mlnegf.warmstart.dataset import cases, split
from mlnegf.warmstart.samples import FirstIteration
from mlnegf.warmstart.slices import CONDITIONS, FEATURES, encode, interpolation, silicon_average
from mlnegf.warmstart.storage import Case

SIZE = 16
"""Cells along each side of the square."""
NOTICEABLE = 1e-3
"""Error, V, of what a step left that counts as one."""
STEPS = {"step": True, "published": False}
"""What a network is taught: what the solver's step leaves, or the way from the first potential to the last."""


@dataclass(frozen=True, eq=False)
class Example:
    """A case after one solve, on the square; `left` is what the network is to say, V, on the device's own silicon."""

    features: torch.Tensor
    conditions: torch.Tensor
    weight: torch.Tensor
    answers: dict[str, torch.Tensor]
    left: dict[str, Floats]
    mask: Floats
    gate: float
    solve: dict[str, float]


def example(case: Case, guess: LearnedGuess) -> Example | None:
    """Solve once and lay out what is known then."""
    problem = Problem.of(Equations.of(case.device), case.gate, case.drain)
    start = start_of(guess, problem)
    if not start.used:
        return None
    point = problem.evaluate(start.potential)
    before = problem.work.linearised_applications
    correction = point.correct(ROUGH)
    products = problem.work.linearised_applications - before
    began = time.perf_counter()
    x = settle(point, ROUGH, Automatic().newton.longest)
    first = FirstIteration.of(point)
    last = case.sample().potential
    box = (slice(None), *case.device.grid.box)
    newton, step = (problem.unfolded(field)[box] for field in (correction.step, x))
    left = {"step": last - first.first_potential - step, "published": last - first.first_potential}
    squares = encode(first, SIZE, torch.float32)
    square = lambda field: torch.from_numpy(silicon_average(field, first.mask, SIZE)).float()  # noqa: E731
    images = [squares.features(1.0), square(newton / 0.01)[:, None], square(step / 0.01)[:, None]]
    return Example(
        torch.cat(images, 1),
        squares.conditions,
        squares.weight,
        {name: square(field) for name, field in left.items()},
        left,
        first.mask,
        case.gate,
        {
            "start": largest(left["published"], first.mask),
            "newton": largest(left["published"] - newton, first.mask),
            "step": largest(left["step"], first.mask),
            "products": products,
            "seconds": time.perf_counter() - began,
        },
    )


def largest(field: Floats, mask: Floats) -> float:
    """Return the largest value on the silicon, V."""
    return float(abs(field[:, mask]).max())


class AlongFourier(nn.Module):
    """A layer over the slices of a whole device: its lowest waves along x, mixed channel by channel.

    Li et al., arXiv:2010.08895, in one dimension; the device is mirrored at its ends, so that its waves are cosines.
    """

    def __init__(self, channels: int, waves: int = 16) -> None:
        super().__init__()
        self.waves = waves
        # Real and imaginary parts: the fused optimiser knows no complex numbers.
        self.mix = nn.Parameter(torch.randn(waves, channels, channels, 2) / channels)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Transform (nx, channels, h, w)."""
        n = len(images)
        spectrum = torch.fft.rfft(torch.cat([images, images.flip(0)]), dim=0)[: self.waves]
        mixed = torch.einsum("kchw,kcd->kdhw", spectrum, torch.view_as_complex(self.mix)[: len(spectrum)])
        return torch.fft.irfft(mixed, n=2 * n, dim=0)[:n]


class FourierSlices(Network):
    """Convolutions across every slice and Fourier layers along all of them."""

    def __init__(self, features: int, conditions: int, size: int = SIZE, channels: int = 24) -> None:
        super().__init__()
        self.size, self.reach, self.config = size, 1.0, {}
        self.embed = nn.Sequential(nn.Linear(conditions, 48), nn.SiLU(), nn.Linear(48, 2 * channels))
        self.enter = nn.Conv2d(features, channels, 4, stride=2, padding=1)
        self.along = nn.ModuleList(AlongFourier(channels) for _ in range(3))
        self.across = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(3))
        self.leave = nn.ConvTranspose2d(channels, 2, 4, stride=2, padding=1)
        for parameter in self.leave.parameters():
            nn.init.zeros_(parameter)

    def forward(self, features: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
        """Return raw outputs, (n, 2, S, S)."""
        scale, shift = self.embed(conditions)[:, :, None, None].chunk(2, 1)
        hidden = self.enter(features) * (1 + scale) + shift
        for along, across in zip(self.along, self.across, strict=True):
            hidden = hidden + nn.functional.silu(along(hidden) + across(hidden))
        result: torch.Tensor = self.leave(hidden)
        return result


def said(model: Network, one: Example, scale: float) -> torch.Tensor:
    """Return what a network says is left, V, (nx, S, S)."""
    field: torch.Tensor = model(one.features, one.conditions)[:, 1] * scale
    return field


def objective(target: str, scale: float) -> Any:
    """Return the loss: the logarithm of the mean square beside its floor, so that every case counts."""

    def loss(model: Network, one: Example) -> tuple[torch.Tensor, torch.Tensor]:
        error = said(model, one, scale) - one.answers[target]
        weight = one.weight.expand_as(error)
        square = (error.square() * weight).sum() / weight.sum()
        return torch.log(square / scale**2 + 1e-3), square.detach()

    return loss


def errors_left(model: Network, exams: Sequence[Example], target: str, scale: float) -> list[float]:
    """Return the largest errors with what the network says, V."""
    found = []
    for one in exams:
        with torch.no_grad():
            square = said(model.eval(), one, scale).double().numpy()
        across = [interpolation(SIZE, cells, True) for cells in one.mask.shape]
        found.append(largest(one.left[target] - across[0] @ square @ across[1].T, one.mask))
    return found


MODELS = {"slices": SliceAutoencoder, "fourier": FourierSlices}


def main() -> None:
    """Run, or go on."""
    given = arguments(__doc__, cases=160, exams=60, epochs=10, seeds=3)
    parts, guess = split(cases(given.data), test=0.0), LearnedGuess.pretrained()
    # Answers of devices to be judged on are converged to 0.02 mV, those to learn from to 0.5 mV.
    lessons, choosing, judged = (
        [one for case in tqdm(shuffled(part)[:count], desc="first solves") if (one := example(case, guess))]
        for part, count in (
            (parts.training, given.cases),
            (parts.validation, 20),
            ([case for case in parts.unseen_device if case.converged], given.exams),
        )
    )
    about = {"cases": len(lessons), "exams": len(judged), "epochs": given.epochs, "weights": guess.fingerprint}
    record = Record(given.output, sys.argv, about)
    for name in ("start", "newton", "step", "products"):
        record.add(
            {"model": "none", "target": name, "seed": 0}, lambda n=name: {"values": [e.solve[n] for e in judged]}
        )

    def run(model: str, target: str, seed: int) -> dict[str, Any]:
        scale = NOTICEABLE if STEPS[target] else 10 * NOTICEABLE
        torch.manual_seed(seed)
        network = MODELS[model](features=len(FEATURES) + 2, conditions=len(CONDITIONS), size=SIZE)
        settings = training.Settings(epochs=given.epochs, learning_rate=1e-3, seed=seed)
        began = time.perf_counter()
        trained = training.train(network, objective(target, scale), lessons, choosing, settings, "", progress=False)
        seconds = time.perf_counter() - began
        values = errors_left(trained.model, judged, target, scale)
        seen = errors_left(trained.model, lessons[: len(judged)], target, scale)
        return {"values": values, "training_values": seen, "seconds": round(seconds, 1)}

    for seed, target, model in product(range(given.seeds), STEPS, MODELS):
        record.add({"model": model, "target": target, "seed": seed}, run, model, target, seed)


if __name__ == "__main__":
    main()
