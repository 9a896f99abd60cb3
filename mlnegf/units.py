"""Constants in eV, nm, elementary charges and kelvin; every other unit is converted at the edge of the package."""

import sys
from numbers import Real
from typing import Final

HBAR2_OVER_2M0: Final = 0.038099821
"""ħ²/2m₀ in eV nm² (CODATA 2018)."""

BOLTZMANN: Final = 8.617333262e-5
"""k in eV/K."""

CHARGE_OVER_EPSILON0: Final = 18.095128
"""e/ε₀ in V nm: the potential of one elementary charge per nm³ over a curvature of 1/nm²."""

CONDUCTANCE_QUANTUM: Final = 7.748091730e-5
"""2e²/h in siemens (two spins); times an energy in eV it is a current in ampere."""

PER_CUBIC_CENTIMETRE: Final = 1e-21
"""One particle per cm³ in particles per nm³."""


def thermal_energy(temperature: float) -> float:
    """Return kT in eV at a temperature in kelvin."""
    given: object = temperature
    real = isinstance(given, Real) and not isinstance(given, bool)
    if not real or not 0 <= temperature <= sys.float_info.max:
        raise ValueError(
            f"thermal_energy: temperature = {repr(given)[:99] if real else type(given)}, expected kelvin, zero or more."
        )
    return BOLTZMANN * temperature
