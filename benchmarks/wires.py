"""Conductance of potassium wires: learned from short ones, predicted for long ones, checked by NEGF one by one.

    mlnegf wires --kind compact --output data/wires/compact && mlnegf wires --kind full --output data/wires/full
    python benchmarks/wires.py --data data/wires --output book/results/wires.json

Compact wires are split at random, as was published, and by pull: snapshots of one pull resemble each other. Every model
sees the same wires. "Local" networks read the surroundings of each atom; the others one row of numbers of each wire.
Three of four snapshots of the full wires are predicted by the largest over atoms, one in twelve by all models. What
takes long is kept beside the data, and `--workers` processes share it; stages are timed when they are done.
"""

import sys
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from scipy.optimize import isotonic_regression
from shared import Record, arguments, kept, shared_out

from mlnegf._common import Floats
from mlnegf.atomistic.conductance import conductances
from mlnegf.atomistic.descriptors import Projection, Singles, Soap
from mlnegf.atomistic.hamiltonian import Orbitals
from mlnegf.atomistic.hard_cases import chain, two_necks
from mlnegf.atomistic.prediction import Network, Scores, batches, nearest, predicted, train
from mlnegf.atomistic.pulls import Trajectory, read
from mlnegf.atomistic.rivals import SMOOTH, STEP, coulomb_eigenvalues, narrowest_section, sections, thin_lengths
from mlnegf.atomistic.wires import pulled
from mlnegf.learning.networks.pooled import PooledNetwork
from mlnegf.learning.networks.stacked import StackedNetwork
from mlnegf.learning.training import Settings
from mlnegf.runs.folder import LOG, entries_of
from mlnegf.runs.journal import Journal

KEPT: Final = 128
MOST_ATOMS: Final = 504
"""Of a full wire: Coulomb matrices are filled up to them."""
LOCAL: Final = {
    "local, max": "max",
    "local, attention": "attention",
    "local, mean": "mean",
    "local, sum": "sum",
    "local, stacked": "stacked",
}
SEVERAL_SEEDS: Final = ("local, max",)
GLOBAL: Final = ("average SOAP", "Coulomb matrix", "profile")
PRODUCED: Final = "local, max"
SHARES: Final = (0.125, 0.25, 0.5)
ASKED: Final = 3, 4
"""Of full wires the first three of four snapshots are predicted."""
RANKED: Final = 9
"""Of those one in so many is asked of every model."""
SMEARED: Final = 20
"""Of those one in so many is also solved at other energies."""
AROUND: Final = 0.05 * np.arange(-4, 5)
"""Energies about the Fermi energy, eV."""
WINDOWS: Final = (0.0, 0.05, 0.1, 0.2)
"""Half widths, eV."""
BINS: Final = np.arange(0.0, 12.01, 0.25)
DRAWS: Final = 400
"""Of whole pulls, with repetition, for error bars."""

Arrays = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """What decides every number: the data, and how long and how often is learned."""

    data: Path
    epochs: int
    seeds: int
    wires: int

    def files(self, kind: str) -> list[tuple[Path, dict[str, Any]]]:
        """Return the files of pulls, in order, and what is known of each."""
        return [(self.data / kind / name, entry) for name, entry in sorted(entries_of(self.data / kind).items())]

    def wire(self, kind: str, number: int) -> Trajectory:
        """Read one pull."""
        return read(*self.files(kind)[number])

    @cached_property
    def folder(self) -> Path:
        """Where what takes long is kept: it belongs to these compact wires and descriptors."""
        digests = [entry["sha256"] for _, entry in self.files("compact")]
        name = f"learned-{zlib.crc32(repr((digests, Soap(), KEPT)).encode()):08x}"
        (self.data / name).mkdir(exist_ok=True)
        return self.data / name

    def weights(self, kind: str, name: str, seed: int, share: float = 1.0) -> Path:
        """Where the weights of a model are kept that has learned from a share of the pulls."""
        words = (kind, *name.replace(",", "").split(), seed, share, self.epochs)
        return self.folder / f"{'-'.join(map(str, words))}.pt"


