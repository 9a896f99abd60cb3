"""The local density of states against sums over states, and what points see against rotations."""

import numpy as np
import pytest
from scipy.special import sph_harm_y
from scipy.stats import special_ortho_group

from mlnegf.crystal.aluminium import CUBE, ELECTRONS, AshcroftLindhard, snapshots
from mlnegf.crystal.bands import energies
from mlnegf.crystal.cohen_bergstresser import RYDBERG, Semiconductor
from mlnegf.crystal.form_factors import BOHR
from mlnegf.crystal.lattice import Crystal, face_centred
from mlnegf.crystal.local_density import LocalDensity, is_own_opposite, local_density, mesh, real_states
from mlnegf.crystal.plane_waves import PlaneWaves, lowest
from mlnegf.crystal.prediction import Predictor, points_of, train
from mlnegf.crystal.surroundings import Surroundings, _harmonics
from mlnegf.learning.networks.point import PointNetwork
from mlnegf.learning.training import Settings

CUTOFF = 8 * RYDBERG
ENERGIES = np.arange(-9.5, 6.5, 0.15)
METAL = AshcroftLindhard()


def moved(seed: int = 0, cells: tuple[int, int, int] = (1, 1, 1)) -> Crystal:
    crystal = CUBE.repeated(cells)
    shift = 0.12 * np.random.default_rng(seed).standard_normal(crystal.fractions.shape)
    return Crystal(crystal.vectors, crystal.fractions + shift @ np.linalg.inv(crystal.vectors), crystal.species)


def some(seed: int = 0, k: tuple[int, int, int] = (2, 2, 2), cutoff: float = CUTOFF) -> LocalDensity:
    return local_density(moved(seed), METAL, 4 * ELECTRONS, cutoff, mesh(k), ENERGIES, 0.3)


def test_the_form_factor_has_the_measured_coefficients() -> None:
    """V(111) = 0.0179 Ry, V(200) = 0.0562 Ry, by two numbers; the rest is the model's own; −⅔ E_F at zero."""
    one = Crystal(face_centred(4.05), np.zeros((1, 3)), ("Al",))
    waves = PlaneWaves.of(one, CUTOFF, [[0.0, 0.0, 0.0], [0.5, 0.0, 0.5], [0.5, 0.5, 0.5]])
    potential = waves.potential(METAL).numpy().real / RYDBERG
    square = ((waves.differences @ one.reciprocal * 4.05 / (2 * np.pi)) ** 2).sum(1).round()
    for length, wanted in ((3, 0.0179), (4, 0.0562), (8, 0.0140), (11, 0.0001)):
        assert potential[square == length] == pytest.approx(wanted, abs=1.5e-4)
    fermi = 3.80998 * (3 * np.pi**2 * 12 / 4.05**3) ** (2 / 3)
    assert fermi == pytest.approx(11.65, abs=0.02)
    assert potential[square == 0] * RYDBERG == pytest.approx(-2 / 3 * fermi, rel=1e-3)
    _, x, leg = lowest(waves, waves.potential(METAL), 2).numpy()
    assert x[1] - x[0] == pytest.approx(1.43, abs=0.02)
    assert leg[1] - leg[0] == pytest.approx(0.37, abs=0.02)


def test_real_states_are_the_states() -> None:
    crystal = moved()
    for k in mesh((2, 2, 2))[[0, 3, 7]]:
        assert is_own_opposite(k)
        waves = PlaneWaves.of(crystal, CUTOFF, [k])
        potential = waves.potential(METAL).numpy()
        (matrix,) = waves.hamiltonians(potential)
        every = np.linalg.eigvalsh(matrix)
        levels, states = real_states(waves, 0, potential, (every[9] + every[10]) / 2)
        np.testing.assert_allclose(levels, every[:10], atol=1e-10)
        np.testing.assert_allclose(matrix @ states, states * levels, atol=1e-9)
        np.testing.assert_allclose(states.conj().T @ states, np.eye(10), atol=1e-12)
    assert not is_own_opposite(np.array([0.25, 0.0, 0.0]))


def test_the_density_of_states_is_that_of_the_levels() -> None:
    found = some()
    levels = energies(moved(), CUTOFF, METAL, mesh((2, 2, 2)), 24)
    gaussians = np.exp(-0.5 * ((ENERGIES[:, None, None] - levels) / 0.3) ** 2) / (np.sqrt(2 * np.pi) * 0.3)
    np.testing.assert_allclose(found.density_of_states, 2 * gaussians.sum(2).mean(1), rtol=1e-5, atol=1e-6)
    # A mesh some of whose wave vectors have complex states.
    other = some(k=(4, 3, 1)).density_of_states
    levels = energies(moved(), CUTOFF, METAL, mesh((4, 3, 1)), 24)
    gaussians = np.exp(-0.5 * ((ENERGIES[:, None, None] - levels) / 0.3) ** 2) / (np.sqrt(2 * np.pi) * 0.3)
    np.testing.assert_allclose(other, 2 * gaussians.sum(2).mean(1), rtol=1e-5, atol=1e-6)


