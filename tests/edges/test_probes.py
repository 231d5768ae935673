"""Probes against real gateways: what is asked arrives, what comes back is judged, and what fails is told."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import re
import ssl
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from pluginrelease.api import Probe
from pluginrelease.api.reasons import Reason
from pluginrelease.core.artifact import image_manifests
from pluginrelease.core.errors import Transient
from pluginrelease.core.gateway.identity import DesiredPlugin
from pluginrelease.core.gateway.listeners import Listener
from pluginrelease.core.gateway.observations import PodObservation, PodRef
from pluginrelease.core.rollout import probe
from pluginrelease.core.rollout.probe import PodProbe
from pluginrelease.edges.envoy import observing, probes, tunnel
from pluginrelease.edges.envoy.access import Channels, GatewayAccess
from pluginrelease.edges.kubernetes.client import Cluster
from pluginrelease.edges.oci import registry
from pluginrelease.edges.oci.access import Access
from pluginrelease_lab import Lab
from tests import wasm_modules

TLS = Path(__file__).parents[1] / "fixtures" / "tls"
NAME = "probed"
ONE, TWO = "one.probed.test", "two.probed.test"
HTTP_PORT, HTTPS_PORT = 8080, 8443
PLAIN = Listener(HTTP_PORT, tls=False, plain=True, has_plugin=True)
SECURE = Listener(HTTPS_PORT, tls=True, plain=False, has_plugin=True)
WORKERS = 2
SECONDS = 60.0


def certificate(host: str) -> tuple[str, str]:
    """A self-signed certificate for a host, and its key; they are worth nothing."""
    key, mark, pem = (TLS / f"{host}.pem").read_text().partition("-----BEGIN CERTIFICATE-----")
    return mark + pem, key


def manifests() -> Iterator[dict[str, Any]]:
    """A gateway of its own with a plain port, and with TLS for two hosts that have a certificate each."""
    about = {"name": NAME, "namespace": NAME}
    labels = {"istio": NAME, "pluginrelease.io/lab": "gateway"}
    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAME}}
    yield {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": about}
    # as Istio's gateway chart: istiod gives certificates only to gateways that may read secrets
    rule = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "watch", "list"]}
    rbac = "rbac.authorization.k8s.io"
    yield {"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": about, "rules": [rule]}
    yield {
        "apiVersion": f"{rbac}/v1",
        "kind": "RoleBinding",
        "metadata": about,
        "roleRef": {"apiGroup": rbac, "kind": "Role", "name": NAME},
        "subjects": [{"kind": "ServiceAccount", "name": NAME}],
    }
    for number, host in enumerate((ONE, TWO)):
        pem, key = certificate(host)
        yield {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": {"name": f"certificate-{number}", "namespace": NAME},
            "stringData": {"tls.crt": pem, "tls.key": key},
        }
    secure = [
        {
            "port": {"number": HTTPS_PORT, "name": f"https-{number}", "protocol": "HTTPS"},
            "hosts": [host],
            "tls": {"mode": "SIMPLE", "credentialName": f"certificate-{number}"},
        }
        for number, host in enumerate((ONE, TWO))
    ]
    plain = {"port": {"number": HTTP_PORT, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}
    yield {
        "apiVersion": "networking.istio.io/v1",
        "kind": "Gateway",
        "metadata": about,
        "spec": {"selector": {"istio": NAME}, "servers": [plain, *secure]},
    }
    for number, host in enumerate((ONE, TWO)):
        yield route(f"host-{number}", [host], host)
    yield echo()
    yield {
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"name": "echo", "namespace": NAME},
        "spec": {
            "hosts": ["echo.probed.internal"],
            "location": "MESH_EXTERNAL",
            "resolution": "STATIC",
            "ports": [{"number": 80, "name": "http", "protocol": "HTTP", "targetPort": 8090}],
            "endpoints": [{"address": "10.244.0.1"}],
        },
    }
    container = {
        "name": "istio-proxy",
        "image": "istio/proxyv2:1.31.0",
        "ports": [{"containerPort": HTTP_PORT}, {"containerPort": HTTPS_PORT}, {"containerPort": 9999}],
        "env": [{"name": "WASM_INSECURE_REGISTRIES", "value": "10.244.0.1:5000"}],
        "readinessProbe": {"httpGet": {"path": "/healthz/ready", "port": 15021}},
        "resources": {"limits": {"cpu": str(WORKERS), "memory": "1Gi"}},
    }
    pod = {
        "metadata": {"labels": labels, "annotations": {"sidecar.istio.io/statsInclusionPrefixes": "listener."}},
        "spec": {
            "nodeName": "lab-node",
            "serviceAccountName": NAME,
            "containers": [container],
            "terminationGracePeriodSeconds": 1,
        },
    }
    yield {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": about,
        "spec": {"selector": {"matchLabels": {"istio": NAME}}, "template": pod},
    }


def route(name: str, hosts: Sequence[str], text: str) -> dict[str, Any]:
    """Answers by the gateway itself: the host's name, 418 below /teapot, and a long body below /long."""
    return virtual_service(
        name,
        hosts,
        {"match": [{"uri": {"prefix": "/teapot"}}], "directResponse": {"status": 418}},
        {"directResponse": {"status": 200, "body": {"string": text}}},
    )


