"""Read a gateway container's log, and what it says about one plugin.

The container writes Envoy's log and the agent's into one stream: as text (tab-separated fields, one message per line,
some over several lines), or as one JSON object per line. Few lines name a plugin. Lines that say *why* a module was
refused do not. They count for our plugin only if they come from the same thread, directly before a line that names it,
and no line in between names a neighbour.

A plugin that traps later, on a request, leaves one line that names no plugin, and no other trace. Its owner is known
only if the plugin itself logged directly before, on the same thread: Go and Rust print a panic before they trap.

Texts: Envoy source/common/filter/config_discovery_impl.cc, source/extensions/common/wasm/wasm.cc,
source/common/listener_manager/lds_api.cc; proxy-wasm-cpp-host src/wasm.cc, src/v8/v8.cc; Istio pkg/wasm/convert.go.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from pluginrelease.core import placeholders

if TYPE_CHECKING:
    from pluginrelease.core.gateway.identity import DesiredPlugin

MAX_CAUSES = 6
MAX_CRASHES = 64
MAX_LINE = 600
# time between a trap and the refusal that it causes
AT_ONCE = timedelta(seconds=1)
MAX_MESSAGE = 8192
# lines of one message; an access log between two of them counts too
MAX_CONTINUED = 200

_TEXT = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z)\t(\w+)\t(?:([^\t]*)\t)?(.*)$", re.DOTALL)
_CALLER = re.compile(r"^[\w./-]+:\d+\t")
_THREAD = re.compile(r"\tthread=(\d+)\s*$")
_ENVOY_DEFAULT = re.compile(
    r"^\[(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d\.\d+)\]\[(\d+)\]\[(\w+)\]\[([^\]]*)\] (?:\[[^\]]*\] )?(.*)$", re.DOTALL
)
_CREATED = re.compile(r"Updated filter config (\S+) created, warming done")
_STARTED = re.compile(r"Updated filter config (\S+) accepted, posting to workers")
_COMPLETE = re.compile(r"Filter config (\S+) worker update complete")
_FAILED = re.compile(r"Updating filter config (\S+) failed due to")
_PLUGIN_FAILED = re.compile(r"^Plugin (\S+) failed to load")
_UNABLE = re.compile(r"Unable to create Wasm (?:plugin|HTTP filter|network filter) ([^\s,;]+)")
_REFUSED = re.compile(r"^(?:Unable to create |Error adding/updating |lds: |[^\"]*? rejected: )")
_LISTED = re.compile(r"^\s*[^\s\"]+: Unable to create ")
# Istio's access log, as text or as JSON, which may be between two lines of a message
_ACCESS = re.compile(r"^(?:\[\d{4}-\d\d-\d\dT[^\]]*\] |\{\".*\}$)")
_LISTENER = re.compile(r"^lds: |envoy\.config\.listener\.v3\.Listener|adding/updating listener")
_MODULE = re.compile(r"cannot fetch Wasm module (\S+?):? ")
_FETCH = re.compile(r"^(?:error in converting the wasm config to local: |convert the wasm config: )", re.IGNORECASE)
# Higress's agent retries with plain http after any failure, and then logs the result (its Istio, imagefetcher.go)
_HTTPS_FAILED = re.compile(r"^HTTPS request failed for URL \S*?//(\[[^\]\s]+\]|[^/\s:]+)")
_CAUSE = re.compile(
    r"^(?:Wasm VM failed |Failed to (?:load|parse|create Wasm VM) |Function: |Wasm module is |Bad function signature"
    r"|wasm log)"
)
# proxy-wasm-cpp-host marks the VM that all threads clone as failed, and Envoy continues as if nothing had happened
_NOT_ON_THREAD = re.compile(r"^Wasm VM failed Failed to (?:\w+ thread-local Wasm|clone Base Wasm)")
# what Envoy calls while it loads a plugin; a trap there is reported by a refusal that names the plugin
_AT_LOAD = ("_initialize", "_start", "main", "proxy_on_vm_start", "proxy_validate_configuration", "proxy_on_configure")
_TRAP = re.compile(r"^Function: (\S+) failed\b")
_PANIC = re.compile(r"\bpanic|\bfatal error", re.IGNORECASE)
PLUGIN_LOG = re.compile(r"^wasm log(?: ([^\s:]+)(?:\s[^:]*)?)?:\s?")


# the agent's list of errors with the text after it; a listener's error; a backtrace in a VM
_CONTINUES = re.compile(r"^(?:$|\s+\* |\. |\S+: .*\bWasm\b|.*\bin-VM backtrace:$|\s+\d+:\s)")


class LogKind(StrEnum):
    """What one event in the log says about our plugin."""

    LOADED = "Loaded"
    REFUSED_BY_WORKERS = "RefusedByWorkers"
    REJECTED = "Rejected"
    LISTENER_REJECTED = "ListenerRejected"
    FETCH_FAILED = "FetchFailed"


_CREATIONS = {LogKind.LOADED, LogKind.REFUSED_BY_WORKERS}


@dataclass(frozen=True)
class LogEvent:
    """One event.

    ``line`` is the gateway's own sentence; ``causes`` the lines before it, of the same thread, that say why.

    ``everywhere``: Envoy also logged that every worker has taken the configuration.
    """

    at: datetime | None
    kind: LogKind
    line: str
    causes: tuple[str, ...] = ()
    everywhere: bool = False


@dataclass(frozen=True)
class Missing:
    """A thread on which Envoy could not start or configure a plugin. The log line names no plugin."""

    at: datetime | None
    thread: str
    line: str


@dataclass(frozen=True)
class Crash:
    """A VM that trapped after it was loaded. Each thread has its own VM for each code.

    ``plugin``: the plugin that logged a panic there (Envoy's PluginConfig.name), "" if none did.
    """

    at: datetime | None
    thread: str
    line: str
    plugin: str = ""


@dataclass(frozen=True)
class LogFindings:
    """Events about our plugin, oldest first. ``truncated``: the log was cut, so later events may be missing.

    ``crashes`` and ``missing`` are of any plugin: the newest crash of each thread and plugin, and the newest failure of
    each thread.
    """

    events: tuple[LogEvent, ...] = ()
    truncated: bool = False
    crashes: tuple[Crash, ...] = ()
    missing: tuple[Missing, ...] = ()

    def newest(self, *kinds: LogKind) -> LogEvent | None:
        """Return the last event, of these kinds if any are given."""
        chosen = [event for event in self.events if not kinds or event.kind in kinds]
        return chosen[-1] if chosen else None


@dataclass(frozen=True)
class Record:
    """One log message. ``thread`` is "" if its writer has none (the agent)."""

    at: datetime | None
    level: str
    thread: str
    message: str


def read_log(
    lines: Iterable[str],
    wanted: DesiredPlugin,
    since: datetime | None,
    *,
    truncated: bool = False,
    secrets: Collection[str] = (),
) -> LogFindings:
    """Return events about the wanted plugin at or after ``since``, oldest first, quoted without ``secrets``."""
    reader = _Reader(wanted, secrets)
    for record in read_records(lines):
        if not record.level:
            continue  # neither Envoy nor the agent wrote it
        if since is None or record.at is None or record.at >= since:
            reader.take(record)
    return LogFindings(tuple(reader.events), truncated, reader.find_crashes(), reader.find_left_out())


def read_records(lines: Iterable[str]) -> Iterator[Record]:
    """Yield the messages of known formats, each with the lines that continue it.

    All other lines (access logs, output of a plugin or a library) are skipped, because a client can put any text there.
    """
    held: list[str] = []
    for line in lines:
        if _begins_message(line):
            yield from _join_lines(held)
            held = [line]
        elif held and len(held) <= MAX_CONTINUED:
            held.append(line)
    yield from _join_lines(held)


def _join_lines(held: Sequence[str]) -> Iterator[Record]:
    """Join lines to messages.

    A message of Envoy ends with its thread; any other with a line that cannot be part of a list.
    """
    if not held:
        return
    ends = next((at for at, line in enumerate(held) if _THREAD.search(line)), None) if _is_envoys(held[0]) else None
    if ends is None:
        more = [] if held[0].startswith("{") else [*takewhile(_CONTINUES.match, held[1:])]
    else:
        more = [line for line in held[1 : ends + 1] if not _ACCESS.match(line)]
    yield read_record("\n".join((held[0], *more))[:MAX_MESSAGE])


def _is_envoys(line: str) -> bool:
    match = _TEXT.match(line)
    return match is not None and (match.group(3) or "").startswith("envoy ")


def read_record(text: str) -> Record:
    """Read one message. A line of an unknown format keeps its text and has no time."""
    if text.startswith("{"):
        return _from_json(text)
    if match := _TEXT.match(text):
        return _from_fields(match)
    if match := _ENVOY_DEFAULT.match(text):
        day, clock, thread, level, _, message = match.groups()
        return Record(parse_time(f"{day}T{clock}Z"), level, thread, message)
    return Record(None, "", "", text)


def find_last_time(text: str) -> datetime | None:
    """Return the time of the last message that has one: the next read begins there."""
    for line in reversed(text.splitlines()):
        if _begins_message(line) and (at := read_record(line).at):
            return at
    return None


def cut_before(text: str, since: datetime) -> str:
    """Return the lines at or after a time, without the kubelet's own time that begins each of them."""
    parts = (line.partition(" ") for line in text.split("\n"))
    return "\n".join(rest for at, _, rest in parts if (parse_time(at) or since) >= since)


def reaches_back(text: str, since: datetime) -> bool:
    """Return True if the first message with a time is earlier than ``since``."""
    for line in text.splitlines():
        if _begins_message(line) and (at := read_record(line).at):
            return at < since
    return False


def _begins_message(line: str) -> bool:
    """Return True if this line begins a message.

    A JSON access log has no level, and quotes of a client are escaped in it.
    """
    if line.startswith("{"):
        return '"level"' in line
    return bool(_TEXT.match(line) or _ENVOY_DEFAULT.match(line))


def _from_fields(match: re.Match[str]) -> Record:
    at, level, _, rest = match.groups()
    thread = _THREAD.search(rest)
    message = _CALLER.sub("", rest[: thread.start()] if thread else rest)
    return Record(parse_time(at), level, thread.group(1) if thread else "", message.strip())


def _from_json(text: str) -> Record:
    try:
        fields: Any = json.loads(text)
    except (ValueError, RecursionError):  # a plugin may log what a client sent
        return Record(None, "", "", text)
    message = str(fields.get("msg", fields.get("message", "")))
    at = parse_time(str(fields.get("time", fields.get("timestamp", ""))))
    return Record(at, str(fields.get("level", "")), str(fields.get("thread", "")), message.strip())


def parse_time(value: object) -> datetime | None:
    """Read an RFC 3339 time with any number of decimals; None for another text, or without time zone."""
    try:
        at = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", str(value)))
    except ValueError:
        return None
    return at if at.tzinfo else None


@dataclass(frozen=True)
class _Speech:
    """The lines that one plugin has written on a thread without other lines in between.

    Go prints a panic in pieces, each of them a line: "panic: ", "boom", "", "goroutine ", "1" and so on.
    """

    plugin: str
    panic: str = ""
    ended: bool = False

    def and_then(self, plugin: str, text: str) -> _Speech:
        if plugin != self.plugin or not self.panic:
            return _Speech(plugin, text if _PANIC.search(text) else "")
        if self.ended or text.startswith(("goroutine", "[")):
            return replace(self, ended=True)
        return replace(self, panic=f"{self.panic} {text}"[:MAX_MESSAGE])


class _Reader:
    """Reads the messages once. For each thread it holds the causes that no later line has claimed yet.

    It interprets messages unchanged, because a secret may equal any word of Envoy. It quotes them without secrets.
    """

    def __init__(self, wanted: DesiredPlugin, secrets: Collection[str] = ()) -> None:
        self.wanted = wanted
        self.secrets = secrets
        self.events: list[LogEvent] = []
        self.causes: dict[str, list[str]] = {}
        self.open: dict[str, int] = {}
        self.blamed: set[str] = set()
        self.said: dict[str, _Speech] = {}
        self.crashes: dict[tuple[str, str], Crash] = {}
        self.unclaimed: dict[str, tuple[str, str]] = {}
        self.missing: dict[str, Missing] = {}
        self.neighbours_missing: list[datetime | None] = []
        self.https = ("", "")

    def find_crashes(self) -> tuple[Crash, ...]:
        return tuple(replace(crash, line=self._told(crash.line)) for crash in [*self.crashes.values()][-MAX_CRASHES:])

    def find_left_out(self) -> tuple[Missing, ...]:
        """Return threads that may lack our plugin, without those where a named neighbour failed at the same time."""
        theirs = self.neighbours_missing
        ours = (thread for thread in self.missing.values() if not any(_is_same_time(at, thread.at) for at in theirs))
        return tuple(replace(thread, line=self._told(thread.line)) for thread in ours)

    def _told(self, message: str) -> str:
        return shorten(placeholders.hide(message, self.secrets))

    def take(self, record: Record) -> None:
        """Take one message of Envoy or the agent. What a plugin logs is no evidence."""
        self._listen(record)
        message = record.message
        if PLUGIN_LOG.match(message):
            self._hold(record)
        elif _STARTED.match(message):
            self._forget(record.thread)
        elif created := _CREATED.match(message):
            self._settle(record, self._created(record.thread), self.wanted.ecds_name_matches(created.group(1)))
        elif complete := _COMPLETE.match(message):
            self._complete(complete.group(1))
        elif failed := _FAILED.match(message):
            self._echo(record, failed.group(1))
        elif names := _find_named(message):
            kind = LogKind.LISTENER_REJECTED if _LISTENER.search(message) else LogKind.REJECTED
            self.blamed.add(record.thread)
            self._settle(record, kind, any(self.wanted.plugin_name_matches(name) for name in names))
        elif _FETCH.search(message):
            self._fetch(record)
        elif https := _HTTPS_FAILED.match(message):
            self.https = (https.group(1), self._told(message))
        elif _CAUSE.match(message):
            self._hold(record)

    def _listen(self, record: Record) -> None:
        """Remember which plugin logged last on this thread. A trap there ends what it logged."""
        said = self.said.pop(record.thread, _Speech(""))
        if log := PLUGIN_LOG.match(record.message):
            self.said[record.thread] = said.and_then(log.group(1) or "", record.message[log.end() :].strip())
        elif (trap := _TRAP.match(record.message)) and trap.group(1) not in _AT_LOAD:
            self._crash(record, said)

    def _crash(self, record: Record, said: _Speech) -> None:
        plugin = said.plugin if said.panic else ""
        key = (record.thread, plugin)
        line = f"{placeholders.hide(said.panic, self.secrets)} / {record.message}" if plugin else record.message
        self.crashes.pop(key, None)
        self.crashes[key] = Crash(record.at, record.thread, line, plugin)
        self.unclaimed[record.thread] = key

    def _created(self, thread: str) -> LogKind:
        """Return the kind of a "created" line.

        Envoy logs one even if this very thread has just failed to configure the plugin.
        """
        failed = any(map(_NOT_ON_THREAD.match, self.causes.get(thread, ())))
        return LogKind.REFUSED_BY_WORKERS if failed else LogKind.LOADED

    def _complete(self, name: str) -> None:
        """Record that every worker has taken what Envoy created last."""
        if self.events and self.events[-1].kind is LogKind.LOADED and self.wanted.ecds_name_matches(name):
            self.events[-1] = replace(self.events[-1], everywhere=True)

    def _echo(self, record: Record, name: str) -> None:
        """Handle a refusal that Envoy repeats to every subscription, also to the neighbours'.

        The lines before say which plugin was refused.
        """
        if record.thread not in self.blamed:
            self._settle(record, LogKind.REJECTED, self.wanted.ecds_name_matches(name))

    def _forget(self, thread: str) -> None:
        self.unclaimed.pop(thread, None)
        self.causes.pop(thread, None)
        self.open.pop(thread, None)
        self.blamed.discard(thread)

    def _hold(self, record: Record) -> None:
        log = PLUGIN_LOG.match(record.message)
        if log and (not record.message[log.end() :].strip() or not self._own(log.group(1))):
            return
        self.open.pop(record.thread, None)
        if _NOT_ON_THREAD.match(record.message):
            self.missing[record.thread] = Missing(record.at, record.thread, record.message)
        held = self.causes.setdefault(record.thread, [])
        held.append(record.message)
        del held[:-MAX_CAUSES]

    def _own(self, name: str | None) -> bool:
        """Return True if the name in a plugin's log line is ours.

        Before its root context exists, the name is empty.
        """
        return name is None or self.wanted.plugin_name_matches(name)

    def _settle(self, record: Record, kind: LogKind, ours: bool) -> None:
        """Assign the causes held for a thread to the plugin that this line names, ours or a neighbour.

        A trap directly before this line happened while the plugin was loaded. It is no crash of a loaded plugin.
        """
        claimed = self.unclaimed.pop(record.thread, None)
        if claimed and claimed in self.crashes and _is_soon_after(self.crashes[claimed].at, record.at):
            del self.crashes[claimed]
        causes = self.causes.pop(record.thread, ())
        index = self.open.pop(record.thread, None)
        if not ours:
            if kind is LogKind.REFUSED_BY_WORKERS:
                self.neighbours_missing.append(record.at)
                self.missing.pop(record.thread, None)
            return
        if index is not None and self._continues(index, kind):
            self.events[index] = replace(self.events[index], at=record.at, kind=kind)
        else:
            self.events.append(LogEvent(record.at, kind, self._told(record.message), tuple(map(self._told, causes))))
            index = len(self.events) - 1
        self.open[record.thread] = index

    def _continues(self, index: int, kind: LogKind) -> bool:
        """Return True if a line belongs to the last event.

        One refusal has up to four lines; a new cause begins the next event.
        """
        return index == len(self.events) - 1 and _CREATIONS.isdisjoint((kind, self.events[index].kind))

    def _fetch(self, record: Record) -> None:
        if (module := _MODULE.search(record.message)) and self.wanted.is_module(module.group(1)):
            host, https = self.https
            causes = (https,) if host and host in record.message else ()
            self.events.append(LogEvent(record.at, LogKind.FETCH_FAILED, self._told(record.message), causes))
        self.https = ("", "")


def _is_soon_after(earlier: datetime | None, later: datetime | None) -> bool:
    return earlier is None or later is None or later - earlier <= AT_ONCE


def _is_same_time(first: datetime | None, second: datetime | None) -> bool:
    return first is not None and second is not None and abs(second - first) <= AT_ONCE


def _find_named(message: str) -> list[str]:
    """Return the plugins that a refusal names. Of its further lines only those of Envoy's list of listeners count."""
    first, *rest = message.split("\n")
    if failed := _PLUGIN_FAILED.match(first):
        return [failed.group(1)]
    if not _REFUSED.match(first):
        return []
    return [name for line in (first, *filter(_LISTED.match, rest)) for name in _UNABLE.findall(line)]


def shorten(message: str) -> str:
    """Return one line of at most `MAX_LINE` characters.

    A longer one is cut in the middle, because its end often has the cause.
    """
    flat = " ".join(message.split())
    if len(flat) <= MAX_LINE:
        return flat
    return f"{flat[: MAX_LINE // 3]} … {flat[-(MAX_LINE - MAX_LINE // 3 - 3) :]}"
