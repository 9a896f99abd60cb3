"""The conductance of wires by NEGF, many at once."""

from typing import Any

import numpy as np

from mlnegf._common import Floats, is_count, is_finite, is_positive, reals, require
from mlnegf.atomistic.hamiltonian import Orbitals, blocks_of
from mlnegf.atomistic.potential import FARTHEST, POTASSIUM, require_apart
from mlnegf.runs.threads import one_thread
from mlnegf.transport import transmissions


def conductances(
    positions: Any,
    held: int,
    period: float = POTASSIUM.lattice_constant,
    orbitals: Orbitals | None = None,
    energy: float | None = None,
) -> Floats:
    """Return the conductance of wires between perfect ones, in units of 2e²/h.

    Parameters
    ----------
    positions : array, (wires, atoms, 3)
        Å; the first `held` atoms are a cell of the perfect wire that is the left lead, the last ones of the right.
    held : int
        Atoms of a cell.
    period : float
        Length of a cell, Å: the leads are the rigid cells, repeated by it.
    orbitals : Orbitals, optional
        Those of potassium unless given.
    energy : float, optional
        eV, from the level of an orbital; the Fermi energy unless given.

    Returns
    -------
    ndarray, (wires,)
        T at that energy; zero for a wire that no path of hops joins.

    Raises
    ------
    ValueError
        If these are no wires, or two atoms lie on each other, or a cell is no cell of a perfect wire.
    """
    caller = "conductances"
    require(energy is None or is_finite(energy), "energy", energy, "a number of eV, or None", caller)
    kind = orbitals_of(orbitals, caller)
    given = between_leads(positions, held, period, caller)
    at = kind.fermi_energy if energy is None else float(energy)
    found = np.zeros(len(given))
    with one_thread():
        for some in blocks_of(kind, given, int(held), float(period)):
            found[some.index] = transmissions(at, some.diagonal, some.upper, some.left, some.right).numpy()
    return found


def orbitals_of(orbitals: Orbitals | None, caller: str) -> Orbitals:
    """Return those given, or potassium's."""
    kind = Orbitals() if orbitals is None else orbitals
    require(isinstance(kind, Orbitals), "orbitals", orbitals, "Orbitals(), or None", caller)
    return kind


def between_leads(positions: Any, held: int, period: float, caller: str) -> Floats:
    """Check wires, and return them with one cell of their leads at either end, (wires, held + atoms + held, 3).

    Atoms may creep over a rigid cell, within reach of the next one: that one is laid out too.
    """
    given = reals(positions, 3)
    good = given is not None and given.shape[2] == 3 and float(abs(given).max()) <= FARTHEST
    words = f"numbers of Å up to {FARTHEST:g}, finite, of shape (wires, atoms, 3)"
    require(good, "positions", positions, words, caller)
    assert given is not None
    require(is_count(held, 1, given.shape[1] // 2), "held", held, f"1 to {given.shape[1] // 2}, half the atoms", caller)
    require(is_positive(period), "period", period, "a positive number of Å", caller)
    for n, cells in enumerate((given[:, :held], given[:, -held:])):
        shape = cells - cells[:, :1]
        off = float(abs(shape - shape[:1]).max())
        words = "the same rigid cell in every wire; take wires of one kind at a time"
        require(off < 1e-6, "positions", f"{('left', 'right')[n]} cells that differ by {off:.3g} Å", words, caller)
    step = np.array([float(period), 0.0, 0.0])
    before, behind = given[:, :held] - step, given[:, -held:] + step
    ends = np.concatenate([before[0], given[0, :held]]), np.concatenate([given[0, -held:], behind[0]])
    for structure in (*given, *ends):
        require_apart(structure, POTASSIUM.lattice_constant, caller)
    return np.concatenate([before, given, behind], 1)
