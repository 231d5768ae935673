"""docs/guides.md does what it says: its commands are run in the order in which a reader types them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click.testing
import pytest

from pluginrelease.cli import main
from tests.edges.real_registry import Real

ROOT = Path(__file__).parents[2]
GUIDES = ROOT / "docs" / "guides.md"
PLACEHOLDER = "registry.example.com"
REGISTRY = ("push", "inspect")  # the subcommands that talk to a registry
CLUSTER = ("wait", "status")  # and those that need releases: tests/passes has them


@dataclass(frozen=True)
class GuideStep:
    """A command line, and the exit code that the page says or 0."""

    words: tuple[str, ...]
    code: int


def steps() -> Iterator[GuideStep]:
    """Every line with our own program that runs without a cluster."""
    blocks = re.findall(r"^```console\n(.*?)^```$", GUIDES.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    for block in blocks:
        for line, code in re.findall(r"^\$ (pluginrelease .*)(?:\n\$ echo \$\?\n(\d+))?", block, re.MULTILINE):
            words = shlex.split(line)[1:]
            if words[0] not in CLUSTER:
                yield GuideStep(tuple(words), int(code or 0))


def as_here(words: tuple[str, ...], registry: str) -> list[str]:
    """The same command for the test's registry, which speaks plain http."""
    if words[0] in REGISTRY and any(word.startswith(PLACEHOLDER) for word in words):
        return [*(word.replace(PLACEHOLDER, registry) for word in words), "--insecure"]
    return list(words)


def test_the_guides_commands_do_what_the_page_says(
    plain: Real, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From source to image, and what is refused where the page says so; all in one folder, as a reader would."""
    for folder in ("examples", "tests"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    monkeypatch.chdir(tmp_path)
    done = 0
    for step in steps():
        result = click.testing.CliRunner().invoke(main, as_here(step.words, plain.host), catch_exceptions=False)
        assert result.exit_code == step.code, f"{' '.join(step.words)}\n{result.output}"
        done += 1
    assert done >= 20