def echo() -> dict[str, Any]:
    """For every other host: the lab's upstream, which tells what it was asked."""
    where = {"host": "echo.probed.internal", "port": {"number": 80}}
    return virtual_service("echo", ["*"], {"route": [{"destination": where}]})


def virtual_service(name: str, hosts: Sequence[str], *rules: dict[str, Any]) -> dict[str, Any]:
    """One of Istio's."""
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": name, "namespace": NAME},
        "spec": {"hosts": list(hosts), "gateways": [NAME], "http": list(rules)},
    }


@pytest.fixture(scope="module")
def gateway(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PodRef]:
    """The pod of that gateway, with a plugin that adds ``x-plugin: one``."""
    folder = tmp_path_factory.mktemp("probes")
    module = folder / "plugin.wasm"
    module.write_bytes(wasm_modules.answering("one"))
    registry.push(image_manifests.parse(f"{lab.registry_host}/tests/probed:1.0"), module, Access(insecure=True))
    plugin = {
        "apiVersion": "extensions.istio.io/v1alpha1",
        "kind": "WasmPlugin",
        "metadata": {"name": NAME, "namespace": NAME},
        "spec": {"url": f"oci://{lab.registry}/tests/probed:1.0", "selector": {"matchLabels": {"istio": NAME}}},
    }
    apply(lab, *manifests(), plugin)
    try:
        lab.kubectl("rollout", "status", f"deployment/{NAME}", "-n", NAME, "--timeout=120s", timeout=150)
        [pod] = json.loads(lab.kubectl("get", "pods", "-n", NAME, "-l", f"istio={NAME}", "-o", "json"))["items"]
        [shown] = lab.gateway_pods(f"istio={NAME}")
        until_served(lab, shown.address)
        yield PodRef(NAME, pod["metadata"]["name"], pod["metadata"]["uid"], ready=True)
    finally:
        lab.kubectl("delete", "namespace", NAME, "--timeout=100s", timeout=120)


def apply(lab: Lab, *objects: dict[str, Any]) -> None:
    lab.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))


def until_served(lab: Lab, address: str) -> None:
    """The plugin answers on the plain port; a listener's change sends no event."""
    deadline = time.monotonic() + SECONDS
    while True:
        with contextlib.suppress(OSError):
            if lab.request(address, HTTP_PORT, "/", {"Host": ONE}).headers.get("x-plugin") == "one":
                return
        assert time.monotonic() < deadline, "the gateway does not serve its plugin"
        time.sleep(0.1)


@pytest.fixture
async def cluster(lab: Lab) -> AsyncIterator[Cluster]:
    async with await Cluster.connect(lab.kubeconfig) as one:
        yield one


def seen(pod: PodRef, *listeners: Listener, concurrency: int = WORKERS) -> PodObservation:
    """A look at this pod that found these listeners."""
    found = listeners or (PLAIN, SECURE)
    return PodObservation(
        pod, datetime.now(UTC), started_at=datetime.now(UTC), concurrency=concurrency, listeners=found
    )


def asking(**fields: Any) -> Probe:
    """A probe as it is written in a manifest; its answer is that of the plugin unless it says otherwise."""
    return Probe.model_validate(
        {"name": "first", "host": ONE, "expect": {"headers": {"x-plugin": "one"}, "bodyContains": ONE}} | fields
    )


