"""The command line does what the package does, and says what is wrong in one line."""

import json
import shlex
import shutil
import subprocess
import sys
from dataclasses import fields
from functools import partial
from pathlib import Path

import click
import pytest
import xarray
from click.testing import CliRunner, Result
from PIL import Image

import mlnegf
from mlnegf import Device, LearnedGuess, Region, _options
from mlnegf.__main__ import main
from mlnegf.nanosheet.device import PROFILES
from mlnegf.nanosheet.poisson import PoissonError
from mlnegf.warmstart import dataset
from mlnegf.warmstart.design import Design, shipped
from mlnegf.warmstart.slice_guess import SliceGuess
from mlnegf.warmstart.trials import read

TINY = shlex.split("--width 3 --thickness 3 --gate-length 6 --source-length 5 --drain-length 5 --spacing 0.5")
BIAS = shlex.split("--gate 0.3 --drain 0.1")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.mark.parametrize("command", [[], *([name] for name in sorted(main.commands))])
def test_every_command_explains_itself(command: list[str]) -> None:
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert "Usage: " in result.stdout


@pytest.mark.parametrize("name", sorted(main.commands))
def test_every_command_is_listed_with_what_it_does(name: str) -> None:
    command = main.commands[name]
    assert isinstance(command, click.Command)
    assert command.help
    assert name in run("--help").stdout


def test_the_version_is_that_of_the_package() -> None:
    assert mlnegf.__version__ in run("--version").stdout


def test_solve_prints_status_current_and_work() -> None:
    result = run("solve", *TINY, *BIAS)
    assert result.exit_code == 0
    assert result.stdout.startswith("converged: ")
    for words in ("current  ", "charge evaluations  ", "seconds  "):
        assert words in result.stdout


def test_solve_answers_in_json(device: Device) -> None:
    result = run("solve", *TINY, *BIAS, "--json")
    answer, solution = json.loads(result.stdout), mlnegf.solve(device, 0.3, 0.1)
    assert result.exit_code == 0
    assert answer["converged"] is True
    assert (answer["outcome"], answer["guess_used"]) == ("converged", True)
    assert answer["current"] == pytest.approx(solution.current, rel=1e-6)
    assert answer["work"]["charge_evaluations"] == solution.negf_solves
    assert Device.from_dict(answer["device"]) == device
    assert answer["grid"]["cells"] == list(device.grid.shape)
    assert (answer["grid"]["source_length"], answer["grid"]["gate_length"]) == (5.0, 6.0)


def test_a_gate_of_any_length_is_solved_and_its_grid_said() -> None:
    result = run("solve", *TINY, *BIAS, "--gate-length", 6.3)
    assert result.exit_code == 0
    dx = 6.3 / 13
    assert f"grid  33 × 10 × 10 cells of at most {dx:.4g} × 0.5 × 0.5 nm; " in result.stdout
    assert f"along x source {10 * dx:.4g}, gate 6.3, drain {10 * dx:.4g} nm" in result.stdout


TOML = """
gate_length = 6
width = 3.0
source_length = 5.0
drain_length = 5.0
cross_section = [[true, true, true, true], [false, true, true, false]]
orientation = [[1, 1, 0], [0, 0, 1]]
spacing = [0.5, 0.5, 0.5]
regions = [{ material = "hafnium dioxide", x = [5.0, 11.0] }]
"""


