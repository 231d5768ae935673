"""Which sentences in tests `make lint` reports, because nobody could improve them without a change of the test."""

from __future__ import annotations

import pytest

from tests import pinned_sentences, plain_english
from tests.plain_english import Prose, WordLists


@pytest.mark.parametrize(
    ("source", "count", "why"),
    [
        ('assert "the plugin is gone" in message', 1, "a part of a sentence"),
        ('assert message == "Plugin auth: the plugin is gone."', 1, "a whole one"),
        ('assert f"{name} is not there" in message', 1, "with a value in it"),
        ('assert wrong == [("a", "the plugin is gone")]', 1, "within another value"),
        ('with pytest.raises(Refused, match="the plugin is gone"):\n    act()', 1, "in what an error must match"),
        ('assert "NoPluginWasm" == reason', 0, "a reason"),
        ('assert "apps/gateway-1" in message and "10m" in message', 0, "names and numbers"),
        ('assert "kubectl get pods of them" in remedy', 0, "a command to type"),
        ('assert found, "the plugin is gone"', 0, "what the test itself says when it fails"),
        ('said = "the plugin is gone"\nassert show(said) == "the plugin is gone"', 0, "a value that the test gave"),
        ('ENVOY = "the plugin is gone"\nassert ENVOY in message', 0, "another program's words, by name"),
    ],
)
def test_an_assert_pins_a_sentence(source: str, count: int, why: str) -> None:
    """Three words of prose in a row are a part of a sentence; values, names and commands may be asserted."""
    assert len(list(pinned_sentences.find(source))) == count, why


TABLE = """
ROWS = [("a", "the plugin is gone"), pytest.param("b", "the gateway is down", id="down")]

@pytest.mark.parametrize(("given", "{column}"), ROWS)
def test_it(given, {column}):
    assert {asserted}
"""


@pytest.mark.parametrize(
    ("column", "asserted", "lines"),
    [
        ("words", "words in show(given)", [2, 2]),
        ("words", "all(word in show(given) for word in words)", [2, 2]),
        ("why", "show(given), why", []),
        ("case", "show(given) == case.expected", []),
    ],
)
def test_a_table_of_cases_pins_a_sentence(column: str, asserted: str, lines: list[int]) -> None:
    """A column counts when the test compares it, and not when it says what a case is there for."""
    source = TABLE.format(column=column, asserted=asserted)
    assert [line for line, _ in pinned_sentences.find(source)] == lines


def test_no_folder_may_pin_more_than_it_is_allowed() -> None:
    """A new pinned sentence is shown with what to assert instead."""
    lists = WordLists(words={}, exceptions=(), allowed={"pinned sentences of tests/edges": 1})
    texts = [Prose(f"tests/{folder}/test_a.py", "3", "it is gone", "pinned sentences") for folder in ("core", "edges")]
    assert [str(found.prose.file) for found in plain_english.check(texts, lists)] == ["tests/core/test_a.py"]
