"""Where one run of an incident is played: fresh gateways and a registry of its own, one plugin, and counted traffic.

A story is written once. On a bare run `IncidentRun.change` is a ``kubectl apply`` of a WasmPlugin, on the other one of
a PluginRelease, and `IncidentRun.settle` awaits what each of them has to show.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from pluginrelease import api
from pluginrelease.core.mesh import istio
from pluginrelease.edges.toolchain import builder
from pluginrelease_lab import Lab
from pluginrelease_lab.host import GatewayPod
from tests import wasm_modules
from tests.harness import evidence, gateways, registries
from tests.harness.cluster import JSON, LabCluster, Operator, observed, ready
from tests.harness.traffic import PORT, Answer, Traffic
from tests.incidents.book import GONE, Becomes, Half, Incident, Mode, Says, losses
from tests.incidents.pace import Pace
from tests.incidents.plugins import (
    HERE,
    NAME,
    THERE,
    IncidentPlugin,
    Place,
    plugin_release,
    wasm_plugin,
    with_licence,
    without_policy,
)

SECONDS = 150.0
"""The deadline of one run, from when its gateways are ready."""
RATE = 50.0
"""Requests a second through each gateway."""
TAIL = 2.0
"""Seconds that are still counted when all is told: what goes wrong late is counted too."""
PAUSE = 0.2
QUIET = 5.0

FIXTURES = Path(__file__).parents[1] / "fixtures" / "plugins"
BUILDING = threading.Lock()


@dataclass
class IncidentRun:
    """One run of one incident. ``lab`` and ``operator`` are everybody's; namespace, gateways and registry its own."""

    lab: Lab
    operator: Operator
    folder: Path
    name: str
    incident: Incident
    mode: Mode
    port: int
    pace: Pace
    plugin: IncidentPlugin | None = None
    changed: float | None = None
    before: dict[str, JSON] = field(default_factory=dict)
    """The WasmPlugins before the incident, by their entries."""
    spared: dict[str, str] = field(default_factory=dict)
    """The gateways that the incident must not touch, by their entries: what each of their answers must say."""
    asked: str = NAME
    """The release that is to say something."""
    team: str = ""
    """The release's own namespace, where it is not that of the gateways."""
    borrowed: list[str] = field(default_factory=list)
    repositories: int = 0
    streams: dict[str, Traffic] = field(default_factory=dict)
    closing: ExitStack = field(default_factory=ExitStack)
    ends: float = 0.0

    @property
    def namespace(self) -> str:
        return f"{self.name}-{self.mode}"

    @property
    def namespaces(self) -> dict[str, str]:
        """Where the gateways are, by the entries that select them."""
        elsewhere = {THERE: f"{self.namespace}-{THERE}"} if self.incident.elsewhere else {}
        return {HERE: self.namespace, **elsewhere}

    @property
    def is_bare(self) -> bool:
        return self.mode is Mode.BARE

    @property
    def cluster(self) -> LabCluster:
        return LabCluster(self.lab, self.operator)

    @property
    def home(self) -> str:
        """Where the person applies things."""
        return self.team or self.namespace

    # ------------------------------------------------------------------------------------------ one run

    def prepare(self) -> None:
        """Asks for the gateways; returns at once."""
        own = gateways.manifests(self.namespace, self.incident.gateways, self.port)
        self.apply(*(map(with_licence, own) if self.incident.elsewhere else own))
        for namespace in (self.namespaces[entry] for entry in self.namespaces if entry != HERE):
            self.borrowed.append(namespace)
            self.apply(*gateways.manifests(namespace, self.incident.elsewhere, self.port))
            self.allow(namespace)

    def execute(self) -> Half:
        """The story from its beginning to its end, and what came of it. Raises nothing."""
        trouble = ""
        with self.closing:
            try:
                self.await_rollout()
                self.ends = time.monotonic() + SECONDS
                self.incident.story(self)
                self.settle()
                self.check_spared()
            except Exception as error:
                trouble = f"{type(error).__name__}: {error}"
            seconds = time.monotonic() - self.changed if self.changed else 0.0
            if not self.is_bare:
                self.pace.told(seconds)
            said = None if self.is_bare else self.said()
            answers = self.answers()
        return Half(losses(answers, self.incident.right), answers.total(), seconds, trouble, said)

    def clean_up(self) -> None:
        """Takes everything of it away; returns at once."""
        namespaces = (self.namespace, *self.borrowed)
        self.lab.kubectl("delete", "namespace", *namespaces, "--wait=false", "--ignore-not-found")

    # ---------------------------------------------------------------------------------------- the plugin

    def push(self, module: bytes, name: str = "") -> str:
        """A module to the lab's open registry, under a new repository or as ``name`` (repository:tag)."""
        self.repositories += 1
        path = self.folder / f"{self.namespace}-{self.repositories}.wasm"
        path.write_bytes(module)
        return registries.push(self.lab, path, f"{self.namespace}/{name or f'plugin-{self.repositories}:1.0'}")

    def deploy(self, plugin: IncidentPlugin, says: str = "v1") -> None:
        """The plugin runs in every gateway, and each answers ``x-plugin: says``; from then on requests are counted."""
        self.show(plugin)
        if not self.is_bare:
            self.await_said("Loaded", "Ready")
        self.await_served(says)
        self.remember()
        self.count()

    def deploy_good(self, **fields: Any) -> None:
        """A good plugin, v1, runs."""
        self.deploy(IncidentPlugin(self.push(wasm_modules.answering("v1")), **fields))

    def change(self, **fields: Any) -> None:
        """The person changes the plugin that runs; from here on the clock runs."""
        assert self.plugin is not None
        self.begin()
        self.show(replace(self.plugin, **fields))

    def turn_to(self, says: str, **fields: Any) -> None:
        """A change that goes well, before the incident."""
        assert self.plugin is not None
        before = self.stable()
        self.show(replace(self.plugin, **fields))
        if not self.is_bare:
            self.until("another revision is stable", lambda: self.stable() != before)
        self.await_served(says)
        self.remember()

    def remember(self) -> None:
        """What is written now is what was there before the incident."""
        found = {entry: self.written(entry) for entry in self.namespaces}
        self.before = {entry: plugin for entry, plugin in found.items() if plugin is not None}

    def stable(self) -> str:
        """The revision that runs everywhere; "" with bare Istio."""
        if self.is_bare:
            return ""
        return str(self.cluster.release(self.asked, self.home)["status"].get("stableRevision", ""))

    def go_back_to(self, revision: str, **fields: Any) -> None:
        """The person asks for an older revision; with bare Istio that is applied as it was."""
        if self.is_bare:
            self.change(**fields)
            return
        self.begin()
        annotation = f"{api.ROLLBACK_ANNOTATION}={revision}"
        self.lab.kubectl("annotate", api.PLURAL, self.asked, "-n", self.home, annotation, "--overwrite")

    def first(self, plugin: IncidentPlugin) -> None:
        """The person applies a plugin where none was; requests are counted from before on."""
        self.count()
        self.begin()
        self.show(plugin)

    def begin(self) -> None:
        """The time of the incident begins, if it has not."""
        self.changed = self.changed or time.monotonic()

    def show(self, plugin: IncidentPlugin) -> None:
        """kubectl apply, in the form of this run."""
        self.plugin = plugin
        self.apply(*self.manifests(plugin))

    def manifests(self, plugin: IncidentPlugin, name: str = NAME) -> list[JSON]:
        """The plugin in the form of this run."""
        places = self.places(plugin)
        if self.is_bare:
            return [wasm_plugin(plugin, name, place) for place in places]
        return [plugin_release(plugin, name, self.home, places)]

    def places(self, plugin: IncidentPlugin) -> list[Place]:
        """Where it is to run."""
        labels = plugin.labels or {"istio": self.namespace}
        elsewhere = self.namespaces.get(THERE, "")
        known = {
            HERE: Place(HERE, plugin.namespace or self.namespace, labels),
            THERE: Place(THERE, elsewhere, {"istio": elsewhere}),
        }
        return [known[entry] for entry in plugin.entries]

    def allow(self, namespace: str, *, make: bool = False) -> str:
        """A namespace that this run's releases may write to; ``make``: it is made, and goes with the run."""
        if make:
            self.borrowed.append(namespace)
            self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        if not self.is_bare:
            annotation = f"{api.ALLOWED_NAMESPACES_ANNOTATION}={self.home}"
            self.lab.kubectl("annotate", "namespace", namespace, annotation, "--overwrite")
        return namespace

    def forbid(self, namespace: str) -> None:
        """This run's releases may not write to that namespace any more."""
        self.lab.kubectl("annotate", "namespace", namespace, f"{api.ALLOWED_NAMESPACES_ANNOTATION}-")

    def apply(self, *manifests: JSON) -> None:
        """kubectl apply."""
        self.lab.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(manifests))

    def secret(self, name: str, credentials: tuple[str, str], host: str = "", kind: str = "") -> None:
        """A pull secret for a registry, the lab's private one by default."""
        made = registries.pull_secret(name, self.home, host or self.lab.private_registry, credentials)
        self.apply({**made, "type": kind or made["type"]})

    def built(self, name: str) -> bytes:
        """A Go plugin of tests/fixtures/plugins, compiled once for both runs."""
        output = self.folder / f"{name}.wasm"
        with BUILDING:
            if not output.exists():
                builder.compile_go(FIXTURES / name, output, deadline=300)
            return output.read_bytes()

    def push_private(self, module: bytes) -> str:
        """To the lab's registry that asks for a password."""
        path = self.folder / f"{self.namespace}-private.wasm"
        path.write_bytes(module)
        return registries.push_private(self.lab, path, f"{self.namespace}/private:1.0")

    def registry(self, realm: str | None = None) -> registries.Registry:
        """A registry that the incident may break; it ends with the run."""
        folder = self.folder / self.namespace
        folder.mkdir()
        registry = registries.Registry(self.lab, folder, realm, self.port)
        registry.start()
        self.closing.callback(registry.stop)
        return registry

    # ---------------------------------------------------------------------------------------- the gateways

    def await_rollout(self) -> None:
        """The gateways that were asked for are ready."""
        counts = {HERE: self.incident.gateways, THERE: self.incident.elsewhere}
        for entry, namespace in self.namespaces.items():
            if counts[entry]:
                where = ("-n", namespace, "--timeout=120s")
                self.lab.kubectl("rollout", "status", f"deployment/{namespace}", *where, timeout=150)

    def gateways(self, *entries: str) -> list[GatewayPod]:
        """The gateway pods of these entries, by default of all, that are ready."""
        chosen = ",".join(self.namespaces[entry] for entry in entries or self.namespaces)
        return [pod for pod in self.lab.gateway_pods(f"istio in ({chosen})") if pod.ready]

    def scale(self, replicas: int) -> None:
        """More gateways, or fewer. Returns when they are ready, and counts the new ones too."""
        self.lab.kubectl("scale", f"deployment/{self.namespace}", "-n", self.namespace, f"--replicas={replicas}")
        self.until(f"{replicas} gateways are ready", lambda: len(self.gateways()) == replicas)
        self.count()

    def replace_one(self) -> None:
        """One gateway pod is deleted; returns when another one has come, which is counted from then on."""
        before = {pod.name for pod in self.gateways()}
        self.streams[min(before)].stop()
        self.lab.kubectl("delete", "pod", min(before), "-n", self.namespace, timeout=90)
        there = len(before)
        self.until("the new pod is ready", lambda: len({pod.name for pod in self.gateways()}) == there)
        self.count()

    def answered(self, *entries: str, port: int = PORT) -> set[tuple[int, str]]:
        """What the gateways answer now: (status, header x-plugin); (0, "-") for one that does not answer."""
        return {self.ask(pod, port) for pod in self.gateways(*entries)}

    def ask(self, pod: GatewayPod, port: int = PORT, **headers: str) -> tuple[int, str]:
        """One request."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            found = self.lab.request(pod.address, port, headers=named, timeout=5.0)
        except OSError:
            return 0, "-"
        return found.status, found.headers.get("x-plugin", "-")

    def await_served(self, plugin: str, *entries: str) -> None:
        """Every gateway of these entries, by default of the plugin's, answers through this plugin; "-" through none."""
        chosen = entries or (self.plugin.entries if self.plugin else ())
        self.until(f"every gateway answers {plugin}", lambda: self.answered(*chosen) == {(200, plugin)})

    def poison(self) -> None:
        """Each gateway gets one request at which `wasm_modules.answering_until_trapped` traps."""
        for pod in self.gateways():
            self.ask(pod, x_trap="1")

    def logs(self) -> str:
        """What the gateways of this run have said so far."""
        options = ("--tail=-1", "--ignore-errors")
        places = ((namespace, f"istio={namespace}") for namespace in self.namespaces.values())
        return "".join(self.lab.kubectl("logs", "-n", place, "-l", labels, *options) for place, labels in places)

    def await_quiet(self) -> None:
        """The gateways have said nothing for a while: what istiod pushes to a pod because it is new has been pushed."""
        said, since = self.logs(), time.monotonic()
        while time.monotonic() < since + QUIET:
            assert time.monotonic() < self.ends, f"the gateways were never quiet for {QUIET:.0f} s"
            time.sleep(PAUSE)
            if (now := self.logs()) != said:
                said, since = now, time.monotonic()

    def count(self, port: int = PORT) -> None:
        """Counts what the gateways answer, from now on; those that are counted already are left alone."""
        for pod in self.gateways():
            name = pod.name if port == PORT else f"{pod.name}:{port}"
            if name not in self.streams:
                traffic = Traffic(self.lab, [pod], rate=RATE, port=port)
                self.streams[name] = self.closing.enter_context(traffic)

    def answers(self) -> Counter[Answer]:
        """Ends the counting: all that was answered."""
        return sum((traffic.stop().total() for traffic in self.streams.values()), Counter())

    def spare(self, entry: str, plugin: str) -> None:
        """From first to last every request through the gateways of this entry must be answered through this plugin."""
        self.spared[entry] = plugin

    def check_spared(self) -> None:
        """Raise AssertionError for another answer of gateways that must be spared."""
        for entry, plugin in self.spared.items():
            for pod in self.gateways(entry):
                odd = self.streams[pod.name].look().total().keys() - {Answer(200, plugin, "served")}
                assert not odd, f"a gateway of {entry} answered {', '.join(map(str, odd))}"

    # ------------------------------------------------------------------------------------------ the end

    def settle(self) -> None:
        """Awaits what this run has to show in the end, and counts a little longer."""
        self.begin()
        if self.is_bare:
            self.await_shown()
            self.keep_pace()
        elif self.incident.says.phase == GONE:
            self.until("the release is gone", lambda: self.said() == self.incident.says)
            time.sleep(TAIL)
        else:
            self.await_said(self.incident.says.reason, self.incident.says.phase)
            time.sleep(TAIL)

    def await_shown(self) -> None:
        """Bare Istio shows what the incident says of it."""
        shows = self.incident.shows
        if shows.log is not None:
            text = shows.log
            self.until(f"a gateway's log says {text!r}", lambda: text in self.logs())
        if shows.answer is not None:
            self.until(f"a gateway answers {shows.answer}", lambda: shows.answer in self.answered())

        if shows.seen is not None:
            shown = shows.seen
            self.until(f"the gateways show {shows.text!r}", lambda: shown(self))

    def restarts(self) -> list[int]:
        """How often the container of each gateway pod was started again."""
        where = ("-n", self.namespace, "-l", f"istio={self.namespace}", "-o", "json")
        listed = json.loads(self.lab.kubectl("get", "pods", *where))["items"]
        return [status["restartCount"] for pod in listed for status in pod["status"].get("containerStatuses", [])]

    def is_silent(self) -> bool:
        """Whether a gateway's admin port does not answer."""
        return any(gateways.admin_is_silent(self.lab, pod) for pod in self.gateways())

    def await_back(self, reason: str, phase: str, plugin: str) -> None:
        """The release said so, and every gateway answers through this plugin; "-": through none."""
        if not self.is_bare:
            self.await_said(reason, phase)
            self.until("the gateways are ready again", lambda: len(self.gateways()) == self.incident.gateways)
            self.await_served(plugin)

    def await_answering(self, reason: str, phase: str) -> None:
        """The release said so, and no gateway's admin port is silent any more."""
        if not self.is_bare:
            self.await_said(reason, phase)
            everybody = self.incident.gateways
            self.until("the gateways answer again", lambda: len(self.gateways()) == everybody and not self.is_silent())

    def keep_pace(self) -> None:
        """At least as long as the release's run, as that is what it is compared with."""
        assert self.changed is not None
        wanted = self.pace.wait(max(self.ends - time.monotonic(), 0.0))
        time.sleep(max(self.changed + wanted - time.monotonic(), TAIL))

    def await_said(self, reason: str, phase: str) -> JSON:
        """The release says so of its newest spec."""

        def said(release: JSON) -> bool:
            about = ready(release)
            return observed(release) and (about["reason"], release["status"].get("phase")) == (reason, phase)

        left = max(self.ends - time.monotonic(), 1.0)
        return self.cluster.await_release(self.asked, said, namespace=self.home, seconds=left)

    def await_event(self, reason: str) -> None:
        """The release was told so in an Event."""
        release = self.cluster.release(self.asked, self.home)
        evidence.await_events(self.lab, release, {reason}, max(self.ends - time.monotonic(), 1.0))

    def said(self) -> Says:
        """What the release says now, and what has become of the WasmPlugin."""
        found = self.cluster.get(api.PLURAL, self.home, self.asked)
        if found is None:
            return Says("-", GONE, self.became())
        return Says(ready(found)["reason"], found.get("status", {}).get("phase", "-"), self.became())

    def became(self) -> Becomes:
        """What has become of the WasmPlugin since `deploy`."""
        now, before = self.written(), self.before.get(HERE)
        if now is None:
            writes = (self.plugin.namespace if self.plugin else None) or self.namespace, self.asked
            return Becomes.REMOVED if before or writes in evidence.written(self.lab) else Becomes.UNTOUCHED
        if before is None or without_policy(now["spec"]) != without_policy(before["spec"]):
            return Becomes.WRITTEN
        same = now["metadata"]["generation"] == before["metadata"]["generation"]
        return Becomes.UNTOUCHED if same and now["metadata"]["uid"] == before["metadata"]["uid"] else Becomes.RESTORED

    def is_written(self, *entries: str) -> bool:
        """Whether the WasmPlugins of these entries, by default of the first, were written since the incident began; by
        their generation, as what was written may have been put back before anybody looks."""
        return all(self.generation_of(entry) != self.generation_before(entry) for entry in entries or (HERE,))

    def is_as_before(self, *entries: str) -> bool:
        """Whether the WasmPlugins of these entries want what they wanted before the incident."""
        return all(self.spec_of(entry) == self.spec_before(entry) for entry in entries)

    def generation_of(self, entry: str) -> int | None:
        found = self.written(entry)
        return found["metadata"]["generation"] if found else None

    def generation_before(self, entry: str) -> int | None:
        return self.before[entry]["metadata"]["generation"] if entry in self.before else None

    def spec_of(self, entry: str) -> JSON | None:
        found = self.written(entry)
        return found["spec"] if found else None

    def spec_before(self, entry: str) -> JSON | None:
        return self.before[entry]["spec"] if entry in self.before else None

    def written(self, entry: str = HERE) -> JSON | None:
        """The WasmPlugin that the release has written for this entry."""
        label = f"{api.MANAGED_BY_LABEL}={api.MANAGED_BY}"
        listed: list[JSON] = json.loads(
            self.lab.kubectl("get", istio.TARGET.plural, "-A", "-l", label, "-o", "json"),
        )["items"]
        wanted = {api.RELEASE_ANNOTATION: f"{self.home}/{self.asked}", api.GATEWAY_ANNOTATION: entry}
        mine = [plugin for plugin in listed if wanted.items() <= plugin["metadata"]["annotations"].items()]
        return mine[0] if mine else None

    def until(self, what: str, done: Callable[[], bool]) -> None:
        """Waits for what has no watch; fails at the run's deadline."""
        while not done():
            assert time.monotonic() < self.ends, f"not seen in {SECONDS:.0f} s: {what}"
            time.sleep(PAUSE)