def test_a_device_is_read_from_a_file(tmp_path: Path) -> None:
    """TOML or JSON, masks, orientation and regions included; options given as well win."""
    toml, as_json = tmp_path / "device.toml", tmp_path / "device.json"
    toml.write_text(TOML)
    expected = Device(
        gate_length=6.0,
        width=3.0,
        source_length=5.0,
        drain_length=5.0,
        cross_section=((True,) * 4, (False, True, True, False)),
        orientation=((1, 1, 0), (0, 0, 1)),
        spacing=(0.5, 0.5, 0.5),
        regions=(Region("hafnium dioxide", x=(5.0, 11.0)),),
        doping=2e20,
    )
    as_json.write_text(json.dumps(expected.to_dict()))
    first = run("solve", "--device", toml, "--doping", 2e20, *BIAS, "--json")
    second = run("solve", "--device", as_json, *BIAS, "--json")
    answers = [json.loads(result.stdout) for result in (first, second)]
    assert [Device.from_dict(answer["device"]) for answer in answers] == [expected, expected]
    assert answers[0]["current"] == answers[1]["current"] == pytest.approx(mlnegf.solve(expected, 0.3, 0.1).current)


def test_an_option_can_be_the_default_and_still_win(tmp_path: Path) -> None:
    path = tmp_path / "device.json"
    path.write_text(json.dumps({"penetration": True, "polarity": "p", "width": 4.0}))
    parameters = {"file": str(path), "penetration": False, "polarity": "n", "width": 6.0, "spacing": None}
    assert _options.device(parameters) == Device()
    assert parameters == {}


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("d.toml", "gate_lenght = 9.0", "Device: gate_lenght = [9.0], expected only ['cross_section', "),
        ("d.toml", "gate_length = true", "gate_length = True, expected a positive"),
        ("d.toml", "regions = [{ x = [0, 1] }]", "regions = [{'x': [0, 1]}], expected a tuple"),
        ("d.toml", "width = ", "d.toml: not a whole TOML file"),
        ("d.json", "{", "d.json: not a whole JSON file"),
        ("d.json", "[1, 2]", "d.json: holds a list, expected parameters by name"),
        ("d.yaml", "width: 3", "the name ends in '.yaml', expected one of ['.json', '.toml']"),
    ],
)
@pytest.mark.parametrize("command", [["solve", *BIAS], ["sweep"]])
def test_a_bad_device_file_is_named(command: list[str], tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text)
    result = run(*command, "--device", tmp_path / name)
    assert result.exit_code == 2
    assert words in result.stderr.replace("\n", " ")
    assert result.stdout == ""


def test_every_parameter_of_one_value_has_an_option() -> None:
    command = main.commands["solve"]
    options = {parameter.name for parameter in command.params}
    assert {field.name for field in fields(Device)} - options == {"orientation", "regions", *PROFILES}


def test_solve_draws_a_figure(tmp_path: Path) -> None:
    result = run("solve", *TINY, *BIAS, "--figure", tmp_path / "solution.png")
    assert result.exit_code == 0
    with Image.open(tmp_path / "solution.png") as image:
        assert image.format == "PNG"


LOADED = "import sys; from mlnegf.__main__ import main; main({}, standalone_mode=False); print('|', *sys.modules)"


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import sys, mlnegf; print('|', *sys.modules)", {"torch", "scipy", "xarray", "matplotlib", "click"}),
        (LOADED.format(["--help"]), {"torch", "scipy", "xarray", "matplotlib", "mlnegf.nanosheet"}),
        (LOADED.format(["--version"]), {"torch", "scipy", "xarray", "matplotlib", "mlnegf.nanosheet"}),
        (LOADED.format(["solve", "--help"]), {"xarray", "matplotlib", "mlnegf.learning", "mlnegf.warmstart"}),
        (LOADED.format(["benchmark", "--help"]), {"torch", "scipy", "xarray", "matplotlib", "mlnegf.nanosheet"}),
    ],
)
def test_help_loads_only_what_it_lists(code: str, absent: set[str]) -> None:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(result.stdout.rpartition("|")[2].split())
    assert "mlnegf" in loaded
    assert loaded & absent == set()


@pytest.mark.parametrize("error", [PoissonError("no step"), ValueError("no\n step"), MemoryError("no step")])
def test_an_error_of_the_solver_is_one_line(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(mlnegf, "solve", fail)
    result = run("solve", *TINY, *BIAS)
    assert result.exit_code == 2
    assert "Error: no step\n" in result.stderr
    assert isinstance(result.exception, SystemExit)


def test_a_fault_of_the_program_is_not_blamed_on_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlnegf, "solve", lambda *_: {}["absent"])
    assert isinstance(run("solve", *TINY, *BIAS).exception, KeyError)


