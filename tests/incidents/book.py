"""What an incident is, what came of it, and when that is right: values, nothing else.

One file of `cases` is one incident. Its docstring says what is done and what it did to real people's traffic, and its
``INCIDENT`` holds what bare Istio shows, what the release must say, and the story that is played twice.
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from tests.harness.traffic import Answer

if TYPE_CHECKING:
    from tests.incidents.run import IncidentRun

CASES = Path(__file__).parent / "cases"


class Mode(StrEnum):
    """How a plugin comes to the gateways: by ``kubectl apply`` of a WasmPlugin alone, or by a PluginRelease."""

    BARE = "bare"
    RELEASE = "release"


NOT_WRITTEN = ("Refused", "Waiting", "Retrying")
"""The phases of a release that nothing was written for."""
GONE = "Gone"
"""In place of a phase: there is no release any more."""


class Becomes(StrEnum):
    """What became of the WasmPlugin that was there before the incident, or was not."""

    UNTOUCHED = "untouched"
    RESTORED = "put back"
    REMOVED = "removed"
    WRITTEN = "written"


@dataclass(frozen=True)
class Shows:
    """What bare Istio shows: ``text`` for people. What else is given must be seen in the bare run.

    ``log``: a text in some gateway's log. ``answer``: what the gateway that was asked last answers in the end, as
    (status, header x-plugin or "-"). ``seen``: what else must be seen of the gateways.
    """

    text: str
    log: str | None = None
    answer: tuple[int, str] | None = None
    seen: Callable[[IncidentRun], bool] | None = None


@dataclass(frozen=True)
class Says:
    """What the release must say: Ready's reason and the phase; and what becomes of the WasmPlugin."""

    reason: str
    phase: str
    plugin: Becomes = Becomes.UNTOUCHED


@dataclass(frozen=True)
class Incident:
    """One incident.

    ``gateways`` is how many there are, ``elsewhere`` how many more in a second namespace, which lack the licence that
    `wasm_modules.licensed` needs.
    ``right`` are the values of the header x-plugin ("-": none) of which a 200 is a right answer. ``because`` says why
    a gateway makes it impossible to lose nothing more than with a bare apply; without it, that must hold.
    """

    shows: Shows
    says: Says
    right: frozenset[str]
    story: Callable[[IncidentRun], None]
    gateways: int = 1
    elsewhere: int = 0
    because: str = ""


@dataclass(frozen=True)
class Half:
    """One of the two runs: the wrong answers by sort, how many requests there were, and what went wrong with the run.

    ``said`` is what the release said in the end; ``seconds`` is how long the run lasted from the change on.
    """

    lost: Counter[str]
    requests: int
    seconds: float
    trouble: str = ""
    """What failed, on as many lines as it takes; the table has the first."""
    said: Says | None = None


@dataclass(frozen=True)
class IncidentRow:
    """One line of the table."""

    name: str
    shows: str
    said: str
    lost_bare: str
    lost_release: str
    wrong: str
    """Why it is wrong; empty when it is right."""
    note: str = ""

    def cells(self) -> list[str]:
        verdict = f"WRONG: {self.wrong}" if self.wrong else "right"
        return [self.name, self.shows, self.said, self.lost_bare, self.lost_release, verdict + self.note]


def harm_of(answer: Answer, right: frozenset[str]) -> str | None:
    """``failed``, ``unprotected`` or ``other plugin`` for a wrong answer, None for a right one.

    A request that got by the plugin and one that was not served are different harm, and are never weighed against
    each other.
    """
    if answer.sort != "served":
        return "failed"
    if answer.plugin in right:
        return None
    return "unprotected" if answer.plugin == "-" else "other plugin"


def losses(answers: Counter[Answer], right: frozenset[str]) -> Counter[str]:
    """The wrong answers by their harm."""
    found: Counter[str] = Counter()
    for answer, count in answers.items():
        harm = harm_of(answer, right)
        if harm is not None:
            found[harm] += count
    return found


def judge(name: str, incident: Incident, bare: Half, release: Half) -> IncidentRow:
    """Right is: both runs came to their end, the release said what it must, and nothing more was lost."""
    said = release.said
    reasons = [
        *([f"bare run: {bare.trouble.splitlines()[0]}"] if bare.trouble else []),
        *([f"release run: {release.trouble.splitlines()[0]}"] if release.trouble else []),
        *([f"wanted {told(incident.says)}"] if said != incident.says else []),
        *too_much(incident, bare, release),
    ]
    return IncidentRow(
        name,
        incident.shows.text,
        told(said) if said else "-",
        counted(bare),
        counted(release),
        "; ".join(reasons),
        f" ({incident.because})" if incident.because else "",
    )


def too_much(incident: Incident, bare: Half, release: Half) -> Iterable[str]:
    """What the release lost that a bare apply did not."""
    if incident.because:
        return
    for harm, count in release.lost.items():
        if count > bare.lost[harm]:
            yield f"{harm}: {count} with a release, {bare.lost[harm]} bare"


def told(says: Says) -> str:
    """For the table."""
    refused = says.plugin is Becomes.UNTOUCHED and says.phase in NOT_WRITTEN
    return f"{says.reason}, {says.phase}; {'refused before the write' if refused else says.plugin}"


def counted(half: Half) -> str:
    """For the table: losses, and of how many requests."""
    lost = ", ".join(f"{count} {harm}" for harm, count in sorted(half.lost.items()) if count)
    return f"{lost or '0'} of {half.requests}"


def table(rows: Sequence[Sequence[str]]) -> str:
    """The first row is the heading; columns are as wide as their widest cell."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def unrun(name: str, why: str) -> IncidentRow:
    """An incident that did not come to its end counts as wrong."""
    return IncidentRow(name, "-", "-", "-", "-", why)


def names() -> list[str]:
    """Every incident: what is in the directory, and nothing else."""
    return sorted(path.stem.replace("_", "-") for path in CASES.glob("[a-z]*.py"))


def open_at(name: str) -> Incident:
    """The incident of this name; raises whatever its file raises."""
    found = importlib.import_module(f"tests.incidents.cases.{name.replace('-', '_')}").INCIDENT
    assert isinstance(found, Incident)
    return found
