"""What commands share: options that look up late what they may be, a device, workers, voltages.

Nothing here loads physics or learning before a command runs or explains itself, so that help comes at once.
"""

import json
import math
import tomllib
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import click
import numpy as np

Command = Callable[..., None]

NUMBERS: Final = {
    "gate_length": "nm",
    "width": "nm",
    "thickness": "nm",
    "source_length": "nm",
    "drain_length": "nm",
    "oxide_thickness": "nm",
    "doping": "cm^-3",
    "temperature": "K",
    "work_function": "eV",
    "mean_free_path": "nm, in source and drain",
}
"""Parameters of `Device` that are one number, and their units."""
NAMES: Final = ("cross_section", "semiconductor", "oxide")
"""Those that are a name."""
MOST_VOLTAGES: Final = 10_000


class Late(click.Option):
    """An option whose help is worked out when it is asked for.

    Parameters
    ----------
    known : callable
        Returns the help; what it lists is loaded then and not before.
    """

    def __init__(self, *declarations: Any, known: Callable[[], str], **others: Any) -> None:
        super().__init__(*declarations, **others)
        self.known = known

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Work out the help."""
        self.help = self.known()
        return super().get_help_record(ctx)


def late(name: str, known: Callable[[], str], **others: Any) -> Callable[[Command], Command]:
    """Return a decorator that adds an option `name` with late help."""
    return click.option(name, cls=Late, known=known, **others)


def of_device(command: Command) -> Command:
    """Add the options of a device, and `--device` for a file of them."""
    options = [late(_flag(name), lambda name=name: _describe(name), type=float) for name in NUMBERS]  # type: ignore[misc]
    options += [late(_flag(name), lambda name=name: _describe(name)) for name in NAMES]  # type: ignore[misc]
    options += [
        click.option("--polarity", type=click.Choice(["n", "p"]), help="electrons or holes  [default: n]"),
        click.option("--penetration/--no-penetration", default=None, help="whether wave functions enter the oxide"),
        click.option("--spacing", help="largest cell, nm: one number, or dx,dy,dz  [default: 0.25]"),
    ]
    words = "TOML or JSON file of the device's parameters; options of single parameters win"
    options.append(click.option("--device", "file", type=click.Path(exists=True, dir_okay=False), help=words))
    for option in reversed(options):
        command = option(command)
    return command


def of_workers(command: Command) -> Command:
    """Add the options of who works; they are `workers`, `memory` and `scheduler` of the functions behind."""
    words = "GiB of a worker, which is ended beyond it; 4, or a fair share of a smaller machine, unless given"
    known: list[tuple[str, Any, str]] = [
        ("--workers", click.IntRange(1), "processes on this machine; as many as cores unless given"),
        ("--memory", click.FloatRange(0.25), words),
        ("--scheduler", str, "address of a running scheduler of Dask, such as tls://host:8786, to work on instead"),
    ]
    for name, kind, about in reversed(known):
        command = click.option(name, type=kind, help=about)(command)
    return command


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _describe(name: str) -> str:
    from mlnegf.nanosheet.device import Device
    from mlnegf.nanosheet.geometry import CROSS_SECTIONS
    from mlnegf.nanosheet.materials import MATERIALS

    default = getattr(Device, name)
    choices = {
        "cross_section": list(CROSS_SECTIONS),
        "semiconductor": [material for material, known in MATERIALS.items() if known.electrons or known.holes],
        "oxide": [material for material, known in MATERIALS.items() if not (known.electrons or known.holes)],
    }
    known = NUMBERS.get(name) or ", ".join(choices[name])
    return known if default is None else f"{known}  [default: {default}]"


def guesses(*others: str) -> str:
    """List guesses, after `others`."""
    from mlnegf.scf.guesses import GUESSES, HOMES

    return ", ".join(dict.fromkeys([*others, *GUESSES, *HOMES]))


def schemes() -> str:
    """List schemes."""
    from mlnegf.scf.schemes import SCHEMES

    return ", ".join(SCHEMES)


def designs() -> str:
    """List the designs that come with the package."""
    from mlnegf.warmstart.design import shipped

    return f"{', '.join(shipped())}, or a TOML file, see `mlnegf.warmstart.design`"


def of_training(name: str) -> str:
    """Say what a setting of training may be."""
    from mlnegf.learning.losses import LOSSES
    from mlnegf.learning.networks import NETWORKS
    from mlnegf.warmstart.objective import Settings

    known = {
        "epochs": "passes over the data",
        "learning_rate": "the largest",
        "loss": ", ".join(LOSSES),
        "network": ", ".join(["separable", *NETWORKS]),
    }
    return known[name] if name == "network" else f"{known[name]}  [default: {getattr(Settings, name)}]"


def device(options: dict[str, Any]) -> Any:
    """Take what belongs to a device out of `options` and make it: what was given, over the file, over the defaults."""
    from mlnegf.nanosheet.device import Device

    path = options.pop("file")
    names = {field.name for field in fields(Device)} & options.keys()
    given = {name: value for name in names if (value := options.pop(name)) is not None}
    if "spacing" in given:
        given["spacing"] = _spacing(given["spacing"])
    return Device.from_dict((read_device(Path(path)) if path else {}) | given)


def read_device(path: Path) -> dict[str, Any]:
    """Read the parameters of a device from a TOML or JSON file."""
    readers: dict[str, Callable[[str], Any]] = {".toml": tomllib.loads, ".json": json.loads}
    if path.suffix not in readers:
        raise ValueError(f"--device {path}: the name ends in {path.suffix!r}, expected one of {sorted(readers)}.")
    try:
        parameters = readers[path.suffix](path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"--device {path}: not a whole {path.suffix[1:].upper()} file ({error}).") from error
    if not isinstance(parameters, dict):
        raise ValueError(f"--device {path}: holds a {type(parameters).__name__}, expected parameters by name.")
    return parameters


def _spacing(text: str) -> tuple[float, ...]:
    try:
        cells = tuple(float(value) for value in text.split(","))
    except ValueError:
        raise ValueError(f"--spacing {text!r}, expected one number or dx,dy,dz in nm.") from None
    return cells * 3 if len(cells) == 1 else cells


def voltages(name: str, text: str) -> list[float]:
    """Read `first:last:count` or `a,b,c`."""
    try:
        if ":" not in text:
            return [float(value) for value in text.split(",")]
        first, last, count = text.split(":")
        start, stop, number = float(first), float(last), int(count)
    except ValueError:
        raise ValueError(f"--{name} {text!r}, expected first:last:count or a,b,c in volts.") from None
    if not 1 <= number <= MOST_VOLTAGES:
        raise ValueError(f"--{name} {text!r}: a count of {number}, expected 1 to {MOST_VOLTAGES}.")
    return [float(value) for value in np.linspace(start, stop, number)]


def as_json(value: Any) -> str:
    """Write a value as JSON, which knows no NaN and no infinity: null."""

    def known(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: known(inner) for key, inner in value.items()}
        if isinstance(value, (list, tuple)):
            return [known(inner) for inner in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps(known(value), default=str, ensure_ascii=False, allow_nan=False)


def png(ctx: click.Context, parameter: click.Parameter, path: str | None) -> str | None:
    """Refuse a figure's name before the work that it shows is done."""
    if path is not None and not path.lower().endswith(".png"):
        raise click.BadParameter(f"{path!r}, expected a name that ends in .png.")
    return path
