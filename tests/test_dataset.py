"""Data say what they are, survive interruption, and are split without leaks."""

import hashlib
import json
import os
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
from made_up import design_of_holes, sign

import mlnegf
from mlnegf import Device, Solution, solve
from mlnegf.runs.folder import LOG, MANIFEST, QUARANTINE, entries_of
from mlnegf.runs.journal import Journal
from mlnegf.runs.lock import held
from mlnegf.scf.equations import Equations
from mlnegf.scf.guesses import Semiclassical
from mlnegf.scf.loop import Outcome
from mlnegf.scf.problem import Problem
from mlnegf.units import PER_CUBIC_CENTIMETRE
from mlnegf.warmstart import generation
from mlnegf.warmstart.dataset import Splits, cases, split
from mlnegf.warmstart.design import Bias, Design
from mlnegf.warmstart.generation import DESIGN, TOLERANCES, generate
from mlnegf.warmstart.samples import FILLING, START, first_iteration
from mlnegf.warmstart.storage import Case, read_potentials

FIELDS = ("potential", "charge", "first_potential", "first_charge")


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.nc"))


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def read(path: Path) -> xarray.Dataset:
    return xarray.load_dataset(path, engine="h5netcdf")


def devices(design: Design, part: str) -> set[Device]:
    return {plan.device for plan in design.plans if plan.part == part}


def made_up(folder: str = "data", **counts: int) -> list[Case]:
    """So many devices of each part, at three biases each."""
    parts = [part for part, count in counts.items() for _ in range(count)]
    biases: list[Bias] = [(0.1, 0.1), (0.3, 0.1), (0.5, 0.4)]
    return [
        Case(Path(folder, f"{number:03d}.nc"), Device(width=3.0 + number / 100), *bias, part, True, index)
        for number, part in enumerate(parts)
        for index, bias in enumerate(biases)
    ]


def names(found: Sequence[Case]) -> list[tuple[Device, float, float]]:
    return [(case.device, case.gate, case.drain) for case in found]


@pytest.fixture
def copied(data: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(data, tmp_path / "copy"))


@pytest.fixture(scope="module")
def case(found: list[Case], device: Device) -> Case:
    """The highest bias of the first device."""
    return next(case for case in found if names([case]) == [(device, 0.5, 0.4)])


@pytest.fixture(scope="module")
def table(case: Case) -> xarray.Dataset:
    return read(case.path)


