"""The two equations of one device, made once for any number of biases, and the door they share: voltages and names."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from mlnegf._common import is_positive, plain, require
from mlnegf.nanosheet.charge import Negf
from mlnegf.nanosheet.device import Device
from mlnegf.nanosheet.poisson import Poisson
from mlnegf.transport.bound_states import FILLINGS

LARGEST: Final = 2.0
"""Gate and drain voltages allowed, V."""
COUPLED_FILLING: Final = "threshold"
"""The one rule for bound states that coupled modes know."""

_require = partial(require, caller="solve")


@dataclass(frozen=True, eq=False)
class Equations:
    """The two equations of one device: all that takes time to make and that no bias changes.

    Made once for any number of biases: `solve` and `sweep` take them in the place of their device.

    Attributes
    ----------
    negf : Negf
    poisson : Poisson
    tolerance : float
        Of the potential, V, which the transverse basis is made for.
    """

    negf: Negf
    poisson: Poisson
    tolerance: float = 1e-3

    @staticmethod
    def of(
        device: "Device | Equations",
        filling: str | None = None,
        modes: str | None = None,
        tolerance: float = 1e-3,
    ) -> "Equations":
        """Make the equations of a device, or return those given.

        Parameters
        ----------
        filling : str, optional
            Rule of `bound_states.FILLINGS`; unless given that of `Negf`, for coupled modes the one they know.
        modes : str, optional
            "uncoupled", also unless given, or "coupled".
        tolerance : float
            Of the potential, V, which the transverse basis is made for; equations given keep theirs.
        """
        _require(
            isinstance(device, (Device, Equations)),
            "device",
            device,
            "an mlnegf.Device, such as mlnegf.Device(width=5.0)",
        )
        known = isinstance(filling, str) and filling in FILLINGS
        _require(filling is None or known, "filling", filling, f"one of {sorted(FILLINGS)}")
        known = isinstance(modes, str) and modes in ("uncoupled", "coupled")
        _require(modes is None or known, "modes", modes, "'uncoupled' or 'coupled'")
        _require(is_positive(tolerance), "tolerance", tolerance, "a positive number of volts")
        if isinstance(device, Equations):
            _require(
                filling in (None, device.filling), "filling", filling, f"{device.filling!r}, that of the equations"
            )
            _require(modes in (None, device.modes), "modes", modes, f"{device.modes!r}, those of the equations")
            return device
        if modes == "coupled":
            path = device.mean_free_path
            _require(path is None, "modes", modes, "'uncoupled', which alone knows a mean_free_path")
            words = f"{COUPLED_FILLING!r}, the one rule that coupled modes know, or none"
            _require(filling in (None, COUPLED_FILLING), "filling", filling, words)
            filling = COUPLED_FILLING
        negf = Negf.of(device, filling or Negf.filling, modes=modes or "uncoupled", potential_tolerance=tolerance)
        return Equations(negf, Poisson.of(device), tolerance)

    @property
    def device(self) -> Device:
        """Whose they are."""
        return self.negf.device

    @property
    def filling(self) -> str:
        """How bound states are filled."""
        return self.negf.filling

    @property
    def modes(self) -> str:
        """Whether modes couple, "uncoupled" or "coupled"."""
        return self.negf.modes

    def at(self, temperature: float) -> "Equations":
        """Return those of the device at another temperature, K; Poisson's equation is the same one."""
        device = self.device.at(temperature)
        negf = Negf.of(device, self.filling, modes=self.modes, potential_tolerance=self.tolerance)
        return replace(self, negf=negf)

    def filled(self, filling: str) -> "Equations":
        """Return those with bound states filled by another rule."""
        return replace(self, negf=replace(self.negf, filling=filling))


def number(value: object) -> int | float | None:
    """Return a Python number, also of one in an array of no dimension; None for anything else, truth values too."""
    value = plain(value)
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def voltage(name: str, value: object, caller: str) -> float:
    """Return a number of volts, or refuse it."""
    volts = number(value)
    good = volts is not None and abs(volts) <= LARGEST
    require(good, name, value, f"volts between −{LARGEST:g} and {LARGEST:g}", caller)
    return float(volts or 0.0)