async def answers(channels: Channels, pod: PodRef, *asked: Probe, seconds: float = SECONDS) -> list[PodProbe]:
    return list(await probes.ask(channels, [seen(pod)], asked, deadline_seconds=seconds))


async def test_a_gateway_that_answers_as_expected(cluster: Cluster, gateway: PodRef) -> None:
    """Status, header and body of the plugin's answer, by HTTP and by HTTPS, over three connections for each worker."""
    found = await answers(cluster, gateway, asking(), asking(name="second", scheme="HTTPS"))
    assert [(it.probe, it.ok, it.asked, it.failed) for it in found] == [("first", True, 6, 0), ("second", True, 6, 0)]
    assert "1 gateway pod: first, second" in probe.sum_up(found).message


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lab's port-forward does not tell that a pod closed a connection: what gets no answer is not waited for."""
    monkeypatch.setattr(probes, "ANSWER_SECONDS", 3.0)


@pytest.mark.usefixtures("impatient")
async def test_the_server_name_picks_the_certificate_and_the_routes(cluster: Cluster, gateway: PodRef) -> None:
    """Each host of one TLS port is reached by its own name, and a name that the gateway does not serve is not."""
    two = asking(name="second", scheme="HTTPS", host=TWO, expect={"bodyContains": TWO})
    stranger = asking(name="third", scheme="HTTPS", host="three.probed.test")
    first, second, third = await answers(cluster, gateway, asking(scheme="HTTPS"), two, stranger)
    assert (first.ok, second.ok, third.ok) == (True, True, False)
    assert third.reason == "ProbeUnanswered"
    for host in (ONE, TWO):
        async with cluster.portforward(gateway.namespace, gateway.name, HTTPS_PORT) as socket:
            secured = tunnel.Secured(tunnel.Forwarded(socket), host)
            await secured.handshake()
            shown = secured.certificate()
        assert shown is not None
        assert host.encode() in shown


async def test_what_is_asked_arrives(cluster: Cluster, gateway: PodRef) -> None:
    """Method, path with its query, Host and headers reach the upstream as the probe names them."""
    fields = {"host": "else.probed.test", "method": "POST", "path": "/a/b?c=d", "headers": {"x-own": " value "}}
    expected = [
        '"method": "POST"',
        '"path": "/a/b?c=d"',
        '"host": "else.probed.test"',
        '"x-own": "value"',
        '"content-length": "5"',
        '"user-agent": "pluginrelease-probe"',
    ]
    asked = [
        asking(name=f"part-{number}", body="hello", expect={"bodyContains": text}, **fields)
        for number, text in enumerate(expected)
    ]
    assert [it.message for it in await answers(cluster, gateway, *asked) if not it.ok] == []


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_every_method_is_answered(cluster: Cluster, gateway: PodRef, method: str) -> None:
    """Also those whose answer has no body, and those that want a length although they have none."""
    [found] = await answers(cluster, gateway, asking(host=None, method=method, expect={"headers": {"x-plugin": "one"}}))
    assert (found.ok, found.asked, found.failed) == (True, 6, 0)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"path": "/teapot", "expect": {}}, "6 of 6 connections: answered 418, expected 200"),
        ({"expect": {"status": 403}}, "6 of 6 connections: answered 200, expected 403"),
        ({"expect": {"headers": {"x-plugin": "two"}}}, "header x-plugin"),
        ({"expect": {"headers": {"x-none": "two"}}}, "header x-none"),
        ({"expect": {"bodyContains": TWO}}, "body"),
    ],
    ids=["status", "not refused", "header differs", "no header", "body"],
)
async def test_a_wrong_answer_is_told(cluster: Cluster, gateway: PodRef, fields: dict[str, Any], text: str) -> None:
    """What differs is said, and on how many connections."""
    [found] = await answers(cluster, gateway, asking(**fields))
    assert (found.ok, found.is_refuted, found.reason) == (False, True, "ProbeFailed")
    assert text in found.message


async def test_every_answer_came_on_a_connection_of_its_own(cluster: Cluster, gateway: PodRef) -> None:
    """Envoy counts as many new connections as were asked for, and more than one worker took some."""
    before = await connections(cluster, gateway)
    found = await probes.ask(cluster, [seen(gateway, concurrency=8)], [asking()], deadline_seconds=SECONDS)
    after = await connections(cluster, gateway)
    assert [(it.ok, it.asked) for it in found] == [(True, 24)]
    new = {name: after[name] - before.get(name, 0) for name in after}
    assert new.pop("all") == 24
    assert sum(new.values()) == 24
    assert len([worker for worker, count in new.items() if count]) == WORKERS


