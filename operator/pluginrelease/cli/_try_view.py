"""Print a trial for people."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterator

from pluginrelease.cli._view import make_readable
from pluginrelease.core.rollout.probe import ProbeResponse
from pluginrelease.core.trial import result as results
from pluginrelease.core.trial.records import Answer, TrialExchange
from pluginrelease.core.trial.result import TrialResult
from pluginrelease.core.trial.verdict import Answered

MAX_LOG_LINES = 40
MAX_BODY_LINES = 40
WORDS = {Answered.PASSED: "passed", Answered.REFUSED: "refused", Answered.NOT_KNOWN: "not known"}
# what Envoy adds to every answer
PLAIN_HEADERS = frozenset({"date", "server", "x-envoy-upstream-service-time", "connection"})


def rows(found: TrialResult) -> Iterator[tuple[str, str]]:
    """Yield the result: a label and a text per row."""
    yield "ENVOY", found.envoy or "of an unknown version"
    yield "STEPS", ", ".join(f"{record.step} {record.seconds:.1f} s" for record in found.records)
    yield "MEMORY", _describe_memory(found)
    for record in found.records:
        for exchange in record.exchanges:
            yield from show_exchange(exchange)
    yield from show_log(found)
    for note in found.notes:
        yield "NOTE", note
    yield "VERDICT", f"{WORDS[found.verdict.answer]}: {found.verdict.reason}"
    yield "", found.verdict.sentence()


def show_log(found: TrialResult) -> Iterator[tuple[str, str]]:
    """Yield the plugin's own log lines; a line that is repeated comes once, with its number."""
    groups = [(line, len(list(same))) for line, same in itertools.groupby(found.log)]
    for line, times in groups[-MAX_LOG_LINES:]:
        often = f" ({times} times)" if times > 1 else ""
        yield "LOG", f"{line.level:<8} {line.text}{often}"


def _describe_memory(found: TrialResult) -> str:
    memory = found.memory
    known = {"without the plugin": memory.base, "with it at rest": memory.rest, "at most": memory.peak}
    return ", ".join(f"{value} MiB {words}" for words, value in known.items() if value is not None) or "not read"


def show_exchange(exchange: TrialExchange) -> Iterator[tuple[str, str]]:
    """Yield one request with its answers before and after the plugin."""
    asked = exchange.request
    yield "REQUEST", f"{asked.method} {asked.path}"
    for name, value in (asked.headers or {}).items():
        yield "", f"{name}: {value}"
    before, after = exchange.before, exchange.after[0] if exchange.after else None
    yield from _show_answer("before", before, None)
    yield from _show_answer("after", after, before)
    others = {_status(answer) for answer in exchange.after[1:]} - {_status(after)}
    if others:
        yield "", f"other connections: {', '.join(sorted(others))}"


def _status(answer: Answer | None) -> str:
    if answer is None:
        return "not asked"
    return str(answer.status) if isinstance(answer, ProbeResponse) else f"no answer ({answer.why})"


def _show_answer(label: str, answer: Answer | None, before: Answer | None) -> Iterator[tuple[str, str]]:
    yield f"  {label}", _status(answer)
    if not isinstance(answer, ProbeResponse):
        return
    for name, value in answer.headers:
        if name.lower() not in PLAIN_HEADERS:
            yield "", f"{name}: {value}"
    for line in _show_body(answer, before):
        yield "", line


def _show_body(answer: ProbeResponse, before: Answer | None) -> list[str]:
    """Return the body's lines; of one that differs a little from the one before, only what differs."""
    body = results.show_body(answer).splitlines()
    if isinstance(before, ProbeResponse):
        body, old = (
            [line for line in lines if "x-request-id" not in line]
            for lines in (body, results.show_body(before).splitlines())
        )
        if old == body:
            return ["(the same body)"] if body else []
        changed = [line for line in difflib.ndiff(old, body) if line.startswith(("+ ", "- "))]
        if len(changed) < len(body):
            return changed[:MAX_BODY_LINES]
    cut = body[:MAX_BODY_LINES]
    return [*cut, "…"] if len(body) > len(cut) else cut


def as_line(label: str, text: str) -> str:
    """Return one row as a line, without control characters."""
    return f"{label:<10}  {make_readable(text)}".rstrip()
