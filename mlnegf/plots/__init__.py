"""Every figure of the book and of the command line, in one style: units named, and readable without colour.

Names: `section`, `energy_map`, `transfer`, `convergence`, `solution`; `slices`, `learning_curve`; `comparison`,
`bias_map`, `certificates`; `save`. Only notebooks and the command line import this room.
May import the types of results of any other room.
"""

from mlnegf.plots.learning import learning_curve, slices
from mlnegf.plots.runs import bias_map, certificates, comparison
from mlnegf.plots.solutions import convergence, energy_map, section, solution, transfer
from mlnegf.plots.style import COLOURS, MARKERS, STYLE, save

__all__ = [
    "COLOURS",
    "MARKERS",
    "STYLE",
    "bias_map",
    "certificates",
    "comparison",
    "convergence",
    "energy_map",
    "learning_curve",
    "save",
    "section",
    "slices",
    "solution",
    "transfer",
]
