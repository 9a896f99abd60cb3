"""Langevin's dynamics with any force: the metal's own, compiled, or a network's.

BAOAB: half a kick of the force, half a step, friction and noise, half a step, half a kick. Leimkuhler & Matthews, Appl.
Math. Res. Express 2013, 34.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from mlnegf._common import Bools, Floats
from mlnegf.atomistic.kernels import FORCE, advance
from mlnegf.atomistic.potential import FinnisSinclair, Forces
from mlnegf.units import BOLTZMANN

Force = Callable[[Floats], Forces]
"""From positions (atoms, 3), Å, to energies, eV, and forces, eV/Å."""

SKIN: Final = 1.0
"""How much farther than they reach pairs are listed, Å."""


@dataclass(frozen=True)
class Langevin:
    """How atoms of one mass move.

    Attributes
    ----------
    mass : float
        Atomic mass units.
    step : float
        fs.
    temperature : float
        K.
    friction : float
        1/ps; without it Newton's own equations are left.
    """

    mass: float
    step: float
    temperature: float
    friction: float

    @property
    def spread(self) -> float:
        """Standard deviation of a velocity's component, √(kT/m), Å/fs."""
        return float(np.sqrt(BOLTZMANN * self.temperature * FORCE / self.mass))

    @property
    def memory(self) -> float:
        """What is left of a velocity after a step, e^{−γ dt}."""
        return float(np.exp(-1e-3 * self.friction * self.step))

    @property
    def kick(self) -> float:
        """Size of the noise, Å/fs."""
        return self.spread * float(np.sqrt(1 - self.memory**2))

    def kinetic_temperature(self, velocities: Floats) -> float:
        """Return the temperature that velocities, Å/fs, amount to, K."""
        return float((velocities**2).mean()) * self.mass / (FORCE * BOLTZMANN)

    def kinetic_energy(self, velocities: Floats) -> float:
        """Return ½ m v², summed, eV."""
        return 0.5 * self.mass / FORCE * float((velocities**2).sum())

    def move(
        self, force: Force | FinnisSinclair, positions: Floats, velocities: Floats, held: Bools, noise: Floats
    ) -> float:
        """Move atoms by a step for each row of `noise`, in place, and return their potential energy, eV.

        Parameters
        ----------
        force : callable
            A metal, which is compiled, or anything that answers as it does.
        positions, velocities : ndarray, (atoms, 3)
            Å, Å/fs.
        held : ndarray, (atoms,)
            Atoms that keep their velocity.
        noise : ndarray, (steps, atoms, 3)
            Standard normal numbers.
        """
        inverse = FORCE / self.mass
        if isinstance(force, FinnisSinclair):
            own = (self.step, self.memory, self.kick, inverse, force.cutoff, SKIN)
            return float(advance(positions, velocities, held, noise, *own, *force.coefficients))
        free, half = ~held, self.step / 2
        energies, forces = force(positions)
        for row in noise:
            velocities[free] += half * inverse * forces[free]
            positions[free] += half * velocities[free]
            velocities[free] = self.memory * velocities[free] + self.kick * row[free]
            positions[free] += half * velocities[free]
            positions[held] += self.step * velocities[held]
            energies, forces = force(positions)
            velocities[free] += half * inverse * forces[free]
        return float(energies.sum())
