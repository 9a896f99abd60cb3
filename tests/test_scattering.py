"""Block Hamiltonians against closed forms, a dense inverse, an independent code's leads, and conservation laws."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from mlnegf.transport import decimation
from mlnegf.transport.blocks import System
from mlnegf.transport.decimation import Cell, contacts
from mlnegf.transport.lattice import cubic_lattice
from mlnegf.transport.leads import Lead, self_energy
from mlnegf.transport.scattering import ScatteringStates, carriers, density_of_states, scattering_states
from mlnegf.transport.transmission import transmission

GAUSSIAN_WIRE = {
    (
        8,
        60,
    ): "0 0.238546737898 0.977363219537 0.999590493115 0.999988167395 1.748166965179 2.972426319799 2.999468996662",
    (
        12,
        60,
    ): "0 0.238546737898 0.977363219537 1.676860969587 2.969070175383 3.451445465664 4.520496447537 5.959191499021",
}
"""T at e₀ + linspace(−0.0137, 0.6123, 8): separable, hence from one-dimensional recursions to all digits."""


def solved(system: System, energies: Any) -> ScatteringStates:
    ((_, states),) = scattering_states(torch.as_tensor(energies, dtype=torch.float64), system)
    return states


def rough(seed: int, shape: tuple[int, int, int] = (9, 3, 2), amplitude: float = 0.5) -> System:
    return cubic_lattice(amplitude * np.random.default_rng(seed).normal(size=shape))


def anything(seed: int, sites: int = 7, block: int = 3, real: bool = False, overlaps: bool = False) -> System:
    """A system without any symmetry, its leads of full hopping blocks, with or without overlap matrices."""
    chance = np.random.default_rng(seed)

    def matrix(*shape: int, size: float = 1.0) -> torch.Tensor:
        values = chance.normal(size=shape) + (0 if real else 1j * chance.normal(size=shape))
        return size * torch.as_tensor(values, dtype=torch.float64 if real else torch.complex128)

    def hermitian(*shape: int, size: float = 1.0) -> torch.Tensor:
        values = matrix(*shape, size=size)
        return (values + values.mH) / 2

    unit = torch.eye(block, dtype=torch.float64 if real else torch.complex128)
    lead_overlap = [unit + hermitian(block, block, size=0.05), matrix(block, block, size=0.05)] if overlaps else []
    leads = [Lead(hermitian(block, block), matrix(block, block), *lead_overlap) for _ in range(2)]
    overlap = unit + hermitian(sites, block, block, size=0.05) if overlaps else None
    beyond = matrix(sites - 1, block, block, size=0.05) if overlaps else None
    return System(hermitian(sites, block, block), matrix(sites - 1, block, block), *leads, overlap, beyond)


def dense(system: System, energy: float, broadening: float) -> dict[str, np.ndarray]:
    """G by a dense inverse, with the same self-energies."""
    sites, block, _ = system.diagonal.shape
    size = sites * block
    matrix = np.zeros((size, size), dtype=complex)
    for n in range(sites):
        here = slice(n * block, (n + 1) * block)
        overlap = np.eye(block) if system.overlap is None else system.overlap[n].numpy()
        matrix[here, here] = energy * overlap - system.diagonal[n].numpy()
        if n + 1 < sites:
            there = slice((n + 1) * block, (n + 2) * block)
            link = system.upper[n].numpy() + 0j
            if system.overlap_upper is not None:
                link = link - energy * system.overlap_upper[n].numpy()
            matrix[here, there], matrix[there, here] = -link, -link.conj().T
    point = torch.tensor([energy], dtype=torch.float64)
    sigma = [
        self_energy(point, lead, side, broadening).matrix[0].numpy()
        for lead, side in ((system.left, "left"), (system.right, "right"))
    ]
    matrix[:block, :block] -= sigma[0]
    matrix[-block:, -block:] -= sigma[1]
    green = np.linalg.inv(matrix)
    gamma = [1j * (part - part.conj().T) for part in sigma]
    return {
        "left": green[:, :block] @ gamma[0] @ green[:, :block].conj().T,
        "right": green[:, -block:] @ gamma[1] @ green[:, -block:].conj().T,
        "spectral": 1j * (green - green.conj().T),
        "transmission": np.trace(gamma[1] @ green[-block:, :block] @ gamma[0] @ green[-block:, :block].conj().T).real,
    }


@pytest.mark.parametrize(("width", "length"), sorted(GAUSSIAN_WIRE))
def test_a_gaussian_barrier_in_a_square_wire(width: int, length: int) -> None:
    x = np.arange(length)
    barrier = 0.1 * np.exp(-(((x - (length - 1) / 2) / (length / 10)) ** 2))
    system = cubic_lattice(np.broadcast_to(barrier[:, None, None], (length, width, width)))
    lowest = 4 * (1 - np.cos(np.pi / (width + 1)))
    energies = lowest + np.linspace(-0.0137, 0.6123, 8)
    found = transmission(energies, system.diagonal, system.upper, system.left, system.right)
    assert_allclose(found, [float(value) for value in GAUSSIAN_WIRE[width, length].split()], atol=2e-12)


def test_without_a_potential_every_open_mode_transmits() -> None:
    """A square section, whose modes are degenerate."""
    system = cubic_lattice(np.zeros((12, 5, 5)))
    levels = torch.linalg.eigvalsh(system.left.onsite).numpy() - 2
    energies = np.linspace(0.3, 11.7, 60)
    open_modes = ((energies[:, None] > levels) & (energies[:, None] < levels + 4)).sum(1)
    assert abs(solved(system, energies).transmission.numpy() - open_modes).max() < 1e-12


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["lattice", "field", "real", "complex", "overlap", "real overlap"])
def test_everything_agrees_with_a_dense_inverse(kind: str, seed: int) -> None:
    potential = np.random.default_rng(seed).normal(size=(7, 3, 2))
    system = {
        "lattice": lambda: cubic_lattice(potential, (1.0, 0.6, 1.3)),
        "field": lambda: cubic_lattice(potential, flux=0.07),
        "real": lambda: anything(seed, real=True),
        "complex": lambda: anything(seed),
        "overlap": lambda: anything(seed, overlaps=True),
        "real overlap": lambda: anything(seed, real=True, overlaps=True),
    }[kind]()
    energies = [-0.31, 0.17, 1.03, 2.2]
    broadening = 1e-4  # so large that i(Γ_L + Γ_R) is everything that broadens, in both
    ((_, states),) = scattering_states(torch.tensor(energies, dtype=torch.float64), system, broadening)
    for n, energy in enumerate(energies):
        exact = dense(system, energy, broadening)
        size = max(1.0, abs(exact["spectral"]).max())
        assert_allclose(states.left_injected[n].reshape(-1), exact["left"].diagonal().real, atol=1e-11 * size)
        assert_allclose(states.right_injected[n].reshape(-1), exact["right"].diagonal().real, atol=1e-11 * size)
        assert_allclose(states.transmission[n], exact["transmission"], atol=1e-11)
        block = system.diagonal.shape[1]
        here = slice(3 * block, 4 * block)
        assert_allclose(states.spectral_function(3)[n], exact["spectral"][here, here], atol=1e-10 * size)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), energy=st.floats(0.5, 11.0), flux=st.sampled_from([0.0, 0.02]))
def test_conservation_laws(seed: int, energy: float, flux: float) -> None:
    potential = 0.4 * np.random.default_rng(seed).normal(size=(8, 3, 2))
    states = solved(cubic_lattice(potential, flux=flux), [energy])
    back = solved(cubic_lattice(potential[::-1].copy(), flux=-flux), [energy])
    edges = torch.linalg.eigvalsh(states.system.left.onsite) - 2, torch.linalg.eigvalsh(states.system.right.onsite) - 2
    nearest = min(float((torch.cat([level, level + 4]) - energy).abs().min()) for level in edges)
    # Decimation broadens by 1e-10, and near an edge by the root of it.
    tolerance = 1e-9 if flux == 0 else 1e-5 / max(nearest, 1e-3)
    # No particle is lost: T + R is the number of waves sent; every slice carries the same current.
    assert (
        float(states.transmission + states.reflection - states.open_modes[0]) == pytest.approx(0, abs=tolerance) or flux
    )
    currents = states.local_current().sum(-1)[0]
    assert float((currents - states.transmission).abs().max()) < tolerance
    # Reciprocity: the device turned round, in the opposite field, transmits as much.
    assert float(states.transmission - back.transmission) == pytest.approx(0, abs=tolerance)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), energy=st.floats(0.5, 11.0))
def test_spectral_identities(seed: int, energy: float) -> None:
    """A = i(G − G†) = G(Γ_L + Γ_R)G†, Γ = i(Σ − Σ†), Σ of a lead grown by one cell is Σ, and equilibrium: G^n = fA."""
    system = cubic_lattice(0.4 * np.random.default_rng(seed).normal(size=(8, 3, 2)))
    states, exact = solved(system, [energy]), dense(system, energy, 1e-10)
    spectral = exact["spectral"]
    size = max(1.0, abs(spectral).max())
    both = (states.left_injected + states.right_injected)[0].reshape(-1).numpy()
    assert_allclose(both, spectral.diagonal().real, atol=1e-10 * size**2)
    assert_allclose(states.spectral_function(3)[0].numpy(), spectral[18:24, 18:24], atol=1e-10 * size**2)
    sides = ((states.left, system.left, system.left.hopping.mH), (states.right, system.right, system.right.hopping))
    for side, lead, into in sides:
        sigma = side.matrix[0]
        assert_allclose(side.gamma[0].numpy(), (1j * (sigma - sigma.mH)).real.numpy(), atol=1e-12)
        cell = torch.linalg.inv(energy * torch.eye(6, dtype=torch.float64) - lead.onsite - sigma)
        grown = into.to(cell.dtype) @ cell @ into.mH.to(cell.dtype)
        assert_allclose(grown.numpy(), sigma.numpy(), atol=1e-8)
    electrons, _ = carriers(
        torch.stack([states.left_injected, states.right_injected]),
        torch.tensor([energy], dtype=torch.float64),
        (torch.tensor([0.3], dtype=torch.float64), torch.tensor([0.3], dtype=torch.float64)),
        neutral=0.0,
    )
    assert_allclose(electrons[0].reshape(-1), 0.3 * spectral.diagonal().real, rtol=1e-6, atol=1e-9 * size**2)


@pytest.mark.parametrize("side", ["left", "right"])
def test_decimation_agrees_with_the_closed_form(side: str) -> None:
    lead = rough(4).left
    energies = torch.linspace(0.5, 11.5, 23, dtype=torch.float64)
    mixed = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))[0]
    turned = Lead(mixed @ lead.onsite @ mixed.T, mixed @ lead.hopping @ mixed.T)
    assert lead.uniform_hopping == 1.0
    assert turned.uniform_hopping is None
    exact = mixed.to(torch.complex128) @ self_energy(energies, lead, side).matrix @ mixed.T.to(torch.complex128)
    (decimated,) = contacts(Cell.of(energies, turned.blocks, 1e-9), [side])
    assert_allclose(decimated.sigma.real, exact.real, atol=1e-6)
    assert_allclose(self_energy(energies, turned, side).matrix, exact, atol=1e-9)


def test_a_lead_continued_by_one_cell_is_the_same_lead() -> None:
    """Σ_L = τ†(E − h − Σ_L)⁻¹τ and its mirror image, and Γ = i(Σ − Σ†) is not negative."""
    system = anything(1)
    energies = torch.linspace(-2.0, 2.0, 9, dtype=torch.float64)
    for lead, side in ((system.left, "left"), (system.right, "right")):
        sigma = self_energy(energies, lead, side, 1e-9)
        inverse = energies[:, None, None] * torch.eye(3) - lead.onsite - sigma.matrix
        inside, outside = (lead.hopping.mH, lead.hopping) if side == "left" else (lead.hopping, lead.hopping.mH)
        again = inside @ torch.linalg.inv(inverse) @ outside
        assert float((again - sigma.matrix).abs().max()) < 1e-4
        assert float(torch.linalg.eigvalsh(sigma.gamma).min()) > -1e-12


def test_leads_agree_with_sisl() -> None:
    sisl = pytest.importorskip("sisl", reason="the independent code is an optional extra")
    geometry = sisl.Geometry([[0, 0, 0], [0, 1, 0]], sisl.Atom(1, R=1.1), lattice=[1, 10, 10])
    geometry.lattice.set_nsc([3, 1, 1])
    hamiltonian = sisl.Hamiltonian(geometry)
    onsite, hopping = np.array([[0.3, -0.7], [-0.7, -0.2]]), np.array([[-1.0, 0.25], [-0.1, -0.8]])
    for a in range(2):
        for b in range(2):
            hamiltonian[a, b] = onsite[a, b]
            hamiltonian[a, b, (1, 0, 0)] = hopping[a, b]
            hamiltonian[b, a, (-1, 0, 0)] = hopping[a, b]
    lead = Lead(torch.as_tensor(onsite), torch.as_tensor(hopping))
    scale = float(torch.linalg.matrix_norm(lead.hopping, 2))
    for direction, side in (("+A", "right"), ("-A", "left")):
        recursion = sisl.physics.RecursiveSI(hamiltonian, direction)
        for energy in (-1.3, 0.05, 0.9):
            theirs = recursion.self_energy(energy + 1e-6j, bulk=False, atol=1e-16)
            cell = Cell.of(torch.tensor([energy], dtype=torch.float64), lead.blocks, 1e-6 / scale)
            ours = contacts(cell, [side])[0].sigma[0].numpy()
            assert abs(ours - theirs).max() < 1e-9


def test_quantum_hall_plateaus_and_edge_states() -> None:
    """In a strong field T is the number of filled Landau levels, and the current runs along one edge."""
    flux, width = 1 / 12, 30
    system = cubic_lattice(np.zeros((14, width, 1)), (1.0, 1.0, 0.0), flux)
    # Midway between the plane's Landau levels near the bottom of the band, 2πφ(2n + 1) to first order in the field.
    levels = np.linalg.eigvalsh(_harper(flux))
    bands = np.sort(levels.reshape(-1))
    gaps = np.argsort(np.diff(bands))[-3:]
    energies = np.sort((bands[gaps] + bands[gaps + 1]) / 2)[:2]
    states = solved(system, energies)
    expected = [np.round(value) for value in states.transmission.numpy()]
    assert_allclose(states.transmission, expected, atol=1e-6)
    assert expected[0] >= 1
    current = states.local_current()[0, 5]
    outer = float(current[:10].sum()), float(current[-10:].sum())
    assert max(outer) > 0.99 * expected[0]
    assert abs(min(outer)) < 0.01 * expected[0]


def _harper(flux: float) -> np.ndarray:
    """Bloch Hamiltonians of the plane in this field, 4 − 2 cos(k + 2πφ j) on site and −1 between rows."""
    period = round(1 / flux)
    matrices = []
    for k in np.linspace(0, 2 * np.pi, 9):
        for q in np.linspace(0, 2 * np.pi, 9):
            matrix = np.diag(4 - 2 * np.cos(k + 2 * np.pi * flux * np.arange(period))).astype(complex)
            matrix -= np.eye(period, k=1) + np.eye(period, k=-1)
            matrix[0, -1] -= np.exp(1j * q)
            matrix[-1, 0] -= np.exp(-1j * q)
            matrices.append(matrix)
    return np.array(matrices)


def test_a_gauge_changes_nothing() -> None:
    """Shifting the row from which the Peierls phases are counted only shifts the wave number in the leads."""
    potential = 0.3 * np.random.default_rng(3).normal(size=(9, 4, 1))
    system = cubic_lattice(potential, flux=0.05)
    turn = np.exp(2j * np.pi * 0.05 * 1.7)
    shifted = System(
        system.diagonal,
        system.upper * turn,
        Lead(system.left.onsite, system.left.hopping * turn),
        Lead(system.right.onsite, system.right.hopping * turn),
    )
    energies = [3.1, 4.7, 6.3]
    assert_allclose(solved(shifted, energies).transmission, solved(system, energies).transmission, atol=1e-6)


def test_a_circular_wire_opens_modes_in_the_order_of_the_bessel_zeros() -> None:
    """1, 3, 5, 6, 8, 10, 12: j₀₁ once, j₁₁ twice, j₂₁ twice, j₀₂ once, j₃₁, j₁₂ and j₄₁ twice each."""
    cells = 41
    y = np.arange(cells) - (cells - 1) / 2
    radius = cells / 2
    mask = y[:, None] ** 2 + y**2 < radius**2
    zeros = np.array([2.4048, 3.8317, 5.1356, 5.5201, 6.3802, 7.0156, 7.5883])
    energies = (zeros[:-1] + zeros[1:]) ** 2 / 4 / radius**2
    system = cubic_lattice(np.zeros((2, cells, cells)), mask=mask)
    assert_allclose(solved(system, energies).transmission, [1, 3, 5, 6, 8, 10], atol=1e-9)


def test_electrons_and_holes_share_the_states() -> None:
    system = rough(2)
    energies = torch.linspace(0.5, 11.0, 31, dtype=torch.float64)
    density = density_of_states(energies, system.diagonal, system.upper, system.left, system.right)
    occupations = tuple(torch.sigmoid((level - energies) / 0.3) for level in (6.0, 5.0))
    electrons, holes = carriers(density, energies, occupations, 5.5)
    above = energies > 5.5
    assert float(electrons[~above].abs().max()) == float(holes[above].abs().max()) == 0.0
    filled = density[0] * occupations[0][:, None, None] + density[1] * occupations[1][:, None, None]
    assert_allclose(electrons[above], filled[above])
    assert_allclose(holes[~above], (density.sum(0) - filled)[~above])


def test_batches_of_energies_are_put_together(monkeypatch: pytest.MonkeyPatch) -> None:
    system, energies = rough(5), np.linspace(0.5, 11.0, 17)
    blocks = (system.diagonal.numpy(), system.upper.numpy(), system.left, system.right)
    whole = transmission(energies, *blocks), density_of_states(energies, *blocks)
    monkeypatch.setattr("mlnegf.transport.scattering.MEMORY", 9 * 36 * 8 * 4)
    assert len(list(scattering_states(torch.as_tensor(energies), system))) == 5
    assert_allclose(transmission(energies, *blocks), whole[0], atol=1e-12)
    assert_allclose(density_of_states(energies, *blocks), whole[1], atol=1e-12)
    assert isinstance(whole[0], np.ndarray)
    assert isinstance(transmission(torch.as_tensor(energies), *blocks), torch.Tensor)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"diagonal": np.zeros((1, 2, 2))}, r"diagonal has shape \(1, 2, 2\), expected \(sites, block, block\)"),
        ({"upper": np.zeros((3, 2, 2))}, r"upper has shape \(3, 2, 2\), expected \(2, 2, 2\)"),
        ({"left_lead": (np.zeros((3, 3)), np.eye(2))}, r"left_lead onsite has shape \(3, 3\), expected \(2, 2\)"),
        ({"diagonal": np.full((3, 2, 2), np.nan)}, "diagonal has entries that are not finite"),
        ({"diagonal": np.tile([[0.0, 1.0], [0.0, 0.0]], (3, 1, 1))}, "diagonal differs from its adjoint"),
        ({"energies": [np.nan]}, "energies has shape"),
        ({"energies": []}, "energies has shape"),
        ({"energies": [0.5 + 1j]}, "energies are complex"),
        ({"broadening": -1e-6}, "broadening = -1e-06"),
        ({"left_lead": (np.zeros((2, 2)),)}, "left_lead has 1 parts"),
        ({"overlap": (np.zeros((3, 2, 2)),)}, "overlap has 1 parts"),
        ({"overlap": 0.1}, "overlap = 0.1, expected"),
        ({"left_lead": (np.zeros((2, 2)), -np.eye(2), np.eye(2))}, "overlap = None, but left_lead overlap is given"),
        ({"upper": None}, "upper has type object"),
        ({"diagonal": None}, "diagonal has type object"),
        ({"energies": None}, "energies has type object"),
        ({"left_lead": None}, "left_lead = None, expected a Lead"),
        ({"right_lead": 3.0}, "right_lead = 3.0, expected a Lead"),
        ({"right_lead": (None, -np.eye(2))}, "right_lead onsite has type object"),
        ({"left_lead": (np.zeros((2, 2)), None)}, "left_lead hopping has type object"),
        ({"diagonal": [[[0.0]], [[0.0, 1.0]]]}, "diagonal is no array of numbers"),
        ({"diagonal": np.zeros((3, 0, 0))}, "diagonal has shape"),
        ({"diagonal": torch.zeros(3, 2, 2, dtype=torch.bool)}, "diagonal has type bool"),
        ({"energies": [True]}, "energies has type bool"),
        ({"broadening": True}, "broadening = True"),
        ({"broadening": None}, "broadening = None"),
        ({"broadening": np.nan}, "broadening = nan"),
        ({"device": "no such device"}, "device = 'no such device' cannot be used"),
        ({"overlap": (np.tile([[1, 0.1], [0.5, 1]], (3, 1, 1)), np.zeros((2, 2, 2)))}, r"overlap\[0\] differs"),
        ({"upper": np.full((2, 2, 2), "t")}, "upper has type"),
    ],
)
def test_bad_input_is_named(change: dict[str, Any], message: str) -> None:
    good: dict[str, Any] = {
        "energies": [0.5],
        "diagonal": np.zeros((3, 2, 2)),
        "upper": -np.tile(np.eye(2), (2, 1, 1)),
        "left_lead": (np.zeros((2, 2)), -np.eye(2)),
        "right_lead": (np.zeros((2, 2)), -np.eye(2)),
    }
    assert transmission(**good)[0] == pytest.approx(2.0)
    with pytest.raises(ValueError, match=message):
        transmission(**(good | change))


@pytest.mark.parametrize("kind", [{"real": True}, {}, {"overlaps": True}])
def test_the_slow_way_agrees(kind: dict[str, bool], monkeypatch: pytest.MonkeyPatch) -> None:
    """Trusting no residual, every energy goes through all three ways."""
    system, energies = anything(6, **kind), [-0.3, 0.4, 1.7]
    fast = solved(system, energies)
    monkeypatch.setattr("mlnegf.transport.waves.TRUSTED", -1.0)
    slow = solved(system, energies)
    assert_allclose(slow.from_left, fast.from_left, atol=1e-10)
    assert_allclose(slow.from_right, fast.from_right, atol=1e-10)


def test_where_nothing_is_finite_the_answer_says_so() -> None:
    """On its band edge a clean chain's G diverges; the other energies of the sweep do not notice."""
    zero, one = np.zeros((1, 1)), -np.ones((1, 1))
    found = transmission([-2.0, -1.0, 2.0], np.zeros((4, 1, 1)), -np.ones((3, 1, 1)), (zero, one), (zero, one))
    assert found[1] == pytest.approx(1.0)
    assert not (found[[0, 2]] > 1 + 1e-9).any()


