"""Bad input of every kind, all of it at once, and a healthy release in the middle of it."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from pluginrelease.core.artifact import image_manifests, packing
from pluginrelease.core.mesh import istio
from pluginrelease.edges.oci import registry
from pluginrelease.edges.oci.access import Access
from pluginrelease_lab import Lab
from tests import odd_modules, wasm_modules
from tests.harness import evidence, registries
from tests.harness.cluster import GATEWAY_NAMESPACE, LabCluster, Operator, conditions, is_ready, observed, ready, unique

JSON = dict[str, Any]

CLOSED_PORT, SILENT_PORT = 5998, 5999
SETTLE = 150.0
IN_NAMESPACE = ("-n", GATEWAY_NAMESPACE)
LABEL = "tests.pluginrelease.io/bad-input"
POD_LABEL = {"tests.pluginrelease.io/late": "yes"}

# takes connections, never answers, and says of each that it came
SILENT = """
import socket, sys
listener, kept = socket.create_server((sys.argv[1], int(sys.argv[2]))), []
print("listening", flush=True)
while True:
    kept.append(listener.accept())
    print("asked", flush=True)
"""


@dataclass(frozen=True)
class BadInput:
    """One kind of bad input, what the condition says of it, and what it tells to do."""

    name: str
    reason: str
    turn: str
    step: str
    remedy: str

    @property
    def refused(self) -> bool:
        """Whether only a person can heal it."""
        return self.turn == "Stalled"


CASES = (
    BadInput("no-reference", "InvalidReference", "Stalled", "ArtifactReady", "registry.example.com/team/plugin"),
    BadInput("no-tag", "MissingTag", "Stalled", "ArtifactReady", ":1.0.0"),
    BadInput("unknown-tag", "ManifestNotFound", "Reconciling", "ArtifactReady", "Push"),
    BadInput("down", "RegistryUnavailable", "Reconciling", "ArtifactReady", "network policy"),
    BadInput("silent", "RegistryUnavailable", "Reconciling", "ArtifactReady", "network policy"),
    BadInput(
        "no-credentials", "AuthenticationRequired", "Stalled", "ArtifactReady", "spec.artifact.image.pullSecretRef"
    ),
    BadInput("wrong-password", "AuthenticationFailed", "Stalled", "ArtifactReady", "credentials"),
    BadInput(
        "no-secret", "PullSecretNotFound", "Reconciling", "ArtifactReady", "create secret docker-registry no-secret"
    ),
    BadInput(
        "wrong-secret", "InvalidPullSecret", "Stalled", "ArtifactReady", "create secret docker-registry wrong-secret"
    ),
    BadInput("no-module", "NoPluginWasm", "Stalled", "ArtifactReady", "plugin.wasm"),
    BadInput("truncated", "TruncatedModule", "Stalled", "ArtifactReady", "size"),
    BadInput("text", "NotWasm", "Stalled", "ArtifactReady", ".wasm"),
    BadInput("unknown-abi", "UnknownABI", "Stalled", "Compatible", "Proxy-Wasm SDK"),
    BadInput("missing-import", "MissingHostFunction", "Stalled", "Compatible", "Proxy-Wasm SDK"),
    BadInput("kills-the-gateway", "StartCallsHost", "Stalled", "Compatible", '"exportStart": "_start"'),
    BadInput("no-pods", "NoGatewayPods", "Reconciling", "Loaded", "label "),
)
HEALTHY = "healthy"


@dataclass
class Badness:
    """All the releases of this file, applied at once."""

    cluster: LabCluster
    scratch: Path
    refs: dict[str, str]
    silent: subprocess.Popen[str]

    @property
    def lab(self) -> Lab:
        return self.cluster.lab

    def settled(self, case: BadInput) -> JSON:
        """The release once it was judged as this case should be."""
        return self.cluster.await_release(
            case.name,
            lambda it: observed(it) and ready(it)["reason"] == case.reason and case.turn in conditions(it),
            seconds=SETTLE,
        )


@pytest.fixture(scope="module")
def bad(lab: Lab, running_operator: Operator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Badness]:
    """Applied in one go; taken away in one go."""
    cluster, scratch = LabCluster(lab, running_operator), tmp_path_factory.mktemp("bad")
    silent = listen(lab, SILENT_PORT)
    one = Badness(cluster, scratch, references(cluster, scratch), silent)
    objects = [*secrets(lab), *(labelled(manifest(cluster, name, ref)) for name, ref in one.refs.items())]
    lab.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))
    try:
        yield one
    finally:
        what = ["prel,secret,deployment", *IN_NAMESPACE, "-l", LABEL]
        lab.kubectl("delete", *what, "--cascade=foreground", "--timeout=60s", timeout=90)
        silent.kill()
        silent.wait()


def listen(lab: Lab, port: int) -> subprocess.Popen[str]:
    """A server inside the lab that takes connections and never answers."""
    argv = [sys.executable, "-c", SILENT, lab.registry.partition(":")[0], str(port)]
    process: subprocess.Popen[str] = lab.popen(argv, stdout=subprocess.PIPE, text=True)
    await_line(process, "listening")
    return process


def await_line(process: subprocess.Popen[str], wanted: str) -> None:
    """Returns when the process has printed this line; pytest's time limit is the deadline."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == wanted:
            return
    raise AssertionError(f"ended without saying {wanted}")


