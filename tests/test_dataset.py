"""Data say what they are, survive interruption, and are split without leaks."""

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray

import mlnegf
from mlnegf import Device, solve
from mlnegf.scf import sweep as continuation
from mlnegf.scf.guesses import Semiclassical
from mlnegf.scf.problem import Problem
from mlnegf.units import PER_CUBIC_CENTIMETRE
from mlnegf.warmstart import dataset
from mlnegf.warmstart.dataset import Profile, Splits, cases, split
from mlnegf.warmstart.generation import REFERENCE_TOLERANCE, generate
from mlnegf.warmstart.samples import FILLING, START, first_iteration
from mlnegf.warmstart.storage import Case

FIELDS = ("potential", "charge", "first_potential", "first_charge")


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def read(path: Path) -> xarray.Dataset:
    return xarray.load_dataset(path, engine="h5netcdf")


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
    """`solve`, counting its calls; it is interrupted after the last one allowed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, allowed: float = float("inf")) -> None:
        self.calls, self.allowed = 0, allowed
        monkeypatch.setattr(continuation, "solve", self)

    def __call__(self, *arguments: Any, **options: Any) -> mlnegf.Solution:
        if self.calls == self.allowed:
            raise KeyboardInterrupt
        self.calls += 1
        return solve(*arguments, **options)


def test_a_file_is_one_device_at_one_drain_voltage(data: Path, profile: Profile) -> None:
    assert len(files(data)) == len(profile.columns()) == 6


def test_every_bias_is_there_once(found: list[Case], profile: Profile) -> None:
    expected = [(device, gate, drain) for device, drain in profile.columns() for gate in profile.gates]
    assert Counter(names(found)) == Counter(expected)


def test_every_label_converged(found: list[Case]) -> None:
    assert all(case.converged for case in found)
    for path in {case.path for case in found}:
        assert read(path)["error_estimate"].max() <= REFERENCE_TOLERANCE


def test_a_file_says_where_it_comes_from(table: xarray.Dataset, device: Device) -> None:
    origin = table.attrs
    assert json.loads(origin["device"])["gate_length"] == device.gate_length
    assert origin["drain"] == 0.4
    assert origin["version"] == mlnegf.__version__
    assert origin["command"] == "the tests"
    assert origin["start"] == START
    assert origin["tolerance"] == REFERENCE_TOLERANCE


def test_every_field_has_its_unit(table: xarray.Dataset) -> None:
    units = {name: table[name].attrs["units"] for name in (*FIELDS, "current", "error_estimate")}
    assert units == {
        "potential": "V",
        "charge": "nm-3",
        "first_potential": "V",
        "first_charge": "nm-3",
        "current": "A",
        "error_estimate": "V",
    }


def test_coordinates_are_those_of_the_grid(table: xarray.Dataset, device: Device) -> None:
    grid = device.grid
    for name in ("x", "y", "z"):
        np.testing.assert_array_equal(table[name], getattr(grid, name))
    np.testing.assert_array_equal(table["silicon_y"], grid.y[grid.box[0]])
    np.testing.assert_array_equal(table["gate"], [0.1, 0.3, 0.5])


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


def test_a_label_is_the_solution(case: Case) -> None:
    """Solved alone and from another start, to 0.01 mV, a sample is found again."""
    solution = solve(case.device, case.gate, case.drain, tolerance=1e-5)
    sample, box = case.sample(), (slice(None), *case.device.grid.box)
    np.testing.assert_allclose(sample.potential, solution.potential[box], atol=1e-4)
    # A change of 0.1 mV is one of 0.4 % in Boltzmann's factor.
    np.testing.assert_allclose(sample.charge, solution.charge[box] * PER_CUBIC_CENTIMETRE, rtol=4e-3)
    assert case.solved().current == pytest.approx(solution.current, rel=1e-3)


def test_the_first_iteration_is_one_solve_of_the_start(case: Case) -> None:
    problem, sample, grid = Problem.of(case.device, case.gate, case.drain), case.sample(), case.device.grid
    point = problem.evaluate(Semiclassical()(problem).potential)
    box = (slice(None), *grid.box)
    # Stored in single precision.
    np.testing.assert_allclose(sample.first_potential, grid.unfold(point.potential)[box], atol=1e-6)
    np.testing.assert_allclose(sample.first_charge, grid.unfold(point.charge.density)[box], rtol=1e-6)


def test_a_stored_solution_is_a_start(case: Case) -> None:
    assert solve(case.device, case.gate, case.drain, guess=case.solved()).negf_solves == 1


def test_a_second_run_solves_nothing(copied: Path, profile: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path: path.read_bytes() for path in files(copied)}
    counted = Counted(monkeypatch)
    generate(profile, copied, "again", workers=1, progress=False)
    assert counted.calls == 0
    assert {path: path.read_bytes() for path in files(copied)} == before


def test_a_deleted_column_is_filled_again(
    copied: Path, data: Path, profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = files(copied)[3]
    gone.unlink()
    counted = Counted(monkeypatch)
    generate(profile, copied, "again", workers=1, progress=False)
    assert counted.calls == len(profile.gates)
    again, before = read(gone), read(data / gone.relative_to(copied))
    np.testing.assert_allclose(again["potential"], before["potential"], atol=1e-5)
    assert again.attrs["command"] == "again"


def test_an_interrupted_run_keeps_whole_columns(
    tmp_path: Path, profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = replace(profile, devices=profile.devices[:1], unseen=())
    Counted(monkeypatch, allowed=4)
    with pytest.raises(KeyboardInterrupt):
        generate(one, tmp_path, "interrupted", workers=1, progress=False)
    assert [path.name for path in files(tmp_path)] == ["drain_0.1000V.nc"]
    assert [(case.gate, case.drain) for case in cases(tmp_path)] == [(0.1, 0.1), (0.3, 0.1), (0.5, 0.1)]


def test_workers_change_nothing(data: Path, profile: Profile, tmp_path: Path) -> None:
    few = replace(profile, drains=profile.drains[:1], devices=profile.devices[:1])
    generate(few, tmp_path, "the tests", workers=2, progress=False)
    assert len(files(tmp_path)) == 2
    for path in files(tmp_path):
        xarray.testing.assert_identical(
            read(path).drop_vars("seconds"), read(data / path.relative_to(tmp_path)).drop_vars("seconds")
        )


def test_a_truncated_file_is_named_with_what_to_do(copied: Path) -> None:
    path = files(copied)[2]
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ValueError, match=rf"{path}: not a whole data file .*delete the file"):
        cases(copied)


def test_nothing_is_generated_beside_a_truncated_file(
    copied: Path, profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files(copied)
    before[2].write_bytes(b"torn")
    before[0].unlink()
    counted = Counted(monkeypatch)
    with pytest.raises(ValueError, match=rf"{before[2]}: not a whole data file"):
        generate(profile, copied, "again", workers=1, progress=False)
    assert counted.calls == 0
    assert files(copied) == before[1:]


@pytest.mark.parametrize(
    "name",
    ["mlnegf.warmstart.storage.__version__", "mlnegf.warmstart.storage.START", "mlnegf.warmstart.storage.FORMAT"],
)
def test_data_of_another_version_are_refused(data: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(name, "another")
    with pytest.raises(ValueError, match=r"drain_0.1000V.nc: made as .*expected .*'another'.*delete the file"):
        cases(data)


def test_other_gate_voltages_are_refused(copied: Path, profile: Profile) -> None:
    before = {path: path.read_bytes() for path in sorted(copied.rglob("*.nc"))}
    other = replace(profile, gates=(*profile.gates, 0.77))
    with pytest.raises(ValueError, match=r"holds gate voltages.*0\.77"):
        generate(other, copied, "test", workers=1, progress=False)
    assert {path: path.read_bytes() for path in sorted(copied.rglob("*.nc"))} == before


def test_an_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"{tmp_path}: no data files, .*mlnegf generate"):
        cases(tmp_path)


def test_cases_come_in_a_fixed_order(data: Path) -> None:
    assert names(cases(data)) == names(cases(data))


def test_a_split_is_complete_and_disjoint(found: list[Case], splits: Splits) -> None:
    together = [case for part in vars(splits).values() for case in part]
    assert Counter(names(together)) == Counter(names(found))


def test_unseen_devices_are_kept_whole(splits: Splits, profile: Profile) -> None:
    assert {case.device for case in splits.unseen_device} == set(profile.unseen)
    assert len(splits.unseen_device) == 6


@pytest.mark.parametrize("part", ["training", "validation", "unseen_bias"])
def test_every_known_device_is_in_every_other_part(splits: Splits, profile: Profile, part: str) -> None:
    assert {case.device for case in getattr(splits, part)} == set(profile.devices)


def test_a_seed_repeats_its_split(found: list[Case]) -> None:
    assert split(found, seed=3) == split(found, seed=3)


def test_another_seed_is_another_split(found: list[Case]) -> None:
    assert len({tuple(names(split(found, seed=seed).validation)) for seed in range(5)}) > 1


def test_what_did_not_converge_is_only_tested_on(found: list[Case]) -> None:
    failed = split([replace(case, converged=False) for case in found], 0.2, 0.2)
    assert failed.training == failed.validation == []
    assert len(failed.unseen_bias) == 2
    assert len(failed.unseen_device) == 6


@pytest.mark.parametrize("name", sorted(dataset.PROFILES))
def test_unseen_devices_of_a_profile_are_trained_on_nowhere(name: str) -> None:
    unseen = set(dataset.PROFILES[name].unseen)
    assert unseen
    assert not any(unseen & set(profile.devices) for profile in dataset.PROFILES.values())


@pytest.mark.parametrize("name", sorted(dataset.PROFILES))
def test_unseen_devices_lie_within_the_known_ones(name: str) -> None:
    profile = dataset.PROFILES[name]
    for condition in ("width", "thickness", "gate_length", "source_length"):
        known = [getattr(device, condition) for device in profile.devices]
        assert all(min(known) <= getattr(device, condition) <= max(known) for device in profile.unseen)


def test_the_files_say_what_is_kept_for_testing(data: Path, profile: Profile) -> None:
    parts = {case.device: read(case.path).attrs["part"] for case in cases(data)}
    assert parts == {
        **dict.fromkeys(profile.devices, "known"),
        **dict.fromkeys(profile.unseen, "unseen"),
    }


def test_a_device_that_any_file_keeps_for_testing_is_never_trained_on(found: list[Case], device: Device) -> None:
    one, *others = (case for case in found if case.device == device)
    parts = split([replace(one, unseen=True), *others])
    assert parts.training == parts.validation == parts.unseen_bias == []
    assert len(parts.unseen_device) == 6


def test_a_file_of_an_unknown_part_is_refused(copied: Path) -> None:
    path = files(copied)[0]
    table = read(path)
    table.attrs["part"] = "spare"
    table.to_netcdf(path, engine="h5netcdf")
    with pytest.raises(ValueError, match=r"its device is 'spare', expected one of \('known', 'unseen'\)"):
        cases(copied)


def test_a_device_known_before_is_not_declared_unseen(copied: Path, profile: Profile) -> None:
    other = replace(profile, devices=profile.devices[:1], unseen=profile.devices[1:])
    with pytest.raises(ValueError, match=r"holds a device as 'known', expected the profile's 'unseen'"):
        generate(other, copied, "test", workers=1, progress=False)


def test_a_profile_names_a_device_once(profile: Profile) -> None:
    with pytest.raises(ValueError, match=r"Profile: devices and unseen = .*expected each device in one of them"):
        replace(profile, unseen=profile.devices[:1])


@pytest.fixture(scope="module")
def holes(device: Device, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """The highest bias of a p-type profile."""
    folder = tmp_path_factory.mktemp("holes")
    profile = Profile((replace(device, polarity="p"),), gates=(-0.3, -0.6), drains=(-0.3,), unseen=())
    generate(profile, folder, "the tests", workers=1, progress=False)
    return cases(folder)[-1]


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
