"""Every reason is one word of one enum, is explained, and is what docs/reasons.md says."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pluginrelease.api import reasons_page
from pluginrelease.api.explanations import SECTIONS, Explanation, Then
from pluginrelease.api.reasons import Reason
from pluginrelease.cli import crd as crd_command

CHECKOUT = Path(__file__).resolve().parents[2]
SOURCES = (CHECKOUT / "operator", CHECKOUT / "lab")
CAMEL_CASE = re.compile(r"([A-Z][a-z0-9]*|ABI|API|TLS|HTTP|CA|VM)+")
WORDS_A_SENTENCE = 20
# where the enum and the explanations themselves are
ABOUT_REASONS = ("reasons.py", "reasons_page.py", "explanations")
KEYWORDS = {"reason", "missing", "unfit", "stalled_because"}
WORDS = {str(reason) for reason in Reason}
EXPLAINED = [pytest.param(reason, row, id=reason) for section in SECTIONS for reason, row in section.rows.items()]


def test_the_page_is_made_from_the_explanations() -> None:
    """docs/reasons.md is what `make crds` writes."""
    page = (CHECKOUT / crd_command.REASONS).read_text(encoding="utf-8")
    assert page == reasons_page.render(), f"{crd_command.REASONS} is not what the tables say: run `make crds`"


def test_every_reason_is_explained_once() -> None:
    """Whoever meets a reason in a condition, an event or on the command line finds one row about it."""
    explained = [reason for section in SECTIONS for reason in section.rows]
    assert sorted(explained) == sorted(Reason)


@pytest.mark.parametrize("reason", Reason, ids=str)
def test_a_reason_is_one_word_in_camel_case(reason: Reason) -> None:
    """A reason is a word that a script can match, as Kubernetes writes them; its member has the same name."""
    assert CAMEL_CASE.fullmatch(reason)
    assert reason.name.replace("_", "") == reason.upper()


@pytest.mark.parametrize(("reason", "row"), EXPLAINED)
def test_an_explanation_is_short_and_says_what_to_do(reason: Reason, row: Explanation) -> None:
    """A sentence has at most twenty words, code counts as one; no cell breaks the table; the remedy is a sentence."""
    for text in (row.meaning, row.remedy):
        sentences = re.split(r"(?<=[.:;?])\s+", re.sub(r"`[^`]*`", "code", text))
        assert [sentence for sentence in sentences if len(sentence.split()) > WORDS_A_SENTENCE] == []
        assert text[-1] in ".…)" or reason is Reason.NOT_WASM
        assert "|" not in text.replace("\\|", "")
    assert row.remedy[0].isupper()
    assert isinstance(row.then, Then)


@pytest.mark.parametrize(
    ("word", "reason", "why"),
    [
        ("GatewayCrashed", Reason.GATEWAY_CRASHED, "a word of this version"),
        ("ComesLater", None, "a status may have been written by a newer operator"),
        ("", None, "none at all"),
    ],
)
def test_a_status_may_have_words_of_another_version(word: str, reason: Reason | None, why: str) -> None:
    """What a status says is read without taking it for a word of this version."""
    assert Reason.read(word) is reason, why


@pytest.mark.parametrize(
    ("attribute", "words", "why"),
    [
        ("means_gateway_down", {"GatewayCrashed", "GatewayUnresponsive"}, "put back in spite of Hold"),
        (
            "is_healed_by_refetch",
            {"FetchFailed", "RunningUnprotected", "ConfigNotDelivered", "ListenerRejected"},
            "what Envoy refused, it refuses again",
        ),
        (
            "may_be_left_behind",
            {"AwaitingListener", "NotReferenced", "PlaceholderNotReplaced"},
            "only when it lasts",
        ),
        (
            "means_refused_by_envoy",
            {"PluginRejected", "ListenerRejected", "PluginRefusedByWorkers"},
            "a detour may heal it",
        ),
        ("may_block_rollback", {"PluginRefusedByWorkers", "GatewayUnresponsive"}, "the same VM, or a hung thread"),
        (
            "means_revision_gone",
            {"ConfigNotKept", "RevisionNotFound", "RevisionUnreadable", "ManifestNotFound"},
            "passed over",
        ),
        ("means_registry_declines", {"RegistryRefused", "ManifestNotFound"}, "a page that was guessed is not there"),
        ("means_not_asked", {"PodUnreachable", "PodNotReady"}, "what was proved before is kept"),
        ("means_not_delivered", {"AwaitingConfig", "ConfigNotDelivered"}, "the control plane may be stuck"),
        ("means_crash", {"PluginCrashed", "VMCrashed"}, "the gateway may start the plugin again"),
        ("lacks_only_proof", {"AwaitingPositiveSign", "NoPositiveSign", "VMCrashed"}, "a probe can prove it"),
        ("is_of_the_signature", {"NotSigned", "UntrustedSigner", "SignatureInvalid"}, "somebody looked"),
        ("is_asked_for", {"Suspended", "RollbackTo", "SwitchedOff"}, "no warning"),
    ],
)
def test_what_hangs_on_a_reason(attribute: str, words: set[str], why: str) -> None:
    """Behaviour that is peculiar to some reasons is asked of an attribute, which has just these."""
    assert {str(reason) for reason in Reason if getattr(reason, attribute)} == words, why


def test_what_is_wrong_with_bytes_is_permanent() -> None:
    """Bytes that are at fault stay so, except that a registry may give the right ones the next time."""
    of_the_bytes = {reason for reason in Reason if reason.is_of_the_bytes}
    assert {reason for reason in Reason if reason.is_permanent} == of_the_bytes - {Reason.DIGEST_MISMATCH}
    assert {"NotWasm", "BeyondV8Limits", "MalformedManifest"} <= {str(reason) for reason in of_the_bytes}
    assert Reason.MODULE_NOT_READ not in of_the_bytes, "a gateway might take it"


def product_trees() -> Iterator[tuple[str, ast.Module]]:
    """Yield every file of the product that may use a reason, as path and syntax tree."""
    for file in sorted(file for source in SOURCES for file in source.rglob("pluginrelease*/**/*.py")):
        path = str(file.relative_to(CHECKOUT)).partition("/")[2]
        if not path.startswith(tuple(f"pluginrelease/api/{name}" for name in ABOUT_REASONS)):
            yield path, ast.parse(file.read_text(encoding="utf-8"))


def has_word(node: ast.AST | None) -> bool:
    """Return whether an expression is the word of a reason, or a choice or a collection that has one."""
    match node:
        case ast.Constant(value=str(text)):
            return text in WORDS
        case ast.IfExp(body=one, orelse=other):
            return has_word(one) or has_word(other)
        case ast.Tuple(elts=elements) | ast.List(elts=elements) | ast.Set(elts=elements):
            return any(map(has_word, elements))
        case _:
            return False


def is_about_reason(node: ast.expr) -> bool:
    """Return whether an operand of a comparison is a reason."""
    if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "get" and node.args:
        return getattr(node.args[0], "value", None) == "reason"
    return (getattr(node, "attr", None) or getattr(node, "id", "")) in ("reason", "reasons")


def bare_words(tree: ast.AST) -> Iterator[int]:
    """Yield the lines where a reason is given, or compared with, as a bare string."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(keywords=keywords) if any(
                keyword.arg in KEYWORDS and has_word(keyword.value) for keyword in keywords
            ):
                yield node.lineno
            case ast.Dict(keys=keys, values=values) if any(
                getattr(key, "value", None) == "reason" and has_word(value)
                for key, value in zip(keys, values, strict=True)
            ):
                yield node.lineno
            case ast.Compare(left=left, comparators=others) if any(map(is_about_reason, [left, *others])):
                if any(map(has_word, [left, *others])):
                    yield node.lineno


