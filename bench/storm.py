"""Many releases that change at once on one operator: a `retry` of all, and a rollback meanwhile.

Two hundred releases of one image are in one namespace, and one of them has a simulated gateway pod. That pod crashes of
what was written while all others are rolled out again. The result is the time until its plugin is removed, by the API
server's own log.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import fleet, many
from bench.many import HEADER, Contestant, Course, Report
from pluginrelease_lab import Lab, LabError, operator

SIZE = 200
NAMESPACE = "storm"
VICTIM = "victim"
POD = "gateway-victim"
BACK_WITHIN = 2.0  # seconds: the aim
SECONDS = 300.0
PODS = 100
WATCHED = 30.0  # seconds
RECORDED = Path(__file__).parents[1] / "tests" / "fixtures" / "envoy" / "loaded"

JSON = dict[str, Any]


def run(lab: Lab, ref: str, report: Report, size: int = SIZE) -> list[tuple[str, ...]]:
    """Return the table's rows with the cost of each part; ``report`` gets the time of the rollback."""
    ours = many.ours(lab, ref)
    lab.kubectl("create", "namespace", NAMESPACE)
    process = ours.start()
    try:
        many.until(ours.is_ready, process)
        many.create(lab, [many.release(ref, NAMESPACE, number) for number in range(size)])
        many.await_settled(lab, ours, NAMESPACE, size)
        courses = [retry_all(lab, ours, process, size), rest(lab, ours, process, size, 20.0)]
        report(f"the way back among {size} rollouts: {way_back(lab, ours, ref, size):.2f} s, aim {BACK_WITHIN:.1f} s")
    finally:
        process.terminate()
        process.wait(40)
    courses.append(restart(lab, ours, size))
    lab.kubectl("delete", "namespace", NAMESPACE, "--wait=false")
    for counted in courses:
        report(f"{counted.who}: {', '.join(f'{what} {number}' for what, number in counted.requests.most_common(12))}")
    return [HEADER, *(counted.row() for counted in courses)]


def run_shared(lab: Lab, ref: str, report: Report, size: int = SIZE, pods: int = PODS) -> list[tuple[str, ...]]:
    """Create this many releases on the same simulated pods; then restart each pod, one after the other."""
    log = lab.state / "logs" / "fleet.log"
    fleet.write_log((RECORDED / "log.txt").read_text(), log)
    ours, courses = many.ours(lab, ref), []
    with fleet.admin_port(lab, RECORDED):
        fleet.make(lab, log, range(pods))
        process = ours.start()
        try:
            many.until(ours.is_ready, process)
            asked, used, began = requests(lab, ours), many.cpu_of(process.pid), time.monotonic()
            many.create(lab, [shared_release(ref, number) for number in range(size)])
            await_all(lab, ours, size, is_looked_at, fleet.NAMESPACE)
            courses.append(course(lab, ours, process, f"{pods} pods shared", size, asked, used, began))
            asked, used, began = requests(lab, ours), many.cpu_of(process.pid), time.monotonic()
            time.sleep(WATCHED)
            courses.append(course(lab, ours, process, "and watched", size, asked, used, began))
        finally:
            process.terminate()
            process.wait(40)
    for counted in courses:
        looks = sum(number for what, number in counted.requests.items() if what.endswith("portforward")) / pods
        report(f"{counted.who}: {looks:.1f} port-forwards a pod in {counted.seconds:.0f} s, {counted.requests}")
    return [counted.row() for counted in courses]


def shared_release(ref: str, number: int) -> JSON:
    """Return one of many releases on the same pods. Each has another configuration, so that none is a duplicate."""
    found = many.release(ref, fleet.NAMESPACE, number)
    found["spec"]["gateways"][0]["selector"] = {"matchLabels": {"istio": "fleet"}}
    found["spec"]["plugin"]["config"] = {"number": number}
    return found


def is_looked_at(found: JSON) -> bool:
    """Return whether the release was written and every pod was observed after that."""
    return bool(found.get("status", {}).get("pods"))


def retry_all(lab: Lab, ours: Contestant, process: subprocess.Popen[Any], size: int) -> Course:
    """Roll out every release again, with one command."""
    token = f"{time.monotonic()}"
    asked, used, began = requests(lab, ours), many.cpu_of(process.pid), time.monotonic()
    wish = ["annotate", "--overwrite", "--all", ours.kind, "-n", NAMESPACE, f"pluginrelease.io/retry={token}"]
    lab.kubectl(*wish, timeout=300)
    await_all(lab, ours, size, lambda found: found.get("status", {}).get("handled", {}).get("retry") == token)
    return course(lab, ours, process, "retry of all", size, asked, used, began)


def rest(lab: Lab, ours: Contestant, process: subprocess.Popen[Any], size: int, seconds: float) -> Course:
    """Measure while nothing happens."""
    asked, used, began = requests(lab, ours), many.cpu_of(process.pid), time.monotonic()
    time.sleep(seconds)
    return course(lab, ours, process, "at rest", size, asked, used, began)