def test_json_knows_no_nan() -> None:
    text = _options.as_json({"a": [1.5, float("nan"), (float("inf"), "NaN")], "b": {"c": -float("inf")}, "d": None})
    assert json.loads(text, parse_constant=pytest.fail) == {
        "a": [1.5, None, [None, "NaN"]],
        "b": {"c": None},
        "d": None,
    }


def test_warnings_go_to_stderr() -> None:
    result = run("solve", *TINY, "--source-length", 1, "--drain-length", 1, "--gate", 0.1, "--drain", 0.6)
    assert "warning: the source is not flat" in result.stderr
    assert "warning" not in result.stdout


def test_an_unconverged_solve_ends_with_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlnegf, "solve", partial(mlnegf.solve, max_solves=1))
    result = run("solve", *TINY, *BIAS, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["converged"] is False


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["solve", *BIAS, "--gate-length", -1], "gate_length = -1.0, expected a positive"),
        (["solve", *BIAS, "--spacing", 5], "spacing = (5.0, 5.0, 5.0), expected"),
        (["solve", *BIAS, "--cross-section", "star"], "cross_section = 'star', expected one of"),
        (["solve", *TINY, *BIAS, "--guess", "nonsense"], "guess = 'nonsense', expected one of"),
        (["solve", *TINY, *BIAS, "--scheme", "nonsense"], "scheme = 'nonsense', expected one of"),
        (["solve", *TINY, *BIAS, "--tolerance", 0], "tolerance = 0.0, expected a positive"),
        (["solve", *TINY, "--gate", 30, "--drain", 0.1], "gate = 30.0, expected volts"),
        (["solve", *TINY, "--gate", "high", "--drain", 0.1], "'--gate': 'high' is not a valid float"),
        (["solve", *TINY, "--gate", 0.3], "Missing option '--drain'"),
        (["sweep", *TINY, "--gates", "1:2"], "--gates '1:2', expected first:last:count"),
        (["sweep", *TINY, "--drains", "0.1;0.2"], "--drains '0.1;0.2', expected first:last:count"),
        (["sweep", *TINY, "--gates", "0:1:0"], "--gates '0:1:0': a count of 0, expected 1 to 10000"),
        (["sweep", *TINY, "--gates", "0:1:-2"], "--gates '0:1:-2': a count of -2, expected 1 to 10000"),
        (["sweep", *TINY, "--gates", "0:1:2000000000"], "a count of 2000000000, expected 1 to 10000"),
        (["solve", *BIAS, "--gate-length", 1e9], "gate_length = 1000000000.0, expected nm, at most 10000"),
        (["solve", *BIAS, "--spacing", 1e-9], "spacing = (1e-09, 1e-09, 1e-09), expected larger cells"),
        (["solve", *BIAS, "--spacing", "0.5,0.5"], "spacing = (0.5, 0.5), expected three cell sizes"),
        (["solve", *BIAS, "--spacing", "fine"], "--spacing 'fine', expected one number or dx,dy,dz"),
        (["solve", *TINY, *BIAS, "--figure", "out.pdf"], "'--figure': 'out.pdf', expected a name that ends in .png"),
        (["solve", *TINY, *BIAS, "--device", "absent.toml"], "'--device': File 'absent.toml' does not exist"),
        (["sweep", *TINY, "--guess", "nonsense"], "guess = 'nonsense', expected one of"),
        (["generate", "--design", "huge", "--output", "nowhere"], "design = 'huge', expected a TOML file or one of"),
        (["generate", "--output", "nowhere", "--workers", 0], "'--workers': 0 is not in the range"),
        (["train", "--data", "absent", "--output", "nowhere"], "'--data': Directory 'absent' does not exist"),
        (["benchmark", "--data", "absent", "--output", "nowhere"], "'--data': Directory 'absent' does not exist"),
    ],
)
def test_bad_input_is_named_in_one_line(arguments: list[object], words: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert words in result.stderr.replace("\n", " ")
    assert "Traceback" not in result.output
    assert result.stdout == ""


def test_missing_weights_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(LearnedGuess, "default", lambda: LearnedGuess.load(tmp_path / "absent.safetensors"))
    result = run("solve", *TINY, *BIAS, "--guess", "learned")
    assert result.exit_code == 2
    assert "absent.safetensors" in result.stderr.replace("\n", "")


def test_the_learned_guess_has_a_name() -> None:
    result = run("solve", *TINY, *BIAS, "--guess", "learned", "--json")
    assert result.exit_code == 0
    said = json.loads(result.stdout)
    assert said["guess_used"]
    assert any("agree, but source_length = 5 is outside the trained" in words for words in said["warnings"])


def test_sweep_prints_a_table() -> None:
    result = run("sweep", *TINY, "--gates", "0.1:0.3:2", "--drains", "0.1,0.2")
    assert result.exit_code == 0
    header, *rows = result.stdout.splitlines()
    assert header.count("I(drain = ") == 2
    assert [float(row.split()[0]) for row in rows] == [0.1, 0.3]
    assert all(float(value) > 0 for row in rows for value in row.split()[1:])


def test_sweep_answers_in_json() -> None:
    result = run("sweep", *TINY, "--gates", "0.1,0.2", "--drains", "0.1", "--json")
    table = xarray.Dataset.from_dict(json.loads(result.stdout))
    assert table["converged"].all()
    assert table["current"].attrs["units"] == "A"


def test_sweep_writes_netcdf(tmp_path: Path) -> None:
    path = tmp_path / "sweep.nc"
    result = run("sweep", *TINY, "--gates", "0.1,0.2", "--drains", "0.1", "--output", path)
    assert result.exit_code == 0
    table = xarray.load_dataset(path, engine="h5netcdf")
    assert dict(table.sizes) == {"gate": 2, "drain": 1}
    assert table["current"].attrs["units"] == "A"
    assert table["gate"].attrs["units"] == "V"


def test_sweep_draws_a_figure(tmp_path: Path) -> None:
    result = run("sweep", *TINY, "--gates", "0.1,0.2", "--drains", "0.1", "--figure", tmp_path / "transfer.png")
    assert result.exit_code == 0
    with Image.open(tmp_path / "transfer.png") as image:
        assert image.format == "PNG"


def test_an_unconverged_sweep_ends_with_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlnegf, "sweep", partial(mlnegf.sweep, max_solves=1))
    result = run("sweep", *TINY, "--gates", "0.3", "--drains", "0.1", "--guess", "semiclassical")
    assert result.exit_code == 1


