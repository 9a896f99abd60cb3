"""Networks of electrons on a line: an operator for the potential of a density, and a wave told its equation."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from mlnegf.learning import least_squares
from mlnegf.learning.networks.fourier import FourierOperator
from mlnegf.learning.training import Settings
from mlnegf.line.exchange import dealt, exact, said, there_and_back, train
from mlnegf.line.grid import Line, Molecule
from mlnegf.line.kohn_sham import hartree, read_off, searched
from mlnegf.line.motion import oscillator, superposed
from mlnegf.line.potential_network import told
from mlnegf.line.wave_network import (
    Change,
    Descent,
    Part,
    Task,
    WaveNetwork,
    by_descent,
    by_least_squares,
    oscillator_start,
    spread,
    weighted,
)

LINE = Line(10.0, 96)
LEVELS = (0, 1)
START = oscillator_start(LEVELS)


def test_an_operator_learns_the_potentials_of_densities() -> None:
    examples = [exact(LINE, Molecule.stretched(1.1, 1.1, apart)) for apart in np.linspace(0.8, 3.0, 10)]
    assert all(there_and_back(one, one.exchange) < 1e-4 for one in examples)
    training, unseen = examples[::2], examples[1::2]
    found = train(dealt(training, 4), dealt(unseen, 4), Settings(epochs=300, learning_rate=4e-3), 12, 16, 2, False)
    nothing = np.zeros(LINE.points)
    for one in unseen:
        assert there_and_back(one, said(found.model, one)) < 0.5 * there_and_back(one, nothing)
    with pytest.raises(ValueError, match="at least one"):
        dealt([])
    with pytest.raises(ValueError, match="equal lines"):
        dealt([examples[0], exact(Line(9.0, 96), Molecule.stretched(1.2, 1.0, 1.0))])


def test_what_an_operator_says_of_a_mirror_image_is_mirrored() -> None:
    one, other = (exact(LINE, Molecule((1.4, 1.0), places)) for places in ((-0.8, 0.8), (0.8, -0.8)))
    torch.manual_seed(0)
    model = FourierOperator(1, 1, (8,), 8, 2)
    np.testing.assert_allclose(said(model, one), said(model, other)[::-1], atol=1e-6)


def test_the_residual_is_that_of_differences() -> None:
    model = WaveNetwork(Task(width=12, layers=2, parts=2, frequencies=(0.8, 1.2)), START)
    x, t, frequency = spread(model.task, 8)
    step, late = 1e-3, model.task.stretch
    t = t.clamp(2 * step, late - 2 * step)

    def wave(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        parts = model(x, t + late, frequency).detach()
        return torch.complex(parts[:, 0], parts[:, 1])

    moved = (wave(x, t + step) - wave(x, t - step)) / (2 * step)
    bent = (wave(x + step, t) - 2 * wave(x, t) + wave(x - step, t)) / step**2
    wanted = 1j * moved + 0.5 * bent - 0.5 * frequency**2 * x**2 * wave(x, t)
    found = model.parts[1].residual(x, t, frequency, *model.begun(1, x, frequency)).detach()  # type: ignore[operator]
    torch.testing.assert_close(torch.complex(found[:, 0], found[:, 1]), wanted, rtol=1e-4, atol=1e-4)


class Moving(Part):
    """A part that moves as the exact wave does."""

    def forward(self, x: torch.Tensor, t: torch.Tensor, frequency: torch.Tensor) -> Change:
        step = 1e-4
        ahead, behind = (superposed(LEVELS, x.numpy(), t.numpy() + sign * step) for sign in (1, -1))
        return Change(torch.zeros(len(x), 2), parts_of((ahead - behind) / (2 * step)), torch.zeros(len(x), 2))


def parts_of(wave: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack([wave.real, wave.imag], 1))


def test_the_exact_wave_has_no_residual() -> None:
    x, t, frequency = spread(Task(), 16)
    waves = [oscillator(n, x.numpy()) * np.exp(-1j * (n + 0.5) * t.numpy()) / np.sqrt(2) for n in LEVELS]
    bent = sum((x.numpy() ** 2 - (2 * n + 1)) * wave for n, wave in zip(LEVELS, waves, strict=True))
    found = Moving(Task()).residual(x, t, torch.ones_like(frequency), parts_of(sum(waves)), parts_of(bent))
    assert float(found.abs().max()) < 1e-7


def test_waves_begin_right_and_parts_meet() -> None:
    model = WaveNetwork(Task(parts=3, width=8, layers=1), START)
    x, _, frequency = spread(model.task, 8)
    torch.testing.assert_close(model(x, torch.zeros_like(x), frequency), START(x, frequency)[0])
    end = torch.full_like(x, model.task.stretch)
    torch.testing.assert_close(model(x, end - 1e-12, frequency), model(x, end + 1e-12, frequency))
    wall = torch.full_like(x, model.task.half)
    torch.testing.assert_close(model(wall, end, frequency), START(wall, frequency)[0])


def error(model: WaveNetwork, frequency: float = 1.0) -> float:
    """Return the mean squared error of a wave, relative to that of a wave at rest."""
    x, t, omega = spread(replace(model.task, parts=1), 512)
    omega = torch.full_like(omega, frequency)
    with torch.no_grad():
        parts = model(x, t, omega).numpy()
    true, still = (superposed(LEVELS, x.numpy(), times, frequency) for times in (t.numpy(), 0.0))
    return float((abs(parts[:, 0] + 1j * parts[:, 1] - true) ** 2).mean() / (abs(still - true) ** 2).mean())


def test_networks_that_are_told_the_equation_find_the_wave() -> None:
    model, left = by_least_squares(Task(duration=1.0, parts=2, width=12, layers=2), START, 256, 30)
    assert left.shape == (2,)
    assert left.max() < 0.05
    assert error(model) < 1e-3


def test_one_set_of_networks_serves_many_frequencies() -> None:
    task = Task(duration=0.5, parts=1, width=14, layers=2, frequencies=(0.7, 1.3))
    model, _ = by_least_squares(task, START, 512, 30)
    assert all(error(model, frequency) < 1e-2 for frequency in (0.75, 1.0, 1.25))


def test_a_descent_gets_there_too() -> None:
    task = Task(half=5.0, duration=0.5, parts=1, width=24, layers=2)
    assert error(by_descent(task, START, Descent(1500, 256, 1e-2, 0.5))) < 0.05


def test_what_is_known_of_a_wave_is_used() -> None:
    def wave(x: torch.Tensor, t: torch.Tensor, frequency: torch.Tensor) -> torch.Tensor:
        assert float(x.abs().max()) <= 1.0
        found = superposed(LEVELS, x.numpy(), t.numpy(), frequency.numpy())
        return torch.from_numpy(np.stack([found.real, found.imag], 1))

    task = Task(half=5.0, duration=1.5, parts=2, width=16, layers=2)
    x = torch.linspace(-1, 1, 50, dtype=torch.float64)
    t, omega = torch.full_like(x, 1.5), torch.ones_like(x)

    def apart(how: Descent) -> float:
        found = by_descent(task, START, how, wave)(x, t, omega).detach()
        return float((found - wave(x, t, omega)).square().mean())

    how = Descent(300, 128, 1e-2)
    assert apart(replace(how, known=1.0)) < 0.7 * apart(how)


def test_later_times_wait_for_earlier_ones() -> None:
    share = torch.linspace(0, 0.999, 160, dtype=torch.float64)
    early, late = (share < 0.25).double(), (share > 0.75).double()
    alone = weighted(late, share, 1.0)
    assert float(weighted(late + 100 * early, share, 1.0) - weighted(100 * early, share, 1.0)) < 1e-6 * float(alone)
    assert float(weighted(late, share, 0.0)) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("make", "given", "words"),
    [
        (Task, {"half": 0.0}, "half"),
        (Task, {"parts": 0}, "parts"),
        (Task, {"frequencies": (2, 1)}, "frequencies"),
        (Descent, {"steps": 0}, "steps"),
        (Descent, {"known": -1.0}, "known"),
    ],
)
def test_tasks_that_make_no_sense_are_refused(make: type, given: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make(**given)
    with pytest.raises(ValueError, match="wave"):
        by_descent(Task(), START, Descent(known=1.0))


class Straight(nn.Module):
    """A line through points: its residuals are linear."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(1, 1).double()

    def residual(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.map(x[:, None]) - y[:, None]
        return found


def test_a_line_is_fitted_at_once() -> None:
    model, x = Straight(), torch.linspace(-1, 1, 9, dtype=torch.float64)
    errors = least_squares.fit(model, (x, 3 * x - 2), 8)
    assert model.map.weight.item() == pytest.approx(3)
    assert model.map.bias.item() == pytest.approx(-2)
    assert errors.min() < 1e-10 < errors[0]
    with pytest.raises(ValueError, match="residual"):
        least_squares.fit(nn.Linear(1, 1).double(), (x,))
    with pytest.raises(ValueError, match="double precision"):
        least_squares.fit(Straight().float(), (x.float(), x.float()))
    with pytest.raises(ValueError, match="evaluations"):
        least_squares.fit(model, (x, x), 0)
    with pytest.raises(ValueError, match="as many points"):
        least_squares.fit(model, (x, x[:3]))


def test_a_network_finds_the_potential_of_a_noisy_density() -> None:
    one = exact(LINE, Molecule.stretched(1.2, 1.0, 1.6))
    noise = 1e-3
    given = one.density + noise * np.random.default_rng(0).normal(size=LINE.points)
    outer = one.molecule.potential(LINE)
    energy = one.energy - float(LINE.levels(outer)[0][0])
    base = outer + hartree(LINE, given)
    weight = np.minimum(one.density / 1e-2, 1.0) * one.known

    def off(potential: np.ndarray) -> float:
        return float(np.sqrt((weight * (potential - base - one.exchange) ** 2).sum() / weight.sum()))

    start = base - hartree(LINE, given) / 2
    found = told(LINE, given, start, energy, noise, 0.1)
    assert off(found) < 0.4 * off(start)

    def by_search(doubt: float | None, smooth: float = 0.0) -> float:
        nearest, _ = searched(LINE, given, start, 60, noise, doubt, smooth)
        return off(nearest + energy - LINE.levels(nearest)[0][0])

    assert by_search(0.1, 1.0) < 0.7 * by_search(0.1) < 0.7 * off(start)
    assert by_search(None) > 2 * off(start)
    assert off(read_off(LINE, np.clip(given, 0, None), energy)[0]) > 10 * off(start)
