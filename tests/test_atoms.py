"""Potassium: its potential against experiment, its dynamics against Newton, its wires against mirrors and counting."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mlnegf._common import Floats
from mlnegf.atomistic.conductance import conductances
from mlnegf.atomistic.dynamics import Langevin
from mlnegf.atomistic.hamiltonian import Orbitals, blocks_of
from mlnegf.atomistic.hard_cases import chain, two_necks
from mlnegf.atomistic.kernels import FORCE, advance
from mlnegf.atomistic.ldos import local_densities
from mlnegf.atomistic.potential import POTASSIUM, Forces
from mlnegf.atomistic.pulls import compact, full, generate, read_all
from mlnegf.atomistic.rivals import narrowest_section
from mlnegf.atomistic.wires import Pull, Wire, is_whole, pulled
from mlnegf.transport import Lead, self_energy, transmission, transmissions
from mlnegf.units import BOLTZMANN

A0 = POTASSIUM.lattice_constant
BCC, FCC = np.array([[0, 0, 0], [0.5, 0.5, 0.5]]), np.array([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
GPA = 160.2176634  # of 1 eV/Å³


def crystal(strain: Floats, basis: Floats = BCC, a: float = A0) -> float:
    cell = a * (np.eye(3) + strain)
    return POTASSIUM.energy_per_atom(cell, basis @ cell)


def curvature(strain: Floats, h: float = 1e-3) -> float:
    """Second derivative of the energy density, GPa."""
    middle, *sides = (crystal(x * strain) for x in (0.0, h, -h))
    return (sum(sides) - 2 * middle) / h**2 / (A0**3 / 2) * GPA


def test_potassium_as_it_is_measured() -> None:
    assert crystal(np.zeros((3, 3))) == pytest.approx(-0.934, abs=5e-4)
    sizes = A0 * np.linspace(0.99, 1.01, 201)
    assert sizes[np.argmin([crystal(np.zeros((3, 3)), a=a) for a in sizes])] == pytest.approx(5.328, abs=2e-3)
    # Smith & Smith (1964), room temperature: B 3.34, C' 0.281, C44 1.88 GPa.
    assert curvature(np.eye(3)) / 9 == pytest.approx(3.34, rel=0.01)
    shear = np.diag([1.0, -1.0, 0.0])
    assert curvature(shear) / 4 == pytest.approx(0.281, rel=0.01)
    assert curvature(np.array([[0, 0.5, 0], [0.5, 0, 0], [0, 0, 0]])) == pytest.approx(1.88, rel=0.01)


def test_bcc_lies_below_fcc() -> None:
    sizes = A0 * 2 ** (1 / 3) * np.linspace(0.9, 1.1, 401)
    lowest = min(crystal(np.zeros((3, 3)), FCC, a) for a in sizes)
    assert 1e3 * (lowest - crystal(np.zeros((3, 3)))) == pytest.approx(2.0, abs=0.3)


def test_dimer() -> None:
    distance = np.linspace(3.6, 4.6, 201)
    energy = [POTASSIUM(np.array([[0, 0, 0], [d, 0, 0]])).energies.sum() for d in distance]
    assert distance[np.argmin(energy)] == pytest.approx(4.11, abs=0.02)
    assert -min(energy) == pytest.approx(0.66, abs=0.01)


def test_an_atom_inside_a_large_piece_is_one_of_the_crystal() -> None:
    places = np.stack(np.meshgrid(*[np.arange(-3, 4)] * 3, indexing="ij"), -1).reshape(-1, 3)
    piece = A0 * (places[:, None] + BCC).reshape(-1, 3)
    middle = int(np.argmin(np.linalg.norm(piece, axis=1)))
    assert POTASSIUM(piece).energies[middle] == pytest.approx(crystal(np.zeros((3, 3))), abs=1e-12)


def test_forces_are_slopes_and_sum_to_nothing() -> None:
    rng = np.random.default_rng(0)
    positions = Wire.of_crystal(35.0, 12.0).positions + 0.2 * rng.standard_normal((63, 3))
    energies, forces = POTASSIUM(positions)
    assert abs(forces.sum(0)).max() < 1e-12
    assert abs(np.cross(positions, forces).sum(0)).max() < 1e-10
    for atom, axis in ((0, 0), (30, 1), (50, 2)):
        sides = []
        for step in (1e-4, -1e-4):
            moved = positions.copy()
            moved[atom, axis] += step
            sides.append(POTASSIUM(moved).energies.sum())
        assert -(sides[0] - sides[1]) / 2e-4 == pytest.approx(forces[atom, axis], abs=1e-7)
    assert energies.shape == (63,)


def test_newton_keeps_the_energy() -> None:
    rng = np.random.default_rng(1)
    wire = Wire.of_crystal(35.0, 12.0)
    positions, held = wire.positions.copy(), np.zeros(63, dtype=bool)
    velocities = np.sqrt(BOLTZMANN * 200.0 * FORCE / POTASSIUM.mass) * rng.standard_normal(positions.shape)
    before, total = velocities.sum(0), []
    for _ in range(20):
        none = np.zeros((500, 63, 3))
        fixed = (5.0, 1.0, 0.0, FORCE / POTASSIUM.mass, POTASSIUM.cutoff, 1.0)
        energy = advance(positions, velocities, held, none, *fixed, *POTASSIUM.coefficients)
        # The pairs were listed in time: the energy is that of these positions.
        assert energy == pytest.approx(POTASSIUM(positions).energies.sum(), abs=1e-10)
        total.append(energy + 0.5 * POTASSIUM.mass / FORCE * (velocities**2).sum())
    kinetic = 1.5 * 63 * BOLTZMANN * 100.0
    assert np.ptp(total) < 2e-3 * kinetic
    np.testing.assert_allclose(velocities.sum(0), before, atol=1e-9 * abs(velocities).sum())  # nothing pushes it away


def test_compiled_dynamics_are_those_of_any_force() -> None:
    rng, wire = np.random.default_rng(2), Wire.of_crystal(30.0, 9.0)
    moving = Langevin(POTASSIUM.mass, 5.0, 150.0, 0.5)
    noise = rng.standard_normal((60, len(wire.positions), 3))
    ends = []
    for force in (POTASSIUM, lambda positions: POTASSIUM(positions)):
        positions, velocities = wire.positions.copy(), np.zeros_like(wire.positions)
        velocities[-wire.held :, 0] = 1e-4
        energy = moving.move(force, positions, velocities, wire.is_held, noise)
        ends.append((positions, velocities, energy))
    for one, other in zip(*ends, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-10)


def test_a_pull_has_the_temperature_it_was_given_and_moves_its_ends_alone() -> None:
    snapshots = list(pulled(Pull(length=30.0, diameter=12.0, speed=20.0, temperature=200.0, longest=34.0, rest=10.0)))
    found = np.mean([snapshot.temperature for snapshot in snapshots])
    assert found == pytest.approx(200.0, rel=0.1)  # 27 atoms: 8 % a snapshot, and they are correlated
    first, last = snapshots[0].wire, snapshots[-1].wire
    shift = last.positions - first.positions
    np.testing.assert_allclose(shift[: first.held], 0.0, atol=1e-12)
    ends = last.length - first.length
    np.testing.assert_allclose(shift[-first.held :], np.tile([ends, 0, 0], (first.held, 1)), atol=1e-9)
    assert ends == pytest.approx(0.125 * (len(snapshots) - 1))
    assert snapshots[1].time == pytest.approx(0.125 / 20.0 * 100)  # ps


def test_the_same_pull_gives_the_same_wire() -> None:
    one, again = (list(pulled(Pull(length=30.0, diameter=9.0, longest=31.0, temperature=77.0))) for _ in range(2))
    np.testing.assert_array_equal(one[-1].wire.positions, again[-1].wire.positions)


@pytest.mark.slow
def test_a_wire_thins_to_a_chain_and_breaks() -> None:
    snapshots = list(pulled(Pull(speed=20.0, seed=1)))
    assert not snapshots[-1].is_whole
    assert all(snapshot.is_whole for snapshot in snapshots[:-1])
    assert 50.0 < snapshots[-1].wire.length < 76.0
    # A chain of atoms 4.3 Å apart has a section of 18 Å².
    assert narrowest_section(snapshots[-2].wire.positions) < 20.0


def test_cylinders_have_as_many_atoms_as_circles_say() -> None:
    for diameter, held in ((2.0, 1), (8.0, 5), (11.0, 9), (17.5, 21), (24.0, 37)):
        assert Wire.of_crystal(35.0, diameter).held == held
    assert len(Wire.of_crystal(35.0, 17.5).positions) == 147
    assert len(Wire.of_crystal(63.0, 17.5).positions) == 252


@pytest.mark.parametrize(("diameter", "channels"), [(2.0, 1), (8.0, 3), (11.0, 6), (17.5, 12), (24.0, 21)])
def test_a_perfect_wire_conducts_by_its_open_modes(diameter: float, channels: int) -> None:
    wire, orbitals = Wire.of_crystal(40.0, diameter), Orbitals()
    found = conductances(wire.positions[None], wire.held)
    assert found[0] == pytest.approx(channels, abs=1e-6)
    onsite, hopping = orbitals.lead(wire.positions[: wire.held], A0)
    # Counted once more, by bands: every open mode crosses the Fermi energy once to the right.
    k = np.linspace(-np.pi, np.pi, 4001)[:, None, None]
    bands = np.linalg.eigvalsh(onsite + hopping * np.exp(1j * k) + hopping.T * np.exp(-1j * k))
    crossings = (np.diff(np.sign(bands - orbitals.fermi_energy), axis=0) > 0).sum()
    assert crossings == channels


def test_wires_of_growing_radius_open_channels_as_free_electrons_do() -> None:
    """In a cylinder modes open by the zeros of Bessel functions: 1, 3, 5, 6, 8, 10, 12; a wire of atoms has 1, 3, 6."""
    found = [conductances(Wire.of_crystal(30.0, d).positions[None], h)[0] for d, h in ((2.0, 1), (8.0, 5), (11.0, 9))]
    np.testing.assert_allclose(found, [1, 3, 6], atol=1e-6)


def test_chain_of_single_atoms() -> None:
    chain = np.zeros((1, 24, 3))
    chain[0, :, 0] = 4.4 * np.arange(24)
    assert conductances(chain, 2, 8.8)[0] == pytest.approx(1.0, abs=1e-9)


def test_half_filled_bulk() -> None:
    assert Orbitals().bulk.fermi_energy(200) == pytest.approx(Orbitals().fermi_energy, abs=1e-3)
    # The bottom of the band, at k = 0: eight hoppings to the first shell, six to the second.
    shells = Orbitals().hopping(A0 * np.array([np.sqrt(0.75), 1.0, np.sqrt(2)]))
    assert Orbitals().bulk.energy(np.zeros(3)) == pytest.approx(8 * shells[0] + 6 * shells[1])
    assert shells[2] == 0


def some_wires(count: int = 6, seed: int = 0) -> tuple[Floats, int]:
    """Perfect cells, and disorder between them."""
    rng, wire = np.random.default_rng(seed), Wire.of_crystal(40.0, 11.0)
    moved = np.repeat(wire.positions[None], count, 0)
    moved[:, ~wire.is_held] += 0.5 * rng.uniform(-1, 1, (count, (~wire.is_held).sum(), 3))
    return moved, wire.held


def test_against_one_dense_matrix() -> None:
    positions, held = some_wires()
    orbitals = Orbitals()
    found = conductances(positions, held)
    onsite, hopping = orbitals.lead(positions[0, :held], A0)
    energy = torch.tensor([orbitals.fermi_energy], dtype=torch.float64)
    lead = Lead(torch.from_numpy(onsite), torch.from_numpy(hopping))
    left, right = (self_energy(energy, lead, side).matrix[0].numpy() for side in ("left", "right"))
    for n, atoms in enumerate(positions):
        matrix = orbitals.fermi_energy * np.eye(len(atoms)) - orbitals.between(atoms, atoms).astype(complex)
        matrix[:held, :held] -= left
        matrix[-held:, -held:] -= right
        green = np.linalg.inv(matrix)[:held, -held:]
        gammas = (1j * (sigma - sigma.conj().T) for sigma in (left, right))
        one, other = gammas
        assert found[n] == pytest.approx(np.trace(one @ green @ other @ green.conj().T).real, abs=1e-8)


def test_against_sisl() -> None:
    sisl = pytest.importorskip("sisl")
    positions, held = some_wires(5, seed=1)
    orbitals = Orbitals()
    onsite, hopping = orbitals.lead(positions[0, :held], A0)
    geometry = sisl.Geometry(positions[0, :held], sisl.Atom("K", R=8.0), lattice=[A0, 40.0, 40.0])
    geometry.set_nsc([3, 1, 1])
    lead = sisl.Hamiltonian(geometry)
    for i in range(held):
        for j in range(held):
            lead[i, j] = onsite[i, j]
            lead[i, j, (1, 0, 0)] = hopping[i, j]
            lead[i, j, (-1, 0, 0)] = hopping[j, i]
    sigmas = [sisl.physics.RecursiveSI(lead, way).self_energy(orbitals.fermi_energy + 1e-11j) for way in ("-A", "+A")]
    found = conductances(positions, held)
    for n, atoms in enumerate(positions):
        matrix = orbitals.fermi_energy * np.eye(len(atoms)) - orbitals.between(atoms, atoms).astype(complex)
        matrix[:held, :held] -= sigmas[0]
        matrix[-held:, -held:] -= sigmas[1]
        green = np.linalg.inv(matrix)[:held, -held:]
        one, other = (1j * (sigma - sigma.conj().T) for sigma in sigmas)
        assert found[n] == pytest.approx(np.trace(one @ green @ other @ green.conj().T).real, abs=1e-8)


@settings(max_examples=10, deadline=None)
@given(st.floats(0, 2 * np.pi), st.integers(0, 1000))
def test_conductance_knows_no_angle_no_place_and_no_names(angle: float, seed: int) -> None:
    positions, held = some_wires(2, seed)
    found = conductances(positions, held)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    np.testing.assert_allclose(conductances(positions @ turn.T + [3.0, -2.0, 1.0], held), found, atol=1e-8)
    order = np.arange(positions.shape[1])
    np.random.default_rng(seed).shuffle(order[held:-held])
    np.testing.assert_allclose(conductances(positions[:, order], held), found, atol=1e-8)


def test_reciprocity() -> None:
    positions, held = some_wires(3, seed=2)
    mirrored = positions[:, ::-1] * [-1.0, 1.0, 1.0]
    # The cell's two planes change places: the lead is another cut of the same wire.
    np.testing.assert_allclose(conductances(mirrored, held), conductances(positions, held), atol=1e-8)


def test_no_more_than_the_leads_offer() -> None:
    positions, held = some_wires(8, seed=3)
    found = conductances(positions, held)
    assert (found > 0).all()
    assert (found < 6.0).all()


def test_blocks_hold_every_hopping() -> None:
    positions, held = some_wires(4, seed=4)
    for some in blocks_of(Orbitals(), positions, held, A0):
        hamiltonian = Orbitals().between(positions[some.index], positions[some.index])
        diagonal = some.diagonal.clone()
        diagonal.diagonal(dim1=-2, dim2=-1).zero_()
        squares = (diagonal**2).sum((1, 2, 3)) + 2 * (some.upper**2).sum((1, 2, 3))
        np.testing.assert_allclose(squares.numpy(), (hamiltonian**2).sum((1, 2)), rtol=1e-12)


def test_necks_in_series_interfere() -> None:
    """What no atom sees decides: the same two necks, a few cells farther apart."""
    found = [conductances(two_necks(n).positions[None], 21)[0] for n in (4, 5, 6, 7, 8)]
    assert np.ptp(found) > 1.0
    assert len({len(two_necks(n).positions) for n in (4, 8)}) == 1


def test_a_chain_beyond_its_band_is_a_barrier() -> None:
    found = np.array([conductances(chain(n, 6.1).positions[None], 21)[0] for n in range(3, 9)])
    ratios = found[1:] / found[:-1]
    # Evanescent, with twice the decay of cosh κ = E/2t.
    hopping = abs(float(Orbitals().hopping(np.array([6.1]))[0]))
    decay = np.exp(-2 * np.arccosh(Orbitals().fermi_energy / (2 * hopping)))
    np.testing.assert_allclose(ratios[-2:], decay, rtol=0.1)
    assert max(conductances(chain(n, 4.4).positions[None], 21)[0] for n in range(1, 8)) > 0.9


def test_one_of_two_chains_cut_leaves_the_other() -> None:
    """Whole cells of two chains that do not meet: a block may not be thrown away for an atom out of reach."""
    chains = np.zeros((2, 24, 3))
    chains[:, :, 0] = 4.4 * np.arange(24)
    chains[1, :, 1] = 25.0
    order = np.argsort(chains.reshape(-1, 3)[:, 0], kind="stable")
    whole = chains.reshape(-1, 3)[order]
    for left_out, expected in ((None, 2.0), (21, 1.0), (25, 1.0)):
        cut = [] if left_out is None else [left_out, left_out + 2]
        kept = np.setdiff1d(np.arange(len(whole)), cut)
        assert conductances(whole[kept][None], 4, 8.8)[0] == pytest.approx(expected, abs=1e-9)


def test_what_nothing_links_changes_nothing() -> None:
    positions, held = some_wires(2, seed=6)
    far = np.tile([[[40.0, 60.0, 0.0], [40.0, 60.0, 4.4]]], (2, 1, 1))
    with_others = np.concatenate([positions[:, :held], far, positions[:, held:]], 1)
    np.testing.assert_allclose(conductances(with_others, held), conductances(positions, held), atol=1e-9)


def test_a_cell_may_be_several() -> None:
    positions = some_wires(2, seed=7)[0]
    perfect = Wire.of_crystal(70.0, 11.0).positions
    found = conductances(perfect[None], 27, 3 * A0)
    assert found[0] == pytest.approx(conductances(perfect[None], 9)[0], abs=1e-9)
    assert positions.shape[1] == 72


def test_an_atom_that_creeps_over_a_rigid_cell_meets_the_next_one() -> None:
    """One more cell of the lead, laid out by hand, changes nothing."""
    positions, held = some_wires(3, seed=8)
    creeping = np.tile([[[-1.0, 9.0, 0.0]]], (3, 1, 1))
    given = np.concatenate([positions[:, :held], creeping, positions[:, held:]], 1)
    step = np.array([A0, 0.0, 0.0])
    longer = np.concatenate([given[:, :held] - step, given, given[:, -held:] + step], 1)
    np.testing.assert_allclose(conductances(longer, held), conductances(given, held), atol=1e-8)


def test_no_gradient_is_given_that_is_not_worked_out() -> None:
    positions, held = some_wires(1, seed=9)
    (some,) = blocks_of(Orbitals(), positions, held, A0)
    tracked = Lead(some.left.onsite.clone().requires_grad_(), some.left.hopping)
    for left, diagonal in ((tracked, some.diagonal), (some.left, some.diagonal.clone().requires_grad_())):
        with pytest.raises(ValueError, match="gradient"):
            transmissions(0.6, diagonal, some.upper, left, some.right)


def test_dynamics_that_run_away_are_refused() -> None:
    def wrong(positions: Floats) -> Forces:
        energies, forces = POTASSIUM(positions)
        return Forces(energies, 1e6 * (forces + 1.0))

    with pytest.raises(ValueError, match=r"apart|ran away|positions"):
        list(pulled(Pull(length=30.0, diameter=9.0, longest=31.0), wrong))
    with pytest.raises(ValueError, match="step"):
        Pull(step=200.0)


def test_a_cold_wire_stays_cold() -> None:
    snapshots = list(pulled(Pull(length=30.0, diameter=9.0, speed=5.0, temperature=4.5, longest=31.0)))
    # Where atoms jump they are hot for a while.
    assert np.median([snapshot.temperature for snapshot in snapshots]) == pytest.approx(5.0, abs=1.5)


def test_a_broken_wire_conducts_nothing() -> None:
    positions, held = some_wires(2)
    right = positions[1].copy()
    right[len(right) // 2 :, 0] += 20.0
    found = conductances(np.stack([positions[0], right]), held)
    assert found[0] > 0
    assert found[1] == 0
    assert not is_whole(Wire(right, held, A0))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: x[0], "positions"),
        (lambda x: x[..., :2], "shape"),
        (lambda x: np.full_like(x, np.nan), "finite"),
        (lambda x: np.concatenate([x[:, :20], x[:, 19:]], 1), "apart"),
        (lambda x: x * np.linspace(1, 1.01, len(x))[:, None, None], "rigid"),
        (lambda x: x[:, :3], "held"),
    ],
)
def test_what_is_no_wire_is_refused(change: object, words: str) -> None:
    positions, held = some_wires(3)
    with pytest.raises(ValueError, match=words):
        conductances(change(positions), held)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"speed": 0}, "speed"),
        ({"temperature": -1}, "temperature"),
        ({"seed": 0.5}, "seed"),
        ({"every": 1e-6}, "every"),
    ],
)
def test_what_is_no_pull_is_refused(arguments: dict[str, object], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        Pull(**arguments)  # type: ignore[arg-type]


def test_atoms_on_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="atoms 0 and 1"):
        POTASSIUM(np.array([[0, 0, 0], [0.1, 0, 0]]))
    with pytest.raises(ValueError, match="three cells"):
        Wire.of_crystal(10.0, 17.5)


def test_pulls_are_kept_and_read_back(tmp_path: Path) -> None:
    pulls = [Pull(length=30.0, diameter=9.0, longest=31.0, seed=n) for n in range(2)]
    generate(pulls, tmp_path, "here", workers=1, progress=False)
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.nc")}
    generate(pulls, tmp_path, "here", workers=1, progress=False)
    assert before == {path.name: path.read_bytes() for path in tmp_path.glob("*.nc")}
    for found, pull in zip(read_all(tmp_path), pulls, strict=True):
        assert found.pull == pull
        assert not found.broke
        np.testing.assert_allclose(np.diff(found.length), pull.every, atol=1e-4)
        np.testing.assert_array_equal(conductances(found.positions, found.held), found.conductance)
    with pytest.raises(ValueError, match="choose another output"):
        generate([Pull(length=30.0, diameter=9.0, longest=31.0, seed=7)], tmp_path, "here", workers=1, progress=False)
    (tmp_path / "0000.nc").write_bytes(before["0000.nc"][:-7])
    with pytest.raises(ValueError, match="checksum"):
        list(read_all(tmp_path))
    generate(pulls, tmp_path, "here", workers=1, progress=False)
    assert (tmp_path / "0000.nc").read_bytes() == before["0000.nc"]


def test_pulls_to_learn_from_and_to_predict() -> None:
    assert len(set(compact())) == 57
    assert {pull.length for pull in compact()} == {35.0}
    assert len(full()) >= 100
    assert not {pull.seed for pull in compact()} & {pull.seed for pull in full()}


def test_many_systems_as_one_by_one() -> None:
    positions, held = some_wires(5, seed=5)
    for some in blocks_of(Orbitals(), positions, held, A0):
        at_once = transmissions(0.6, some.diagonal, some.upper, some.left, some.right)
        for n in range(len(some.index)):
            alone = transmission([0.6], some.diagonal[n], some.upper[n], some.left, some.right)
            assert float(at_once[n]) == pytest.approx(float(alone[0]), abs=1e-10)


def test_local_densities_of_a_chain_and_of_a_wire() -> None:
    """The chain's is −Im [(z² − 4t²)]^−½/π; every atom holds one state; another numbering, other blocks: the same."""
    chain_wire = Wire.of_crystal(30.0, 1.0)
    energies = np.linspace(-1.5, 1.5, 61)
    found = local_densities(chain_wire.positions[None], chain_wire.held, energies, 0.05)[0]
    hopping = float(Orbitals().hopping(np.array([POTASSIUM.lattice_constant]))[0])
    z = energies + 0.05j
    wanted = -(1 / np.sqrt(z - 2 * abs(hopping)) / np.sqrt(z + 2 * abs(hopping))).imag / np.pi
    np.testing.assert_allclose(found, np.broadcast_to(wanted, found.shape), atol=1e-7)

    wire = Wire.of_crystal(22.0, 10.7)
    positions, held = wire.positions.copy(), wire.held
    positions[held:-held] += 0.2 * np.random.default_rng(0).standard_normal(positions[held:-held].shape)
    wide = np.arange(-30.0, 30.0, 0.05)
    one = local_densities(positions[None], held, wide, 0.2)[0]
    assert (one > 0).all()
    # Beyond ±30 a Lorentzian of 0.2 holds 2 · 0.2/30π.
    np.testing.assert_allclose(one.sum(1) * 0.05, 1 - 0.4 / (30 * np.pi), atol=1e-3)
    order = np.arange(len(positions))
    order[held:-held] = np.random.default_rng(1).permutation(order[held:-held])
    other = local_densities(positions[order][None], held, wide[::100], 0.2)[0]
    np.testing.assert_allclose(other, one[order][:, ::100], rtol=1e-8)
    with pytest.raises(ValueError, match="broadening"):
        local_densities(positions[None], held, wide, 0.0)
    with pytest.raises(ValueError, match="energies"):
        local_densities(positions[None], held, [np.nan], 0.1)


def test_local_densities_are_those_of_a_dense_inverse() -> None:
    wire = Wire.of_crystal(22.0, 10.7)
    positions, held, a = wire.positions.copy(), wire.held, POTASSIUM.lattice_constant
    positions[held:-held] += 0.2 * np.random.default_rng(2).standard_normal(positions[held:-held].shape)
    step = np.array([a, 0.0, 0.0])
    cells = range(1, 13)
    left = np.concatenate([positions[:held] - n * step for n in cells[::-1]])
    right = np.concatenate([positions[-held:] + n * step for n in cells])
    # Leads long enough that the broadening forgets their ends.
    eta, energy = 0.3, 0.4
    near = np.concatenate([left, positions, right])
    matrix = Orbitals().between(near, near)
    green = np.linalg.inv((energy + 1j * eta) * np.eye(len(near)) - matrix)
    wanted = -np.diag(green).imag[len(left) : -len(right)] / np.pi
    found = local_densities(positions[None], held, [energy], eta)[0, :, 0]
    np.testing.assert_allclose(found, wanted, atol=2e-3 * wanted.max())
