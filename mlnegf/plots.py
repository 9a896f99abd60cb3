"""Every figure of the book, in one style: units named, and readable without colour."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import matplotlib.pyplot as plt
import numpy as np
import xarray
from cycler import cycler
from matplotlib.colors import LogNorm, Normalize, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mlnegf._common import Floats, write_whole
from mlnegf.learning.training import History
from mlnegf.nanosheet.device import Device
from mlnegf.scf.solve import Solution
from mlnegf.scf.spectrum import Spectrum
from mlnegf.units import PER_CUBIC_CENTIMETRE
from mlnegf.warmstart.comparison import Run
from mlnegf.warmstart.dataset import Sample

COLOURS: Final = ("#1b4965", "#d1495b", "#3d8b5f", "#e09f3e", "#7b5ea7", "#6c757d")
STYLE: Final[dict[str, Any]] = {
    "figure.dpi": 110,
    "figure.constrained_layout.use": True,
    "figure.max_open_warning": 0,  # the frames of a slider are many figures
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e5e5e5",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "image.cmap": "magma",
    # Line style changes with colour, so that a grey print says the same.
    "axes.prop_cycle": cycler(color=COLOURS) + cycler(linestyle=["-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), "-"]),
}
MARKERS: Final = "os^Dvx"


@contextmanager
def _style() -> Iterator[None]:
    # Around all of a drawing: legends, titles and lines take their style when they are made, not from their axes.
    # Not by rc_context: it would also undo what a notebook's backend sets when the first figure loads it.
    parameters: Any = plt.rcParams
    before = {name: parameters[name] for name in STYLE}
    parameters.update(STYLE)
    try:
        yield
    finally:
        parameters.update(before)


def _figure(width: float, height: float, rows: int = 1, columns: int = 1, **options: Any) -> tuple[Figure, Any]:
    return plt.subplots(rows, columns, figsize=(width, height), squeeze=False, **options)


@_style()
def section(device: Device) -> Figure:
    """Draw a device: its section, cell by cell, and its length."""
    grid = device.grid
    figure, axes = _figure(8.5, 2.9, 1, 2, width_ratios=[1, 1.9])
    across, along = axes[0]
    edges_y, edges_z = (np.concatenate([[0], np.cumsum(d)]) - d.sum() / 2 for d in (grid.dy, grid.dz))
    across.pcolormesh(
        edges_y, edges_z, grid.semiconductor.T, cmap="GnBu", vmin=-0.6, vmax=1.6, edgecolor="white", lw=0.2
    )
    across.set(xlabel="y (nm)", ylabel="z (nm)", title="section: silicon in oxide", aspect="equal")
    oxide, height = device.oxide_thickness, device.thickness
    along.add_patch(Rectangle((0, -height / 2 - oxide), device.length, height + 2 * oxide, color="#d9e8ea"))
    along.add_patch(Rectangle((0, -height / 2), device.length, height, color="#7fb3c0"))
    parts = (
        ("source", 0, device.source_length),
        ("drain", device.source_length + device.gate_length, device.drain_length),
    )
    for name, start, length in parts:
        along.add_patch(Rectangle((start, -height / 2), length, height, color="#3f7d92"))
        along.text(start + length / 2, 0, name, color="white", ha="center", va="center")
    for sign in (-1, 1):
        top = sign * (height / 2 + oxide + 0.35)
        along.add_patch(Rectangle((device.source_length, top - 0.35), device.gate_length, 0.7, color="#333333"))
    along.text(device.source_length + device.gate_length / 2, 0, "channel", ha="center", va="center")
    along.text(device.length / 2, height / 2 + oxide + 0.95, "gate", ha="center")
    along.set(
        xlim=(-0.5, device.length + 0.5), ylim=(-height / 2 - oxide - 1.2, height / 2 + oxide + 2), xlabel="x (nm)"
    )
    along.set(ylabel="z (nm)", title="along the channel", aspect="equal")
    along.grid(False)
    across.grid(False)
    return figure


@_style()
def energy_map(spectrum: Spectrum, what: str = "density_of_states", lowest: int = 3) -> Figure:
    """Draw states or electrons over x and E, the lowest subbands' edges, and beside them the current by energy."""
    figure, axes = _figure(8.5, 4.0, 1, 2, width_ratios=[3.2, 1], sharey=True)
    density, current = axes[0]
    values = getattr(spectrum, what)
    image = density.pcolormesh(
        spectrum.x, spectrum.energy, values, shading="nearest", vmin=0, vmax=np.quantile(values, 0.985), rasterized=True
    )
    for edge in spectrum.edges[np.argsort(spectrum.edges.min(axis=1))[:lowest]]:
        density.plot(spectrum.x, edge, color="white", lw=0.8, ls="-", alpha=0.8)
    for level, side, name in zip(spectrum.fermi_levels, (0.0, 1.0), ("μ source", "μ drain"), strict=True):
        density.axhline(
            level, xmin=0.0 if side == 0 else 0.72, xmax=0.28 if side == 0 else 1.0, color="#8ecae6", ls="--", lw=1
        )
        density.text(
            spectrum.x[0 if side == 0 else -1],
            level,
            f" {name} ",
            color="white",
            fontsize=8,
            bbox={"facecolor": "black", "alpha": 0.55, "linewidth": 0, "pad": 1.5},
            va="center",
            ha="right" if side else "left",
        )
    words = {"density_of_states": "states", "electrons": "electrons"}[what]
    density.set(xlabel="x (nm)", ylabel="energy (eV)", title=f"{words} per eV and nm")
    density.set_ylim(spectrum.energy[0], spectrum.energy[-1])
    density.grid(False)
    figure.colorbar(image, ax=density, pad=0.01)
    current.fill_betweenx(spectrum.energy, 0, spectrum.current * 1e6, color=COLOURS[0], alpha=0.25)
    current.plot(spectrum.current * 1e6, spectrum.energy, color=COLOURS[0])
    current.set(xlabel="current (μA/eV)", title="who carries it")
    return figure


