"""Form factors of five compounds, by formula and by network, fitted to the same bands with the same weights.

    python benchmarks/form_factors.py --data data/form_factors --output book/results/form_factors.json

Edges weigh 20 times as much as other bands, L, Γ and X ten times as much as other wave vectors. CdSe is fitted by
itself; InAs, InP, GaAs and GaP together, In, Ga, As and P being the same atoms in each. Then bands at other cut-offs
and under pressure are asked for; "strained" models have seen the edges at Γ of crystals 1 % wider and narrower. Every
fit has as many solutions and as many first guesses; what it found is kept in the data folder.
"""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from shared import Record, arguments, shared_out
from torch import nn

from mlnegf._common import Floats
from mlnegf.crystal.bands import energies
from mlnegf.crystal.compounds import CORNERS, EDGES, PUBLISHED, atoms_of, target
from mlnegf.crystal.fitting import Target, fit
from mlnegf.crystal.form_factors import BOHR, NATURAL, Faded, FourParameters, LearnedFormFactors, Parameters
from mlnegf.crystal.plane_waves import PlaneWaves, lowest

GROUPS: Final = {"CdSe": ("CdSe",), "III-V": ("InAs", "InP", "GaAs", "GaP")}
CUTOFFS: Final = (5.0, 6.0, 8.0, 10.0)
"""Ha."""
FITTED: Final = 6.0
GAMMA: Final = slice(CORNERS["Γ"], CORNERS["Γ"] + 1)
STRAIN: Final = 1e-3
TAUGHT_STRAIN: Final = 0.01
STRAINED_WEIGHT: Final = 2000.0
"""Of an edge at Γ, ten times as without strain."""
DEFORMATION: Final = {"InAs": (-5.08, -1.00), "InP": (-6.0, -0.6), "GaAs": (-7.17, -1.16), "GaP": (-8.2, -1.7)}
"""dE/d ln V, eV, of the conduction band at Γ, and less that of the valence band: Vurgaftman, Meyer & Ram-Mohan, J.
Appl. Phys. 89, 5815 (2001)."""
MEASURED: Final = {name: round(sum(edges), 2) for name, edges in DEFORMATION.items()}
"""Of the gap."""
END: Final = 3.0
"""Where form factors fade, 1/a_B; waves at 6 Ha reach to 3.46."""

MODELS: Final[dict[str, Callable[[Parameters], nn.Module]]] = {
    "formula": FourParameters,
    "formula that fades": lambda rows: Faded(FourParameters(rows), END),
    "network that does not fade": LearnedFormFactors,
    "network": lambda rows: Faded(LearnedFormFactors(rows), END),
    "formula, strained": FourParameters,
    "network, strained": lambda rows: Faded(LearnedFormFactors(rows), END),
}
LEFT_OUT: Final = "network, strained but "
"""And then a compound: what it does under pressure is foretold from the others."""


def strained(name: str, strain: float) -> Target:
    """Lay out the edges at Γ of a strained compound, by the measured deformation potentials."""
    whole = target(name, FITTED)
    wanted, (conduction, valence) = whole.energies[GAMMA].copy(), DEFORMATION[name]
    wanted[:, 1:4] -= 3 * strain * valence
    wanted[:, 4] += 3 * strain * conduction
    weights = np.zeros_like(wanted)
    weights[:, EDGES] = STRAINED_WEIGHT
    return Target(whole.crystal.strained(strain * np.eye(3)), whole.cutoff, whole.k[GAMMA], wanted, weights)


def lessons(kind: str, names: Sequence[str]) -> list[Target]:
    """Return what a kind of model is fitted to."""
    found = [target(name, FITTED) for name in names]
    if "strained" in kind:
        seen = [name for name in names if not kind.endswith(f" {name}")]
        found += [strained(name, sign * TAUGHT_STRAIN) for name in seen for sign in (1, -1)]
    return found


def bands(model: nn.Module, some: Target) -> Floats:
    """Return the bands of a target by a model, eV, (k, bands)."""
    return energies(some.crystal, some.cutoff, model, some.k, some.energies.shape[1])


def root_mean_square(error: Floats) -> float:
    """Return it in meV."""
    return 1e3 * float(np.sqrt((error**2).mean()))


def judged(model: nn.Module, names: Sequence[str]) -> dict[str, Any]:
    """Score a model on every compound: all bands, edges, gaps, drift with the cut-off, and pressure."""
    found: dict[str, Any] = {}
    for name in names:
        by_cutoff = {cutoff: bands(model, target(name, cutoff)) for cutoff in CUTOFFS}
        here, wanted = by_cutoff[FITTED], target(name, FITTED).energies
        far = {f"{cutoff:g}": root_mean_square(by_cutoff[cutoff] - here) for cutoff in CUTOFFS}
        edges = {f"{cutoff:g}": root_mean_square((by_cutoff[cutoff] - here)[:, EDGES]) for cutoff in CUTOFFS}
        found[name] = {
            "all": root_mean_square(here - wanted),
            "edges": root_mean_square((here - wanted)[:, EDGES]),
            "drift": far,
            "edge_drift": edges,
            "gap": [float(b[20, 4] - b[20, 3]) for b in (here, wanted)],
            "deformation": deformation(model, name),
            "bands": here.round(4).tolist(),
        }
    return found


