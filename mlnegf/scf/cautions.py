"""What the equations themselves cannot tell of a solution: marks of another branch, charge lost, where the model ends.

Each generator yields one sentence for each thing found, with what cures it.
"""

from collections.abc import Iterator

import torch

from mlnegf._common import Floats
from mlnegf.scf.point import Point
from mlnegf.transport.band_limit import BandLimit


def _ends(point: Point) -> tuple[tuple[str, Floats], ...]:
    """Return the lowest subband along source and drain, each from its lead, eV."""
    chains, device = point.charge.lines.chains, point.problem.device
    lowest = chains.onsite.numpy()[chains.onsite[:, 0].argmin()]
    source, drain = (round(length / device.grid.dx) for length in (device.source_length, device.drain_length))
    return ("source", lowest[:source]), ("drain", lowest[::-1][:drain])


def slopes(point: Point, flat: float = 0.01) -> Iterator[str]:
    """Say of contacts that are not `flat`, eV."""
    away = max(1, round(1.0 / point.problem.device.grid.dx))
    for name, energy in _ends(point):
        if (slope := abs(energy[0] - energy[min(away, len(energy) - 1)])) > flat:
            yield (
                f"the {name} is not flat: its lowest subband moves {slope * 1e3:.0f} meV in 1 nm; "
                f"lengthen {name}_length"
            )


def wells(point: Point, deep: float = 0.05) -> Iterator[str]:
    """Say of wells more than `deep`, eV, which mark a solution that equilibrium may not lead to."""
    for name, energy in _ends(point):
        if (depth := energy[0] - energy.min()) > deep:
            yield (
                f"a well {depth * 1e3:.0f} meV below the lead's edge lies in the {name}: this may not be the solution "
                "that equilibrium leads to; come from a lower bias"
            )


def lost(point: Point) -> Iterator[str]:
    """Say what of the charge was lost, and where its model ends."""
    charge, device = point.charge, point.problem.device
    chains, contacts = charge.lines.chains, charge.lines.contacts
    band_top = float((torch.minimum(*chains.edges) + 4 * chains.hopping).min())
    filled = max(contacts.source, contacts.drain) + 8 * contacts.kT
    if band_top < filled:
        yield (
            f"the lattice has no states of the heaviest subband above {band_top:.2f} eV, yet contacts are filled up to "
            f"{filled:.2f} eV: charge is lost; use a smaller spacing[0] than {device.grid.dx} nm"
        )
    if (missed := charge.lines.unresolved) > 0:
        yield f"the energy integral missed its tolerance {missed:.1g} times over"
    if (lost := point.left_out[0]) > 0.2 * point.problem.equations.tolerance:
        yield (
            f"transverse functions left out of the basis would move the potential by {lost * 1e3:.2g} mV; a smaller "
            "tolerance chooses a larger basis"
        )
    if (overlap := charge.continuity) < 0.7:
        yield (
            f"a subband changes its shape within one step (overlap {overlap:.2f}): modes couple there, which uncoupled "
            "modes do not know, and the error estimate does not hold"
        )


def cut_by_lattice(lattice: BandLimit) -> Iterator[str]:
    """Say what the end of the lattice's band costs, and what cures it."""
    if lattice.current > 1e-3:
        yield (
            f"a barrier reaches into the upper part of the lattice's band or beyond: the current is off by "
            f"{lattice.current:.2g} of itself; spacing[0] = {lattice.spacing:.2g} nm cures it"
        )
