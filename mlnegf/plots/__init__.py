"""Every figure of the book and of the command line, in one style: units named, and readable without colour.

Names: `section`, `energy_map`, `transfer`, `convergence`, `solution`, `portrait`, `in_space`; `slices`, `iterations`,
`learning_curve`; `comparison`, `over_bias`, `certificates`; `diagram`; `save`, `set_up`. Only notebooks and
the command line import this room.
May import the types of results of any other room.
"""

from mlnegf.plots.diagram import diagram
from mlnegf.plots.learning import iterations, learning_curve, slices
from mlnegf.plots.runs import certificates, comparison, over_bias
from mlnegf.plots.solutions import convergence, energy_map, in_space, portrait, section, solution, transfer
from mlnegf.plots.style import COLOURS, MARKERS, STYLE, save, set_up

__all__ = [
    "COLOURS",
    "MARKERS",
    "STYLE",
    "certificates",
    "comparison",
    "convergence",
    "diagram",
    "energy_map",
    "in_space",
    "iterations",
    "learning_curve",
    "over_bias",
    "portrait",
    "save",
    "section",
    "set_up",
    "slices",
    "solution",
    "transfer",
]
