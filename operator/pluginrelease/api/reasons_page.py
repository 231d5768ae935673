"""``docs/reasons.md``: every reason with what it means and what to do, made from `api.explanations`."""

from __future__ import annotations

from pluginrelease.api.conditions import ConditionType
from pluginrelease.api.explanations import SECTIONS, Elsewhere, Explanation, Section
from pluginrelease.api.reasons import Reason

INTRO = """\
<!-- Written by `make crds` from operator/pluginrelease/api/explanations; edit that. -->
# Reasons

Every condition, event, log line and error of the command line carries one of these words. The message beside it says
what was found this time, and then what to do. Scripts may match the words: they change only with a new API version.

**Seen in** names the condition, or the other place, that has the reason. The reason of the step that a release waits
for, or ended with, is `Ready`'s, too.

**Then** says what the operator does by itself:
*stays* until the spec, or something that the message names, changes;
*waits* and looks again, because the thing can still come;
*retries* with back-off (1, 2, 4 … 60 s), because the world did not answer;
*goes on*, because nothing is wrong.
What each of these looks like in `status` is in [states.md](states.md).
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