STRIP = -(np.eye(5, k=1) + np.eye(5, k=-1))


@pytest.mark.parametrize("energy", [0.0, 1e-17, -1e-16, 1e-13, 1e-11, -1e-9, 1e-8, 1e-6, 0.3])
@pytest.mark.parametrize("sites", [2, 3, 40])
def test_pivots_that_vanish_cost_no_digits(energy: float, sites: int) -> None:
    """In the middle of a clean strip's band every block to be inverted is singular, or nearly so."""
    lead = STRIP, -np.eye(5)
    blocks = np.repeat(STRIP[None], sites, 0), -np.repeat(np.eye(5)[None], sites - 1, 0)
    open_modes = 4.0 if energy == 0.3 else 5.0
    assert transmission([energy], *blocks, lead, lead)[0] == pytest.approx(open_modes, abs=1e-8)


def test_whole_numbers_for_disorder_and_energy() -> None:
    """Integers meet exact zeros: every energy agrees with its neighbour, and with complex arithmetic."""
    for seed in range(20):
        onsite = np.random.default_rng(seed).integers(-1, 2, (12, 4))
        diagonal = np.stack([np.diag(row) for row in onsite]) - np.eye(4, k=1, dtype=int) - np.eye(4, k=-1, dtype=int)
        lead = diagonal[0] * 0 - np.eye(4, k=1, dtype=int) - np.eye(4, k=-1, dtype=int), -np.eye(4, dtype=int)
        blocks = diagonal, -np.repeat(np.eye(4, dtype=int)[None], 11, 0)
        found = transmission([0, 1, 1e-15], *blocks, lead, lead)
        beside = transmission([1e-7, 1 + 1e-7, 1e-7], *blocks, lead, lead)
        assert_allclose(found, beside, atol=2e-5)


