"""A moving wave by networks that are told the equation, not the answer.

Physics-informed networks: Raissi, Perdikaris & Karniadakis, J. Comput. Phys. 378, 686 (2019). The time is divided in
parts, and each has a network of its own: in part k ψ̂ = ψ̂(x, t_k) + (t − t_k) (1 − x²/L²) N_k(x, t, ω) begins where the
last one ended and is held still at both walls, whatever N_k says. What is made small is the residual
i ∂ψ̂/∂t + ½ ∂²ψ̂/∂x² − v ψ̂ at points of x, t and ω.

A part is taught by least squares, or by descent at points drawn anew for every step; then those of later times count
less until those of earlier ones have come right (causal weights: Wang, Sankaran & Perdikaris, Comput. Methods Appl.
Mech. Eng. 421, 116813 (2024)), and, where some of the wave is known, the difference from it is made small, too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, cast

import numpy as np
import torch
from scipy.stats import qmc
from torch import nn

from mlnegf._common import Floats, is_count, is_finite, is_positive, items, reals, require
from mlnegf.learning import least_squares
from mlnegf.learning.networks.jet import JetNetwork
from mlnegf.learning.training import schedule
from mlnegf.line.motion import oscillator

Tensor = torch.Tensor
Start = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Maps x and ω, (points,), to ψ₀, (points, 2), real and imaginary part, and ∂²ψ₀/∂x²."""

SLABS: Final = 16
"""Of time, each with a weight of its own."""
MOST: Final = 2**20
"""Points, or steps."""


def oscillator_start(levels: Sequence[int]) -> Start:
    """Return a superposition of an oscillator's levels at t = 0; ψ″ = (ω²x² − (2n + 1)ω) ψ of each."""
    known = items(levels, int) or []
    require(bool(known), "levels", levels, "one level or more", "oscillator_start")

    def start(x: Tensor, frequency: Tensor) -> tuple[Tensor, Tensor]:
        places, omega = x.detach().numpy(), frequency.detach().numpy()
        waves = [oscillator(level, places, omega) / np.sqrt(len(known)) for level in known]
        bent = [(omega**2 * places**2 - (2 * n + 1) * omega) * wave for n, wave in zip(known, waves, strict=True)]
        parts = (np.stack([sum(some), np.zeros_like(places)], 1) for some in (waves, bent))
        value, curvature = (torch.from_numpy(part) for part in parts)
        return value, curvature

    return start


@dataclass(frozen=True)
class Task:
    """What is to be solved, and by which networks.

    Parameters
    ----------
    half, duration : float
        From the middle to the walls, and t at most.
    frequencies : (float, float)
        Least and largest ω of v = ½ω²x²; equal ones leave it out of the networks.
    parts : int
        Of the time.
    width, layers : int
        Of each part's network.
    seed : int
    """

    half: float = 6.0
    duration: float = float(2 * np.pi)
    frequencies: tuple[float, float] = (1.0, 1.0)
    parts: int = 8
    width: int = 16
    layers: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("half", "duration"):
            require(is_positive(getattr(self, name)), name, getattr(self, name), "a positive number", "Task")
        for name in ("parts", "width", "layers"):
            require(is_count(getattr(self, name), 1, 1024), name, getattr(self, name), "a number, 1 to 1024", "Task")
        require(is_count(self.seed, 0), "seed", self.seed, "a whole number, 0 or more", "Task")
        pair = reals(self.frequencies, 1)
        good = pair is not None and pair.shape == (2,) and 0 < pair[0] <= pair[1]
        require(bool(good), "frequencies", self.frequencies, "two positive numbers, the smaller one first", "Task")

    @property
    def inputs(self) -> int:
        """Coordinates of a network: x, t, and ω if it varies."""
        return 2 + (self.frequencies[0] < self.frequencies[1])

    @property
    def stretch(self) -> float:
        """Time of a part."""
        return self.duration / self.parts


class Change(NamedTuple):
    """What a part adds to the wave it begins with: value, ∂/∂t and ∂²/∂x², (points, 2) each."""

    value: Tensor
    moved: Tensor
    bent: Tensor


