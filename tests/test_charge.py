"""One NEGF solve: conservation, symmetry, and the change when the quadrature is refined."""

import numpy as np
import pytest

import mlnegf
from mlnegf._common import Floats
from mlnegf.nanosheet.charge import Charge, Negf
from mlnegf.nanosheet.device import Device
from mlnegf.nanosheet.geometry import CROSS_SECTIONS
from mlnegf.scf.problem import Problem

SMALL = {"width": 4.0, "gate_length": 6.0, "source_length": 5.0, "drain_length": 5.0, "spacing": (0.5, 0.5, 0.5)}


def potential(device: Device, gate: float, drain: float) -> Floats:
    """A barrier that a gate lowers and a drain tilts, bent across the section."""
    grid = device.grid
    doped = 1 / (1 + np.exp((grid.x - 5.5) / 0.6)) + 1 / (1 + np.exp(-(grid.x - 10.5) / 0.6))
    tilt = drain / (1 + np.exp(-(grid.x - 9.5) / 0.8))
    across = (grid.y[:, None] / device.width) ** 2 + (grid.z / device.thickness) ** 2
    along = gate + (0.55 - gate) * doped + tilt
    return grid.fold(along[:, None, None] + 0.1 * (1 - doped)[:, None, None] * across)


def solve(drain: float, tolerance: float = 1e-6, filling: str = "threshold", **options: object) -> Charge:
    device = Device(**{**SMALL, **options})  # type: ignore[arg-type]
    return Negf.of(device, filling, tolerance)(potential(device, 0.35, drain), drain)


def test_no_voltage_no_current() -> None:
    assert solve(0.0).current == 0.0


def test_current_is_the_same_at_every_slice() -> None:
    charge = solve(0.3)
    chains, injected = charge.lines.chains, charge.lines.nonequilibrium
    mode = injected.points.mode.repeat_interleave(15)
    bonds = injected.states.bond_current(chains.hopping[mode])
    occupation = [f.reshape(-1) for f in charge.lines.contacts.occupation(injected.points.energy)]
    weight = injected.points.weight.reshape(-1) * chains.degeneracy[mode] / 2 * (occupation[0] - occupation[1])
    slices = (weight[:, None] * bonds).sum(0)
    assert (slices / slices[0] - 1).abs().max() < 1e-9
    assert float(slices[0]) * 7.748091729e-05 == pytest.approx(charge.current, rel=1e-9)


def test_a_mirrored_device_at_no_bias_has_mirrored_charge() -> None:
    density = solve(0.0).density
    assert np.allclose(density, density[::-1], rtol=1e-9, atol=1e-12)


def test_refining_the_quadrature_changes_nothing() -> None:
    coarse, fine = solve(0.3), solve(0.3, 1e-9)
    assert abs(coarse.current / fine.current - 1) < 1e-6
    assert abs(coarse.density - fine.density).max() < 1e-6 * fine.density.max()
    assert coarse.lines.unresolved == fine.lines.unresolved == 0.0


def test_the_charge_left_out_is_below_its_promise() -> None:
    device = Device(**SMALL)  # type: ignore[arg-type]
    kept, more = (Negf(device, Negf.of(device).basis, left_out=share) for share in (1e-6, 1e-12))
    few, many = (solver(potential(device, 0.35, 0.3), 0.3) for solver in (kept, more))
    assert len(many.rank) > len(few.rank)
    total = (many.density * device.grid.volumes).sum()
    assert abs(((many.density - few.density) * device.grid.volumes).sum()) < 1e-6 * total


def test_charge_is_electrons_in_the_silicon_only() -> None:
    charge = solve(0.3)
    grid = charge.device.grid
    outside = np.setdiff1d(np.arange(len(grid.images)), grid.channel_cells)
    assert (charge.density[:, outside] == 0).all()
    lines = (charge.density * grid.volumes).sum(axis=1) / grid.dx
    assert np.allclose(lines, charge.line_density.sum(0), rtol=1e-10)


def test_the_slope_is_that_of_a_rigid_shift() -> None:
    charge, step = solve(0.0), 1e-4
    device = charge.device
    shifted = [Negf.of(device, "threshold")(potential(device, 0.35, 0.0) + sign * step, 0.0) for sign in (1, -1)]
    # All levels fall by the step while the Fermi levels stay; states that only exist between the edges move too.
    exact = (shifted[0].density - shifted[1].density) / (2 * step)
    assert abs(charge.slope - exact).max() < 0.02 * exact.max()


@pytest.mark.parametrize("shape", sorted(CROSS_SECTIONS))
def test_every_section_conducts(shape: str) -> None:
    charge = solve(0.3, cross_section=shape)
    assert charge.current > 0
    assert np.isfinite(charge.density).all()
    assert (charge.density >= 0).all()


@pytest.mark.parametrize("kelvin", [4.0, 10.0])
@pytest.mark.parametrize("bias", [(-0.5, 0.05), (-0.5, 0.5), (-1.0, 0.0), (0.0, 0.5)])
def test_a_cold_and_empty_device_carries_nothing(kelvin: float, bias: tuple[float, float]) -> None:
    """The gate has emptied source and drain: every edge lies hundreds of kT above the Fermi levels."""
    device = Device(**{**SMALL, "temperature": kelvin, "doping": 1e18})  # type: ignore[arg-type]
    solution = mlnegf.solve(device, *bias)
    assert solution.converged
    assert 0 <= solution.current < 1e-30
    assert 0 <= solution.charge.max() < 1e-20


def test_a_closed_channel_holds_no_negative_charge() -> None:
    """Where less than the error of the energy integral is left, its sign is noise: there were −9e6 cm⁻³ here."""
    closed = Device(temperature=77.0, width=4.0, spacing=(0.25, 0.5, 0.5))
    problem = Problem.of(closed, -1.0, 0.05)
    charge = problem.evaluate(problem.semiclassical()).charge
    assert charge.density.min() == 0.0
