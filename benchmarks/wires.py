"""Conductance of potassium wires: learned from short ones, predicted for long ones, checked by NEGF one by one.

    mlnegf wires --kind compact --output data/wires/compact && mlnegf wires --kind full --output data/wires/full
    python benchmarks/wires.py --data data/wires --output book/results/wires.json

Compact wires are split at random, as was published, and by pull: snapshots of one pull resemble each other. Every model
sees the same wires. "Local" networks read the surroundings of each atom; the others one row of numbers of each wire.
What takes long, the descriptors, is kept beside the data.
"""

import os
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from scipy.optimize import isotonic_regression
from shared import Record, arguments

from mlnegf._common import Floats
from mlnegf.atomistic.conductance import conductances
from mlnegf.atomistic.descriptors import Projection, Singles, Soap
from mlnegf.atomistic.hard_cases import chain, two_necks
from mlnegf.atomistic.prediction import Scores, batches, predicted, train
from mlnegf.atomistic.pulls import Trajectory, read_all
from mlnegf.atomistic.rivals import SMOOTH, STEP, coulomb_eigenvalues, narrowest_section, sections, thin_lengths
from mlnegf.atomistic.wires import pulled
from mlnegf.learning.networks.pooled import PooledNetwork
from mlnegf.learning.training import Settings
from mlnegf.runs.folder import entries_of

KEPT: Final = 128
MOST_ATOMS: Final = 504
"""Of a full wire: Coulomb matrices are filled up to them."""
KINDS: Final = ("compact", "full")
LOCAL: Final = {"local, max": "max", "local, attention": "attention", "local, mean": "mean", "local, sum": "sum"}
ONE_SEED: Final = ("local, mean", "local, sum")
GLOBAL: Final = ("average SOAP", "Coulomb matrix", "profile")
BINS: Final = np.arange(0.0, 12.01, 0.25)


