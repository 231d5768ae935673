"""What the image's recipe says: hash-checked pins, an unprivileged user, and what it is made of."""

from __future__ import annotations

import fnmatch
from pathlib import Path

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
