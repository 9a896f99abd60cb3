"""Slices and trials without the physics, for what only looks at shapes and numbers."""

import hashlib
from pathlib import Path

import numpy as np
import torch

from mlnegf.learning.networks import SliceAutoencoder
from mlnegf.nanosheet.device import Device
from mlnegf.runs.folder import MANIFEST
from mlnegf.runs.journal import Journal
from mlnegf.warmstart.design import Design
from mlnegf.warmstart.samples import FirstIteration
from mlnegf.warmstart.slices import COUNTS
from mlnegf.warmstart.trials import Trial

TRIAL = Trial(
    split="unseen_bias",
    device="3×3 nm, 6 nm gate",
    gate=0.3,
    drain=0.1,
    guess="learned",
    scheme="newton",
    tolerance=1e-3,
    outcome="right",
    charge_evaluations=2,
    linearised_applications=20,
    chain_passes=1,
    poisson_solves=30,
    seconds=0.5,
    estimated_error=5e-4,
    true_error=4e-4,
    estimated_current_error=1e-3,
    true_current_error=1e-3,
    fallback=False,
    current=2e-6,
)


TINY = """
[each]
width = 3.0
thickness = 3.0
gate_length = 6.0
source_length = 5.0
drain_length = 5.0
spacing = [0.5, 0.5, 0.5]
"""
"""What devices of the tests' designs share."""


def sign(path: Path) -> None:
    """Let the manifest know a file as it is now, as whoever made it by hand would."""
    content = path.read_bytes()
    (entry,) = (row for row in Journal(path.parent / MANIFEST).read()[0] if row["file"] == path.name)
    changed = {**entry, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    Journal(path.parent / MANIFEST).append(changed)


def design_of_holes(gates: list[float], drains: list[float]) -> Design:
    """Return a design of one p-type device."""
    return Design(f'{TINY}\n[[group]]\npolarity = "p"\ngates = {gates}\ndrains = {drains}\n')


def make_case(ny: int = 24, nz: int = 12, nx: int = 10, seed: int = 0, ellipse: bool = False) -> FirstIteration:
    rng = np.random.default_rng(seed)
    y, z = ((np.arange(cells) + 0.5) / cells * 2 - 1 for cells in (ny, nz))
    inside = y[:, None] ** 2 + z**2 <= 1.0 if ellipse else np.ones((ny, nz), bool)
    quarter = 2.0 * nx / 4
    profile = 10.0 ** rng.uniform(-11.5, -1, nx)[:, None, None]
    shape = (1 + 0.5 * np.cos(np.pi * y[:, None] / 2) * np.cos(np.pi * z / 2)) * profile
    return FirstIteration(
        device=Device(
            gate_length=2 * quarter,
            source_length=quarter,
            drain_length=quarter,
            width=ny * 0.25,
            thickness=nz * 0.25,
            spacing=(0.5, 0.25, 0.25),
        ),
        gate=0.4,
        drain=0.6,
        x=np.asarray((np.arange(nx) + 0.5) * 2.0),
        mask=inside,
        first_potential=rng.normal(0.5, 0.2, (nx, ny, nz)),
        first_charge=np.where(inside, shape, 0.0),
    )


def shaken(seed: int = 0, **config: int) -> SliceAutoencoder:
    """Return a network whose last layer is no longer zero."""
    torch.manual_seed(seed)
    model = SliceAutoencoder(**COUNTS, **config)
    torch.nn.init.normal_(model.leave.weight, std=0.05)
    return model
