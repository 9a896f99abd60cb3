"""Whatever is given to a public function, it answers or says which argument it cannot use; nothing else happens."""

import math
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import xarray
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_up import TINY, TRIAL, make_case
from odd_values import SPECIAL, SPOILT, odd

import mlnegf
from mlnegf import (
    Device,
    LearnedGuess,
    Region,
    coupling,
    differentiable,
    plots,
    rescale,
    sensitivity,
    solve,
    transport,
    widgets,
)
from mlnegf.atomistic.conductance import conductances
from mlnegf.atomistic.descriptors import Soap
from mlnegf.atomistic.hamiltonian import Orbitals
from mlnegf.atomistic.hard_cases import chain, two_necks
from mlnegf.atomistic.ldos import local_densities
from mlnegf.atomistic.potential import POTASSIUM
from mlnegf.atomistic.prediction import nearest
from mlnegf.atomistic.rivals import coulomb_eigenvalues, sections
from mlnegf.atomistic.wires import Pull, Wire
from mlnegf.crystal.aluminium import CUBE, AshcroftLindhard, snapshots
from mlnegf.crystal.bands import energies, extremum, local
from mlnegf.crystal.cohen_bergstresser import Semiconductor
from mlnegf.crystal.fitting import Target
from mlnegf.crystal.form_factors import Faded, FourParameters, LearnedFormFactors
from mlnegf.crystal.lattice import Crystal, zinc_blende
from mlnegf.crystal.local_density import local_density, mesh
from mlnegf.crystal.plane_waves import PlaneWaves
from mlnegf.crystal.prediction import points_of
from mlnegf.crystal.surroundings import Surroundings
from mlnegf.learning.colours import inks_of, light_of
from mlnegf.learning.losses import LOSSES
from mlnegf.learning.networks import SliceAutoencoder
from mlnegf.learning.networks.deep_potential import DeepPotential
from mlnegf.learning.networks.even import EvenNetwork
from mlnegf.learning.networks.fourier import FourierOperator
from mlnegf.learning.networks.jet import JetNetwork
from mlnegf.learning.networks.point import PointNetwork
from mlnegf.learning.networks.pooled import PooledNetwork
from mlnegf.learning.networks.separable import SeparableNetwork
from mlnegf.learning.networks.stacked import StackedNetwork
from mlnegf.learning.training import Settings
from mlnegf.line.grid import Line, Molecule
from mlnegf.line.kohn_sham import ground_density, hartree, read_off, searched
from mlnegf.line.motion import carried, oscillator, superposed
from mlnegf.line.potential_network import told
from mlnegf.line.two_electrons import mean_field, two_electrons
from mlnegf.line.wave_network import Descent, Task, by_descent, by_least_squares, oscillator_start
from mlnegf.nanosheet.materials import Material, Valley, delta_valleys, isotropic
from mlnegf.scf.equations import Equations
from mlnegf.scf.guesses import ExtrapolatedBias, GivenPotential, Semiclassical, Start
from mlnegf.scf.schemes import Anderson, Automatic, Gummel, Newton
from mlnegf.scf.spectrum import spectrum
from mlnegf.transport import Contacts, Lead, System
from mlnegf.transport.chain_charge import ChainCharge
from mlnegf.transport.chains import Chains, chain_states
from mlnegf.units import thermal_energy
from mlnegf.warmstart import objective, start_training
from mlnegf.warmstart.design import Design
from mlnegf.warmstart.samples import Sample
from mlnegf.warmstart.scores import summarise
from mlnegf.warmstart.slices import untrained

pytestmark = pytest.mark.filterwarnings("ignore")

MEMORY = 4 * 2**30
"""Bytes that one call may take."""
PATIENCE = 30
"""Seconds that one call may take."""
LONGEST = 3000
"""Characters of a message."""


@pytest.fixture(scope="module", autouse=True)
def _bounded() -> Iterator[None]:
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@contextmanager
def in_time() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise AssertionError("no answer")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@dataclass(frozen=True, eq=False)
class Door:
    """A public function, arguments that are good, and what a message may call one of them instead."""

    function: Callable[..., Any]
    good: dict[str, Any]
    others: tuple[str, ...] = ()
    finite: bool = True
    refusals: tuple[type[Exception], ...] = (ValueError, TypeError)

    def meets(self, argument: str, value: Any) -> None:
        """It answers with finite numbers, or says which argument it cannot use."""
        with in_time():
            try:
                found = self.function(**{**self.good, argument: value})
            except self.refusals as error:
                message = str(error)
            else:
                assert not self.finite or is_finite(found), f"{argument} led to {found!r}"
                return
        assert any(name in message for name in (argument, *self.others)), message[:LONGEST]
        assert len(message) < LONGEST


