"""Self-consistent quantum transport in nanoscale transistors, started from learned guesses.

The public face. Rooms: `transport` (electrons between two leads, any Hamiltonian), `learning` (losses, networks, the
training loop; no physics), `runs` (long runs: many machines, whole files; no physics), `nanosheet` (the transistor and
its two equations), `scf` (until they agree), `warmstart` (from the first charge to a learned guess, and its judgement).
A name is loaded when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mlnegf._common import __version__

if TYPE_CHECKING:
    from mlnegf.nanosheet.device import Device
    from mlnegf.nanosheet.geometry import Region
    from mlnegf.scf.coupling import coupling
    from mlnegf.scf.differentiable import differentiable
    from mlnegf.scf.sensitivity import sensitivity
    from mlnegf.scf.solve import Solution, solve
    from mlnegf.scf.sweep import sweep
    from mlnegf.warmstart.learned import LearnedGuess
    from mlnegf.warmstart.rescale import rescale

_HOMES = {
    "Device": "nanosheet.device",
    "Region": "nanosheet.geometry",
    "Solution": "scf.solve",
    "coupling": "scf.coupling",
    "differentiable": "scf.differentiable",
    "sensitivity": "scf.sensitivity",
    "solve": "scf.solve",
    "sweep": "scf.sweep",
    "LearnedGuess": "warmstart.learned",
    "rescale": "warmstart.rescale",
}
_ROOMS = ("learning", "nanosheet", "plots", "runs", "scf", "transport", "units", "warmstart", "widgets")

__all__ = [
    "Device",
    "LearnedGuess",
    "Region",
    "Solution",
    "__version__",
    "coupling",
    "differentiable",
    "rescale",
    "sensitivity",
    "solve",
    "sweep",
]


def __getattr__(name: str) -> Any:
    """Load a public name, or a room, from its home."""
    if name in _HOMES:
        value = globals()[name] = getattr(import_module(f"mlnegf.{_HOMES[name]}"), name)
        return value
    if name in _ROOMS:
        return import_module(f"mlnegf.{name}")
    raise AttributeError(f"module 'mlnegf' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Say what there is, loaded or not."""
    return sorted({*globals(), *_HOMES, *_ROOMS})