@pytest.fixture
def small(design: Design, tmp_path: Path) -> Path:
    """The file of a design: one device at three biases."""
    path = tmp_path / "small.toml"
    path.write_text(design.text.partition("[[group]]")[0] + "[[group]]\ndrains = [0.1]")
    return path


def test_generate_fills_a_folder(small: Path, tmp_path: Path, device: Device) -> None:
    result = run("generate", "--design", small, "--output", tmp_path / "data", "--workers", 1)
    assert result.exit_code == 0
    found = [(case.device, case.gate, case.drain) for case in dataset.cases(tmp_path / "data")]
    assert found == [(device, gate, 0.1) for gate in (0.1, 0.3, 0.5)]


def test_generate_solves_the_reduced_design_unless_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Design] = []
    monkeypatch.setattr("mlnegf.warmstart.generation.generate", lambda design, *_, **__: asked.append(design))
    assert run("generate", "--output", tmp_path).exit_code == 0
    assert asked == [Design.read("reduced")]


def test_generate_lists_the_designs_of_the_package() -> None:
    text = run("generate", "--help").stdout
    assert {"nanosheets", "reduced"} <= set(shipped())
    assert all(name in text for name in shipped())


def test_a_bad_design_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_text("[[group]]\ngate_lenght = 9.0\ngates = [0.1]\ndrains = [0.1]")
    result = run("generate", "--design", path, "--output", tmp_path / "data")
    assert result.exit_code == 2
    assert "bad.toml, group 1: Design: gate_lenght = [9.0], expected a parameter" in result.stderr.replace("\n", " ")
    assert not (tmp_path / "data").exists()