# What compact wires are described by -------------------------------------------------------------------------------


@cache
def numbered(job: Job) -> Any:
    """Return which pull each compact wire belongs to, (wires,)."""
    counts = [len(job.wire("compact", number).positions) for number in range(len(job.files("compact")))]
    return np.repeat(np.arange(len(counts)), counts)


@cache
def splits(job: Job) -> dict[str, list[Any]]:
    """Deal compact wires out for training, validation and test: 72, 8 and 20 in 100, at random or whole pulls.

    Of every 25 pulls, in the order of their temperatures and then by lot, 18, 2 and 5.
    """
    pull, rng = numbered(job), np.random.default_rng(0)
    order, count = rng.permutation(len(pull)), len(pull)
    at_random = np.split(order, [round(0.72 * count), round(0.8 * count)])
    hot = np.array([job.wire("compact", number).pull.temperature for number in range(pull[-1] + 1)])
    dealt = np.empty(len(hot), dtype=int)
    dealt[np.lexsort((rng.random(len(hot)), hot))] = np.arange(len(hot)) % 25
    part = np.where(dealt % 5 == 2, 2, np.where(np.isin(dealt, (4, 15)), 1, 0))
    return {"random": at_random, "pull": [np.flatnonzero(part[pull] == lot) for lot in range(3)]}


@cache
def projection(job: Job) -> Projection:
    """Take the directions from every twentieth snapshot of the training pulls; no conductance enters."""

    def made() -> Arrays:
        numbers = np.unique(numbered(job)[splits(job)["pull"][0]])
        wires = (job.wire("compact", number).positions[::20] for number in numbers.tolist())
        return vars(Projection.of((Soap()(structure) for some in wires for structure in some), KEPT))

    found = kept(job.folder / "projection.npz", made)
    return Projection(found["mean"], found["directions"], found["scale"], float(found["left_out"]))


def surroundings(job: Job, positions: Floats) -> Singles:
    """Describe every atom of structures, (structures, atoms, kept)."""
    soap, project = Soap(), projection(job)
    return np.array([project(soap(structure)) for structure in positions])


def rows_of(positions: Floats, local: Singles) -> Arrays:
    """Describe structures by one row of numbers each."""
    return {
        "average SOAP": local.mean(1),
        "profile": np.array([thin_lengths(structure) for structure in positions]),
        "narrowest": np.array([narrowest_section(structure) for structure in positions]),
        "Coulomb matrix": np.array([coulomb_eigenvalues(structure, MOST_ATOMS) for structure in positions]),
    }


def describe(job: Job, number: int) -> Arrays:
    """Describe a compact pull in every way."""

    def made() -> Arrays:
        wire = job.wire("compact", number)
        local = surroundings(job, wire.positions)
        lists = np.array([nearest(structure) for structure in wire.positions])
        rows = rows_of(wire.positions, local)
        return {**rows, "local": local, "neighbours": lists.astype(np.int16), "conductance": wire.conductance}

    return kept(job.folder / f"compact-{number:04d}.npz", made)


@cache
def compact(job: Job) -> Arrays:
    """Return all compact wires, described."""
    each = [describe(job, number) for number in range(len(job.files("compact")))]
    return {name: np.concatenate([one[name] for one in each]) for name in each[0]}


# Models ------------------------------------------------------------------------------------------------------------


class Standard:
    """Rows of numbers brought to mean zero and spread one; what never differs stays out."""

    def __init__(self, rows: Floats) -> None:
        self.mean, spread = rows.mean(0), rows.std(0)
        self.scale = np.where(spread > 1e-6 * max(float(spread.max()), 1e-30), spread, np.inf)

    def __call__(self, rows: Floats) -> Singles:
        """Return them, (wires, 1, numbers): a structure of one atom."""
        return np.asarray((rows - self.mean) / self.scale, dtype=np.float32)[:, None]


