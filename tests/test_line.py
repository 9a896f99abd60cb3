"""Electrons on a line: levels against closed forms, two electrons against published energies, potentials read back."""

import numpy as np
import pytest
import torch

from mlnegf.learning.networks.jet import JetNetwork
from mlnegf.line.grid import Line, Molecule
from mlnegf.line.kohn_sham import ground_density, hartree, read_off, searched
from mlnegf.line.motion import carried, oscillator, superposed
from mlnegf.line.two_electrons import mean_field, two_electrons

LINE = Line(10.0, 128)
HELIUM = Molecule((2.0,), (0.0,))


def test_levels_of_an_oscillator() -> None:
    energies, waves = LINE.levels(0.5 * LINE.x**2, 6)
    np.testing.assert_allclose(energies, np.arange(6) + 0.5, atol=1e-10)
    np.testing.assert_allclose((waves**2).sum(1) * LINE.step, 1.0, atol=1e-12)
    np.testing.assert_allclose(abs(waves[0]), np.pi**-0.25 * np.exp(-0.5 * LINE.x**2), atol=1e-10)


def test_energies_that_others_found() -> None:
    """Helium of soft Coulomb forces in one dimension has −2.2383, its ion −1.4834, hydrogen −0.6698 Hartree."""
    found = two_electrons(LINE, HELIUM.potential(LINE))
    assert found.energy == pytest.approx(-2.2383, abs=1e-4)
    assert LINE.levels(HELIUM.potential(LINE))[0][0] == pytest.approx(-1.4834, abs=1e-4)
    long = Line(20.0, 200)
    assert long.levels(Molecule((1.0,), (0.0,)).potential(long))[0][0] == pytest.approx(-0.6698, abs=1e-4)
    assert found.density.sum() * LINE.step == pytest.approx(2.0, abs=1e-12)
    np.testing.assert_allclose(found.wave, found.wave.T)
    # It solves its equation at every pair of points.
    kinetic = LINE.kinetic @ found.wave
    local = found.potential[:, None] + found.potential + LINE.repulsion
    residual = kinetic + kinetic.T + (local - found.energy) * found.wave
    assert abs(residual).max() < 1e-9


def test_without_repulsion_two_electrons_are_one_twice() -> None:
    class Free(Line):
        @property
        def repulsion(self) -> np.ndarray:  # type: ignore[override]
            return np.zeros((self.points, self.points))

    line = Free(10.0, 96)
    found = two_electrons(line, 0.5 * line.x**2)
    assert found.energy == pytest.approx(1.0, abs=1e-10)
    np.testing.assert_allclose(found.density, ground_density(line, 0.5 * line.x**2), atol=1e-9)


@pytest.mark.parametrize("electrons", [1, 2])
def test_a_potential_is_read_off_the_density_it_makes(electrons: int) -> None:
    potential = Molecule((1.2, 0.8), (-1.0, 1.0)).potential(LINE)
    (energy,), _ = LINE.levels(potential)
    density = ground_density(LINE, potential, electrons)
    found, known = read_off(LINE, density, energy, electrons)
    inside = density > 1e-3
    assert inside.sum() > 30
    np.testing.assert_allclose(found[inside], potential[inside], atol=1e-8)
    np.testing.assert_allclose(found[known], potential[known], atol=1e-5)


def test_the_exact_potential_of_helium() -> None:
    """It gives the density back, its orbital the ionisation energy; far away exchange is −1/r and nothing else."""
    line = Line(14.0, 180)
    exact = two_electrons(line, HELIUM.potential(line))
    found, known = read_off(line, exact.density, -exact.ionisation)
    whole = np.where(known, found, 0.0)
    (energy,), _ = line.levels(whole)
    assert energy == pytest.approx(-exact.ionisation, abs=1e-4)
    assert abs(ground_density(line, whole) - exact.density).max() < 1e-4
    correlation = found - exact.potential - hartree(line, exact.density) / 2
    assert abs(correlation[known]).max() < 0.1
    # Exchange alone is −half of Hartree's; correlation is a small part of it.
    assert correlation[known].std() < 0.05


def test_a_search_finds_what_reading_finds() -> None:
    exact = two_electrons(LINE, HELIUM.potential(LINE))
    wanted, _ = read_off(LINE, exact.density, -exact.ionisation)
    start = exact.potential + hartree(LINE, exact.density) / 2
    found, errors = searched(LINE, exact.density, start, 40)
    assert errors[0] > 0.01
    assert errors.min() < 1e-10
    inside = exact.density > 1e-2
    away = (found - wanted)[inside]
    assert np.ptp(away) < 1e-6


