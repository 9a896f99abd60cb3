"""Plane waves against free electrons, symmetry, differences, and the gaps of fourteen semiconductors."""

import numpy as np
import pytest
import torch

from mlnegf.crystal.bands import energies, extremum, local
from mlnegf.crystal.cohen_bergstresser import TABLE, Semiconductor
from mlnegf.crystal.form_factors import FourParameters
from mlnegf.crystal.lattice import Crystal, face_centred, zinc_blende
from mlnegf.crystal.plane_waves import HBAR2_OVER_2M, PlaneWaves, lowest

GAMMA, X, L = np.zeros(3), np.array([0.5, 0.0, 0.5]), np.array([0.5, 0.5, 0.5])
ROWS = {"Cd": (-31.4518, 1.3890, -0.0502, 1.6603), "Se": (8.4921, 4.3513, 1.3600, 0.3227)}
CDSE = FourParameters(ROWS)
# 531 waves and a fold of small ones differ by up to 6 meV: these are of 113 waves, at Γ, for all wave vectors.
GAPS = {
    "Si": (3.423, 0.950, 1.878), "Ge": (1.222, 1.175, 0.956), "Sn": (0.0, 1.272, 0.571), "GaP": (2.653, 2.166, 2.585),
    "GaAs": (1.417, 1.740, 1.663), "AlSb": (1.888, 1.996, 1.987), "InP": (1.579, 2.246, 1.983),
    "GaSb": (0.747, 2.051, 1.596), "InAs": (0.463, 2.062, 1.532), "InSb": (0.543, 1.952, 1.480),
    "ZnS": (3.503, 4.973, 4.962), "ZnSe": (2.709, 4.379, 4.266), "ZnTe": (2.279, 3.837, 3.605),
    "CdTe": (1.769, 3.963, 3.352),
}  # fmt: skip
# By differences over a step of 0.005 (2π/a), where bands are no longer quite parabolic.
MASSES = {"Ge": 0.058, "GaP": 0.127, "GaAs": 0.072, "AlSb": 0.109, "InP": 0.087, "GaSb": 0.048, "InAs": 0.0308,
          "InSb": 0.041, "ZnS": 0.200, "ZnSe": 0.170, "ZnTe": 0.160, "CdTe": 0.161}  # fmt: skip