@_style()
def transfer(tables: Mapping[str, xarray.Dataset], thermal_slope: float | None = None) -> Figure:
    """Draw drain current over gate voltage, logarithmic and linear; `thermal_slope` in V per decade as a guide."""
    figure, axes = _figure(8.5, 3.3, 1, 2)
    marks = iter(zip(MARKERS * 4, range(24), strict=True))
    for name, table in tables.items():
        for drain in table["drain"].values:
            marker, index = next(marks)
            for axis in axes[0]:
                axis.plot(
                    table["gate"],
                    table["current"].sel(drain=drain) * 1e6,
                    marker=marker,
                    color=COLOURS[index % 6],
                    label=f"{name}$V_D$ = {drain:g} V",
                )
    logarithmic, linear = axes[0]
    logarithmic.set_yscale("log")
    if thermal_slope:
        first = next(iter(tables.values()))
        gates = first["gate"].values[: max(2, len(first["gate"]) // 3)]
        start = float(first["current"].isel(drain=0, gate=0)) * 1e6
        logarithmic.plot(
            gates, start * 10 ** ((gates - gates[0]) / thermal_slope), color="#888888", ls=":", label="kT ln10 / e"
        )
    for axis in axes[0]:
        axis.set(xlabel="gate voltage (V)", ylabel="drain current (μA)")
    logarithmic.legend(fontsize=8)
    linear.set_ylim(0)
    return figure


@_style()
def convergence(solutions: Mapping[str, Solution], tolerance: float = 1e-3) -> Figure:
    """Draw the residual, and where it was asked the estimated error, of every NEGF solve."""
    figure, axes = _figure(7.0, 3.6)
    axis = axes[0, 0]
    for index, (name, solution) in enumerate(solutions.items()):
        residual = np.array([step.residual for step in solution.history]) * 1e3
        error = np.array([step.error_estimate for step in solution.history]) * 1e3
        solves = np.arange(1, len(residual) + 1)
        colour, marker = COLOURS[index % 6], MARKERS[index % 6]
        axis.semilogy(solves, residual, marker=marker, color=colour, label=f"{name}: {solution.outcome.name}")
        axis.semilogy(solves, error, marker=marker, color=colour, ls="none", mfc="none", ms=9)
    axis.axhline(tolerance * 1e3, color="black", lw=0.8, ls=":")
    axis.set(xlabel="NEGF solve", ylabel="residual; open: estimated error (mV)")
    axis.legend(fontsize=8)
    return figure


@_style()
def slices(sample: Sample, positions: Sequence[float], predicted: Floats | None = None) -> Figure:
    """Draw charge slices at positions x (nm): first iteration, last one, and their difference; then a prediction's."""
    fields = {"first": sample.first_charge, "last": sample.charge, "first − last": sample.first_charge - sample.charge}
    if predicted is not None:
        fields["predicted − last"] = predicted - sample.charge
    columns = [int(np.abs(sample.x - position).argmin()) for position in positions]
    size = 1.6 * len(columns) + 1.4, 1.15 * len(fields) + 0.7
    figure, axes = _figure(*size, len(fields), len(columns), sharex=True, sharey=True)
    grid = sample.device.grid
    y, z = grid.y[grid.box[0]], grid.z[grid.box[1]]
    for row, (name, field) in enumerate(fields.items()):
        shown = np.where(sample.mask, field[columns], np.nan) / PER_CUBIC_CENTIMETRE
        signed = "−" in name
        # All differences share one scale, so that a better prediction is seen to be paler.
        largest = np.nanmax(abs(fields["first − last"][columns])) / PER_CUBIC_CENTIMETRE if signed else np.nanmax(shown)
        norm = TwoSlopeNorm(0, -largest, largest) if signed else Normalize(0, largest)
        for axis, section in zip(axes[row], shown, strict=True):
            image = axis.pcolormesh(y, z, section.T, norm=norm, cmap="RdBu_r" if signed else "magma")
            axis.set_aspect("equal")
            axis.grid(False)
        axes[row, 0].set_ylabel(f"{name}\nz (nm)", fontsize=8)
        bar = figure.colorbar(image, ax=axes[row], aspect=9, pad=0.01)
        bar.ax.tick_params(labelsize=7)
    for axis, column in zip(axes[0], columns, strict=True):
        axis.set_title(f"x = {sample.x[column]:.1f} nm", fontsize=9)
    for axis in axes[-1]:
        axis.set_xlabel("y (nm)", fontsize=8)
    figure.suptitle("electrons per cm³", fontsize=9)
    return figure


@_style()
def learning_curve(histories: Mapping[str, History]) -> Figure:
    """Draw losses and the potential error on validation over epochs."""
    figure, axes = _figure(8.5, 3.2, 1, 2)
    loss, error = axes[0]
    for index, (name, history) in enumerate(histories.items()):
        epochs, colour = np.arange(1, len(history.training) + 1), COLOURS[index % 6]
        loss.semilogy(epochs, history.training, color=colour, ls="--", lw=1, label=f"{name} training")
        loss.semilogy(epochs, history.validation, color=colour, ls="-", label=f"{name} validation")
        error.plot(epochs, np.asarray(history.error) * 1e3, color=colour, ls="-", label=name)
    loss.set(xlabel="epoch", ylabel="loss (1)", title="loss")
    error.set(xlabel="epoch", ylabel="rms error (mV)", title="potential on validation", ylim=(0, None))
    loss.legend(fontsize=8)
    return figure


@_style()
def comparison(runs: Sequence[Run], split: str | None = None, most: int = 60) -> Figure:
    """Draw the share of cases that are right within n NEGF solves, a panel for each scheme, a line for each guess."""
    chosen = [run for run in runs if split in (None, run.split)]
    schemes, guesses = (list(dict.fromkeys(getattr(run, name) for run in chosen)) for name in ("scheme", "guess"))
    figure, axes = _figure(3.0 * len(schemes) + 1.0, 3.4, 1, len(schemes), sharey=True)
    for axis, scheme in zip(axes[0], schemes, strict=True):
        for index, guess in enumerate(guesses):
            members = [run for run in chosen if run.scheme == scheme and run.guess == guess]
            if not members:
                continue
            solves = np.sort([run.charge_evaluations for run in members if run.outcome == "right"])
            share = np.searchsorted(solves, np.arange(1, most + 1), side="right") / len(members)
            style = STYLE["axes.prop_cycle"].by_key()["linestyle"][index % 6]
            axis.step(
                np.arange(1, most + 1), share * 100, where="post", color=COLOURS[index % 6], ls=style, label=guess
            )
        axis.set_xscale("log")
        axis.set_xticks([1, 2, 3, 5, 10, 20, 40, 60], ["1", "2", "3", "5", "10", "20", "40", "60"])
        axis.minorticks_off()
        axis.set(xlabel="NEGF solves", title=scheme, ylim=(0, 102))
    axes[0, 0].set_ylabel("cases solved rightly (%)")
    axes[0, 0].legend(fontsize=8, loc="upper left")
    return figure


@_style()
def bias_map(runs: Sequence[Run], scheme: str, guesses: Sequence[str], most: int = 20) -> Figure:
    """Draw the NEGF solves of one scheme over gate and drain voltage; a cross where the run was not right."""
    figure, axes = _figure(2.6 * len(guesses) + 0.8, 3.0, 1, len(guesses), sharey=True)
    image = None
    for axis, guess in zip(axes[0], guesses, strict=True):
        members = [run for run in runs if run.scheme == scheme and run.guess == guess]
        gates, drains = (sorted({getattr(run, name) for run in members}) for name in ("gate", "drain"))
        counts = np.full((len(gates), len(drains)), np.nan)
        for run in members:
            row, column = gates.index(run.gate), drains.index(run.drain)
            if run.outcome == "right":
                counts[row, column] = run.charge_evaluations
                dark = run.charge_evaluations < most / 3
                axis.text(
                    column,
                    row,
                    run.charge_evaluations,
                    ha="center",
                    va="center",
                    fontsize=7,
                    color="w" if dark else "k",
                )
            else:
                axis.text(column, row, "×", ha="center", va="center", color=COLOURS[1])
        image = axis.imshow(counts, origin="lower", norm=LogNorm(1, most), cmap="cividis", aspect="equal")
        axis.set_xticks(range(len(drains)), [f"{v:g}" for v in drains], fontsize=6)
        axis.set_yticks(range(len(gates)), [f"{v:g}" for v in gates], fontsize=6)
        axis.set(xlabel="drain voltage (V)", title=guess)
        axis.grid(False)
    axes[0, 0].set_ylabel("gate voltage (V)")
    if image is not None:
        bar = figure.colorbar(image, ax=axes, shrink=0.8, ticks=[1, 2, 3, 5, 10, 20])
        bar.ax.set_yticklabels(["1", "2", "3", "5", "10", "20"])
    return figure


@_style()
def certificates(runs: Sequence[Run]) -> Figure:
    """Draw the error that the solver estimated against the true one, for every certified run."""
    figure, axes = _figure(4.6, 4.0)
    axis = axes[0, 0]
    certified = [run for run in runs if run.outcome in ("right", "missed", "wrong branch")]
    for index, scheme in enumerate(dict.fromkeys(run.scheme for run in certified)):
        own = [run for run in certified if run.scheme == scheme]
        true, estimated = ([getattr(run, name) * 1e3 for run in own] for name in ("true_error", "estimated_error"))
        axis.loglog(true, estimated, MARKERS[index], color=COLOURS[index], mfc="none", ms=4, label=scheme)
    limits = np.array([1e-4, 2e2])
    axis.loglog(limits, limits, color="black", lw=0.8, ls=":")
    axis.set(xlabel="true error (mV)", ylabel="estimated error (mV)", title="is the certificate honest?")
    axis.legend(fontsize=8)
    return figure


def save(figure: Figure, path: str) -> None:
    """Write a figure to a PNG file."""
    write_whole(path, lambda file: figure.savefig(file, format="png", dpi=150))