def test_a_stretched_molecule_builds_a_peak_between_its_atoms() -> None:
    """Two electrons that never meet leave √(n/2) a cusp where their densities cross, and the potential a peak."""
    line = Line(14.0, 160)
    heights = []
    for apart in (2.0, 5.0, 8.0):
        exact = two_electrons(line, Molecule.stretched(1.0, 1.0, apart).potential(line))
        found, _ = read_off(line, exact.density, -exact.ionisation)
        middle = slice(line.points // 2 - 1, line.points // 2 + 1)
        exchange = (found - exact.potential - hartree(line, exact.density) / 2)[middle]
        heights.append(float(exchange.mean()))
    assert heights[2] > heights[1] > heights[0]
    atom = line.levels(Molecule((1.0,), (0.0,)).potential(line))[0][0]
    assert exact.energy == pytest.approx(2 * atom - 0.0, abs=0.15)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Line(-1.0), "half"),
        (lambda: Line(10.0, 3), "points"),
        (lambda: Molecule((1.0,), (0.0, 1.0)), "places"),
        (lambda: two_electrons(Line(2.0, 32), HELIUM.potential(Line(2.0, 32)) * 0.1), "half"),
        (lambda: two_electrons(LINE, np.zeros(3)), "potential"),
        (lambda: read_off(LINE, np.zeros(128), -1.0), "density"),
        (lambda: ground_density(LINE, np.zeros(128), 3), "electrons"),
    ],
)
def test_what_has_no_answer_is_refused(make: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()  # type: ignore[operator]


def test_a_superposition_moves_as_crank_and_nicolson_carry_it() -> None:
    start = superposed((0, 1), LINE.x, 0.0)
    errors = []
    for steps in (100, 200):
        (_, end) = carried(LINE, start, lambda t: 0.5 * LINE.x**2, 2.0, steps)
        errors.append(abs(end - superposed((0, 1), LINE.x, 2.0)).max())
        assert (abs(end) ** 2).sum() * LINE.step == pytest.approx(1.0, abs=1e-12)
    assert errors[0] / errors[1] == pytest.approx(4.0, abs=0.1)
    assert errors[1] < 2e-4


def test_a_driven_oscillator_follows_newton() -> None:
    """⟨x⟩ of any wave in ½x² − x F(t) moves as a particle does: here from rest, under F = 0.3 sin 2t."""
    start = oscillator(0, LINE.x)

    def potential(t: float) -> np.ndarray:
        return 0.5 * LINE.x**2 - 0.3 * np.sin(2 * t) * LINE.x

    waves = carried(LINE, start, potential, 3.0, 600, 3)
    for n, wave in enumerate(waves):
        t = float(n)
        found = float((abs(wave) ** 2 * LINE.x).sum() * LINE.step)
        assert found == pytest.approx(0.2 * np.sin(t) - 0.1 * np.sin(2 * t), abs=1e-4)


def test_the_exact_wave_has_no_residual_and_a_wrong_equation_has_one() -> None:
    """Slopes by the network's own pass; the published teaching module leaves the wave out of its potential's term."""
    torch.manual_seed(0)
    network = JetNetwork(2, 2, 16, 2).double()
    points = torch.rand(7, 2, dtype=torch.float64)
    jet = network.jet(points)
    torch.testing.assert_close(jet.value, network(points))
    step = 1e-4
    for side in range(2):
        move = torch.zeros(2, dtype=torch.float64)
        move[side] = step
        ahead, behind = network(points + move), network(points - move)
        torch.testing.assert_close(jet.slope[side], (ahead - behind) / (2 * step), rtol=1e-6, atol=1e-7)
        torch.testing.assert_close(
            jet.curvature[side], (ahead + behind - 2 * network(points)) / step**2, rtol=1e-3, atol=1e-5
        )


def test_slopes_of_waves() -> None:
    wave = np.exp(-0.5 * LINE.x**2)
    np.testing.assert_allclose(LINE.slope(wave), -LINE.x * wave, atol=1e-10)


def test_a_mean_field_fails_when_a_bond_breaks() -> None:
    """Exactly, two atoms part with an electron each; in one orbital for both, half the time one atom has both."""
    line = Line(14.0, 160)
    alone = float(line.levels(Molecule((1.2,), (0.0,)).potential(line))[0][0])
    for apart, least, most in ((1.0, 0.0, 0.15), (8.0, 0.15, 0.5)):
        outer = Molecule.stretched(1.2, 1.2, apart).potential(line)
        exact, (mean, density) = two_electrons(line, outer), mean_field(line, outer)
        assert least < mean - exact.energy < most
        assert density.sum() * line.step == pytest.approx(2)
    # Each electron sees the far nucleus, and both each other.
    assert exact.energy == pytest.approx(2 * alone - (2 * 1.2 - 1) / np.sqrt(8**2 + 1), abs=0.02)
    with pytest.raises(RuntimeError, match="rounds"):
        mean_field(line, outer, rounds=1)