def references(cluster: LabCluster, scratch: Path) -> dict[str, str]:
    """Name of the release → its image, most of them pushed here."""
    host = cluster.lab.registry.partition(":")[0]

    def push(wasm: bytes) -> str:
        return cluster.push(wasm, scratch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "PLUGIN_FILE", "main.wasm")
        no_module = push(wasm_modules.plugin())
    private = push_private(cluster.lab, scratch)
    return {
        "no-reference": f"{cluster.lab.registry}/Tests/Plugin:1.0",
        "no-tag": f"{cluster.lab.registry}/tests/plugin",
        "unknown-tag": f"{cluster.lab.registry}/tests/{unique('later')}:1.0",
        "down": f"{host}:{CLOSED_PORT}/tests/plugin:1.0",
        "silent": f"{host}:{SILENT_PORT}/tests/plugin:1.0",
        "no-credentials": private,
        "wrong-password": private,
        "no-secret": private,
        "wrong-secret": private,
        "no-module": no_module,
        "truncated": push(wasm_modules.truncated()),
        "text": push(wasm_modules.text_file()),
        "unknown-abi": push(wasm_modules.unknown_abi()),
        "missing-import": push(wasm_modules.missing_import()),
        "kills-the-gateway": push(odd_modules.named("start-logs")),
        "no-pods": push(wasm_modules.plugin()),
        HEALTHY: push(wasm_modules.plugin()),
    }


def push_private(lab: Lab, scratch: Path) -> str:
    """A good module in the registry that wants a password."""
    module = scratch / "private.wasm"
    module.write_bytes(wasm_modules.plugin())
    return registries.push_private(lab, module, f"tests/{unique('private')}:1.0")


def docker_config(host: str, user: str, password: str) -> bytes:
    """A .dockerconfigjson."""
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    return json.dumps({"auths": {host: {"auth": auth}}}).encode()


def pull_secret(lab: Lab, name: str, password: str | None = None) -> JSON:
    """A pull secret for the private registry."""
    user, right = lab.private_credentials
    content = docker_config(lab.private_registry, user, password or right)
    return labelled(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": GATEWAY_NAMESPACE},
            "type": "kubernetes.io/dockerconfigjson",
            "data": {".dockerconfigjson": base64.b64encode(content).decode()},
        }
    )


def secrets(lab: Lab) -> list[JSON]:
    """The secrets that are there, and wrong."""
    wrong_type = pull_secret(lab, "wrong-secret")
    return [pull_secret(lab, "wrong-password", "not-it"), {**wrong_type, "type": "Opaque"}]


def manifest(cluster: LabCluster, name: str, ref: str) -> JSON:
    """The release; those named after a secret use it."""
    made = cluster.manifest(name, ref)
    if name in ("wrong-password", "no-secret", "wrong-secret"):
        made["spec"]["artifact"]["image"]["pullSecretRef"] = {"name": name}
    if name == "no-pods":
        made["spec"]["gateways"][0]["selector"]["matchLabels"] = POD_LABEL
    return made


def labelled(thing: JSON) -> JSON:
    """With the label by which it is taken away."""
    thing["metadata"]["labels"] = {LABEL: "yes"}
    return thing


# ------------------------------------------------------------------------------------------------- what is told


def test_a_registry_that_comes_back_is_asked_again(bad: Badness) -> None:
    """A registry that was down is asked again by itself, soon after."""
    bad.settled(case_of("down"))
    back = listen(bad.lab, CLOSED_PORT)
    await_line(back, "asked")
    back.kill()
    back.wait()


