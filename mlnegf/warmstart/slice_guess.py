"""The guess of slices: a network reads the charge after the first iteration and says where the last one will be."""

import json
from dataclasses import dataclass

import numpy as np

from mlnegf._common import Floats
from mlnegf.learning.networks import Network, load
from mlnegf.learning.weights import Location, fingerprint
from mlnegf.nanosheet.poisson import PoissonError
from mlnegf.scf.guesses import Guess, Semiclassical, Start
from mlnegf.scf.point import Point
from mlnegf.scf.problem import Problem
from mlnegf.warmstart.samples import FILLING, START, BiasedDevice, FirstIteration
from mlnegf.warmstart.slices import CONDITIONS, COUNTS, predict
from mlnegf.warmstart.trained_range import doubts


@dataclass(frozen=True, eq=False)
class SliceGuess(Guess):
    """Predicted slices, stitched into a device and turned into a potential by one screened Poisson solve.

    It costs the NEGF solve that the network reads, and the solver counts it. Where a case lies outside the training,
    the semiclassical start is used and the solution says so; where the prediction leaves a larger residual than the
    start, the solver goes on from the start.

    Attributes
    ----------
    model : Network
    metadata : dict
        Of its file: start, data, ranges of training.

    Raises
    ------
    ValueError
        If the network was trained on first iterations of another start than the one this version makes.
    """

    model: Network
    metadata: dict[str, str]

    def __post_init__(self) -> None:
        if (start := self.metadata.get("start")) != START:
            raise ValueError(
                f"SliceGuess: start = {start!r}, expected {START!r}: the first charge depends on the start that made "
                "it; train again on data of this version."
            )
        if missing := {"ranges", "trained_for"} - self.metadata.keys():
            raise ValueError(
                f"SliceGuess: metadata lacks {sorted(missing)}, expected those of `trained_range.describe`."
            )
        if (told := list(json.loads(self.metadata["ranges"]))) != list(CONDITIONS):
            raise ValueError(
                f"SliceGuess: conditions = {told}, expected {list(CONDITIONS)}: the network would misread them; "
                "train again with this version."
            )

    @property
    def fingerprint(self) -> str:
        """Checksum of the weights."""
        return fingerprint([self.model])

    @classmethod
    def load(cls, path: Location) -> "SliceGuess":
        """Load weights that `mlnegf train` wrote."""
        # Weights of the first data sets leave the counts out.
        return cls(*load(path, **COUNTS))

    def __call__(self, problem: Problem) -> Start:
        """Solve once, predict, and hand over a potential."""
        start = Semiclassical()(problem)
        if reasons := doubts(self.metadata, BiasedDevice.at(problem)):
            return Start(start.potential, "the guess of slices was not used: " + "; ".join(reasons), used=False)
        # The network reads what its data held: bound states filled by the rule of the data.
        point = problem.filled(FILLING).evaluate(start.potential)
        read = Point(problem, point.potential, point.charge) if _same(problem, point) else None
        charge, potential = predict(self.model, FirstIteration.of(point))
        if not np.isfinite([charge, potential]).all():
            return Start(start.potential, "the guess of slices was not used: its prediction is not finite", read, False)
        density, about = stitched(point, charge, potential)
        try:
            return Start(problem.exponential(density, about), evaluated=read)
        except PoissonError as error:
            words = f"the guess of slices was not used: no potential fits its prediction ({error})"
            return Start(start.potential, words, read, used=False)


def stitched(point: Point, charge: Floats, potential: Floats) -> tuple[Floats, Floats]:
    """Put a prediction for the silicon into the device, folded, in the picture of `Problem`: density and potential."""
    problem, grid = point.problem, point.problem.device.grid
    inside = (slice(None), *grid.box)
    density, about = np.zeros(grid.shape), problem.unfolded(point.potential)
    density[inside] = charge
    about[inside] = np.where(grid.semiconductor[grid.box], potential, about[inside])
    return grid.fold(density), problem.folded(about)


def _same(problem: Problem, point: Point) -> bool:
    """Whether the charge at a point is also that of the problem's own rule for bound states."""
    equations = problem.equations
    return equations.modes == "uncoupled" and (equations.filling == FILLING or not len(point.charge.lines.bound.mode))
