"""The three lists of packages agree."""

import re
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
CONDA_NAMES = {"pytorch-cpu": "torch"}  # conda calls these differently
PINS = re.findall(
    r"^(\S+)==(\S+) (?:\\\n    --hash=sha256:[0-9a-f]{64} ?)+\n", (ROOT / "requirements.lock").read_text(), re.M
)
(TORCH,) = re.findall(r"^torch==(\S+)$", (ROOT / "requirements-torch.lock").read_text(), re.M)
LOCK = {canonicalize_name(name): version for name, version in PINS} | {"torch": TORCH}


def required():
    extras = PROJECT["optional-dependencies"]
    for text in PROJECT["dependencies"] + extras["book"] + extras["test"]:
        yield Requirement(text)


def test_lock_holds_pins_with_checksums_only():
    """What is not torch is compared with its checksum when it is installed."""
    text = (ROOT / "requirements.lock").read_text()
    rest = [line for line in text.splitlines() if not line.startswith("    --hash=sha256:")]
    assert len(rest) == len(PINS) > 150
    assert [line for line in rest if not re.fullmatch(r"[\w.-]+==[\w.]+ \\", line)] == []
    assert "torch" not in dict(PINS)
    assert LOCK["torch"] == "2.13.0"
    assert [name for name in LOCK if name.startswith(("nvidia", "cuda", "triton"))] == []


def test_lock_satisfies_the_project():
    unmet = [r for r in required() if LOCK.get(canonicalize_name(r.name), "") not in r.specifier]
    assert unmet == []


def test_conda_environment_equals_the_lock():
    conda = [d for d in CONDA if isinstance(d, str) and d not in ("python>=3.11", "pip")]
    (pip,) = (d["pip"] for d in CONDA if isinstance(d, dict))
    pins = dict(d.split("=") for d in conda)
    pins |= dict(d.split("==") for d in pip if not d.startswith("--"))
    pins = {canonicalize_name(CONDA_NAMES.get(name, name)): v for name, v in pins.items()}
    assert {name: LOCK.get(name) for name in pins} == pins
    assert {canonicalize_name(r.name) for r in required()} == set(pins)
    assert "python>=3.11" in CONDA
    assert PROJECT["requires-python"] == ">=3.11"