@pytest.mark.parametrize("energy", [0.0, 1e-12, 1e-9, 1e-8, 1e-6, np.sqrt(2), 0.5])
def test_decimation_is_checked_and_replaced_where_it_fails(energy: float) -> None:
    """A chain of hopping i, two sites a cell: Σ = E/2 − i √(1 − E²/4); decimation has no digit of it at levels of
    short chains.
    """
    onsite, hopping = torch.zeros(2, 2, dtype=torch.complex128), torch.zeros(2, 2, dtype=torch.complex128)
    onsite[0, 1], onsite[1, 0], hopping[1, 0] = 1j, -1j, 1j
    for side, end in (("left", 0), ("right", 1)):
        found = self_energy(torch.tensor([energy], dtype=torch.float64), Lead(onsite, hopping), side).matrix
        assert abs(complex(found[0, end, end]) - complex(energy / 2, -np.sqrt(1 - energy**2 / 4))) < 1e-8


@pytest.mark.parametrize("atoms", [2, 3])
def test_a_chain_in_larger_cells_is_the_same_chain(atoms: int) -> None:
    """Hopping blocks with empty rows."""
    onsite, hopping = -(np.eye(atoms, k=1) + np.eye(atoms, k=-1)), np.zeros((atoms, atoms))
    hopping[-1, 0] = -1.0
    blocks = np.repeat(onsite[None], 5, 0), np.repeat(hopping[None], 4, 0)
    energies = [-1.0, -0.3, 0.0, 1e-12, 1e-9, 0.7, 1.0, 1.9]
    assert_allclose(transmission(energies, *blocks, (onsite, hopping), (onsite, hopping)), 1.0, atol=1e-6)


