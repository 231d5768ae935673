"""Sightings → what may be said about a release: Loaded, Pending, Unhealthy or Unknown, each with a reason and evidence.

docs/signs.md has the table of signs and the list of reasons. In short: a pod is Loaded when every mandatory sign holds
and at least one positive sign was seen. That nothing bad was seen is no sign: Envoy shows a refused configuration as
current, acknowledges the same refused bytes when they come again, and then says nothing more.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from pluginrelease.core.gateway import outage
from pluginrelease.core.gateway.identity import DesiredPlugin, Incarnation
from pluginrelease.core.gateway.logs import Crash, LogEvent, LogKind, Missing
from pluginrelease.core.gateway.observations import (
    STAND_INS,
    Baseline,
    ExtensionConfig,
    FilterKind,
    PodObservation,
    PodRef,
    incarnation,
)
from pluginrelease.core.gateway.outage import Life, Neighbour, Silence

REFUSED_BY_WORKERS = "PluginRefusedByWorkers"
MAX_NAMES = 3
# an HTTP Date has whole seconds, so a gateway's clock is known to about that
CLOCK_TOLERANCE = timedelta(seconds=2)
# Envoy keeps one VM per worker, one on the main thread and the base it clones them from; a new file costs a canary too
VMS_BESIDE_WORKERS = 2
VMS_MADE_BESIDE_WORKERS = 3
NAMED_STATS_SINCE = (1, 33)
# with FAIL_RELOAD Envoy makes a new VM at the first request after about a second: this long without another crash
CRASH_QUIET = timedelta(seconds=60)
SAME_UPDATE = timedelta(seconds=1)
# Istio's agent fetches again only when the control plane sends the plugin anew (pkg/wasm/convert.go)
FETCH_AGAIN = (
    "Once the registry gives the image out again, replace the pod or change the release: "
    "the gateway does not soon try again by itself."
)
STAYS_DOWN = "The gateway does not start it again: replace the pod, or change the release."
# its own Envoy's, source/extensions/filters/http/wasm/wasm_filter.h
HIGRESS_AGAIN = "The gateway starts it again with the next requests; a minute without a crash is awaited."
CHECK_CONTROL_PLANE = (
    "Check that the control plane runs (istiod; with Higress its controller too, whose log names what it does not take)"
)
NOT_REPLACED = (
    "Higress's controller did not find one of the Secrets or keys, and its log says which. Put it there: the operator "
    "makes Higress look again."
)
WHY_NOT_READY = "whether it would run the plugin cannot be told. `kubectl describe pod` says what it lacks."


class State(StrEnum):
    LOADED = "Loaded"
    PENDING = "Pending"
    UNHEALTHY = "Unhealthy"
    UNKNOWN = "Unknown"


_WORST_FIRST = (State.UNHEALTHY, State.UNKNOWN, State.PENDING, State.LOADED)
# a pod that could not be read keeps what was proved about it before
_NOT_ASKED = ("PodUnreachable", "PodNotReady")
_NOT_SEEN = frozenset(_NOT_ASKED) | outage.REASONS
_UNDELIVERED = ("AwaitingConfig", "ConfigNotDelivered")
_CRASHED = ("PluginCrashed", "VMCrashed")
# what Envoy logs about a configuration that it has tried
_WORD = (LogKind.LOADED, LogKind.REFUSED_BY_WORKERS, LogKind.REJECTED, LogKind.LISTENER_REJECTED)


@dataclass(frozen=True)
class PodVerdict:
    """``evidence``: what was seen, the gateway's own lines among it."""

    pod: PodRef
    state: State
    reason: str
    message: str
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """``pods``: one row per pod that is not being deleted, failures first; ``verified`` and ``silent`` are for the next
    look."""

    state: State
    reason: str
    message: str
    pods: tuple[PodVerdict, ...] = ()
    verified: frozenset[Incarnation] = frozenset()
    silent: tuple[Silence, ...] = ()


@dataclass(frozen=True)
class _Case:
    """All that is known when one pod is judged."""

    wanted: DesiredPlugin
    sighting: PodObservation
    write_at: datetime
    baseline: Baseline | None
    known: frozenset[Incarnation]
    verified: bool
    late: bool
    life: Life

    def row(self, state: State, reason: str, message: str, *evidence: str) -> PodVerdict:
        return PodVerdict(self.sighting.pod, state, reason, message, evidence)

    def waiting(self, reason: str, message: str, *, then: tuple[State, str], hint: str = "") -> PodVerdict:
        """Pending until the deadline, and then what the silence means."""
        if not self.late:
            return self.row(State.PENDING, reason, message)
        return self.row(*then, f"{message} {hint}".strip())

    def since_write(self, moment: datetime | None) -> bool:
        """Whether something at this moment of the gateway's clock can be about this write."""
        return moment is None or moment - self.sighting.skew >= self.write_at - CLOCK_TOLERANCE


