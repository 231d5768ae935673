"""A gateway's listeners → what they say about plugins, read while the bytes arrive.

A gateway with thousands of hosts describes its listeners in tens of megabytes. What matters of them is little, so the
answer of `GET /config_dump?resource=dynamic_listeners` is taken as a stream of events and never held: (path, kind,
value), as a JSON parser tells them (ijson's ``parse``).

Shape: envoy.admin.v3.ListenersConfigDump.DynamicListener, one per entry of ``configs``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pluginrelease.core.gateway.logs import parse_time

if TYPE_CHECKING:
    from pluginrelease.core.gateway.identity import DesiredPlugin

# an answer that nests deeper than this is not Envoy's
MAX_PATH = 4096

_ITEM = "configs.item"
_SHAPE = {
    "": ("start_map", "map_key", "end_map"),
    "configs": ("start_array", "end_array"),
    _ITEM: ("start_map", "map_key", "end_map"),
}
_ACTIVE, _WARMING = f"{_ITEM}.active_state", f"{_ITEM}.warming_state"
_ERROR = f"{_ITEM}.error_state"
_STATES = (_ACTIVE, _WARMING, _ERROR)
_LISTENER = f"{_ACTIVE}.listener"
_CHAINS = (f"{_LISTENER}.filter_chains.item", f"{_LISTENER}.default_filter_chain")
_TLS = tuple(f"{chain}.transport_socket.typed_config.@type" for chain in _CHAINS)
_FACTS = {
    f"{_ITEM}.@type": "type",
    f"{_ITEM}.name": "name",
    f"{_ERROR}.details": "details",
    f"{_ERROR}.last_update_attempt": "attempted",
    f"{_LISTENER}.address.socket_address.port_value": "port",
    f"{_LISTENER}.address.socket_address.protocol": "protocol",
}


@dataclass(frozen=True)
class ListenerError:
    """A listener update that Envoy refused and still wants: ``attempted`` by the gateway's clock."""

    listener: str
    details: str
    attempted: datetime | None


@dataclass(frozen=True)
class Listener:
    """An active TCP listener that the control plane sent: ``port`` in the pod; ``tls``: some HTTP filter chain of it
    wants TLS, ``plain``: some does not (both False where there is none); ``has_plugin``: its HTTP filters ask for ours.
    """

    port: int
    tls: bool
    plain: bool
    has_plugin: bool


@dataclass(frozen=True)
class Chain:
    """What an HTTP filter chain asks for: the names of its filters, and whether it speaks TLS."""

    tls: bool
    filters: frozenset[str]


@dataclass(frozen=True, slots=True)
class DynamicListener:
    """A listener that the control plane sent, without all that no sign rests on.

    ``port``: its TCP port, None for UDP (HTTP/3) or one inside Envoy; ``chains``: the different HTTP filter chains of
    what is active; ``active``, ``warming``: whether it has such a state; ``awaits``: the filters of what is warming.
    """

    name: str
    active: bool = False
    port: int | None = None
    chains: frozenset[Chain] = frozenset()
    warming: bool = False
    awaits: frozenset[str] = frozenset()
    error: ListenerError | None = None

    def asks_for(self, wanted: DesiredPlugin) -> bool:
        """Whether requests through it meet the plugin."""
        return any(_is_among(wanted, chain.filters) for chain in self.chains)

    def warms_with(self, wanted: DesiredPlugin) -> bool:
        """Whether an update of it that asks for the plugin does not serve yet."""
        return self.warming and _is_among(wanted, self.awaits)


@dataclass(frozen=True)
class Listeners:
    """All dynamic listeners of one gateway; ``unknown``: what of the answer was not understood."""

    items: tuple[DynamicListener, ...] = ()
    unknown: tuple[str, ...] = ()

    def serving(self, wanted: DesiredPlugin) -> tuple[Listener, ...]:
        """The ports that can be called."""
        return tuple(
            Listener(
                listener.port,
                tls=any(chain.tls for chain in listener.chains),
                plain=any(not chain.tls for chain in listener.chains),
                has_plugin=listener.asks_for(wanted),
            )
            for listener in self.items
            if listener.active and listener.port is not None
        )

    def referenced(self, wanted: DesiredPlugin) -> bool | None:
        """Whether an active HTTP listener asks for the plugin; None without any such listener."""
        serving = [listener for listener in self.items if listener.chains]
        return any(listener.asks_for(wanted) for listener in serving) if serving else None

    def warming(self, wanted: DesiredPlugin) -> tuple[str, ...]:
        """The names of those that warm with the plugin."""
        return tuple(listener.name for listener in self.items if listener.warms_with(wanted))

    def errors(self) -> tuple[ListenerError, ...]:
        """What was refused. Envoy lists a refusal twice, once without time: that takes the time of the other."""
        found = [listener.error for listener in self.items if listener.error]
        return tuple(_with_time(error, found) for error in found)