def zigzag(rows: int) -> tuple[Any, ...]:
    """A graphene ribbon, 2 · `rows` atoms a cell: a hopping block of half its rank."""
    onsite, hopping = np.zeros((2 * rows, 2 * rows)), np.zeros((2 * rows, 2 * rows))
    for row in range(rows):
        a, b = 2 * row, 2 * row + 1
        onsite[a, b] = onsite[b, a] = -1.0
        hopping[(a, b) if row % 2 else (b, a)] = -1.0
        if row + 1 < rows:
            onsite[b, a + 2] = onsite[a + 2, b] = -1.0
    return np.repeat(onsite[None], 4, 0), np.repeat(hopping[None], 3, 0), *[(onsite, hopping)] * 2


def test_a_graphene_ribbon_conducts_in_whole_steps() -> None:
    """A sweep through every special energy."""
    found = transmission(np.linspace(-2, 2, 81), *zigzag(4))
    # On a band edge T is neither of its neighbours; everywhere else it is whole.
    assert (abs(found - np.round(found)) < 1e-4).sum() >= 78
    assert found.max() < 4 + 0.01


def test_closed_modes_are_not_counted() -> None:
    onsite, hopping = np.diag([0.0, 3.0]), np.array([[-1.0, 0.1], [0.1, -0.5]])
    lead = Lead(*(torch.as_tensor(block) for block in (onsite, hopping)))
    system = System(torch.as_tensor(onsite).repeat(3, 1, 1), torch.as_tensor(hopping).repeat(2, 1, 1), lead, lead)
    states = solved(system, [0.5, -5.0, 3.1, 10.0])
    assert states.open_modes[0].tolist() == [1, 0, 1, 0]
    assert_allclose(states.reflection + states.transmission, [1, 0, 1, 0], atol=1e-6)