Model = Callable[[Mapping[str, Any]], Floats]
"""From a description of wires to their conductance."""


def models(job: Job) -> Iterator[tuple[str, int]]:
    """Yield every network and seed."""
    for name in (*LOCAL, *GLOBAL):
        several = name in SEVERAL_SEEDS or name in GLOBAL
        yield from ((name, seed) for seed in range(job.seeds if several else 1))


def read_weights(path: Path) -> tuple[Network, float]:
    """Read a network, and how long it learned, s."""
    saved = torch.load(path, weights_only=True)
    kind = PooledNetwork if "pooling" in saved["config"] else StackedNetwork
    model: Network = kind(**saved["config"])
    model.load_state_dict(saved["weights"])
    return model, saved["seconds"]


def teach(job: Job, kind: str, name: str, seed: int, share: float = 1.0) -> None:
    """Teach a network, unless its weights are there; with a share of the pulls, as many steps as with all."""
    path = job.weights(kind, name, seed, share)
    if path.exists():
        return
    data, parts = compact(job), few(job, kind, share)
    if name in LOCAL:
        pooling, width, epochs = LOCAL[name], 96, round(job.epochs / share)
        features = [data["local"][part] for part in parts]
    else:
        pooling, width, epochs = "mean", 128, 4 * job.epochs
        standard = Standard(data[name][parts[0]])
        features = [standard(data[name][part]) for part in parts]
    lists = [data["neighbours"][part].astype(np.int64) if pooling == "stacked" else None for part in parts]
    values = [data["conductance"][part] for part in parts]
    training, validation = (batches(*some, seed=seed) for some in zip(features, values, lists, strict=True))
    settings = Settings(epochs=epochs, learning_rate=2e-3, seed=seed)
    began = time.perf_counter()
    found = train(training, validation, settings, pooling, width, progress=False)
    saved = {"config": found.model.config, "weights": found.model.state_dict()}
    torch.save({**saved, "seconds": round(time.perf_counter() - began, 1)}, path)


def few(job: Job, kind: str, share: float) -> list[Any]:
    """Return the training and validation parts of a split, of the training pulls only a share."""
    training, validation = (np.sort(part) for part in splits(job)[kind][:2])
    if share < 1.0:
        pull = numbered(job)[training]
        pulls = np.random.default_rng(1).permutation(np.unique(pull))
        training = training[np.isin(pull, pulls[: max(1, round(share * len(pulls)))])]
    return [training, validation]


def model_of(job: Job, kind: str, name: str, seed: int) -> Model:
    """Return a model that has learned."""
    if name not in LOCAL:
        data, training = compact(job), np.sort(splits(job)[kind][0])
    if name == "narrowest":
        order = training[np.argsort(data["narrowest"][training], kind="stable")]
        x, y = data["narrowest"][order], isotonic_regression(data["conductance"][order]).x
        return lambda some: np.asarray(np.interp(some["narrowest"], x, y))
    network, _ = read_weights(job.weights(kind, name, seed))
    if name in GLOBAL:
        standard = Standard(data[name][training])
        return lambda some: predicted(network, standard(some[name]))
    if isinstance(network, StackedNetwork):
        return lambda some: predicted(network, some["local"], some["neighbours"].astype(np.int64))
    return lambda some: predicted(network, some["local"])


# Rows --------------------------------------------------------------------------------------------------------------


def over_pulls(said: Floats, true: Floats, pull: Any) -> dict[str, Any]:
    """Score predictions, with the middle 90 in 100 of what other pulls of the same kind would have given."""
    rng, places = np.random.default_rng(0), [np.flatnonzero(pull == number) for number in np.unique(pull)]
    drawn = []
    for _ in range(DRAWS):
        some = np.concatenate([places[n] for n in rng.integers(len(places), size=len(places))])
        drawn.append(Scores.of(said[some], true[some]))
    low, high = np.quantile(drawn, (0.05, 0.95), axis=0)
    scores = Scores.of(said, true)
    return {
        name: value
        for n, word in enumerate(Scores._fields)
        for name, value in ((word, scores[n]), (f"{word}_range", [float(low[n]), float(high[n])]))
    }


