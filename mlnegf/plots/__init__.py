"""Every figure of the book and of the command line, in one style: units named, and readable without colour.

Names: `section`, `energy_map`, `transfer`, `convergence`, `solution`; `slices`, `iterations`, `learning_curve`;
`comparison`, `bias_map`, `over_bias`, `certificates`; `save`, `set_up`. Only notebooks and the command
line import this room.
May import the types of results of any other room.
"""

from mlnegf.plots.learning import iterations, learning_curve, slices
from mlnegf.plots.runs import bias_map, certificates, comparison, over_bias
from mlnegf.plots.solutions import convergence, energy_map, section, solution, transfer
from mlnegf.plots.style import COLOURS, MARKERS, STYLE, save, set_up

__all__ = [
    "COLOURS",
    "MARKERS",
    "STYLE",
    "bias_map",
    "certificates",
    "comparison",
    "convergence",
    "energy_map",
    "iterations",
    "learning_curve",
    "over_bias",
    "save",
    "section",
    "set_up",
    "slices",
    "solution",
    "transfer",
]
