"""The command line: solve, sweep, generate, train, benchmark."""

import json
import shlex
import sys
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

import mlnegf
from mlnegf._common import write_whole
from mlnegf.learning.losses import LOSSES
from mlnegf.learning.networks import NETWORKS, save
from mlnegf.nanosheet.device import Device
from mlnegf.nanosheet.geometry import CROSS_SECTIONS
from mlnegf.nanosheet.poisson import PoissonError
from mlnegf.scf.guesses import GUESSES
from mlnegf.scf.schemes import SCHEMES
from mlnegf.warmstart import comparison as judging
from mlnegf.warmstart import dataset, generation, scores
from mlnegf.warmstart.learned import FILE, LearnedGuess
from mlnegf.warmstart.objective import Settings, potential_error
from mlnegf.warmstart.objective import train as fit
from mlnegf.warmstart.samples import START
from mlnegf.warmstart.trained_range import describe

Command = Callable[..., None]


class Clear(click.Group):
    """Turn errors of arguments, files and solvers into one line and exit code 2."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except (ValueError, OSError, PoissonError) as error:
            raise click.UsageError(str(error), ctx) from error


@click.group(cls=Clear, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(mlnegf.__version__)
def main() -> None:
    """Self-consistent quantum transport in nanoscale transistors, started from learned guesses."""
    torch.set_num_threads(1)


def _device_options(command: Command) -> Command:
    units = {"doping": "cm^-3", "temperature": "K"}
    lengths = ("gate_length", "width", "thickness", "source_length", "drain_length", "oxide_thickness")
    options = [
        click.option(
            f"--{name.replace('_', '-')}", type=float, default=getattr(Device, name), help=units.get(name, "nm")
        )
        for name in (*lengths, "doping", "temperature")
    ]
    options.append(click.option("--cross-section", default="rectangle", help=", ".join(CROSS_SECTIONS)))
    options.append(click.option("--polarity", type=click.Choice(["n", "p"]), default="n"))
    options.append(click.option("--penetration", is_flag=True, help="wave functions enter the oxide"))
    options.append(click.option("--spacing", type=float, default=0.25, help="largest cell, nm"))
    for option in reversed(options):
        command = option(command)
    return command


def _device(options: dict[str, Any]) -> Device:
    names = {field.name for field in fields(Device)}
    chosen = {name: options.pop(name) for name in list(options) if name in names}
    return Device(**{**chosen, "spacing": (chosen["spacing"],) * 3})


def _guess(name: str) -> Any:
    return LearnedGuess.pretrained() if name == "learned" else name


_scheme = click.option("--scheme", default="auto", help=", ".join(SCHEMES))
_tolerance = click.option("--tolerance", type=float, default=1e-3, help="V, on the estimated error")
_workers = click.option("--workers", type=click.IntRange(1), help="processes; as many as cores unless given")
_profile = click.option("--profile", type=click.Choice(list(dataset.PROFILES)), default="reduced")


@main.command()
@_device_options
@click.option("--gate", type=float, required=True, help="V")
@click.option("--drain", type=float, required=True, help="V")
@click.option("--guess", default="semiclassical", help=", ".join(GUESSES))
@_scheme
@_tolerance
@click.option("--json", "as_json", is_flag=True, help="print one JSON object")
def solve(gate: float, drain: float, guess: str, scheme: str, tolerance: float, as_json: bool, **options: Any) -> None:
    """Solve one bias. Exit code 1 when it did not converge."""
    solution = mlnegf.solve(_device(options), gate, drain, _guess(guess), scheme, tolerance)
    if as_json:
        names = ("gate", "drain", "converged", "status", "current", "error_estimate", "current_error", "warnings")
        result = {name: getattr(solution, name) for name in names}
        result |= {"device": solution.device.to_dict(), "work": asdict(solution.work)}
        click.echo(json.dumps(result, ensure_ascii=False))
    else:
        click.echo(solution.status)
        click.echo(f"current  {solution.current:.6e} A")
        for name, value in vars(solution.work).items():
            click.echo(f"{name.replace('_', ' ')}  {value:.3g}")
        for warning in solution.warnings:
            click.echo(f"warning: {warning}", err=True)
    sys.exit(0 if solution.converged else 1)


@main.command()
@_device_options
@click.option("--gates", default="0.05:0.8:9", help="V: first:last:count, or a,b,c")
@click.option("--drains", default="0.05,0.7", help="V: likewise")
@click.option("--guess", default="extrapolated", help=", ".join(["previous", *GUESSES]))
@_scheme
@_tolerance
@click.option("--output", type=click.Path(dir_okay=False), help="netCDF file")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object")
def sweep(
    gates: str,
    drains: str,
    guess: str,
    scheme: str,
    tolerance: float,
    output: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Solve a grid of biases: transfer and output curves."""
    biases = _voltages("gates", gates), _voltages("drains", drains)
    table = mlnegf.sweep(
        _device(options), *biases, guess=_guess(guess), scheme=scheme, tolerance=tolerance, progress=True
    )
    if output:
        write_whole(output, lambda path: table.to_netcdf(path, engine="h5netcdf"))
    if as_json:
        click.echo(json.dumps(table.to_dict(), default=str, ensure_ascii=False))
    elif not output:
        click.echo("gate V  " + "  ".join(f"I(drain = {drain:g} V) A" for drain in biases[1]))
        for gate, currents in zip(biases[0], table["current"].values, strict=True):
            click.echo(f"{gate:6.3f}  " + "  ".join(f"{current:21.6e}" for current in currents))
    sys.exit(0 if bool(table["converged"].all()) else 1)


