"""The wheel holds all of the package: every room and the weights. An editable install would hide what is missing."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def pip(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "pip", "--quiet", *map(str, arguments)], check=True)


def can_build() -> bool:
    """Whether setuptools of this environment can build the package, so that nothing need be fetched."""
    try:
        return int(version("setuptools").split(".")[0]) >= 77
    except PackageNotFoundError:
        return False


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel, built from a copy: what an earlier build left in the tree is not in it."""
    source, output = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT / "mlnegf", source / "mlnegf", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip("wheel", "--no-deps", *(["--no-build-isolation"] if can_build() else []), "--wheel-dir", output, source)
    (built,) = output.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def target(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the wheel, installed, and nothing else."""
    folder = tmp_path_factory.mktemp("target")
    pip("install", "--no-deps", "--no-index", "--target", folder, wheel)
    return folder


def python(target: Path, elsewhere: Path, *arguments: str) -> str:
    """Run Python on the installed package, from a folder that is not the project's."""
    environment = os.environ | {"PYTHONPATH": str(target)}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=elsewhere, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.slow
def test_every_file_of_the_package_is_in_the_wheel(wheel: Path) -> None:
    here = {str(path.relative_to(ROOT)) for path in (ROOT / "mlnegf").rglob("*.py")}
    for folder in ("warmstart/weights", "warmstart/designs", "crystal/reference"):
        here |= {str(path.relative_to(ROOT)) for path in (ROOT / "mlnegf" / folder).iterdir()}
    assert {"mlnegf/warmstart/weights/start.safetensors", "mlnegf/warmstart/designs/reduced.toml"} <= here
    with zipfile.ZipFile(wheel) as archive:
        assert {name for name in archive.namelist() if name.startswith("mlnegf/")} == here


@pytest.mark.slow
def test_the_installed_package_solves_from_the_learned_guess(target: Path, tmp_path: Path) -> None:
    where = python(target, tmp_path, "-c", "import mlnegf; print(mlnegf.__file__)")
    assert Path(where.strip()).is_relative_to(target)
    device = ["--width", "3", "--thickness", "3", "--spacing", "0.25,0.5,0.5"]
    command = ["solve", *device, "--gate", "0.4", "--drain", "0.4", "--guess", "learned", "--json"]
    answer = json.loads(python(target, tmp_path, "-m", "mlnegf", *command))
    assert answer["converged"] is True
    assert not any("not used" in warning for warning in answer["warnings"]), answer["warnings"]