def test_damaged_data_are_named(data: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(data, tmp_path / "copy"))
    next(copy.rglob("*.nc")).write_bytes(b"torn")
    result = run("train", "--data", copy, "--output", tmp_path / "weights")
    assert result.exit_code == 2
    assert "do not match their checksum" in result.stderr.replace("\n", " ")


@pytest.mark.parametrize(
    ("network", "file", "kind"),
    [
        ("separable", "start.safetensors", LearnedGuess),
        ("slice_autoencoder", "slice_autoencoder.safetensors", SliceGuess),
    ],
)
def test_train_writes_a_usable_guess(
    data: Path, tmp_path: Path, device: Device, network: str, file: str, kind: type[LearnedGuess | SliceGuess]
) -> None:
    result = run("train", "--data", data, "--output", tmp_path / "weights", "--epochs", 1, "--network", network)
    assert result.exit_code == 0
    assert "validation, largest error" in result.stdout
    guess = kind.load(tmp_path / "weights" / file)
    assert mlnegf.solve(device, 0.3, 0.1, guess=guess).converged


def test_train_goes_on_from_its_checkpoint(data: Path, tmp_path: Path) -> None:
    command = ("train", "--data", data, "--output", tmp_path, "--epochs", 1, "--voters", 2)
    first = run(*command)
    checkpoint = (tmp_path / "checkpoint1.safetensors").read_bytes()
    assert run(*command).stdout == first.stdout
    assert (tmp_path / "checkpoint1.safetensors").read_bytes() == checkpoint


@pytest.mark.parametrize(("option", "value"), [("--loss", "nonsense"), ("--network", "nonsense"), ("--epochs", 0)])
def test_unusable_training_settings_are_named(data: Path, tmp_path: Path, option: str, value: object) -> None:
    given = [option, value] + (["--network", "slice_autoencoder"] if option == "--loss" else [])
    result = run("train", "--data", data, "--output", tmp_path, *given)
    assert result.exit_code == 2
    assert f"{option.removeprefix('--')} = {value!r}, expected" in result.stderr.replace("\n", " ")


@pytest.mark.parametrize("option", ["--guesses", "--schemes", "--parts"])
def test_unknown_names_of_a_benchmark_are_named(data: Path, tmp_path: Path, option: str) -> None:
    result = run("benchmark", "--data", data, "--output", tmp_path / "runs.json", option, "nonsense")
    assert result.exit_code == 2
    assert f"{option.removeprefix('--')} = 'nonsense', expected one of" in result.stderr.replace("\n", " ")


def test_benchmark_prints_a_row_for_each_guess(data: Path, weights: Path, tmp_path: Path) -> None:
    output, figure = tmp_path / "runs.json", tmp_path / "runs.png"
    options = [
        "--guesses",
        "semiclassical,learned",
        "--schemes",
        "newton",
        "--parts",
        "unseen_device,outside",
        "--workers",
        1,
    ]
    options += ["--parts", "unseen_device,outside", "--figure", figure, "--weights", weights]
    result = run("benchmark", "--data", data, "--output", output, *options)
    assert result.exit_code == 0
    assert [line.split()[2] for line in result.stdout.splitlines()] == ["semiclassical", "learned"]
    assert len(read(output)) == 12
    with Image.open(figure) as image:
        assert image.format == "PNG"