def test_any_array_of_numbers_will_do() -> None:
    system = rough(1)
    diagonal, upper = system.diagonal.numpy(), system.upper.numpy()
    leads = [(lead.onsite.numpy(), lead.hopping.numpy()) for lead in (system.left, system.right)]
    energies = np.linspace(0.5, 11.0, 12)
    expected = transmission(energies, diagonal, upper, *leads)
    assert_allclose(transmission(energies[::-1], diagonal, upper, *leads)[::-1], expected)
    turned = transmission(energies, diagonal[::-1], upper[::-1], *leads[::-1])
    assert_allclose(turned, expected, atol=1e-10)
    diagonal.flags.writeable = False
    assert_allclose(transmission(energies.tolist(), diagonal.astype(">f8"), upper, *leads), expected)


@pytest.mark.parametrize(
    ("potential", "mask", "message"),
    [
        (np.zeros((1, 3, 3)), None, "potential has shape"),
        (np.zeros((4, 4, 3)), np.ones((3, 3), dtype=bool), "mask has"),
    ],
)
def test_a_lattice_of_the_wrong_shape_is_named(potential: Any, mask: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cubic_lattice(potential, mask=mask)


def test_a_lattice_is_exact_to_the_last_digit() -> None:
    system = cubic_lattice(np.zeros((3, 4, 3)), np.float32(0.5) / 5)
    t = float(np.float32(0.5) / 5)
    assert float(system.diagonal[0, 0, 0]) == pytest.approx(6 * t, abs=1e-16)
    assert float(system.diagonal[0, 0, 1]) == -t


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("closed", [True, False], ids=["closed form", "decimation"])
def test_a_gpu_finds_the_same(closed: bool) -> None:
    chance = np.random.default_rng(0)
    blocks = chance.normal(size=(12, 6, 6))
    blocks = blocks + blocks.transpose(0, 2, 1)
    hopping = -np.eye(6) if closed else -np.eye(6) + 0.1 * chance.normal(size=(6, 6))
    upper, lead, energies = np.broadcast_to(hopping, (11, 6, 6)), (blocks[0], hopping), np.linspace(-1.0, 1.0, 9)
    for quantity in (transmission, density_of_states):
        here, there = (quantity(energies, blocks, upper, lead, lead, device=device) for device in ("cpu", "cuda"))
        assert_allclose(there, here, rtol=1e-9, atol=1e-11)


def square_ring(level: float) -> tuple[Any, ...]:
    """Chains of hopping −1 that meet a square of four sites at opposite corners; the spare orbitals are far away."""
    diagonal = np.stack([np.diag([level, 50.0]), np.diag([level, level]), np.diag([level, 50.0])])
    upper = np.array([[[-1.0, -1.0], [0.0, 0.0]], [[-1.0, 0.0], [-1.0, 0.0]]])
    lead = np.diag([0.0, 50.0]), np.diag([-1.0, 0.0])
    return diagonal, upper, lead, lead


@pytest.mark.parametrize("level", [0.0, 0.3])
@pytest.mark.parametrize("aside", [0.0, 1e-15, -1e-12, 1e-9, 1e-7, -1e-6, 1e-5])
def test_a_state_that_no_lead_fills_holds_nothing(level: float, aside: float) -> None:
    """The ring's odd state at its sites' level; the even ones make a chain of hoppings −1, −√2, −√2, −1."""
    even = np.full((3, 1, 1), level), -np.full((2, 1, 1), np.sqrt(2)), *[(np.zeros((1, 1)), -np.ones((1, 1)))] * 2
    energies = [level + aside]
    assert transmission(energies, *square_ring(level)) == pytest.approx(transmission(energies, *even), abs=1e-8)
    found = density_of_states(energies, *square_ring(level)).sum(0)[0]
    expected = density_of_states(energies, *even).sum(0)[0, :, 0]
    assert_allclose(found[:, 0], expected * [1, 0.5, 1], atol=1e-8)
    assert_allclose(found[1], expected[1] / 2, atol=1e-8)
    assert found[1].sum() == pytest.approx({0.0: 0.0796, 0.3: 0.0787}[level], abs=5e-5)


def test_an_orbital_that_nothing_links_holds_nothing() -> None:
    """Also many of them at once, turned so that no block shows it, and in complex numbers."""
    diagonal, hopping = np.zeros((3, 2, 2)), np.diag([-1.0, 0.0])
    lead = diagonal[0], hopping
    assert transmission([0.0], diagonal, [hopping] * 2, lead, lead)[0] == pytest.approx(1.0, abs=1e-9)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0]
    for phase in (1.0, np.exp(0.4j)):
        hopping = turn @ np.diag([-1.0, 0, 0, 0, -0.5]) @ turn.T * phase
        lead = np.zeros((5, 5)), hopping
        found = transmission([0.0, 1e-13], np.zeros((6, 5, 5)), [hopping] * 5, lead, lead)
        assert_allclose(found, 2.0, atol=1e-8)


