"""A device, its solution in space and energy, the way there, and its curves."""

import io
from collections.abc import Mapping
from typing import Final

import matplotlib.pyplot as plt
import numpy as np
import xarray
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.image import imsave
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from mlnegf._common import Floats, is_count, is_positive, require
from mlnegf.nanosheet.device import Device
from mlnegf.plots.style import COLOURS, MARKERS, panels, require_kind, require_named, styled
from mlnegf.scf.solve import Solution
from mlnegf.scf.spectrum import Spectrum
from mlnegf.widgets.turntable import Box, Turntable


@styled()
def section(device: Device) -> Figure:
    """Draw a device: its section, cell by cell, and its length."""
    require_kind("device", device, Device, "section")
    figure, axes = panels(8.5, 2.9, 1, 2, width_ratios=[1, 1.9])
    _across(axes[0, 0], device)
    _along(axes[0, 1], device)
    return figure


def _across(axis: Axes, device: Device) -> None:
    grid = device.grid
    edges_y, edges_z = (np.concatenate([[0], np.cumsum(d)]) - d.sum() / 2 for d in (grid.dy, grid.dz))
    axis.pcolormesh(edges_y, edges_z, grid.semiconductor.T, cmap="GnBu", vmin=-0.6, vmax=1.6, edgecolor="white", lw=0.2)
    axis.set(xlabel="y (nm)", ylabel="z (nm)", title="section", aspect="equal")
    axis.grid(False)


def _along(axis: Axes, device: Device) -> None:
    oxide, height, (begin, end) = device.oxide_thickness, device.thickness, device.grid.gate
    axis.add_patch(Rectangle((0, -height / 2 - oxide), device.length, height + 2 * oxide, color="#d9e8ea"))
    axis.add_patch(Rectangle((0, -height / 2), device.length, height, color="#7fb3c0"))
    for name, first, last in (("source", 0.0, begin), ("drain", end, device.length)):
        axis.add_patch(Rectangle((first, -height / 2), last - first, height, color="#3f7d92"))
        axis.text((first + last) / 2, 0, name, color="white", ha="center", va="center")
    for sign in (-1, 1):
        top = sign * (height / 2 + oxide + 0.35)
        axis.add_patch(Rectangle((begin, top - 0.35), end - begin, 0.7, color="#333333"))
    axis.text((begin + end) / 2, 0, "channel", ha="center", va="center")
    axis.text((begin + end) / 2, height / 2 + oxide + 0.95, "gate", ha="center")
    limit = height / 2 + oxide
    axis.set(xlim=(-0.5, device.length + 0.5), ylim=(-limit - 1.2, limit + 2), xlabel="x (nm)", ylabel="z (nm)")
    axis.set(title="along the channel", aspect="equal")
    axis.grid(False)


WORDS: Final = {"density_of_states": "states", "electrons": "electrons"}


@styled()
def energy_map(spectrum: Spectrum, what: str = "density_of_states", lowest: int = 3) -> Figure:
    """Draw states or electrons over x and E, the lowest subbands' edges, and beside them the current by energy."""
    require_kind("spectrum", spectrum, Spectrum, "energy_map")
    require(isinstance(what, str) and what in WORDS, "what", what, f"one of {sorted(WORDS)}", "plots.energy_map")
    require(is_count(lowest, 0), "lowest", lowest, "a number of subbands", "plots.energy_map")
    figure, axes = panels(8.5, 4.0, 1, 2, width_ratios=[3.2, 1], sharey=True)
    density, current = axes[0]
    figure.colorbar(_bands(density, spectrum, what, lowest), ax=density, pad=0.01)
    _current(current, spectrum)
    return figure


def _bands(axis: Axes, spectrum: Spectrum, what: str, lowest: int) -> QuadMesh:
    values = getattr(spectrum, what)
    image = axis.pcolormesh(
        spectrum.x, spectrum.energy, values, shading="nearest", vmin=0, vmax=np.quantile(values, 0.985), rasterized=True
    )
    for edge in spectrum.edges[np.argsort(spectrum.edges.min(axis=1))[:lowest]]:
        axis.plot(spectrum.x, edge, color="white", lw=0.8, ls="-", alpha=0.8)
    for level, side, name in zip(spectrum.fermi_levels, (0.0, 1.0), ("μ source", "μ drain"), strict=True):
        axis.axhline(
            level, xmin=0.0 if side == 0 else 0.72, xmax=0.28 if side == 0 else 1.0, color="#8ecae6", ls="--", lw=1
        )
        axis.text(
            spectrum.x[0 if side == 0 else -1],
            level,
            f" {name} ",
            color="white",
            fontsize=8,
            bbox={"facecolor": "black", "alpha": 0.55, "linewidth": 0, "pad": 1.5},
            va="center",
            ha="right" if side else "left",
        )
    axis.set(xlabel="x (nm)", ylabel="energy (eV)", title=f"{WORDS[what]} per eV and nm")
    axis.set_ylim(spectrum.energy[0], spectrum.energy[-1])
    axis.grid(False)
    return image