class Part(nn.Module):
    """The change of the wave in a part of the time, t (1 − x²/L²) N(x, t, ω), with t counted from its beginning."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.inner = JetNetwork(task.inputs, 2, task.width, task.layers).double()
        low, high = task.frequencies
        middle = torch.tensor([0.0, task.stretch / 2, (low + high) / 2], dtype=torch.float64)
        reach = torch.tensor([task.half, task.stretch / 2, max(high - low, 1e-9) / 2], dtype=torch.float64)
        self.middle: Tensor
        self.reach: Tensor
        self.register_buffer("middle", middle[: task.inputs])
        self.register_buffer("reach", reach[: task.inputs])

    def forward(self, x: Tensor, t: Tensor, frequency: Tensor) -> Change:
        """Return the change at coordinates (points,)."""
        coordinates = torch.stack([x, t, frequency][: len(self.reach)], 1)
        inner, slopes, curvatures = self.inner.jet((coordinates - self.middle) / self.reach)
        x, t, half = x[:, None], t[:, None], self.reach[0]
        wall, tilt = 1 - (x / half) ** 2, -2 * x / half**2
        bent = wall * curvatures[0] / half**2 + 2 * tilt * slopes[0] / half - 2 / half**2 * inner
        return Change(t * wall * inner, wall * (inner + t * slopes[1] / self.reach[1]), t * bent)

    def residual(self, x: Tensor, t: Tensor, frequency: Tensor, begun: Tensor, begun_bent: Tensor) -> Tensor:
        """Return real and imaginary part of i ∂ψ̂/∂t + ½ ∂²ψ̂/∂x² − ½ω²x² ψ̂, (points, 2), of ψ̂ = begun + change."""
        change = self(x, t, frequency)
        potential = (0.5 * frequency**2 * x**2)[:, None]
        energy = 0.5 * (begun_bent + change.bent) - potential * (begun + change.value)
        return torch.stack([energy[:, 0] - change.moved[:, 1], energy[:, 1] + change.moved[:, 0]], 1)


class WaveNetwork(nn.Module):
    """ψ̂(x, t, ω) = ψ₀ + the changes of all parts up to t."""

    def __init__(self, task: Task, start: Start) -> None:
        super().__init__()
        self.task, self.start = task, start
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(task.seed)
            self.parts = nn.ModuleList(Part(task) for _ in range(task.parts))

    def forward(self, x: Tensor, t: Tensor, frequency: Tensor) -> Tensor:
        """Return ψ̂, (points, 2), of coordinates (points,)."""
        return self._until(len(self.parts), x, t, frequency)[0]

    def go_on(self, part: int) -> None:
        """Let a part begin as the one before has ended: what moved the wave just now moves it on, or nearly so."""
        if part:
            self.parts[part].load_state_dict(self.parts[part - 1].state_dict())

    def begun(self, part: int, x: Tensor, frequency: Tensor) -> tuple[Tensor, Tensor]:
        """Return ψ̂ and ∂²ψ̂/∂x² where a part begins, (points, 2), to be taken as given."""
        with torch.no_grad():
            return self._until(part, x, torch.full_like(x, self.task.duration), frequency)

    def _until(self, count: int, x: Tensor, t: Tensor, frequency: Tensor) -> tuple[Tensor, Tensor]:
        value, bent = self.start(x, frequency)
        for number, part in enumerate(self.parts[:count]):
            change: Change = part(x, (t - number * self.task.stretch).clamp(0.0, self.task.stretch), frequency)
            value, bent = value + change.value, bent + change.bent
        return value, bent


def by_least_squares(task: Task, start: Start, points: int = 1024, evaluations: int = 60) -> tuple[WaveNetwork, Floats]:
    """Teach networks the equation, part after part.

    Parameters
    ----------
    task : Task
    start : callable
        See `Start`.
    points : int
        Of each part, spread evenly (Sobol): best a power of two.
    evaluations : int
        Of a part's residuals, at most.

    Returns
    -------
    WaveNetwork
    ndarray, (parts,)
        Root of the mean square residual that is left of each part.
    """
    _checked(task, start, "by_least_squares")
    require(is_count(points, 1, MOST), "points", points, f"a whole number, 1 to {MOST}", "by_least_squares")
    model, left = WaveNetwork(task, start), []
    for number, part in enumerate(model.parts):
        x, t, frequency = spread(task, points, task.seed + number)
        model.go_on(number)
        given = (x, t, frequency, *model.begun(number, x, frequency))
        left.append(least_squares.fit(part, given, evaluations).min())
    return model, np.array(left)


@dataclass(frozen=True)
class Descent:
    """How a part is taught by descent.

    Parameters
    ----------
    steps, points : int
        Steps of the weights, and points of each.
    learning_rate : float
    causality : float
        ε of the weights e^{−ε Σ loss of earlier slabs}; 0: none.
    known : float
        Up to this far from the middle the wave itself is told, at as many points.
    """

    steps: int = 5000
    points: int = 1024
    learning_rate: float = 2e-3
    causality: float = 1.0
    known: float = 0.0

    def __post_init__(self) -> None:
        for name in ("steps", "points"):
            value = getattr(self, name)
            require(is_count(value, 1, MOST), name, value, f"a whole number, 1 to {MOST}", "Descent")
        require(is_positive(self.learning_rate), "learning_rate", self.learning_rate, "a positive number", "Descent")
        for name in ("causality", "known"):
            value = getattr(self, name)
            require(is_finite(value) and value >= 0, name, value, "a number, zero or more", "Descent")


def by_descent(
    task: Task, start: Start, how: Descent, wave: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None
) -> WaveNetwork:
    """Teach networks the equation, part after part, and the wave up to `how.known` from the middle.

    Parameters
    ----------
    task : Task
    start : callable
        See `Start`.
    how : Descent
    wave : callable, optional
        Maps x, t and ω to ψ, (points, 2); asked up to `how.known` from the middle alone.
    """
    _checked(task, start, "by_descent")
    require(isinstance(how, Descent), "how", how, "a Descent", "by_descent")
    require(wave is None or callable(wave), "wave", wave, "a function of x, t and ω", "by_descent")
    require(how.known == 0 or wave is not None, "wave", wave, "the wave, since some of it is to be known", "by_descent")
    model = WaveNetwork(task, start)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(task.seed)
        for number, part in enumerate(model.parts):
            model.go_on(number)
            optimiser = torch.optim.Adam(part.parameters(), how.learning_rate)
            for step in range(how.steps):
                optimiser.param_groups[0]["lr"] = how.learning_rate * schedule((step + 1) / how.steps)
                x, t, frequency = drawn(task, how.points)
                begun = model.begun(number, x, frequency)
                square = cast(Part, part).residual(x, t, frequency, *begun).square().sum(1)
                loss = weighted(square, t / task.stretch, how.causality)
                if wave is not None and how.known:
                    x, t, frequency = drawn(task, how.points)
                    x = x * how.known / task.half
                    said = model.begun(number, x, frequency)[0] + part(x, t, frequency).value
                    loss = loss + (said - wave(x, t + number * task.stretch, frequency)).square().mean()
                optimiser.zero_grad()
                torch.autograd.backward(loss)
                optimiser.step()
    return model


def _checked(task: Task, start: Start, caller: str) -> None:
    require(isinstance(task, Task), "task", task, "a Task", caller)
    require(callable(start), "start", start, "a function of x and ω, such as oscillator_start returns", caller)


def spread(task: Task, points: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Return x, t of a part, and ω, (points,) each, spread evenly."""
    found = torch.from_numpy(qmc.Sobol(3, rng=seed).random(points))
    return _scaled(task, found.T)


def drawn(task: Task, points: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw x, t of a part, and ω, (points,) each."""
    return _scaled(task, torch.rand(3, points, dtype=torch.float64))


def _scaled(task: Task, unit: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    low, high = task.frequencies
    x, t, frequency = unit
    return task.half * (2 * x - 1), task.stretch * t, low + (high - low) * frequency


def weighted(square: Tensor, share: Tensor, causality: float) -> Tensor:
    """Return the mean of squares over slabs of time, each weighing e^{−ε Σ of the earlier ones}; `share` is t/T."""
    slab = (share * SLABS).long().clamp(max=SLABS - 1)
    count = torch.zeros(SLABS, dtype=square.dtype).index_add(0, slab, torch.ones_like(square)).clamp(min=1)
    mean = torch.zeros(SLABS, dtype=square.dtype).index_add(0, slab, square) / count
    weight = torch.exp(-causality * (mean.cumsum(0) - mean)).detach()
    return (weight * mean).mean()