async def connections(cluster: Cluster, pod: PodRef) -> dict[str, int]:
    """Connections that the plain listener has taken: all, and by worker."""
    counted = {}
    async with cluster.portforward(pod.namespace, pod.name, 15000) as socket:
        http = tunnel.Http(tunnel.Forwarded(socket))
        answer = await probes.exchange(http, Probe(name="stats", path="/stats?filter=downstream_cx_total"))
    pattern = rf"listener\.0\.0\.0\.0_{HTTP_PORT}\.(?:(worker_\d+)\.)?downstream_cx_total: (\d+)"
    for worker, number in re.findall(pattern, answer.body.decode()):
        counted[worker or "all"] = int(number)
    assert counted
    return counted


@pytest.mark.parametrize("port", [15000, 15020, 15021, 15090, 22, 9999])
async def test_a_port_that_is_no_listener_is_never_asked(cluster: Cluster, gateway: PodRef, port: int) -> None:
    """No connection is made to Istio's own ports, nor to any that the gateway was not told to listen on."""
    counting = Faulty(cluster)
    [found] = await answers(counting, gateway, asking(port=port))
    assert (found.ok, found.asked, counting.opened) == (False, 0, 0)
    assert found.reason == ("ProbePortRefused" if port >= 15000 else "ProbePortUnknown")


async def test_a_port_on_which_nothing_listens_is_told(cluster: Cluster, gateway: PodRef) -> None:
    """A listener that is gone meanwhile: no answer, and why; the other probe is asked all the same."""
    gone = Listener(9999, tls=False, plain=True, has_plugin=False)
    asked = [asking(name="gone", port=9999), asking(port=HTTP_PORT)]
    found = await probes.ask(cluster, [seen(gateway, PLAIN, gone)], asked, deadline_seconds=SECONDS)
    assert [(it.ok, it.reason, it.unanswered) for it in found] == [(False, "ProbeUnanswered", 6), (True, "Probed", 0)]
    assert found[0].message.startswith("6 of 6 ")


@pytest.mark.usefixtures("impatient")
async def test_the_wrong_scheme_is_told(cluster: Cluster, gateway: PodRef) -> None:
    """TLS to a plain port, and plain HTTP to a TLS port, are no answers, and said so."""
    tls = asking(scheme="HTTPS", port=HTTP_PORT)
    plain = asking(name="second", port=HTTPS_PORT)
    first, second = await answers(cluster, gateway, tls, plain)
    assert (first.reason, second.reason) == ("ProbeUnanswered", "ProbeUnanswered")
    assert "TLS failed" in first.message


async def test_an_odd_host_is_told(cluster: Cluster, gateway: PodRef) -> None:
    """A host that cannot be a server name is the probe's fault, and ends nothing else."""
    first, second = await answers(cluster, gateway, asking(scheme="HTTPS", host=f"{'a' * 64}.test"), asking(name="ok"))
    assert (first.reason, "host" in first.message) == ("ProbeUnanswered", True)
    assert second.ok


class Faulty:
    """The API server's ways to a pod, with faults of its own; it counts what is asked for and what is open."""

    def __init__(self, inner: Cluster, *, breaks: int = 0, hangs: int = 0, error: Exception | None = None) -> None:
        self._inner = inner
        self._breaks, self._hangs = breaks, hangs
        self._error = error or OSError("cannot connect to 192.0.2.1")
        self.opened = self.open = self.most = 0

    @contextlib.asynccontextmanager
    async def portforward(self, namespace: str, pod: str, port: int) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        self.opened += 1
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            if self.opened <= self._breaks:
                raise self._error
            if self.opened <= self._breaks + self._hangs:
                await asyncio.Event().wait()
            async with self._inner.portforward(namespace, pod, port) as stream:
                yield stream
        finally:
            self.open -= 1

    async def read_last_log(
        self, namespace: str, pod: str, container: str, *, previous: bool, tail_lines: int, limit_bytes: int
    ) -> str:
        raise AssertionError("no container has ended")

    async def read_log(self, namespace: str, pod: str, container: str, *, since: datetime, limit_bytes: int) -> str:
        raise AssertionError("probes read no log")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError("cannot connect to 192.0.2.1"), "OSError"),
        (Transient(Reason.API_SERVER_UNAVAILABLE, "no credentials"), "no credentials"),
        (ssl.SSLError("what"), "TLS"),
    ],
    ids=["connection", "credentials", "tls"],
)
async def test_a_broken_connection_is_one_failed_answer(
    cluster: Cluster, gateway: PodRef, error: Exception, text: str
) -> None:
    """One connection of six that breaks is told without any address, and the other five are asked."""
    [found] = await answers(Faulty(cluster, breaks=1, error=error), gateway, asking())
    assert (found.ok, found.asked, found.failed, found.unanswered) == (False, 6, 1, 1)
    assert (text in found.message, "192.0.2.1" in found.message) == (True, False)


