"""A moving wave by a network that is told the equation, not the answer.

A physics-informed network: Raissi, Perdikaris & Karniadakis, J. Comput. Phys. 378, 686 (2019). ψ̂(x, t) = ψ₀(x) + t N
begins right whatever the network N(x, t) says. What is made small is the residual i ∂ψ̂/∂t + ½ ∂²ψ̂/∂x² − v ψ̂ at points
drawn anew for every step, those of later times counting less until those of earlier ones have come right (causal
weights: Wang, Sankaran & Perdikaris, Comput. Methods Appl. Mech. Eng. 421, 116813 (2024)), and, where some of the wave
is known, the difference from it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from mlnegf._common import is_count, is_finite, is_positive, reals, require
from mlnegf.learning.networks.jet import Jet, JetNetwork
from mlnegf.learning.training import schedule
from mlnegf.line.motion import oscillator

Tensor = torch.Tensor
Start = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Maps x and ω, (points,), to ψ₀, (points, 2), real and imaginary part, and ∂²ψ₀/∂x²."""

SLABS: Final = 16
"""Of time, each with a weight of its own."""


def oscillator_start(levels: Sequence[int]) -> Start:
    """Return a superposition of an oscillator's levels at t = 0; ψ″ = (ω²x² − (2n + 1)ω) ψ of each."""

    def start(x: Tensor, frequency: Tensor) -> tuple[Tensor, Tensor]:
        places, omega = x.detach().numpy(), frequency.detach().numpy()
        waves = [oscillator(level, places, omega) / np.sqrt(len(levels)) for level in levels]
        bent = [(omega**2 * places**2 - (2 * n + 1) * omega) * wave for n, wave in zip(levels, waves, strict=True)]
        parts = (np.stack([sum(some), np.zeros_like(places)], 1) for some in (waves, bent))
        value, curvature = (torch.from_numpy(part) for part in parts)
        return value, curvature

    return start


@dataclass(frozen=True)
class Task:
    """What is to be solved, and how hard.

    Parameters
    ----------
    half, duration : float
        |x| and t, at most.
    frequencies : (float, float)
        Least and largest ω of v = ½ω²x²; equal ones leave it out of the network.
    steps, points : int
        Steps of the weights, and points of each.
    learning_rate : float
    causality : float
        ε of the weights e^{−ε Σ loss of earlier slabs}; 0: none.
    known : float
        Up to this |x| the wave itself is told, at as many points.
    width, layers : int
        Of the network.
    seed : int
    """

    half: float = float(np.pi)
    duration: float = float(2 * np.pi)
    frequencies: tuple[float, float] = (1.0, 1.0)
    steps: int = 5000
    points: int = 1024
    learning_rate: float = 2e-3
    causality: float = 1.0
    known: float = 0.0
    width: int = 64
    layers: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("half", "duration", "learning_rate"):
            require(is_positive(getattr(self, name)), name, getattr(self, name), "a positive number", "Task")
        for name in ("steps", "points"):
            require(is_count(getattr(self, name)), name, getattr(self, name), "a whole number, 1 or more", "Task")
        for name in ("causality", "known"):
            value = getattr(self, name)
            require(is_finite(value) and value >= 0, name, value, "a number, zero or more", "Task")
        pair = reals(self.frequencies, 1)
        good = pair is not None and pair.shape == (2,) and 0 < pair[0] <= pair[1]
        require(bool(good), "frequencies", self.frequencies, "two positive numbers, the smaller one first", "Task")

    @property
    def inputs(self) -> int:
        """Coordinates of the network: x, t, and ω if it varies."""
        return 2 + (self.frequencies[0] < self.frequencies[1])