def test_the_others_go_on(bad: Badness) -> None:
    """A healthy release becomes Ready in the middle of all that."""
    bad.cluster.await_ready(HEALTHY, seconds=SETTLE)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_is_told_with_a_remedy(bad: Badness, case: BadInput) -> None:
    """Each ends in a condition with a CamelCase reason, a sentence and what to do; what failed is an Event as well.

    Stalled where a person must act, Reconciling where the operator goes on by itself; never both, never Ready. The
    steps after the failed one say that they were not reached.
    """
    release = bad.settled(case)
    found = conditions(release)
    assert ready(release)["status"] == "False"
    assert {"Stalled", "Reconciling"} & found.keys() == {case.turn}
    assert re.fullmatch(r"([A-Z][a-z0-9]*|[A-Z]+)+", case.reason)
    assert case.remedy in ready(release)["message"]
    assert len(ready(release)["message"]) > len(case.remedy) + 20, "says only what to do, not what was found"
    assert (found[case.step]["status"], found[case.step]["reason"]) == ("False", case.reason)
    steps = ("ArtifactReady", "Compatible", "Applied", "Loaded")
    later = steps[steps.index(case.step) + 1 :]
    assert {found[step]["reason"] for step in later} <= {"NotReached"}
    if case.step != "Loaded":  # what is waited for in the gateways is progress, and told by the conditions alone
        assert evidence.await_events(bad.lab, release, {case.reason})[case.reason]["type"] == "Warning"


def test_nothing_is_written_for_the_refused(bad: Badness) -> None:
    """No WasmPlugin was ever asked for, but for the healthy release and the one whose pods may come."""
    for case in CASES:
        bad.settled(case)
    named = {name for _, name in evidence.written(bad.lab, istio.TARGET.plural)}
    assert named & bad.refs.keys() == {HEALTHY, "no-pods"}


# ------------------------------------------------------------------------------------------------- what heals


def test_what_can_heal_heals_by_itself(bad: Badness) -> None:
    """The secret is created, the tag is pushed, the pod comes: Ready follows with nothing done to the release.

    And the silent registry is asked again.
    """
    for name in ("no-secret", "unknown-tag", "no-pods"):
        bad.settled(case_of(name))
    push_at(bad, bad.refs["unknown-tag"])
    bad.lab.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(pull_secret(bad.lab, "no-secret")))
    late = late_gateway(bad.lab)
    bad.lab.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(late))
    [pod] = running_pods(bad.cluster.await_ready("no-pods", seconds=SETTLE))
    assert pod.startswith(late["metadata"]["name"])
    bad.lab.kubectl("delete", "deployment", late["metadata"]["name"], *IN_NAMESPACE, "--cascade=foreground")
    assert len(running_pods(bad.cluster.await_ready("no-secret", seconds=SETTLE))) == 2
    await_line(bad.silent, "asked")
    await_line(bad.silent, "asked")
    assert len(running_pods(bad.cluster.await_ready("unknown-tag", seconds=SETTLE))) == 2


def late_gateway(lab: Lab) -> JSON:
    """A Deployment like the lab's own, whose one pod also carries the label that was asked for."""
    known = json.loads(lab.kubectl("get", "deployment", "istio-ingressgateway", *IN_NAMESPACE, "-o", "json"))
    template = known["spec"]["template"]
    template["metadata"]["labels"] |= {"app": "late-gateway", **POD_LABEL}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "late-gateway", "namespace": GATEWAY_NAMESPACE, "labels": {LABEL: "yes"}},
        "spec": {"replicas": 1, "selector": {"matchLabels": POD_LABEL}, "template": template},
    }


def push_at(bad: Badness, ref: str) -> None:
    """A good module under exactly this reference."""
    module = bad.scratch / "late.wasm"
    module.write_bytes(wasm_modules.plugin())
    reference = image_manifests.parse(f"{bad.lab.registry_host}/{ref.partition('/')[2]}")
    registry.push(reference, module, Access(insecure=True))


def running_pods(release: JSON) -> list[str]:
    """The pods that were seen running the plugin."""
    return [row["name"] for row in release["status"]["pods"] if row["state"] == "Loaded"]


def test_what_cannot_heal_is_not_pulled_again(bad: Badness) -> None:
    """The bytes of a refused image are fetched once: not again while others healed, nor for a change beside it."""
    refused = [case.name for case in CASES if case.refused and bad.refs[case.name].startswith(bad.lab.registry)]
    pulled = ("no-module", "truncated", "text", "unknown-abi", "missing-import", "kills-the-gateway")
    assert set(pulled) <= set(refused)
    patch = json.dumps({"spec": {"checks": {"load": {"timeout": "3m"}}}})
    for name in refused:
        assert len(evidence.fetched(bad.lab, bad.refs[name])) == (1 if name in pulled else 0)
        bad.lab.kubectl("patch", "prel", name, *IN_NAMESPACE, "--type=merge", "-p", patch)
    for name in refused:
        bad.cluster.await_release(name, has_answered_a_change)
        assert len(evidence.fetched(bad.lab, bad.refs[name])) == (1 if name in pulled else 0)


def has_answered_a_change(release: JSON) -> bool:
    """Refused as before, by a pass over the newer spec."""
    return observed(release) and release["metadata"]["generation"] == 2 and not is_ready(release)


def case_of(name: str) -> BadInput:
    """The case of this name."""
    return next(case for case in CASES if case.name == name)