class Counted:
    """`answer`, counting its calls; it is interrupted after the last one allowed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, allowed: float = float("inf")) -> None:
        self.calls, self.allowed, self.answer = 0, allowed, generation.answer
        monkeypatch.setattr(generation, "answer", self)

    def __call__(self, *arguments: Any, **options: Any) -> Solution:
        if self.calls == self.allowed:
            raise KeyboardInterrupt
        self.calls += 1
        return self.answer(*arguments, **options)


def test_a_file_is_one_device_at_all_its_biases(data: Path, design: Design) -> None:
    assert [path.name for path in files(data)] == sorted(f"{plan.name}.nc" for plan in design.plans)
    for plan in design.plans:
        table = read(data / f"{plan.name}.nc")
        assert tuple(zip(table["gate"].values, table["drain"].values, strict=True)) == plan.biases


def test_the_design_lies_beside_its_files(data: Path, design: Design) -> None:
    assert Design.read(data / DESIGN).plans == design.plans


def test_every_bias_is_there_once(found: list[Case], design: Design) -> None:
    expected = [(plan.device, *bias) for plan in design.plans for bias in plan.biases]
    assert Counter(names(found)) == Counter(expected)


def test_every_label_converged(found: list[Case]) -> None:
    assert all(case.converged for case in found)
    for path, part in {(case.path, case.part) for case in found}:
        assert read(path)["error_estimate"].max() <= TOLERANCES[part]


def test_a_file_says_where_it_comes_from(table: xarray.Dataset, device: Device) -> None:
    origin = table.attrs
    assert json.loads(origin["device"])["gate_length"] == device.gate_length
    assert origin["version"] == mlnegf.__version__
    assert origin["start"] == START
    assert origin["part"] == "known"
    assert origin["tolerance"] == TOLERANCES["known"]


def test_the_manifest_says_what_made_a_file(data: Path, design: Design) -> None:
    entries = entries_of(data)
    assert sorted(entries) == [path.name for path in files(data)]
    for plan in design.plans:
        entry = entries[f"{plan.name}.nc"]
        content = (data / entry["file"]).read_bytes()
        assert (entry["bytes"], entry["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
        assert (entry["version"], entry["command"]) == (mlnegf.__version__, "the tests")
        assert Device.from_dict(entry["device"]) == plan.device
        assert [tuple(bias) for bias in entry["biases"]] == list(plan.biases)


def test_how_long_a_device_took_is_in_the_log_and_nowhere_else(data: Path, table: xarray.Dataset) -> None:
    rows, harmed = Journal(data / LOG).read()
    assert [row["file"] for row in rows] == [row["file"] for row in Journal(data / MANIFEST).read()[0]]
    assert all(row["seconds"] > 0 and row["host"] and row["finished"] for row in rows)
    assert harmed == 0
    assert "seconds" not in table


def test_every_field_has_its_unit(table: xarray.Dataset) -> None:
    units = {name: table[name].attrs["units"] for name in (*FIELDS, "current", "error_estimate", "gate", "drain")}
    assert units == {
        "potential": "V",
        "charge": "nm-3",
        "first_potential": "V",
        "first_charge": "nm-3",
        "current": "A",
        "error_estimate": "V",
        "gate": "V",
        "drain": "V",
    }


def test_coordinates_are_those_of_the_grid(table: xarray.Dataset, device: Device) -> None:
    grid = device.grid
    for name in ("x", "y", "z"):
        np.testing.assert_array_equal(table[name], getattr(grid, name))
    np.testing.assert_array_equal(table["silicon_y"], grid.y[grid.box[0]])


def test_the_device_comes_back_from_its_file(case: Case, device: Device) -> None:
    assert case.device == device


def test_a_sample_lies_on_the_silicon_of_the_grid(case: Case) -> None:
    grid, sample = case.device.grid, case.sample()
    np.testing.assert_array_equal(sample.x, grid.x)
    assert sample.mask.shape == (6, 6)
    assert sample.mask.sum() == grid.semiconductor.sum()
    for name in FIELDS:
        assert getattr(sample, name).shape == (*sample.x.shape, *sample.mask.shape)
        assert getattr(sample, name).dtype == np.float64


def test_the_source_of_a_label_is_neutral(case: Case) -> None:
    # The source is short, and the last slice is not quite its bulk.
    assert case.sample().charge[0].mean() == pytest.approx(case.device.donors, rel=0.02)


@pytest.mark.parametrize("part", ["known", "unseen"])
def test_a_label_is_the_solution(found: list[Case], part: str) -> None:
    """Solved alone and to 0.01 mV, a sample is found again."""
    case = next(case for case in found if (case.part, case.gate, case.drain) == (part, 0.5, 0.4))
    solution = solve(case.device, case.gate, case.drain, tolerance=1e-5)
    sample, box, most = case.sample(), (slice(None), *case.device.grid.box), TOLERANCES[part] + 1e-4
    np.testing.assert_allclose(sample.potential, solution.potential[box], atol=most)
    # Boltzmann's factor.
    charge = solution.charge[box] * PER_CUBIC_CENTIMETRE
    np.testing.assert_allclose(sample.charge, charge, rtol=most / case.device.thermal_energy)
    assert case.solved().current == pytest.approx(solution.current, rel=1e-2)


def test_the_first_iteration_is_one_solve_of_the_start(case: Case) -> None:
    problem, sample, grid = Problem.of(case.device, case.gate, case.drain), case.sample(), case.device.grid
    point = problem.evaluate(Semiclassical()(problem).potential)
    box = (slice(None), *grid.box)
    # Stored in single precision.
    np.testing.assert_allclose(sample.first_potential, grid.unfold(point.potential)[box], atol=1e-6)
    np.testing.assert_allclose(sample.first_charge, grid.unfold(point.charge.density)[box], rtol=1e-6)


def test_the_potentials_of_a_case_fill_the_grid(case: Case) -> None:
    first, last = (field[case.index] for field in read_potentials(case))
    sample, box = case.sample(), (slice(None), *case.device.grid.box)
    assert first.shape == last.shape == case.device.grid.shape
    np.testing.assert_array_equal(first[box], sample.first_potential)
    np.testing.assert_array_equal(last[box], sample.potential)


def test_a_stored_solution_is_a_start(case: Case) -> None:
    assert solve(case.device, case.gate, case.drain, guess=case.solved()).negf_solves == 1


def test_a_second_run_solves_nothing(copied: Path, design: Design, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(copied)
    counted = Counted(monkeypatch)
    generate(design, copied, "again", workers=1, progress=False)
    assert counted.calls == 0
    assert contents(copied) == before


def test_a_deleted_device_is_filled_in_again(
    copied: Path, data: Path, design: Design, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = files(copied)[1]
    gone.unlink()
    counted = Counted(monkeypatch)
    generate(design, copied, "again", workers=1, progress=False)
    assert counted.calls == 6
    assert gone.read_bytes() == (data / gone.name).read_bytes()
    assert entries_of(copied)[gone.name]["command"] == "again"


def test_an_interrupted_run_loses_the_device_in_flight(
    tmp_path: Path, design: Design, monkeypatch: pytest.MonkeyPatch
) -> None:
    Counted(monkeypatch, allowed=10)
    with pytest.raises(KeyboardInterrupt):
        generate(design, tmp_path, "interrupted", workers=1, progress=False)
    first = min(design.plans, key=lambda plan: plan.digest)
    assert {path.name for path in tmp_path.iterdir()} == {DESIGN, MANIFEST, LOG, f"{first.name}.nc"}
    assert tuple((case.gate, case.drain) for case in cases(tmp_path)) == first.biases


@pytest.mark.slow
def test_workers_change_nothing(data: Path, design: Design, tmp_path: Path) -> None:
    generate(design, tmp_path, "the tests", workers=2, progress=False)
    assert [path.name for path in files(tmp_path)] == [path.name for path in files(data)]
    for path in files(tmp_path):
        assert path.read_bytes() == (data / path.name).read_bytes()


@pytest.mark.parametrize(
    ("change", "slowly", "ways"),
    [
        ({}, False, ["cold"]),
        ({"marked": True}, False, ["cold", "slow"]),
        ({"outcome": Outcome.stalled}, False, ["cold", "slow"]),
        ({}, True, ["slow"]),
    ],
)
def test_a_doubtful_answer_is_found_the_slow_way(
    solution: Solution, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], slowly: bool, ways: list[str]
) -> None:
    """What networks are judged on always is; what they learn from, where the cold answer is marked or none."""
    taken: list[str] = []

    def solver(way: str, found: Solution) -> Callable[..., Solution]:
        return lambda *_, **__: (taken.append(way), found)[1]

    monkeypatch.setattr("mlnegf.scf.biases.solve", solver("cold", replace(solution, **change)))
    monkeypatch.setattr(generation, "solve_from_off_state", solver("slow", solution))
    answer = generation.answer(Equations.of(solution.device), 0.4, 0.3, 1e-4, slowly)
    assert taken == ways
    assert answer.converged
    assert not answer.marked


def test_a_bias_without_an_answer_costs_no_other(
    tmp_path: Path, design: Design, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fussy(equations: Equations, gate: float, *rest: Any, **options: Any) -> Solution:
        if gate == 0.3:
            raise RuntimeError("not at 0.3 V")
        return solve(equations, gate, *rest, **options)

    monkeypatch.setattr("mlnegf.scf.biases.solve", fussy)
    monkeypatch.setattr(generation, "solve_from_off_state", fussy)
    one = Design(design.text.partition("[[group]]")[0] + "[[group]]")
    generate(one, tmp_path, "the tests", workers=1, progress=False)
    found = cases(tmp_path)
    assert [case.gate for case in found if not case.converged] == [0.3, 0.3]
    assert len(found) == 6
    assert "RuntimeError: not at 0.3 V" in read(found[1].path)["warnings"].values[1]


def test_a_truncated_file_is_named_with_what_to_do(copied: Path) -> None:
    path = files(copied)[1]
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ValueError, match=rf"{path}: \d+ bytes that do not match their checksum .*run again what made"):
        cases(copied)


@pytest.mark.parametrize("how", ["damaged", "unknown", "linked"])
def test_what_is_damaged_is_set_aside_and_made_anew(
    copied: Path, data: Path, design: Design, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    path = files(copied)[2]
    if how == "damaged":
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif how == "unknown":
        lines = (copied / MANIFEST).read_text().splitlines(keepends=True)
        (copied / MANIFEST).write_text("".join(line for line in lines if path.name not in line))
    else:
        path.unlink()
        path.symlink_to(data / path.name)
    harmed = path.read_bytes()
    generate(design, copied, "again", workers=1)
    assert f"set aside as damaged, to be made anew: {path.name}" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in files(copied)} == {p.name: p.read_bytes() for p in files(data)}
    (aside,) = (copied / QUARANTINE).iterdir()
    assert aside.name.startswith(path.name)
    assert aside.read_bytes() == harmed


@pytest.mark.parametrize("name", ["START", "FORMAT"])
def test_data_of_another_kind_are_refused(data: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(f"mlnegf.warmstart.storage.{name}", "another")
    with pytest.raises(ValueError, match=rf"{files(data)[0]}: made as .*expected .*'another'.*generate it again"):
        cases(data)


def test_versions_are_mixed_only_by_those_who_say_so(
    copied: Path, design: Design, monkeypatch: pytest.MonkeyPatch
) -> None:
    files(copied)[0].unlink()
    monkeypatch.setattr("mlnegf.runs.folder.__version__", "9.9")
    words = rf"{copied}: holds files of version {mlnegf.__version__} of mlnegf, this is 9.9; .*mix_versions"
    with pytest.raises(ValueError, match=words):
        cases(copied)
    with pytest.raises(ValueError, match=words):
        generate(design, copied, "newer", workers=1, progress=False)
    assert len(files(copied)) == 2
    generate(design, copied, "newer", workers=1, progress=False, mix_versions=True)
    assert {entry["version"] for entry in entries_of(copied).values()} == {mlnegf.__version__, "9.9"}
    assert len(cases(copied, mix_versions=True)) == 18


def test_a_second_run_in_one_folder_waits_for_the_first(
    copied: Path, design: Design, capsys: pytest.CaptureFixture[str]
) -> None:
    second = threading.Thread(target=generate, args=(design, copied, "second", 1, False))
    with held(copied):
        second.start()
        second.join(1.0)
        assert second.is_alive()
    second.join(60)
    assert not second.is_alive()
    words = f"output = {str(copied)!r} is in use by process {os.getpid()} on"
    assert words in capsys.readouterr().err
    assert not (copied / ".lock").exists()


@pytest.mark.parametrize(
    ("word", "other", "words"),
    [
        ("gates = [0.1, 0.3, 0.5]", "gates = [0.1, 0.3, 0.77]", r"biases = .*0\.5.*those of the design, .*0\.77"),
        ("drains = [0.1, 0.4]", "drains = [0.4, 0.1]", r"biases = .*those of the design"),
        ('part = "unseen"', 'part = "outside"', r"part = 'unseen', expected those of the design, 'outside'"),
        ('part = "unseen"', "", r"part = 'unseen', expected those of the design, 'known'"),
        ("gate_length = 7.0", 'gate_length = 7.0\npart = "unseen"', r"part = 'known', .*'unseen'; choose another"),
    ],
)
def test_files_of_another_design_are_refused_by_name(
    copied: Path, design: Design, word: str, other: str, words: str
) -> None:
    before = contents(copied)
    assert word in design.text
    with pytest.raises(ValueError, match=rf"{copied}/.*\.nc: {words}"):
        generate(Design(design.text.replace(word, other)), copied, "test", workers=1, progress=False)
    assert contents(copied) == before


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"{tmp_path}: no data files, .*mlnegf generate"):
        cases(tmp_path)


def test_cases_come_in_a_fixed_order(data: Path) -> None:
    assert names(cases(data)) == names(cases(data))


def test_a_split_is_complete_and_disjoint(found: list[Case], splits: Splits) -> None:
    together = [case for part in vars(splits).values() for case in part]
    assert Counter(names(together)) == Counter(names(found))


def test_unseen_devices_are_kept_whole(splits: Splits, design: Design) -> None:
    assert {case.device for case in splits.unseen_device} == devices(design, "unseen")
    assert len(splits.unseen_device) == 6
    assert splits.outside == []


@pytest.mark.parametrize("part", ["training", "validation", "unseen_bias"])
def test_every_one_of_few_devices_is_in_every_other_part(splits: Splits, design: Design, part: str) -> None:
    assert {case.device for case in getattr(splits, part)} == devices(design, "known")


def test_few_devices_give_the_shares_asked_for(splits: Splits) -> None:
    assert [len(part) for part in vars(splits).values()] == [8, 2, 2, 6, 0]


def test_many_devices_are_validated_on_whole() -> None:
    parts = split(made_up(known=25), validation=0.12, test=0.5)
    validated = {case.device for case in parts.validation}
    assert len(validated) == 3
    assert len(parts.validation) == 9
    assert not validated & {case.device for case in (*parts.training, *parts.unseen_bias)}


def test_devices_outside_are_kept_whole_and_apart() -> None:
    parts = split(made_up(known=10, unseen=2, outside=3))
    assert (len(parts.unseen_device), len(parts.outside)) == (6, 9)
    assert {case.part for case in parts.unseen_device} == {"unseen"}
    assert {case.part for case in parts.outside} == {"outside"}
    assert {case.part for case in (*parts.training, *parts.validation, *parts.unseen_bias)} == {"known"}


def test_a_share_is_right_on_average() -> None:
    """Of 300 devices with 3 biases each 0.12 · 900 are drawn, give or take three standard deviations of 8.3."""
    assert len(split(made_up(known=300), validation=0.0, test=0.12).unseen_bias) == pytest.approx(108, abs=25)


def test_a_device_keeps_a_bias_to_learn_from() -> None:
    few, many = made_up(known=3), made_up(known=30)
    for found, validated in ((few, 0.9), (many, 0.0)):
        parts = split(found, validation=validated, test=0.9)
        assert {case.device for case in parts.training} == {case.device for case in found}


def test_a_seed_repeats_its_split(found: list[Case]) -> None:
    assert split(found, seed=3) == split(found, seed=3)


def test_another_seed_is_another_split(found: list[Case]) -> None:
    assert len({tuple(names(split(found, seed=seed).validation)) for seed in range(5)}) > 1
    assert len({tuple(names(split(made_up(known=20), seed=seed).validation)) for seed in range(5)}) > 1


def test_a_split_does_not_depend_on_the_order_of_the_cases() -> None:
    found = made_up(known=12, unseen=2, outside=2)
    shuffled = [found[index] for index in np.random.default_rng(0).permutation(len(found))]
    assert split(shuffled) == split(found)


def test_a_split_does_not_depend_on_where_the_data_lie() -> None:
    here, there = made_up(known=12), made_up(known=12, folder="zz/elsewhere")
    assert names(split(here).training) == names(split(there).training)


def test_what_did_not_converge_is_only_tested_on(found: list[Case]) -> None:
    failed = split([replace(case, converged=False) for case in found], 1 / 6, 1 / 6)
    assert failed.training == failed.validation == []
    assert len(failed.unseen_bias) == 2
    assert len(failed.unseen_device) == 6


def test_the_files_say_what_is_kept_for_testing(data: Path, design: Design) -> None:
    origins = [read(path).attrs for path in files(data)]
    parts = {Device.from_dict(json.loads(origin["device"])): origin["part"] for origin in origins}
    assert parts == {plan.device: plan.part for plan in design.plans}


@pytest.mark.parametrize(("part", "place"), [("unseen", "unseen_device"), ("outside", "outside")])
def test_a_device_that_any_file_keeps_for_testing_is_never_trained_on(
    found: list[Case], device: Device, part: str, place: str
) -> None:
    one, *others = (case for case in found if case.device == device)
    parts = split([replace(one, part=part), *others])
    assert parts.training == parts.validation == parts.unseen_bias == []
    assert len(getattr(parts, place)) == 6


def test_a_file_of_an_unknown_part_is_refused(copied: Path) -> None:
    path = files(copied)[0]
    table = read(path)
    table.attrs["part"] = "spare"
    table.to_netcdf(path, engine="h5netcdf")
    sign(path)
    with pytest.raises(ValueError, match=r"its device is 'spare', expected one of \('known', 'unseen', 'outside'\)"):
        cases(copied)


@pytest.fixture(scope="module")
def holes(device: Device, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """The highest bias of a p-type device."""
    folder = tmp_path_factory.mktemp("holes")
    generate(design_of_holes([-0.3, -0.6], [-0.3]), folder, "the tests", workers=1, progress=False)
    case = cases(folder)[-1]
    assert case.device == replace(device, polarity="p")
    return case


def test_a_p_type_first_iteration_is_one_solve_of_its_own_start(holes: Case) -> None:
    """In the n-type picture gate and drain are at +0.6 and +0.3 V, and potentials change their sign."""
    assert (holes.gate, holes.drain) == (-0.6, -0.3)
    problem, sample, grid = Problem.of(holes.device, -0.6, -0.3, FILLING), holes.sample(), holes.device.grid
    point = problem.evaluate(problem.semiclassical())
    box = (slice(None), *grid.box)
    np.testing.assert_allclose(sample.first_potential, -grid.unfold(point.potential)[box], atol=1e-6)
    np.testing.assert_allclose(sample.first_charge, grid.unfold(point.charge.density)[box], rtol=1e-6)


def test_a_p_type_first_iteration_is_near_its_answer(holes: Case) -> None:
    sample = holes.sample()
    assert holes.converged
    assert abs(sample.first_potential - sample.potential).max() < 0.15
    # Under the gate the channel is open in both; at the wrong bias it would hold a few thousandths.
    gated = holes.device.grid.gated
    assert sample.first_charge[gated].sum() == pytest.approx(sample.charge[gated].sum(), rel=0.4)
    # Source and drain are doped alike: between them lies the drain voltage.
    fall = (sample.first_potential[-1] - sample.first_potential[0]).mean()
    assert fall == pytest.approx(-0.3, abs=0.02)


def test_a_first_iteration_knows_its_own_bias(holes: Case) -> None:
    first = first_iteration(holes.device, holes.gate, holes.drain)
    assert (first.gate, first.drain) == (-0.6, -0.3)