def kept(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Read arrays from a file, or make and write them."""
    if not path.exists():
        made = make()
        partial = path.with_suffix(".part.npz")
        np.savez(partial, **made)
        os.replace(partial, path)
    with np.load(path) as found:
        return dict(found)


def projection_of(soap: Soap, compact: Sequence[Trajectory]) -> Projection:
    """Take the directions from every twentieth snapshot of some wires; no conductance enters."""
    some = (soap(positions) for wire in compact for positions in wire.positions[::20])
    return Projection.of(some, KEPT)


def described(soap: Soap, projection: Projection, wire: Trajectory, stride: int) -> dict[str, Any]:
    """Describe every `stride`-th snapshot in every way, and note how long each took."""
    positions = wire.positions[::stride]
    began = time.perf_counter()
    local = np.array([projection(soap(structure)) for structure in positions])
    seconds = time.perf_counter() - began
    made = {
        "local": local,
        "average SOAP": local.mean(1),
        "profile": np.array([thin_lengths(structure) for structure in positions]),
        "narrowest": np.array([narrowest_section(structure) for structure in positions]),
        "Coulomb matrix": np.array([coulomb_eigenvalues(structure, MOST_ATOMS) for structure in positions]),
    }
    return {**made, "conductance": wire.conductance[::stride], "seconds": seconds / len(positions)}


def splits(pull: Floats) -> dict[str, list[Any]]:
    """Deal wires out for training, validation and test: 72, 8 and 20 in 100, at random or whole pulls."""
    rng = np.random.default_rng(0)
    order, count = rng.permutation(len(pull)), len(pull)
    at_random = np.split(order, [round(0.72 * count), round(0.8 * count)])
    pulls = rng.permutation(np.unique(pull))
    lots = np.split(pulls, [round(0.72 * len(pulls)), round(0.8 * len(pulls))])
    return {"random": at_random, "pull": [np.flatnonzero(np.isin(pull, lot)) for lot in lots]}


class Standard:
    """Rows of numbers brought to mean zero and spread one; what never differs stays out."""

    def __init__(self, rows: Floats) -> None:
        self.mean, spread = rows.mean(0), rows.std(0)
        self.scale = np.where(spread > 1e-6 * max(float(spread.max()), 1e-30), spread, np.inf)

    def __call__(self, rows: Floats) -> Singles:
        """Return them, (wires, 1, numbers): a structure of one atom."""
        return np.asarray((rows - self.mean) / self.scale, dtype=np.float32)[:, None]


Model = Callable[[dict[str, Any]], Floats]


def taught(
    name: str, seed: int, data: dict[str, Any], parts: Sequence[Any], epochs: int, weights: Path
) -> tuple[Model, dict[str, Any]]:
    """Teach one model, or read it: from a description of wires to their conductance."""
    training, validation, _ = (np.sort(part) for part in parts)
    values = data["conductance"]
    if name == "narrowest":
        order = training[np.argsort(data["narrowest"][training], kind="stable")]
        x, y = data["narrowest"][order], isotonic_regression(values[order]).x
        return lambda some: np.interp(some["narrowest"], x, y), {}
    if name in LOCAL:
        read, pooling, width, count = (lambda some: some["local"]), LOCAL[name], 96, epochs
    else:
        standard = Standard(data[name][training])
        read, pooling, width, count = (lambda some: standard(some[name])), "mean", 128, 4 * epochs
    began, about = time.perf_counter(), {}
    if weights.exists():
        saved = torch.load(weights, weights_only=True)
        model = PooledNetwork(**saved["config"])
        model.load_state_dict(saved["weights"])
        about = {"seconds": saved["seconds"]}
    else:
        features = read(data)
        lots = (batches(features[part], values[part], seed=seed) for part in (training, validation))
        settings = Settings(epochs=count, learning_rate=2e-3, seed=seed)
        found = train(*lots, settings, pooling, width, progress=False)
        model, seconds = found.model, round(time.perf_counter() - began, 1)
        torch.save({"config": model.config, "weights": model.state_dict(), "seconds": seconds}, weights)
        about = {"seconds": seconds}
    return lambda some: predicted(model, read(some)), about


def models(seeds: int) -> Iterator[tuple[str, int]]:
    """Yield every model and seed."""
    for name in LOCAL:
        yield from ((name, seed) for seed in range(1 if name in ONE_SEED else seeds))
    for name in GLOBAL:
        yield from ((name, seed) for seed in range(seeds))
    yield "narrowest", 0


def learning(
    data: dict[str, Any], pull: Any, parts: Sequence[Any], share: float, epochs: int, folder: Path
) -> dict[str, Any]:
    """Teach with a share of the pulls, as many steps of the weights as with all of them."""
    pulls = np.random.default_rng(1).permutation(np.unique(pull[parts[0]]))
    few = pulls[: max(1, round(share * len(pulls)))]
    training = parts[0][np.isin(pull[parts[0]], few)]
    lots = training, parts[1], parts[2]
    model, cost = taught("local, max", 0, data, lots, round(epochs / share), folder / f"curve-{share}.pt")
    some = {name: data[name][parts[2]] for name in ("local", "conductance")}
    return {**Scores.of(model(some), some["conductance"])._asdict(), **cost, "pulls": len(few), "wires": len(training)}


def by_speed(compact: Sequence[Trajectory]) -> dict[str, Any]:
    """Count conductances by NEGF for each speed of pulling, and snapshots of each pull between 0.8 and 1.2 quanta."""
    found: dict[str, Any] = {}
    for speed in sorted({wire.pull.speed for wire in compact}):
        some = [wire.conductance for wire in compact if wire.pull.speed == speed]
        plateau = [float(((values > 0.8) & (values < 1.2)).mean()) for values in some]
        counts = np.histogram(np.concatenate(some), BINS)[0]
        found[f"{speed:g}"] = {"counts": counts.tolist(), "plateau": plateau}
    return {"speeds": found}


def selected(compact: Sequence[Trajectory], pull: Any, data: dict[str, Any], weights: Path) -> dict[str, Any]:
    """Say how far from the narrowest place the atoms lie that hold a largest value, and how far all do, Å."""
    saved = torch.load(weights, weights_only=True)
    model = PooledNetwork(**saved["config"])
    model.load_state_dict(saved["weights"])
    starts = {number: int(np.flatnonzero(pull == number)[0]) for number in np.unique(pull).tolist()}
    winners, every = [], []
    for number, wire in enumerate(compact):
        for place in range(0, len(wire.positions), 20):
            x = wire.positions[place][:, 0]
            areas = sections(wire.positions[place])
            neck = x.min() + SMOOTH + float(np.argmin(areas)) * STEP
            with torch.no_grad():
                said = model.of_atoms(torch.from_numpy(data["local"][starts[number] + place]))
            winners.append(abs(x[said.argmax(0).numpy()] - neck))
            every.append(abs(x - neck))
    shares = {"winners": np.concatenate(winners), "all": np.concatenate(every)}
    return {name: np.quantile(values, [0.25, 0.5, 0.75]).tolist() for name, values in shares.items()}


def seconds_each(soap: Soap, projection: Projection, wire: Trajectory, model: Model) -> dict[str, Any]:
    """Time each stage on the same snapshots, seconds a structure; medians of five."""
    pull, positions = wire.pull, wire.positions[:: max(1, len(wire.positions) // 40)]
    features = {"local": np.array([projection(soap(structure)) for structure in positions])}
    short = replace(pull, longest=pull.length + 2.0, rest=0.0)

    stages: dict[str, tuple[Callable[[], Any], int]] = {
        "dynamics": (lambda: list(pulled(short)), sum(1 for _ in pulled(short)) - 1),
        "descriptors": (lambda: [projection(soap(structure)) for structure in positions], len(positions)),
        "network": (lambda: model(features), len(positions)),
        "NEGF": (lambda: conductances(positions, wire.held), len(positions)),
    }
    found = {}
    for name, (stage, count) in stages.items():
        times = []
        for _ in range(5):
            began = time.perf_counter()
            stage()
            times.append((time.perf_counter() - began) / count)
        found[name] = float(np.median(times))
    return {**found, "atoms": positions.shape[1]}


def hard_cases(soap: Soap, projection: Projection, votes: Sequence[Model]) -> dict[str, Any]:
    """Ask about wires whose conductance is decided by what no atom sees."""
    wires = {
        "necks": {apart: two_necks(apart) for apart in range(4, 17)},
        "chain": {atoms: chain(atoms, 4.4) for atoms in range(1, 15)},
        "tunnelling": {atoms: chain(atoms, 6.1) for atoms in range(1, 9)},
    }
    rows = {}
    for name, some in wires.items():
        said = [
            [float(vote({"local": projection(soap(wire.positions))[None]})[0]) for vote in votes]
            for wire in some.values()
        ]
        true = [float(conductances(wire.positions[None], wire.held)[0]) for wire in some.values()]
        rows[name] = {"size": list(some), "true": true, "said": said}
    return rows


def main() -> None:
    """Run, or go on."""
    given = arguments(__doc__, epochs=20, seeds=3, stride=10, wires=120)
    folder, soap = given.data, Soap()
    compact = list(read_all(folder / "compact"))
    counts = [len(wire.positions) for wire in compact]
    pull = np.repeat(np.arange(len(compact)), counts)
    lots = splits(pull)
    # What is kept belongs to these wires, these descriptors, and this number of epochs.
    digests = {kind: [entry["sha256"] for _, entry in sorted(entries_of(folder / kind).items())] for kind in KINDS}
    folder = folder / f"learned-{zlib.crc32(repr((digests['compact'], soap, KEPT, given.epochs)).encode()):08x}"
    folder.mkdir(exist_ok=True)
    taught_on = [compact[number] for number in np.unique(pull[lots["pull"][0]])]
    stored = kept(folder / "projection.npz", lambda: vars(projection_of(soap, taught_on)))
    projection = Projection(stored["mean"], stored["directions"], stored["scale"], float(stored["left_out"]))
    names = [f"{n:04d}" for n in range(len(compact))]
    each = [
        kept(folder / f"compact-{name}.npz", lambda wire=wire: described(soap, projection, wire, 1))
        for name, wire in zip(names, compact, strict=True)
    ]
    columns = [name for name in each[0] if name != "seconds"]
    data = {name: np.concatenate([one[name] for one in each]) for name in columns}
    about = {"wires": len(pull), "pulls": len(each), "epochs": given.epochs, "stride": given.stride}
    record = Record(given.output, sys.argv, {**about, "left_out": projection.left_out})
    found: dict[str, Model] = {}
    for kind, parts in lots.items():
        for name, seed in models(given.seeds):
            path = folder / f"{kind}-{name.replace(', ', '-').replace(' ', '-')}-{seed}.pt"
            model, cost = taught(name, seed, data, parts, given.epochs, path)
            if kind == "random":
                found[f"{name}/{seed}"] = model

            def row(
                model: Model = model, test: Any = parts[2], cost: dict[str, Any] = cost, shown: bool = seed == 0
            ) -> dict[str, Any]:
                some = {column: data[column][test] for column in columns}
                said = model(some)
                pairs = {"said": said.round(3).tolist(), "true": some["conductance"].round(3).tolist()} if shown else {}
                return {**Scores.of(said, some["conductance"])._asdict(), **cost, "tests": len(test), **pairs}

            record.add({"kind": "compact", "split": kind, "model": name, "seed": seed}, row)
    parts = lots["pull"]
    for share in (0.125, 0.25, 0.5):
        record.add({"kind": "curve", "share": share}, learning, data, pull, parts, share, given.epochs, folder)
    record.add({"kind": "speeds"}, by_speed, compact)
    record.add({"kind": "selected"}, selected, compact, pull, data, folder / "random-local-max-0.pt")
    record.add({"kind": "seconds"}, seconds_each, soap, projection, compact[1], found["local, max/0"])
    for name in ("local, max", "local, attention"):
        votes = [found[f"{name}/{seed}"] for seed in range(given.seeds)]
        record.add({"kind": "hard", "model": name}, hard_cases, soap, projection, votes)
    full = []
    for number, wire in enumerate(read_all(given.data / "full")):
        if number == given.wires:
            break
        path = folder / f"full-{digests['full'][number][:8]}-{given.stride}.npz"
        one = kept(path, lambda wire=wire: described(soap, projection, wire, given.stride))
        said = {name: model(one) for name, model in found.items()}
        full.append({**said, "true": one["conductance"], "length": wire.length[:: given.stride]})
    true, length = (np.concatenate([one[name] for one in full]) for name in ("true", "length"))
    for name in found:
        values = np.concatenate([one[name] for one in full])
        model, seed = name.split("/")
        long = length > 138.0

        def row(values: Floats = values, long: Any = long) -> dict[str, Any]:
            counts, wanted = (np.histogram(some, BINS)[0] for some in (values, true))
            scores = Scores.of(values, true)
            beyond = Scores.of(values[long], true[long])
            shares = float(1 - ((counts - wanted) ** 2).mean() / wanted.var())
            return {
                **scores._asdict(),
                "long_r2": beyond.r2,
                "long_mae": beyond.mae,
                "histogram_r2": shares,
                "histogram": counts.tolist(),
                "true_histogram": wanted.tolist(),
                "wires": len(values),
                "longest": float(length.max()),
            }

        record.add({"kind": "full", "pulls": len(full), "model": model, "seed": int(seed)}, row)


if __name__ == "__main__":
    main()
