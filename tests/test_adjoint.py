"""Gradients of transmission and of surface Green's functions, by every entry of the Hamiltonian."""

import warnings

import numpy as np
import pytest
import torch

from mlnegf import transport
from mlnegf.transport.lead_adjoint import stein

Tensor = torch.Tensor
Entries = dict[str, Tensor]

WEIGHTS = torch.tensor([0.3, 1.0, -0.7], dtype=torch.float64)
SEEDS = {(1, False): 100, (1, True): 100, (2, False): 203, (2, True): 203, (4, False): 402, (4, True): 401}
"""By block and kind: of systems whose leads have no band edge next to an energy asked."""
SEEDS |= {(3, kind): 304 for kind in (False, True)}
SIXTH = ((1, 3 / 4), (2, -3 / 20), (3, 1 / 60))
"""Central differences of sixth order."""


def hermitian(block: Tensor) -> Tensor:
    return (block + block.mH) / 2


def drawn(block: int, sites: int, kind: torch.dtype, overlap: bool) -> Entries:
    """A random system; entries of Hermitian blocks are made Hermitian when they are used."""
    generator = torch.Generator().manual_seed(SEEDS[block, kind.is_complex])

    def random(*shape: int, size: float = 0.3) -> Tensor:
        return size * torch.randn(*shape, generator=generator, dtype=kind)

    unit = torch.eye(block, dtype=kind)
    entries = {
        "energies": torch.tensor([-0.4, 0.3, 0.9], dtype=torch.float64),
        "diagonal": random(sites, block, block),
        "upper": random(sites - 1, block, block) - unit,
        "left onsite": random(block, block),
        "left hopping": random(block, block) - unit,
        "right onsite": random(block, block),
        "right hopping": random(block, block) - unit,
    }
    names = ("overlap", "overlap upper", "left overlap", "left beside", "right overlap", "right beside")
    shapes = ((sites, block, block), (sites - 1, block, block)) + ((block, block),) * 4
    return entries | {name: random(*shape, size=0.05) for name, shape in zip(names, shapes, strict=True) if overlap}


def transmitted(entries: Entries) -> Tensor:
    unit = torch.eye(entries["diagonal"].shape[-1], dtype=entries["diagonal"].dtype)
    leads = [[hermitian(entries[f"{side} onsite"]), entries[f"{side} hopping"]] for side in ("left", "right")]
    overlap = None
    if "overlap" in entries:
        overlap = unit + hermitian(entries["overlap"]), entries["overlap upper"]
        for side, lead in zip(("left", "right"), leads, strict=True):
            lead += [unit + hermitian(entries[f"{side} overlap"]), entries[f"{side} beside"]]
    found: Tensor = transport.transmission(
        entries["energies"], hermitian(entries["diagonal"]), entries["upper"], *leads, overlap=overlap
    )
    return found


def slope(function, entries: Entries, name: str, direction: Tensor, step: float) -> float:  # type: ignore[no-untyped-def]
    total = 0.0
    for count, weight in SIXTH:
        sides = (function({**entries, name: entries[name] + sign * count * step * direction}) for sign in (1, -1))
        above, below = (float((WEIGHTS * side).sum()) for side in sides)
        total += weight * (above - below) / step
    return total