def test_electrons_are_counted_exactly() -> None:
    found = some()
    assert (found.values >= 0).all()
    for thermal in (0.05, 0.2):
        assert found.density(thermal).mean() * found.crystal.volume == pytest.approx(12.0, abs=1e-5)
        level = found.fermi_level(thermal)
        filled = 1 / (1 + np.exp((ENERGIES - level) / thermal))
        assert (found.density_of_states * filled).sum() * 0.15 == pytest.approx(12.0, abs=1e-10)
        assert found.entropy(thermal) > 0
    with pytest.raises(ValueError, match="energies"):
        LocalDensity(found.crystal, 100.0, found.energies, found.values, found.shape).fermi_level(0.1)


def test_a_larger_cell_has_the_same_density() -> None:
    """Twice the cell with half the mesh: the same states, folded."""
    crystal = moved()
    double = crystal.repeated((1, 1, 2))
    one = local_density(crystal, METAL, 12, CUTOFF, mesh((2, 2, 2)), ENERGIES, 0.3)
    two = local_density(double, METAL, 24, CUTOFF, mesh((2, 2, 1)), ENERGIES, 0.3)
    np.testing.assert_allclose(two.density_of_states, 2 * one.density_of_states, rtol=1e-4, atol=1e-5)
    assert two.band_energy(0.1) == pytest.approx(one.band_energy(0.1), abs=1e-5)
    # With an empty core electrons stay out of the middle of an atom.
    centre = int(np.argmin(np.linalg.norm((one.fractions - crystal.fractions[1] + 0.5) % 1 - 0.5, axis=1)))
    assert one.density(0.1)[centre] < 0.8 * one.density(0.1).mean()


def test_points_see_what_no_rotation_changes() -> None:
    see, crystal = Surroundings(), moved(1)
    points = np.random.default_rng(0).random((40, 3))
    found = see(crystal, points)
    assert found.shape == (40, see.size)
    turn = special_ortho_group.rvs(3, random_state=0)
    turned = Crystal(crystal.vectors @ turn.T, crystal.fractions, crystal.species)
    np.testing.assert_allclose(see(turned, points), found, rtol=1e-4, atol=1e-5 * found.max())
    shifted = Crystal(crystal.vectors, crystal.fractions + 0.37, crystal.species)
    np.testing.assert_allclose(see(shifted, points + 0.37), found, rtol=1e-4, atol=1e-5 * found.max())
    # A larger cell of the same crystal looks the same.
    np.testing.assert_allclose(
        see(crystal.repeated((1, 2, 1)), points / [1, 2, 1]), found, rtol=1e-4, atol=1e-5 * found.max()
    )
    order = crystal.fractions[::-1]
    np.testing.assert_allclose(
        see(Crystal(crystal.vectors, order, crystal.species), points), found, rtol=1e-5, atol=1e-6
    )


def test_points_see_to_the_cutoff_alone() -> None:
    alone = Crystal(40.0 * np.eye(3), np.full((1, 3), 0.5), ("Al",))
    away = np.array([[0.5 + d / 40.0, 0.5, 0.5] for d in (5.0, 5.99, 6.01, 9.0)])
    found = abs(Surroundings()(alone, away)).max(1)
    assert found[0] > 1e-3
    assert found[0] > found[1] > 0
    assert (found[2:] == 0).all()


