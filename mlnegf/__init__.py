"""Self-consistent quantum transport in nanoscale transistors, started from learned guesses."""

from mlnegf.continuation import sweep
from mlnegf.device import Device
from mlnegf.learned import LearnedGuess
from mlnegf.rescale import rescale
from mlnegf.scf import Solution, coupling, solve
from mlnegf.version import __version__

__all__ = ["Device", "LearnedGuess", "Solution", "__version__", "coupling", "rescale", "solve", "sweep"]