class WaveNetwork(torch.nn.Module):
    """ψ̂(x, t, ω) = ψ₀ + t N; coordinates come to the network between −1 and 1."""

    def __init__(self, task: Task, start: Start) -> None:
        super().__init__()
        self.task, self.start = task, start
        self.inner = JetNetwork(task.inputs, 2, task.width, task.layers).double()
        low, high = task.frequencies
        middle = torch.tensor([0.0, task.duration / 2, (low + high) / 2], dtype=torch.float64)
        reach = torch.tensor([task.half, task.duration / 2, max(high - low, 1e-9) / 2], dtype=torch.float64)
        self.middle: Tensor
        self.reach: Tensor
        self.register_buffer("middle", middle[: task.inputs])
        self.register_buffer("reach", reach[: task.inputs])

    def forward(self, x: Tensor, t: Tensor, frequency: Tensor) -> Tensor:
        """Return ψ̂, (points, 2), of coordinates (points,)."""
        start, _ = self.start(x, frequency)
        found: Tensor = start + t[:, None] * self.inner(self._scaled(x, t, frequency))
        return found

    def residual(self, x: Tensor, t: Tensor, frequency: Tensor) -> Tensor:
        """Return real and imaginary part of i ∂ψ̂/∂t + ½ ∂²ψ̂/∂x² − ½ω²x² ψ̂, (points, 2)."""
        inner: Jet = self.inner.jet(self._scaled(x, t, frequency))
        start, start_bent = self.start(x, frequency)
        wave = start + t[:, None] * inner.value
        bent = start_bent + t[:, None] * inner.curvature[0] / self.reach[0] ** 2
        moved = inner.value + t[:, None] * inner.slope[1] / self.reach[1]
        potential = (0.5 * frequency**2 * x**2)[:, None]
        energy = 0.5 * bent - potential * wave
        return torch.stack([energy[:, 0] - moved[:, 1], energy[:, 1] + moved[:, 0]], 1)

    def _scaled(self, x: Tensor, t: Tensor, frequency: Tensor) -> Tensor:
        coordinates = torch.stack([x, t, frequency][: self.task.inputs], 1)
        return (coordinates - self.middle) / self.reach


def taught(task: Task, start: Start, wave: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None) -> WaveNetwork:
    """Teach a network the equation, and the wave where |x| ≤ `known`.

    Parameters
    ----------
    task : Task
    start : callable
        See `Start`.
    wave : callable, optional
        Maps x, t and ω to ψ, (points, 2); asked for |x| ≤ `known` alone.
    """
    require(task.known == 0.0 or wave is not None, "wave", wave, "the wave, since some of it is to be known", "taught")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(task.seed)
        model = WaveNetwork(task, start)
        optimiser = torch.optim.Adam(model.parameters(), task.learning_rate)
        for step in range(task.steps):
            optimiser.param_groups[0]["lr"] = task.learning_rate * schedule((step + 1) / task.steps)
            x, t, frequency = drawn(task, task.points)
            loss = weighted(model.residual(x, t, frequency).square().sum(1), t, task)
            if wave is not None and task.known:
                x, t, frequency = drawn(task, task.points)
                x = x * task.known / task.half
                loss = loss + (model(x, t, frequency) - wave(x, t, frequency)).square().mean()
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
    return model


def drawn(task: Task, points: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw x, t and ω evenly, (points,) each."""
    x, t, frequency = torch.rand(3, points, dtype=torch.float64)
    low, high = task.frequencies
    return task.half * (2 * x - 1), task.duration * t, low + (high - low) * frequency


def weighted(square: Tensor, t: Tensor, task: Task) -> Tensor:
    """Return the mean of squares over slabs of time, each weighing e^{−ε Σ of the earlier ones}."""
    slab = (t / task.duration * SLABS).long().clamp(max=SLABS - 1)
    count = torch.zeros(SLABS, dtype=square.dtype).index_add(0, slab, torch.ones_like(square)).clamp(min=1)
    mean = torch.zeros(SLABS, dtype=square.dtype).index_add(0, slab, square) / count
    weight = torch.exp(-task.causality * (mean.cumsum(0) - mean)).detach()
    return (weight * mean).mean()
