"""Training learns a synthetic law, repeats itself exactly, and survives interruption."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mlnegf.learning.losses import LOSSES
from mlnegf.learning.networks import NETWORKS, SliceAutoencoder, load, save
from mlnegf.learning.training import evaluate, schedule
from mlnegf.nanosheet.device import Device
from mlnegf.warmstart.objective import Example, Objective, Settings, potential_error, train
from mlnegf.warmstart.samples import Sample
from mlnegf.warmstart.slices import predict, untrained
from mlnegf.warmstart.trained_range import excesses

THERMAL = 0.02585


def make_case(gate: float, drain: float = 0.4) -> Sample:
    """The start misses a bulge of 0.1·gate V in mid-channel; Boltzmann's charge follows."""
    device = Device(gate_length=4.0, source_length=4.0, drain_length=4.0, spacing=(1.0, 0.25, 0.25))
    x, y, z = np.linspace(0.5, 11.5, 12), np.linspace(-1, 1, 12), np.linspace(-1, 1, 8)
    section = np.cos(np.pi * y[:, None] / 2.5) * np.cos(np.pi * z / 2.5)
    barrier = np.exp(-(((x - 6.0) / 2.0) ** 2))[:, None, None]
    first = -0.3 * (1 - gate) * barrier * np.ones_like(section)
    potential = first + 0.1 * gate * barrier * section
    charge = 0.1 * np.exp(np.stack([first, potential]) / THERMAL) * section
    return Sample(device, gate, drain, x, np.ones((12, 8), bool), first, charge[0], potential, charge[1])


TRAINING = [make_case(gate) for gate in (0.1, 0.3, 0.5, 0.7)]
VALIDATION = [make_case(gate) for gate in (0.2, 0.6)]
SHORT = Settings(epochs=3, seed=1)


def test_loss_falls_and_potential_improves() -> None:
    trained = train(TRAINING, VALIDATION, Settings(epochs=30, seed=0), progress=False)
    history = trained.history
    assert history.training.shape == history.validation.shape == history.error.shape == (30,)
    assert history.error[-1] < 0.3 * history.error[0]
    assert history.training[-1] < 0.1 * history.training[0]
    assert history.validation.min() < 0.2 * history.validation[0]
    before = potential_error(untrained("slice_autoencoder"), VALIDATION)
    after = potential_error(trained.model, VALIDATION)
    np.testing.assert_allclose(before.largest, [0.02, 0.06], rtol=0.1)
    assert (after.rms < before.rms / 3).all()
    assert (after.rms <= after.largest).all()


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_every_loss_trains(name: str) -> None:
    trained = train(TRAINING, VALIDATION, Settings(epochs=10, loss=name), progress=False)
    examples = [Example.of(case, 24) for case in VALIDATION]
    objective = Objective.of(trained.settings, [Example.of(case, 24) for case in TRAINING])
    before, _ = evaluate(untrained("slice_autoencoder"), examples, objective)
    assert trained.history.validation.min() < 0.8 * before


def test_schedule_rises_and_falls() -> None:
    assert schedule(0.01) == pytest.approx(0.2, rel=1e-3)
    assert schedule(0.05) == pytest.approx(0.994, abs=1e-3)
    assert schedule(0.5) == pytest.approx(0.5)
    assert schedule(1.0) == 0.0


def test_best_weights_are_returned() -> None:
    trained = train(TRAINING, VALIDATION, Settings(epochs=6, seed=2, learning_rate=0.02), progress=False)
    lessons, exams = ([Example.of(case, 24) for case in cases] for cases in (TRAINING, VALIDATION))
    value, _ = evaluate(trained.model, exams, Objective.of(trained.settings, lessons))
    assert value == trained.history.validation.min()
    assert trained.history.validation[trained.best_epoch] == trained.history.validation.min()


def test_perfect_answer_costs_nothing() -> None:
    case = make_case(0.5)
    perfect = replace(case, potential=case.first_potential, charge=np.maximum(case.first_charge, 1e-12))
    example = Example.of(perfect, 24)
    value, squared = Objective(LOSSES["relative"](), 1.0, 1.0)(untrained("slice_autoencoder"), example)
    assert value.item() < 1e-10
    assert squared.item() == 0.0


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_charge_loss_of_the_identity_is_one(name: str) -> None:
    examples = [Example.of(case, 24) for case in TRAINING]
    objective = Objective.of(Settings(loss=name, potential_weight=0.0), examples)
    assert evaluate(untrained("slice_autoencoder"), examples, objective)[0] == pytest.approx(1.0)


def test_potential_loss_is_squared_below_and_linear_above() -> None:
    for error, expected in ((0.005, 0.25), (0.01, 1.0), (0.1, 19.0)):
        case = make_case(0.5)
        example = Example.of(replace(case, potential=case.first_potential + error, charge=case.first_charge), 24)
        value, squared = Objective(LOSSES["mean_squared"](), 1.0, 1.0)(untrained("slice_autoencoder"), example)
        assert value.item() == pytest.approx(expected, rel=1e-4)
        assert squared.item() == pytest.approx(error**2, rel=1e-4)


def test_trained_network_knows_its_range() -> None:
    model = train(TRAINING[:2], VALIDATION[:1], replace(SHORT, epochs=1), progress=False).model
    assert model.ranges["gate"] == (0.1, 0.3)
    assert max(excesses(model.ranges, make_case(0.2)).values()) == 0.0
    assert max(excesses(model.ranges, make_case(0.4)).values()) == pytest.approx(0.5)