def is_finite(found: Any) -> bool:
    if isinstance(found, torch.Tensor):
        return bool(torch.isfinite(found.detach().abs()).all())
    if isinstance(found, np.ndarray):
        return bool(np.isfinite(found).all()) if found.dtype.kind in "fc" else True
    if isinstance(found, (tuple, list)):
        return all(map(is_finite, found))
    return math.isfinite(found) if isinstance(found, float) else True


DEVICE = Device(width=2.0, thickness=2.0, gate_length=3.0, source_length=2.0, drain_length=2.0, spacing=(0.5, 0.5, 0.5))
SOLUTION = solve(DEVICE, 0.3, 0.1)
SPECTRUM = spectrum(SOLUTION)
GUESS = LearnedGuess.pretrained()
CASE = make_case(8, 8, 6)
SAMPLE = Sample(**vars(CASE), potential=CASE.first_potential, charge=1.1 * CASE.first_charge)
TABLE = xarray.Dataset(
    {
        name: (("gate", "drain"), values)
        for name, values in (("current", np.ones((2, 1))), ("converged", np.ones((2, 1), bool)))
    },
    {"gate": [0.1, 0.2], "drain": [0.1]},
)
BLOCKS = np.tile([[0.0, 0.1], [0.1, 0.2]], (4, 1, 1))
HOPPINGS = -np.tile(np.eye(2), (3, 1, 1))
LEAD = BLOCKS[0], HOPPINGS[0]
SYSTEM = System.of(BLOCKS, HOPPINGS, LEAD, LEAD)
ENERGIES = np.linspace(-1.0, 1.0, 5) + 0.0123
CONDUCTOR = {
    "energies": ENERGIES, "diagonal": BLOCKS, "upper": HOPPINGS, "left_lead": LEAD, "right_lead": LEAD,
    "overlap": None, "broadening": 1e-10, "device": None,
}  # fmt: skip
CONTACTS = Contacts(0.0, -0.1, 0.025)
ATOMS = Wire.of_crystal(30.0, 9.0).positions
CHAIN = Chains.one(np.linspace(-0.1, 0.1, 6), 0.2, 0.5)
DENSITY = np.random.default_rng(0).uniform(0.1, 1.0, (4, 6, 6))
PNG = b"\x89PNG\x00"


def tensor(value: Any) -> Any:
    return (
        torch.from_numpy(value.astype(np.float64))
        if isinstance(value, np.ndarray) and value.dtype.kind in "fiub"
        else value
    )


def loss(name: str) -> Callable[..., Any]:
    def compare(**parts: Any) -> Any:
        return LOSSES[name]()(**{part: tensor(value) for part, value in parts.items()})

    return compare


def material(**declared: Any) -> type[Material]:
    return type("Mine", (Material,), declared)


def chained(**parts: Any) -> Any:
    return ChainCharge.of(Chains.one(**parts), CONTACTS, 1.0).density


def states(**parts: Any) -> Any:
    return [found.transmission for _, found in transport.scattering_states(**parts)]


def solved(**chosen: Any) -> Any:
    return solve(DEVICE, 0.3, 0.1, **chosen).potential


DEVICE_FIELDS = {field.name: getattr(DEVICE, field.name) for field in fields(Device)}
COMPARED = {"prediction": DENSITY, "target": 1.1 * DENSITY, "weight": np.ones((6, 6)), "cell": (1.0, 0.5, 0.5)}
SETTINGS = {field.name: field.default for field in fields(objective.Settings)}

LINE = Line(8.0, 48)
SMALL_TASK = Task(parts=1, width=3, layers=1)
WELL = Molecule((2.0,), (0.0,)).potential(LINE)
HELIUM = two_electrons(LINE, WELL).density
GAAS = Semiconductor("GaAs")
FORMULA = {"Ga": (50.8, 2.3, 3.72, 0.59), "As": (25.8, 2.59, 1.58, 0.51)}
REFUSALS = (ValueError, TypeError, RuntimeError)
SEEN = local_density(CUBE, AshcroftLindhard(), 12.0, 60.0, np.zeros((1, 3)), np.linspace(-11, 7, 37), 0.6)
# Cutoffs are met at "PlaneWaves": a large one that fits is an answer, and takes its time.
BAND = {"crystal": GAAS.crystal, "form_factors": GAAS}