def judge(
    wanted: DesiredPlugin,
    sightings: Sequence[PodObservation],
    *,
    write_at: datetime,
    baselines: Collection[Baseline] = (),
    verified: Collection[Incarnation] = (),
    load_timeout: timedelta,
    settled: bool = False,
    silent: Collection[Silence] = (),
    neighbours: Collection[Neighbour] = (),
    looked_for: str = "",
    hint: str = "",
) -> Verdict:
    """What the sightings of all selected pods say about the wanted revision, written at ``write_at``.

    ``baselines`` are of before the write; ``verified`` the Incarnations that were Loaded with this very revision. Each
    pod has ``load_timeout`` from the write on, or from when it last became ready or ceased to be, if that was later.
    ``settled``: the revision was seen running everywhere before, so that a pod that comes up only joins the others.
    ``silent``: pods that did not answer at the look before. ``neighbours``: releases that wrote to some of the pods.
    ``looked_for``: by what gateway pods are known, and ``hint`` what to do where there are none.
    """
    seen = [sighting for sighting in sightings if not sighting.pod.deleting]
    if not seen:
        by = f" (looked for: {looked_for})" if looked_for else ""
        message = f"No gateway pod is there to load the plugin{by}. It is judged when one comes. {hint}"
        return Verdict(State.PENDING, "NoGatewayPods", message.rstrip())
    lives = [_life(one, write_at, baselines, silent, settled=settled) for one in seen]
    fallen = sum(outage.ends(life) > 0 for life in lives)
    before = {one.incarnation: one for one in baselines}
    known = frozenset(verified)
    rows = []
    proved = set()
    for life in lives:
        sighting, run = life.sighting, incarnation(life.sighting)
        late = sighting.at > max(write_at, sighting.pod.turned_at or write_at) + load_timeout
        case = _Case(wanted, sighting, write_at, before.get(run) if run else None, known, run in known, late, life)
        row = _down_since(case, fallen, load_timeout, neighbours) or _pod(case)
        rows.append(row)
        proved |= _proved(case, row, run)
    rows.sort(key=_rank)
    silences = tuple(Silence(life.sighting.pod.uid, life.silent_since) for life in lives if life.silent_since)
    return replace(_together(rows, frozenset(proved), settled=settled), silent=silences)


def _rank(row: PodVerdict) -> tuple[int, bool, str, str]:
    """The worst first, and of the unhealthy those that are down: they are put back whatever else is said."""
    return _WORST_FIRST.index(row.state), row.reason not in outage.REASONS, row.pod.namespace, row.pod.name


def _life(
    sighting: PodObservation,
    write_at: datetime,
    baselines: Collection[Baseline],
    silent: Collection[Silence],
    *,
    settled: bool,
) -> Life:
    uid = sighting.pod.uid
    well = next((one for one in baselines if one.incarnation.uid == uid and one.restarts is not None), None)
    began = sighting.at - sighting.silent if sighting.silent is not None else None
    known = next((one.since for one in silent if one.uid == uid), began)
    return Life(sighting, write_at, well, settled, known if began else None)


def has_crashed(sightings: Collection[PodObservation], write_at: datetime, baselines: Collection[Baseline]) -> bool:
    """Whether a gateway that was well before the write at ``write_at`` has crashed since."""
    lives = [_life(one, write_at, baselines, (), settled=False) for one in sightings if not one.pod.deleting]
    fallen = sum(outage.ends(life) > 0 for life in lives)
    return any(outage.crashed(life, fallen) for life in lives)


def _proved(case: _Case, row: PodVerdict, run: Incarnation | None) -> set[Incarnation]:
    """What holds at the next look. A plugin that the gateway starts again by itself need not be proved anew; one that
    stays down does, so that its pod's log is read from the write on until it is mended.
    """
    if row.reason in _NOT_SEEN:
        return {one for one in case.known if one.uid == row.pod.uid}
    if row.reason in _CRASHED and _starts_again(case) and case.verified:
        return {run} if run else set()
    return {run} if run and row.state is State.LOADED else set()


