"""Wires cut from a crystal, and how they are pulled apart.

A wire lies along x, the [100] axis of a bcc crystal, and starts and ends with one cell of the crystal, two atomic
planes, that is held rigid: source and drain continue it as perfect wires. A pull moves the last cell away from the
first at a constant speed while Langevin's dynamics keep the temperature, until no bond joins the two.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mlnegf._common import Bools, Floats, hold, is_count, is_finite, is_positive, plain, require
from mlnegf.atomistic.dynamics import Force, Langevin
from mlnegf.atomistic.kernels import near_pairs
from mlnegf.atomistic.potential import FARTHEST, POTASSIUM, FinnisSinclair, require_apart

_require = partial(require, caller="Pull")

MOST: Final = 100_000
"""Atoms of a wire."""
BOND: Final = 1.21
"""Longest bond, lattice constants: half way between the second and the third shell of neighbours."""
LONGEST_STEP: Final = 20.0
"""fs: a fiftieth of the fastest vibration."""
FROM_ZERO: Final = ("temperature", "friction", "rest")
"""What may be zero of a pull."""
METRE_PER_SECOND: Final = 1e-5
"""In Å/fs."""


@dataclass(frozen=True, eq=False)
class Wire:
    """Atoms between two rigid cells.

    Attributes
    ----------
    positions : ndarray, (atoms, 3)
        Å; the first `held` atoms are the left cell, the last `held` the right one.
    held : int
        Atoms of one cell.
    lattice_constant : float
        Å; also the length of a cell.
    """

    positions: Floats
    held: int
    lattice_constant: float

    @property
    def length(self) -> float:
        """From the first plane to the last, Å."""
        return float(self.positions[-1, 0] - self.positions[0, 0])

    @property
    def is_held(self) -> Bools:
        """Which atoms are rigid, (atoms,)."""
        return _ends(len(self.positions), self.held)

    @staticmethod
    def of_crystal(length: float, diameter: float, lattice_constant: float = POTASSIUM.lattice_constant) -> "Wire":
        """Cut a cylinder around an atom from a bcc crystal.

        Parameters
        ----------
        length, diameter : float
            Å; the wire is the longest of whole cells, two planes each, that is not longer by more than half a cell.
        lattice_constant : float
            Å.

        Raises
        ------
        ValueError
            If there is no room for two rigid cells and one that moves.
        """
        sizes = ("lattice_constant", lattice_constant, 1.0, 20.0), ("diameter", diameter, 0.1, 200.0)
        for name, value, least, most in (*sizes, ("length", length, 0.1, 1e4)):
            good = is_positive(value) and least <= value <= most
            require(good, name, value, f"a number of Å between {least:g} and {most:g}", "Wire")
        cells = round(length / lattice_constant)
        words = f"three cells of {lattice_constant:g} Å or more"
        require(cells >= 3, "length", length, words, "Wire")
        area = np.pi / 4 * (diameter / lattice_constant) ** 2
        words = f"a wire of {MOST} atoms or fewer"
        require(2 * area * cells <= MOST, "length", length, words, "Wire")
        most = int(diameter / lattice_constant) + 1
        planes = []
        for centre in (0.0, 0.5):
            steps = np.arange(-most, most + 1) + centre
            places = np.stack(np.meshgrid(steps, steps, indexing="ij"), -1).reshape(-1, 2)
            inside = places[np.hypot(*places.T) * lattice_constant <= diameter / 2]
            planes.append(np.column_stack([np.full(len(inside), centre), inside]))
        cell = np.concatenate(planes) * lattice_constant
        along = np.arange(cells)[:, None, None] * np.array([lattice_constant, 0.0, 0.0])
        return Wire((along + cell).reshape(-1, 3), len(cell), lattice_constant)


def _ends(atoms: int, held: int) -> Bools:
    index = np.arange(atoms)
    return np.asarray((index < held) | (index >= atoms - held))


@dataclass(frozen=True)
class Pull:
    """How a wire is pulled.

    Parameters
    ----------
    length, diameter : float
        Of the wire at the start, Å; see `Wire.of_crystal`.
    speed : float
        At which the ends part, m/s.
    temperature : float
        K.
    seed : int
        Of velocities and noise.
    every : float
        Stretch from one snapshot to the next, Å, to a whole number of steps.
    longest : float
        Where a pull ends at the latest, Å.
    step : float
        fs.
    friction : float
        1/ps.
    rest : float
        Time before the pull, ps.
    potential : FinnisSinclair
    """

    length: float = 35.0
    diameter: float = 17.5
    speed: float = 10.0
    temperature: float = 4.5
    seed: int = 0
    every: float = 0.125
    longest: float = 250.0
    step: float = 5.0
    friction: float = 1.0
    rest: float = 20.0
    potential: FinnisSinclair = POTASSIUM

    def __post_init__(self) -> None:
        numbers = ("length", "diameter", "speed", "every", "longest", "step", "temperature", "friction", "rest")
        for name in numbers:
            value, least, most = getattr(self, name), 0.0 if name in FROM_ZERO else 1e-6, 1e6
            good = is_finite(value) and least <= plain(value) <= most
            _require(good, name, value, f"a number between {least:g} and {most:g}")
        _require(is_count(self.seed, 0), "seed", self.seed, "a whole number, zero or more")
        hold(self, float, *numbers)
        hold(self, int, "seed")
        _require(isinstance(self.potential, FinnisSinclair), "potential", self.potential, "a FinnisSinclair")
        _require(self.step <= LONGEST_STEP, "step", self.step, f"{LONGEST_STEP:g} fs or less")
        each = self.steps_between
        least_stretch = self.speed * METRE_PER_SECOND * self.step
        words = f"{least_stretch:.2g} Å or more at speed = {self.speed:g} m/s and step = {self.step:g} fs"
        _require(each >= 1, "every", self.every, words)

    @property
    def steps_between(self) -> int:
        """Steps of time from one snapshot to the next."""
        return round(self.every / (self.speed * METRE_PER_SECOND * self.step))

    def wire(self) -> Wire:
        """Return the wire at the start."""
        return Wire.of_crystal(self.length, self.diameter, self.potential.lattice_constant)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A wire while it is pulled.

    Attributes
    ----------
    wire : Wire
    time : float
        Since the pull began, ps.
    temperature : float
        Of the atoms that move, K.
    energy : float
        Potential, eV.
    is_whole : bool
        Whether bonds join both ends.
    """

    wire: Wire
    time: float
    temperature: float
    energy: float
    is_whole: bool


