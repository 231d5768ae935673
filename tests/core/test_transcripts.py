"""Commands in the READMEs of the examples that need no cluster: run, with what the page says they print."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click.testing
import pytest

from pluginrelease.cli import main

CHECKOUT = Path(__file__).parents[2]
OFFLINE = ("render", "lint")
BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)
LEFT_OUT = "..."


def find_transcripts() -> Iterator[tuple[str, str, list[str]]]:
    """Yield the page, the command and the lines below it."""
    for page in sorted(CHECKOUT.glob("examples/*/README.md")):
        for block in BLOCK.findall(page.read_text()):
            for command in block.split("$ ")[1:]:
                asked, *told = command.rstrip().splitlines()
                words = shlex.split(asked)
                if words[0] == "pluginrelease" and words[1] in OFFLINE:
                    yield page.parent.name, asked, told


TRANSCRIPTS = list(find_transcripts())


@pytest.mark.parametrize(("page", "command", "told"), TRANSCRIPTS, ids=[command for _, command, _ in TRANSCRIPTS])
def test_a_page_shows_what_the_command_prints(
    page: str, command: str, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each line that the page shows is printed, in this order; three dots stand for lines that are left out."""
    monkeypatch.chdir(CHECKOUT)
    done = click.testing.CliRunner().invoke(main, shlex.split(command)[1:], catch_exceptions=False)
    assert done.exit_code == 0
    printed = iter([*done.stderr.splitlines(), *done.stdout.splitlines()])
    for line in told:
        assert line == LEFT_OUT or line in printed, f"{page}: not printed, or in another order: {line}"


def test_the_examples_of_fields_have_transcripts() -> None:
    """What the pages say of a file, one port, sidecars and a value was printed."""
    shown = " ".join(command for _, command, _ in TRANSCRIPTS)
    for manifest in ("from-a-server", "one-port", "sidecars", "shared-token/pluginrelease"):
        assert f"{manifest}.yaml" in shown
