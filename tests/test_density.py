"""Filled block systems: equilibrium against a dense integral, sum rules, and currents that every slice carries."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from mlnegf.transport import Contacts, Lead, System, cubic_lattice, filled_states, green_blocks
from mlnegf.transport.contacts import fermi
from mlnegf.transport.density import band_edges, equilibrium, lowest
from mlnegf.transport.scattering import scattering_states
from mlnegf.units import CONDUCTANCE_QUANTUM


def molecule(size: float = 1.0, field: bool = False, overlap: float = 0.0) -> System:
    """Two orbitals a site, leads that mix them, and a molecule in the middle that is hardly linked."""
    chance = np.random.default_rng(0)
    onsite, hopping = np.array([[0.0, 0.3], [0.3, 0.8]]), np.array([[-0.5, 0.1], [-0.2, -0.3]])
    if field:
        onsite, hopping = onsite + 0.2 * np.array([[0, 1j], [-1j, 0]]), hopping * np.exp(0.3j)
    diagonal = np.repeat(onsite[None], 7, 0)
    upper = np.repeat(hopping[None], 6, 0)
    diagonal[3] += np.diag(chance.normal(size=2))
    upper[[2, 3]] *= 0.4
    lead = (onsite * size, hopping * size)
    if not overlap:
        return System.of(diagonal * size, upper * size, lead, lead)
    beside = overlap * np.array([[1.0, 0.2], [0.0, 0.5]])
    unit = np.eye(2)
    lead = (*lead, unit, beside)
    return System.of(
        diagonal * size, upper * size, lead, lead, (np.repeat(unit[None], 7, 0), np.repeat(beside[None], 6, 0))
    )


def dense_density(system: System, level: float, kT: float, cells: int = 60) -> np.ndarray:
    """⟨n|ρ|n⟩ of a long finite piece, filled by diagonalisation: at kT far above its level spacing it has no ends."""
    sites, block, _ = system.diagonal.shape
    blocks = [system.left.onsite] * cells + list(system.diagonal) + [system.right.onsite] * cells
    links = [system.left.hopping] * cells + list(system.upper) + [system.right.hopping] * cells
    matrix = torch.block_diag(*blocks).to(torch.complex128).numpy()
    for n, link in enumerate(links):
        here, there = slice(n * block, (n + 1) * block), slice((n + 1) * block, (n + 2) * block)
        matrix[here, there], matrix[there, here] = link.numpy(), link.numpy().conj().T
    levels, states = np.linalg.eigh(matrix)
    full = (states / (1 + np.exp((levels - level) / kT))) @ states.conj().T
    slices = [slice((cells + n) * block, (cells + n + 1) * block) for n in range(sites)]
    return np.array([full[here, here] for here in slices])


@pytest.mark.parametrize("field", [False, True], ids=["real", "complex"])
def test_in_equilibrium_every_state_is_filled_by_one_fermi_function(field: bool) -> None:
    """No energy grid, no contour, no self-energy: a long piece of the same wire, diagonalised."""
    system = molecule(field=field)
    found = filled_states(system, Contacts(0.2, 0.2, 0.05))
    assert abs(found.density_matrix.numpy() - dense_density(system, 0.2, 0.05)).max() < 1e-7
    assert found.flux == found.current == 0.0
    assert found.quadrature_error < 1e-6


def test_in_equilibrium_the_lesser_function_is_f_times_the_spectral_function() -> None:
    """∫ f A dE/2π of what both leads inject, on the real axis, is the contour's."""
    system = molecule()
    level, kT = -0.1, 0.08
    edges = band_edges(system.left)
    theta, weight = np.polynomial.legendre.leggauss(80)
    total = torch.zeros_like(system.diagonal)
    for low, high in pairwise(edges):
        angle = torch.as_tensor((theta + 1) * np.pi / 4)
        energies = low + (high - low) * angle.sin().square()
        rule = torch.as_tensor(weight) * np.pi / 4 * (high - low) * (2 * angle).sin()
        if float(high - low) < 1e-9:
            continue
        ((_, states),) = scattering_states(energies, system)
        for site in range(7):
            filled = rule * fermi(energies, level, kT) / (2 * torch.pi)
            total[site] += (filled[:, None, None] * states.spectral_function(site).real).sum(0)
    # What is bound outside the bands the leads do not inject.
    bound = dense_density(system, level, kT) - total.numpy()
    assert np.linalg.eigvalsh(bound).min() > -1e-6
    found, _ = equilibrium(system, level, kT, lowest(system), 1e-9)
    outside = np.linalg.eigvalsh(found.numpy() - total.numpy())
    assert outside.min() > -1e-6
    # Far from the molecule nothing is bound: there it is f A alone.
    assert abs(found.numpy() - total.numpy())[0].max() < 1e-3


def test_all_states_filled_hold_one_electron_an_orbital() -> None:
    """∫ A dE = 2π: with the Fermi level far above the bands ρ is the unit matrix, or S⁻¹ with overlaps."""
    found = filled_states(molecule(), Contacts(30.0, 30.0, 0.3), 1e-9)
    assert abs(found.density_matrix - torch.eye(2)).max() < 1e-7
    system = molecule(overlap=0.1)
    found = filled_states(system, Contacts(30.0, 30.0, 0.3), 1e-9)
    size, cells = 2, 40
    assert system.left.overlap_hopping is not None
    long = np.eye((2 * cells + 1) * size)
    for n in range(2 * cells):
        here, there = slice(n * size, (n + 1) * size), slice((n + 1) * size, (n + 2) * size)
        long[here, there] = system.left.overlap_hopping
        long[there, here] = system.left.overlap_hopping.T
    middle = slice(cells * size, (cells + 1) * size)
    assert abs(found.density_matrix[3].numpy() - np.linalg.inv(long)[middle, middle]).max() < 1e-7