def lieb_ribbon(rows: int) -> tuple[Any, ...]:
    """Sites A on a square lattice, B on its bonds along the ribbon and C on those across: a flat band at zero."""
    block = 3 * rows - 1
    onsite, hopping = np.zeros((block, block)), np.zeros((block, block))
    for row in range(rows):
        a = 3 * row
        onsite[a, a + 1] = hopping[a + 1, a] = -1.0
        if row + 1 < rows:
            onsite[a, a + 2] = onsite[a + 2, a + 3] = -1.0
    onsite = onsite + onsite.T
    return np.repeat(onsite[None], 4, 0), np.repeat(hopping[None], 3, 0), *[(onsite, hopping)] * 2


@pytest.mark.parametrize("rows", [1, 2, 3, 4])
def test_lieb_ribbons_in_their_flat_band(rows: int) -> None:
    """One band reaches zero energy, from both sides, and it conducts: counted from the bands at 0.01."""
    blocks = lieb_ribbon(rows)
    energies = np.array([0.0, 1e-12, -1e-9, 1e-6, -1e-5, 1e-3, -1e-2])
    bands = np.array([np.linalg.eigvalsh(_bloch(blocks, k)) for k in np.linspace(-np.pi, np.pi, 4001)])
    crossing = [((bands[1:] > 1e-2) != (bands[:-1] > 1e-2)).sum() / 2]
    assert crossing == [1.0]
    assert_allclose(transmission(energies, *blocks), 1.0, atol=1e-4)
    assert np.isfinite(density_of_states(energies, *blocks)).all()