def _together(rows: Sequence[PodVerdict], proved: frozenset[Incarnation], *, settled: bool) -> Verdict:
    worst = rows[0]
    loaded = sum(row.state is State.LOADED for row in rows)
    coming = [row.pod.name for row in rows if row.state is State.PENDING]
    if loaded == len(rows):
        pods = "The gateway pod runs" if loaded == 1 else f"All {loaded} gateway pods run"
        return Verdict(State.LOADED, "Loaded", f"{pods} the plugin.", tuple(rows), proved)
    if settled and loaded and loaded + len(coming) == len(rows):
        message = f"{_counted_pods(loaded)} the plugin; {_coming_up(coming)}."
        return Verdict(State.LOADED, "Loaded", message, tuple(rows), proved)
    message = f"{loaded} of {len(rows)} gateway pods run the plugin; {worst.pod.name}: {worst.message}"
    return Verdict(worst.state, worst.reason, message, tuple(rows), proved)


def _counted_pods(loaded: int) -> str:
    return "1 gateway pod runs" if loaded == 1 else f"{loaded} gateway pods run"


def _coming_up(names: Sequence[str]) -> str:
    shown = ", ".join(names[:MAX_NAMES]) + (", …" if len(names) > MAX_NAMES else "")
    return f"1 is coming up: {shown}" if len(names) == 1 else f"{len(names)} are coming up: {shown}"


def nothing_arrived(verdict: Verdict) -> bool:
    """Whether no gateway that could be asked has what is wanted, and at least one still waits for it."""
    asked = [row.reason for row in verdict.pods if row.reason not in _NOT_ASKED]
    return bool(asked) and all(reason in _UNDELIVERED for reason in asked)


def stuck(verdict: Verdict, unreadable: Sequence[str]) -> Verdict:
    """What is said instead where the control plane reads no object at all: neither the revision nor the gateways are to
    blame, and what would be put back would arrive no sooner. So it is held."""
    more = f" and {len(unreadable) - MAX_NAMES} more" if len(unreadable) > MAX_NAMES else ""
    message = (
        f"Nothing arrives at any gateway: the control plane can read no WasmPlugin as long as it cannot read "
        f"{', '.join(unreadable[:MAX_NAMES])}{more}. Correct or delete what is named there. The operator waits, and "
        "puts nothing back, as that would not arrive either."
    )
    rows = tuple(PodVerdict(row.pod, State.UNKNOWN, "ControlPlaneStuck", message) for row in verdict.pods)
    return Verdict(State.UNKNOWN, "ControlPlaneStuck", message, rows, verdict.verified)


# ------------------------------------------------------------------------------------------------------------ one pod


def _pod(case: _Case) -> PodVerdict:
    """The first of these that has something to say."""
    return (
        _unseen(case)
        or _strange(case)
        or _stand_in(case)
        or _undelivered(case)
        or _refused(case)
        or _unattached(case)
        or _crashed(case)
        or _missing(case)
        or _proof(case)
    )


def _down_since(
    case: _Case, fallen: int, load_timeout: timedelta, neighbours: Collection[Neighbour]
) -> PodVerdict | None:
    """The gateway crashed, or hangs, since the write. Of two releases that wrote to it the later one is blamed."""
    uid = case.sighting.pod.uid
    answered = case.life.well is not None or any(one.uid == uid for one in case.known)
    down = outage.crashed(case.life, fallen) or (outage.unresponsive(case.life, load_timeout) if answered else None)
    if down is None:
        return None
    theirs = outage.to_blame_first(down, uid, case.write_at, neighbours)
    if theirs is None:
        return case.row(State.UNHEALTHY, down.reason, down.message, *down.lines)
    hint = f"PluginRelease {theirs.name} wrote to this gateway later, so this one is not blamed for it yet."
    return case.row(State.UNKNOWN, down.reason, f"{down.message} {hint}", *down.lines)


def _unseen(case: _Case) -> PodVerdict | None:
    sighting = case.sighting
    if not sighting.pod.ready:
        detail = f" ({sighting.unreachable})" if sighting.unreachable else ""
        lines = [_told(event) for event in sighting.log.events[-1:]]
        if case.late:
            return case.row(State.UNKNOWN, "PodNotReady", f"The pod is not ready{detail}: {WHY_NOT_READY}", *lines)
        return case.row(State.PENDING, "PodNotReady", f"The pod is not ready yet{detail}.", *lines)
    if sighting.unreachable:
        message = f"The gateway could not be asked: {sighting.unreachable.rstrip('.')}."
        return case.waiting("PodUnreachable", message, then=(State.UNKNOWN, "PodUnreachable"))
    return None


