"""The local density of states of a wire's atoms by NEGF: what its neighbours, and the leads, leave an atom."""

from typing import Any

import numpy as np
import torch

from mlnegf._common import Floats, is_positive, reals, require
from mlnegf.atomistic.conductance import between_leads, orbitals_of
from mlnegf.atomistic.hamiltonian import Orbitals, blocks_of
from mlnegf.atomistic.potential import POTASSIUM
from mlnegf.runs.threads import one_thread
from mlnegf.transport import System, green_blocks
from mlnegf.transport.leads import complex_self_energies


def local_densities(
    positions: Any,
    held: int,
    energies: Any,
    broadening: float,
    period: float = POTASSIUM.lattice_constant,
    orbitals: Orbitals | None = None,
) -> Floats:
    """Return −Im ⟨i|G(E + iη)|i⟩/π of every atom of wires between perfect ones.

    An imaginary part of the energy is exact in the leads too, and a Lorentzian in E: as if electrons lost their phase
    after ħ/2η.

    Parameters
    ----------
    positions : array, (wires, atoms, 3)
        Å, as for `conductance.conductances`.
    held : int
        Atoms of a cell.
    energies : array, (energies,)
        E, eV, from the level of an orbital.
    broadening : float
        η, eV.
    period : float
        Length of a cell, Å.
    orbitals : Orbitals, optional
        Those of potassium unless given.

    Returns
    -------
    ndarray, (wires, atoms, energies)
        States of one spin, 1/eV; NaN for a wire that no path of hops joins.

    Raises
    ------
    ValueError
        As for `conductance.conductances`.
    """
    caller = "local_densities"
    points = reals(energies, 1)
    require(points is not None, "energies", energies, "finite numbers of eV", caller)
    assert points is not None
    require(is_positive(broadening), "broadening", broadening, "a positive number of eV", caller)
    kind, given = orbitals_of(orbitals, caller), between_leads(positions, held, period, caller)
    wires, atoms, _ = given.shape
    found = np.full((wires, atoms + 1, len(points)), np.nan)
    complexes = torch.from_numpy(points + 1j * float(broadening))
    with one_thread():
        for some in blocks_of(kind, given, int(held), float(period)):
            leads = complex_self_energies(complexes, some.left, some.right)
            parts = zip(some.index.tolist(), some.diagonal, some.upper, some.places, strict=True)
            for wire, diagonal, upper, places in parts:
                green = green_blocks(complexes, System(diagonal, upper, some.left, some.right), leads)
                found[wire, places] = -green.diagonal(dim1=-2, dim2=-1).imag.permute(1, 2, 0).numpy() / np.pi
    return found[:, held : atoms - held]
