"""What a network reads and how it learned."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import Normalize, TwoSlopeNorm
from matplotlib.figure import Figure

from mlnegf._common import Floats, reals, require
from mlnegf.learning.training import History
from mlnegf.plots.style import COLOURS, panels, require_kind, require_named, styled
from mlnegf.units import PER_CUBIC_CENTIMETRE
from mlnegf.warmstart.samples import Sample


@styled()
def slices(sample: Sample, positions: Sequence[float], predicted: Floats | None = None) -> Figure:
    """Draw charge slices at positions x (nm): first iteration, last one, and their difference; then a prediction's."""
    require_kind("sample", sample, Sample, "slices")
    require(reals(positions, 1) is not None, "positions", positions, "places in nm, one or more", "plots.slices")
    if predicted is not None:
        field = reals(predicted, 3)
        good = field is not None and field.shape == sample.charge.shape
        require(good, "predicted", predicted, f"finite numbers of shape {sample.charge.shape}", "plots.slices")
    fields = {"first": sample.first_charge, "last": sample.charge, "first − last": sample.first_charge - sample.charge}
    if predicted is not None:
        fields["predicted − last"] = predicted - sample.charge
    columns = [int(np.abs(sample.x - position).argmin()) for position in positions]
    size = 1.6 * len(columns) + 1.4, 1.15 * len(fields) + 0.7
    figure, axes = panels(*size, len(fields), len(columns), sharex=True, sharey=True)
    grid = sample.device.grid
    y, z = grid.y[grid.box[0]], grid.z[grid.box[1]]
    for row, (name, field) in enumerate(fields.items()):
        shown = np.where(sample.mask, field[columns], np.nan) / PER_CUBIC_CENTIMETRE
        signed = "−" in name
        # All differences share one scale, so that a better prediction is seen to be paler.
        peak = np.nanmax(abs(fields["first − last"][columns])) / PER_CUBIC_CENTIMETRE if signed else np.nanmax(shown)
        largest = float(peak) or 1.0  # where nothing differs
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


@styled()
def iterations(sample: Sample) -> Figure:
    """Draw the first and the last iteration along x: electrons per length, and the potential energy on the axis."""
    require_kind("sample", sample, Sample, "iterations")
    grid, middle = sample.device.grid, tuple(cells // 2 for cells in sample.mask.shape)
    figure, axes = panels(8.5, 2.9, 1, 2)
    electrons, energy = axes[0]
    area = np.outer(grid.dy[grid.box[0]], grid.dz[grid.box[1]])
    for name, charge, potential in (
        ("first", sample.first_charge, sample.first_potential),
        ("last", sample.charge, sample.potential),
    ):
        electrons.plot(sample.x, (charge * area).sum(axis=(1, 2)), label=name)
        energy.plot(sample.x, -potential[:, *middle], label=name)
    electrons.set(xlabel="x (nm)", ylabel="electrons (1/nm)", ylim=(0, None))
    energy.set(xlabel="x (nm)", ylabel="potential energy on the axis (eV)")
    electrons.legend()
    return figure


@styled()
def learning_curve(histories: Mapping[str, History]) -> Figure:
    """Draw losses and the potential error on validation over epochs."""
    require_named("histories", histories, History, "learning_curve")
    figure, axes = panels(8.5, 3.2, 1, 2)
    loss, error = axes[0]
    for index, (name, history) in enumerate(histories.items()):
        epochs, colour = np.arange(1, len(history.training) + 1), COLOURS[index % 6]
        loss.plot(epochs, history.training, color=colour, ls="--", lw=1, label=f"{name} training")
        loss.plot(epochs, history.validation, color=colour, ls="-", label=f"{name} validation")
        error.plot(epochs, np.asarray(history.error) * 1e3, color=colour, ls="-", label=name)
    # A loss that is itself a logarithm falls below zero.
    if all(min(*history.training, *history.validation) > 0 for history in histories.values()):
        loss.set_yscale("log")
    loss.set(xlabel="epoch", ylabel="loss (1)", title="loss")
    error.set(xlabel="epoch", ylabel="rms error (mV)", title="potential on validation", ylim=(0, None))
    loss.legend(fontsize=8)
    return figure