def on_compact(job: Job, kind: str, name: str, seed: int) -> dict[str, Any]:
    """Score a model on the compact wires that it was not taught."""
    data, test = compact(job), np.sort(splits(job)[kind][2])
    some = {column: data[column][test] for column in data}
    said, true = model_of(job, kind, name, seed)(some), some["conductance"]
    pairs = {"said": said.round(3).tolist(), "true": true.round(3).tolist()} if seed == 0 else {}
    cost = {} if name == "narrowest" else {"seconds": read_weights(job.weights(kind, name, seed))[1]}
    return {**over_pulls(said, true, numbered(job)[test]), **cost, "tests": len(test), **pairs}


def dealt(job: Job) -> dict[str, Any]:
    """Count what was dealt out for training, validation and test: wires at random, and whole pulls."""
    parts = splits(job)
    pulls = [len(np.unique(numbered(job)[part])) for part in parts["pull"]]
    return {"wires": [len(part) for part in parts["random"]], "pulls": pulls}


def learning(job: Job, share: float) -> dict[str, Any]:
    """Score what a share of the pulls taught."""
    data, test = compact(job), np.sort(splits(job)["pull"][2])
    training = few(job, "pull", share)[0]
    network, seconds = read_weights(job.weights("pull", PRODUCED, 0, share))
    scores = over_pulls(predicted(network, data["local"][test]), data["conductance"][test], numbered(job)[test])
    return {**scores, "pulls": len(np.unique(numbered(job)[training])), "wires": len(training), "seconds": seconds}


def pulls_of(job: Job, kind: str) -> dict[str, Any]:
    """Say what was pulled, how warm it was, where it broke, and, of each speed, what it conducted on its way."""
    columns: dict[str, list[Any]] = {}
    seconds = {row["file"]: row["seconds"] for row in Journal(job.data / kind / LOG).read()[0]}
    count = len(job.files(kind)) if kind == "compact" else min(len(job.files(kind)), job.wires)
    for number in range(count):
        wire = job.wire(kind, number)
        near_one = (wire.conductance > 0.8) & (wire.conductance < 1.2)
        row = {
            "speed": wire.pull.speed,
            "asked": wire.pull.temperature,
            "temperature": round(float(wire.temperature.mean()), 1),
            "atoms": wire.positions.shape[1],
            "snapshots": len(wire.positions),
            "start": round(float(wire.length[0]), 2),
            "end": round(float(wire.length[-1]), 2),
            "broke": wire.broke,
            "near_one": round(float(near_one.mean()), 4),
            "counts": np.histogram(wire.conductance, BINS)[0].tolist(),
            "seconds": seconds[job.files(kind)[number][0].name],
        }
        for name, value in row.items():
            columns.setdefault(name, []).append(value)
    return columns


def selected(job: Job) -> dict[str, Any]:
    """Say how far from the narrowest place, Å, the atoms lie that hold a largest value, those that decide, and all.

    A value decides as much as the answer follows it, times how much it varies from wire to wire.
    """
    network, _ = read_weights(job.weights("random", PRODUCED, 0))
    assert isinstance(network, PooledNetwork)
    away, largest, slopes, every = [], [], [], []
    for number in range(len(job.files("compact"))):
        wire, local = job.wire("compact", number), describe(job, number)["local"]
        for place in range(0, len(wire.positions), 20):
            x = wire.positions[place][:, 0]
            neck = x.min() + SMOOTH + float(np.argmin(sections(wire.positions[place]))) * STEP
            with torch.no_grad():
                values, winners = network.of_atoms(torch.from_numpy(local[place])).max(0)
            values.requires_grad_()
            (slope,) = torch.autograd.grad(network.structure(values).sum(), values)
            away.append(abs(x[winners.numpy()] - neck))
            largest.append(values.detach().numpy())
            slopes.append(slope.numpy())
            every.append(abs(x - neck))
    weight = np.abs(slopes) * np.std(largest, 0)
    distance, atoms = np.concatenate(away), np.concatenate(every)
    lots = {"winners": (distance, np.ones(len(distance))), "deciding": (distance, weight.ravel())}
    lots["all"] = atoms, np.ones(len(atoms))
    return {name: weighted_quartiles(*lot) for name, lot in lots.items()}