def _current(axis: Axes, spectrum: Spectrum) -> None:
    axis.fill_betweenx(spectrum.energy, 0, spectrum.current * 1e6, color=COLOURS[0], alpha=0.25)
    axis.plot(spectrum.current * 1e6, spectrum.energy, color=COLOURS[0])
    axis.set(xlabel="current (μA/eV)", title="who carries it")


@styled()
def transfer(tables: Mapping[str, xarray.Dataset], thermal_slope: float | None = None) -> Figure:
    """Draw drain current over gate voltage, logarithmic and linear; a cross where the solver did not converge.

    Currents of p-type devices are drawn as their magnitudes. `thermal_slope`, V per decade, is drawn as a guide.
    """
    require_named("tables", tables, xarray.Dataset, "transfer")
    good = thermal_slope is None or is_positive(thermal_slope)
    require(good, "thermal_slope", thermal_slope, "volts per decade, or None", "plots.transfer")
    figure, axes = panels(8.5, 3.3, 1, 2)
    marks = iter(zip(MARKERS * 4, range(24), strict=True))
    for name, table in tables.items():
        for drain in table["drain"].values:
            marker, index = next(marks)
            column = table.sel(drain=drain)
            current = abs(column["current"]) * 1e6
            for axis in axes[0]:
                label, colour = f"{name} $V_D$ = {drain:g} V".strip(), COLOURS[index % 6]
                axis.plot(column["gate"], current.where(column["converged"]), marker=marker, color=colour, label=label)
                axis.plot(column["gate"], current.where(~column["converged"]), "x", color=colour)
    logarithmic, linear = axes[0]
    logarithmic.set_yscale("log")
    if thermal_slope:
        first = next(iter(tables.values()))
        gates = first["gate"].values[: max(2, len(first["gate"]) // 3)]
        start = abs(float(first["current"].isel(drain=0, gate=0))) * 1e6
        logarithmic.plot(
            gates, start * 10 ** (abs(gates - gates[0]) / thermal_slope), color="#888888", ls=":", label="kT ln10 / e"
        )
    for axis in axes[0]:
        axis.set(xlabel="gate voltage (V)", ylabel="drain current (μA)")
    logarithmic.legend(fontsize=8)
    linear.set_ylim(0)
    return figure


@styled()
def convergence(solutions: Mapping[str, Solution], tolerance: float = 1e-3) -> Figure:
    """Draw the residual, and where it was asked the estimated error, of every NEGF solve."""
    require_named("solutions", solutions, Solution, "convergence")
    require(is_positive(tolerance), "tolerance", tolerance, "a positive number of volts", "plots.convergence")
    figure, axes = panels(7.0, 3.6)
    _residuals(axes[0, 0], {f"{name}: ": solution for name, solution in solutions.items()}, tolerance)
    return figure


def _residuals(axis: Axes, solutions: Mapping[str, Solution], tolerance: float) -> None:
    for index, (name, solution) in enumerate(solutions.items()):
        residual = np.array([step.residual for step in solution.history]) * 1e3
        error = np.array([step.error_estimate for step in solution.history]) * 1e3
        solves = np.arange(1, len(residual) + 1)
        colour, marker = COLOURS[index % 6], MARKERS[index % 6]
        axis.semilogy(solves, residual, marker=marker, color=colour, label=f"{name}{solution.outcome.name}")
        axis.semilogy(solves, error, marker=marker, color=colour, ls="none", mfc="none", ms=9)
    axis.axhline(tolerance * 1e3, color="black", lw=0.8, ls=":")
    axis.set(xlabel="NEGF solve", ylabel="residual; open: estimated error (mV)")
    axis.legend(fontsize=8)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))


@styled()
def solution(solution: Solution, spectrum: Spectrum, tolerance: float = 1e-3) -> Figure:
    """Draw all of a solution: the device, its bands and who carries the current, its charge, and the way there."""
    require_kind("solution", solution, Solution, "solution")
    require_kind("spectrum", spectrum, Spectrum, "solution")
    require(is_positive(tolerance), "tolerance", tolerance, "a positive number of volts", "plots.solution")
    figure, axes = panels(10.0, 9.0, 3, 2, width_ratios=[1.9, 1], height_ratios=[1.0, 1.4, 1.2])
    (along, across), (bands, current), (charge, way) = axes
    _along(along, solution.device)
    _across(across, solution.device)
    figure.colorbar(_bands(bands, spectrum, "density_of_states", lowest=3), ax=bands, pad=0.01)
    _current(current, spectrum)
    current.set(ylim=bands.get_ylim(), ylabel="energy (eV)")
    figure.colorbar(_charge(charge, solution), ax=charge, pad=0.01)
    _residuals(way, {"": solution}, tolerance)
    way.set_title("the way there")
    bias = f"gate {solution.gate:g} V, drain {solution.drain:g} V"
    words = f"{bias}: {solution.current * 1e6:.4g} μA".replace("-", "−")
    figure.suptitle(words, fontsize=11, fontweight="bold")
    return figure


