"""The command line: solve, sweep, generate, wires, train, benchmark.

Each command loads what it needs when it runs, so that help comes at once.
"""

import json
import shlex
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np

import mlnegf
from mlnegf import _options as options
from mlnegf._common import require
from mlnegf._files import write_whole


class OneThread(click.Command):
    """A command whose arrays are too small to share: a second thread loses more than it gains."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run it."""
        import torch

        torch.set_num_threads(1)
        # As an interrupt is: blocks are left in order, workers end, temporary files go.
        before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        try:
            return super().invoke(ctx)
        finally:
            signal.signal(signal.SIGTERM, before)


class Clear(click.Group):
    """Turn errors of arguments, files, memory and solvers into one line and exit code 2."""

    command_class = OneThread

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            ours = type(error).__module__.startswith("mlnegf.")
            if not ours and not isinstance(error, (ValueError, OSError, MemoryError)):
                raise
            raise click.UsageError(" ".join(str(error).split()) or type(error).__name__, ctx) from error


@click.group(cls=Clear, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(mlnegf.__version__)
def main() -> None:
    """Self-consistent quantum transport in nanoscale transistors, started from learned guesses."""


_scheme = options.late("--scheme", options.schemes, default="auto")
_tolerance = click.option("--tolerance", type=float, default=1e-3, help="V, on the estimated error")
_mix_versions = click.option("--mix-versions", is_flag=True, help="keep data of another version of mlnegf too")
_json = click.option("--json", "as_json", is_flag=True, help="print one JSON object")


def _figure(shows: str) -> Callable[[options.Command], options.Command]:
    return click.option(
        "--figure", type=click.Path(dir_okay=False), callback=options.png, help=f"PNG file to draw {shows} into"
    )


@main.command()
@options.of_device
@click.option("--gate", type=float, required=True, help="V")
@click.option("--drain", type=float, required=True, help="V")
@options.late("--guess", options.guesses, default="semiclassical")
@_scheme
@_tolerance
@_figure("section, bands, current by energy, charge and convergence")
@_json
def solve(
    gate: float,
    drain: float,
    guess: str,
    scheme: str,
    tolerance: float,
    figure: str | None,
    as_json: bool,
    **parameters: Any,
) -> None:
    """Solve one bias. Exit code 1 when it did not converge."""
    solution = mlnegf.solve(options.device(parameters), gate, drain, guess, scheme, tolerance)
    if figure:
        from mlnegf.scf.spectrum import spectrum

        plots = _plots()
        plots.save(plots.solution(solution, spectrum(solution), tolerance), figure)
    if as_json:
        names = ("gate", "drain", "converged", "status", "current", "error_estimate", "current_error", "guess_used")
        result = {name: getattr(solution, name) for name in (*names, "warnings")}
        result["outcome"] = solution.outcome.name
        result |= {"device": solution.device.to_dict(), "grid": _grid(solution.device), "work": asdict(solution.work)}
        click.echo(options.as_json(result))
    else:
        click.echo(solution.status)
        click.echo(f"current  {solution.current:.6e} A")
        for name, value in vars(solution.work).items():
            click.echo(f"{name.replace('_', ' ')}  {value:.3g}")
        click.echo(f"grid  {_grid_in_words(solution.device)}")
        for warning in solution.warnings:
            click.echo(f"warning: {warning}", err=True)
    sys.exit(0 if solution.converged else 1)


def _grid(device: "mlnegf.Device") -> dict[str, Any]:
    """Cells along x, y and z, the largest of them, and the lengths along x that they make, nm."""
    grid = device.grid
    begin, end = grid.gate
    return {
        "cells": grid.shape,
        "largest": (grid.dx, float(grid.dy.max()), float(grid.dz.max())),
        "source_length": begin,
        "gate_length": end - begin,
        "drain_length": device.length - end,
    }


def _grid_in_words(device: "mlnegf.Device") -> str:
    grid = _grid(device)
    cells, largest = (" × ".join(f"{value:.4g}" for value in grid[name]) for name in ("cells", "largest"))
    along = ", ".join(f"{name} {grid[f'{name}_length']:.4g}" for name in ("source", "gate", "drain"))
    return f"{cells} cells of at most {largest} nm; along x {along} nm"


def _plots() -> Any:
    """Load the plots, without a window."""
    import matplotlib

    matplotlib.use("Agg")
    from mlnegf import plots

    return plots


@main.command()
@options.of_device
@click.option("--gates", default="0.05:0.8:9", help="V: first:last:count, or a,b,c")
@click.option("--drains", default="0.05,0.7", help="V: likewise")
@options.late("--guess", lambda: options.guesses("previous"), default="extrapolated")
@_scheme
@_tolerance
@click.option("--output", type=click.Path(dir_okay=False), help="netCDF file; a second run continues a killed one")
@options.of_workers
@_figure("transfer curves")
@_json
def sweep(
    gates: str,
    drains: str,
    guess: str,
    scheme: str,
    tolerance: float,
    output: str | None,
    workers: int | None,
    memory: float | None,
    scheduler: str | None,
    figure: str | None,
    as_json: bool,
    **parameters: Any,
) -> None:
    """Solve a grid of biases: transfer and output curves."""
    biases = options.voltages("gates", gates), options.voltages("drains", drains)
    device = options.device(parameters)
    meanwhile = Path(f"{output}.run") if output else None
    table = mlnegf.sweep(
        device,
        *biases,
        guess=guess,
        scheme=scheme,
        tolerance=tolerance,
        progress=True,
        workers=workers,
        memory=memory,
        scheduler=scheduler,
        folder=meanwhile,
    )
    if output and meanwhile:
        _store_sweep(output, table)
        shutil.rmtree(meanwhile)
    if figure:
        plots = _plots()
        plots.save(plots.transfer({"": table}), figure)
    if as_json:
        click.echo(options.as_json(table.to_dict()))
    elif not output:
        click.echo("gate V  " + "  ".join(f"I(drain = {drain:g} V) A" for drain in biases[1]))
        for gate, currents in zip(biases[0], table["current"].values, strict=True):
            click.echo(f"{gate:6.3f}  " + "  ".join(f"{current:21.6e}" for current in currents))
        click.echo(f"grid  {_grid_in_words(device)}", err=True)
    sys.exit(0 if bool(table["converged"].all()) else 1)


def _store_sweep(output: str, table: Any) -> None:
    """Write a table, the same bytes for the same answers; how long they took goes to a log beside it."""
    from mlnegf.runs.netcdf import netcdf

    seconds = table["seconds"].to_series().to_dict()
    rows = [{"gate": gate, "drain": drain, "seconds": took} for (gate, drain), took in seconds.items()]
    write_whole(f"{output}.log.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    write_whole(output, netcdf(table.drop_vars("seconds")))


@main.command()
@options.late("--design", options.designs, default="reduced")
@click.option("--output", type=click.Path(file_okay=False), required=True, help="folder; a second run continues")
@options.of_workers
@_mix_versions
def generate(design: str, output: str, **who: Any) -> None:
    """Solve every device of a design at its biases, into labelled files."""
    from mlnegf.warmstart.design import Design
    from mlnegf.warmstart.generation import generate

    generate(Design.read(design), output, _command(), **who)


@main.command()
@click.option("--kind", type=click.Choice(["compact", "full"]), default="compact", help="short wires, or long ones")
@click.option("--count", type=click.IntRange(1), help="pulls; 57 compact ones and 100 full ones unless given")
@click.option("--output", type=click.Path(file_okay=False), required=True, help="folder; a second run continues")
@options.of_workers
def wires(kind: str, count: int | None, output: str, **who: Any) -> None:
    """Pull potassium wires until they break, and work out the conductance of every snapshot, a file each."""
    from mlnegf.atomistic import pulls

    chosen = pulls.compact if kind == "compact" else pulls.full
    pulls.generate(chosen() if count is None else chosen(count), output, _command(), **who)


@main.command()
@click.option("--data", type=click.Path(exists=True, file_okay=False), required=True, help="folder of `generate`")
@click.option("--output", type=click.Path(file_okay=False), required=True, help="folder for weights and checkpoints")
@options.late("--network", lambda: options.of_training("network"), default="separable")
@options.late("--epochs", lambda: options.of_training("epochs"), type=int)
@options.late("--learning-rate", lambda: options.of_training("learning_rate"), type=float)
@options.late("--loss", lambda: options.of_training("loss"))
@click.option("--seed", type=int, default=0)
@click.option("--voters", type=click.IntRange(1), default=1, help="networks from as many seeds, of `separable` alone")
@_mix_versions
def train(data: str, output: str, network: str, seed: int, voters: int, mix_versions: bool, **chosen: Any) -> None:
    """Train networks; a second run goes on from the checkpoints.

    `separable` ones make the learned guess, from parameters alone; the others read slices of the first iteration.
    """
    from mlnegf.warmstart import dataset

    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    splits = dataset.split(dataset.cases(data, mix_versions))
    given = {name: value for name, value in chosen.items() if value is not None}
    if network == "separable":
        require("loss" not in given, "loss", given.get("loss"), "none: `separable` has one of its own", "train")
        path, error = _train_start(splits, folder, range(seed, seed + voters), given)
    else:
        require(voters == 1, "voters", voters, "1 for a network of slices", "train")
        path, error = _train_slices(splits, folder, {**given, "network": network, "seed": seed})
    click.echo(f"{path}: validation, largest error of the potential in a case: median {error * 1e3:.2f} mV")


def _train_start(splits: Any, folder: Path, seeds: range, given: dict[str, Any]) -> tuple[Path, float]:
    from mlnegf.learning.training import Settings
    from mlnegf.warmstart import learned, start_training

    settings = [
        Settings(**given, seed=seed, checkpoint=str(folder / f"checkpoint{seed}.safetensors")) for seed in seeds
    ]
    guess = start_training.train_guess(
        splits.training, splits.validation, settings, command=_command(), version=mlnegf.__version__
    )
    guess.save(folder / learned.FILE)
    return folder / learned.FILE, float(guess.metadata["largest_error"])


def _train_slices(splits: Any, folder: Path, given: dict[str, Any]) -> tuple[Path, float]:
    from mlnegf.learning.networks import save
    from mlnegf.warmstart import objective, samples
    from mlnegf.warmstart.trained_range import describe

    training, validation = ([case.sample() for case in part] for part in (splits.training, splits.validation))
    settings = objective.Settings(**given, checkpoint=str(folder / "checkpoint.safetensors"))
    trained = objective.train(training, validation, settings)
    error = float(np.median(objective.potential_error(trained.model, validation).largest))
    origin = {"command": _command(), "version": mlnegf.__version__, "settings": json.dumps(asdict(settings))}
    card = describe(training, samples.START, f"{len(training)} cases") | origin
    card["history"] = json.dumps({name: values.tolist() for name, values in trained.history._asdict().items()})
    card["largest_error"] = f"{error:.6f}"
    path = folder / f"{settings.network}.safetensors"
    save(path, trained.model, card)
    return path, error


@main.command()
@click.option("--data", type=click.Path(exists=True, file_okay=False), required=True, help="folder of `generate`")
@click.option("--output", type=click.Path(dir_okay=False), required=True, help="JSON file; a second run continues")
@click.option("--weights", type=click.Path(exists=True, dir_okay=False), help="the shipped ones unless given")
@click.option("--guesses", default="flat,semiclassical,previous,extrapolated,learned")
@click.option("--schemes", default="gummel,anderson,newton")
@click.option("--parts", default="unseen_bias,unseen_device", help="of the split; also outside, validation, training")
@_tolerance
@options.of_workers
@_mix_versions
@_figure("the table")
def benchmark(
    data: str,
    output: str,
    weights: str | None,
    guesses: str,
    schemes: str,
    parts: str,
    tolerance: float,
    mix_versions: bool,
    figure: str | None,
    **who: Any,
) -> None:
    """Compare guesses and schemes on held-out cases, and count everything."""
    from mlnegf.warmstart import comparison, dataset, scores

    splits = dataset.split(dataset.cases(data, mix_versions))
    runs = comparison.compare(
        splits,
        output,
        guesses.split(","),
        schemes.split(","),
        parts.split(","),
        weights,
        tolerance,
        command=_command(),
        **who,
    )
    for row in scores.summarise(runs):
        click.echo(
            f"{row['split']:14} {row['scheme']:9} {row['guess']:14} right {row['right']:3d}/{row['runs']:<3d} "
            f"failed {row['failed']:2d} wrong branch {row['wrong branch']:2d} missed {row['missed']:2d}  "
            f"NEGF solves {row['charge_evaluations']:3.0f} (95 %: {row['charge_evaluations_95']:3.0f})  "
            f"{row['seconds']:5.2f} s ({row['seconds_95']:5.2f} s)"
        )
    if figure:
        plots = _plots()
        plots.save(plots.comparison(runs), figure)


def _command() -> str:
    return shlex.join(["mlnegf", *sys.argv[1:]])


if __name__ == "__main__":
    main()