def test_same_seed_same_numbers() -> None:
    state = torch.get_rng_state()
    one, two = (train(TRAINING, VALIDATION, SHORT, progress=False) for _ in range(2))
    other = train(TRAINING, VALIDATION, replace(SHORT, seed=5), progress=False)
    assert np.array_equal(one.history.training, two.history.training)
    for mine, theirs in zip(predict(one.model, TRAINING[0]), predict(two.model, TRAINING[0]), strict=True):
        assert np.array_equal(mine, theirs)
    assert not np.array_equal(one.history.training, other.history.training)
    assert torch.equal(torch.get_rng_state(), state), "training must leave the caller's generator alone"


def test_interrupted_run_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(TRAINING, VALIDATION, SHORT, progress=False)
    checkpoint = tmp_path / "run.safetensors"
    settings = replace(SHORT, checkpoint=str(checkpoint))
    with monkeypatch.context() as patch:

        def killed(*_: object) -> tuple[float, float]:
            if checkpoint.exists():
                raise KeyboardInterrupt
            return float(whole.history.validation[0]), float(whole.history.error[0])

        patch.setattr("mlnegf.learning.training.evaluate", killed)
        with pytest.raises(KeyboardInterrupt):
            train(TRAINING, VALIDATION, settings, progress=False)
    resumed = train(TRAINING, VALIDATION, settings, progress=False)
    assert np.array_equal(resumed.history.training, whole.history.training)
    assert np.array_equal(resumed.history.validation, whole.history.validation)
    finished = train(TRAINING, VALIDATION, settings, progress=False)
    for run in (resumed, finished):
        for mine, theirs in zip(run.model.parameters(), whole.model.parameters(), strict=True):
            assert torch.equal(mine, theirs)


def test_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    settings = replace(SHORT, epochs=1, checkpoint=str(tmp_path / "run.safetensors"))
    train(TRAINING[:1], VALIDATION[:1], settings, progress=False)
    with pytest.raises(ValueError, match=r"run with settings .*name another checkpoint"):
        train(TRAINING[:1], VALIDATION[:1], replace(settings, seed=9), progress=False)
    with pytest.raises(ValueError, match=r"run with data 2 cases.*delete this one"):
        train(TRAINING[:2], VALIDATION[:1], settings, progress=False)
    with pytest.raises(ValueError, match="expected 'mlnegf network"):
        load(tmp_path / "run.safetensors")
    (tmp_path / "run.safetensors").write_bytes(b"torn")
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        train(TRAINING[:1], VALIDATION[:1], settings, progress=False)


def test_trained_network_survives_its_file(tmp_path: Path) -> None:
    trained = train(TRAINING[:1], VALIDATION[:1], replace(SHORT, epochs=1), progress=False)
    save(tmp_path / "weights.safetensors", trained.model, {"data": "synthetic"})
    model, _ = load(tmp_path / "weights.safetensors")
    assert np.array_equal(predict(model, VALIDATION[0])[0], predict(trained.model, VALIDATION[0])[0])


def test_progress_is_drawn_only_when_wanted(capfd: pytest.CaptureFixture[str]) -> None:
    train(TRAINING[:1], VALIDATION[:1], replace(SHORT, epochs=1), progress=False)
    assert capfd.readouterr().err == ""
    train(TRAINING[:1], VALIDATION[:1], replace(SHORT, epochs=1))
    assert "1/1" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"epochs": 0}, "epochs = 0, expected at least 1"),
        ({"learning_rate": 0.0}, "learning_rate = 0.0"),
        ({"potential_weight": -1.0}, "potential_weight = -1.0"),
        ({"loss": "nonesuch"}, r"loss = 'nonesuch', expected one of \[.*'logarithmic'"),
        ({"network": "nonesuch"}, r"network = 'nonesuch', expected one of \["),
    ],
)
def test_unusable_settings_are_named(change: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Settings(**change)  # type: ignore[arg-type]


def test_empty_split_is_named() -> None:
    with pytest.raises(ValueError, match=r"validation = \[\], expected at least one sample"):
        train(TRAINING[:1], [], SHORT, progress=False)


def test_divergence_is_said() -> None:
    case = TRAINING[0]
    broken = replace(case, charge=np.full_like(case.charge, 1e38))
    with pytest.raises(ValueError, match=r"expected finite numbers; try a learning_rate below 0.002"):
        train([broken], VALIDATION[:1], replace(SHORT, loss="mean_squared"), progress=False)


def test_networks_are_chosen_by_name() -> None:
    for name in sorted(NETWORKS):
        trained = train(TRAINING[:1], VALIDATION[:1], replace(SHORT, epochs=1, network=name), progress=False)
        assert trained.model.name == name


def test_a_network_is_looked_at_before_it_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    class Forgetful(SliceAutoencoder, name="forgetful"):
        def __init__(self, **counts: int) -> None:
            super().__init__(**counts)
            del self.config

    class Single(SliceAutoencoder, name="single"):
        def forward(self, features: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
            return super().forward(features, conditions)[:, :1]

    try:
        with pytest.raises(ValueError, match=r"network = 'forgetful', expected one that sets self.config"):
            train(TRAINING[:1], VALIDATION[:1], replace(SHORT, network="forgetful"), progress=False)
        with pytest.raises(ValueError, match=r"network = 'single', expected outputs of shape .* not \(12, 1, 24, 24\)"):
            train(TRAINING[:1], VALIDATION[:1], replace(SHORT, network="single"), progress=False)
    finally:
        del NETWORKS["forgetful"], NETWORKS["single"]
