"""The command's own frame: which subcommands there are, and what is said when one cannot be loaded."""

from __future__ import annotations

import gc
import importlib
import types

import pytest
from click.testing import CliRunner

from pluginrelease.cli import main


def test_help_lists_every_subcommand() -> None:
    """`pluginrelease -h` names what a user can do, each with a line."""
    shown = CliRunner().invoke(main, ["-h"], catch_exceptions=False).stdout
    lines = [line.split(maxsplit=1) for line in shown.partition("Commands:")[2].splitlines() if line.strip()]
    assert {"run", "crd", "build", "push"} <= {line[0] for line in lines}
    assert all(len(line) == 2 for line in lines)


def test_a_command_without_the_lab_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the operator's image the lab's libraries are missing: help still works, and the command names the remedy."""
    load = importlib.import_module

    def load_without_lab(name: str) -> types.ModuleType:
        if name == "pluginrelease.cli.crd":
            raise ModuleNotFoundError("No module named 'pyroute2'", name="pyroute2")
        return load(name)

    monkeypatch.setattr(importlib, "import_module", load_without_lab)
    assert "not installed" in CliRunner().invoke(main, ["-h"], catch_exceptions=False).stdout
    refused = CliRunner().invoke(main, ["crd", "up", "--write"])
    assert refused.exit_code == 1
    assert "needs pyroute2" in refused.output
    assert "requirements/lab.txt" in refused.output


def test_a_broken_module_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of our own that is missing is a fault of ours, never taken for an extra that was left out."""

    def fail(name: str) -> types.ModuleType:
        raise ModuleNotFoundError(name="pluginrelease.core.gone")

    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(ModuleNotFoundError):
        CliRunner().invoke(main, ["crd"], catch_exceptions=False)


def test_a_start_searches_for_no_garbage(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a subcommand is imported the garbage collector rests; it works again after that, also if that failed."""
    seen: list[bool] = []

    def fail(name: str) -> types.ModuleType:
        seen.append(gc.isenabled())
        raise ModuleNotFoundError(name="pyroute2")

    monkeypatch.setattr(importlib, "import_module", fail)
    CliRunner().invoke(main, ["crd", "--help"])
    assert seen == [False]
    assert gc.isenabled()


def test_an_unknown_command_is_refused() -> None:
    """A typo is an error of usage."""
    refused = CliRunner().invoke(main, ["rnu"])
    assert refused.exit_code == 2
    assert "'rnu'" in refused.output


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("0s", "90s or 5m"),
        ("999ms", "1s"),
        ("soon", "90s, 2m or 1h30m"),
    ],
)
def test_a_resync_that_never_rests_is_refused(given: str, why: str) -> None:
    """An operator that looked again at once would do nothing else; the message says what to write."""
    refused = CliRunner().invoke(main, ["run", "--resync", given])
    assert refused.exit_code == 2
    assert why in " ".join(refused.output.split())