def weighted_quartiles(values: Floats, weights: Floats) -> list[float]:
    """Return below what a quarter, a half and three quarters of the weight lie."""
    order = np.argsort(values)
    share = np.cumsum(weights[order]) / weights.sum()
    return [float(values[order][np.searchsorted(share, part)]) for part in (0.25, 0.5, 0.75)]


def hard(job: Job, name: str) -> dict[str, Any]:
    """Ask about wires whose conductance is decided by what no atom sees."""
    wires = {
        "necks": {apart: two_necks(apart) for apart in range(4, 17)},
        "chain": {atoms: chain(atoms, 4.4) for atoms in range(1, 15)},
        "tunnelling": {atoms: chain(atoms, 6.1) for atoms in range(1, 9)},
    }
    votes = [model_of(job, "random", name, seed) for seed in range(job.seeds if name in SEVERAL_SEEDS else 1)]
    rows = {}
    for kind, some in wires.items():
        said, true = [], []
        for wire in some.values():
            about = {"local": surroundings(job, wire.positions[None]), "neighbours": nearest(wire.positions)[None]}
            said.append([float(vote(about)[0]) for vote in votes])
            true.append(float(conductances(wire.positions[None], wire.held)[0]))
        rows[kind] = {"size": list(some), "true": true, "said": said}
    return rows


