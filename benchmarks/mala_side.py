"""The same lesson for MALA: its networks and training on the points, descriptors and labels of `local_density.py`.

    python benchmarks/mala_side.py give --data data/aluminium
    python -m venv data/mala && data/mala/bin/pip install torch==2.13.0 materials-learning-algorithms==1.4.0
    data/mala/bin/python benchmarks/mala_side.py learn --data data/aluminium
    python benchmarks/mala_side.py score --data data/aluminium --output book/results/mala.json

MALA is the `materials-learning-algorithms` package, in an environment of its own; Cangi et al., Comput. Phys. Commun.
314, 109654 (2025). It is told what its own examples tell it, the layers and steps that ours has, and as many points,
drawn anew for each network as there; the weights of its last epoch are taken, as it leaves them. Its schedule gives
torch 2.13 an argument that is gone, which is dropped here. Its descriptors, which need LAMMPS, are not compared: both
networks read ours.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

FOLDER = "mala"
EPOCHS, BATCH, RATE, LAYERS, SEEDS = 100, 1024, 2e-3, (128, 128), 3


def give(data: Path) -> None:
    """Lay points, what they see and their densities out as MALA reads them; points are drawn anew for each seed."""
    from local_density import LESSONS, SHARE, SMALL, SURROUNDINGS, TESTS, Job, read

    job, state, cells = Job(data, 1, 1), "298 K", SMALL[1]
    folder = data / FOLDER
    folder.mkdir(exist_ok=True)
    lots = {"tr": range(LESSONS), "va": range(LESSONS, LESSONS + 2)}
    parts = [(kind, "lesson", n, seed) for seed in range(SEEDS) for kind, numbers in lots.items() for n in numbers]
    for kind, run, number, seed in [*parts, *(("te", "test", n, 0) for n in range(TESTS))]:
        density, _ = read(job, state, cells, run, number)
        places = density.fractions
        drawn = np.arange(len(places))
        if kind != "te":
            drawn = np.random.default_rng([seed, number]).permutation(len(places))[: int(np.ceil(SHARE * len(places)))]
        shape = density.shape if kind == "te" else (len(drawn), 1, 1)
        seen = SURROUNDINGS(density.crystal, places[drawn])
        name = f"{kind}-{seed}-{number}"
        np.save(folder / f"{name}.in.npy", seen.reshape(*shape, -1))
        np.save(folder / f"{name}.out.npy", density.values.T[drawn].reshape(*shape, -1))


def learn(data: Path) -> None:
    """Teach MALA's networks, and let them say the test snapshots; in MALA's environment."""
    import mala
    import torch

    torch.set_num_threads(1)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau
    torch.optim.lr_scheduler.ReduceLROnPlateau = lambda *given, verbose=None, **named: plateau(*given, **named)
    folder = data / FOLDER
    features, energies = (np.load(folder / f"te-0-0.{side}.npy", mmap_mode="r").shape[-1] for side in ("in", "out"))
    for seed in range(SEEDS):
        parameters = mala.Parameters()
        parameters.manual_seed = seed
        parameters.data.input_rescaling_type = "feature-wise-standard"
        parameters.data.output_rescaling_type = "minmax"
        parameters.descriptors.descriptors_contain_xyz = False
        parameters.targets.ldos_gridsize = energies
        parameters.targets.ldos_gridspacing_ev = 0.15
        parameters.targets.ldos_gridoffset_ev = -10
        parameters.network.layer_sizes = [features, *LAYERS, energies]
        # Its default; with ReLU, as in its examples, one network of two lost some answers for good.
        parameters.network.layer_activations = "LeakyReLU"
        parameters.running.max_number_epochs = EPOCHS
        parameters.running.mini_batch_size = BATCH
        parameters.running.learning_rate = RATE
        parameters.running.optimizer = "Adam"
        parameters.running.learning_rate_scheduler = "ReduceLROnPlateau"
        parameters.running.learning_rate_decay = 0.3
        parameters.running.learning_rate_patience = 5
        handler = mala.DataHandler(parameters)
        files = [
            path for some in (f"tr-{seed}", f"va-{seed}", "te-0") for path in sorted(folder.glob(f"{some}-*.in.npy"))
        ]
        for path in files:
            out = path.name.replace(".in.", ".out.")
            handler.add_snapshot(path.name, str(folder), out, str(folder), path.name[:2])
        handler.prepare_data()
        network = mala.Network(parameters)
        trainer = mala.Trainer(parameters, network, handler)
        began = time.perf_counter()
        trainer.train_network()
        taught = time.perf_counter() - began
        tester, said, seconds = mala.Tester(parameters, network, handler), [], []
        for number in range(sum(path.name.startswith("te") for path in files)):
            began = time.perf_counter()
            said.append(tester.predict_targets(number)[1])
            seconds.append(time.perf_counter() - began)
        np.savez(folder / f"said-{seed}.npz", said=np.array(said), taught=taught, seconds=seconds)


def score(data: Path, output: Path) -> None:
    """Score what was said as ours is."""
    from local_density import ENERGIES, SMALL, TESTS, Job, read, scores

    import mlnegf
    from mlnegf._files import write_whole
    from mlnegf.crystal.local_density import LocalDensity

    job, folder = Job(data, 1, 1), data / FOLDER
    found = [np.load(folder / f"said-{seed}.npz") for seed in range(SEEDS)]
    rows = []
    for number in range(TESTS):
        true, _ = read(job, "298 K", SMALL[1], "test", number)
        values = (one["said"][number].reshape(-1, len(ENERGIES)).T for one in found)
        votes = [LocalDensity(true.crystal, true.electrons, ENERGIES, some, true.shape) for some in values]
        rows.append(scores(votes, true, np.nan))
    keep = ("band_energy", "density", "fermi", "states")
    row = {name: [one[name] for one in rows] for name in keep}
    row |= {"taught_seconds": [float(one["taught"]) for one in found]}
    row |= {"seconds": [float(one["seconds"].mean()) for one in found]}
    about = {"command": "python benchmarks/mala_side.py " + " ".join(sys.argv[1:]), "version": mlnegf.__version__}
    about |= {"mala": "1.4.0", "epochs": EPOCHS, "state": "298 K", "atoms": 32}
    write_whole(output, json.dumps({**about, "rows": [row]}, indent=1))


def main() -> None:
    """Do one of the three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("give", "learn", "score"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    if given.step == "score":
        score(given.data, given.output)
    else:
        {"give": give, "learn": learn}[given.step](given.data)


if __name__ == "__main__":
    main()
