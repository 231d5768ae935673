"""What is installed: the operator's wheel and the lab's, each built from this checkout and neither with the other's."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

from pluginrelease import shipped

CHECKOUT = Path(__file__).resolve().parents[2]


def built(project: Path, folder: Path) -> zipfile.ZipFile:
    """The wheel of the project in this folder of the checkout."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=project, check=True, timeout=120)
    [wheel] = folder.glob("*.whl")
    return zipfile.ZipFile(wheel)


@pytest.fixture(scope="module")
def operator_wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    return built(CHECKOUT, tmp_path_factory.mktemp("operator"))


@pytest.fixture(scope="module")
def lab_wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    return built(CHECKOUT / "lab", tmp_path_factory.mktemp("lab"))


def packages(wheel: zipfile.ZipFile) -> set[str]:
    """What can be imported of it."""
    return {name.partition("/")[0] for name in wheel.namelist() if ".dist-info/" not in name}


def metadata(wheel: zipfile.ZipFile) -> Message:
    """What it says of itself."""
    [name] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    return Parser().parsestr(wheel.read(name).decode())


def files_of(folder: Path) -> set[str]:
    """Every file below a folder that is not made by running or building."""
    files = (file for file in folder.rglob("*") if file.is_file() and file.suffix not in (".wasm", ".pyc"))
    return {str(file.relative_to(folder)) for file in files}


def test_each_wheel_is_one_package(operator_wheel: zipfile.ZipFile, lab_wheel: zipfile.ZipFile) -> None:
    """The operator's image gets nothing of the lab, and the lab brings no second operator."""
    assert packages(operator_wheel) == {"pluginrelease"}
    assert packages(lab_wheel) == {"pluginrelease_lab"}


def test_the_wheel_carries_chart_crd_and_examples(operator_wheel: zipfile.ZipFile) -> None:
    """An installed package has what a checkout has: `pluginrelease demo` needs no clone."""
    names = set(operator_wheel.namelist())
    for folder in ("charts", "crds", "examples"):
        files = files_of(shipped.folder(folder))
        assert files
        assert names >= {f"pluginrelease/_data/{folder}/{file}" for file in files}


@pytest.mark.parametrize("package", ["operator/pluginrelease", "lab/pluginrelease_lab"])
def test_a_wheel_has_all_of_its_package(
    package: str, operator_wheel: zipfile.ZipFile, lab_wheel: zipfile.ZipFile
) -> None:
    """Modules, and the files that they read: the lab's manifests and the sources that its programs are built from."""
    wheel = lab_wheel if package.startswith("lab") else operator_wheel
    names = set(wheel.namelist())
    assert names >= {f"{Path(package).name}/{file}" for file in files_of(CHECKOUT / package)}


def test_the_extra_brings_the_lab_and_the_lab_its_operator(
    operator_wheel: zipfile.ZipFile, lab_wheel: zipfile.ZipFile
) -> None:
    """Each asks for just the version that was built with it; without the extra nothing of the lab is asked for."""
    version = metadata(operator_wheel)["Version"]
    asked = metadata(operator_wheel).get_all("Requires-Dist") or []
    assert [text for text in asked if "lab" in text] == [f"pluginrelease-lab=={version}; extra == 'lab'"]
    assert f"pluginrelease-operator=={version}" in (metadata(lab_wheel).get_all("Requires-Dist") or [])
    assert metadata(lab_wheel)["Version"] == version