def restart(lab: Lab, ours: Contestant, size: int) -> Course:
    """Measure from the start until the operator is ready, and a while after that."""
    asked, began = requests(lab, ours), time.monotonic()
    process = ours.start()
    try:
        many.until(ours.is_ready, process)
        time.sleep(20.0)
        return course(lab, ours, process, "a restart", size, asked, 0.0, began)
    finally:
        process.terminate()
        process.wait(40)


def way_back(lab: Lab, ours: Contestant, ref: str, size: int) -> float:
    """Return the seconds from the crash in the pod's status until the object is deleted, during all other rollouts."""
    lab.kubectl("create", "-f", "-", stdin=json.dumps(pod()))
    victim = many.release(ref, NAMESPACE, 0)
    victim["metadata"]["name"] = VICTIM
    victim["spec"]["gateways"][0]["selector"] = {"matchLabels": {"gateway": VICTIM}}
    lab.kubectl("wait", f"pod/{POD}", "-n", NAMESPACE, "--for=condition=Ready", "--timeout=60s", timeout=70)
    lab.kubectl("create", "-f", "-", stdin=json.dumps(victim))
    await_written(lab)
    changed = [many.release(ref, NAMESPACE, number) for number in range(size)]
    for found in changed:
        found["spec"]["plugin"]["config"] = {"storm": "yes"}
    lab.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=many_documents(changed), timeout=300)
    crashed_at = datetime.now(UTC)
    lab.kubectl("patch", "pod", POD, "-n", NAMESPACE, "--subresource=status", "--type=merge", "-p", json.dumps(crash()))
    return (await_deleted(lab, crashed_at) - crashed_at).total_seconds()


def many_documents(objects: Sequence[JSON]) -> str:
    """Return YAML for kubectl's standard input."""
    return "\n---\n".join(map(json.dumps, objects))


def pod() -> JSON:
    """Return a gateway pod that kwok reports ready and that answers no request."""
    container = {"name": fleet.CONTAINER, "image": "istio/proxyv2:1.31.0"}
    metadata = {"name": POD, "namespace": NAMESPACE, "labels": {"gateway": VICTIM}}
    spec = {"nodeName": fleet.NODE, "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def crash() -> JSON:
    """Return the status of a pod whose Envoy has crashed twice, the last time just now."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    ended = {"exitCode": 139, "signal": 11, "reason": "Error", "startedAt": now, "finishedAt": now}
    status = {
        "name": fleet.CONTAINER,
        "image": "istio/proxyv2:1.31.0",
        "imageID": "",
        "ready": False,
        "restartCount": 2,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": ended},
    }
    return {"status": {"containerStatuses": [status]}}


def await_written(lab: Lab) -> None:
    """Return when the victim's object exists."""
    for _ in lab.watch("wasmplugins", "-n", NAMESPACE, f"--field-selector=metadata.name={VICTIM}-public", seconds=60):
        return
    raise LabError("the plugin of the release that is to crash was not written")


def await_deleted(lab: Lab, since: datetime) -> datetime:
    """Return when the API server got the request that deletes the victim's object."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        with lab.audit_log.open(encoding="utf-8") as lines:
            for event in operator.complete_events(lines):
                about = event.get("objectRef", {})
                is_it = (about.get("resource"), about.get("name")) == ("wasmplugins", f"{VICTIM}-public")
                if is_it and event["verb"] == "delete":
                    at = datetime.fromisoformat(event["requestReceivedTimestamp"])
                    if at >= since:
                        return at
        time.sleep(0.5)
    raise LabError(f"the crash was not put back within {SECONDS:.0f} s")


def await_all(lab: Lab, ours: Contestant, size: int, done: Callable[[JSON], bool], namespace: str = NAMESPACE) -> None:
    """Return when this many releases satisfy ``done``."""
    reached: set[str] = set()
    for found in lab.watch(ours.kind, "-n", namespace, seconds=SECONDS):
        if done(found):
            reached.add(found["metadata"]["name"])
        if len(reached) == size:
            return
    raise LabError(f"{len(reached)} of {size} releases became as wanted within {SECONDS:.0f} s")


def requests(lab: Lab, ours: Contestant) -> int:
    """Return the number of requests so far."""
    return len(many.requests_of(lab, ours.user))


def course(
    lab: Lab,
    ours: Contestant,
    process: subprocess.Popen[Any],
    what: str,
    size: int,
    asked: int,
    used: float,
    began: float,
) -> Course:
    """Return what a part cost since it began."""
    seconds = time.monotonic() - began
    cpu, pid = many.cpu_of(process.pid) - used, process.pid
    counted = Counter(many.requests_of(lab, ours.user)[asked:])
    return Course(what, size, seconds, cpu, many.memory_of(pid, "VmRSS"), many.memory_of(pid, "VmHWM"), counted)