def _bloch(blocks: tuple[Any, ...], k: float) -> np.ndarray:
    onsite, hopping = blocks[2]
    return np.asarray(onsite + hopping * np.exp(1j * k) + hopping.T * np.exp(-1j * k))


def test_what_has_no_answer_names_its_energy() -> None:
    """NaN that no door has seen come in."""
    system = rough(1)
    broken = System(system.diagonal.clone(), system.upper, system.left, system.right)
    broken.diagonal[4, 0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"energies holds 3\.5, where there is no answer"):
        solved(broken, [3.5])


THREE = np.zeros((3, 3)), -np.eye(3) - 0.2 * (np.eye(3, k=1) + np.eye(3, k=-1))


@settings(max_examples=30, deadline=None)
@given(exponent=st.floats(-19, 19), kind=st.sampled_from(["commuting", "real", "complex", "overlap", "lattice"]))
def test_no_answer_depends_on_the_unit_of_energy(exponent: float, kind: str) -> None:
    """T and R are numbers, a density of states is one over an energy, Σ an energy; from joules to what you like."""
    unit = 10.0**exponent
    if kind == "commuting":
        onsite, hopping = (torch.as_tensor(block) for block in THREE)
        lead = Lead(onsite, hopping)
        system = System(onsite.repeat(4, 1, 1), hopping.repeat(3, 1, 1), lead, lead)
    else:
        overlaps = kind == "overlap"
        system = rough(3) if kind == "lattice" else anything(2, real=kind == "real", overlaps=overlaps)
    other = System(
        system.diagonal * unit,
        system.upper * unit,
        *(Lead(lead.onsite * unit, lead.hopping * unit, *lead.blocks[2:]) for lead in system.leads),
        system.overlap,
        system.overlap_upper,
    )
    energies = np.array([0.0, 0.41, 2.3])
    here, there = solved(system, energies), solved(other, energies * unit)
    assert_allclose(there.transmission, here.transmission, atol=1e-8)
    assert_allclose(there.reflection, here.reflection, atol=1e-8)
    assert_allclose(there.left_injected * unit, here.left_injected, rtol=1e-7, atol=1e-8)
    assert_allclose(there.left.matrix / unit, here.left.matrix, atol=1e-8)
    assert_allclose(there.local_current(), here.local_current(), atol=1e-7)
    assert [count.tolist() for count in there.open_modes] == [count.tolist() for count in here.open_modes]
    if kind == "commuting":
        assert here.transmission[0] == pytest.approx(3.0, abs=1e-9)


