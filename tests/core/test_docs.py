"""What the documents tell a reader to type, to click and to apply is there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from click.testing import CliRunner

from pluginrelease import api
from pluginrelease.cli import main

CHECKOUT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md", "charts/**/*.md", "bench/**/*.md")
    for page in CHECKOUT.glob(pattern)
)
MANIFESTS = sorted([*CHECKOUT.glob("examples/**/*.yaml"), *CHECKOUT.glob("docs/**/*.yaml")])
DECISIONS = CHECKOUT / "docs" / "decisions"
DECISION_TEMPLATE = DECISIONS / "template.md"
RECORDS = sorted({*DECISIONS.glob("*.md")} - {DECISIONS / "README.md", DECISION_TEMPLATE})
DECISION_ROW = re.compile(r"^\| (\d+) \| \[(.+)\]\(([^)\s]+)\) \| [^|]+ \| [^|]+ \|$", re.MULTILINE)
DECISION_STATUS = re.compile(
    r"^\*\*Status:\*\* (accepted$|(accepted; superseded in part|superseded) by \[\d{4}\]\()", re.MULTILINE
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
# what shows a shape and not a command: a name in capitals, an ellipsis
PLACEHOLDER = re.compile(r"^(\.\.\.|…|[A-Z][A-Z-]+)$")


def name(path: Path) -> str:
    return str(path.relative_to(CHECKOUT))


@dataclass(frozen=True)
class Typed:
    """One command line in a page."""

    page: Path
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{name(self.page)}: {' '.join(self.words)}"


def lines(text: str) -> Iterator[str]:
    """Command lines: those after a prompt in a block, and code spans."""
    for _, block in FENCE.findall(text):
        yield from re.findall(r"^\$ (.*)$", block.replace("\\\n", " "), re.MULTILINE)
    yield from CODE.findall(FENCE.sub("", text))


def typed(program: str) -> list[Typed]:
    """Every use of a program in the pages, without what is piped into another."""
    found = set()
    for page in PAGES:
        for line in lines(page.read_text(encoding="utf-8")):
            if re.match(rf"(\.venv/bin/)?{program}( |$)", line):
                command = re.split(r" [|;&>]|  #", line)[0]
                found.add(Typed(page, tuple(shlex.split(command, comments=True))))
    return sorted(found, key=str)


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (CHECKOUT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.parametrize("command", typed("make"), ids=str)
def test_every_make_target_is_there(command: Typed) -> None:
    """`make X` in a page is a target of the Makefile."""
    goals = [word for word in command.words[1:] if "=" not in word and not word.startswith("-")]
    assert [goal for goal in goals if goal not in targets()] == []


def descend(command: click.Command, words: tuple[str, ...]) -> tuple[click.Command, tuple[str, ...]]:
    """The subcommand that the words lead to, and the words that are left."""
    while isinstance(command, click.Group) and words and not PLACEHOLDER.match(words[0]):
        if words[0].startswith("-"):
            break
        below = command.get_command(click.Context(command), words[0])
        assert below is not None, f"there is no subcommand {words[0]!r}"
        command, words = below, words[1:]
    return command, words


@pytest.mark.parametrize("command", typed("pluginrelease"), ids=str)
def test_every_subcommand_and_flag_is_there(command: Typed) -> None:
    """`pluginrelease X --flag` in a page is what the program's own --help names."""
    found, rest = descend(main, command.words[1:])
    options = {option for parameter in found.params for option in (*parameter.opts, *parameter.secondary_opts)}
    given = rest[: rest.index("--")] if "--" in rest else rest
    unknown = [word for word in given if word.startswith("-") and word.split("=")[0] not in {*options, "--help", "-h"}]
    assert unknown == [], f"{found.name} has no such option"


def test_the_program_explains_itself() -> None:
    """--help lists every subcommand with a sentence."""
    shown = CliRunner().invoke(main, ["--help"], catch_exceptions=False).output
    for subcommand in ("build", "crd", "demo", "lab", "push", "run"):
        assert re.search(rf"^  {subcommand}\s+[A-Z]", shown, re.MULTILINE), subcommand


