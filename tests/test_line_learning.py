"""Networks of electrons on a line: an operator for the potential of a density, and a wave told its equation."""

import numpy as np
import pytest
import torch

from mlnegf.learning.training import Settings
from mlnegf.line.exchange import dealt, exact, said, there_and_back, train
from mlnegf.line.grid import Line, Molecule
from mlnegf.line.motion import superposed
from mlnegf.line.wave_network import Task, WaveNetwork, drawn, oscillator_start, taught, weighted

LINE = Line(10.0, 96)
LEVELS = (0, 1)
START = oscillator_start(LEVELS)


def test_an_operator_learns_the_potentials_of_densities() -> None:
    examples = [exact(LINE, Molecule.stretched(1.2, 1.0, apart)) for apart in np.linspace(0.8, 3.0, 10)]
    assert all(there_and_back(one, one.exchange) < 1e-4 for one in examples)
    training, unseen = examples[::2], examples[1::2]
    found = train(dealt(training, 4), dealt(unseen, 4), Settings(epochs=300, learning_rate=4e-3), 12, 16, 2, False)
    nothing = np.zeros(LINE.points)
    for one in unseen:
        assert there_and_back(one, said(found.model, one)) < 0.5 * there_and_back(one, nothing)
    with pytest.raises(ValueError, match="examples"):
        dealt([])


def test_the_residual_is_that_of_differences() -> None:
    model = WaveNetwork(Task(width=12, layers=2), START)
    x, t, frequency = drawn(model.task, 5)
    step = 1e-3

    def wave(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        parts = model(x, t, frequency).detach()
        return torch.complex(parts[:, 0], parts[:, 1])

    moved = (wave(x, t + step) - wave(x, t - step)) / (2 * step)
    bent = (wave(x + step, t) - 2 * wave(x, t) + wave(x - step, t)) / step**2
    wanted = 1j * moved + 0.5 * bent - 0.5 * frequency**2 * x**2 * wave(x, t)
    found = model.residual(x, t, frequency).detach()
    torch.testing.assert_close(torch.complex(found[:, 0], found[:, 1]), wanted, rtol=1e-4, atol=1e-4)


def test_a_network_that_is_told_the_equation_finds_the_wave() -> None:
    task = Task(half=3.0, duration=0.5, steps=1500, points=256, width=24, layers=2, causality=0.5, learning_rate=1e-2)
    model = taught(task, START)
    x, t, frequency = drawn(task, 400)
    with torch.no_grad():
        parts = model(x, t, frequency).numpy()
    true = superposed(LEVELS, x.numpy(), t.numpy())
    still = superposed(LEVELS, x.numpy(), 0.0)
    error = (abs(parts[:, 0] + 1j * parts[:, 1] - true) ** 2).mean()
    assert error < 0.02 * (abs(still - true) ** 2).mean()


def test_later_times_wait_for_earlier_ones() -> None:
    task = Task(causality=1.0, duration=1.0)
    t = torch.linspace(0, 0.999, 160, dtype=torch.float64)
    early, late = (t < 0.25).double(), (t > 0.75).double()
    alone = weighted(late, t, task)
    assert float(weighted(late + 100 * early, t, task) - weighted(100 * early, t, task)) < 1e-6 * float(alone)
    plain = Task(causality=0.0, duration=1.0)
    assert float(weighted(late, t, plain)) == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("given", "words"),
    [({"half": 0.0}, "half"), ({"steps": 0}, "steps"), ({"known": -1.0}, "known"), ({"frequencies": (2, 1)}, "freq")],
)
def test_tasks_that_make_no_sense_are_refused(given: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Task(**given)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="wave"):
        taught(Task(known=1.0), START)