def timed(job: Job) -> dict[str, Any]:
    """Time each stage on the same snapshots of a compact wire, seconds a structure; medians of five."""
    wire = job.wire("compact", 1)
    pull, positions = wire.pull, wire.positions[:: max(1, len(wire.positions) // 40)]
    model = model_of(job, "random", PRODUCED, 0)
    features = {"local": surroundings(job, positions)}
    short = replace(pull, longest=pull.length + 2.0, rest=0.0)
    stages: dict[str, tuple[Callable[[], Any], int]] = {
        "dynamics": (lambda: list(pulled(short)), sum(1 for _ in pulled(short)) - 1),
        "descriptors": (lambda: surroundings(job, positions), len(positions)),
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


# Full wires --------------------------------------------------------------------------------------------------------


def produce(job: Job, number: int) -> Arrays:
    """Predict most snapshots of a full pull by one model, and one in `RANKED` of them by all that read surroundings."""
    file, entry = job.files("full")[number]

    def made() -> Arrays:
        wire = read(file, entry)
        votes = {seed: model_of(job, "random", PRODUCED, seed) for seed in range(job.seeds)}
        others = [(name, seed) for name, seed in models(job) if name in LOCAL and name != PRODUCED]
        ranked = {f"{name}/{seed}": model_of(job, "random", name, seed) for name, seed in others}
        said: dict[str, list[Floats]] = {name: [] for name in ("all", *ranked)}
        rows: dict[str, list[Any]] = {}
        asked = np.arange(len(wire.positions)) % ASKED[1] < ASKED[0]
        every = wire.positions[asked]
        for first in range(0, len(every), RANKED):
            positions = every[first : first + RANKED]
            local = surroundings(job, positions)
            said["all"].append(np.array([vote({"local": local}) for vote in votes.values()]).T)
            one = {"local": local[:1], "neighbours": nearest(positions[0])[None]}
            for name, model in ranked.items():
                said[name].append(model(one))
            for name, row in rows_of(positions[:1], local[:1]).items():
                rows.setdefault(name, []).append(row)
        joined = {name: np.concatenate(some) for name, some in (*said.items(), *rows.items())}
        return {**joined, "conductance": wire.conductance[asked], "length": wire.length[asked]}

    return kept(job.folder / f"full-{entry['sha256'][:8]}-{job.epochs}-{job.seeds}.npz", made)


def smear(job: Job, number: int) -> Arrays:
    """Work out what some snapshots of a full pull conduct at energies around the Fermi energy, (energies, wires)."""
    file, entry = job.files("full")[number]

    def made() -> Arrays:
        wire = read(file, entry)
        asked = np.flatnonzero(np.arange(len(wire.positions)) % ASKED[1] < ASKED[0])[::RANKED]
        asked = asked[SMEARED // 2 :: SMEARED]  # not the start of every pull
        energies = Orbitals().fermi_energy + AROUND
        found = [conductances(wire.positions[asked], wire.held, energy=energy) for energy in energies.tolist()]
        return {"conductance": np.array(found)}

    return kept(job.folder / f"smeared-{entry['sha256'][:8]}.npz", made)


def smeared(job: Job, some: Arrays) -> dict[str, Any]:
    """Score predictions against conductances averaged over a window of energies, which takes interference away."""
    numbers = np.unique(some["pull"])
    true = np.concatenate([smear(job, number)["conductance"] for number in numbers.tolist()], 1)
    chosen = np.concatenate([np.flatnonzero(some["pull"] == number)[SMEARED // 2 :: SMEARED] for number in numbers])
    votes = np.mean([some[f"{PRODUCED}/{seed}"] for seed in range(job.seeds)], 0)
    said = {PRODUCED: votes, "local, stacked": some["local, stacked/0"], "narrowest": some["narrowest/0"]}
    found: dict[str, Any] = {"wires": len(chosen), "windows": WINDOWS}
    for name, values in said.items():
        means = [true[abs(AROUND) < window + 1e-9].mean(0) for window in WINDOWS]
        scores = [Scores.of(values[chosen], mean) for mean in means]
        found[name] = {"r2": [score.r2 for score in scores], "mae": [score.mae for score in scores]}
    return found


def all_full(job: Job) -> dict[str, Any]:
    """Join what was found of full wires: those asked of one model, and those asked of every model."""
    each = [produce(job, number) for number in range(min(len(job.files("full")), job.wires))]
    wide = ("all", "conductance", "length")
    every = {name: np.concatenate([one[name] for one in each]) for name in wide}
    names = [name for name in each[0] if name not in wide]
    ranked = {name: np.concatenate([one[name] for one in each]) for name in names}
    for name in ("conductance", "length"):
        ranked[name] = np.concatenate([one[name][::RANKED] for one in each])
    for seed in range(job.seeds):
        ranked[f"{PRODUCED}/{seed}"] = np.concatenate([one["all"][::RANKED, seed] for one in each])
    for name, seed in (*models(job), ("narrowest", 0)):
        if name not in LOCAL:
            ranked[f"{name}/{seed}"] = model_of(job, "random", name, seed)(ranked)
    counts = [len(one["conductance"]) for one in each]
    every["pull"] = np.repeat(np.arange(len(each)), counts)
    ranked["pull"] = np.repeat(np.arange(len(each)), [-(-count // RANKED) for count in counts])
    return {"every": every, "ranked": ranked}


def agreement(said: Floats, true: Floats) -> float:
    """Return the share of the variance of a histogram's bins that another one explains."""
    return float(1 - ((said - true) ** 2).mean() / true.var())


def on_full(job: Job, some: Arrays, said: Floats) -> dict[str, Any]:
    """Score predictions of full wires, of all and of those longer than twice the longest compact one, and count."""
    true, pull, long = some["conductance"], some["pull"], some["length"] > 2 * longest(job)
    counts, wanted = (np.histogram(values, BINS)[0] for values in (said, true))
    beyond = over_pulls(said[long], true[long], pull[long]) if long.any() else {}
    return {
        **over_pulls(said, true, pull),
        **{f"long_{name}": value for name, value in beyond.items()},
        "long_wires": int(long.sum()),
        "bias": float((said - true).mean()),
        "histogram_r2": agreement(counts, wanted),
        "histogram": counts.tolist(),
        "true_histogram": wanted.tolist(),
        "wires": len(said),
    }


@cache
def longest(job: Job) -> float:
    """Return how long the longest compact wire was, Å."""
    return max(float(job.wire("compact", number).length[-1]) for number in range(len(job.files("compact"))))


def halves(some: Arrays) -> dict[str, Any]:
    """Say how alike NEGF's own histograms of two halves of the pulls are: no prediction need be better."""
    rng, pulls, found = np.random.default_rng(0), np.unique(some["pull"]), []
    for _ in range(DRAWS):
        half = np.isin(some["pull"], rng.permutation(pulls)[: len(pulls) // 2])
        one, other = (np.histogram(some["conductance"][part], BINS, density=True)[0] for part in (half, ~half))
        found.append(agreement(one, other))
    return {"r2": float(np.median(found)), "range": np.quantile(found, (0.05, 0.95)).tolist()}


def doubt(some: Arrays) -> dict[str, Any]:
    """Say how wrong the mean of the votes is where votes lie close and where they do not: tenths, by their spread."""
    error, spread = abs(some["all"].mean(1) - some["conductance"]), some["all"].std(1)
    tenths = np.array_split(np.argsort(spread), 10)
    return {
        "spread": [float(spread[part].mean()) for part in tenths],
        "error": [float(error[part].mean()) for part in tenths],
        "correlation": float(np.corrcoef(spread, error)[0, 1]),
    }


# All of it ---------------------------------------------------------------------------------------------------------


def main() -> None:
    """Run, or go on."""
    given = arguments(__doc__, epochs=10, seeds=3, wires=100, workers=2)
    job = Job(given.data, given.epochs, given.seeds, given.wires)
    about = {"epochs": job.epochs, "seeds": job.seeds, "left_out": projection(job).left_out, "bins": BINS.tolist()}
    record = Record(given.output, sys.argv, about)
    numbers = range(len(job.files("compact")))
    shared_out(given.workers, describe, [(job, number) for number in numbers], "compact wires")
    lessons = [(job, kind, name, seed) for name, seed in models(job) for kind in splits(job)]
    curve = [(job, "pull", PRODUCED, 0, share) for share in SHARES]
    shared_out(given.workers, teach, [*lessons, *curve], "lessons")
    for kind in ("compact", "full"):
        record.add({"kind": "pulls", "of": kind}, pulls_of, job, kind)
    for kind in splits(job):
        for name, seed in (*models(job), ("narrowest", 0)):
            key = {"kind": "compact", "split": kind, "model": name, "seed": seed}
            record.add(key, on_compact, job, kind, name, seed)
    record.add({"kind": "dealt"}, dealt, job)
    for share in SHARES:
        record.add({"kind": "curve", "share": share}, learning, job, share)
    record.add({"kind": "selected"}, selected, job)
    for name in ("local, max", "local, attention", "local, stacked"):
        record.add({"kind": "hard", "model": name}, hard, job, name)
    record.add({"kind": "seconds"}, timed, job)
    pulls = [(job, number) for number in range(min(len(job.files("full")), job.wires))]
    shared_out(given.workers, produce, pulls, "full wires")
    shared_out(given.workers, smear, pulls, "other energies")
    found = all_full(job)
    every, ranked = found["every"], found["ranked"]
    for name, seed in (*models(job), ("narrowest", 0)):
        record.add({"kind": "full", "model": name, "seed": seed}, on_full, job, ranked, ranked[f"{name}/{seed}"])
    for seed in range(job.seeds):
        record.add({"kind": "production", "seed": seed}, on_full, job, every, every["all"][:, seed])
    record.add({"kind": "production", "seed": "mean"}, on_full, job, every, every["all"].mean(1))
    record.add({"kind": "smeared"}, smeared, job, ranked)
    record.add({"kind": "halves"}, halves, every)
    record.add({"kind": "doubt"}, doubt, every)


if __name__ == "__main__":
    main()
