"""Render releases as text for people. This module reads nothing and prints nothing.

Messages quote gateways and registries, so control characters are removed from them.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pluginrelease import api
from pluginrelease.core import sources
from pluginrelease.core.registry import tags

HISTORY_TAIL = 5
MARKS = {
    "True": "✓",
    "False": "✗",
    "Unknown": "?",
    "Loaded": "✓",
    "Unhealthy": "✗",
    "Pending": "…",
    "NotPlaced": "✗",
    "Removing": "…",
    "Off": "-",
}
SUMMARY = ("Ready", "Reconciling", "Stalled")
NOTHING = "-"


class ViewText(StrEnum):
    """The wording of this module; tests compare reasons and named values."""

    DELETING = "It is being deleted"
    UNSEEN = "No operator has reconciled it yet. Check that one runs and watches this namespace"
    OLD = "This is about generation {seen} of the spec; the operator has not reconciled {generation} yet"
    RESTORES = "restores {revision}{done}"
    RUNS_SINCE = ", runs everywhere since {age}"
    RESTORES_ADOPTED = "restores the object as it was before adoption"
    REMOVES = "removes the plugin, because nothing ran before"
    STAYS = "not changed"
    UNRESOLVED = "in the spec, not resolved yet"
    ADOPTED = "adopted, kept as {kept}"


@dataclass(frozen=True)
class Node:
    """One line of a tree, a paragraph below it, and its children."""

    text: str
    note: str = ""
    children: tuple[Node, ...] = ()


def one_line(text: str) -> str:
    """Return the text without line breaks and control characters."""
    return make_readable(" ".join(text.split()))


def make_readable(text: str) -> str:
    """Return the text with ``?`` for each control character, otherwise unchanged."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def format_age(since: datetime | None, now: datetime) -> str:
    """Return how long ago a time was, in the largest fitting unit; ``-`` for None."""
    if since is None:
        return NOTHING
    passed = max(0, int((now - since).total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if passed >= size:
            return f"{passed // size}{unit}"
    return f"{passed}s"


def shorten(digest: str) -> str:
    """Return the first twelve hex digits of a digest."""
    return digest.removeprefix("sha256:")[:12]


# -------------------------------------------------------------------------------------------------- one release


def tree(release: api.Release, now: datetime, width: int = 100) -> str:
    """Return the whole status of one release as a tree, ``width`` characters wide where words allow it."""
    own, status = release.metadata, release.status
    head = f"{own.namespace}/{own.name}  {status.phase or 'New'}"
    branches = [
        *freshness(release),
        *readiness(status, now),
        *artifact(release),
        *rollout(status, now),
        *steps(status),
        *gateways(status, now),
        *past(status, now),
    ]
    return "\n".join([make_readable(head), *draw(branches, width)])


def freshness(release: api.Release) -> Iterator[Node]:
    """Yield a note if the status is not about the current spec and commands."""
    generation, seen = release.metadata.generation, release.status.observed_generation
    if release.metadata.deletion_timestamp:
        yield Node(ViewText.DELETING)
    if seen < 0:
        yield Node(ViewText.UNSEEN)
    elif seen != generation:
        yield Node(ViewText.OLD.format(seen=seen, generation=generation))


def readiness(status: api.Status, now: datetime) -> Iterator[Node]:
    """Yield Ready with its reason and message, and whether a pass is in progress."""
    found = {condition.type: condition for condition in status.conditions}
    ready = found.get("Ready")
    if ready is None:
        return
    also = [kind for kind in ("Reconciling", "Stalled") if kind in found and found[kind].status == "True"]
    more = f", {' and '.join(also)}" if also else ""
    yield Node(
        f"Ready: {ready.status}, {ready.reason}{more}, {format_age(ready.last_transition_time, now)}", ready.message
    )


def artifact(release: api.Release) -> Iterator[Node]:
    """Yield the reference, and its digest."""
    found, image = release.status.artifact, sources.find_image(release.spec.artifact)
    if found is None:
        yield Node(f"artifact {tags.describe_wanted(image)}", "not resolved yet")
        return
    facts = [found.layout, f"ABI {found.abi}" if found.abi else "", found.toolchain or "", f"{found.size} bytes"]
    facts.append(f"signed by {found.signer}" if found.signer else "")
    told = f"{found.digest}: {', '.join(fact for fact in facts if fact)}"
    yield Node(f"artifact {found.ref}", told)
    if not tags.is_about(found, image):
        yield Node(f"artifact {tags.describe_wanted(image)}", ViewText.UNRESOLVED)


def rollout(status: api.Status, now: datetime) -> Iterator[Node]:
    """Yield the target revision, since when, and its result."""
    known = status.rollout
    if known is None:
        return
    revision = known.failure.revision if known.failure else status.target_revision
    parts = [f"rollout of {revision or NOTHING}", f"began {format_age(known.started_at, now)} ago"]
    if known.rollback_to:
        parts.append(f"asked for by rollback-to {known.rollback_to}")
    if known.completed_at:
        parts.append(f"ran everywhere {format_age(known.completed_at, now)} ago")
    if known.failure:
        parts.append(f"failed {format_age(known.failure.at, now)} ago: {known.failure.reason}")
    yield Node(", ".join(parts), fallback(known))


def fallback(known: api.RolloutStatus) -> str:
    """Return which gateways go back to what they ran before a failed revision."""
    if known.failure is None:
        return ""
    if known.failure.held:
        return ViewText.STAYS
    return f"goes back: {', '.join(known.failure.gateways)}" if known.failure.gateways else ""


def steps(status: api.Status) -> Iterator[Node]:
    """Yield the conditions in the order of a pass."""
    found = [condition for condition in status.conditions if condition.type not in SUMMARY]
    if found:
        yield Node(
            "conditions",
            children=tuple(
                Node(f"{MARKS[condition.status]} {condition.type}: {condition.reason}") for condition in found
            ),
        )


def gateways(status: api.Status, now: datetime) -> Iterator[Node]:
    """Yield the counts, and below them a tree for each entry of spec.gateways."""
    if not status.gateways:
        return
    seen = status.summary
    failed = f", {seen.failed} failed" if seen and seen.failed else ""
    counts = f" {seen.gateways}, pods {seen.pods} loaded{failed}" if seen else ""
    yield Node(f"gateways{counts}", children=tuple(gateway(row, status, now) for row in status.gateways))


def gateway(row: api.GatewayStatus, status: api.Status, now: datetime) -> Node:
    """Return one entry with its object, its fallback, and a row for each pod in the status."""
    revision = f" {row.revision}" if row.revision else ""
    reason = f": {row.reason}" if row.reason != row.state else ""
    text = f"{MARKS.get(row.state, '?')} {row.name} {row.loaded}/{row.desired} {row.state}{revision}{reason}"
    pods = [shown for shown in status.pods if shown.gateway == row.name]
    rest = row.desired - len(pods)
    more = (Node(f"and {rest} more"),) if rest > 0 else ()
    below = (*carrier(row), *way_back(row, status, now), *(pod(shown) for shown in pods), *more)
    return Node(text, "" if row.state == "Loaded" else row.message, below)


def carrier(row: api.GatewayStatus) -> Iterator[Node]:
    """Yield the entry's object, whether it was adopted, and the fallback after a failure."""
    if row.object is None:
        return
    facts = [f"{row.object.kind} {row.object.namespace}/{row.object.name}"]
    facts += [f"stable {row.stable.revision}"] if row.stable else []
    facts += [f"watched, before it {row.watch.revision or 'nothing of this release'}"] if row.watch else []
    facts += [ViewText.ADOPTED.format(kept=row.adopted)] if row.adopted else []
    yield Node(", ".join(facts))


def way_back(row: api.GatewayStatus, status: api.Status, now: datetime) -> Iterator[Node]:
    """Yield what a rollback restores for an entry, and whether this runs."""
    known = status.rollout
    if known is None or known.failure is None or known.failure.held or row.name not in known.failure.gateways:
        return
    if row.stable is not None:
        loaded = next((fallback.loaded_at for fallback in known.fallbacks if fallback.name == row.name), None)
        done = ViewText.RUNS_SINCE.format(age=format_age(loaded, now)) if loaded else ""
        yield Node(ViewText.RESTORES.format(revision=row.stable.revision, done=done))
    elif row.adopted is not None:
        yield Node(ViewText.RESTORES_ADOPTED)
    else:
        yield Node(ViewText.REMOVES)


def pod(row: api.PodStatus) -> Node:
    """Return one gateway pod; a successful one has no message."""
    revision = f" {row.revision}" if row.revision else ""
    reason = f": {row.reason}" if row.reason != row.state else ""
    note = "" if row.state == "Loaded" else row.message
    return Node(f"{MARKS.get(row.state, '?')} {row.namespace}/{row.name} {row.state}{revision}{reason}", note)


def past(status: api.Status, now: datetime) -> Iterator[Node]:
    """Yield the newest revisions."""
    if status.history:
        shown = table(rows(status, now)[: HISTORY_TAIL + 1])
        yield Node("history", children=tuple(Node(line) for line in shown))


def draw(nodes: Sequence[Node], width: int, indent: str = "") -> Iterator[str]:
    """Yield the lines of a tree."""
    for node in nodes:
        last = node is nodes[-1]
        below = indent + ("   " if last else "│  ")
        yield indent + ("└─ " if last else "├─ ") + make_readable(node.text)
        stem = below + ("│    " if node.children else "  ")
        yield from textwrap.wrap(
            one_line(node.note),
            max(width, len(stem) + 20),
            initial_indent=stem,
            subsequent_indent=stem,
            break_long_words=False,
            break_on_hyphens=False,
        )
        yield from draw(node.children, width, below)


# ------------------------------------------------------------------------------------------------------- tables


def overview(releases: Iterable[api.Release], now: datetime) -> list[str]:
    """Return a table of releases: the phase of each, and why."""
    head = ("NAMESPACE", "NAME", "GATEWAYS", "LOADED", "PHASE", "READY", "REASON", "REVISION", "AGE")
    return table([head, *(overview_row(release, now) for release in releases)])


def overview_row(release: api.Release, now: datetime) -> tuple[str, ...]:
    """Return one row; ``*`` after the phase means that the spec is newer than the status."""
    own, status = release.metadata, release.status
    ready = status.condition(api.ConditionType.READY)
    stale = "" if status.observed_generation == own.generation else "*"
    return (
        own.namespace,
        own.name,
        status.summary.gateways if status.summary else NOTHING,
        status.summary.pods if status.summary else NOTHING,
        f"{status.phase or 'New'}{stale}",
        ready.status if ready else NOTHING,
        ready.reason if ready else NOTHING,
        status.target_revision or NOTHING,
        format_age(own.creation_timestamp, now),
    )


def history(status: api.Status, now: datetime) -> list[str]:
    """Return all revisions of the history as a table; no lines if there are none."""
    return table(rows(status, now)) if status.history else []


def rows(status: api.Status, now: datetime) -> list[tuple[str, ...]]:
    """Return rows, newest first; ``*`` marks the stable revision, ``>`` the target."""
    head = ("", "NUMBER", "REVISION", "STATE", "REASON", "REF", "DIGEST", "FIRST", "LAST")
    return [
        head,
        *(
            (
                marks(entry.revision, status),
                str(entry.number),
                entry.revision,
                str(entry.state),
                entry.reason or NOTHING,
                entry.ref,
                shorten(entry.digest),
                format_age(entry.first_deployed, now),
                format_age(entry.last_deployed, now),
            )
            for entry in status.history
        ),
    ]


def marks(revision: str, status: api.Status) -> str:
    """Return the marks of a revision. ``*``: last seen running everywhere; ``>``: target."""
    return ("*" if revision == status.stable_revision else " ") + (">" if revision == status.target_revision else " ")


def table(lines: Sequence[Sequence[str]]) -> list[str]:
    """Return lines with columns as wide as their widest cell."""
    clean = [[make_readable(cell) for cell in line] for line in lines]
    widths = [max(len(line[column]) for line in clean) for column in range(len(clean[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in clean]
