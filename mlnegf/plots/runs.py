"""Guesses and schemes compared, over many runs."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from mlnegf._common import Floats
from mlnegf.plots.style import COLOURS, MARKERS, STYLE, panels, styled
from mlnegf.warmstart.comparison import Trial


@styled()
def comparison(runs: Sequence[Trial], split: str | None = None, most: int = 60) -> Figure:
    """Draw the share of cases that are right within n NEGF solves, a panel for each scheme, a line for each guess."""
    chosen = [run for run in runs if split in (None, run.split)]
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
