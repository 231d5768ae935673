"""What `make lint` says of the English that users read."""

from __future__ import annotations

import pytest

from tests import plain_english
from tests.plain_english import Prose, WordLists

LISTS = WordLists(
    words={"anew": "again", "tell|tells": "report"},
    exceptions=({"file": "CONTRIBUTING.md", "text": "anew"},),
    allowed={"operator/core": 1},
)
LONG = "word " * 30


def faults(*texts: Prose) -> list[str]:
    return [found.message for found in plain_english.check(texts, LISTS)]


@pytest.mark.parametrize(
    ("text", "found", "why"),
    [
        ("Start anew.", 1, "a private word"),
        ("It Tells, and tells.", 2, "each use, in either case"),
        ("A renewal intellect.", 0, "a part of a word is another word"),
        (f"{LONG}.", 0, "thirty words are enough for anybody"),
        (f"{LONG}more.", 1, "one more is too many"),
        (f"{LONG}. {LONG}.", 0, "sentences are counted one by one"),
        (f"{LONG}… – / |.", 0, "signs are no words"),
    ],
)
def test_private_words_and_long_sentences_are_found(text: str, found: int, why: str) -> None:
    """Each private word and each sentence of more than 30 words is one finding."""
    assert len(faults(Prose("docs/page.md", "1", text))) == found, why


def test_an_finding_says_where_and_what_to_write() -> None:
    """A writer gets the place and the plain word."""
    [found] = plain_english.check([Prose("docs/page.md", "7", "Start anew.")], LISTS)
    assert str(found) == "docs/page.md:7: 'anew': write again"


def test_exceptions_have_a_name() -> None:
    """A word may be where the list says, and nowhere else."""
    assert faults(Prose("CONTRIBUTING.md", "1", "anew")) == []
    assert faults(Prose("README.md", "1", "anew"))


def test_what_is_not_rewritten_yet_may_not_grow() -> None:
    """A folder may have as many findings as it is allowed; with one more all of them are shown."""
    first, second = Prose("operator/core/a.py", "1", "anew"), Prose("operator/core/b.py", "1", "anew")
    assert faults(first) == []
    assert len(faults(first, second)) == 2


def read(text: str) -> list[tuple[str, str]]:
    return [(prose.place, prose.text) for prose in plain_english.read_page("page.md", text) if prose.text]


def test_a_page_is_read_by_paragraph_item_and_cell() -> None:
    """Code is no prose, a table cell and a list item are sentences of their own, and lines are counted."""
    page = "# Title\n\nOne\n`a b c` two.\n\n```\nanew\n```\n\n* first\n* [second](anew.md)\n\n| a | b |\n"
    expected = [("1", "# Title"), ("3", "One code two."), ("10", "* first"), ("11", "* [second]")]
    assert read(page) == [*expected, ("13", "a"), ("13", "b")]


def test_generated_tables_are_read_at_their_source() -> None:
    """The fields in docs/api.md are read in the CRD."""
    page = "<!-- fields of spec: x -->\nanew\n<!-- end of fields -->\n\nText.\n"
    assert read(page) == [("5", "Text.")]


def test_the_crd_is_read_by_field() -> None:
    """Descriptions and the messages of rules carry the path of their field."""
    schema = {"properties": {"a": {"description": "one two three four", "items": {"properties": {"b": rule()}}}}}
    found = [(prose.place, prose.text) for prose in plain_english.read_schema("crd.yaml", {"spec": schema})]
    assert found == [("spec.a", "one two three four"), ("spec.a.b", "do this or do that")]


def rule() -> dict[str, object]:
    return {"x-kubernetes-validations": [{"rule": "a b c d e", "message": "do this or do that"}]}


def test_a_module_is_read_by_message_docstring_and_comment() -> None:
    """Each has a count of its own, but the help of a command counts as a message. Values and code are one word."""
    source = '''"""The module's docstring.

* ``a b c`` of it
"""
# a comment on `two of them`
# lines
@click.command()
def act():
    """Help of a command."""
    return f"{name} has {count} of them", "key", "one two three four"  # noqa: S105
    # ---------------- a part
    # type: ignore
'''
    found = {(prose.place, prose.text): prose.part for prose in plain_english.read_module("m.py", source)}
    expected = {
        ("1", "The module's docstring."): "docstrings",
        ("1", "* code of it"): "docstrings",
        ("5", "a comment on code lines"): "comments",
        ("9", "Help of a command."): "",
        ("10", "value has value of them"): "",
        ("10", "one two three four"): "",
    }
    assert found == expected


def test_a_function_says_what_it_does_or_returns() -> None:
    """The docstring of a function that begins as a question is a finding; that of a class or a module may."""
    source = '''"""What is known."""
class Known:
    """What is known of a pod."""
    def is_there(self):
        """Whether it is there."""
    def find(self):
        """Return what is there."""
'''
    [found] = plain_english.check(plain_english.read_module("m.py", source), LISTS)
    assert (found.prose.place, found.prose.part) == ("4", plain_english.OPENING)


def test_every_exception_is_needed() -> None:
    """An exception whose text is gone is taken out of the list."""
    lists = WordLists.load()
    texts = [(prose.file, prose.text.lower()) for prose in plain_english.everything()]
    unneeded = [
        row
        for row in lists.exceptions
        if not any(file == row["file"] and row["text"].lower() in text for file, text in texts)
    ]
    assert unneeded == []