def test_the_current_is_the_same_in_every_slice() -> None:
    """And that of Landauer's formula, both on a grid of their own."""
    system, contacts = molecule(), Contacts(0.25, -0.15, 0.03)
    found = filled_states(system, contacts)
    assert found.flux > 0.01
    assert found.current == pytest.approx(CONDUCTANCE_QUANTUM * found.flux)
    energies = torch.linspace(-1.2, 1.4, 20001, dtype=torch.float64)
    source, drain = contacts.occupation(energies)
    parts = list(scattering_states(energies, system))
    transmission = torch.cat([states.transmission for _, states in parts])
    assert found.flux == pytest.approx(float(torch.trapezoid(transmission * (source - drain), energies)), rel=1e-5)
    slices = torch.cat([states.local_current().sum(-1) for _, states in parts])
    currents = torch.trapezoid(slices * (source - drain)[:, None], energies, dim=0)
    assert float((currents / found.flux - 1).abs().max()) < 1e-5
    turned = filled_states(system, Contacts(-0.15, 0.25, 0.03))
    assert turned.flux == pytest.approx(-found.flux, rel=1e-7)


def test_which_contact_is_the_reference_does_not_matter_where_nothing_is_bound() -> None:
    """A barrier between equal leads, biased: n filled from the left's equilibrium is n filled from the right's."""
    height = 0.8 * np.exp(-((np.arange(9) - 4.0) ** 2) / 2)
    system = cubic_lattice(height[:, None, None] * np.ones((9, 2, 1)), (1.0, 1.0, 0.0))
    contacts = Contacts(1.9, 1.5, 0.05)
    found = filled_states(system, contacts)
    mirrored = filled_states(system, Contacts(1.5, 1.9, 0.05))
    assert abs(found.density_matrix - mirrored.density_matrix.flip(0)).max() < 1e-7
    # A step in energy puts the right lead's bands lower, and makes the right contact the reference.
    for step in (-1e-7, 1e-7):
        moved = System(
            system.diagonal,
            system.upper,
            system.left,
            Lead(system.right.onsite + step * torch.eye(2), system.right.hopping),
        )
        assert abs(filled_states(moved, contacts).density_matrix - found.density_matrix).max() < 1e-5


@pytest.mark.parametrize("size", [1e-19, 1e-3, 1e19])
def test_charge_knows_no_unit(size: float) -> None:
    expected = filled_states(molecule(), Contacts(0.25, -0.15, 0.03))
    found = filled_states(molecule(size), Contacts(0.25 * size, -0.15 * size, 0.03 * size))
    assert abs(found.density_matrix - expected.density_matrix).max() < 1e-9
    assert found.flux / size == pytest.approx(expected.flux, rel=1e-9)


def test_edges_of_a_general_lead() -> None:
    """Bottoms and tops of two chains that do not mix, turned so that no block shows it."""
    turn = np.array([[np.cos(0.3), np.sin(0.3)], [-np.sin(0.3), np.cos(0.3)]])
    onsite, hopping = (torch.as_tensor(turn @ np.diag(d) @ turn.T) for d in ([0.0, 1.0], [-1.0, -0.25]))
    edges = band_edges(Lead(onsite, hopping)).numpy()
    for edge in (-2.0, 2.0, 0.5, 1.5):
        assert abs(edges - edge).min() < 1e-12
    assert band_edges(Lead(torch.zeros(1, 1).double(), torch.ones(1, 1).double())).tolist() == [-2.0]


def test_nothing_below_the_lowest() -> None:
    for overlap in (0.0, 0.1):
        system = molecule(overlap=overlap)
        bottom = lowest(system)
        assert bottom < float(torch.linalg.eigvalsh(system.diagonal).min())
        below = torch.tensor([bottom - 1.0 + 1e-9j, bottom - 0.01 + 1e-9j])
        assert float(green_blocks(below, system).imag.abs().max()) < 1e-6


def test_bad_contacts_are_named() -> None:
    with pytest.raises(ValueError, match="kT = 0"):
        filled_states(molecule(), Contacts(0.0, 0.0, 0.0))
    with pytest.raises(ValueError, match="tolerance = 0"):
        filled_states(molecule(), Contacts(0.0, 0.0, 0.1), 0.0)


def test_the_fermi_function_is_one_function_on_and_off_the_axis() -> None:
    energies = torch.linspace(-3.0, 3.0, 13, dtype=torch.float64)
    on_axis = fermi(energies, 0.2, 0.07)
    assert float((fermi(energies.to(torch.complex128), 0.2, 0.07) - on_axis).abs().max()) < 1e-15
    pole = torch.tensor([0.2 + 3j * np.pi * 0.07 + 1e-6], dtype=torch.complex128)
    assert complex(fermi(pole, 0.2, 0.07)[0]) == pytest.approx(-0.07 / 1e-6, rel=1e-4)