def _strange(case: _Case) -> PodVerdict | None:
    """What is not understood is not healthy."""
    strange = list(case.sighting.unknown)
    for entry in case.sighting.entries:
        if entry.kind is FilterKind.OTHER:
            strange.append(f"the filter {entry.name} is a {entry.type_url or 'nothing'}")
        elif entry.kind is FilterKind.WASM and entry.digest_hex is None:
            strange.append(f"the code of {entry.name} is not a file named by a digest")
    if not strange:
        return None
    message = f"The gateway answered in a way that this version does not understand: {'; '.join(strange)}."
    return case.row(State.UNKNOWN, "UnknownShape", message)


def _stand_in(case: _Case) -> PodVerdict | None:
    """An RBAC filter in the plugin's place acts on every request, so it is told at once unless it is an old one."""
    standing = [entry for entry in case.sighting.entries if entry.kind in STAND_INS]
    if not standing:
        return None
    failed = case.sighting.log.newest(LogKind.FETCH_FAILED)
    current = any(case.since_write(entry.last_updated) for entry in standing) or failed is not None
    if not current and not case.late:
        message = "A stand-in for an earlier revision, which could not be fetched, is still in the plugin's place."
        return case.row(State.PENDING, "AwaitingConfig", message)
    cause = f" It says: {_told(failed)}." if failed else ""
    cause = f"{cause} {FETCH_AGAIN}"
    if any(entry.kind is FilterKind.RBAC_ALLOW for entry in standing):
        message = f"The gateway could not fetch the plugin; FAIL_OPEN lets every request pass without it.{cause}"
        return case.row(State.UNHEALTHY, "RunningUnprotected", message, *_lines(failed))
    message = f"The gateway could not fetch the plugin and answers 403 to every request.{cause}"
    return case.row(State.UNHEALTHY, "FetchFailed", message, *_lines(failed))


def _undelivered(case: _Case) -> PodVerdict | None:
    """The wanted configuration is not what Envoy received last."""
    entries = case.sighting.entries
    stale = [entry for entry in entries if not _delivered(entry, case.wanted)]
    if entries and not stale:
        return None
    newest = case.sighting.log.newest()
    if newest and newest.kind is LogKind.FETCH_FAILED:
        kept = "keeps what it had" if entries else "runs without it"
        message = f"The gateway could not fetch the plugin and {kept}. It says: {_told(newest)}. {FETCH_AGAIN}"
        return case.row(State.UNHEALTHY, "FetchFailed", message, *_lines(newest))
    if not entries:
        return _absent(case)
    return _old(case, stale[0])


def _delivered(entry: ExtensionConfig, wanted: DesiredPlugin) -> bool:
    return entry.digest_hex == wanted.digest_hex and wanted.is_given(entry.config, entry.env)


def _absent(case: _Case) -> PodVerdict:
    if case.sighting.referenced is None:
        return _no_listener(case)
    blocked = [error.details for error in case.sighting.other_listener_errors[:1]]
    if blocked:
        return case.waiting(
            "AwaitingConfig",
            f"The gateway has not received the plugin: it refuses its listeners' updates. It says: {blocked[0]}.",
            then=(State.UNHEALTHY, "ConfigNotDelivered"),
            hint="Mend or delete what is named there; the gateway takes this one with the next change that it is sent.",
        )
    return case.waiting(
        "AwaitingConfig",
        "The gateway has not received the plugin yet.",
        then=(State.UNHEALTHY, "ConfigNotDelivered"),
        hint=f"{CHECK_CONTROL_PLANE}, and that the plugin's selector, phase and match reach this pod.",
    )


def _old(case: _Case, entry: ExtensionConfig) -> PodVerdict:
    if entry.digest_hex == case.wanted.digest_hex:
        if replace(case.wanted, replaces=False).is_given(entry.config, entry.env):
            return case.waiting(
                "PlaceholderNotReplaced",
                "The gateway was given the placeholders ${secret…} as text.",
                then=(State.UNHEALTHY, "PlaceholderNotReplaced"),
                hint=NOT_REPLACED,
            )
        return case.waiting(
            "AwaitingConfig",
            "The gateway has the wanted code with another configuration.",
            then=(State.UNHEALTHY, "ConfigMismatch"),
            hint="Something else writes this WasmPlugin's pluginConfig, or the control plane changes it.",
        )
    return case.waiting(
        "AwaitingConfig",
        f"The gateway still has sha256:{(entry.digest_hex or '')[:12]} and not sha256:{case.wanted.digest_hex[:12]}.",
        then=(State.UNHEALTHY, "ConfigNotDelivered"),
        hint=f"{CHECK_CONTROL_PLANE}, and that the gateway is connected to it.",
    )