def _voltages(name: str, text: str) -> list[float]:
    try:
        if ":" in text:
            first, last, count = text.split(":")
            return [float(value) for value in np.linspace(float(first), float(last), int(count))]
        return [float(value) for value in text.split(",")]
    except ValueError:
        raise ValueError(f"--{name} {text!r}, expected first:last:count or a,b,c in volts.") from None


@main.command()
@_profile
@click.option("--output", type=click.Path(file_okay=False), required=True, help="folder; a second run continues")
@_workers
def generate(profile: str, output: str, workers: int | None) -> None:
    """Solve every device of a profile at every bias, into labelled files."""
    generation.generate(dataset.PROFILES[profile], output, _command(), workers)


@main.command()
@click.option("--data", type=click.Path(exists=True, file_okay=False), required=True, help="folder of `generate`")
@click.option("--output", type=click.Path(file_okay=False), required=True, help="folder for weights and checkpoint")
@click.option("--epochs", type=int, default=Settings.epochs)
@click.option("--loss", default=Settings.loss, help=", ".join(LOSSES))
@click.option("--network", default=Settings.network, help=", ".join(NETWORKS))
@click.option("--seed", type=int, default=0)
def train(data: str, output: str, epochs: int, loss: str, network: str, seed: int) -> None:
    """Train a network; a second run goes on from the checkpoint."""
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    splits = dataset.split(dataset.cases(data))
    training, validation = ([case.sample() for case in part] for part in (splits.training, splits.validation))
    settings = Settings(
        epochs, loss=loss, network=network, seed=seed, checkpoint=str(folder / "checkpoint.safetensors")
    )
    trained = fit(training, validation, settings)
    median = float(np.median(potential_error(trained.model, validation).largest))
    origin = {"command": _command(), "version": mlnegf.__version__, "settings": json.dumps(asdict(settings))}
    card = describe(training, START, f"{len(training)} cases in {data}") | origin
    card["history"] = json.dumps({name: values.tolist() for name, values in trained.history._asdict().items()})
    card["largest_error"] = f"{median:.6f}"
    save(folder / FILE, trained.model, card)
    click.echo(f"{folder / FILE}: validation, largest error of the potential in a case: median {median * 1e3:.2f} mV")


@main.command()
@click.option("--data", type=click.Path(exists=True, file_okay=False), required=True, help="folder of `generate`")
@click.option("--output", type=click.Path(dir_okay=False), required=True, help="JSON file; a second run continues")
@click.option("--weights", type=click.Path(exists=True, dir_okay=False), help="the shipped ones unless given")
@click.option("--guesses", default="flat,semiclassical,previous,extrapolated,learned")
@click.option("--schemes", default="gummel,anderson,newton")
@click.option("--parts", default="unseen_bias,unseen_device")
@_tolerance
@_workers
@click.option("--figure", type=click.Path(dir_okay=False), help="draw the table into this file as well")
def benchmark(
    data: str,
    output: str,
    weights: str | None,
    guesses: str,
    schemes: str,
    parts: str,
    tolerance: float,
    workers: int | None,
    figure: str | None,
) -> None:
    """Compare guesses and schemes on held-out cases, and count everything."""
    splits = dataset.split(dataset.cases(data))
    runs = judging.compare(
        splits,
        output,
        guesses.split(","),
        schemes.split(","),
        parts.split(","),
        weights,
        tolerance,
        workers,
        command=_command(),
    )
    for row in scores.summarise(runs):
        click.echo(
            f"{row['split']:14} {row['scheme']:9} {row['guess']:14} right {row['right']:3d}/{row['runs']:<3d} "
            f"failed {row['failed']:2d} wrong branch {row['wrong branch']:2d} missed {row['missed']:2d}  "
            f"NEGF solves {row['charge_evaluations']:3.0f} (95 %: {row['charge_evaluations_95']:3.0f})  "
            f"{row['seconds']:5.2f} s ({row['seconds_95']:5.2f} s)"
        )
    if figure:
        from mlnegf import plots

        plots.save(plots.comparison(runs), figure)


def _command() -> str:
    return shlex.join(["mlnegf", *sys.argv[1:]])


if __name__ == "__main__":
    main()