def test_no_reason_is_a_bare_string() -> None:
    """Mypy refuses a string where a `Reason` is asked for; here are the places that take any string."""
    found = [f"{path}:{line}" for path, tree in product_trees() for line in bare_words(tree)]
    assert found == []


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ('api.PodStatus(reason="PluginRejected")', [1]),
        ('api.PodStatus(reason=Reason.PLUGIN_REJECTED, state="Loaded")', []),
        ('error.reason == "RegistryTLS"', [1]),
        ('error.reason in ("RegistryTLS", "NotWasm")', [1]),
        ('condition.get("reason") == "UnknownABI"', [1]),
        ('row.state == "Loaded"', []),
        ('{"reason": "Removed"}', [1]),
        ('Named(missing="A" if many else "CASecretNotFound")', [1]),
        ('{"reason": "FieldManagerConflict"}', []),
    ],
)
def test_a_bare_string_is_found(code: str, lines: list[int]) -> None:
    """The check above finds what it is for, and leaves states and the API server's own reasons alone."""
    assert list(bare_words(ast.parse(code))) == lines


def test_every_reason_is_seen_in_a_test() -> None:
    """Whatever reason the operator or the command line may give, some test has it given, by its word or its member."""
    tests = CHECKOUT / "tests"
    files = [file for file in tests.rglob("*.*") if file.suffix in (".py", ".txt") and file != Path(__file__)]
    said = " ".join(file.read_text(encoding="utf-8") for file in files if "fixtures" not in file.parts)
    words, members = set(re.findall(r"\b[A-Z]\w+", said)), set(re.findall(r"\bReason\.(\w+)", said))
    assert sorted(reason for reason in Reason if str(reason) not in words and reason.name not in members) == []


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason.means_gateway_down], ids=str)
def test_a_gateway_that_is_down_has_a_page(reason: Reason) -> None:
    """What takes a gateway down is in the runbook of its alert and in the table of signs."""
    pages = ("docs/runbooks/gateway-crashed.md", "docs/signs.md", "docs/incidents.md")
    assert [page for page in pages if f"{reason}" not in (CHECKOUT / page).read_text(encoding="utf-8")] == []


def test_every_reason_is_used() -> None:
    """The enum has no reason that nothing in the product ever gives."""
    used = {
        node.attr
        for _, tree in product_trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Reason"
    }
    assert sorted({reason.name for reason in Reason} - used) == []