DOORS = {
    "Device": Door(Device, DEVICE_FIELDS, ("smaller device",)),
    "Device.at": Door(DEVICE.at, {"temperature": 300.0}),
    "Device.from_dict": Door(Device.from_dict, {"parameters": DEVICE.to_dict()}, ("only",)),
    "Region": Door(Region, {"material": "silicon", "x": (0.0, 1.0), "y": None, "z": None}),
    "Valley": Door(Valley, {"mass_x": 0.2, "mass_y": 0.2, "mass_z": 0.9, "degeneracy": 2, "mixing": 0.0}),
    "valleys": Door(delta_valleys, {"longitudinal": 0.9, "transverse": 0.2}),
    "isotropic": Door(isotropic, {"mass": 0.2}),
    "Material": Door(material, {"permittivity": 4.0, "affinity": 1.0, "gap": 9.0, "electrons": (), "tunnel_mass": 0.5}),
    "thermal_energy": Door(thermal_energy, {"temperature": 300.0}),
    "solve": Door(
        lambda **given: solve(**given).potential,
        {
            "device": DEVICE,
            "gate": 0.3,
            "drain": 0.1,
            "guess": "semiclassical",
            "scheme": "auto",
            "tolerance": 1e-3,
            "current_tolerance": 1e-2,
            "filling": None,
            "modes": None,
            "max_solves": 20,
            "corrected": True,
        },
        # Of a thing that has every attribute a few are asked.
        ("memory",),
    ),
    "Equations": Door(Equations.of, {"device": DEVICE, "filling": None, "modes": None, "tolerance": 1e-3}),
    "coupling": Door(coupling, {"solution": SOLUTION}),
    "sensitivity": Door(
        lambda **given: sensitivity(**given).values,
        {"solution": SOLUTION, "of": "current", "to": "gate", "energies": None, "tolerance": 1e-6},
    ),
    "differentiable": Door(
        lambda **given: differentiable(**given).current,
        {"device": DEVICE, "gate": 0.3, "drain": 0.2, "energies": None, "tolerance": 1e-3},
    ),
    "spectrum": Door(
        lambda **given: [getattr(spectrum(**given), name) for name in ("current", "electrons")],
        {"solution": SOLUTION, "energy": ENERGIES},
    ),
    "Semiclassical": Door(lambda **given: solved(guess=Semiclassical(**given)), {"warm": 200.0}),
    "GivenPotential": Door(
        lambda potential: solved(guess=GivenPotential(potential)), {"potential": SOLUTION.potential}
    ),
    "ExtrapolatedBias": Door(ExtrapolatedBias, {"first": SOLUTION, "second": SOLUTION}),
    "Gummel": Door(Gummel, {"predictor": "image", "memory": 1, "patience": None}),
    "Anderson": Door(Anderson, {"memory": 4, "condition": 1e-4, "predictor": "image"}),
    "Newton": Door(lambda **given: solved(scheme=Newton(**given)), {"tolerance": 1e-2, "longest": 4.0}),
    "Automatic": Door(Automatic, {"newton": Newton(), "growth": 5.0, "memory": 2, "patience": 6}, ("scheme", "memory")),
    "LearnedGuess": Door(LearnedGuess, {"models": GUESS.models, "metadata": GUESS.metadata}),
    "LearnedGuess.load": Door(
        LearnedGuess.load,
        {"path": __file__},
        ("safetensors", "file", "device", "codec"),
        refusals=(ValueError, TypeError, OSError),
    ),
    "LearnedGuess call": Door(GUESS, {"problem": None}),
    "LearnedGuess.vote": Door(GUESS.vote, {"description": None}),
    "rescale": Door(
        rescale,
        {
            "slice_": np.arange(12.0).reshape(3, 4),
            "shape": (5, 6),
            "source_mask": np.ones((3, 4), bool),
            "target_mask": None,
        },
        # A mask is held against the section it is of.
        ("mask",),
    ),
    "transmission": Door(transport.transmission, CONDUCTOR, ("energies holds", "has shape")),
    "density_of_states": Door(transport.density_of_states, CONDUCTOR, ("energies holds", "has shape")),
    "scattering_states": Door(states, {"energies": ENERGIES, "system": SYSTEM, "broadening": 1e-10}),
    "self_energy": Door(
        lambda **given: transport.self_energy(**given).shift,
        {"energies": ENERGIES, "lead": SYSTEM.left, "side": "left", "broadening": 1e-10},
    ),
    "surface_green_function": Door(
        transport.surface_green_function,
        {"energies": ENERGIES, "lead": SYSTEM.left, "side": "left", "broadening": 1e-10},
    ),
    "green_blocks": Door(transport.green_blocks, {"energies": ENERGIES + 0.1j, "system": SYSTEM}),
    "filled_states": Door(
        lambda **given: transport.filled_states(**given).density_matrix,
        {"system": SYSTEM, "contacts": CONTACTS, "tolerance": 1e-3},
    ),
    "transmissions": Door(
        transport.transmissions,
        {
            "energy": 0.1,
            "diagonal": BLOCKS[None],
            "upper": HOPPINGS[None],
            "left": SYSTEM.left,
            "right": SYSTEM.left,
            "broadening": 1e-10,
        },
        ("energies holds",),
    ),
    "Pull": Door(Pull, {field.name: getattr(Pull(), field.name) for field in fields(Pull)}),
    "Wire": Door(
        lambda **given: Wire.of_crystal(**given).positions,
        {"length": 30.0, "diameter": 9.0, "lattice_constant": 5.328},
    ),
    "FinnisSinclair call": Door(POTASSIUM, {"positions": ATOMS}),
    "Orbitals": Door(Orbitals, {"strength": -1.32, "near": 5.5, "far": 7.4, "fermi_energy": 0.6}),
    "conductances": Door(
        conductances,
        {"positions": ATOMS[None], "held": 5, "period": 5.328, "orbitals": None, "energy": 0.6},
        ("far", "near", "energies holds", "positions"),
    ),
    "Soap": Door(Soap, {"cutoff": 8.0, "width": 1.0, "radial": 4, "angular": 2}),
    "Soap call": Door(Soap(radial=4, angular=2), {"positions": ATOMS}),
    "coulomb_eigenvalues": Door(coulomb_eigenvalues, {"positions": ATOMS, "size": 40}),
    "sections": Door(sections, {"positions": ATOMS}),
    "two_necks": Door(lambda **given: two_necks(**given).positions, {"apart": 5, "thick": 0.75}),
    "chain": Door(lambda **given: chain(**given).positions, {"atoms": 3, "spacing": 4.4}),
    "local_densities": Door(
        local_densities,
        {
            "positions": ATOMS[None],
            "held": 5,
            "energies": np.linspace(-1, 1, 3),
            "broadening": 0.1,
            "period": 5.328,
            "orbitals": None,
        },
        ("far", "near", "energies holds", "positions"),
        # A wire that no path of hops joins has none.
        finite=False,
    ),
    "Crystal": Door(Crystal, {"vectors": 4.0 * np.eye(3), "fractions": np.zeros((1, 3)), "species": ("Al",)}),
    "Crystal.strained": Door(CUBE.strained, {"strain": 0.01 * np.eye(3)}),
    "Crystal.repeated": Door(CUBE.repeated, {"counts": (1, 1, 2)}),
    "Crystal.path": Door(CUBE.path, {"corners": "GX", "count": 5}),
    "zinc_blende": Door(zinc_blende, {"lattice_constant": 5.6, "cation": "Ga", "anion": "As"}, ("vectors",)),
    "PlaneWaves": Door(
        lambda **given: PlaneWaves.of(**given).waves,
        {"crystal": GAAS.crystal, "cutoff": 60.0, "k": np.zeros((1, 3)), "centre": None},
    ),
    "bands.energies": Door(partial(energies, cutoff=60.0), {**BAND, "k": np.zeros((2, 3)), "bands": 4}),
    "bands.local": Door(partial(local, cutoff=60.0), {**BAND, "k": np.zeros(3), "band": 4, "centre": None}),
    "bands.extremum": Door(
        partial(extremum, cutoff=60.0),
        {**BAND, "start": np.zeros(3), "band": 4},
        ("k", "no flat place"),
        refusals=REFUSALS,
    ),
    "Semiconductor": Door(Semiconductor, {"name": "GaAs"}),
    "FourParameters": Door(FourParameters, {"start": FORMULA}),
    "LearnedFormFactors": Door(LearnedFormFactors, {"start": FORMULA, "width": 4, "reach": 3.0}),
    "Faded": Door(Faded, {"inner": FourParameters(FORMULA), "end": 3.0}),
    "AshcroftLindhard": Door(AshcroftLindhard, {"core": 1.16, "fade": 2.1, "power": 8.0}),
    "Target": Door(
        Target,
        {
            "crystal": GAAS.crystal,
            "cutoff": 60.0,
            "k": np.zeros((1, 3)),
            "energies": np.zeros((1, 4)),
            "weights": np.ones((1, 4)),
        },
    ),
    "mesh": Door(mesh, {"counts": (2, 1, 1)}),
    "local_density": Door(
        lambda **given: local_density(cutoff=60.0, **given).values,
        {
            "crystal": CUBE,
            "form_factors": AshcroftLindhard(),
            "electrons": 12.0,
            "k": np.zeros((1, 3)),
            "energies": np.linspace(-11, 7, 37),
            "width": 0.6,
        },
    ),
    "snapshots": Door(
        lambda **given: [some.fractions for some in snapshots(**given)],
        {"cells": (1, 1, 1), "temperature": 300.0, "count": 1, "seed": 0, "molten": False, "every": 1},
        ("counts",),
    ),
    "Surroundings": Door(Surroundings, {"cutoff": 5.0, "radial": 4, "angular": 2}),
    "Surroundings call": Door(Surroundings(5.0, 4, 2), {"crystal": CUBE, "fractions": np.zeros((2, 3))}),
    "points_of": Door(points_of, {"densities": [SEEN], "surroundings": Surroundings(5.0, 4, 2), "share": 0.01}),
    "PointNetwork": Door(PointNetwork, {"features": 3, "answers": 4, "width": 8}),
    "EvenNetwork": Door(EvenNetwork, {"answers": 3, "width": 8, "reach": 2.0}),
    "inks_of": Door(inks_of, {"light": np.full((2, 3), 0.5)}),
    "light_of": Door(light_of, {"inks": np.full((2, 4), 0.5)}),
    "FourierOperator": Door(FourierOperator, {"inputs": 1, "outputs": 1, "modes": (3,), "width": 4, "layers": 1}),
    "JetNetwork": Door(JetNetwork, {"inputs": 2, "outputs": 1, "width": 4, "layers": 1, "bend": "tanh"}),
    "Line": Door(Line, {"half": 8.0, "points": 32}),
    "Line.levels": Door(LINE.levels, {"potential": WELL, "count": 2}),
    "Molecule": Door(Molecule, {"charges": (1.0, 1.0), "places": (-1.0, 1.0)}),
    "Molecule.stretched": Door(Molecule.stretched, {"one": 1.0, "other": 1.0, "apart": 2.0}, ("charges", "places")),
    "two_electrons": Door(lambda **given: two_electrons(**given).density, {"line": LINE, "potential": WELL}, ("half",)),
    "ground_density": Door(ground_density, {"line": LINE, "potential": WELL, "electrons": 2}),
    "hartree": Door(hartree, {"line": LINE, "density": HELIUM}),
    "read_off": Door(read_off, {"line": LINE, "density": HELIUM, "energy": -0.7, "electrons": 2}),
    "searched": Door(
        searched,
        {"line": LINE, "density": HELIUM, "start": WELL, "solutions": 2, "noise": 1e-3, "doubt": 0.1, "smooth": 1.0},
    ),
    "oscillator": Door(oscillator, {"level": 2, "x": LINE.x, "frequency": 1.0}),
    "superposed": Door(superposed, {"levels": (0, 1), "x": LINE.x, "t": 0.5, "frequency": 1.0}, ("level",)),
    "carried": Door(
        carried,
        {"line": LINE, "start": WELL, "potential": lambda t: WELL, "duration": 0.1, "steps": 2, "kept": 1},
    ),
    "Task": Door(
        Task,
        {
            "half": 3.0,
            "duration": 1.0,
            "frequencies": (1.0, 1.0),
            "parts": 2,
            "width": 4,
            "layers": 1,
            "seed": 0,
        },
    ),
    "Descent": Door(Descent, {"steps": 3, "points": 8, "learning_rate": 1e-3, "causality": 1.0, "known": 0.0}),
    "by_least_squares": Door(
        by_least_squares,
        {"task": SMALL_TASK, "start": oscillator_start((0, 1)), "points": 8, "evaluations": 2},
        ("start",),
    ),
    "by_descent": Door(
        by_descent,
        {"task": SMALL_TASK, "start": oscillator_start((0, 1)), "how": Descent(2, 8), "wave": None},
        ("start", "wave"),
    ),
    "oscillator_start": Door(oscillator_start, {"levels": (0, 1)}),
    "told": Door(
        told,
        {
            "line": LINE,
            "density": HELIUM,
            "start": WELL,
            "energy": -0.7,
            "noise": 1e-3,
            "doubt": 0.1,
            "evaluations": 2,
            "seed": 0,
        },
    ),
    "mean_field": Door(
        mean_field, {"line": LINE, "potential": WELL, "accuracy": 1e-3, "rounds": 100}, ("rounds",), refusals=REFUSALS
    ),
    "slope": Door(LINE.slope, {"wave": WELL}),
    "PooledNetwork": Door(PooledNetwork, {"features": 4, "width": 8, "pooling": "max"}),
    "StackedNetwork": Door(StackedNetwork, {"features": 4, "width": 8}),
    "nearest": Door(nearest, {"positions": ATOMS, "count": 5}),
    "DeepPotential": Door(DeepPotential, {"near": 5.0, "cutoff": 7.5, "embedding": 4, "axis": 2, "width": 8}),
    "Contacts": Door(Contacts, {"source": 0.0, "drain": -0.1, "kT": 0.025}),
    "System": Door(
        System, {"diagonal": SYSTEM.diagonal, "upper": SYSTEM.upper, "left": SYSTEM.left, "right": SYSTEM.left}
    ),
    "cubic_lattice": Door(
        lambda **given: transport.cubic_lattice(**given).diagonal,
        {"potential": np.zeros((4, 2, 3)), "hopping": 1.0, "flux": 0.1, "mask": np.ones((2, 3), bool)},
    ),
    "carriers": Door(
        transport.carriers,
        {"density": np.ones((2, 5, 4)), "energies": ENERGIES, "occupations": (np.ones(5), np.ones(5)), "neutral": 0.0},
        ("density has shape",),
        finite=False,
    ),
    "Chains": Door(chained, {"onsite": np.linspace(-0.1, 0.1, 6), "mass": 0.2, "spacing": 0.5, "degeneracy": 2.0}),
    "chain_states": Door(
        lambda **given: chain_states(**given).transmission,
        {"onsite": np.zeros((5, 6)), "hopping": np.ones(5), "energy": ENERGIES + 1.5, "scattering": None},
        ("hopping has shape",),
        finite=False,
    ),
    "ChainCharge": Door(
        lambda **given: ChainCharge.of(**given).density,
        {"chains": CHAIN, "contacts": CONTACTS, "density_scale": 1.0, "tolerance": 1e-4, "filling": "edges"},
    ),
    **{f"loss {name}": Door(loss(name), COMPARED, finite=False) for name in ("mean_squared", "potential_norm")},
    "Logarithmic": Door(LOSSES["logarithmic"], {"floor": 1e-9}),
    "PotentialNorm": Door(LOSSES["potential_norm"], {"screening_length": 0.4, "permittivity": 11.7}),
    "SliceAutoencoder": Door(
        SliceAutoencoder,
        {"features": 8, "conditions": 13, "size": 8, "channels": 4, "embedding": 8, "reach": 1.0},
    ),
    "SliceAutoencoder call": Door(
        SliceAutoencoder(8, 13, 8, 4, 8), {"features": torch.zeros(2, 8, 8, 8), "conditions": torch.zeros(2, 13)}
    ),
    "SeparableNetwork": Door(
        SeparableNetwork, {"conditions": 5, "along": 3, "across": 4, "channels": 8, "terms": 4, "embedding": 8}
    ),
    "Settings": Door(
        Settings, {"epochs": 1, "learning_rate": 1e-3, "weight_decay": 0.0, "seed": 0, "checkpoint": None}
    ),
    "objective.Settings": Door(objective.Settings, SETTINGS),
    "objective.train": Door(
        objective.train, {"training": [], "settings": objective.Settings(), "validation": []}, ("training",)
    ),
    "start_training.train": Door(
        start_training.train, {"training": [], "settings": Settings(), "validation": []}, ("training",)
    ),
    "untrained": Door(untrained, {"name": "slice_autoencoder"}),
    "Design": Door(
        Design, {"text": f"{TINY}[[group]]\ngates = [0.1]\ndrains = [0.1]\n", "source": "mine"}, ("TOML", "group")
    ),
    "Design.read": Door(Design.read, {"file": "reduced"}, ("design",)),
    "summarise": Door(summarise, {"trials": [TRIAL]}),
    "plots.energy_map": Door(plots.energy_map, {"spectrum": SPECTRUM, "what": "electrons", "lowest": 3}),
    "plots.transfer": Door(plots.transfer, {"tables": {"": TABLE}, "thermal_slope": 0.06}),
    "plots.convergence": Door(plots.convergence, {"solutions": {"": SOLUTION}, "tolerance": 1e-3}),
    "plots.in_space": Door(plots.in_space, {"solution": SOLUTION, "slices": 2, "caption": ""}),
    "plots.slices": Door(plots.slices, {"sample": SAMPLE, "positions": [1.0], "predicted": None}),
    "plots.comparison": Door(plots.comparison, {"runs": [TRIAL], "split": None, "most": 60}),
    "FrameSlider": Door(
        widgets.FrameSlider, {"figures_or_pngs": [PNG], "labels": ["a"], "name": "V", "caption": ""}, ("frames",)
    ),
    "Explorer": Door(
        widgets.Explorer,
        {"function": lambda _: PNG, "name": "V", "values": [1.0], "unit": "V", "digits": 2, "caption": ""},
        ("frames",),
    ),
    "Table": Door(widgets.Table, {"rows": [{"a": 1.0}], "caption": "", "digits": 3}),
}

