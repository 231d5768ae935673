"""Probes: to which port they may be sent, how often, and what is wrong with an answer.

A release's author is a tenant. So two rules hold here, whichever part sends the probe. It is sent only to ports of
listeners that the control plane gave the gateway. And no message about an answer repeats its content.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pluginrelease.api import Probe, ProbeExpectation, Scheme
from pluginrelease.api.reasons import Reason
from pluginrelease.core.errors import Refused
from pluginrelease.core.gateway.listeners import Listener
from pluginrelease.core.gateway.observations import PodRef

# Istio's own (istio.io/latest/docs/ops/deployment/application-requirements: 15000 admin, 15020 agent, 15021 health,
# 15090 metrics …): refused even if a listener seems to be there
RESERVED_PORTS = range(15000, 15100)

PER_WORKER = 3
FEWEST, MOST = 3, 96
BODY_LIMIT = 64 * 1024

# what is reported first: a wrong answer is the gateway's, a port is the spec's, silence may have any cause
_ORDER = (
    Reason.PROBE_FAILED,
    Reason.PROBE_PORT_REFUSED,
    Reason.PROBE_PORT_AMBIGUOUS,
    Reason.PROBE_PORT_UNKNOWN,
    Reason.PROBE_UNANSWERED,
)


@dataclass(frozen=True)
class ProbeResponse:
    """The answer on one connection. ``body``: at most its first `BODY_LIMIT` bytes."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@dataclass(frozen=True)
class Unanswered:
    """A connection without a complete answer: why, in words that repeat nothing of what was sent."""

    why: str


@dataclass(frozen=True)
class PodProbe:
    """One probe in one pod.

    Of ``asked`` connections, ``failed`` had a wrong answer or none, and ``unanswered`` of these had none. ``asked`` is
    0 if there was no port. ``message`` has no secret.
    """

    pod: PodRef
    probe: str
    reason: Reason
    message: str
    asked: int = 0
    failed: int = 0
    unanswered: int = 0

    @property
    def ok(self) -> bool:
        """Return True if every connection was answered as expected, and there was one."""
        return self.asked > 0 and self.failed == 0

    @property
    def is_refuted(self) -> bool:
        """Return True if every connection was answered, and each answer was wrong."""
        return self.asked > 0 and self.failed == self.asked and self.unanswered == 0


@dataclass(frozen=True)
class ProbeSummary:
    """All probes in all pods. ``failed`` counts the pairs of pod and probe that are not ``ok``."""

    ok: bool
    failed: int
    reason: Reason
    message: str


# ------------------------------------------------------------------------------------------------ where and how often


def find_port(probe: Probe, listeners: Sequence[Listener], *, written: bool = True) -> int:
    """Return the port in the pod for the probe. Raises `Refused`.

    ``written`` False: the check before the first write. No listener has the plugin yet. If exactly one listener has the
    probe's scheme, the plugin will be there.
    """
    if probe.port is not None:
        return _find_named_port(probe, probe.port, listeners)
    spoken = [
        listener for listener in listeners if _speaks(listener, probe.scheme) and listener.port not in RESERVED_PORTS
    ]
    ports = _ports(listener for listener in spoken if listener.has_plugin)
    if not ports and not written:
        ports = _ports(spoken)
    if len(ports) > 1:
        raise Refused(
            Reason.PROBE_PORT_AMBIGUOUS,
            f"several listeners of scheme {probe.scheme} have the plugin, on ports {_list(ports)}",
            f"Name one of them: checks.probes[{probe.name}].port",
        )
    if not ports:
        raise Refused(
            Reason.PROBE_PORT_UNKNOWN,
            f"no listener of scheme {probe.scheme} has the plugin",
            "Give the gateway a Gateway with such a server, or correct the probe's scheme",
        )
    return ports[0]


def _find_named_port(probe: Probe, port: int, listeners: Sequence[Listener]) -> int:
    if port in RESERVED_PORTS:
        raise Refused(
            Reason.PROBE_PORT_REFUSED,
            f"ports {RESERVED_PORTS[0]} to {RESERVED_PORTS[-1]} are Istio's own, and never asked",
            "Name the port of a listener of the gateway, or none",
        )
    if port not in (known := _ports(listener for listener in listeners if listener.port not in RESERVED_PORTS)):
        raise Refused(
            Reason.PROBE_PORT_UNKNOWN,
            f"the gateway has no listener on port {port}; its listeners have {_list(known)}",
            "Name a port of the pod that a Gateway opens (a Service's own port can be another), or none",
        )
    return port