def deformation(model: nn.Module, name: str) -> dict[str, float]:
    """Return V dE/dV, eV, of the gap at Γ and of the conduction band at X and L over the valence band at Γ."""
    whole = target(name, FITTED)
    waves = PlaneWaves.of(whole.crystal, whole.cutoff, whole.k[list(CORNERS.values())])
    sides = []
    for sign in (1, -1):
        # The waves are carried along: a wave that comes or goes at the cutoff is no strain.
        moved = PlaneWaves(whole.crystal.strained(sign * STRAIN * np.eye(3)), waves.k, waves.waves)
        with torch.no_grad():
            found = lowest(moved, moved.potential(model), 5).numpy()
        sides.append(found[:, 4] - found[1, 3])
    leg, gamma, x = ((sides[0] - sides[1]) / (6 * STRAIN)).tolist()
    return {"gamma": gamma, "X": x, "L": leg}


def start(names: Sequence[str], seed: int) -> Parameters:
    """Return the published numbers of all atoms, shaken by a hundredth for every seed but the first."""
    atoms = dict.fromkeys(atom for name in names for atom in atoms_of(name))
    rng = np.random.default_rng(seed)
    size = 0.01 if seed else 0.0
    return {atom: tuple((np.array(PUBLISHED[atom]) * (1 + size * rng.standard_normal(4))).tolist()) for atom in atoms}


def made(kind: str, rows: Parameters) -> nn.Module:
    """Return a model of a kind before it has learned."""
    return MODELS["network, strained" if kind.startswith(LEFT_OUT) else kind](rows)


def teach(path: Path, kind: str, names: Sequence[str], seed: int, solutions: int) -> None:
    """Fit a model, unless what it found is there."""
    if path.exists():
        return
    torch.manual_seed(seed)
    model = made(kind, start(names, seed))
    began = time.perf_counter()
    errors = fit(model, lessons(kind, names), solutions)
    cost = {"seconds": round(time.perf_counter() - began, 1), "errors": (1e3 * errors).round(3).tolist()}
    torch.save({"weights": model.state_dict(), "cost": cost}, path)


def curves(model: nn.Module, atoms: Sequence[str]) -> dict[str, Any]:
    """Return v(q), Ha a_B³, of each atom along q, 1/a_B, and the weights of the model."""
    q = torch.linspace(0.0, 5.0, 101, dtype=torch.float64)
    with torch.no_grad():
        values = {atom: (model(atom, q / BOHR).numpy() / NATURAL).round(5).tolist() for atom in atoms}
    weights = {name: value.tolist() for name, value in model.state_dict().items()}
    return {"q": q.tolist(), "v": values, "weights": weights}


def row(path: Path, kind: str, names: Sequence[str]) -> dict[str, Any]:
    """Judge what a fit found, or the published formula."""
    model, cost = FourParameters(start(names, 0)), {}
    if path.exists():
        found = torch.load(path, weights_only=True)
        model, cost = made(kind, start(names, 0)), found["cost"]
        model.load_state_dict(found["weights"])
    atoms = list(start(names, 0))
    return {**judged(model, names), **curves(model, atoms), **cost}


def main() -> None:
    """Run, or go on."""
    given = arguments(__doc__, solutions=60, seeds=3, workers=2)
    given.data.mkdir(parents=True, exist_ok=True)

    def path(group: str, kind: str, seed: int) -> Path:
        return given.data / f"{group}-{kind.replace(',', '').replace(' ', '-')}-{seed}-{given.solutions}.pt"

    fits = [
        (group, kind, seed)
        for group in GROUPS
        for kind in MODELS
        for seed in range(given.seeds)
        if group != "CdSe" or "strained" not in kind
    ]
    fits += [("III-V", LEFT_OUT + name, 0) for name in GROUPS["III-V"]]
    waiting = [(path(group, kind, seed), kind, GROUPS[group], seed, given.solutions) for group, kind, seed in fits]
    shared_out(given.workers, teach, waiting, "fits")
    record = Record(given.output, sys.argv, {"solutions": given.solutions, "cutoff": FITTED, "measured": MEASURED})
    for group, kind, seed in [*((group, "published formula", 0) for group in GROUPS), *fits]:
        key = {"group": group, "model": kind, "seed": seed}
        record.add(key, row, path(*key.values()), kind, GROUPS[group])


if __name__ == "__main__":
    main()
