"""One chain between two leads against closed forms, a dense inverse and conservation laws."""

import numpy as np
import pytest
import torch

from mlnegf.nanosheet.coupled import _uniform
from mlnegf.transport.bound_states import bound_states
from mlnegf.transport.chain_charge import ChainCharge
from mlnegf.transport.chain_lead import ChainLead
from mlnegf.transport.chains import Chains, chain_states, hopping_energy, resolvent
from mlnegf.transport.contacts import Contacts
from mlnegf.transport.density import equilibrium
from mlnegf.transport.equilibrium import equilibrium_charge
from mlnegf.transport.nonequilibrium import nonequilibrium_charge

SPACING = 0.25
HOPPING = float(hopping_energy(0.19, SPACING))


def chain(onsite: np.ndarray, energies: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    energy = torch.as_tensor(energies)
    return (
        torch.as_tensor(onsite).expand(len(energy), -1).clone(),
        torch.full((len(energy),), HOPPING, dtype=torch.float64),
        energy,
    )


def one_chain(onsite: np.ndarray, scattering: torch.Tensor | None = None) -> Chains:
    single, four = torch.tensor([[HOPPING], [4.0]], dtype=torch.float64)
    return Chains(torch.as_tensor(onsite)[None], single, SPACING, four, scattering)


def barrier(sites: int = 80, drop: float = 0.3) -> np.ndarray:
    x = np.arange(sites) * SPACING
    return 0.3 * np.exp(-(((x - 9) / 3) ** 2)) - drop / (1 + np.exp(-(x - 11) / 0.7))


def states_energy() -> torch.Tensor:
    return torch.linspace(0.001, 2.0, 200, dtype=torch.float64)


def dense_green(onsite: np.ndarray, energy: float) -> np.ndarray:
    """G = [E − H − Σ₁ − Σ₂]⁻¹ by a dense inverse."""
    sites = len(onsite)
    matrix = np.diag(energy - 2 * HOPPING - onsite).astype(complex)
    matrix += HOPPING * (np.eye(sites, k=1) + np.eye(sites, k=-1))
    for end in (0, -1):
        phase = ChainLead.of(
            torch.tensor([energy - onsite[end]], dtype=torch.float64), torch.tensor([HOPPING], dtype=torch.float64)
        ).phase.numpy()[0]
        matrix[end, end] += HOPPING * phase
    return np.linalg.inv(matrix)


def test_uniform_chain_transmits_everything_in_its_band_and_nothing_outside() -> None:
    inside = np.linspace(1e-6, 4 * HOPPING - 1e-6, 401)
    outside = np.array([-1.0, -1e-3, 4 * HOPPING + 1e-3, 4 * HOPPING + 1.0])
    states = chain_states(*chain(np.zeros(60), inside))
    assert abs(states.transmission - 1).max() < 1e-10
    assert chain_states(*chain(np.zeros(60), outside)).transmission.abs().max() == 0.0


@pytest.mark.parametrize("impurity", [-0.7, 0.2, 3.0])
def test_one_impurity(impurity: float) -> None:
    """T = 4t²sin²k / (U² + 4t²sin²k)."""
    onsite = np.zeros(41)
    onsite[20] = impurity
    energy = np.linspace(0.01, 4 * HOPPING - 0.01, 301)
    sine = np.sin(np.arccos(1 - energy / (2 * HOPPING)))
    exact = 4 * HOPPING**2 * sine**2 / (impurity**2 + 4 * HOPPING**2 * sine**2)
    found = chain_states(*chain(onsite, energy)).transmission.numpy()
    assert abs(found - exact).max() < 1e-10


def test_the_eckart_barrier_is_approached_with_second_order() -> None:
    """T of V₀ / cosh²(x/w): Landau & Lifshitz, Quantum Mechanics, §25."""
    height, width, energy, mass = 0.2, 1.0, 0.15, 0.19
    errors = []
    for spacing in (0.2, 0.1, 0.05):
        hopping = float(hopping_energy(mass, spacing))
        x = np.arange(-12, 12 + spacing / 2, spacing)
        onsite = torch.as_tensor(height / np.cosh(x / width) ** 2)[None]
        found = chain_states(onsite, *torch.tensor([[hopping], [energy]], dtype=torch.float64)).transmission.item()
        wave_number = np.sqrt(energy / hopping) / spacing
        strength = 4 * height * width**2 / (hopping * spacing**2) - 1
        rise = np.sinh(np.pi * wave_number * width) ** 2
        errors.append(abs(found - rise / (rise + np.cosh(np.pi / 2 * np.sqrt(strength)) ** 2)))
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert ((orders > 1.9) & (orders < 2.1)).all(), orders


def test_current_is_the_same_through_every_bond() -> None:
    states = chain_states(*chain(barrier(), states_energy().numpy()))
    bonds = states.bond_current(torch.full((200,), HOPPING, dtype=torch.float64))
    assert (bonds - states.transmission[:, None]).abs().max() < 1e-12
    # Far under the barrier T is 2e-6 and rounding shows; the current, their sum, is the same to far better than 1e-9.
    occupied = torch.exp(-states_energy() / 0.02585)
    total = occupied @ bonds
    assert (abs(total / (occupied @ states.transmission) - 1)).max() < 1e-9


def test_the_spectral_function_is_the_sum_of_both_injected_ones() -> None:
    energies = np.concatenate([np.linspace(-0.29, -0.01, 60), np.linspace(0.001, 2.0, 200)])
    states = chain_states(*chain(barrier(), energies))
    difference = states.density_of_states() - states.left_injected - states.right_injected
    assert difference.abs().max() < 1e-9


def test_everything_agrees_with_a_dense_inverse() -> None:
    onsite = barrier()
    for energy in (-0.2, 0.05, 0.31, 1.5):
        green = dense_green(onsite, energy)
        states = chain_states(*chain(onsite, np.array([energy])))
        assert np.allclose(states.density_of_states()[0], -2 * green.diagonal().imag, atol=1e-10)
        gammas = [side.gamma.item() for side in (states.left, states.right)]
        assert np.isclose(states.transmission.item(), gammas[0] * gammas[1] * abs(green[0, -1]) ** 2, atol=1e-12)
        assert np.allclose(states.left_injected[0], gammas[0] * abs(green[:, 0]) ** 2, atol=1e-10)


def test_gamma_is_twice_the_imaginary_self_energy() -> None:
    energy = torch.linspace(-0.5, 4 * HOPPING + 0.5, 97, dtype=torch.float64)
    side = ChainLead.of(energy, torch.full((97,), HOPPING, dtype=torch.float64))
    sigma = -HOPPING * side.phase
    assert torch.allclose(side.gamma, -2 * sigma.imag, atol=1e-12)
    # The lead continued by one site is the same lead: Σ = t² / (E − 2t − Σ).
    assert torch.allclose(sigma * (energy - 2 * HOPPING - sigma), torch.full_like(sigma, HOPPING**2), atol=1e-10)


def test_every_site_holds_one_state() -> None:
    """∫ A dE / 2π, by the Gauss rule whose weight is the band's own square root, plus the bound states, is 1."""
    onsite, count = np.zeros(30), 4000
    onsite[10:20] = -0.4
    angle = (np.arange(count) + 0.5) * np.pi / count
    energy = 2 * HOPPING * (1 - np.cos(angle))
    states = chain_states(*chain(onsite, energy))
    weight = torch.as_tensor(2 * HOPPING * np.sin(angle) * np.pi / count)
    filled = (states.density_of_states() * weight[:, None]).sum(0) / (2 * np.pi)
    chains = Chains(torch.as_tensor(onsite)[None], torch.tensor([HOPPING], dtype=torch.float64), SPACING, torch.ones(1))
    bound = bound_states(chains, Contacts(0.0, 0.0, 0.02585), "threshold")
    assert len(bound.mode) >= 2
    assert (filled < 0.9).any(), "without the bound states the sum is short"
    filled += torch.as_tensor((bound.wave**2 / bound.norm[:, None]).sum(0))
    assert abs(filled - 1).max() < 1e-6


def test_at_equilibrium_the_charge_is_the_spectral_function_times_the_fermi_function() -> None:
    onsite, kT = barrier(drop=0.0), 0.02585
    chains = one_chain(onsite)
    contacts = Contacts(0.05, 0.05, kT)
    injected = nonequilibrium_charge(chains, contacts, 1.0, 1e-9)
    root = np.linspace(0, np.sqrt(1.2), 20001)[1:]
    states = chain_states(*chain(onsite, root**2))
    occupied = states.density_of_states().numpy() / (1 + np.exp((root[:, None] ** 2 - 0.05) / kT))
    direct = 4.0 / (2 * np.pi * SPACING) * np.trapezoid(occupied * 2 * root[:, None], root, axis=0)
    found = injected.density + equilibrium_charge(chains, contacts, 1.0, 1e-9).density
    assert np.allclose(found[0], direct, rtol=2e-5)
    assert injected.current.item() == 0.0


def test_the_quadrature_keeps_its_promise() -> None:
    chains = one_chain(barrier())
    contacts = Contacts(0.05, -0.3, 0.02585)
    exact = nonequilibrium_charge(chains, contacts, 1.0, 1e-11)
    for tolerance in (1e-4, 1e-6, 1e-8):
        found = nonequilibrium_charge(chains, contacts, 1.0, tolerance)
        assert found.unresolved == 0.0
        assert (found.density - exact.density).abs().max() < tolerance
        assert abs(found.current / exact.current - 1).item() < tolerance
        assert len(found.points.mode) <= len(exact.points.mode)
        between = equilibrium_charge(chains, contacts, 1.0, tolerance)
        assert between.unresolved == 0.0
        assert (between.density - equilibrium_charge(chains, contacts, 1.0, 1e-11).density).abs().max() < tolerance


def test_the_contour_gives_the_charge_of_the_real_axis() -> None:
    onsite, kT = barrier(), 0.02585
    chains = one_chain(onsite)
    contacts = Contacts(0.05, -0.1, kT)
    low, high = onsite[-1], onsite[0]
    angle = (np.arange(4000) + 0.5) * np.pi / 8000
    root = (np.arange(4000) + 0.5) * 1.1 / 4000
    energy = np.concatenate([low + (high - low) * np.sin(angle) ** 2, high + root**2])
    weight = np.concatenate([(high - low) * np.sin(2 * angle) * np.pi / 8000, 2 * root * 1.1 / 4000])
    states = chain_states(*chain(onsite, energy))
    source, drain = (1 / (1 + np.exp((energy[:, None] - level) / kT)) for level in (0.05, -0.1))
    filled = states.left_injected.numpy() * source + states.right_injected.numpy() * drain
    direct = 4.0 / (2 * np.pi * SPACING) * weight @ filled
    found = (
        equilibrium_charge(chains, contacts, 1.0, 1e-9).density
        + nonequilibrium_charge(chains, contacts, 1.0, 1e-9).density
    )
    assert np.allclose(found[0], direct, atol=1e-6)


@pytest.mark.parametrize("seed", range(40))
def test_the_reported_error_bounds_the_true_one_with_narrow_resonances(seed: int) -> None:
    """Two barriers of random strength and place; at equilibrium the charge is known by another contour."""
    chance, x = np.random.default_rng(seed), np.arange(120)
    onsite = np.where(x > 60, -0.2 * chance.uniform(), 0.0)
    start, gap, widths = chance.integers(10, 40), chance.integers(5, 30), chance.integers(2, 14, 2)
    height, level = chance.uniform(0.3, 1.5), chance.uniform(0.0, 0.4)
    onsite[start : start + widths[0]] += height
    onsite[start + widths[0] + gap : start + widths[0] + gap + widths[1]] += height
    chains = one_chain(onsite)
    contacts = Contacts(level, level, chance.choice([0.0066, 0.02585]))
    single, injected = equilibrium_charge(chains, contacts, 1.0), nonequilibrium_charge(chains, contacts, 1.0)
    assert single.unresolved == 0.0
    total = single.density + injected.density + bound_states(chains, contacts).density(chains)
    system = _uniform((torch.as_tensor(onsite) + 2 * HOPPING)[:, None, None], HOPPING)
    matrix, left_over = equilibrium(system, level, contacts.kT, float(onsite.min()), 1e-9 / (2 * np.pi))
    exact = 4 / SPACING * matrix[:, 0, 0]
    bound = single.quadrature_error + injected.quadrature_error + left_over
    assert float((total[0] - exact).abs().max()) <= bound + 1e-9


@pytest.mark.parametrize("thickness", [4, 12, 40])
def test_a_level_behind_a_barrier_is_filled_by_the_one_contact_it_leaks_into(thickness: int) -> None:
    """Widths of the level from 1e-4 to below 1e-15 eV; a grid on the real axis would have to find them."""
    onsite = np.zeros(120)
    onsite[40:], onsite[20:40], onsite[40 : 40 + thickness] = -0.4, -0.35, 0.5
    chains = one_chain(onsite)
    contacts = Contacts(0.2, -0.15, 0.02585)
    found = equilibrium_charge(chains, contacts, 1.0, 1e-8)
    assert found.unresolved == 0.0
    in_well = float(found.density[0, :42].sum()) * SPACING
    closed = np.diag(2 * HOPPING + onsite[:50]) - HOPPING * (np.eye(50, k=1) + np.eye(50, k=-1))
    levels = np.linalg.eigvalsh(closed)
    filled = 4 * (1 / (1 + np.exp((levels[levels < -0.01] + 0.15) / 0.02585))).sum()
    assert in_well == pytest.approx(filled, abs=0.02 if thickness > 4 else 0.3)


def test_the_resolvent_continues_the_spectral_function_off_the_real_axis() -> None:
    onsite, energy = barrier(), np.linspace(-0.25, 1.0, 40)
    near = resolvent(*chain(onsite, energy + 1e-9j))
    assert np.allclose(-2 * near.diagonal.imag, chain_states(*chain(onsite, energy)).density_of_states(), atol=1e-5)


def test_a_narrow_resonance_is_resolved_or_reported() -> None:
    onsite = np.zeros(80)
    onsite[30:33], onsite[47:50] = 1.2, 1.2
    chains = one_chain(onsite)
    contacts = Contacts(0.6, 0.55, 0.02585)
    found, exact = (nonequilibrium_charge(chains, contacts, 1.0, tolerance) for tolerance in (1e-6, 1e-10))
    assert found.unresolved == 0.0
    assert (found.density - exact.density).abs().max() < 1e-6


def leaky(sites: int, share: float, reach: int) -> torch.Tensor:
    site = torch.arange(sites)
    return torch.stack([site < reach, site >= sites - reach]).double() * share


@pytest.mark.parametrize("energy", [-0.2, 0.05, 0.31, 1.5])
def test_side_chains_agree_with_a_dense_inverse(energy: float) -> None:
    """Tr and diagonals of G Γ G† with every side chain a lead of its own."""
    onsite, scattering = barrier(), leaky(80, 0.05, 20)
    phases = [
        ChainLead.of(
            torch.tensor([energy - onsite[end]], dtype=torch.float64), torch.tensor([HOPPING], dtype=torch.float64)
        ).phase.numpy()[0]
        for end in (0, -1)
    ]
    sigma = sum(HOPPING * np.diag(share) * (1 - phase) for share, phase in zip(scattering.numpy(), phases, strict=True))
    green = np.linalg.inv(np.linalg.inv(dense_green(onsite, energy)) - sigma)
    gammas = [2 * HOPPING * phase.imag * share for phase, share in zip(phases, scattering.numpy().copy(), strict=True)]
    gammas[0][0] += 2 * HOPPING * phases[0].imag
    gammas[1][-1] += 2 * HOPPING * phases[1].imag
    injected = [green @ np.diag(gamma) @ green.conj().T for gamma in gammas]
    states = chain_states(*chain(onsite, np.array([energy])), scattering)
    assert np.allclose(states.left_injected[0], injected[0].diagonal().real, atol=1e-10)
    assert np.allclose(states.right_injected[0], injected[1].diagonal().real, atol=1e-10)
    assert np.allclose(states.density_of_states()[0], -2 * green.diagonal().imag, atol=1e-9)
    assert states.transmission.item() == pytest.approx(np.trace(np.diag(gammas[0]) @ injected[1]).real, abs=1e-12)


def test_waves_are_lost_over_the_mean_free_path() -> None:
    """From lead to lead, past side chains on all sites, T falls as exp(−L/λ), at any energy and mass."""
    energy, lengths = np.array([0.05, 0.2, 0.6]), np.array([80, 160])
    kept = []
    for sites in lengths:
        states = chain_states(*chain(np.zeros(sites), energy), leaky(sites, 0.0125, sites // 2))
        kept.append((states.left.gamma * states.right.gamma / states.determinant.abs().square()).numpy())
    path = (lengths[1] - lengths[0]) * SPACING / np.log(kept[0] / kept[1])
    assert np.allclose(path, SPACING / 0.0125, rtol=0.02)


def test_contacts_that_scatter_keep_equilibrium_and_lose_no_current() -> None:
    onsite, kT = barrier(drop=0.0), 0.02585
    chains = one_chain(onsite, leaky(80, 0.05, 20))
    biased, resting = Contacts(0.05, -0.1, kT), Contacts(0.05, 0.05, kT)
    assert nonequilibrium_charge(chains, resting, 1.0).current.item() == 0.0
    current = nonequilibrium_charge(chains, biased, 1.0, 1e-8).current.item()
    assert current > 0.0
    # Far from the other contact each is filled as if that one were not there.
    charges = [
        equilibrium_charge(chains, contacts, 1.0, 1e-8).density
        + nonequilibrium_charge(chains, contacts, 1.0, 1e-8).density
        for contacts in (resting, biased)
    ]
    assert float((charges[1] - charges[0])[0, 0] / charges[0][0, 0]) == pytest.approx(0.0, abs=0.05)


@pytest.mark.parametrize("barrier", [0.15, -0.25])
def test_what_first_order_leaves_of_moved_levels(barrier: float) -> None:
    """Against charge and current solved afresh at the moved energies; with bound states in the well."""
    x = (np.arange(80) + 0.5) * 0.25
    onsite = barrier * np.exp(-(((x - 10) / 3) ** 2)) - 0.1 / (1 + np.exp(-(x - 13) / 0.7))
    contacts = Contacts(source=0.05, drain=-0.05, kT=0.02585)
    push = torch.as_tensor(0.004 * np.sin(x / 2.5))[None]
    charge = ChainCharge.of(Chains.one(onsite, mass=0.19, spacing=0.25, degeneracy=4.0), contacts, 1.0, 1e-9)
    moved = ChainCharge.of(
        Chains.one(onsite + push[0].numpy(), mass=0.19, spacing=0.25, degeneracy=4.0), contacts, 1.0, 1e-9
    )
    linear_density, linear_current = charge.respond(push)
    density, current = (all_of - part for all_of, part in zip(charge.moved(push), charge.respond(push), strict=True))
    exact = moved.density - charge.density - linear_density
    assert torch.allclose(density, exact, atol=1e-8 + 1e-3 * float(exact.abs().max()))
    assert float(current.sum()) == pytest.approx(
        float((moved.current - charge.current - linear_current).sum()), rel=1e-3
    )
    twice = charge.moved(2 * push)[0] - 2 * linear_density
    assert float(twice.abs().max()) == pytest.approx(4 * float(density.abs().max()), rel=0.3)