def _refused(case: _Case) -> PodVerdict | None:
    """Envoy has the wanted configuration and would not run it: what ran before goes on running."""
    received = max((entry.last_updated for entry in case.sighting.entries if entry.last_updated), default=None)
    event = case.sighting.log.newest(*_WORD)
    if event and event.kind is not LogKind.LOADED and _not_before(event.at, received):
        return _refusal(case, event)
    loaded = event.at if event and event.kind is LogKind.LOADED and _not_before(event.at, received) else None
    for error in case.sighting.listener_errors:
        if _outlives(case, error.attempted, received, loaded):
            message = f"The gateway refuses its listeners' updates because of this plugin: {error.details}"
            return case.row(State.UNHEALTHY, "ListenerRejected", message, error.details)
    return None


def _outlives(case: _Case, attempted: datetime | None, received: datetime | None, loaded: datetime | None) -> bool:
    """Whether a refused listener update is about the configuration that is there now.

    A control plane sends listeners before plugins, so the listener that comes with a mended plugin is refused for the
    plugin of before, within the same millisecond, and stays refused until something else changes it.
    """
    if attempted is None or received is None:
        return True
    if loaded is not None:
        return attempted > loaded
    return attempted > received if case.verified else attempted >= received


def _refusal(case: _Case, event: LogEvent) -> PodVerdict:
    if event.kind is LogKind.REFUSED_BY_WORKERS:
        return _on_no_worker(case, *_lines(event))
    if event.kind is LogKind.LISTENER_REJECTED:
        message = f"The gateway refuses its listeners' updates because of this plugin. It says: {_told(event)}"
        return case.row(State.UNHEALTHY, "ListenerRejected", message, *_lines(event))
    effect = "the gateway answers 500 to every request" if _bare(case) else "what ran before goes on running"
    message = f"Envoy refused the plugin; {effect}. It says: {_told(event)}"
    return case.row(State.UNHEALTHY, "PluginRejected", message, *_lines(event))


def _bare(case: _Case) -> bool:
    """Whether this Envoy runs no earlier version of the plugin: its listener then has a gap in the filter's place."""
    before = case.baseline
    if _fresh(case) or before is None:
        return _fresh(case)
    never_created = before.named is False and _release(case.sighting) >= NAMED_STATS_SINCE
    return before.digest_hex is None or never_created


def _unattached(case: _Case) -> PodVerdict | None:
    if case.sighting.warming:
        return case.waiting(
            "AwaitingListener",
            f"The listener {case.sighting.warming[0]} is still warming.",
            then=(State.UNHEALTHY, "ListenerStuck"),
            hint="Its last update serves nothing yet; `/init_dump` of the gateway's admin port says what it waits for.",
        )
    if case.sighting.referenced is None:
        return _no_listener(case)
    if not case.sighting.referenced:
        return case.waiting(
            "AwaitingListener",
            "The gateway has the plugin, and none of its listeners uses it.",
            then=(State.UNHEALTHY, "NotReferenced"),
            hint="Check the plugin's match and that no listener update is refused.",
        )
    return None


def _no_listener(case: _Case) -> PodVerdict:
    return case.waiting(
        "NoHttpListener",
        "The gateway has no HTTP listener, so nothing asks for the plugin.",
        then=(State.UNKNOWN, "NoHttpListener"),
        hint="Give it a Gateway with an HTTP server.",
    )


# ------------------------------------------------------------------------------------------------------------ crashes


