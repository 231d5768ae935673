"""The way back of one release while 200 others change: from what asks for it until the old object is written.

The API server, the control plane and the gateways of the one release are real; the 200 others have no pods. All of
them get another configuration at once. When the operator has written some of them, one of these happens to the one
release:

* a user sets ``rollback-to``, applies the earlier spec again, or switches the release off;
* one request lets Envoy abort: the revision has run everywhere, and is watched;
* an update lets Envoy abort when it is configured: this update is one of the changes.

Times are the API server's own: a user's command counts from its answer, a crash from the first status of a pod that
shows it. The end is the answer to the operator's write.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from bench import many, storm
from bench.figures import Figure
from bench.many import Report
from pluginrelease import api
from pluginrelease_lab import Lab, LabError, operator
from tests import wasm_modules
from tests.harness import evidence, gateways
from tests.harness.cluster import JSON, LabCluster, Operator, is_ready

VICTIM = "victim"
WITHIN = 300.0
"""Seconds for each wait."""
UNDER_WAY = 20
"""So many of the others are written when the one release is to go back."""
PAUSE = 0.05
BOUNDS = {"rollback-to": 2.0, "spec": 2.0, "off": 2.0, "request-that-aborts": 3.0, "update-that-aborts": 3.0}
"""Seconds: the aims."""
COMMANDS = ("rollback-to", "spec", "off")
CRASHES = ("request-that-aborts", "update-that-aborts")


@dataclass(frozen=True)
class WayBack:
    """One measurement. ``busy``: how many of the others were still to be written when it began."""

    what: str
    seconds: float
    busy: int

    def __str__(self) -> str:
        return f"{self.what}: {self.seconds:.2f} s, aim {BOUNDS[self.what]:.0f} s, {self.busy} others to be written"


@dataclass
class AuditTail:
    """The API server's audit log, read piece by piece."""

    path: Path
    events: list[JSON] = field(default_factory=list)
    at: int = 0

    def read(self) -> list[JSON]:
        """Return every event so far."""
        with self.path.open("rb") as lines:
            lines.seek(self.at)
            whole, _, _ = lines.read().rpartition(b"\n")
        self.at += len(whole) + 1 if whole else 0
        self.events += [json.loads(line) for line in whole.splitlines()]
        return self.events

    def await_first(self, what: str, found: Callable[[JSON], bool]) -> datetime:
        """Return when the API server answered the first such request."""
        deadline = time.monotonic() + WITHIN
        while time.monotonic() < deadline:
            for event in self.read():
                if found(event):
                    return answered(event)
            time.sleep(PAUSE)
        raise LabError(f"{what} did not come within {WITHIN:.0f} s")


