"""What the image's recipe says: hash-checked pins, an unprivileged user, and what it is made of."""

from __future__ import annotations

import fnmatch
import importlib.util
import py_compile
from pathlib import Path
from types import ModuleType

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile as (instruction, rest), continued lines joined."""
    text = (CHECKOUT / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in lines]


def of(name: str) -> list[str]:
    """The rests of one instruction, in their order."""
    return [rest for instruction, rest in instructions() if instruction == name]


def test_the_operator_runs_unprivileged() -> None:
    """The last stage runs as the numeric user that the chart's runAsNonRoot can check, and starts the operator."""
    starts = [number for number, (name, _) in enumerate(instructions()) if name == "FROM"]
    assert ("USER", "65532:65532") in instructions()[starts[-1] :]
    assert of("ENTRYPOINT") == ['["pluginrelease"]']
    assert of("CMD") == ['["run"]']


def test_every_download_is_checked() -> None:
    """Each pip install checks hashes, or has no index to take anything from."""
    installs = [part for run in of("RUN") for part in run.split("&&") if "pip install" in part]
    assert len(installs) >= 3
    assert all("--require-hashes" in part or "--no-index" in part for part in installs)


def test_what_is_installed_fits_together() -> None:
    """Each environment is checked after the last package came into it: installing a lock as it is does not ask."""
    steps = [part.split() for run in of("RUN") for part in run.split("&&")]
    for pip in {words[0] for words in steps if "install" in words}:
        own = [words[1] for words in steps if words[0] == pip and words[1] in ("install", "check")]
        assert own[-1] == "check", pip


def test_nothing_is_compiled_at_a_start() -> None:
    """The environment is compiled after the last change to it, and what is imported of the standard library in the last
    stage, before the user becomes one that cannot write there."""
    [compiled] = [number for number, (_, rest) in enumerate(instructions()) if "compileall" in rest]
    changes = [number for number, (_, rest) in enumerate(instructions()) if "pip install" in rest or "prune" in rest]
    assert max(changes) < compiled
    last = instructions()[max(number for number, (name, _) in enumerate(instructions()) if name == "FROM") :]
    [imported] = [number for number, (name, rest) in enumerate(last) if name == "RUN" and "pluginrelease run" in rest]
    assert imported < last.index(("USER", "65532:65532"))


def test_the_base_can_be_chosen() -> None:
    """Every stage from outside starts at the one build argument."""
    assert of("ARG") == ["PYTHON=python:3.14-slim"]
    assert {rest.split()[0] for rest in of("FROM")} == {"${PYTHON}"}


def test_what_is_copied_is_sent_to_the_build() -> None:
    """.dockerignore lets through what the wheel is made of, and neither caches nor modules."""
    lines = [line for line in (CHECKOUT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    sent = {line[1:] for line in lines if line.startswith("!")}
    assert lines[0] == "*"
    assert sent >= {"pyproject.toml", "README.md", "LICENSE", "operator", "charts", "crds", "examples", "requirements"}
    assert all((CHECKOUT / name).exists() for name in sent)
    left_out = [line for line in lines if not line.startswith("!")]
    assert any(fnmatch.fnmatch("operator/a/__pycache__", line) for line in left_out[1:])


@pytest.fixture(scope="module")
def prune() -> ModuleType:
    """The script that the build runs."""
    spec = importlib.util.spec_from_file_location("prune", CHECKOUT / "image" / "prune.py")
    assert spec
    assert spec.loader
    spec.loader.exec_module(module := importlib.util.module_from_spec(spec))
    return module


def test_what_is_pruned_is_what_is_not_imported(
    prune: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a package only the modules go that are not kept, with their bytecode; what was freed is said in bytes."""
    package = tmp_path / "generated"
    package.mkdir()
    for name in ("__init__", "kept", "other"):
        (package / f"{name}.py").write_text("x = 1\n")
        py_compile.compile(str(package / f"{name}.py"))
    gone = [package / "other.py", *package.glob("__pycache__/other.*")]
    size = sum(file.stat().st_size for file in gone)
    monkeypatch.syspath_prepend(tmp_path)
    assert prune.prune("generated", {(package / "kept.py").resolve()}) == size
    assert len(gone) == 2
    left = {file.name.partition(".")[0] for file in package.rglob("*.py*")}
    assert left == {"__init__", "kept"}


def test_the_client_is_laid_out_as_the_pruning_expects(prune: ModuleType) -> None:
    """Each package that is pruned is there; one that is not is an error of the build, and not a larger image."""
    assert all(importlib.util.find_spec(package) for package in prune.GENERATED)
    with pytest.raises(SystemExit, match=r"kubernetes\.nowhere"):
        prune.prune("kubernetes.nowhere", set())