def _with_time(error: ListenerError, errors: list[ListenerError]) -> ListenerError:
    if error.attempted:
        return error
    times = [other.attempted for other in errors if other.details == error.details and other.attempted]
    return ListenerError(error.listener, error.details, max(times)) if times else error


def _is_among(wanted: DesiredPlugin, names: frozenset[str]) -> bool:
    return any(map(wanted.ecds_name_matches, names))


@dataclass
class _Draft:
    """The listener that is being read, and the filter chain within."""

    facts: dict[str, Any] = field(default_factory=dict)
    states: set[str] = field(default_factory=set)
    chains: set[Chain] = field(default_factory=set)
    awaits: set[str] = field(default_factory=set)
    http: bool = False
    tls: bool = False
    filters: set[str] = field(default_factory=set)

    def end_chain(self) -> None:
        if self.http:
            self.chains.add(Chain(self.tls, frozenset(self.filters)))
        self.http, self.tls, self.filters = False, False, set()

    def finished(self) -> DynamicListener:
        facts, name = self.facts, str(self.facts.get("name", ""))
        port = facts.get("port")
        usable = isinstance(port, int) and facts.get("protocol", "TCP") == "TCP"
        return DynamicListener(
            name=name,
            active=_ACTIVE in self.states,
            port=port if usable else None,
            chains=frozenset(self.chains),
            warming=_WARMING in self.states,
            awaits=frozenset(self.awaits),
            error=self._error(name) if _ERROR in self.states else None,
        )

    def _error(self, name: str) -> ListenerError:
        details = str(self.facts.get("details") or "refused without details")
        return ListenerError(name, details, parse_time(self.facts.get("attempted")))


class ListenerReader:
    """Takes the events of one answer, in order, and keeps no more than one listener's facts beside those that are done.

    Raises ValueError for an answer that nests without end.
    """

    def __init__(self) -> None:
        self._done: list[DynamicListener] = []
        self._unknown: list[str] = []
        self._draft = _Draft()
        self._begun = False
        self._known: dict[Any, Any] = {}

    def take(self, path: str, kind: str, value: Any) -> None:
        """One event; most of them say nothing that matters."""
        if path in _SHAPE:
            self._outline(path, kind)
        elif kind == "string" or kind == "number":
            self._value(path, value)
        elif kind == "end_map":
            if path in _CHAINS:
                self._draft.end_chain()
        elif kind == "start_map" or kind == "start_array":
            self._open(path, kind)

    def strange(self, what: str) -> None:
        """Something that is not understood, once."""
        if what not in self._unknown:
            self._unknown.append(what)

    def finished(self) -> Listeners:
        """What was read."""
        if not self._begun:
            self.strange("dynamic_listeners did not answer with a JSON object")
        return Listeners(tuple(self._done), tuple(self._unknown))

    def _outline(self, path: str, kind: str) -> None:
        if kind not in _SHAPE[path]:
            self.strange("configs is not a list of objects" if path else "dynamic_listeners is not a JSON object")
        elif path == _ITEM and kind == "start_map":
            self._draft = _Draft()
        elif path == _ITEM and kind == "end_map":
            self._end_listener()
        self._begun = self._begun or (path == "" and kind == "start_map")

    def _open(self, path: str, kind: str) -> None:
        if len(path) > MAX_PATH:
            raise ValueError("the listeners' description nests without end")
        if path in _STATES:
            self._draft.states.add(path)
        elif kind == "start_array" and path.endswith(".http_filters") and path.startswith(_CHAINS):
            self._draft.http = True

    def _end_listener(self) -> None:
        if not str(self._draft.facts.get("type", "")).endswith(".DynamicListener"):
            self.strange("a dynamic listener is of another type")
        self._done.append(self._sharing(self._draft.finished()))

    def _sharing(self, listener: DynamicListener) -> DynamicListener:
        """The same, with what it has in common with others held once: most listeners ask for the same filters."""
        return replace(
            listener,
            chains=self._known.setdefault(listener.chains, listener.chains),
            awaits=self._known.setdefault(listener.awaits, listener.awaits),
        )

    def _value(self, path: str, value: Any) -> None:
        if path in _FACTS:
            self._draft.facts[_FACTS[path]] = value
        elif path.endswith(".http_filters.item.name"):
            if path.startswith(_CHAINS):
                self._draft.filters.add(str(value))
            elif path.startswith(_WARMING):
                self._draft.awaits.add(str(value))
        elif path in _TLS:
            self._draft.tls = str(value).endswith(".DownstreamTlsContext")
