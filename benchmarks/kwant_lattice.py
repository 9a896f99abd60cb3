"""Kwant's side of `lattice.py`, run by it with the Python of Kwant's own environment: reads one npz, writes another."""

import sys
import time

import kwant
import numpy as np
from kwant.solvers import mumps


def wire(potential, hopping):
    """Lay the potential on Kwant's cubic lattice; the leads continue the first and the last slice."""
    nx, ny, nz = potential.shape
    onsite = 2 * sum(hopping)
    lattice = kwant.lattice.general(np.eye(3), norbs=1)
    directions = [kwant.builder.HoppingKind(tuple(step), lattice) for step in np.eye(3, dtype=int)]

    def lay(builder, sites, energy):
        builder[sites] = energy
        for direction, t in zip(directions, hopping, strict=True):
            builder[direction] = -t
        return builder

    sites = (lattice(i, j, k) for i in range(nx) for j in range(ny) for k in range(nz))
    system = lay(kwant.Builder(), sites, lambda site: onsite + potential[tuple(site.tag)])
    for end, direction in ((0, -1), (nx - 1, 1)):
        section = (lattice(0, j, k) for j in range(ny) for k in range(nz))
        lead = kwant.Builder(kwant.TranslationalSymmetry((direction, 0, 0)))
        system.attach_lead(lay(lead, section, lambda site, end=end: onsite + potential[end, site.tag[1], site.tag[2]]))
    return system.finalized()


def main() -> None:
    """Solve every energy, timing transmission and wave functions apart."""
    given = np.load(sys.argv[1])
    potential, energies = given["potential"], given["energies"]
    system = wire(potential, given["hopping"])
    order = np.ravel_multi_index(np.array([site.tag for site in system.sites]).T, potential.shape)
    transmission, seconds = [], np.zeros((2, len(energies)))
    density = np.zeros((2, len(energies), potential.size))
    for n, energy in enumerate(energies):
        start = time.process_time()
        transmission.append(mumps.smatrix(system, energy).transmission(1, 0))
        middle = time.process_time()
        waves = mumps.wave_function(system, energy)
        for lead in (0, 1):
            density[lead, n, order] = (abs(waves(lead)) ** 2).sum(0) / (2 * np.pi)
        seconds[:, n] = middle - start, time.process_time() - middle
    np.savez(sys.argv[2], transmission=transmission, density=density, seconds=seconds)


if __name__ == "__main__":
    main()
