"""What a network is told of atoms, and what it learns from that: nothing that a rotation could change."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import special_ortho_group

from mlnegf._common import Floats
from mlnegf.atomistic.descriptors import Projection, Soap
from mlnegf.atomistic.neural_potential import NeuralPotential, Structures, both_ways, errors
from mlnegf.atomistic.neural_potential import train as train_potential
from mlnegf.atomistic.potential import POTASSIUM
from mlnegf.atomistic.prediction import Predictor, Scores, batches, nearest, predicted, train
from mlnegf.atomistic.rivals import coulomb_eigenvalues, narrowest_section, sections, thin_lengths
from mlnegf.atomistic.wires import Wire
from mlnegf.learning.networks.deep_potential import DeepPotential
from mlnegf.learning.networks.pooled import POOLINGS, PooledNetwork
from mlnegf.learning.networks.stacked import StackedNetwork
from mlnegf.learning.training import Settings


def wire(seed: int = 0, spread: float = 0.25, length: float = 27.0) -> Floats:
    found = Wire.of_crystal(length, 9.0).positions
    return found + spread * np.random.default_rng(seed).standard_normal(found.shape)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_surroundings_know_no_rotation_no_place_and_no_order(seed: int) -> None:
    soap, positions = Soap(), wire(seed)
    found = soap(positions)
    turn = special_ortho_group.rvs(3, random_state=seed)
    size = abs(found).max()
    np.testing.assert_allclose(soap(positions @ turn.T + [5.0, -3.0, 2.0]), found, atol=1e-12 * size)
    np.testing.assert_allclose(soap(positions * [1.0, 1.0, -1.0]), found, atol=1e-12 * size)
    order = np.random.default_rng(seed).permutation(len(positions))
    np.testing.assert_allclose(soap(positions[order]), found[order], atol=1e-12 * size)


def test_seventeen_radial_functions_and_ten_angular_ones_are_1530_numbers() -> None:
    assert Soap().size == 1530
    assert Soap()(wire()).shape == (25, 1530)


def test_nothing_is_lost_with_half_of_the_power_spectrum() -> None:
    """Scalar products between atoms are those of all n, n′."""
    soap, positions = Soap(radial=4, angular=3), wire()
    whole = soap._calculator.compute([soap._atoms(positions)], use_native_system=True).block(0).values
    kept = soap(positions)
    np.testing.assert_allclose(kept @ kept.T, whole @ whole.T, rtol=1e-12)


def test_surroundings_end_at_the_cutoff() -> None:
    soap, positions = Soap(cutoff=6.0), wire()
    end = positions[np.argmin(positions[:, 0])]
    for beyond, reached in ((1e-3, False), (-0.3, True)):
        more = np.vstack([positions, end - [6.0 + beyond, 0.0, 0.0]])
        changed = abs(soap(more)[:-1] - soap(positions)).max()
        assert (changed > 1e-6) == reached


def test_the_slope_of_descriptors() -> None:
    soap, positions = Soap(radial=5, angular=3), wire()
    weights = np.random.default_rng(0).standard_normal((len(positions), soap.size))
    slope = soap.pull(positions, weights)
    for atom, axis in ((0, 0), (12, 1), (20, 2)):
        sides = []
        for step in (1e-4, -1e-4):
            moved = positions.copy()
            moved[atom, axis] += step
            sides.append((weights * soap(moved)).sum())
        assert (sides[0] - sides[1]) / 2e-4 == pytest.approx(slope[atom, axis], rel=1e-6)
    np.testing.assert_allclose(slope.sum(0), 0.0, atol=1e-8 * abs(slope).max())


def test_a_projection_keeps_what_differs() -> None:
    rng = np.random.default_rng(0)
    few = rng.standard_normal((400, 3)) @ rng.standard_normal((3, 30)) + 7.0
    projection = Projection.of(np.array_split(few, 9), kept=3)
    assert projection.left_out < 1e-12
    found = projection(few).astype(np.float64)
    away, own = (np.linalg.norm(x[:, None] - x, axis=-1) for x in (few, found * projection.scale))
    np.testing.assert_allclose(own, away, rtol=1e-4)
    np.testing.assert_allclose(found.std(0), 1.0, rtol=1e-5)
    # A direction that hardly differs stays faint.
    faint = Projection.of([few + 1e-5 * rng.standard_normal(few.shape)], kept=5)
    assert (faint(few).std(0)[3:] < 0.01).all()


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_network_of_atoms_knows_no_order(pooling: str) -> None:
    torch.manual_seed(0)
    model, features = PooledNetwork(8, 16, pooling), torch.randn(3, 40, 8)
    order = torch.randperm(40)
    torch.testing.assert_close(model(features[:, order]), model(features), rtol=1e-5, atol=1e-6)
    assert model(features).shape == (3,)
    with pytest.raises(ValueError, match="pooling"):
        PooledNetwork(8, 16, "least")


def test_the_largest_forgets_how_many_there_are() -> None:
    torch.manual_seed(0)
    model, features = PooledNetwork(8, 16), torch.randn(1, 40, 8)
    torch.testing.assert_close(model(torch.cat([features, features], 1)), model(features))


def test_a_network_learns_what_the_narrowest_atom_says() -> None:
    rng = np.random.default_rng(0)
    features = rng.standard_normal((600, 20, 4)).astype(np.float32)
    answer = np.abs(features[..., 0]).max(1).astype(np.float64)
    lots = batches(features, answer)
    assert sum(len(lot.conductance) for lot in lots) == 600
    trained = train(lots[:30], lots[30:], Settings(epochs=40, learning_rate=3e-3), width=32, progress=False)
    scores = Scores.of(predicted(trained.model, features[-100:]), answer[-100:])
    assert scores.r2 > 0.9
    assert scores.mae < 0.2


def test_neighbours_are_the_nearest_atoms() -> None:
    cells = Wire.of_crystal(27.0, 17.5).positions
    inside = int(np.argmin(np.linalg.norm(cells - cells.mean(0), axis=1)))
    away = np.linalg.norm(cells[nearest(cells)[inside]] - cells[inside], axis=1)
    a0 = POTASSIUM.lattice_constant
    np.testing.assert_allclose(away, [np.sqrt(3) / 2 * a0] * 8 + [a0] * 6, rtol=1e-12)


def test_a_stack_of_poolings_knows_no_order_and_what_lies_farther_away() -> None:
    torch.manual_seed(0)
    model, positions = StackedNetwork(8, 16), wire()
    features, lists = torch.randn(len(positions), 8), torch.from_numpy(nearest(positions, 3))
    order = torch.randperm(len(positions))
    renamed = torch.argsort(order)[lists[order]]
    said = model(features[None], lists[None])
    torch.testing.assert_close(model(features[order][None], renamed[None]), said, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        model(torch.stack([features, 2 * features]), torch.stack([lists, lists]))[:1], said, rtol=1e-5, atol=1e-6
    )

    # An atom hears of the neighbours of its neighbours, and of no others.
    heard: list[torch.Tensor] = []
    model.structure.register_forward_pre_hook(lambda _, given: heard.append(given[0]))
    leaves = features.clone().requires_grad_()
    hidden = model.rounds[-1].register_forward_hook(lambda *given: heard.append(given[2]))
    model(leaves[None], lists[None])
    hidden.remove()
    last = next(some for some in heard if some.dim() == 3)
    (slope,) = torch.autograd.grad(last[0, 0].sum(), leaves)
    within = {0} | set(lists[0].tolist())
    within |= {other for near in within for other in lists[near].tolist()}
    reached = set(slope.abs().sum(1).nonzero()[:, 0].tolist())
    assert reached <= within
    assert not reached <= {0} | set(lists[0].tolist())


def test_a_stack_learns_what_two_neighbours_say_together() -> None:
    """The largest over atoms of a sum over neighbours: no atom alone knows it."""
    rng, positions = np.random.default_rng(0), wire(length=40.0)
    lists = np.repeat(nearest(positions, 3)[None], 600, 0)
    features = rng.standard_normal((600, len(positions), 2)).astype(np.float32)
    largest = features[..., 0][np.arange(600)[:, None, None], lists].max(2)
    answer = (largest + features[..., 1]).max(1).astype(np.float64)
    scores = {}
    for name, told in (("alone", None), ("stacked", lists)):
        lots = batches(features, answer, told)
        trained = train(lots[:30], lots[30:], Settings(epochs=40, learning_rate=3e-3), width=32, progress=False)
        said = predicted(trained.model, features[-100:], None if told is None else told[-100:])
        scores[name] = Scores.of(said, answer[-100:]).r2
    assert scores["stacked"] > 0.85
    assert scores["stacked"] > scores["alone"] + 0.2


def test_how_conductance_follows_the_atoms() -> None:
    torch.manual_seed(0)
    soap, positions = Soap(), wire()
    projection = Projection.of([soap(positions), soap(wire(1))], 16)
    guess = Predictor(soap, projection, [PooledNetwork(16, 16, pooling) for pooling in ("max", "attention")])
    value, spread = guess(positions)
    assert spread > 0

    def exactly(moved: Floats) -> float:
        told = torch.from_numpy((soap(moved) - projection.mean) @ projection.directions / projection.scale)
        votes = [PooledNetwork(**model.config).double() for model in guess.models]
        for vote, model in zip(votes, guess.models, strict=True):
            vote.load_state_dict(model.state_dict())
        return float(np.mean([vote(told[None]).item() for vote in votes]))

    assert value == pytest.approx(exactly(positions), abs=1e-5)
    slope = guess.gradient(positions)
    for atom, axis in ((0, 0), (10, 1), (20, 2)):
        sides = []
        for step in (1e-4, -1e-4):
            moved = positions.copy()
            moved[atom, axis] += step
            sides.append(exactly(moved))
        assert (sides[0] - sides[1]) / 2e-4 == pytest.approx(slope[atom, axis], rel=1e-5, abs=1e-10)


def test_coulomb_eigenvalues_know_no_order_and_hold_the_trace() -> None:
    positions = wire()
    found = coulomb_eigenvalues(positions, 40)
    order = np.random.default_rng(0).permutation(len(positions))
    np.testing.assert_allclose(coulomb_eigenvalues(positions[order], 40), found, rtol=1e-10, atol=1e-8)
    assert found.sum() == pytest.approx(len(positions) * 0.5 * 19**2.4)
    assert not found[len(positions) :].any()
    with pytest.raises(ValueError, match="size"):
        coulomb_eigenvalues(positions, 20)


def test_sections_of_a_perfect_wire() -> None:
    perfect = Wire.of_crystal(60.0, 17.5)
    area = 21 * POTASSIUM.lattice_constant**2 / 2
    middle = sections(perfect.positions)[10:-10]
    np.testing.assert_allclose(middle, area, rtol=0.03)
    thinned = perfect.positions[abs(perfect.positions[:, 0] - 30.0) > 2.0]
    assert narrowest_section(thinned) < 0.8 * area
    lengths = thin_lengths(perfect.positions)
    assert (np.diff(lengths) >= 0).all()


def lots(count: int, seed: int) -> list[Structures]:
    return [Structures.of([wire(seed + n), wire(seed + n + 500, 0.4)], POTASSIUM, 7.5) for n in range(count)]


def test_a_learned_potential_knows_no_rotation_and_its_forces_are_slopes() -> None:
    torch.manual_seed(0)
    potential, positions = NeuralPotential.of(DeepPotential(), POTASSIUM), wire()
    energies, forces = potential(positions)
    turn = special_ortho_group.rvs(3, random_state=1)
    again = potential(positions @ turn.T + 1.0)
    np.testing.assert_allclose(again.energies, energies, atol=1e-10)
    np.testing.assert_allclose(again.forces, forces @ turn.T, atol=1e-10)
    np.testing.assert_allclose(forces.sum(0), 0.0, atol=1e-10)
    for atom, axis in ((0, 0), (12, 1)):
        sides = []
        for step in (1e-4, -1e-4):
            moved = positions.copy()
            moved[atom, axis] += step
            sides.append(potential(moved).energies.sum())
        assert -(sides[0] - sides[1]) / 2e-4 == pytest.approx(forces[atom, axis], rel=1e-6, abs=1e-9)


def test_a_learned_potential_is_smooth_where_neighbours_leave() -> None:
    torch.manual_seed(0)
    model = DeepPotential().double()
    pair = np.array([[0.0, 0, 0], [0, 0, 0]])
    energies = []
    for distance in (7.5 - 1e-3, 7.5 - 1e-6, 7.5 + 1e-6):
        pair[1, 0] = distance
        energies.append(model(torch.from_numpy(pair), torch.from_numpy(both_ways(pair, 8.0))).sum().item())
    assert energies[1] == pytest.approx(energies[2], abs=1e-12)
    assert energies[0] == pytest.approx(energies[2], abs=1e-8)


@pytest.mark.slow
def test_a_network_learns_energies_and_forces() -> None:
    training, validation = lots(60, 0), lots(4, 900)
    found = train_potential(training, validation, Settings(epochs=15, learning_rate=5e-3), progress=False)
    energy, force = (part.detach() for part in errors(found.model, validation[0]))
    # Untaught, the error is as large as the forces.
    assert float(force.square().mean()) < 0.2 * float(validation[0].forces.square().mean())
    assert float(energy.abs().max()) < 0.03


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: Soap(cutoff=-1.0), "cutoff"),
        (lambda: Soap(radial=0), "radial"),
        (lambda: Soap()(np.zeros((2, 3))), "apart"),
        (lambda: Soap()(np.zeros((4, 2))), "positions"),
        (lambda: DeepPotential(near=8.0), "near"),
        (lambda: train([], [], Settings()), "training"),
        (lambda: train_potential([], [], Settings()), "training"),
        (lambda: Projection.of([]), "samples"),
    ],
)
def test_what_is_wrong_is_named(call: Callable[[], object], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        call()
