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
    Does.HANGS_LATER: "**hangs** when it is taken off",
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

A module may have the right ABI and import only what a gateway has, and still kill the gateway, hang it or be refused
by it. These are {count} such modules, and their harmless twins. Each was given to real Envoys of four releases, and
before that to `pluginrelease inspect`. `make modules` does it again, in two to four minutes, and writes this page;
`make test` does it, too, and fails where an Envoy or `inspect` does otherwise.

*dies*: the process ends by a signal. In a gateway that is every pod that has the plugin, as all get it within
seconds; pilot-agent then ends with exit code 0. *refused*: Envoy does not take it; a gateway that runs an earlier
version goes on with that one, and a new one answers 500. *hangs*: the main thread never comes back. *503*: it loads,
and answers 503 to everyone. *runs nowhere*: Envoy accepts it and no worker runs it; requests pass without the plugin,
`FAIL_CLOSE` or not. *MiB*: what the process had at least, with two VMs; a gateway has one more for each worker.

Where `inspect` says *warns*, the module is usable; the words are explained in [reasons.md](reasons.md). Where it says
*usable* and Envoy does otherwise, it is what the code does, which nothing that can be read shows.

A start section that *may* call the gateway is refused, though some such modules load: it depends on the way that the
code takes, and one way kills the gateway.
"""
END = """\
## What is not here

An Envoy built without V8 takes no module at all ("Envoy was compiled without support for it"): the wheel of 1.38.3 is
such a build. V8 before Envoy 1.36: what of the language it lacks is known by its version and was not tried. Higress's
own Envoy, which is in no package registry: it is taken for stricter than stock Envoy where its code says so.

What only shows when the plugin runs for a while: memory that grows with the requests, ticks. A gateway whose limit is
below what a module fills is killed without a line in Envoy's log; [signs.md](signs.md) has how that is told. And
gRPC with an empty service aborts by what the plugin is configured with: its code is fine.
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
    odd_things = ", ".join(f"`{one.reason}`" for one in compat.find_warnings(module, MEANT.hosts))
    return f"warns: {odd_things}" if odd_things else "usable"