class Nothing:
    def __call__(self, species: str, q: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(q)


def test_free_electrons() -> None:
    crystal = zinc_blende(5.0, "A", "B")
    k = np.array([[0.1, -0.3, 0.2], [0.0, 0.0, 0.0]])
    found = energies(crystal, 60.0, Nothing(), k, 12)
    steps = np.stack(np.meshgrid(*[np.arange(-4, 5)] * 3, indexing="ij"), -1).reshape(-1, 1, 3)
    wanted = HBAR2_OVER_2M * (((steps + k) @ crystal.reciprocal) ** 2).sum(-1)
    np.testing.assert_allclose(found, np.sort(wanted, 0)[:12].T, rtol=1e-12, atol=1e-12)
    _, slope, inverse = local(crystal, 60.0, Nothing(), k[0], 0)
    np.testing.assert_allclose(slope, 2 * HBAR2_OVER_2M * k[0] @ crystal.reciprocal, rtol=1e-12)
    np.testing.assert_allclose(inverse, np.eye(3), atol=1e-12)


@pytest.mark.parametrize("name", sorted(TABLE))
def test_gaps_of_fourteen_semiconductors(name: str) -> None:
    kind = Semiconductor(name)
    waves = PlaneWaves.of(kind.crystal, kind.cutoff, [GAMMA, X, L], GAMMA)
    assert len(waves.waves[0]) == 113
    found = lowest(waves, waves.potential(kind), 5).numpy()
    np.testing.assert_allclose(found[:, 4] - found[0, 3], GAPS[name], atol=6e-4)


def test_widths_of_valence_bands() -> None:
    for name, width, x5, l3 in (
        ("Si", 12.64, -3.00, -1.24),
        ("Ge", 11.98, -2.57, -1.08),
        ("GaAs", 12.26, -2.27, -0.91),
    ):
        kind = Semiconductor(name)
        waves = PlaneWaves.of(kind.crystal, kind.cutoff, [GAMMA, X, L], GAMMA)
        found = lowest(waves, waves.potential(kind), 4).numpy() - 0.0
        found -= found[0, 3]
        np.testing.assert_allclose([-found[0, 0], found[1, 3], found[2, 3]], [width, x5, l3], atol=6e-3)


@pytest.mark.parametrize("name", sorted(MASSES))
def test_electrons_masses(name: str) -> None:
    kind = Semiconductor(name)
    _, slope, inverse = local(kind.crystal, kind.cutoff, kind, GAMMA, 4)
    assert abs(slope).max() < 1e-10
    np.testing.assert_allclose(inverse, np.eye(3) * inverse[0, 0], atol=1e-8 * inverse[0, 0])
    assert 1 / inverse[0, 0] == pytest.approx(MASSES[name], abs=7.5e-4)


def test_the_valley_of_silicon() -> None:
    """Six ellipsoids at 0.85 of the way to X; 0.824 eV above the valence band."""
    kind = Semiconductor("Si")
    top = energies(kind.crystal, kind.cutoff, kind, [GAMMA], 4)[0, 3]
    found = extremum(kind.crystal, kind.cutoff, kind, 0.8 * X, 4)
    assert found.k[0] == pytest.approx(found.k[2], abs=1e-9)
    assert abs(found.k[1]) < 1e-9
    assert found.k[0] / 0.5 == pytest.approx(0.85, abs=0.01)
    # The waves are those of the start, fewer than at Γ.
    assert found.energy - top == pytest.approx(0.824, abs=0.015)
    light, *heavy = sorted(found.masses)
    assert 0.7 < heavy[-1] < 1.1
    assert 0.15 < light < 0.25


def test_slopes_and_masses_are_derivatives() -> None:
    kind, k, h = Semiconductor("GaAs"), np.array([0.11, 0.07, -0.2]), 1e-4
    _, slope, inverse = local(kind.crystal, kind.cutoff, kind, k, 4, centre=k)
    back = kind.crystal.vectors.T / (2 * np.pi)
    for axis in range(3):
        step = h * np.eye(3)[axis] @ back
        above, below = (local(kind.crystal, kind.cutoff, kind, k + sign * step, 4, centre=k) for sign in (1, -1))
        assert (above[0] - below[0]) / (2 * h) == pytest.approx(slope[axis], abs=1e-6)
        curvature = (above[1] - below[1]) / (2 * h) / (2 * HBAR2_OVER_2M)
        np.testing.assert_allclose(inverse[axis], curvature, atol=1e-5 * abs(inverse).max())


def test_symmetry_makes_bands_touch() -> None:
    """Waves of each wave vector's own keep its symmetry: diamond's bands are double at X, three-fold at Γ."""
    kind = Semiconductor("Si")
    x = energies(kind.crystal, kind.cutoff, kind, [X], 8)[0]
    np.testing.assert_allclose(x[::2], x[1::2], atol=1e-10)
    gamma = energies(kind.crystal, kind.cutoff, kind, [GAMMA], 8)[0]
    np.testing.assert_allclose(gamma[1:4], gamma[1], atol=1e-10)
    # The six directions of X, and k and −k, are alike.
    turns = [[0.5, 0.0, 0.5], [0.5, 0.5, 0.0], [0.0, 0.5, 0.5]]
    compound = Semiconductor("GaAs")
    all_x = energies(compound.crystal, compound.cutoff, compound, turns, 8)
    np.testing.assert_allclose(all_x, all_x[:1].repeat(3, 0), atol=1e-10)
    k = np.array([[0.1, 0.2, -0.15]])
    both = [energies(compound.crystal, compound.cutoff, compound, sign * k, 8) for sign in (1, -1)]
    np.testing.assert_allclose(*both, atol=1e-10)


def test_a_larger_cell_folds_the_same_bands() -> None:
    kind = Semiconductor("GaAs")
    doubled = kind.crystal.repeated((2, 1, 1))
    folded = energies(doubled, kind.cutoff, kind, [GAMMA], 16)[0]
    apart = energies(kind.crystal, kind.cutoff, kind, [GAMMA, [0.5, 0.0, 0.0]], 16)
    np.testing.assert_allclose(folded, np.sort(apart.ravel())[:16], atol=1e-9)


def test_moving_the_origin_changes_nothing() -> None:
    kind = Semiconductor("GaAs")
    crystal = kind.crystal
    moved = Crystal(crystal.vectors, crystal.fractions + np.array([0.123, 0.4, -0.2]), crystal.species)
    k = [[0.1, 0.2, 0.3]]
    np.testing.assert_allclose(
        energies(moved, kind.cutoff, kind, k, 8), energies(crystal, kind.cutoff, kind, k, 8), atol=1e-10
    )


def weighted(waves: PlaneWaves, potential: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return (weights * lowest(waves, potential, weights.shape[1])).sum()


def test_bands_are_differentiated_by_every_parameter() -> None:
    """Also where bands touch, by what does not tell them apart."""
    crystal = zinc_blende(6.058, "Cd", "Se")
    waves = PlaneWaves.of(crystal, 68.0, [GAMMA, X, L, [0.1, 0.2, 0.3]])
    weights = torch.tensor([1.0, 0.3, 0.3, 0.3, -2.0, 0.7, 0.7, 0.7], dtype=torch.float64).repeat(4, 1)
    weights[1:3, 3] = weights[1:3, 2]
    weights[1:3, 5:] = 0.0

    model = FourParameters(ROWS)
    leaf = model.rows

    def loss() -> torch.Tensor:
        return weighted(waves, waves.potential(model), weights)

    (slope,) = torch.autograd.grad(loss(), leaf)
    for atom in range(2):
        for n in range(4):
            step, sides = 1e-5 * abs(float(leaf[atom, n].detach())), []
            with torch.no_grad():
                for shift in (step, -2 * step):
                    leaf[atom, n] += shift
                    sides.append(float(loss()))
                leaf[atom, n] += step
            difference = (sides[0] - sides[1]) / (2 * step)
            assert difference == pytest.approx(float(slope[atom, n]), rel=1e-6, abs=1e-6)


def test_memory_of_gradients_does_not_hold_matrices() -> None:
    """What is kept between the passes are the lowest states: bands times waves, not waves squared."""
    crystal = zinc_blende(6.058, "Cd", "Se")
    waves = PlaneWaves.of(crystal, 160.0, [GAMMA, X])
    potential = waves.potential(CDSE)
    found = lowest(waves, potential, 4)
    states = found.grad_fn.states  # type: ignore[union-attr]
    assert [some.shape for some in states] == [(len(some), 4) for some in waves.waves]


def test_strain_and_paths() -> None:
    crystal = zinc_blende(5.43, "Si", "Si")
    pressed = crystal.strained(-0.01 * np.eye(3))
    assert pressed.volume == pytest.approx(crystal.volume * 0.99**3)
    np.testing.assert_allclose(crystal.vectors @ crystal.reciprocal.T, 2 * np.pi * np.eye(3), atol=1e-12)
    k, along, ticks = crystal.path("LGXKG", 60)
    assert k.shape == (60, 3)
    assert [name for _, name in ticks] == ["L", "Γ", "X", "K", "Γ"]
    assert ticks[1][0] == pytest.approx(np.sqrt(3) * np.pi / 5.43, rel=1e-6)
    assert along[-1] == pytest.approx(ticks[-1][0])
    np.testing.assert_allclose(k[0], L)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Crystal(np.zeros((3, 3)), np.zeros((1, 3)), ("A",)), "vectors"),
        (lambda: Crystal(face_centred(5.0), np.zeros((2, 3)), ("A",)), "species"),
        (lambda: Crystal(face_centred(5.0), np.full((1, 3), np.nan), ("A",)), "fractions"),
        (lambda: Semiconductor("Unobtainium"), "name"),
        (lambda: PlaneWaves.of(zinc_blende(5.0, "A", "B"), 1.0, [GAMMA]), "cutoff"),
        (lambda: PlaneWaves.of(zinc_blende(5.0, "A", "B"), 1e6, [GAMMA]), "cutoff"),
        (lambda: PlaneWaves.of(zinc_blende(5.0, "A", "B"), 50.0, [[0.0, np.inf, 0.0]]), "k"),
        (lambda: energies(zinc_blende(6.0, "Cd", "Zn"), 60.0, CDSE, [GAMMA], 4), "species"),
        (lambda: energies(zinc_blende(6.0, "Cd", "Se"), 60.0, CDSE, [GAMMA], 4000), "bands"),
        (lambda: local(Semiconductor("Si").crystal, 100.0, Semiconductor("Si"), GAMMA, 3), "touches"),
        (lambda: zinc_blende(5.0, "A", "B").path("LQ", 10), "corners"),
        (lambda: zinc_blende(5.0, "A", "B").strained(np.eye(2)), "strain"),
    ],
)
def test_what_is_no_crystal_is_refused(make: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()  # type: ignore[operator]


def test_a_form_factor_that_is_not_finite_is_refused() -> None:
    def broken(species: str, q: torch.Tensor) -> torch.Tensor:
        return q / 0.0

    with pytest.raises(ValueError, match="form_factors"):
        energies(zinc_blende(6.0, "Cd", "Se"), 60.0, broken, [GAMMA], 4)


def test_a_table_knows_nothing_between_its_lengths() -> None:
    kind = Semiconductor("Si")
    with pytest.raises(ValueError, match="q"):
        energies(kind.crystal.strained(1e-3 * np.eye(3)), kind.cutoff, kind, np.zeros((1, 3)), 4)