def pulled(pull: Pull, force: Force | None = None) -> Iterator[Snapshot]:
    """Pull a wire, and yield it as it stretches, up to the first broken snapshot or to the longest.

    The same pull gives the same snapshots. Stretching heats: the temperature is held by friction, not fixed.

    Parameters
    ----------
    pull : Pull
    force : callable, optional
        From positions (atoms, 3), Å, to `Forces`, such as a `NeuralPotential`; the pull's metal unless given.
    """
    _require(isinstance(pull, Pull), "pull", pull, "a Pull, such as Pull(speed=10.0)")
    _require(force is None or callable(force), "force", force, "a function from positions to Forces, or None")
    wire, rng = pull.wire(), np.random.default_rng(pull.seed)
    moving = Langevin(pull.potential.mass, pull.step, pull.temperature, pull.friction)
    positions, is_held = wire.positions.copy(), wire.is_held
    velocities = moving.spread * rng.standard_normal(positions.shape)
    velocities[is_held] = 0.0

    def move(steps: int) -> float:
        noise = rng.standard_normal((steps, *positions.shape))
        energy = moving.move(force or pull.potential, positions, velocities, is_held, noise)
        sound = bool(np.isfinite(positions).all()) and float(abs(positions).max()) < FARTHEST
        _require(sound, "step", pull.step, "a shorter one, or another force: atoms ran away")
        require_apart(positions, pull.potential.lattice_constant, "Pull")
        return energy

    rest = round(1e3 * pull.rest / pull.step)
    energy = move(rest)
    velocities[len(positions) - wire.held :, 0] = pull.speed * METRE_PER_SECOND
    time = 0.0
    while True:
        kinetic = moving.kinetic_temperature(velocities[~is_held])
        now = Wire(positions.copy(), wire.held, wire.lattice_constant)
        whole = is_whole(now)
        yield Snapshot(now, time, kinetic, energy, whole)
        if not whole or now.length + pull.every > pull.longest:
            return
        energy = move(pull.steps_between)
        time += 1e-3 * pull.step * pull.steps_between


def is_whole(wire: Wire) -> bool:
    """Say whether bonds join both rigid cells of a wire."""
    bonds, atoms = near_pairs(wire.positions, BOND * wire.lattice_constant), len(wire.positions)
    joined = coo_array((np.ones(len(bonds)), tuple(bonds.T)), shape=(atoms, atoms))
    _, label = connected_components(joined, directed=False)
    return bool(label[0] == label[-1])