def count_connections(concurrency: int | None) -> int:
    """Return the connections for each probe in each pod, from the number of Envoy's worker threads (None: not known).

    Envoy gives each connection to one worker. Three connections for each worker reach a dead one with a chance of 95 %.
    """
    return min(MOST, max(FEWEST, PER_WORKER * (concurrency or 0)))


def _speaks(listener: Listener, scheme: Scheme) -> bool:
    return listener.tls if scheme is Scheme.HTTPS else listener.plain


def _ports(listeners: Iterable[Listener]) -> list[int]:
    return sorted({listener.port for listener in listeners})


def _list(ports: Sequence[int]) -> str:
    return ", ".join(map(str, ports)) or "none"


# ------------------------------------------------------------------------------------------------------------- judging


def find_mismatch(answer: ProbeResponse, expect: ProbeExpectation) -> str | None:
    """Return what is wrong with an answer, without its headers' values and its body; None if nothing is."""
    if answer.status != expect.status:
        return f"answered {answer.status}, expected {expect.status}"
    for name, value in (expect.headers or {}).items():
        found = _header(answer, name)
        if found is None:
            return f"answered {answer.status} without the header {name}"
        if found != value.strip():
            return f"answered {answer.status} with another value of the header {name}"
    if expect.body_contains is not None and expect.body_contains.encode() not in answer.body[:BODY_LIMIT]:
        return f"answered {answer.status} without the expected text in its body"
    return None


def _header(answer: ProbeResponse, name: str) -> str | None:
    """Return a header. If it came several times, its values are joined to a list (RFC 9110, 5.2)."""
    values = [value.strip() for key, value in answer.headers if key.lower() == name.lower()]
    return ", ".join(values) if values else None


def count(pod: PodRef, probe: Probe, outcomes: Sequence[ProbeResponse | Unanswered]) -> PodProbe:
    """Combine all outcomes of one probe in one pod."""
    asked = len(outcomes)
    silent = [outcome.why for outcome in outcomes if isinstance(outcome, Unanswered)]
    wrong = [
        found
        for outcome in outcomes
        if isinstance(outcome, ProbeResponse) and (found := find_mismatch(outcome, probe.expect))
    ]
    failed = len(wrong) + len(silent)
    if not outcomes:
        return PodProbe(pod, probe.name, Reason.PROBE_UNANSWERED, "not asked")
    if not failed:
        return PodProbe(pod, probe.name, Reason.PROBED, f"{asked} of {asked} connections answered as expected", asked)
    parts = [f"{len(wrong)} of {asked} connections: {_find_most_frequent(wrong)}"] if wrong else []
    parts += (
        [f"{len(silent)} of {asked} connections without an answer: {_find_most_frequent(silent)}"] if silent else []
    )
    said = "; ".join(parts)
    return PodProbe(
        pod, probe.name, Reason.PROBE_FAILED if wrong else Reason.PROBE_UNANSWERED, said, asked, failed, len(silent)
    )


def report_no_port(pod: PodRef, probe: Probe, refused: Refused) -> PodProbe:
    """Return the result of a probe that has no port in this pod."""
    return PodProbe(pod, probe.name, refused.reason, refused.sentence())


def _find_most_frequent(texts: Sequence[str]) -> str:
    """Return the most frequent text; the first one if several are."""
    return Counter(texts).most_common(1)[0][0]


# ---------------------------------------------------------------------------------------------------------- summing up


def sum_up(results: Sequence[PodProbe]) -> ProbeSummary:
    """Combine all results, the worst first. If no connection was made, nothing has passed."""
    if not results:
        return ProbeSummary(False, 0, Reason.PROBE_UNANSWERED, "no gateway pod could be asked")
    failing = sorted((result for result in results if not result.ok), key=lambda result: _ORDER.index(result.reason))
    if not failing:
        pods = len({result.pod.uid for result in results})
        names = ", ".join(sorted({result.probe for result in results}))
        return ProbeSummary(True, 0, Reason.PROBED, f"Answered as expected in {_number(pods, 'gateway pod')}: {names}.")
    first = failing[0]
    rest = f" ({len(failing)} of {len(results)} probes in pods failed)" if len(failing) > 1 else ""
    message = f"Probe {first.probe} in {first.pod.namespace}/{first.pod.name}: {first.message.rstrip('.')}{rest}."
    return ProbeSummary(False, len(failing), first.reason, message)


def find_refuted(results: Sequence[PodProbe]) -> tuple[str, ...]:
    """Return the names of probes that each pod answered, but never as expected.

    Before a write, such probes can show the difference between old and new. A probe without a port, or without an
    answer, cannot.
    """
    names = dict.fromkeys(result.probe for result in results)
    return tuple(name for name in names if all(result.is_refuted for result in results if result.probe == name))


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