def _crashed(case: _Case) -> PodVerdict | None:
    """The plugin has trapped since Envoy began to run it. A VM that trapped stays dead, and nothing but a line in the
    log tells: not the count of VMs, nor any other number that Envoy keeps.
    """
    if case.sighting.stats.crashed is not None:
        return _counted_crashes(case)
    crashes = [crash for crash in case.sighting.log.crashes if _counts(case, crash)]
    ours = [crash for crash in crashes if _is_ours(case, crash)]
    untold = [crash for crash in crashes if not crash.plugin]
    if ours:
        return _down(case, len({crash.thread for crash in ours}), [crash.line for crash in ours])
    if untold:
        message = (
            f"A plugin of this gateway crashed, and Envoy does not tell which one. It says: {untold[-1].line}. "
            "Replacing the pod starts them all anew; a probe would tell whether this one runs."
        )
        return case.row(State.UNKNOWN, "VMCrashed", message, *(crash.line for crash in untold))
    return None


def _counted_crashes(case: _Case) -> PodVerdict | None:
    """Higress counts by the plugin's name, and starts it again by itself with a next request: how many are down now, in
    how many workers it never came up, and how often it went down since the write. When it last did, the log tells.
    """
    stats = case.sighting.stats
    if stats.unstarted:
        return _unstarted(case, stats.unstarted)
    if stats.crashed:
        return _down(case, stats.crashed, (), again=HIGRESS_AGAIN)
    before = case.baseline.crashes or 0 if case.baseline else 0
    lately = [crash for crash in case.sighting.log.crashes if _is_late(case, crash)]
    if (stats.crashes or 0) <= before or not lately:
        return None
    times = (stats.crashes or 0) - before
    message = f"The plugin crashed {times} times since the write, and requests got 503 meanwhile. {HIGRESS_AGAIN}"
    return case.row(State.UNHEALTHY, "PluginCrashed", message, *(crash.line for crash in lately))


def _unstarted(case: _Case, workers: int) -> PodVerdict:
    """In some workers it never came up: with FAIL_OPEN they serve without it (``worker_fail_open_skip_total``)."""
    said = [case.sighting.unstarted] if case.sighting.unstarted else []
    quoted = f" It says: {said[0]}." if said else ""
    message = f"The plugin did not start in {workers} of {case.sighting.concurrency or '?'} workers"
    if any(entry.fail == "FAIL_OPEN" for entry in case.sighting.entries):
        message = f"{message}, which let every request pass without it.{quoted}"
        return case.row(State.UNHEALTHY, "RunningUnprotected", message, *said)
    return case.row(State.UNHEALTHY, "PluginCrashed", f"{message}.{quoted}", *said)


def _is_late(case: _Case, crash: Crash) -> bool:
    """Whether no quiet minute has passed since."""
    return crash.at is None or case.sighting.at + case.sighting.skew - crash.at <= CRASH_QUIET


def _counts(case: _Case, crash: Crash) -> bool:
    """Whether it is about the configuration that Envoy runs now, and nothing has started the plugin again since."""
    loaded = case.sighting.log.newest(LogKind.LOADED)
    begun = [entry.last_updated for entry in case.sighting.entries] + ([loaded.at] if loaded else [])
    if crash.at is None:
        return True
    if any(moment and crash.at < moment for moment in begun):
        return False
    return not _starts_again(case) or _is_late(case, crash)


def _starts_again(case: _Case) -> bool:
    return all(entry.fail == "FAIL_RELOAD" for entry in case.sighting.entries)


def _is_ours(case: _Case, crash: Crash) -> bool:
    """Plugins of the same code share their VMs, so a crash of one is a crash of all of them.

    A line that names nobody is ours only where no other code runs: as many VMs as our code needs, and no more.
    """
    seen = case.sighting
    if crash.plugin:
        return crash.plugin in seen.code_names or case.wanted.plugin_name_matches(crash.plugin)
    if seen.code_files != 1 or seen.stats.vm_active is None or seen.concurrency is None:
        return False
    return seen.stats.vm_active <= VMS_BESIDE_WORKERS + seen.concurrency


def _down(case: _Case, threads: int, lines: Sequence[str], again: str = STAYS_DOWN) -> PodVerdict:
    workers = case.sighting.concurrency or threads
    where = f"in {min(threads, workers)} of {workers} workers"
    told = f" It says: {lines[-1]}." if lines else ""
    if any(entry.fail == "FAIL_OPEN" for entry in case.sighting.entries):
        message = f"The plugin crashed {where}, which let every request pass without it.{told} {again}"
        return case.row(State.UNHEALTHY, "RunningUnprotected", message, *lines)
    if _starts_again(case):
        quiet = f"{CRASH_QUIET.total_seconds():.0f} s"
        again = f"The gateway starts it again with the next requests; {quiet} without a crash are awaited."
        message = f"The plugin crashed {where}, and requests got 503 meanwhile.{told} {again}"
    else:
        message = f"The plugin crashed {where}, which answer 503 to every request.{told} {again}"
    return case.row(State.UNHEALTHY, "PluginCrashed", message, *lines)


