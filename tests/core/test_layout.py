"""What holds for the whole source tree, and what no linter says of it."""

from __future__ import annotations

import ast
import operator
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
SOURCES = (CHECKOUT / "operator" / "pluginrelease", CHECKOUT / "lab" / "pluginrelease_lab")
REASONS = CHECKOUT / "docs" / "reasons.md"
CAMEL_CASE = re.compile(r"([A-Z][a-z0-9]*|ABI|API|TLS|HTTP)+")

# where the reason stands among the arguments of the calls that take one
POSITIONS = {
    "Refused": 0,
    "Waiting": 0,
    "Transient": 0,
    "Rejected": 0,
    "Finding": 2,
    "find": 2,
    "Summary": 2,
    "Verdict": 1,
    "row": 1,
    "waiting": 0,
    "Compatibility": 1,
    "incompatible": 0,
    "Warned": 0,
    "Event": 1,
    "PodProbe": 2,
    "Outage": 0,
}
# calls of the same names that are something else, and reasons that are passed on
PASSED_ON = ("reason", "then", "phase", "missing", "unfit")
# by these keywords a Secret that a field names is given its two reasons
OF_SECRETS = ("missing", "unfit")


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Every call that takes a reason, with the name of what is called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", None) or getattr(node.func, "attr", "")
            upto = node.args[: POSITIONS[name] + 1] if name in POSITIONS else []
            passed_on = any(isinstance(argument, ast.Starred) for argument in upto)
            if name in POSITIONS and len(upto) > POSITIONS[name] and not passed_on:
                yield name, node


def constants(tree: ast.AST) -> dict[str, str]:
    """Module-level names that stand for a text."""
    return {
        target.id: node.value.value
        for node in getattr(tree, "body", [])
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def texts(argument: ast.expr, known: dict[str, str]) -> list[str] | None:
    """The reasons that an argument can be; none for one that is passed on; None when it cannot be told."""
    match argument:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.Name(id=name) if name in known:
            return [known[name]]
        case ast.IfExp(body=one, orelse=other):
            found = [texts(one, known), texts(other, known)]
            return None if None in found else [text for part in found for text in part or []]
        case ast.Name(id=name) | ast.Attribute(attr=name) if name in PASSED_ON:
            return []
        case _:
            return None


def later(call: ast.Call) -> Iterator[str]:
    """The second reason of a wait that has one: ``then=(state, reason)``."""
    for keyword in call.keywords:
        if keyword.arg == "then" and isinstance(keyword.value, ast.Tuple):
            last = keyword.value.elts[-1]
            if isinstance(last, ast.Constant):
                yield str(last.value)


def reasons() -> dict[str, str]:
    """Reason → one place that uses it."""
    found: dict[str, str] = {}
    for file in sorted(file for source in SOURCES for file in source.rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for name, call in calls(tree):
            place = f"{file.relative_to(CHECKOUT)}:{call.lineno}"
            said = texts(call.args[POSITIONS[name]], constants(tree))
            assert said is not None, f"{place}: the reason of {name} is neither a text nor passed on"
            found |= dict.fromkeys((*said, *later(call)), place)
        found |= dict.fromkeys(of_secrets(tree), str(file.relative_to(CHECKOUT)))
    return found


def of_secrets(tree: ast.AST) -> Iterator[str]:
    """The reasons of a Secret that a field names, which are given by keyword."""
    calls_of = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    for call in calls_of:
        named = getattr(call.func, "id", "").lower() == "named"
        for keyword in call.keywords if named else ():
            if keyword.arg in OF_SECRETS:
                said = texts(keyword.value, constants(tree))
                assert said is not None, f"the reason {keyword.arg} is neither a text nor passed on"
                yield from said


def listed() -> list[str]:
    """The reasons that docs/reasons.md explains: the first cell of each row."""
    return re.findall(r"^\| `(\w+)` \|", REASONS.read_text(encoding="utf-8"), re.MULTILINE)


def test_every_reason_is_one_word_in_camel_case() -> None:
    """A reason is a word that a script can match: CamelCase, as Kubernetes writes them."""
    odd = {reason: place for reason, place in reasons().items() if not CAMEL_CASE.fullmatch(reason)}
    assert not odd


def test_every_reason_is_explained() -> None:
    """Whoever meets a reason in a condition, an event or on the command line finds it in docs/reasons.md."""
    missing = {reason: place for reason, place in reasons().items() if reason not in listed()}
    assert not missing, "these reasons have no row in docs/reasons.md"


def test_no_explained_reason_is_made_up() -> None:
    """docs/reasons.md explains nothing that the code never says, and nothing twice."""
    explained = listed()
    assert sorted(set(explained) - set(reasons())) == []
    assert sorted(explained) == sorted(set(explained))


def test_the_source_root_is_not_a_package() -> None:
    """An operator/__init__.py would stand in for Python's own `operator` wherever the checkout is on the path."""
    assert not (CHECKOUT / "operator" / "__init__.py").exists()


@pytest.mark.parametrize("flag", [[], ["-P"]], ids=["with the checkout on the path", "without"])
def test_pythons_own_operator_is_found_in_the_checkout(flag: list[str]) -> None:
    """`python -c …` in the root of the checkout imports the standard library's operator, as everything else does."""
    code = "import operator, collections; print(operator.__file__)"
    found = subprocess.run(
        [sys.executable, *flag, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=True, timeout=60
    )
    assert found.stdout.strip() == operator.__file__


def test_no_module_hides_one_of_pythons_own() -> None:
    """No top-level module or folder in the source roots is called like a module of the standard library, but the one
    that is guarded above."""
    roots = (CHECKOUT, *(source.parent for source in SOURCES))
    names = {entry.stem for root in roots for entry in root.iterdir() if entry.suffix in ("", ".py")}
    assert names & set(sys.stdlib_module_names) <= {"operator"}