def _charge(axis: Axes, solution: Solution) -> QuadMesh:
    """Map the charge over x and z, averaged over the semiconductor along y; four decades."""
    grid = solution.device.grid
    depth = (grid.semiconductor * grid.dy[:, None]).sum(axis=0)
    columns = np.einsum("xyz,yz,y->xz", solution.charge, grid.semiconductor, grid.dy)
    mean = np.divide(columns, depth, out=np.full_like(columns, np.nan), where=depth > 0)
    largest = float(np.nanmax(mean))
    image = axis.pcolormesh(
        grid.x, grid.z, mean.clip(1e-4 * largest).T, shading="nearest", norm=LogNorm(1e-4 * largest, largest)
    )
    for edge in grid.gate:
        axis.axvline(edge, color="white", lw=0.8, ls=":")
    carriers = "electrons" if solution.device.polarity == "n" else "holes"
    axis.set(xlabel="x (nm)", ylabel="z (nm)", title=f"{carriers} per cm³, mean over y")
    axis.set_ylim(-solution.device.thickness / 2, solution.device.thickness / 2)
    axis.grid(False)
    return image


@styled()
def portrait(solution: Solution, spectrum: Spectrum, words: str = "") -> Figure:
    """Draw a solution on one small page: bands and who carries the current; charge slices, four decades."""
    require_kind("solution", solution, Solution, "portrait")
    require_kind("spectrum", spectrum, Spectrum, "portrait")
    require_kind("words", words, str, "portrait")
    layout = "BBBBBBBCCC\n0011223344"
    figure, axes = plt.subplot_mosaic(layout, figsize=(8.6, 5.0), height_ratios=[2.4, 1])
    figure.colorbar(_bands(axes["B"], spectrum, "density_of_states", lowest=3), ax=axes["B"], pad=0.01)
    _current(axes["C"], spectrum)
    axes["C"].set_ylim(axes["B"].get_ylim())
    axes["C"].set_yticklabels([])
    grid = solution.device.grid
    begin, end = grid.gate
    inside = np.where(grid.semiconductor, solution.charge, np.nan)
    largest = float(np.nanmax(inside))
    places = [grid.x[0] + 1.0, begin, (begin + end) / 2, end, grid.x[-1] - 1.0]
    for k, place in enumerate(places):
        axis = axes[str(k)]
        section = inside[np.argmin(abs(grid.x - place))].clip(1e-4 * largest)
        axis.pcolormesh(grid.y, grid.z, section.T, shading="nearest", norm=LogNorm(1e-4 * largest, largest))
        half_y, half_z = solution.device.width / 2, solution.device.thickness / 2
        axis.set(xlim=(-half_y, half_y), ylim=(-half_z, half_z), aspect="equal", title=f"x = {place:.0f} nm")
        axis.set(xticks=[], yticks=[])
        axis.grid(visible=False)
    figure.suptitle(words, fontsize=10)
    return figure


def in_space(solution: Solution, slices: int = 24, caption: str = "") -> Turntable:
    """Stand a solution's charge slices in the device, oxide and gate about them, to be turned.

    Brighter and less transparent is more charge, over four decades.
    """
    require_kind("solution", solution, Solution, "in_space")
    require(is_count(slices, 1, 1000), "slices", slices, "a whole number between 1 and 1000", "plots.in_space")
    require_kind("caption", caption, str, "in_space")
    device, grid = solution.device, solution.device.grid
    largest = float(solution.charge[:, grid.semiconductor].max())
    whole = grid.semiconductor.shape
    edges = [np.concatenate([[0.0], np.cumsum(d)]) for d in (grid.dy, grid.dz)]
    even = [
        np.searchsorted(edge, np.linspace(0, edge[-1], 4 * size + 1)[:-1] + 1e-9, side="right") - 1
        for edge, size in zip(edges, whole, strict=True)
    ]
    pictures = []
    for place in np.linspace(grid.x[0], grid.x[-1], slices):
        charge = solution.charge[np.argmin(abs(grid.x - place))]
        share = np.clip(1 + np.log10(np.maximum(charge, 1e-4 * largest) / largest) / 4, 0, 1)
        colour = colormaps["magma"](0.15 + 0.8 * share)
        colour[..., 3] = np.where(grid.semiconductor, 0.12 + 0.78 * share, 0.0)
        pictures.append((float(place), _png(colour[np.ix_(*even)].transpose(1, 0, 2)[::-1])))
    begin, end = grid.gate
    height, depth = float(grid.dz.sum()), float(grid.dy.sum())
    gate = Box(begin, end, height, depth, "#333333", "gate")
    body = Box(0.0, device.length, height, depth, "#7fb3c0", "oxide")
    return Turntable(pictures, (device.length, height, depth), [body, gate], caption)


def _png(image: Floats) -> bytes:
    """Return a PNG of colours with transparency, (rows, columns, 4)."""
    buffer = io.BytesIO()
    imsave(buffer, image)
    return buffer.getvalue()