def compare(function, entries: Entries, limit: float) -> None:  # type: ignore[no-untyped-def]
    tracked = {name: value.clone().requires_grad_() for name, value in entries.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (WEIGHTS * function(tracked)).sum().backward()
    for name, value in entries.items():
        direction = torch.randn(value.shape, generator=torch.Generator().manual_seed(1), dtype=value.dtype)
        gradient = tracked[name].grad
        assert gradient is not None
        found = float((gradient.conj() * direction).sum().real)
        errors = [abs(slope(function, entries, name, direction, step) / found - 1) for step in (1e-2, 3e-3, 1e-3, 5e-4)]
        assert min(errors) < limit, (name, errors)


@pytest.mark.parametrize("overlap", [False, True], ids=["orthogonal", "overlaps"])
@pytest.mark.parametrize("kind", [torch.float64, torch.complex128], ids=["real", "complex"])
@pytest.mark.parametrize(("block", "sites"), [(1, 4), (2, 3), (4, 5)])
def test_transmission_follows_every_entry(block: int, sites: int, kind: torch.dtype, overlap: bool) -> None:
    compare(transmitted, drawn(block, sites, kind, overlap), 1e-7 if overlap else 1e-8)


def test_gradcheck() -> None:
    entries = drawn(2, 3, torch.complex128, False)
    names = list(entries)

    def of_all(*values: Tensor) -> Tensor:
        return transmitted(dict(zip(names, values, strict=True)))

    assert torch.autograd.gradcheck(of_all, [entries[name].clone().requires_grad_() for name in names], atol=1e-6)


def test_closed_forms_of_the_leads_are_differentiated_too() -> None:
    """Uniform hoppings, whose self-energies are no result of decimation, degenerate levels among them."""
    entries = drawn(3, 4, torch.float64, False)
    for side in ("left", "right"):
        entries[f"{side} hopping"] = -1.2 * torch.eye(3, dtype=torch.float64)
        entries[f"{side} onsite"] = torch.diag(torch.tensor([0.1, 0.1, -0.4], dtype=torch.float64))
    compare(transmitted, entries, 1e-8)


@pytest.mark.parametrize("unit", [1e-19, 1.0, 27.2])
def test_any_unit_of_energy(unit: float) -> None:
    entries = drawn(2, 3, torch.float64, False)
    tracked = {name: (value * unit).requires_grad_() for name, value in entries.items()}
    transmitted(tracked).sum().backward()
    plain = {name: value.clone().requires_grad_() for name, value in entries.items()}
    transmitted(plain).sum().backward()
    for name in entries:
        scaled, one = tracked[name].grad, plain[name].grad
        assert scaled is not None
        assert one is not None
        assert torch.allclose(scaled * unit, one, rtol=1e-7, atol=1e-9)


def test_batches_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = drawn(3, 4, torch.complex128, True)
    gradients = []
    for memory in (2**28, 1):
        monkeypatch.setattr(transport.scattering, "MEMORY", memory)
        tracked = {name: value.clone().requires_grad_() for name, value in entries.items()}
        transmitted(tracked).sum().backward()
        gradients.append([value.grad for value in tracked.values()])
    for one, other in zip(*gradients, strict=True):
        assert one is not None
        assert other is not None
        assert torch.allclose(one, other, rtol=1e-10, atol=1e-12)


def surface(entries: Entries) -> Tensor:
    green = transport.surface_green_function(
        entries["energies"], transport.Lead(hermitian(entries["left onsite"]), entries["left hopping"]), "left"
    )
    return green.real.sum((-2, -1)) + 0.3 * green.imag[:, 0, 0]


def test_a_surface_follows_its_lead() -> None:
    entries = drawn(3, 4, torch.complex128, False)
    chosen = {name: entries[name] for name in ("energies", "left onsite", "left hopping")}
    compare(surface, chosen, 1e-8)


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_chain_in_closed_form(side: str) -> None:
    """g = (E − t²g)⁻¹ has dg/dE = −g²/(1 − t²g²)."""
    t = 0.7
    energies = torch.linspace(-1.3, 1.3, 27, dtype=torch.float64).requires_grad_()
    lead = transport.Lead(torch.zeros(1, 1, dtype=torch.float64), torch.full((1, 1), -t, dtype=torch.float64))
    green = transport.surface_green_function(energies, lead, side)[:, 0, 0]
    exact = -(green**2) / (1 - t**2 * green**2)
    for part, value in ((green.real, exact.real), (green.imag, exact.imag)):
        (found,) = torch.autograd.grad(part.sum(), energies, retain_graph=True)
        assert torch.allclose(found, value.detach(), rtol=1e-11)


@pytest.mark.parametrize("radius", [1.0, 0.999, 0.5])
def test_stein(radius: float) -> None:
    """Against the sum of modes, open ones included."""
    generator = torch.Generator().manual_seed(0)
    modes = [torch.randn(5, 6, 6, generator=generator, dtype=torch.complex128) for _ in range(3)]
    phases = torch.rand(2, 5, 6, generator=generator, dtype=torch.float64) * 2 + 0.2
    values = radius * torch.exp(1j * phases)
    ahead, back = (mode * value[:, None] @ torch.linalg.inv(mode) for mode, value in zip(modes, values, strict=False))
    found, residual = stein(ahead, back, modes[2])
    inner = torch.linalg.inv(modes[0]) @ modes[2] @ modes[1] / (1 - values[0][:, :, None] * values[1][:, None])
    exact = modes[0] @ inner @ torch.linalg.inv(modes[1])
    assert float(residual.max()) < 1e-12
    assert float((found - exact).abs().max() / exact.abs().max()) < 1e-9


def test_a_band_edge_is_refused() -> None:
    diagonal = torch.tensor([0.0, 0.5, 0.0, 0.0], dtype=torch.float64).reshape(4, 1, 1).requires_grad_()
    upper = -torch.ones(3, 1, 1, dtype=torch.float64)
    lead = torch.zeros(1, 1), -torch.ones(1, 1)
    found = transport.transmission(torch.tensor([2.0 - 1e-15], dtype=torch.float64), diagonal, upper, lead, lead)
    with pytest.raises(ValueError, match="band edge of the left lead"):
        found.sum().backward()


def test_a_second_derivative_is_refused_not_wrong() -> None:
    entries = {name: value.requires_grad_() for name, value in drawn(2, 3, torch.float64, False).items()}
    with pytest.raises(RuntimeError, match="transmission: second derivatives"):
        torch.autograd.grad(transmitted(entries).sum(), entries["diagonal"], create_graph=True)


@pytest.mark.parametrize("name", ["energies", "diagonal", "left onsite"])
def test_no_gradient_is_cut_off_in_silence(name: str) -> None:
    """What is not differentiated says so."""
    entries = drawn(2, 3, torch.float64, False)
    entries = {key: hermitian(value) if value.ndim > 1 else value for key, value in entries.items()}
    entries[name].requires_grad_()
    given = (
        entries["energies"],
        entries["diagonal"],
        entries["upper"],
        (entries["left onsite"], entries["left hopping"]),
        (entries["right onsite"], entries["right hopping"]),
    )
    system = transport.System.of(*given[1:])
    asked = {
        "density_of_states": lambda: transport.density_of_states(*given),
        "scattering_states": lambda: next(iter(transport.scattering_states(given[0], system))),
        "green_blocks": lambda: transport.green_blocks(given[0] + 0.1j, system),
        "filled_states": lambda: transport.filled_states(system, transport.Contacts(0.0, 0.0, 0.1)),
        "self_energy": lambda: transport.self_energy(given[0], system.left, "left"),
    }
    for words, ask in asked.items():
        if name == "energies" and words == "filled_states":
            continue
        if name == "diagonal" and words == "self_energy":
            continue
        with pytest.raises(ValueError, match=f"(?s){words}.*detach"):
            ask()


def test_arrays_come_back_as_arrays() -> None:
    entries = {name: value.numpy() for name, value in drawn(1, 3, torch.float64, False).items()}
    lead = entries["left onsite"], entries["left hopping"]
    found = transport.transmission(entries["energies"], entries["diagonal"], entries["upper"], lead, lead)
    assert isinstance(found, np.ndarray)