ONCE = settings(deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("name", DOORS)
@settings(ONCE, max_examples=80)
@given(data=st.data())
def test_any_value_is_met(name: str, data: st.DataObject) -> None:
    door = DOORS[name]
    door.meets(data.draw(st.sampled_from(sorted(door.good))), data.draw(odd))


ARRAYS = [
    (name, argument)
    for name, door in DOORS.items()
    for argument, value in door.good.items()
    if isinstance(value, np.ndarray)
]


@pytest.mark.parametrize(("name", "argument"), ARRAYS)
def test_any_array_is_met(name: str, argument: str) -> None:
    for spoil in SPOILT.values():
        DOORS[name].meets(argument, spoil(DOORS[name].good[argument]))


TOML = [
    "10000000000000", "1000000000", "-1", "1.5", "true", "'a'", "[1]", "{a = {b = {c = 1}}}", "nan", "1979-05-27",
    f"1{'0' * 400}", "{from = 0.1}", "{from = -1e308, to = 1e308}", "{from = nan, to = 1}", "{from = 'a', to = 'b'}",
    "{one_of = []}", "{one_of = [[1]]}", "{from = 1, to = 2, scale = [1]}", "{from = 1e5, to = 1e6}",
]  # fmt: skip


@settings(ONCE, max_examples=150)
@given(
    key=st.sampled_from(["devices", "biases", "gate", "drain", "width", "doping", "part"]), value=st.sampled_from(TOML)
)
def test_a_hostile_design_is_refused_before_it_is_drawn(key: str, value: str) -> None:
    keys = {"gate": "0.1", "drain": "0.1", key: value}
    text = "\n".join([TINY.replace("width", "#"), "[[group]]", *(f"{name} = {given}" for name, given in keys.items())])
    Door(Design, {"text": text}, (key, "devices")).meets("text", text)


def scheme(proposed: Any, **others: Any) -> SimpleNamespace:
    return SimpleNamespace(**{"memory": 1, "patience": None, "propose": lambda _: proposed, **others})


KNOWN = {
    "no device": ("solve", "device", 0),
    "a date for volts": ("solve", "gate", np.datetime64(0, "ns")),
    "a truth value for a length": ("Device", "gate_length", True),
    "a width no grid can hold": ("Device", "width", 1e308),
    "400 digits of volts": ("solve", "gate", 10**400),
    "400 digits of tolerance": ("solve", "tolerance", 10**400),
    "an array of modes": ("solve", "modes", np.array(["coupled", "uncoupled"])),
    "a guess that returns no Start": ("solve", "guess", lambda _: 1),
    "a Start that is no array": ("solve", "guess", lambda _: Start("here")),  # type: ignore[arg-type]
    "a Start of complex numbers": ("solve", "guess", lambda problem: Start(problem.poisson.donors * 1j)),
    "a Start beyond all volts": ("solve", "guess", lambda problem: Start(np.full(problem.poisson.donors.shape, 1e308))),
    "a Start from no point": ("solve", "guess", lambda _: Start(np.zeros((14, 36)), evaluated=1)),  # type: ignore[arg-type]
    "a potential of 1e308 V": ("solve", "guess", np.full(DEVICE.grid.shape, 1e308)),
    "a scheme that proposes nothing": ("solve", "scheme", scheme(None)),
    "a scheme that proposes three cells": ("solve", "scheme", scheme(np.zeros(3))),
    "a scheme that remembers all": ("solve", "scheme", scheme(np.zeros(3), memory=10**400)),
    "a ragged mask": ("Device", "cross_section", [[True], [True, False]]),
    "sparse directions": ("Device", "orientation", torch.eye(3).to_sparse()),
    "directions whose product overflows": ("Device", "orientation", ((2**62, 0, 0), (0, 0, 2**62))),
    "no parameters": ("Device.from_dict", "parameters", None),
    "no solution": ("coupling", "solution", None),
    "no energies": ("spectrum", "energy", []),
    "energies that are none": ("spectrum", "energy", [np.nan]),
    "more cells than memory": ("rescale", "shape", (10**5, 10**5)),
    "more cells than numbers": ("rescale", "shape", (10**400, 2)),
    "contents whose sum is inf": ("rescale", "slice_", np.full((3, 4), 1.7e308)),
    "a hopping beyond all units": ("transmission", "upper", np.full((3, 2, 2), 1.7e308)),
    "blocks without data": ("transmission", "diagonal", torch.zeros(4, 2, 2, device="meta")),
    "a place without data": ("transmission", "device", "meta"),
    "no end of lead blocks": ("transmission", "left_lead", iter(int, 1)),
    "energies that hide some": ("transmission", "energies", np.ma.array(ENERGIES, mask=[0, 1, 0, 0, 0])),
    "a lead of texts": ("self_energy", "lead", Lead("a", "b")),  # type: ignore[arg-type]
    "an infinite temperature": ("Contacts", "kT", math.inf),
    "a section of a million cells": ("cubic_lattice", "potential", np.zeros((2, 1000, 1000))),
    "no tolerance": ("ChainCharge", "tolerance", 0),
    "no rule of filling": ("ChainCharge", "filling", ["edges"]),
    "a hopping of zero": ("chain_states", "hopping", np.zeros(5)),
    "a negative weight": ("loss mean_squared", "weight", -np.ones((6, 6))),
    "no floor": ("Logarithmic", "floor", 0.0),
    "channels beyond all memory": ("SliceAutoencoder", "channels", 10**6),
    "features of another precision": ("SliceAutoencoder call", "features", torch.zeros(2, 8, 8, 8).double()),
    "no epochs": ("Settings", "epochs", 1e308),
    "no loss": ("objective.Settings", "loss", ["relative"]),
    "no network": ("untrained", "name", "cheese"),
    "no text": ("Design", "text", None),
    "too deep a text": ("Design", "text", "a = " + "[" * 10**5),
    "no file's name": ("Design.read", "file", "x" * 10**6),
    "a million devices": ("Design", "text", f"{TINY}[[group]]\ndevices = {10**12}\ngates = [0.1]\ndrains = [0.1]"),
    "a million biases": ("Design", "text", f"{TINY}[[group]]\nbiases = {10**9}\ngate = 0.1\ndrain = 0.1"),
    "no trials": ("summarise", "trials", [1]),
    "slices without end": ("plots.in_space", "slices", 10**6),
    "no sample": ("plots.slices", "sample", SOLUTION),
}


@pytest.mark.parametrize("kind", KNOWN)
def test_a_kind_once_mishandled_is_refused(kind: str) -> None:
    name, argument, value = KNOWN[kind]
    door = DOORS[name]
    with (
        in_time(),
        pytest.raises(ValueError, match=r"expected|cannot|not finite|no answer|beyond|No such|TOML|group") as caught,
    ):
        door.function(**{**door.good, argument: value})
    assert any(word in str(caught.value) for word in (argument, *door.others))


@pytest.mark.parametrize("value", SPECIAL.values(), ids=list(SPECIAL))
def test_any_value_has_words(value: Any) -> None:
    with pytest.raises(ValueError, match="solve: filling = ") as caught:
        solve(DEVICE, 0.1, 0.1, filling=value)
    assert len(str(caught.value)) < LONGEST


def test_a_million_energies_take_no_more_memory_than_some() -> None:
    energies = np.linspace(-1.0, 1.0, 50_000) + 1e-5 * math.pi
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = mlnegf.transport.transmission(**{**CONDUCTOR, "energies": energies})
    assert found.shape == energies.shape
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB
    alone = mlnegf.transport.transmission(**{**CONDUCTOR, "energies": energies[:3]})
    np.testing.assert_allclose(found[:3], alone, rtol=1e-14)


def test_a_halving_that_mends_nothing_ends() -> None:
    with in_time():
        found = ChainCharge.of(CHAIN, CONTACTS, 1e-300, 1e-300)
    assert found.unresolved > 1