async def test_one_deadline_ends_everything(cluster: Cluster, gateway: PodRef) -> None:
    """Connections that hang cost the deadline and no more; what was not asked any more counts as failed."""
    hanging = Faulty(cluster, hangs=1000)
    start = time.monotonic()
    found = await answers(hanging, gateway, asking(), asking(name="second"), seconds=0.5)
    assert time.monotonic() - start < 3
    assert [(it.ok, it.asked, it.unanswered) for it in found] == [(False, 6, 6), (False, 6, 6)]
    assert hanging.open == 0


async def test_one_hanging_answer_does_not_cost_the_others(
    cluster: Cluster, gateway: PodRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each connection has a time of its own, within the deadline of all."""
    monkeypatch.setattr(probes, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(probes, "CONNECTIONS_PER_POD", 1)
    [found] = await answers(Faulty(cluster, hangs=1), gateway, asking())
    assert (found.ok, found.asked, found.unanswered) == (False, 6, 1)


async def test_connections_are_bounded_and_all_closed(cluster: Cluster, gateway: PodRef) -> None:
    """At most 8 connections to one pod are open at a time, and as many pods at a time as the settings say."""
    counting = Faulty(cluster)
    [found] = await probes.ask(counting, [seen(gateway, concurrency=20)], [asking()], deadline_seconds=SECONDS)
    assert (found.ok, counting.opened, counting.most, counting.open) == (True, 60, probes.CONNECTIONS_PER_POD, 0)
    many = [seen(replace(gateway, uid=str(number)), concurrency=1) for number in range(6)]
    counting, two = Faulty(cluster), GatewayAccess(parallel=2)
    found_all = await probes.ask(counting, many, [asking()], deadline_seconds=SECONDS, settings=two)
    assert [it.pod.uid for it in found_all if it.ok] == [str(number) for number in range(6)]
    assert counting.most <= 6
    assert (counting.opened, counting.open) == (18, 0)


async def test_a_long_body_is_not_read_to_its_end(
    cluster: Cluster, gateway: PodRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    """64 KiB of the body are read; what is longer is no fault."""
    long = asking(name="long", host="else.probed.test", path="/" + "a" * 2000, expect={"bodyContains": "aaaa"})
    behind = long.model_copy(update={"name": "behind", "expect": asking(expect={"bodyContains": "headers"}).expect})
    monkeypatch.setattr(probe, "BODY_LIMIT", 1000)
    first, second = await answers(cluster, gateway, long, behind)
    assert first.ok
    assert (second.ok, second.reason) == (False, "ProbeFailed")


async def test_the_listeners_that_a_look_finds_can_be_asked(cluster: Cluster, gateway: PodRef) -> None:
    """A probe that names no port goes to the listener that a real look finds the plugin on, plain and with TLS."""
    wanted = DesiredPlugin(NAME, NAME, hashlib.sha256().hexdigest(), None, "FAIL_CLOSE")
    looked = await observing.observe(cluster, [gateway], wanted, since=datetime.now(UTC), deadline_seconds=SECONDS)
    assert looked[0].unreachable is None
    assert {(it.port, it.tls, it.plain) for it in looked[0].listeners} >= {(8080, False, True), (8443, True, False)}
    asked = [asking(), asking(name="second", scheme="HTTPS")]
    found = await probes.ask(cluster, looked, asked, deadline_seconds=SECONDS)
    assert [it.message for it in found if not it.ok] == []
    assert {it.asked for it in found} == {3 * (looked[0].concurrency or 0)}
