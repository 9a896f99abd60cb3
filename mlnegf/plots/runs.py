"""Guesses and schemes compared, over many runs."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from mlnegf._common import Floats, is_count, items, reals, require
from mlnegf.plots.style import COLOURS, MARKERS, STYLE, panels, require_kind, styled
from mlnegf.warmstart.trials import Trial


@styled()
def comparison(runs: Sequence[Trial], split: str | None = None, most: int = 60) -> Figure:
    """Draw the share of cases that are right within n NEGF solves, a panel for each scheme, a line for each guess."""
    known = items(runs, Trial) or []
    require(bool(known), "runs", runs, "a list of one Trial or more", "plots.comparison")
    splits = sorted({run.split for run in known})
    require(
        split is None or (isinstance(split, str) and split in splits),
        "split",
        split,
        f"one of {splits}, or None",
        "plots.comparison",
    )
    require(is_count(most, 1, 10_000), "most", most, "a number of NEGF solves", "plots.comparison")
    chosen = [run for run in known if split in (None, run.split)]
    schemes, guesses = (list(dict.fromkeys(getattr(run, name) for run in chosen)) for name in ("scheme", "guess"))
    figure, axes = panels(3.0 * len(schemes) + 1.0, 3.4, 1, len(schemes), sharey=True)
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
        ticks = [solves for solves in (1, 2, 3, 5, 10, 20, 40, 60) if solves <= most]
        axis.set_xticks(ticks, [str(solves) for solves in ticks])
        axis.set_xlim(0.9, 1.1 * most)
        axis.minorticks_off()
        axis.set(xlabel="NEGF solves", title=scheme, ylim=(0, 102))
    axes[0, 0].set_ylabel("cases solved rightly (%)")
    axes[0, 0].legend(fontsize=8, loc="lower right")
    return figure


@styled()
def over_bias(values: Floats, gates: Sequence[float], drains: Sequence[float], title: str) -> Figure:
    """Draw numbers, (gates, drains), over gate and drain voltage, each written into its place."""
    for name, voltages in (("gates", gates), ("drains", drains)):
        require(reals(voltages, 1) is not None, name, voltages, "voltages, one or more", "plots.over_bias")
    found = reals(values, 2)
    good = found is not None and found.shape == (len(gates), len(drains))
    require(good, "values", values, f"finite numbers of shape {(len(gates), len(drains))}", "plots.over_bias")
    require_kind("title", title, str, "over_bias")
    figure, axes = panels(4.6, 2.8)
    axis = axes[0, 0]
    axis.imshow(values, origin="lower", cmap="cividis", aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        colour = "w" if value < np.max(values) / 2 else "k"
        axis.text(column, row, f"{value:.0f}", ha="center", va="center", color=colour)
    axis.set_xticks(range(len(drains)), [f"{drain:g}" for drain in drains])
    axis.set_yticks(range(len(gates)), [f"{gate:g}" for gate in gates])
    axis.grid(False)
    axis.set(xlabel="drain voltage (V)", ylabel="gate voltage (V)", title=title)
    return figure


@styled()
def certificates(runs: Sequence[Trial]) -> Figure:
    """Draw the error that the solver estimated against the true one, for every certified run."""
    known = items(runs, Trial)
    require(known is not None, "runs", runs, "a list of Trial", "plots.certificates")
    runs = known or []
    figure, axes = panels(4.6, 4.0)
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
