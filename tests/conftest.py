"""A tiny device, data of it and weights trained on them, each made once a session."""

from pathlib import Path

import matplotlib
import pytest
import torch
from made_up import TINY

from mlnegf import Device, Solution, solve
from mlnegf.learning.networks import save
from mlnegf.learning.training import Trained
from mlnegf.warmstart import dataset, generation
from mlnegf.warmstart.dataset import Splits
from mlnegf.warmstart.design import Design
from mlnegf.warmstart.objective import Settings, train
from mlnegf.warmstart.samples import START, Sample
from mlnegf.warmstart.slice_guess import SliceGuess
from mlnegf.warmstart.storage import Case
from mlnegf.warmstart.trained_range import describe

matplotlib.use("Agg")
# Two processes with one thread each beat two that fight over the cores.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def device() -> Device:
    return Device(
        width=3.0, thickness=3.0, gate_length=6.0, source_length=5.0, drain_length=5.0, spacing=(0.5, 0.5, 0.5)
    )


@pytest.fixture(scope="session")
def solution(device: Device) -> Solution:
    return solve(device, 0.4, 0.3, tolerance=1e-5)


@pytest.fixture(scope="session")
def design() -> Design:
    """Two devices known, `device` the first, and one unseen; a design of the user's own, known to nobody by name."""
    groups = '[[group]]\n[[group]]\ngate_length = 7.0\n[[group]]\npart = "unseen"\nwidth = 2.5\n'
    return Design(f"{TINY}gates = [0.1, 0.3, 0.5]\ndrains = [0.1, 0.4]\n{groups}")


@pytest.fixture(scope="session")
def data(design: Design, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "tiny"
    generation.generate(design, folder, "the tests", workers=1, progress=False)
    return folder


@pytest.fixture(scope="session")
def found(data: Path) -> list[Case]:
    return dataset.cases(data)


@pytest.fixture(scope="session")
def splits(found: list[Case]) -> Splits:
    """Of six biases of each known device: four, one and one."""
    return dataset.split(found, validation=1 / 6, test=1 / 6)


@pytest.fixture(scope="session")
def training(splits: Splits) -> list[Sample]:
    return [case.sample() for case in splits.training]


@pytest.fixture(scope="session")
def trained(training: list[Sample], splits: Splits) -> Trained:
    return train(training, [case.sample() for case in splits.validation], Settings(epochs=2), progress=False)


@pytest.fixture(scope="session")
def weights(trained: Trained, training: list[Sample], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save(path, trained.model, describe(training, START, "the tests"))
    return path


@pytest.fixture(scope="session")
def learned(weights: Path) -> SliceGuess:
    return SliceGuess.load(weights)