@pytest.mark.parametrize("size", [1e-19, 2.7 * 1.602e-19, 1e-10, 1e19])
def test_graphene_in_joules(size: float) -> None:
    ribbon = zigzag(4)
    scaled = [block * size for block in ribbon[:2]], [tuple(block * size for block in lead) for lead in ribbon[2:]]
    energies = np.array([0.11, 0.3, 0.7, 1.1, 1.9])
    assert_allclose(transmission(energies * size, *scaled[0], *scaled[1]), [1, 1, 1, 4, 2], atol=1e-6)


@pytest.mark.parametrize("small", [1e-3, 1e-8, 1e-12])
@pytest.mark.parametrize("turned", [0.0, 0.3])
def test_chains_of_very_different_hoppings(small: float, turned: float) -> None:
    """Each is measured by its own, also where blocks turned into each other hide which is which."""
    if turned and small < 1e-8:
        pytest.skip("lost in the rounding of the blocks")
    turn = np.array([[np.cos(turned), np.sin(turned)], [-np.sin(turned), np.cos(turned)]])
    hopping = turn @ np.diag([-1.0, -small]) @ turn.T
    lead = np.zeros((2, 2)), hopping
    found = transmission([0.0, 0.5 * small, 3 * small], np.zeros((4, 2, 2)), [hopping] * 3, lead, lead)
    assert_allclose(found, [2, 2, 1], atol=1e-6)


def test_a_slow_chain_beside_one_that_does_not_commute() -> None:
    """A ladder that mixes, and a chain of hopping 1e-8 that nothing links to it, in one block."""
    onsite = np.array([[0.0, 0.3, 0.0], [0.3, 0.1, 0.0], [0.0, 0.0, 0.0]])
    hopping = np.array([[-1.0, 0.2, 0.0], [-0.1, -0.7, 0.0], [0.0, 0.0, -1e-8]])
    blocks = np.repeat(onsite[None], 4, 0), np.repeat(hopping[None], 3, 0)
    lead = onsite, hopping
    assert_allclose(transmission([0.0, 1e-8, 3e-8], *blocks, lead, lead), [3, 3, 2], atol=1e-6)


@pytest.mark.parametrize("broadening", [1e-12, 1e-8, 1e-6, 1e-4, 1e-3])
def test_a_broadening_opens_no_mode(broadening: float) -> None:
    onsite, hopping = np.diag([0.0, 3.0]), np.array([[-1.0, 0.1], [0.1, -0.5]])
    lead = Lead(*(torch.as_tensor(block) for block in (onsite, hopping)))
    system = System(torch.as_tensor(onsite).repeat(3, 1, 1), torch.as_tensor(hopping).repeat(2, 1, 1), lead, lead)
    system.diagonal[1, 0, 0] = 0.5
    energies = torch.tensor([0.5, -5.0, 3.1, 10.0, 1.9], dtype=torch.float64)
    ((_, without),), ((_, states),) = (
        scattering_states(energies, system),
        scattering_states(energies, system, broadening),
    )
    assert states.open_modes[0].tolist() == without.open_modes[0].tolist() == [1, 0, 1, 0, 1]
    assert_allclose(states.reflection, without.reflection, atol=max(1e-8, broadening))
    assert_allclose(states.reflection + states.transmission, [1, 0, 1, 0, 1], atol=1e-9)


def test_equal_leads_are_solved_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """And both sides are what each would be by itself: left and right differ for the same blocks."""
    system = anything(4)
    same = System(
        system.diagonal, system.upper, system.left, Lead(*(block.clone() for block in system.left.blocks[:2]))
    )  # type: ignore[union-attr]
    runs: list[int] = []
    original = decimation.surface_green_functions

    def counted(*blocks: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        runs.append(len(blocks[0]))
        return original(*blocks)

    monkeypatch.setattr(decimation, "surface_green_functions", counted)
    energies = torch.tensor([-0.31, 0.17, 1.03], dtype=torch.float64)
    states = solved(same, energies)
    assert runs == [3]
    solved(system, energies)
    assert runs == [3, 3, 3]
    for side, found in (("left", states.left), ("right", states.right)):
        assert_allclose(found.matrix, self_energy(energies, system.left, side).matrix, atol=1e-12)
    assert float((states.left.matrix - states.right.matrix).abs().max()) > 0.1


def test_a_side_that_is_none_is_named() -> None:
    with pytest.raises(ValueError, match="side = 'top'"):
        self_energy(torch.zeros(1).double(), rough(1).left, "top")
