"""Many biases: each from its neighbours, none at the cost of another, all arguments checked before the first."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray
from made_up import design_of_holes

import mlnegf
from mlnegf import Device, Solution, solve
from mlnegf.nanosheet.poisson import Poisson
from mlnegf.runs.workers import Workers
from mlnegf.scf.bias_grid import Grid, Store, row_of, solved_grid
from mlnegf.scf.biases import neighbours
from mlnegf.scf.equations import Equations
from mlnegf.scf.guesses import Guess, Semiclassical, Start
from mlnegf.scf.loop import Outcome
from mlnegf.scf.problem import Problem, Work
from mlnegf.scf.schemes import as_scheme
from mlnegf.warmstart.dataset import cases
from mlnegf.warmstart.generation import generate
from mlnegf.warmstart.samples import FILLING

DEVICE = Device(width=4.0, gate_length=8.0, source_length=6.0, drain_length=6.0, spacing=(0.25, 0.5, 0.5))


def test_sweep_is_labelled_and_follows_the_biases() -> None:
    gates, drains = [0.1, 0.25, 0.4], [0.05, 0.3]
    table = mlnegf.sweep(DEVICE, gates, drains)
    assert dict(table.sizes) == {"gate": 3, "drain": 2}
    assert bool(table["converged"].all())
    assert table["current"].attrs["units"] == "A"
    assert (np.diff(table["current"], axis=0) > 0).all(), "the gate opens"
    assert (np.diff(table["current"], axis=1) > 0).all(), "the drain pulls"
    alone = solve(DEVICE, 0.4, 0.3)
    assert float(table["current"].sel(gate=0.4, drain=0.3)) == pytest.approx(alone.current, rel=1e-2)


def test_extrapolation_saves_solves_on_a_fine_sweep() -> None:
    gates = [0.3, 0.32, 0.34, 0.36, 0.38]
    near, cold = (mlnegf.sweep(DEVICE, gates, [0.3], guess=guess) for guess in ("extrapolated", "semiclassical"))
    assert int(near["charge_evaluations"].sum()) < int(cold["charge_evaluations"].sum())


def test_the_gate_cannot_beat_the_thermal_limit() -> None:
    table = mlnegf.sweep(DEVICE, [0.0, 0.05, 0.1], [0.05])
    slope = 0.05 / np.diff(np.log10(table["current"].values[:, 0]))
    assert (slope > 0.99 * DEVICE.thermal_energy * np.log(10)).all()


def solve_rest(device: Device, gates: list[float], drain: float, known: list[Solution]) -> Store:
    """Solve the gate voltages that are not known yet, the last ones."""
    options: dict[str, Any] = {"scheme": as_scheme("auto"), "max_solves": 100}
    store = Store({(row, 0): (row_of(solution), solution.potential) for row, solution in enumerate(known)})
    solved_grid(Grid(Equations.of(device), gates, [drain], "extrapolated", True, options), Workers(1), store, False)
    return store


def test_known_biases_are_started_from_and_not_solved_again(monkeypatch: pytest.MonkeyPatch) -> None:
    known = [solve(DEVICE, gate, 0.05) for gate in (0.1, 0.2)]
    asked: list[Any] = []

    def counted(equations: Equations, gate: float, drain: float, guess: Any, **options: Any) -> Solution:
        asked.append((gate, drain, guess.first.gate, guess.second.gate))
        return solve(equations, gate, drain, guess, **options)

    monkeypatch.setattr("mlnegf.scf.biases.solve", counted)
    store = solve_rest(DEVICE, [0.1, 0.2, 0.3], 0.05, known)
    assert asked == [(0.3, 0.05, 0.1, 0.2)]
    assert store.known[2, 0][0]["converged"]


def test_a_known_bias_that_failed_is_started_from_by_none(device: Device, solution: Solution) -> None:
    nothing = np.full_like(solution.potential, np.nan)
    failed = replace(solution, gate=0.2, drain=0.1, outcome=Outcome.failed, potential=nothing)
    last = solve_rest(device, [0.1, 0.2, 0.3], 0.1, [solve(device, 0.1, 0.1), failed]).known[2, 0][0]
    assert last["converged"]
    assert last["guess_used"]


@pytest.mark.parametrize("kind", ["solution", "array", "list", "tensor"])
def test_a_folder_knows_the_start_it_was_made_with(
    device: Device, solution: Solution, tmp_path: Path, kind: str
) -> None:
    start = {"solution": solution, "array": solution.potential, "list": solution.potential.tolist()}
    start["tensor"] = torch.from_numpy(solution.potential)
    mlnegf.sweep(device, [0.4], [0.3], guess=start[kind], folder=tmp_path)
    mlnegf.sweep(device, [0.4], [0.3], guess=start[kind], folder=tmp_path)
    other = replace(solution, potential=solution.potential + 1e-3)
    with pytest.raises(ValueError, match=r"sweep = .*expected that of this sweep; name another folder"):
        mlnegf.sweep(device, [0.4], [0.3], guess=other if kind == "solution" else other.potential, folder=tmp_path)


def test_each_bias_starts_from_its_nearest_neighbours() -> None:
    assert neighbours(0, 0) == []
    assert neighbours(1, 0) == [(0, 0)]
    assert neighbours(5, 3) == [(3, 3), (4, 3)]
    assert neighbours(0, 1) == [(0, 0)]
    assert neighbours(1, 4) == [(1, 2), (1, 3)]


def test_a_sweep_up_and_down_comes_back_to_where_it_was(device: Device) -> None:
    table = mlnegf.sweep(device, [0.1, 0.2, 0.3, 0.3, 0.2, 0.1], [0.1, 0.1])
    assert dict(table.sizes) == {"gate": 6, "drain": 2}
    assert bool(table["converged"].all())
    current = table["current"].values
    np.testing.assert_allclose(current[::-1], current, rtol=0.02)
    np.testing.assert_allclose(current[:, 1], current[:, 0], rtol=0.02)
    # Where nothing has changed, the first solve certifies.
    assert table["charge_evaluations"].values[3, 0] == table["charge_evaluations"].values[0, 1] == 1


@dataclass(frozen=True)
class Fussy(Guess):
    """A guess that one bias offends."""

    def __call__(self, problem: Problem) -> Start:
        if problem.gate == 0.2:
            raise RuntimeError("not at 0.2 V")
        return Semiclassical()(problem)


def refuse(equations: Any, gate: float, *rest: Any, **options: Any) -> Solution:
    if gate == 0.2:
        raise RuntimeError("not at 0.2 V")
    return solve(equations, gate, *rest, **options)


@pytest.mark.parametrize("guess", [Fussy(), "extrapolated", "previous"])
def test_a_bias_that_fails_costs_no_other(device: Device, guess: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if isinstance(guess, str):
        monkeypatch.setattr("mlnegf.scf.biases.solve", refuse)
    table = mlnegf.sweep(device, [0.1, 0.2, 0.3], [0.1], guess=guess)
    assert table["outcome"].values[:, 0].tolist() == ["converged", "failed", "converged"]
    assert table["status"].values[1, 0] == "failed: RuntimeError: not at 0.2 V"
    assert np.isnan(table["current"].values[1, 0])
    assert not table["converged"].values[1, 0]
    exact = solve(device, 0.3, 0.1).current
    assert float(table["current"][2, 0]) == pytest.approx(exact, rel=0.01)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"gates": [[0.1, 0.2]]}, r"sweep: gates = \[\[0.1, 0.2\]\], expected a list of 1 to"),
        ({"gates": []}, r"sweep: gates = \[\], expected a list of 1 to"),
        ({"gates": 0.1}, "sweep: gates = 0.1, expected a list of 1 to"),
        ({"gates": torch.tensor([0.1]).to_sparse()}, "(?s)sweep: gates = .*expected a list of 1 to"),
        ({"gates": [0.1] * 10_001}, "(?s)sweep: gates = .*expected a list of 1 to 10000"),
        ({"progress": "yes"}, "sweep: progress = 'yes', expected True or False"),
        ({"workers": 0}, "workers: workers = 0, expected a whole number"),
        ({"gates": [0.1, float("nan")]}, "sweep: gates = nan, expected volts"),
        ({"gates": [0.1, True]}, "sweep: gates = True, expected volts"),
        ({"gates": [0.1, "high"]}, "sweep: gates = 'high', expected volts"),
        ({"drains": [0.1, 2.5]}, "sweep: drains = 2.5, expected volts between −2 and 2"),
        ({"guess": "hopeful"}, "guess = 'hopeful', expected one of .*'extrapolated'"),
        ({"guess": np.zeros((2, 2, 2))}, r"shape \(2, 2, 2\)"),
        ({"guess": None}, "guess = None"),
        ({"scheme": None}, "scheme = None"),
        ({"max_solves": 0}, "max_solves = 0"),
        ({"filling": "half"}, "filling = 'half'"),
        ({"device": "sheet"}, "device = 'sheet'"),
    ],
)
def test_arguments_are_checked_before_any_work(
    device: Device, options: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*arguments: Any, **options: Any) -> Solution:
        raise AssertionError("solved before all was checked")

    monkeypatch.setattr("mlnegf.scf.biases.solve", never)
    with pytest.raises(ValueError, match=words):
        mlnegf.sweep(**{"device": device, "gates": [0.1, 0.2], "drains": [0.1], **options})


@pytest.mark.parametrize(("most", "fails"), [(100, False), (20, False), (7, True), (1, True)])
def test_a_failed_step_is_halved_within_what_each_bias_may_cost(
    solution: Solution, monkeypatch: pytest.MonkeyPatch, most: int, fails: bool
) -> None:
    """A solver that steps of 0.2 V at most lead to, at three solves a success and six a failure."""
    tried: list[float] = []

    def short(equations: Equations, gate: float, drain: float, guess: Any, *, max_solves: int, **_: Any) -> Solution:
        last = getattr(guess, "second", getattr(guess, "solution", None))
        reached = last is None or abs(gate - last.gate) < 0.2 + 1e-9
        tried.append(gate)
        solves = min(max_solves, 3 if reached else 6)
        outcome = Outcome.converged if reached and solves == 3 else Outcome.stalled
        return replace(solution, gate=gate, drain=drain, outcome=outcome, work=Work(charge_evaluations=solves))

    monkeypatch.setattr("mlnegf.scf.biases.solve", short)
    last = mlnegf.sweep(solution.device, [0.0, 0.4], [0.1], max_solves=most).isel(gate=-1, drain=0)
    assert last["charge_evaluations"] <= most
    assert bool(last["converged"]) == (not fails)
    if not fails:
        assert tried == pytest.approx([0.0, 0.4, 0.2, 0.4])
        assert last["charge_evaluations"] == 6 + 3 + 3


def test_the_equations_of_a_sweep_are_made_once(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Device] = []
    of = Poisson.of

    def counted(device: Device, slices: slice = slice(None)) -> Poisson:
        if slices == slice(None):  # those of a few slices choose the transverse basis
            made.append(device)
        return of(device, slices)

    monkeypatch.setattr(Poisson, "of", staticmethod(counted))
    mlnegf.sweep(device, [0.1, 0.2], [0.1])
    mlnegf.sweep(device, [0.1, 0.2], [0.1], guess="flat")
    assert made == [device] * 2


def test_a_table_on_disk_says_what_made_it(device: Device, tmp_path: Path) -> None:
    table = mlnegf.sweep(device, [0.1], [0.1], guess=Semiclassical(warm=150.0), filling="threshold", tolerance=2e-3)
    table.to_netcdf(tmp_path / "table.nc", engine="h5netcdf")
    read = xarray.load_dataset(tmp_path / "table.nc", engine="h5netcdf").attrs
    said = json.loads(read["device"])
    assert Device(**{**said, "spacing": tuple(said["spacing"])}) == device
    assert (read["version"], read["filling"], read["modes"]) == (mlnegf.__version__, "threshold", "uncoupled")
    assert (read["guess"], read["scheme"], read["tolerance"]) == ("semiclassical", "auto", 2e-3)


def test_first_iterations_of_a_p_type_device_lie_at_its_bias(device: Device, tmp_path: Path) -> None:
    holes = replace(device, polarity="p")
    generate(design_of_holes([-0.3], [-0.1]), tmp_path, "the tests", workers=1, progress=False)
    (case,) = cases(tmp_path)
    assert case.device == holes
    sample, problem = case.sample(), Problem.of(holes, -0.3, -0.1, FILLING)
    point = problem.evaluate(problem.semiclassical())
    inside = (slice(None), *holes.grid.box)
    np.testing.assert_allclose(sample.first_potential, problem.unfolded(point.potential)[inside], atol=1e-6)
    np.testing.assert_allclose(
        sample.first_charge, holes.grid.unfold(point.charge.density)[inside], rtol=1e-5, atol=1e-9
    )
    # The start lies near the solution, which has the sign of the real device.
    assert abs(sample.first_potential - sample.potential).max() < 0.1


def test_potentials_are_let_go_when_nobody_starts_from_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """At most the last two gate voltages of every drain voltage are held, however long the sweep."""
    held: list[int] = []

    def watched(store: Store, needed: set[tuple[int, int]]) -> None:
        forget(store, needed)
        held.append(sum(potential.size > 0 for _, potential in store.known.values()))

    forget = Store.forget_all_but
    monkeypatch.setattr(Store, "forget_all_but", watched)
    mlnegf.sweep(DEVICE, [0.05, 0.1, 0.15, 0.2, 0.25], [0.05, 0.1])
    assert max(held) <= 6
    assert held[-1] == 0
