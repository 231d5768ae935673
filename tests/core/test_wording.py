"""Numbers and words in what people read: every count is asked for 1, and no word stands there twice."""

from __future__ import annotations

import ast
import itertools
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pluginrelease import api
from pluginrelease.cli import lint
from pluginrelease.core.artifact import image_manifests
from pluginrelease.core.artifact.image_manifests import Digest
from pluginrelease.core.errors import ReleaseError
from pluginrelease.core.registry import transport
from pluginrelease.core.registry.transport import RegistryTrust, Transport
from pluginrelease.core.signing import signature
from pluginrelease.core.wording import count_noun
from pluginrelease.edges.signing import signatures

CHECKOUT = Path(__file__).resolve().parents[2]
SOURCES = (CHECKOUT / "operator" / "pluginrelease", CHECKOUT / "lab" / "pluginrelease_lab")
DIGEST = str(Digest.of(b""))
SIGNERS = [api.OIDCIdentity(issuer="i", subject="s")] * 2
SEVERAL = re.compile(r"\b1 (?:\w+ )?\w+s\b")
TWICE = re.compile(r"\b([a-z]+) \1\b")
# plural nouns after a number that is never 1 there, or that are another's words
NEVER_ONE = {"images", "keys", "bundles", "signatures", "subjects", "PluginReleases", "probes", "imports", "bytes"}


def refused(act: Callable[[], object]) -> str:
    with pytest.raises(ReleaseError) as raised:
        act()
    return raised.value.sentence()


def manifest(**entries: list[dict[str, object]]) -> bytes:
    return json.dumps(entries).encode()


def descriptor(**more: object) -> dict[str, object]:
    return {"mediaType": "a/b", "digest": DIGEST, "size": 1, **more}


MESSAGES: dict[str, Callable[[], str]] = {
    "layers": lambda: refused(lambda: image_manifests.find_layer(manifest(layers=[descriptor()]))),
    "manifests": lambda: refused(
        lambda: image_manifests.find_child(manifest(manifests=[descriptor(platform={"os": "windows"})]))
    ),
    "pods": lambda: transport.check_trust(
        image_manifests.parse("r.test/p:1"), Transport.UNTRUSTED, [("a", RegistryTrust()), ("b", RegistryTrust())]
    ),
    "signatures": lambda: signature.conclude([signature.reject_invalid("x")], [Digest.of(b"")], "somebody").sentence(),
    "identities": lambda: signatures.Identities(tuple(SIGNERS), b"", "here").describe_wanted(),
    "findings": lambda: "\n".join(lint.lines([lint.Linted("f", releases=1, skipped=1, findings=[flaw()])])),
}


def flaw() -> lint.Flaw:
    return lint.Flaw(line=1, release="", path="", reason="X", message="y")


@pytest.mark.parametrize("what", MESSAGES)
def test_one_of_them(what: str) -> None:
    """Where there is one of something, the noun says so."""
    message = MESSAGES[what]()
    assert re.search(r"\b1 ", message), message
    assert SEVERAL.search(message) is None, message


@pytest.mark.parametrize(
    ("number", "words", "text"),
    [
        (0, ("layer",), "0 layers"),
        (1, ("layer",), "1 layer"),
        (2, ("layer",), "2 layers"),
        (1, ("entry", "entries"), "1 entry"),
        (2, ("entry", "entries"), "2 entries"),
    ],
)
def test_counted(number: int, words: tuple[str, ...], text: str) -> None:
    """A number and its noun."""
    assert count_noun(number, *words) == text


def texts() -> Iterator[tuple[str, str]]:
    """Every text in the program, and every line of the documents."""
    for path in sorted(path for source in SOURCES for path in source.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield f"{path.name}:{node.lineno}", node.value
    for pattern in ("*.md", "docs/**/*.md", "charts/**/*.md", "charts/**/NOTES.txt"):
        for path in sorted(CHECKOUT.glob(pattern)):
            for number, line in enumerate(path.read_text().splitlines(), 1):
                yield f"{path.name}:{number}", line


def test_no_word_is_there_twice() -> None:
    """Nowhere does the same word stand twice in a row."""
    found = [(where, TWICE.search(text)[0]) for where, text in texts() if TWICE.search(text)]  # type: ignore[index]
    assert found == []


def test_counts_have_their_noun() -> None:
    """What puts the length of something before a plural either counts with `counted` or is never 1."""
    found = []
    for path in sorted(path for source in SOURCES for path in source.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            parts = node.values if isinstance(node, ast.JoinedStr) else []
            for value, after in itertools.pairwise(parts):
                called = getattr(getattr(getattr(value, "value", None), "func", None), "id", "")
                noun = re.match(r" (\w+s)\b", str(getattr(after, "value", "")))
                if called in ("len", "sum") and noun and noun[1] not in NEVER_ONE:
                    found.append((path.name, node.lineno, noun[1]))
    assert found == []
