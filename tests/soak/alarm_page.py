"""docs/false-alarms.md: what was put back although it was good, of all changes that were recorded."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.soak.disturbances import Disturbance, Moment
from tests.soak.false_alarms import DELAYS, AlarmRow

SEED = 17
RECORD = Path(__file__).with_name("false_alarms.json")
PAGE = Path(__file__).parents[2] / "docs" / "false-alarms.md"
HEADER = ("What happened", *Moment, "put back by [signs.md](signs.md)", "put back wrongly", "not proven")
INTRODUCTION = """\
# False alarms

An operator that rolls back what crashes must not roll back what is good. `make false-alarms` makes changes to good
revisions. This page counts {count}: {first} first releases, and updates of the image or the configuration. The
gateways are real ones. One disturbance comes to them with each change: before it, up to {loading:.1f} s after the
write, or up to {watched:.0f} s after Ready. The seed {seed} decides which and when. The page is made from
`tests/soak/false_alarms.json`.

Each cell is *put back / changes*.

"""
END = """
**{blamed} of {count} were put back by the table of signs, and {wrong} wrongly.** {unproven} run and were not proven.

* A pod that is deleted, evicted or replaced is never a sign: its agent ends because it was asked to. The new pod was
  not there before the write.
* One SIGKILL is no sign, as a user or another program may have sent it. Two ends are a sign, in one pod or in two.
* A SIGSEGV and `OOMKilled` are signs, from the write until `rollout.watchFor` is over. If Envoy dies of something else
  in this time, the operator rolls a good revision back. It cannot distinguish the two: not every build of Envoy names
  the place of a fault, and the kernel does not say who took the memory. A lasting outage is worse than a good
  revision that must be tried again: `pluginrelease retry NAME`.
* *Not proven* is `NoPositiveSign`, Unknown: a pod was starting at the moment of the write. Its Envoy loaded the
  revision before and then this one, and the operator could not raise its log level in between. It refuses nothing, and
  nothing is put back. Its next start, or the next change, proves it.
* What happened before the write does not count. The gateway was ill then, or its restart was counted already.

On a real node, a kubelet's own eviction, a sandbox that is made again and a node that is not ready are in
[incidents.md](incidents.md).
"""


class Recorder:
    """Keeps what came of each change, in place of what is known of the same one; writes the page."""

    def __init__(self, seed: int) -> None:
        self._seed, self._turn = seed, threading.Lock()
        is_known = RECORD.exists() and recorded_seed() == seed
        self._known = {row.number: row for row in recorded()} if is_known else {}

    def keep(self, row: AlarmRow) -> None:
        """From any thread."""
        with self._turn:
            self._known[row.number] = row
            lines = ",\n".join("    " + json.dumps(stored(self._known[number])) for number in sorted(self._known))
            RECORD.write_text(f'{{\n  "seed": {self._seed},\n  "rows": [\n{lines}\n  ]\n}}\n', encoding="utf-8")
            PAGE.write_text(render(), encoding="utf-8")


def stored(row: AlarmRow) -> dict[str, object]:
    """For the record."""
    found: dict[str, object] = {
        "number": row.number,
        "first": row.is_first,
        "what": row.what.name,
        "when": row.when.name,
    }
    return {**found, **{name: value for name in ("put_back", "unproven", "trouble") if (value := getattr(row, name))}}


def recorded_seed() -> int:
    """Of the changes in the record."""
    return int(json.loads(RECORD.read_text(encoding="utf-8"))["seed"])


def recorded() -> list[AlarmRow]:
    """Every change in the record, by its number."""
    return [
        AlarmRow(
            row["number"],
            row["first"],
            Disturbance[row["what"]],
            Moment[row["when"]],
            row.get("put_back", ""),
            row.get("unproven", False),
            row.get("trouble", ""),
        )
        for row in json.loads(RECORD.read_text(encoding="utf-8"))["rows"]
    ]


def render() -> str:
    """The page as it has to be."""
    rows = recorded()
    first = sum(row.is_first for row in rows)
    times = {"loading": DELAYS[Moment.LOADING][1], "watched": DELAYS[Moment.WATCHED][1]}
    begin = INTRODUCTION.format(count=len(rows), first=first, seed=recorded_seed(), **times)
    blamed, wrong = count_blamed(rows), count_wrong(rows)
    return (
        begin
        + "\n".join(table(rows))
        + "\n"
        + END.format(count=len(rows), blamed=blamed, wrong=wrong, unproven=count_unproven(rows))
    )


def table(rows: Sequence[AlarmRow]) -> Iterator[str]:
    """As Markdown, a line for each kind of disturbance."""
    yield f"| {' | '.join(HEADER)} |"
    yield "|" + "---|" * len(HEADER)
    for what in Disturbance:
        of_kind = [row for row in rows if row.what is what]
        cells = [cell([row for row in of_kind if row.when is when]) for when in Moment]
        counts = (count_blamed(of_kind), count_wrong(of_kind), count_unproven(of_kind))
        yield f"| {' | '.join([what, *cells, *map(str, counts)])} |"


def cell(rows: Sequence[AlarmRow]) -> str:
    """How many were put back of how many."""
    return f"{sum(bool(row.put_back) for row in rows)} / {len(rows)}" if rows else "–"


def count_blamed(rows: Sequence[AlarmRow]) -> int:
    """How many were put back as the signs say."""
    return sum(bool(row.put_back) and row.is_blamed for row in rows)


def count_unproven(rows: Sequence[AlarmRow]) -> int:
    """How many run, and some gateway has not shown it."""
    return sum(row.unproven and not row.put_back for row in rows)


def count_wrong(rows: Sequence[AlarmRow]) -> int:
    """How many were put back without a sign, or came to no end."""
    return sum(row.is_wrong for row in rows)
