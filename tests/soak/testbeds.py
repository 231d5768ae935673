"""Where the operator is killed: a release of three entries in three namespaces, and all that can be seen of it.

One of them is the release's own, where the garbage collector finds what is left; the pull secret is copied to the two
others, where only the operator does.
"""

from __future__ import annotations

import asyncio
import functools
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pluginrelease import api
from pluginrelease_lab import Lab
from pluginrelease_lab.host import GatewayPod
from pluginrelease_lab.kubeapi import KubeApi
from tests import wasm_modules
from tests.harness import gateways, registries
from tests.harness.cluster import GATEWAY_LABELS, GATEWAY_NAMESPACE, JSON, LabCluster
from tests.harness.interruption import InterruptingRelay

NAME = "plugin"
NAMESPACE = GATEWAY_NAMESPACE
ABROAD = {"east": "soak-east", "west": "soak-west"}
"""The namespaces of the entries in other ones than the release's."""
LEVEL = "error"
"""Of the gateways' filter logger: nobody's default."""
ENTRIES: dict[str, JSON] = {
    "public": {"namespace": NAMESPACE, "selector": {"matchLabels": GATEWAY_LABELS}},
    **{name: {"namespace": there, "selector": {"matchLabels": {"istio": there}}} for name, there in ABROAD.items()},
}
LEFT = ("public", "east")
"""The entries that are left when one is removed."""
WRITTEN = frozenset({api.PLURAL, "wasmplugins", "secrets", "controllerrevisions"})
"""Of what the operator writes; of all other kinds it is looked once a run whether anything came or went."""
# made by others, and different with each run
IGNORED = frozenset({"pods", "events"})


@dataclass(frozen=True, order=True)
class Kind:
    """Objects of one plural name; ``root`` is the API server's path to their version."""

    plural: str
    root: str

    @classmethod
    def of(cls, plural: str, version: str) -> Kind:
        return cls(plural, f"/apis/{version}" if "/" in version else f"/api/{version}")


@dataclass
class Testbed:
    """A namespace with a pull secret, images to release, three gateways, and an operator behind a relay."""

    cluster: LabCluster
    relay: InterruptingRelay
    refs: dict[str, str]

    @property
    def lab(self) -> Lab:
        return self.cluster.lab

    # ------------------------------------------------------------------------------------ what the user does

    def apply(self, version: str, entries: Sequence[str] = tuple(ENTRIES)) -> None:
        """The release with this image; the bad one is refused by the gateways because it is given a configuration."""
        image = {"ref": self.refs[version], "insecure": True, "pullSecretRef": {"name": "login"}}
        plugin = {"phase": "AUTHN", "config": {"key": "value"}}
        placed = [{"name": entry, **ENTRIES[entry]} for entry in entries]
        spec: JSON = {"artifact": {"image": image}, "plugin": plugin, "gateways": placed}
        manifest = self.cluster.manifest(NAME, "", namespace=NAMESPACE, **spec)
        self.lab.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(manifest))

    def delete(self) -> None:
        """Does not wait: the operator may be killed meanwhile."""
        self.lab.kubectl("delete", "prel", NAME, "-n", NAMESPACE, "--wait=false")

    def release(self) -> JSON:
        """The release; an empty object when there is none."""
        return self.cluster.get(api.PLURAL, NAMESPACE, NAME) or {}

    # ------------------------------------------------------------------------------------------ what is there

    def snapshot(self) -> str:
        """All that is in the namespaces, the gateways' log levels and answers; without what time alone changes."""
        return self.shoot(self.kinds)

    def glimpse(self) -> str:
        """The same of the kinds that the operator writes."""
        return self.shoot([kind for kind in self.kinds if kind.plural in WRITTEN])

    def shoot(self, kinds: Sequence[Kind]) -> str:
        """The same of these kinds."""
        pods = self.lab.gateway_pods()
        answers = [self.lab.request(pod.address, 8080, "/") for pod in pods]
        objects, levels = asyncio.run(self.look(pods, kinds))
        seen = [
            {"filterLogger": level, "answers": [answer.status, answer.headers.get("x-plugin")]}
            for level, answer in zip(levels, answers, strict=True)
        ]
        return yaml.safe_dump({"gateways": seen, "objects": objects}, sort_keys=True)

    async def look(self, pods: Sequence[GatewayPod], kinds: Sequence[Kind]) -> tuple[list[JSON], list[str]]:
        """Every object, ours whole and of all others the names; and the levels of the gateways' filter loggers."""
        async with KubeApi.of(self.lab.kubeconfig) as api:
            namespaces = (NAMESPACE, *ABROAD.values())
            places = [(kind, namespace) for kind in kinds for namespace in namespaces]
            asked = (api.get(f"{kind.root}/namespaces/{namespace}/{kind.plural}") for kind, namespace in places)
            lists = await asyncio.gather(*asked)
            answers = await asyncio.gather(*(gateways.ask_pod(api, pod, "POST", "/logging") for pod in pods))
        found = [
            {"kind": kind.plural, "namespace": namespace, **(timeless(item) if is_ours(kind, item) else named(item))}
            for (kind, namespace), listed in zip(places, lists, strict=True)
            for item in listed["items"]
        ]
        return found, [gateways.level_of(answer) for answer in answers]

    def reset_levels(self) -> None:
        """Every gateway's filter logger is as it was before any release."""
        for pod in self.lab.gateway_pods():
            gateways.filter_level(self.lab, pod, LEVEL)

    @functools.cached_property
    def kinds(self) -> list[Kind]:
        """Every kind of object that a namespace can have here."""
        printed = self.lab.kubectl("api-resources", "--namespaced", "--verbs=list", "--no-headers").splitlines()
        rows = [line.split() for line in printed]
        return sorted(Kind.of(row[0], row[-3]) for row in rows if row[0] not in IGNORED)