# ------------------------------------------------------------------------------------------------------------ workers


def _missing(case: _Case) -> PodVerdict | None:
    """Envoy took the configuration, and some thread has no VM that runs it: requests pass there without the plugin.

    Envoy tries a configuration in a VM of its own, then gives it to those that serve. What only these refuse shows in
    a line that names nobody, and in fewer VMs. Where other code may run, neither shows whose VMs are missing.
    """
    seen = case.sighting
    lines = [one.line for one in seen.log.missing if _counts_as_missing(case, one)]
    alone = seen.code_files <= 1
    if alone and lines and (_too_few(case) or seen.stats.vm_active is None):
        return _on_no_worker(case, *lines)
    if alone and _too_few(case):
        return _few(case)
    doubtful = lines and (alone or _too_few(case))
    return _some_missing(case, lines) if doubtful and not case.verified else None


def _some_missing(case: _Case, lines: Sequence[str]) -> PodVerdict:
    return case.waiting(
        "AwaitingPositiveSign",
        f"Some plugin of this gateway runs on too few workers, and Envoy does not name it. It says: {lines[-1]}.",
        then=(State.UNKNOWN, "NoPositiveSign"),
        hint="Replacing the pod starts them all again; a probe would show whether this one runs.",
    )


def _few(case: _Case) -> PodVerdict:
    seen = case.sighting
    message = f"Of the {_needed(seen)} VMs that the plugin needs, {seen.stats.vm_active} run."
    then = (State.UNKNOWN, "NoPositiveSign") if _starts_again(case) else (State.UNHEALTHY, REFUSED_BY_WORKERS)
    return case.waiting(
        "AwaitingPositiveSign", message, then=then, hint="Requests pass without it where it is missing."
    )


def _counts_as_missing(case: _Case, one: Missing) -> bool:
    """Whether it is about the configuration that Envoy has; with FAIL_RELOAD Envoy tries again with a next request."""
    received = [entry.last_updated for entry in case.sighting.entries if entry.last_updated]
    if one.at is None:
        return True
    late = not _starts_again(case) or case.sighting.at + case.sighting.skew - one.at <= CRASH_QUIET
    # the dump has milliseconds, and the thread that receives a configuration tries it before it notes the time
    return late and all(one.at >= moment - SAME_UPDATE for moment in received)


def _on_no_worker(case: _Case, *lines: str) -> PodVerdict:
    count = case.sighting.stats.vm_active
    counted = f"; of the {_needed(case.sighting)} VMs that it needs, {count} run" if _too_few(case) else ""
    message = (
        "Envoy took the plugin's configuration, and its workers refused it: it runs on no worker, and every request "
        f"passes without it, whatever failStrategy says{counted}. It says: {' / '.join(lines)}. The plugin refuses to "
        "be configured a second time in one VM: correct it, or release it with other bytes."
    )
    return case.row(State.UNHEALTHY, REFUSED_BY_WORKERS, message, *lines)


def _too_few(case: _Case) -> bool:
    """Whether VMs are counted, and there are fewer than the loaded codes need. Higress counts workers by the name."""
    seen = case.sighting
    if seen.stats.vm_active is None or seen.concurrency is None or seen.stats.unstarted is not None:
        return False
    return seen.stats.vm_active < _needed(seen)


def _needed(seen: PodObservation) -> int:
    return (VMS_BESIDE_WORKERS + (seen.concurrency or 0)) * max(seen.code_files, 1)


# -------------------------------------------------------------------------------------------------------------- proof


def _proof(case: _Case) -> PodVerdict:
    signs = [sign for sign in _signs(case) if sign]
    if signs:
        notes = [f"an earlier update is still refused: {error.details}" for error in case.sighting.listener_errors]
        if case.sighting.log.truncated:
            notes.append("its log was rotated, or is too long: a crash could be missed")
        return case.row(State.LOADED, "Loaded", f"Runs the plugin: {signs[0]}.", *signs, *notes)
    if case.sighting.log.truncated:
        message = "The gateway's log since the write was rotated, or is too long, so a refusal could be missed."
        return case.waiting("LogIncomplete", message, then=(State.UNKNOWN, "LogIncomplete"))
    return case.waiting(
        "AwaitingPositiveSign",
        "The gateway has the plugin and refuses nothing, and has not yet shown that it runs it.",
        then=(State.UNKNOWN, "NoPositiveSign"),
        hint="Restart the pod, or let its statistics be seen: annotation sidecar.istio.io/statsInclusionPrefixes "
        "with extension_config_discovery on the gateway's pods.",
    )


