"""docs/modules.md: what real Envoys did with odd modules, and what we said of each before."""

from __future__ import annotations

from collections.abc import Mapping

from pluginrelease.core import compat, wasm
from pluginrelease.core.compat import CompatibilityState, gateway_versions
from pluginrelease.core.errors import Refused
from tests import odd_modules
from tests.odd_modules import Does, Odd

MEANT = gateway_versions.read("envoy@1.40")
CELLS = {
    Does.LOADS: "loads",
    Does.REFUSES: "refused",
    Does.DIES: "**dies**",
    Does.DIES_LATER: "**dies** at a request",
    Does.HANGS: "**hangs**",
    Does.FAILS: "503",
    Does.HANGS_LATER: "**hangs** when it is removed",
    Does.RUNS_NOWHERE: "**runs nowhere**",
    Does.NO_RUNTIME: "no V8",
}
CHAPTERS = {
    "The start section": odd_modules.START,
    "What crosses the border of a module": odd_modules.BORDER,
    "Memories, tables and segments": odd_modules.MEMORIES,
    "Parts of the language": odd_modules.LANGUAGE,
    "Limits": odd_modules.LIMITS,
    "Exports, and what callbacks do": odd_modules.EXPORTS,
    "What shows later": odd_modules.LIVES,
}
INTRODUCTION = """\
# Odd modules, and what Envoy does with them

A module may have the right ABI and import only what a gateway has, and still crash the gateway, hang it or be rejected.
This page has {count} such modules, each with a harmless variant. Each was given to real Envoys of four releases, and
before that to `pluginrelease inspect`. `make modules` repeats that in two to four minutes, and writes this page.
`make test` repeats it too, and fails if an Envoy or `inspect` behaves differently.

* *dies*: a signal ends the process. All gateway pods receive the plugin within seconds, so all of them die. pilot-agent
  then exits with 0.
* *refused*: Envoy rejects the module. A gateway that runs an earlier version keeps it, and a new pod answers 500.
* *hangs*: the main thread never returns.
* *503*: the module loads, and every request gets 503.
* *runs nowhere*: Envoy accepts the module, and no worker runs it. Requests pass without the plugin, also with
  `FAIL_CLOSE`.
* *MiB*: the memory of the process, at least, with two VMs. A gateway has one more VM for each worker.

If `inspect` says *warns*, the module is usable; [reasons.md](reasons.md) explains the reasons. If it says *usable* and
Envoy fails, the cause is in what the code does at run time, which an inspection cannot see.

`inspect` refuses a start section that *may* call the gateway, although some of these modules load. It depends on the
path that the code takes, and one path crashes the gateway.
"""
END = """\
## What is not here

An Envoy built without V8 accepts no module ("Envoy was compiled without support for it"); the wheel of 1.38.3 is such a
build. For Envoy before 1.36, the missing language features are known from V8's version, and were not tested. Higress's
own Envoy is in no package registry; where its code is stricter than stock Envoy, `inspect` follows it.

Some failures show only after a while: memory that grows with the requests, ticks. If a module fills more memory than
the gateway's limit, the gateway is killed without a line in Envoy's log; [signs.md](signs.md) says how the operator
detects that. gRPC with an empty service aborts because of the plugin's configuration, not of its code.
"""


def text(seen: Mapping[str, Mapping[str, Does]]) -> str:
    """The whole page, of what each version did with each module."""
    count = sum(map(len, CHAPTERS.values()))
    chapters = (f"## {title}\n\n{table(odds, seen)}\n" for title, odds in CHAPTERS.items())
    return "\n".join([INTRODUCTION.format(count=count), *chapters, END])


def table(odds: list[Odd], seen: Mapping[str, Mapping[str, Does]]) -> str:
    """The rows of one chapter."""
    headings = ["Module", *(f"Envoy {version}" for version in seen), "In its log", "`inspect` said"]
    rows = [[odd.what, *(cell(odd, of[odd.name]) for of in seen.values()), odd.words, said(odd)] for odd in odds]
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def cell(odd: Odd, does: Does) -> str:
    """What one version did."""
    return f"{CELLS[does]}, > {odd.mebibytes} MiB" if odd.mebibytes else CELLS[does]


def said(odd: Odd) -> str:
    """What we say of a module, without running it."""
    try:
        module = wasm.read(odd.make())
    except Refused as refused:
        return f"`{refused.reason}`"
    answer = compat.compare(module, MEANT.hosts)[0]
    if answer.state is not CompatibilityState.COMPATIBLE:
        return f"`{answer.reason}`"
    odd_things = ", ".join(f"`{warning.reason}`" for warning in compat.find_warnings(module, MEANT.hosts))
    return f"warns: {odd_things}" if odd_things else "usable"
