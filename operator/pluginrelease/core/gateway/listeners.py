"""Read a gateway's listeners, and what they say about plugins, while the bytes arrive.

A gateway with thousands of hosts describes its listeners in tens of megabytes, and little of that matters. So the
answer of `GET /config_dump?resource=dynamic_listeners` is read as a stream of events and is never held in memory.
Events are (path, kind, value), as ijson's ``parse`` yields them.

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
    """A listener update that Envoy refused and that is still wanted. ``attempted`` is by the gateway's clock."""

    listener: str
    details: str
    attempted: datetime | None


@dataclass(frozen=True)
class Listener:
    """An active TCP listener that the control plane sent.

    ``port`` is in the pod. ``tls``: some HTTP filter chain of it wants TLS; ``plain``: some does not (both False
    without HTTP filter chains). ``has_plugin``: its HTTP filters refer to our plugin.
    """

    port: int
    tls: bool
    plain: bool
    has_plugin: bool


@dataclass(frozen=True)
class Chain:
    """One HTTP filter chain: the names of its filters, and if it uses TLS."""

    tls: bool
    filters: frozenset[str]


@dataclass(frozen=True, slots=True)
class DynamicListener:
    """A listener that the control plane sent, reduced to what signs need.

    ``port``: its TCP port; None for UDP (HTTP/3) or for one inside Envoy. ``chains``: the different HTTP filter chains
    of the active state. ``active``, ``warming``: it has such a state. ``awaits``: the filters of the warming state.
    """

    name: str
    active: bool = False
    port: int | None = None
    chains: frozenset[Chain] = frozenset()
    warming: bool = False
    awaits: frozenset[str] = frozenset()
    error: ListenerError | None = None

    def asks_for(self, wanted: DesiredPlugin) -> bool:
        """Return True if requests through this listener reach the plugin."""
        return any(_is_among(wanted, chain.filters) for chain in self.chains)

    def warms_with(self, wanted: DesiredPlugin) -> bool:
        """Return True if an update of it that refers to the plugin does not serve yet."""
        return self.warming and _is_among(wanted, self.awaits)


@dataclass(frozen=True)
class Listeners:
    """All dynamic listeners of one gateway. ``unknown``: what was not understood in the answer."""

    items: tuple[DynamicListener, ...] = ()
    unknown: tuple[str, ...] = ()

    def list_serving(self, wanted: DesiredPlugin) -> tuple[Listener, ...]:
        """Return the ports that can be called."""
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

    def is_referenced(self, wanted: DesiredPlugin) -> bool | None:
        """Return whether an active HTTP listener refers to the plugin; None if there is no such listener."""
        serving = [listener for listener in self.items if listener.chains]
        return any(listener.asks_for(wanted) for listener in serving) if serving else None

    def list_warming(self, wanted: DesiredPlugin) -> tuple[str, ...]:
        """Return the names of the listeners that warm with the plugin."""
        return tuple(listener.name for listener in self.items if listener.warms_with(wanted))

    def errors(self) -> tuple[ListenerError, ...]:
        """Return the refused updates.

        Envoy lists a refusal twice, once without time; that one gets the time of the other.
        """
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
    """The listener that is being read, and the current filter chain in it."""

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

    def finish(self) -> DynamicListener:
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
    """Takes the events of one answer in order. It keeps the facts of finished listeners, and of one that is being read.

    Raises ValueError for an answer that nests too deep.
    """

    def __init__(self) -> None:
        self._done: list[DynamicListener] = []
        self._unknown: list[str] = []
        self._draft = _Draft()
        self._begun = False
        self._known: dict[Any, Any] = {}

    def take(self, path: str, kind: str, value: Any) -> None:
        """Take one event. Most of them are ignored."""
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
        """Record something that is not understood, once."""
        if what not in self._unknown:
            self._unknown.append(what)

    def finish(self) -> Listeners:
        """Return the listeners that were read."""
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
        self._done.append(self._share(self._draft.finish()))

    def _share(self, listener: DynamicListener) -> DynamicListener:
        """Share equal values with other listeners, to save memory: most listeners refer to the same filters."""
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