def _signs(case: _Case) -> tuple[str | None, ...]:
    """The positive signs; those that rest on the log having no refusal need the whole log."""
    if not case.sighting.log.truncated:
        return (_counted(case), _logged(case), _known(case), _started(case), _made(case))
    # Envoy counts and logs what its workers refused as loaded: then only their VMs show it
    return (_counted(case), _logged(case), _known(case)) if _workers_served(case.sighting) else (_known(case),)


def _counted(case: _Case) -> str | None:
    """A refused configuration raises config_reload too, so update_rejected and config_fail must stand still."""
    now, before = case.sighting.stats, case.baseline
    if before is None or now.config_reload is None or before.config_reload is None:
        return None
    still = (now.update_rejected, now.config_fail) == (before.update_rejected, before.config_fail)
    risen = now.config_reload > before.config_reload
    return f"config_reload rose from {before.config_reload} to {now.config_reload}" if still and risen else None


def _logged(case: _Case) -> str | None:
    event = case.sighting.log.newest(*_WORD)
    if event is None or event.kind is not LogKind.LOADED or event.at is None or not event.everywhere:
        return None
    received = [entry.last_updated for entry in case.sighting.entries]
    if not all(moment and event.at >= moment for moment in received):
        return None
    return f"Envoy logged: {event.line}"


def _started(case: _Case) -> str | None:
    """Envoy makes a plugin's own statistics only when it has created it; before 1.33 the count of VMs must do."""
    stats = case.sighting.stats
    fresh = _fresh(case) or (case.baseline is not None and case.baseline.named is False)
    if not fresh or not _workers_served(case.sighting):
        return None
    if stats.named:
        return f"Envoy made the plugin's statistics, and {stats.vm_active} VMs run"
    if _release(case.sighting) < NAMED_STATS_SINCE and _fresh(case) and not case.sighting.code_shared:
        return f"{stats.vm_active} VMs run, as many as the plugins need"
    return None


def _made(case: _Case) -> str | None:
    """New code in a running Envoy: a refused module costs one VM, a loaded one a VM for every worker and more."""
    now, before = case.sighting.stats, case.baseline
    if before is None or before.vm_created is None or now.vm_created is None or not _workers_served(case.sighting):
        return None
    alone = case.sighting.others_updated == before.others_updated
    reloaded = now.vm_reloads != before.vm_reloads and before.vm_reloads is not None
    if before.digest_hex == case.wanted.digest_hex or case.sighting.code_shared or not alone or reloaded:
        return None
    made = now.vm_created - before.vm_created
    enough = made >= VMS_MADE_BESIDE_WORKERS + (case.sighting.concurrency or 0)
    return f"{made} VMs were made for the new code, and no other plugin changed" if enough else None


def _known(case: _Case) -> str | None:
    return "it was seen running this revision before, and nothing has changed since" if case.verified else None


def _fresh(case: _Case) -> bool:
    """Whether this Envoy started after the write, so that all it has ever loaded came with or after it."""
    started = case.sighting.started_at
    return started is not None and started - case.sighting.skew > case.write_at


def _workers_served(sighting: PodObservation) -> bool:
    """Whether as many VMs run as the loaded plugins need: a worker without one skips the plugin silently."""
    if sighting.stats.vm_active is None or sighting.concurrency is None:
        return False
    return sighting.stats.vm_active >= _needed(sighting)


def _release(sighting: PodObservation) -> tuple[int, ...]:
    """Envoy's (major, minor); an unknown one counts as new, of which more is asked."""
    parts = (sighting.envoy_version or "").split(".")[:2]
    return tuple(map(int, parts)) if len(parts) == 2 else NAMED_STATS_SINCE


# ------------------------------------------------------------------------------------------------------------- values


def _not_before(moment: datetime | None, received: datetime | None) -> bool:
    """What is older than the configuration was about an earlier one; what has no time counts."""
    return moment is None or received is None or moment >= received


def _lines(event: LogEvent | None) -> tuple[str, ...]:
    return (*event.causes, event.line) if event else ()


def _told(event: LogEvent) -> str:
    return " / ".join(_lines(event))
