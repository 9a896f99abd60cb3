"""What a solved device looks like in energy: local density of states, and who carries the current."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch

from mlnegf._common import Floats, reals, require
from mlnegf.scf.problem import Problem
from mlnegf.scf.solve import Solution
from mlnegf.transport.chain_charge import ChainCharge
from mlnegf.transport.chains import Chains, chain_states
from mlnegf.transport.contacts import Contacts
from mlnegf.units import CONDUCTANCE_QUANTUM

MOST_ENERGIES: Final = 2**12
"""Solved at a time."""


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Energy-resolved quantities of one solution; of a p-type device those of its holes, see `Device.polarity_sign`.

    Attributes
    ----------
    energy : ndarray, (E,)
        eV, from the source's Fermi level.
    x : ndarray, (nx,)
        nm.
    density_of_states : ndarray, (E, nx)
        States both contacts inject into, all subbands and both spins, 1/(eV nm).
    electrons : ndarray, (E, nx)
        The same times its occupation.
    transmission : ndarray, (E,)
        Sum over subbands and valleys, one spin.
    current : ndarray, (E,)
        A/eV.
    edges : ndarray, (K, nx)
        Subband energies E_m(x), eV.
    fermi_levels : tuple of float
        Source and drain, eV.
    """

    energy: Floats
    x: Floats
    density_of_states: Floats
    electrons: Floats
    transmission: Floats
    current: Floats
    edges: Floats
    fermi_levels: tuple[float, float]


def spectrum(solution: Solution, energy: Any = None) -> Spectrum:
    """Resolve a solution in energy.

    Parameters
    ----------
    solution : Solution
    energy : array, (E,), optional
        eV, from the source's Fermi level. An energy on a subband's edge in a lead is singular: take others. Unless
        given, 400 from the lowest subband's bottom to where current ends.
    """
    require(isinstance(solution, Solution), "solution", solution, "a Solution, such as solve returns", "spectrum")
    modes, grid = solution.modes, solution.device.grid
    require(
        modes == "uncoupled",
        "modes",
        modes,
        "a solution of uncoupled modes: coupled ones are not resolved in energy",
        caller="spectrum",
    )
    given = None if energy is None else reals(energy, 1)
    require(energy is None or given is not None, "energy", energy, "a list of finite numbers, eV, or None", "spectrum")
    problem = Problem.of(solution.device, solution.gate, solution.drain, solution.filling)
    lines = problem.evaluate(problem.folded(solution.potential)).charge.lines
    chains, contacts = lines.chains, lines.contacts
    points = torch.from_numpy(_window(lines) if given is None else given)
    parts = [_resolved(chains, contacts, some, grid.dx) for some in torch.split(points, MOST_ENERGIES)]
    states, electrons, transmission, current = (torch.cat(part).numpy() for part in zip(*parts, strict=True))
    if not np.isfinite(states).all():
        singular = points.numpy()[~np.isfinite(states).all(1)][0]
        raise ValueError(
            f"spectrum: energy holds {singular}, where there is no answer: a subband's edge in a lead, or far beyond "
            "all bands; take an energy beside it."
        )
    return Spectrum(
        energy=points.numpy(),
        x=grid.x,
        density_of_states=states,
        electrons=electrons,
        transmission=transmission,
        current=current,
        edges=chains.onsite.numpy(),
        fermi_levels=(contacts.source, contacts.drain),
    )


def _resolved(chains: Chains, contacts: Contacts, points: torch.Tensor, dx: float) -> tuple[torch.Tensor, ...]:
    """States and electrons (E, nx), transmission and current (E,) of all subbands."""
    subbands = len(chains.onsite)
    onsite, hopping, degeneracy = (
        values.repeat_interleave(len(points), 0) for values in (chains.onsite, chains.hopping, chains.degeneracy)
    )
    states = chain_states(onsite, hopping, points.repeat(subbands), chains.scattering)
    source, drain = (f[:, None] for f in contacts.occupation(points))

    def total(values: torch.Tensor) -> torch.Tensor:
        return (values * degeneracy[:, None]).reshape(subbands, len(points), -1).sum(0)

    from_source, from_drain = (
        total(injected) / (2 * torch.pi * dx) for injected in (states.left_injected, states.right_injected)
    )
    transmission = total(states.transmission[:, None])[:, 0] / 2
    current = CONDUCTANCE_QUANTUM * transmission * (source - drain)[:, 0]
    return from_source + from_drain, from_source * source + from_drain * drain, transmission, current


def _window(lines: ChainCharge) -> Floats:
    """Energies, eV, from below the lowest subband to 10 kT over its top and both Fermi levels, off round numbers."""
    onsite, contacts = lines.chains.onsite.numpy(), lines.contacts
    lowest = onsite[onsite.max(axis=1).argmin()]
    top = max(lowest.max(), contacts.source, contacts.drain) + 10 * contacts.kT
    return np.linspace(onsite.min() - 2 * contacts.kT, top, 400) + 1.7e-7