def is_ours(kind: Kind, item: JSON) -> bool:
    """Whether the operator wrote it, or writes to it."""
    return kind.plural == api.PLURAL or api.UID_LABEL in item["metadata"].get("labels", {})


def named(item: JSON) -> JSON:
    """Only what it is called."""
    return {"metadata": {"name": item["metadata"]["name"]}}


# ----------------------------------------------------------------------------------------- what two runs may differ in

# `shared` are the images and digests that the lines of pods name: an Envoy shows a plugin that was taken off until its
# listener has drained, for 45 s. `loadHashBefore` is what a pod had of them before the write, as its counters.
CHANGES_BY_ITSELF = frozenset({"managedFields", "resourceVersion", "generation", "shared", "loadHashBefore"})
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
SPAN = re.compile(r"\b\d+(\.\d+)? (s|ms|min|seconds|minutes)\b")
PROOF = re.compile(r"^(Runs the plugin): .*", re.DOTALL)
REFUSAL = re.compile(r"gateway \S+: (\d+ of \d+) gateway pods run\s+the plugin; \S+: Envoy rejected .*", re.DOTALL)


def are_lines_of_pods(key: str, value: Any) -> bool:
    """Whether these are hashes and counters of pods in a checkpoint."""
    return key == "pods" and all(isinstance(line, str) for line in value)


def timeless(value: Any) -> Any:
    """The same without versions of objects, uids, times and spans, and without what depends on the gateway's past:
    its counters before the write, which of several signs has proved that it runs the plugin, and which of several
    gateways was the first to refuse it.
    """
    match value:
        case dict():
            kept = {key: child for key, child in value.items() if key not in CHANGES_BY_ITSELF}
            return {
                key: len(child) if are_lines_of_pods(key, child) else timeless(child) for key, child in kept.items()
            }
        case list():
            return sorted((timeless(child) for child in value), key=lambda child: json.dumps(child, sort_keys=True))
        case str():
            told = PROOF.sub(r"\1", SPAN.sub("<span>", TIME.sub("<time>", UUID.sub("<uid>", value))))
            return REFUSAL.sub(r"a gateway: \1, refused", told)
        case _:
            return value


def prepare(cluster: LabCluster, relay: InterruptingRelay, folder: Path) -> Testbed:
    """The namespaces, the secret and the leave to write to the gateways; images; the gateways' log levels."""
    lab = cluster.lab
    modules = {
        "v1": wasm_modules.answering("v1"),
        "v2": wasm_modules.answering("v2"),
        "bad": wasm_modules.answering("bad", refuses_configuration=True),
    }
    secret = registries.pull_secret("login", NAMESPACE, lab.private_registry, lab.private_credentials)
    others = [manifest for there in ABROAD.values() for manifest in gateways.manifests(there, 1)]
    lab.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all([secret, *others]))
    for there in ABROAD.values():
        lab.kubectl("annotate", "namespace", there, f"{api.ALLOWED_NAMESPACES_ANNOTATION}={NAMESPACE}", "--overwrite")
        lab.kubectl("rollout", "status", f"deployment/{there}", "-n", there, "--timeout=120s", timeout=150)
    refs = {version: push(lab, module, version, folder) for version, module in modules.items()}
    testbed = Testbed(cluster, relay, refs)
    testbed.reset_levels()
    return testbed


def push(lab: Lab, module: bytes, version: str, folder: Path) -> str:
    """To the registry with a password; the reference as gateways know it."""
    path = folder / f"{version}.wasm"
    path.write_bytes(module)
    return registries.push_private(lab, path, f"soak/plugin:{version}")