@dataclass
class Bench:
    """The one release on its own gateways, and the others."""

    cluster: LabCluster
    images: Mapping[str, str]
    size: int
    report: Report
    changes: int = 0
    commands: int = 0
    tail: AuditTail = field(init=False)

    def __post_init__(self) -> None:
        self.tail = AuditTail(self.lab.audit_log)

    @property
    def lab(self) -> Lab:
        return self.cluster.lab

    def prepare(self) -> None:
        """Start the operator; create all releases, and wait until they have come to rest."""
        self.lab.kubectl("create", "namespace", storm.NAMESPACE)
        gateways.deploy(self.cluster, VICTIM, replicas=2)
        self.cluster.operator.start()
        self.apply("v1")
        self.await_ready()
        self.lab.kubectl("create", "-f", "-", stdin=storm.many_documents(self.releases()), timeout=WITHIN)
        self.await_others()

    def releases(self) -> list[JSON]:
        """Return the others with a configuration that they never had."""
        self.changes += 1
        found = [many.release(self.images["other"], storm.NAMESPACE, number) for number in range(self.size)]
        for release in found:
            release["spec"]["plugin"]["config"] = {"storm": self.changes}
        return found

    def await_others(self) -> None:
        """Return when the newest spec of each was written."""
        settled: set[str] = set()
        for found in self.lab.watch(api.PLURAL, "-n", storm.NAMESPACE, seconds=WITHIN * 2):
            if self.is_settled(found):
                settled.add(found["metadata"]["name"])
            if len(settled) == self.size:
                return
        raise LabError(f"{len(settled)} of {self.size} releases came to rest")

    def is_settled(self, found: JSON) -> bool:
        return found["spec"]["plugin"]["config"] == {"storm": self.changes} and many.is_ours_settled(found)

    # ------------------------------------------------------------------------------------------ the one release

    def manifest(self, version: str) -> JSON:
        gateway = {"provider": "Istio", "namespace": VICTIM, "selector": {"matchLabels": {"istio": VICTIM}}}
        return self.cluster.manifest(VICTIM, self.images[version], namespace=VICTIM, gateway=gateway)

    def apply(self, version: str) -> None:
        self.apply_all([self.manifest(version)])

    def annotate(self, *annotations: str) -> None:
        self.lab.kubectl("annotate", "--overwrite", api.PLURAL, VICTIM, "-n", VICTIM, *annotations)

    def await_ready(self) -> str:
        """Return the revision that runs in both gateways."""
        status = self.cluster.await_release(VICTIM, is_ready, namespace=VICTIM, seconds=WITHIN)["status"]
        return str(status["stableRevision"])

    def settle_at(self, version: str) -> str:
        """Let the release come to rest with this version, whatever was before; return the revision."""
        wait = ("--for=condition=Available", f"deployment/{VICTIM}", "-n", VICTIM, f"--timeout={WITHIN:.0f}s")
        self.lab.kubectl("wait", *wait, timeout=WITHIN + 10)
        self.apply(version)
        self.commands += 1
        self.annotate(f"{api.ON_ANNOTATION}={self.commands}", f"{api.RETRY_ANNOTATION}={self.commands}")
        retried = f"{self.commands}"
        status = self.cluster.await_release(
            VICTIM,
            lambda it: is_ready(it) and it["status"].get("handled", {}).get("retry") == retried,
            namespace=VICTIM,
            seconds=WITHIN,
        )["status"]
        return str(status["stableRevision"])

    def measure(self, what: str) -> WayBack:
        """Let all others change; return how long the one release took to go back."""
        old = self.settle_at("v1")
        if what != "update-that-aborts":
            self.settle_at("v2")
        changed = self.releases()
        if what == "update-that-aborts":
            changed.insert(self.size // 4, self.manifest("deadly"))
        since = datetime.now(UTC)
        with ThreadPoolExecutor(2) as beside:
            applying = beside.submit(self.apply_all, changed)
            began = self.trigger(what, old, since, beside)
            written = self.tail.await_first("the write", lambda event: is_write_of(event, VICTIM, began))
            applying.result()
        busy = self.size - self.count_written(since, began)
        if what != "off":
            self.check(old)
        found = WayBack(what, (written - began).total_seconds(), busy)
        self.report(str(found))
        return found

    def apply_all(self, objects: Sequence[JSON]) -> None:
        """With one kubectl."""
        told = ("apply", "--server-side", "--force-conflicts", "-f", "-")
        self.lab.kubectl(*told, stdin=storm.many_documents(objects), timeout=WITHIN * 2)

    def trigger(self, what: str, old: str, since: datetime, beside: ThreadPoolExecutor) -> datetime:
        """Let it happen when the others are under way; return when the API server had taken that in."""
        crashed = beside.submit(self.await_crash, since) if what in CRASHES else None
        if what == "update-that-aborts":
            assert crashed is not None
            return crashed.result()
        self.await_under_way(since)
        asked = datetime.now(UTC)
        match what:
            case "rollback-to":
                self.annotate(f"{api.ROLLBACK_ANNOTATION}={old}:{self.commands}")
            case "off":
                self.annotate(f"{api.OFF_ANNOTATION}={self.commands}: measured")
            case "spec":
                self.apply("v1")
        if crashed is None:
            return self.tail.await_first("the command", lambda event: is_command(event, asked))
        with suppress(OSError):
            pod = self.cluster.gateways(VICTIM)[0]
            self.lab.request(pod.address, headers={"x-trap": "1"})
        return crashed.result()

    def await_under_way(self, since: datetime) -> None:
        deadline = time.monotonic() + WITHIN
        while self.count_written(since) < UNDER_WAY:
            if time.monotonic() > deadline:
                raise LabError(f"the operator did not begin to write the others within {WITHIN:.0f} s")
            time.sleep(PAUSE)

    def await_crash(self, since: datetime) -> datetime:
        """Return when the API server had written the first status of a pod that shows an end since then."""
        for pod in self.lab.watch("pods", "-n", VICTIM, seconds=WITHIN):
            if any(ended >= since.replace(microsecond=0) for ended in list_ends(pod)):
                seen = datetime.now(UTC)
                return max(at for at in evidence.status_writes(self.lab, VICTIM, pod["metadata"]["name"]) if at <= seen)
        raise LabError("no gateway crashed")

    def count_written(self, since: datetime, until: datetime | None = None) -> int:
        """Return how many of the others the operator has written since then."""
        names = {
            event["objectRef"].get("name", "")
            for event in self.tail.read()
            if is_of_others(event, storm.NAMESPACE)
            and answered(event) >= since
            and (not until or answered(event) <= until)
        }
        return len(names)

    def check(self, old: str) -> None:
        """The object carries the old revision now."""
        found = self.cluster.get("wasmplugin", VICTIM, VICTIM)
        carried = found["metadata"]["annotations"][api.REVISION_ANNOTATION] if found else None
        if carried != old:
            raise LabError(f"{VICTIM} carries {carried} and not {old}")


def answered(event: JSON) -> datetime:
    """Return when the API server had answered."""
    return datetime.fromisoformat(event["stageTimestamp"])


def is_operators_write(event: JSON) -> bool:
    """Return whether an operator changed a WasmPlugin."""
    is_write = event["verb"] in (*evidence.WRITES, "delete") and evidence.IDENTITY.search(event.get("userAgent", ""))
    is_done = 200 <= event.get("responseStatus", {}).get("code", 0) < 300
    return bool(is_write and is_done and event.get("objectRef", {}).get("resource") == "wasmplugins")


def is_write_of(event: JSON, namespace: str, since: datetime) -> bool:
    """Return whether it is the operator's write of the plugin in a namespace, asked for after this time."""
    came = datetime.fromisoformat(event["requestReceivedTimestamp"])
    return is_operators_write(event) and event["objectRef"].get("namespace") == namespace and came >= since


def is_of_others(event: JSON, namespace: str) -> bool:
    """Return whether it is a write of a plugin of the others."""
    return is_operators_write(event) and event["objectRef"].get("namespace") == namespace


def is_command(event: JSON, since: datetime) -> bool:
    """Return whether it is kubectl's change of the one release."""
    about = event.get("objectRef", {})
    is_about = (about.get("resource"), about.get("name"), about.get("subresource")) == (api.PLURAL, VICTIM, None)
    is_kubectl = event.get("userAgent", "").startswith("kubectl") and event["verb"] in evidence.WRITES
    return is_about and is_kubectl and answered(event) >= since


def list_ends(pod: JSON) -> Iterator[datetime]:
    """Yield when each container of a pod ended last."""
    for status in pod.get("status", {}).get("containerStatuses", []):
        for state in (status.get("state", {}), status.get("lastState", {})):
            if "terminated" in state:
                yield datetime.fromisoformat(state["terminated"]["finishedAt"])


def run(lab: Lab, ways: Sequence[str], turns: int, workplace: Path, report: Report, size: int) -> list[Figure]:
    """Measure each way ``turns`` times; the other side of each figure is its bound."""
    operator.install(lab)
    running = Operator(lab, lab.log("operator"))
    cluster = LabCluster(lab, running)
    modules = {
        "other": wasm_modules.answering("other"),
        "v1": wasm_modules.answering("v1"),
        "v2": wasm_modules.answering_until_aborted("v2"),
        "deadly": wasm_modules.aborts_at_configure(),
    }
    images = {name: cluster.push(module, workplace, name) for name, module in modules.items()}
    bench = Bench(cluster, images, size, report)
    bench.prepare()
    found = [bench.measure(what) for _ in range(turns) for what in ways]
    running.stop()
    if running.restarts:
        report(f"the operator lost its Lease {running.restarts} times")
    return [
        Figure(
            f"way-back-among-{size}-{what}", tuple(one.seconds for one in found if one.what == what), (BOUNDS[what],)
        )
        for what in ways
    ]