# ---------------------------------------------------------------------------------------------------------- links


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_internal_link_leads_somewhere(page: Path) -> None:
    """A link to a file or to a heading of one is not broken."""
    broken = []
    for link in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        path, _, anchor = link.partition("#")
        if "://" in link or link.startswith("mailto:"):
            continue
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_path_of_the_checkout_is_there(page: Path) -> None:
    """A path that a command line names exists, or is made by the command."""
    named = {
        word
        for line in lines(page.read_text(encoding="utf-8"))
        for word in re.findall(r"(?:examples|docs|charts|operator|crds|tests)/[\w./-]*\w", line)
    }
    assert [path for path in sorted(named) if not (CHECKOUT / path).exists()] == []


# ------------------------------------------------------------------------------------------------------ decisions


def title(record: Path) -> str:
    """Return a record's first heading."""
    return record.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")


def sections(record: Path) -> list[tuple[str, str]]:
    """Return a record's sections: heading and text, in order."""
    parts = re.split(r"^## (.*)$", record.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))


def test_the_index_lists_every_decision_once_and_in_order() -> None:
    """Whoever looks for a decision finds it in the index: number, title, file, a line on it and its area."""
    listed = DECISION_ROW.findall((DECISIONS / "README.md").read_text(encoding="utf-8"))
    assert listed == [(record.name[:4], title(record), record.name) for record in RECORDS]


def test_a_decision_has_a_number_of_its_own() -> None:
    """Each page beside the index and the template is NNNN-slug.md, and no number is used twice."""
    numbers = [re.sub(r"^(\d{4})-[a-z0-9-]+\.md$", r"\1", record.name) for record in RECORDS]
    assert all(re.fullmatch(r"\d{4}", number) for number in numbers)
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("record", [*RECORDS, DECISION_TEMPLATE], ids=name)
def test_a_decision_has_the_form_of_the_template(record: Path) -> None:
    """A record has a title, a status, and the template's sections in its order; it may have no sources."""
    form = [heading for heading, _ in sections(DECISION_TEMPLATE)]
    found = [heading for heading, _ in sections(record)]
    assert record.read_text(encoding="utf-8").startswith("# ")
    assert DECISION_STATUS.search(record.read_text(encoding="utf-8"))
    assert found in (form, [heading for heading in form if heading != "Sources"])
    assert [heading for heading, text in sections(record) if not text.strip()] == []


# ------------------------------------------------------------------------------------------------------ manifests


def documents(text: str) -> Iterator[dict[str, Any]]:
    """The PluginReleases among YAML documents."""
    for document in yaml.safe_load_all(text):
        if isinstance(document, dict) and document.get("kind") == api.KIND:
            yield document


def releases() -> Iterator[Any]:
    """Every PluginRelease of the examples and of the pages' YAML blocks."""
    for file in MANIFESTS:
        yield from (pytest.param(found, id=name(file)) for found in documents(file.read_text(encoding="utf-8")))
    for page in PAGES:
        for language, block in FENCE.findall(page.read_text(encoding="utf-8")):
            if language == "yaml":
                yield from (pytest.param(found, id=name(page)) for found in documents(block))


@pytest.mark.parametrize("manifest", list(releases()))
def test_every_manifest_is_one(manifest: dict[str, Any]) -> None:
    """What a reader copies is a PluginRelease of this version, and every field in it is one that has an effect."""
    assert manifest["apiVersion"] == api.API_VERSION
    spec = api.Spec.model_validate(manifest["spec"])
    assert unknown_fields(manifest["spec"], spec.wire()) == []


def unknown_fields(written: dict[str, Any], read: dict[str, Any], path: str = "spec") -> list[str]:
    """Fields that the models dropped."""
    dropped = []
    for key, value in written.items():
        if key not in read:
            dropped.append(f"{path}.{key}")
        elif isinstance(value, dict) and isinstance(read[key], dict):
            dropped += unknown_fields(value, read[key], f"{path}.{key}")
    return dropped


def test_there_is_something_to_check() -> None:
    """The patterns above find what the README shows: a page that is not read is not checked."""
    assert {" ".join(command.words) for command in typed("make")} >= {"make demo", "make test"}
    assert len(typed("pluginrelease")) >= 5
    assert len(list(releases())) >= 2
