"""Electrons between two half-infinite leads: any block-tridiagonal Hamiltonian, or chains of one orbital a site.

Names: `transmission`, `transmissions`, `density_of_states`, `carriers`, `scattering_states`, `green_blocks`, `System`,
`Lead`, `self_energy`, `surface_green_function`, `cubic_lattice`, `filled_states`, `Contacts`,
for chains those of `chains`. Imports `units` and `_common` alone; knows no device.
"""

from mlnegf.transport.blocks import System
from mlnegf.transport.contacts import Contacts
from mlnegf.transport.density import FilledStates, filled_states
from mlnegf.transport.elimination import green_blocks
from mlnegf.transport.lattice import cubic_lattice
from mlnegf.transport.lead_adjoint import surface_green_function
from mlnegf.transport.leads import Lead, self_energy
from mlnegf.transport.many import transmissions
from mlnegf.transport.scattering import (
    ScatteringStates,
    carriers,
    density_of_states,
    scattering_states,
)
from mlnegf.transport.self_energies import SelfEnergy
from mlnegf.transport.transmission import transmission

__all__ = [
    "Contacts",
    "FilledStates",
    "Lead",
    "ScatteringStates",
    "SelfEnergy",
    "System",
    "carriers",
    "cubic_lattice",
    "density_of_states",
    "filled_states",
    "green_blocks",
    "scattering_states",
    "self_energy",
    "surface_green_function",
    "transmission",
    "transmissions",
]
