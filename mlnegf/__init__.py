"""Self-consistent quantum transport in nanoscale transistors, started from learned guesses."""

from mlnegf.device import Device
from mlnegf.rescale import rescale
from mlnegf.scf import Solution, solve, sweep

__version__ = "0.1.0"
__all__ = ["Device", "Solution", "rescale", "solve", "sweep"]
