"""The workflows: what they call is there, what they use is pinned, and what they may do is little."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

Node = dict[str, Any]

CHECKOUT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((CHECKOUT / ".github" / "workflows").glob("*.y*ml"))
PINNED = re.compile(r"^\s*- uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")
PUBLISHING = {"contents", "packages", "id-token", "attestations"}
EXPRESSION = re.compile(r"\$\{\{.*?\}\}")

pytestmark = pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda it: it.name)


def jobs(workflow: Path) -> dict[str, Node]:
    found: dict[str, Node] = yaml.safe_load(workflow.read_text())["jobs"]
    return found


def steps(workflow: Path) -> Iterator[Node]:
    for job in jobs(workflow).values():
        yield from job["steps"]


def commands(workflow: Path) -> Iterator[str]:
    """Every command line of every step; what is substituted counts as one, too."""
    for step in steps(workflow):
        for line in str(step.get("run", "")).splitlines():
            yield line
            yield from re.findall(r"\$\((.*?)\)", line)


def test_every_action_is_pinned_to_a_commit(workflow: Path) -> None:
    """40 hex digits, and beside them the version that a person reads: a tag can be moved."""
    lines = [line for line in workflow.read_text().splitlines() if "uses:" in line]
    assert lines
    assert [line for line in lines if not PINNED.match(line)] == []


def test_every_target_and_module_is_there(workflow: Path) -> None:
    """`make X`, `python -m X` and files of the checkout: a name that is gone would show at the next release only."""
    targets = set(re.findall(r"^([a-z-]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE)) | {".venv/.ready"}
    called = [word for line in commands(workflow) for word in re.findall(r"\bmake ([\w./-]+)", line)]
    modules = [word for line in commands(workflow) for word in re.findall(r"python -m ([\w.]+)", line)]
    files = [
        word
        for line in commands(workflow)
        for word in re.findall(r"(?:^|\s)((?:\.ci|tests|release|image)/[\w./-]+)", line)
    ]
    assert called or modules
    assert [name for name in called if name not in targets] == []
    assert [name for name in modules if importlib.util.find_spec(name) is None] == []
    assert [name for name in files if not (CHECKOUT / name).exists()] == []


def test_permissions_are_few(workflow: Path) -> None:
    """Nothing for the workflow as a whole; each job says what it needs, and only the release writes."""
    parsed = yaml.safe_load(workflow.read_text())
    assert parsed["permissions"] == {}
    for name, job in jobs(workflow).items():
        assert set(job["permissions"]) <= PUBLISHING, name
        writes = {scope for scope, level in job["permissions"].items() if level == "write"}
        assert not writes or workflow.name == "release.yaml", name


def test_what_writes_runs_for_tags_alone(workflow: Path) -> None:
    """A pull request never runs with a token that may write, nor in the base's place."""
    triggers = yaml.safe_load(workflow.read_text())[True]  # YAML 1.1 reads `on` so
    assert "pull_request_target" not in triggers
    if any("write" in job["permissions"].values() for job in jobs(workflow).values()):
        assert triggers == {"push": {"tags": ["v*"]}}


def test_no_expression_is_pasted_into_a_shell(workflow: Path) -> None:
    """A branch's name is data: it comes as an environment variable, never as text of a script."""
    assert [step["run"] for step in steps(workflow) if EXPRESSION.search(str(step.get("run", "")))] == []


def test_no_checkout_leaves_its_token(workflow: Path) -> None:
    """What runs after the checkout cannot push with the job's token."""
    checkouts = [step for step in steps(workflow) if str(step.get("uses", "")).startswith("actions/checkout@")]
    assert checkouts
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_every_job_ends(workflow: Path) -> None:
    """A limit in minutes stands at each job."""
    assert all(job["timeout-minutes"] <= 180 for job in jobs(workflow).values())


def test_no_secret_is_needed(workflow: Path) -> None:
    """The job's own token and identity are enough: there is no key that could leak."""
    assert "secrets." not in workflow.read_text()
