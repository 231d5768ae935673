"""``docs/reasons.md``: every reason with what it means and what to do, made from `api.explanations`."""

from __future__ import annotations

from pluginrelease.api.conditions import ConditionType
from pluginrelease.api.explanations import SECTIONS, Elsewhere, Explanation, Section
from pluginrelease.api.reasons import Reason

INTRO = """\
<!-- Written by `make crds` from operator/pluginrelease/api/explanations; edit that. -->
# Reasons

Every condition, event, log line and error of the command line has one of these reasons. Its message says what was
found, and then what to do. Scripts may match reasons: they change only with a new API version.

**Seen in** names the conditions and other places with this reason. `Ready` repeats the reason of the step that the
release waits for, or that failed.

**Then** says what the operator does next:

* *stays*: it changes nothing until the spec changes, or something that the message names;
* *waits*: it checks again, because what is missing may still be created;
* *retries*: it tries again after 1, 2, 4 … 60 s, because another system did not answer;
* *continues*: it continues with the release; nothing failed, but the message may have a warning;
* *the command ends*: only the command line has this reason.

[states.md](states.md) shows what each of these looks like in `status`.
"""


def render() -> str:
    """Return the page."""
    return "\n".join([INTRO, *map(render_section, SECTIONS)])


def render_section(section: Section) -> str:
    """Return one heading, and the table below it."""
    head = [f"## {section.title}", "", *([section.intro, ""] if section.intro else [])]
    table = ["| Reason | Seen in | Then | What it means | What to do |", "|---|---|---|---|---|"]
    rows = [render_row(reason, explained, section) for reason, explained in section.rows.items()]
    return "\n".join([*head, *table, *rows, ""])


def render_row(reason: Reason, explained: Explanation, section: Section) -> str:
    """Return one row of a table."""
    seen_in = ", ".join(map(name_place, explained.where or section.where))
    return f"| `{reason}` | {seen_in} | {explained.then} | {explained.meaning} | {explained.remedy} |"


def name_place(place: ConditionType | Elsewhere) -> str:
    """Return a condition's name as code, and any other place in words."""
    return f"`{place}`" if isinstance(place, ConditionType) else place.value
