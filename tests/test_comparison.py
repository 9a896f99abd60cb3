"""Runs are judged against the reference, kept, and summed up without flattering anyone."""

import contextlib
import json
import math
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up import TRIAL

import mlnegf
from mlnegf import Solution, solve
from mlnegf.runs.journal import checksum
from mlnegf.runs.lock import held
from mlnegf.scf.guesses import ExtrapolatedBias, PreviousBias, Semiclassical
from mlnegf.scf.loop import Outcome
from mlnegf.warmstart import comparison as benchmark
from mlnegf.warmstart.comparison import compare, judge, label, named_guesses
from mlnegf.warmstart.dataset import Splits
from mlnegf.warmstart.scores import saving, summarise, table
from mlnegf.warmstart.storage import Case
from mlnegf.warmstart.trials import Trial, read, write

GUESSES = ["semiclassical", "previous", "extrapolated", "learned"]


def pair(gate: float, learned: int, cold: int, outcome: str = "right") -> list[Trial]:
    """Return two runs of one case that took so many NEGF solves."""
    return [
        replace(TRIAL, gate=gate, charge_evaluations=learned, outcome=outcome),
        replace(TRIAL, gate=gate, charge_evaluations=cold, guess="semiclassical"),
    ]


@pytest.fixture(scope="module")
def output(splits: Splits, weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("benchmark") / "runs.json"
    compare(splits, path, GUESSES, ["newton"], ["unseen_bias"], weights, workers=1, progress=False, command="the tests")
    return path


@pytest.fixture
def submitted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Work that `compare` hands out; none of it is done."""
    jobs: list[tuple[Any, ...]] = []

    def done(*arguments: Any) -> list[Trial]:
        jobs.append(arguments)
        return []

    monkeypatch.setattr(benchmark, "judge", done)
    monkeypatch.setattr("mlnegf.runs.workers.os.cpu_count", lambda: 1)
    return jobs


@pytest.fixture(scope="module")
def case(splits: Splits) -> Case:
    return splits.unseen_bias[0]


@pytest.fixture(scope="module")
def solved(case: Case, found: list[Case]) -> dict[tuple[float, float], Case]:
    return {(other.gate, other.drain): other for other in found if other.device == case.device}


def test_every_case_meets_every_guess(output: Path, splits: Splits) -> None:
    expected = {(label(case), case.gate, case.drain, guess) for case in splits.unseen_bias for guess in GUESSES}
    assert len(expected) == len(read(output)) == 8
    assert {(run.device, run.gate, run.drain, run.guess) for run in read(output)} == expected


def test_every_run_is_right(output: Path) -> None:
    for run in read(output):
        assert run.outcome == "right"
        assert run.true_error <= run.tolerance == 1e-3
        assert run.charge_evaluations >= 1
        assert run.seconds > 0


def test_the_file_says_where_it_comes_from(output: Path) -> None:
    table = json.loads(output.read_text())
    assert table["command"] == "the tests"
    assert table["version"] == mlnegf.__version__


def test_a_second_run_does_nothing(
    output: Path, splits: Splits, weights: Path, submitted: list[tuple[Any, ...]]
) -> None:
    before = output.read_bytes()
    runs = compare(splits, output, GUESSES, ["newton"], ["unseen_bias"], weights, progress=False)
    assert submitted == []
    assert runs == read(output)
    assert output.read_bytes() == before


class Judge:
    """Judges without solving, and is stopped after so many cases."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, allowed: float = math.inf) -> None:
        self.calls, self.allowed = 0, allowed
        monkeypatch.setattr(benchmark, "judge", self)

    def __call__(self, part: str, case: Case, solved: object, pairs: list[tuple[str, str]], *_: object) -> list[Trial]:
        if self.calls == self.allowed:
            raise KeyboardInterrupt
        self.calls += 1
        place = {"split": part, "device": label(case), "gate": case.gate, "drain": case.drain}
        return [replace(TRIAL, **place, guess=guess, scheme=scheme) for guess, scheme in pairs]


def compare_flat(splits: Splits, path: Path) -> list[Trial]:
    return compare(splits, path, ["flat"], ["newton"], ["unseen_device"], workers=1, progress=False, command="again")


def test_an_interrupted_comparison_keeps_its_trials(
    splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "runs.json"
    Judge(monkeypatch, allowed=2)
    with pytest.raises(KeyboardInterrupt):
        compare_flat(splits, path)
    assert len(read(path)) == 2
    rest = Judge(monkeypatch)
    assert len(compare_flat(splits, path)) == len(read(path)) == 6
    assert rest.calls == 4
    assert [file.name for file in tmp_path.iterdir()] == ["runs.json"]


def test_a_killed_comparison_is_gone_on_with(splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a kill leaves is a journal: the next run reads it, unless it is that of another comparison."""
    path, rows = tmp_path / "runs.json", tmp_path / "runs.json.rows"
    with monkeypatch.context() as patch:
        Judge(patch, allowed=3)
        patch.setattr(benchmark, "write", lambda *_: os._exit(1))
        if (child := os.fork()) == 0:
            with contextlib.suppress(BaseException):
                compare_flat(splits, path)
            os._exit(1)
        os.waitpid(child, 0)
    assert [file.name for file in tmp_path.iterdir() if file.suffix != ".lock"] == [rows.name]
    torn = rows.read_bytes()[:-30]
    rows.write_bytes(torn)
    monkeypatch.setattr(benchmark, "__version__", "9.9")
    with pytest.raises(ValueError, match=rf"{rows}: holds runs with other version"):
        compare_flat(splits, path)
    monkeypatch.setattr(benchmark, "__version__", mlnegf.__version__)
    rest = Judge(monkeypatch)
    assert len(compare_flat(splits, path)) == len(read(path)) == 6
    assert rest.calls == 4
    assert not rows.exists()


def test_two_comparisons_into_one_file_are_refused(splits: Splits, tmp_path: Path) -> None:
    with held(tmp_path / "runs.json"), pytest.raises(ValueError, match=r"runs.json' is in use by process \d+ on"):
        compare_flat(splits, tmp_path / "runs.json")


@pytest.mark.parametrize(
    ("schemes", "tolerance"), [(["newton", "gummel"], 1e-3), (["newton"], 1e-4)], ids=["scheme", "tolerance"]
)
def test_a_second_run_does_only_what_is_new(
    output: Path,
    splits: Splits,
    weights: Path,
    submitted: list[tuple[Any, ...]],
    tmp_path: Path,
    schemes: list[str],
    tolerance: float,
) -> None:
    copy = tmp_path / "runs.json"
    copy.write_bytes(output.read_bytes())
    compare(splits, copy, GUESSES[:2], schemes, ["unseen_bias"], weights, tolerance, progress=False)
    assert len(submitted) == len(splits.unseen_bias)
    assert all(wanted == [(guess, schemes[-1]) for guess in GUESSES[:2]] for *_, wanted, _, _ in submitted)
    assert read(copy) == read(output)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"guesses": ["nonsense"]}, r"compare: guesses = 'nonsense', expected one of \['flat'"),
        ({"schemes": ["nonsense"]}, r"compare: schemes = 'nonsense', expected one of \['anderson'"),
        ({"parts": ["nonsense"]}, r"compare: parts = 'nonsense', expected one of \['training'"),
    ],
)
def test_an_unknown_name_is_refused(
    splits: Splits, tmp_path: Path, submitted: list[tuple[Any, ...]], change: dict[str, list[str]], words: str
) -> None:
    wanted: dict[str, Any] = {"guesses": ["flat"], "schemes": ["newton"], **change}
    with pytest.raises(ValueError, match=words):
        compare(splits, tmp_path / "runs.json", **wanted, progress=False)
    assert submitted == []


@pytest.mark.parametrize(
    "content", ["", "torn {", "[]", "[" * 100_000, '{"runs": [{"split": "unseen_bias"}]}', '{"version": "0"}']
)
def test_a_damaged_file_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "runs.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=rf"{re.escape(str(path))}: not a file of `mlnegf benchmark`.*delete it"):
        read(path)


def test_runs_come_back_from_their_file(tmp_path: Path) -> None:
    runs = [TRIAL, replace(TRIAL, gate=0.4, outcome="failed", true_error=math.inf)]
    write(tmp_path / "runs.json", runs, {"command": "none"})
    assert read(tmp_path / "runs.json") == runs


@pytest.mark.parametrize(
    ("converged", "shift", "current", "outcome"),
    [
        (True, 0.0, 1.0, "right"),
        (True, 9e-4, 1.005, "right"),
        (True, 2e-3, 1.0, "missed"),
        (True, 0.0, 1.02, "missed"),
        (True, 2e-2, 1.0, "wrong branch"),
        (False, 0.0, 1.0, "failed"),
        (False, 2e-2, 1.0, "failed"),
    ],
)
def test_an_outcome_is_judged_against_the_reference(
    monkeypatch: pytest.MonkeyPatch,
    case: Case,
    solution: Solution,
    converged: bool,
    shift: float,
    current: float,
    outcome: str,
) -> None:
    reference = case.solved()
    potential, flow = reference.potential + shift, reference.current * current
    answer = replace(
        solution, outcome=Outcome.converged if converged else Outcome.stalled, potential=potential, current=flow
    )
    monkeypatch.setattr(benchmark, "solve", lambda *arguments, **options: answer)
    (run,) = judge("unseen_bias", case, {}, [("flat", "newton")], None, 1e-3)
    assert run.outcome == outcome
    assert run.true_error == pytest.approx(shift, abs=1e-12)
    assert run.true_current_error == pytest.approx(current - 1, abs=1e-12)


def test_without_a_reference_nothing_is_judged(case: Case) -> None:
    (run,) = judge("unseen_bias", replace(case, converged=False), {}, [("flat", "newton")], None, 1e-3)
    assert run.outcome == "no reference"


def test_a_doubted_learned_guess_is_marked(splits: Splits, weights: Path) -> None:
    (run,) = judge("unseen_device", splits.unseen_device[0], {}, [("learned", "newton")], weights, 1e-3)
    assert run.fallback


def test_the_previous_bias_is_the_nearest_solved_one(solved: dict[tuple[float, float], Case]) -> None:
    guess = named_guesses(None)["previous"](solved[0.5, 0.4], solved)
    assert isinstance(guess, PreviousBias)
    assert (guess.solution.gate, guess.solution.drain) == (0.3, 0.4)


def test_a_line_is_drawn_through_the_two_nearest(solved: dict[tuple[float, float], Case]) -> None:
    guess = named_guesses(None)["extrapolated"](solved[0.5, 0.4], solved)
    assert isinstance(guess, ExtrapolatedBias)
    assert [(end.gate, end.drain) for end in (guess.first, guess.second)] == [(0.1, 0.4), (0.3, 0.4)]


def test_the_first_bias_starts_semiclassically(solved: dict[tuple[float, float], Case]) -> None:
    assert isinstance(named_guesses(None)["extrapolated"](solved[0.1, 0.1], solved), Semiclassical)


@pytest.mark.parametrize(("current", "expected"), [(1e-9, True), (-1e-9, True), (1e-5, False)])
def test_a_small_reference_current_is_subthreshold(current: float, expected: bool) -> None:
    assert replace(TRIAL, current=current).subthreshold == expected


def test_a_row_counts_outcomes() -> None:
    outcomes = ["right", "right", "failed", "wrong branch", "missed", "no reference"]
    (row,) = summarise([replace(TRIAL, outcome=outcome) for outcome in outcomes])
    counts = {name: row[name] for name in ("runs", *dict.fromkeys(outcomes))}
    assert counts == {"runs": 6, "right": 2, "failed": 1, "wrong branch": 1, "missed": 1, "no reference": 1}


def test_there_is_a_row_for_each_guess_scheme_split_and_tolerance() -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"guess": "flat"},
        {"scheme": "gummel"},
        {"split": "unseen_device"},
        {"tolerance": 1e-4},
        {"gate": 0.5},
    ]
    rows = summarise([replace(TRIAL, **change) for change in changes])
    assert [row["runs"] for row in rows] == [2, 1, 1, 1, 1]


def test_a_median_is_that_of_all_runs() -> None:
    (row,) = summarise([replace(TRIAL, charge_evaluations=solves) for solves in (2, 3, 9)])
    assert row["charge_evaluations"] == 3
    assert row["charge_evaluations_95"] == 9


@pytest.mark.parametrize("outcome", ["failed", "wrong branch", "missed", "no reference"])
def test_a_run_that_is_not_right_is_infinitely_costly(outcome: str) -> None:
    lost = replace(TRIAL, outcome=outcome, charge_evaluations=1, seconds=0.0)
    (row,) = summarise([TRIAL, TRIAL, TRIAL, lost])
    assert (row["charge_evaluations"], row["charge_evaluations_95"]) == (2, math.inf)
    assert row["seconds_95"] == math.inf


def test_a_guess_that_mostly_fails_has_no_median() -> None:
    (row,) = summarise([TRIAL, replace(TRIAL, outcome="failed"), replace(TRIAL, outcome="failed")])
    assert row["charge_evaluations"] == math.inf


def test_the_largest_error_is_that_of_the_right_branch() -> None:
    runs = [TRIAL, replace(TRIAL, outcome="missed", true_error=3e-3)]
    runs += [replace(TRIAL, outcome="wrong branch", true_error=0.2), replace(TRIAL, outcome="failed", true_error=1.0)]
    (row,) = summarise(runs)
    assert row["largest_true_error"] == 3e-3


def test_fallbacks_are_counted() -> None:
    (row,) = summarise([TRIAL, replace(TRIAL, fallback=True)])
    assert row["fallback"] == 1


def test_a_saving_is_a_median_over_cases() -> None:
    runs = pair(0.1, 2, 4) + pair(0.2, 1, 4) + pair(0.3, 4, 4)
    assert saving(runs, "learned", "semiclassical", "newton")[0] == pytest.approx(0.5)


def test_the_interval_holds_the_median() -> None:
    runs = [run for gate in range(20) for run in pair(gate, 1 + gate % 5, 5)]
    median, low, high = saving(runs, "learned", "semiclassical", "newton")
    assert low < median < high


def test_a_lost_run_costs_itself_and_the_cold_start() -> None:
    runs = pair(0.1, 2, 4, outcome="failed")
    assert saving(runs, "learned", "semiclassical", "newton")[0] == pytest.approx(1 - (2 + 4) / 4)


def test_a_baseline_that_fails_costs_what_it_spent() -> None:
    learned, cold = pair(0.1, 3, 60)
    lost = [replace(run, outcome="failed") if run.guess == "semiclassical" else run for run in (learned, cold)]
    assert saving(lost, "learned", "semiclassical", "newton")[0] == pytest.approx(1 - 3 / 60)


def test_a_comparison_needs_both_guesses() -> None:
    with pytest.raises(ValueError, match="both from"):
        saving([TRIAL], "learned", "flat", TRIAL.scheme)


def test_a_certificate_that_solving_on_disproves_is_false(
    monkeypatch: pytest.MonkeyPatch, case: Case, solution: Solution
) -> None:
    reference = case.solved()
    answers = iter((reference.potential + 0.05, reference.potential))
    monkeypatch.setattr(benchmark, "solve", lambda *_, **__: replace(solution, potential=next(answers)))
    (run,) = judge("unseen_bias", case, {}, [("flat", "newton")], None, 1e-3)
    assert run.outcome == "false certificate"


def test_another_solution_is_no_false_certificate() -> None:
    """Solving on needs finer equations than the comparison's, whose basis ends at the comparison's tolerance."""
    wire = mlnegf.Device(
        gate_length=18.07,
        width=8.534,
        thickness=5.068,
        source_length=10.7,
        drain_length=6.599,
        oxide_thickness=0.7052,
        doping=5.138e19,
        cross_section=((False, True, False), (True, True, True), (False, True, False)),
        temperature=353.2,
        spacing=(0.35, 0.5, 0.5),
    )
    found = mlnegf.solve(wire, 0.7302, 0.5067, "semiclassical")
    assert found.converged
    assert any("well" in words for words in found.warnings)
    assert benchmark._outcome(found, 0.0617, 0.004, 1e-3) == "wrong branch"


@pytest.mark.parametrize("name", ["version", "weights", "devices"])
def test_runs_of_another_origin_are_refused(
    output: Path, splits: Splits, weights: Path, tmp_path: Path, name: str
) -> None:
    table = json.loads(output.read_text())
    other = tmp_path / "runs.json"
    table = {**table, name: "another"}
    del table["checksum"]
    other.write_text(json.dumps({**table, "checksum": checksum(table)}))
    with pytest.raises(ValueError, match=f"other {name}"):
        compare(splits, other, GUESSES, ["newton"], ["unseen_bias"], weights, progress=False)


def test_a_saving_ignores_other_schemes() -> None:
    other = [replace(run, scheme="gummel") for run in pair(0.1, 4, 4)]
    assert saving(pair(0.1, 2, 4) + other, "learned", "semiclassical", "newton")[0] == pytest.approx(0.5)


def test_a_seed_repeats_its_interval() -> None:
    runs = [run for gate in range(9) for run in pair(gate, 1 + gate % 5, 5)]
    assert saving(runs, "learned", "semiclassical", "newton") == saving(runs, "learned", "semiclassical", "newton")


def test_a_certified_run_is_as_good_as_it_says(output: Path, splits: Splits) -> None:
    for run in read(output):
        # The reference itself is right to 1e-5 V.
        assert run.true_error <= 1.05 * run.estimated_error + 1e-5


def test_a_run_is_what_the_solver_says(output: Path, case: Case) -> None:
    solution = solve(case.device, case.gate, case.drain, scheme="newton")
    (run,) = [
        run
        for run in read(output)
        if (run.device, run.gate, run.drain, run.guess) == (label(case), case.gate, case.drain, "semiclassical")
    ]
    assert run.charge_evaluations == solution.negf_solves
    assert run.estimated_error == pytest.approx(solution.error_estimate, rel=1e-3)
    assert run.true_error == pytest.approx(np.abs(solution.potential - case.solved().potential).max(), rel=1e-2)


def test_holes_come_from_nearer_to_equilibrium_too(
    solved: dict[tuple[float, float], Case], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The neighbours of a p-type bias are those of its mirror image."""
    holes = {
        (-gate, -drain): replace(case, device=replace(case.device, polarity="p"), gate=-gate, drain=-drain)
        for (gate, drain), case in solved.items()
    }
    monkeypatch.setattr(Case, "solved", lambda case: case)
    guess = named_guesses(None)["extrapolated"](holes[-0.5, -0.4], holes)
    assert isinstance(guess, ExtrapolatedBias)
    assert [(end.gate, end.drain) for end in (guess.first, guess.second)] == [(-0.1, -0.4), (-0.3, -0.4)]


def test_two_devices_of_one_label_are_not_mixed_up(
    splits: Splits, tmp_path: Path, submitted: list[tuple[Any, ...]]
) -> None:
    warm = [replace(case, device=case.device.at(350.0)) for case in splits.unseen_bias]
    both = replace(splits, unseen_bias=splits.unseen_bias + warm)
    with pytest.raises(ValueError, match=r"compare: splits = Device\(.*no second device like 3×3 nm"):
        compare(both, tmp_path / "runs.json", ["flat"], ["newton"], progress=False)
    assert submitted == []


def test_a_table_for_readers_holds_what_met_every_case() -> None:
    trials = [
        replace(TRIAL, gate=gate, guess=guess, charge_evaluations=solves, outcome=outcome)
        for guess, solves in (("learned", 2), ("flat", 9))
        for gate, outcome in ((0.1, "right"), (0.3, "right"), (0.5, "failed" if guess == "flat" else "right"))
    ]
    trials.append(replace(TRIAL, gate=0.1, guess="previous"))
    flat, learned = table(trials, ["flat", "learned", "previous"], ["newton", "gummel"])
    assert (flat["scheme"], flat["guess"], flat["right"], flat["failed"]) == ("newton", "flat", "2 of 3", 1)
    assert flat["NEGF solves"] == "9 (∞)"
    assert (learned["guess"], learned["right"], learned["NEGF solves"]) == ("learned", "3 of 3", "2 (2)")
    assert learned["seconds"] == "0.5 (0.5)"