def test_aluminium_moves_as_warm_as_it_is_told() -> None:
    cold, hot = ([some.fractions for some in snapshots((1, 1, 1), kelvin, 3, every=60)] for kelvin in (100.0, 900.0))
    spread = [np.std(np.array(one) - np.mean(one, 0)) for one in (cold, hot)]
    # Equipartition: as the root of the temperature, three times.
    assert 2.0 < spread[1] / spread[0] < 4.5
    again = [some.fractions for some in snapshots((1, 1, 1), 100.0, 3, every=60)]
    assert np.array_equal(again, cold)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: local_density(CUBE, METAL, 12, CUTOFF, mesh((1, 1, 1)), [0.0, 1.0, 3.0], 0.3), "energies"),
        (lambda: local_density(CUBE, METAL, 12, CUTOFF, mesh((1, 1, 1)), ENERGIES, -0.3), "width"),
        (lambda: local_density(CUBE, METAL, 12, CUTOFF, mesh((1, 1, 1)), ENERGIES, 0.1), "width"),
        (lambda: local_density(CUBE, METAL, 12, CUTOFF, mesh((1, 1, 1)), ENERGIES + 5.0, 0.3), "energies"),
        (lambda: some().fermi_level(3.0), "energies"),
        (lambda: Surroundings()(Crystal(CUBE.vectors, CUBE.fractions, ("Al", "Al", "Al", "Ga")), [[0, 0, 0]]), "kind"),
        (lambda: local_density(CUBE, METAL, 0, CUTOFF, mesh((1, 1, 1)), ENERGIES, 0.3), "electrons"),
        (lambda: local_density(CUBE, Semiconductor("Si"), 12, CUTOFF, mesh((1, 1, 1)), ENERGIES, 0.3), "species"),
        (lambda: mesh((0, 1, 1)), "counts"),
        (lambda: Surroundings(cutoff=100.0), "cutoff"),
        (lambda: Surroundings()(CUBE, np.zeros(3)), "fractions"),
        (lambda: list(snapshots((1, 1, 1), -5.0, 1)), "temperature"),
    ],
)
def test_what_has_no_local_density_is_refused(make: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()  # type: ignore[operator]


def test_the_limit_at_zero_is_smooth() -> None:
    import torch

    q = torch.tensor([0.0, 1e-5, 1e-3, 1e-2], dtype=torch.float64) / BOHR
    found = METAL("Al", q).numpy()
    np.testing.assert_allclose(found, found[0], rtol=1e-3)
    fermi = (3 * np.pi**2 * 12 / 4.05**3) ** (1 / 3)
    at = METAL("Al", torch.tensor([2 * fermi * (1 - 1e-7), 2 * fermi, 2 * fermi * (1 + 1e-7)], dtype=torch.float64))
    np.testing.assert_allclose(at.numpy(), at.numpy()[1], rtol=1e-5)


def test_a_network_learns_a_local_density_and_is_asked_about_a_larger_cell() -> None:
    see = Surroundings(cutoff=5.0, radial=6, angular=2)
    coarse = np.arange(-10.0, 6.5, 0.5)
    found = [local_density(moved(n), METAL, 12, 5 * RYDBERG, mesh((4, 4, 4)), coarse, 0.5) for n in range(8)]
    lots = points_of(found[:6], see, size=256), points_of(found[6:7], see, size=256)
    trained = train(*lots, Settings(epochs=30, learning_rate=3e-3), width=48, progress=False)
    predictor = Predictor(see, [trained.model], coarse, 4.05 / found[0].shape[0], ELECTRONS)
    said, true = predictor(found[7].crystal), found[7]
    assert said.shape == true.shape
    error = abs(said.density(0.2) - true.density(0.2)).mean() / true.density(0.2).mean()
    assert error < 0.02
    assert said.band_energy(0.2) == pytest.approx(true.band_energy(0.2), abs=0.1)
    assert said.density(0.2).mean() * true.crystal.volume == pytest.approx(12.0, abs=1e-5)
    # A repeated cell is the same to a network of points: the sums grow with it, the rest stays.
    double = predictor(true.crystal.repeated((2, 1, 1)))
    assert double.electrons == 24.0
    assert double.band_energy(0.2) == pytest.approx(said.band_energy(0.2), abs=1e-4)
    # Points are worked on in parts.
    whole = see(true.crystal, true.fractions)
    parts = list(see.streamed(true.crystal, true.fractions))
    assert sum(len(part) for part in parts) == len(whole) == len(true.fractions)


def test_networks_of_other_sizes_are_refused() -> None:
    see = Surroundings()
    with pytest.raises(ValueError, match="models"):
        Predictor(see, [PointNetwork(3, 4)], ENERGIES, 0.3, 3.0)
    with pytest.raises(ValueError, match="models"):
        Predictor(see, [], ENERGIES, 0.3, 3.0)
    with pytest.raises(ValueError, match="densities"):
        points_of([], see)


def test_harmonics_are_those_of_a_library() -> None:
    directions = np.random.default_rng(0).standard_normal((20, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    polar, around = np.arccos(directions[:, 2]), np.arctan2(directions[:, 1], directions[:, 0])
    for degree, found in enumerate(_harmonics(directions, 6)):
        np.testing.assert_allclose(found[:, 0], sph_harm_y(degree, 0, polar, around).real, atol=1e-13)
        for order in range(1, degree + 1):
            wanted = np.sqrt(2) * sph_harm_y(degree, order, polar, around)
            np.testing.assert_allclose(found[:, 2 * order - 1] + 1j * found[:, 2 * order], wanted, atol=1e-13)


def test_what_a_point_sees_is_continuous_as_it_passes_an_atom() -> None:
    see, crystal = Surroundings(), moved(3)
    direction = np.array([1.0, 2.0, -1.0]) / np.sqrt(6) / 4.05
    steps = np.array([-1e-2, -1e-3, 0.0, 1e-3, 1e-2])
    found = see(crystal, crystal.fractions[1] + steps[:, None] * direction)
    assert abs(found - found[2]).max(1)[[1, 3]].max() < 0.2 * abs(found - found[2]).max(1)[[0, 4]].max()
    assert abs(found - found[2]).max() < 0.02 * abs(found).max()
