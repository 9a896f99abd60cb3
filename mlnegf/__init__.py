"""Self-consistent quantum transport in nanoscale transistors, started from learned guesses."""

from mlnegf.continuation import sweep
from mlnegf.device import Device
from mlnegf.learned import LearnedGuess
from mlnegf.rescale import rescale
from mlnegf.scf import Solution, solve

__version__ = "0.1.0"
__all__ = ["Device", "LearnedGuess", "Solution", "rescale", "solve", "sweep"]
