"""What a person applies: one plugin, as a WasmPlugin for each place or as one PluginRelease for all of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pluginrelease import api
from pluginrelease.core.mesh import istio
from tests.harness.cluster import JSON

NAME = "plugin"
HERE, THERE = "public", "partners"
"""The entries of spec.gateways: the run's own gateways, and those of its second namespace."""
BOTH = (HERE, THERE)


@dataclass(frozen=True)
class Place:
    """Gateways that are to run a plugin, as an entry of spec.gateways names them."""

    entry: str
    namespace: str
    labels: dict[str, str]


@dataclass(frozen=True)
class IncidentPlugin:
    """What a person wants to run, however it is applied.

    ``sha256`` is what the person believes to be the plugin's checksum. ``labels`` and ``namespace`` select gateways;
    by default those of the run.
    """

    image: str
    config: JSON | None = None
    fail_strategy: str = "FAIL_CLOSE"
    secret: str | None = None
    sha256: str | None = None
    priority: int | None = None
    labels: dict[str, str] | None = None
    namespace: str | None = None
    entries: tuple[str, ...] = (HERE,)
    checks: JSON | None = None
    """spec.checks of the release; bare Istio has nothing like it."""

    def fields(self) -> JSON:
        """What WasmPlugin and PluginRelease spell alike."""
        named = {"phase": "AUTHN", "failStrategy": self.fail_strategy, "priority": self.priority}
        return {key: value for key, value in named.items() if value is not None}


def wasm_plugin(plugin: IncidentPlugin, name: str, place: Place) -> JSON:
    """As people write it without a release: by tag."""
    optional = {"pluginConfig": plugin.config, "imagePullSecret": plugin.secret, "sha256": plugin.sha256}
    spec = {
        "selector": {"matchLabels": place.labels},
        "url": f"oci://{plugin.image}",
        **plugin.fields(),
        **{key: value for key, value in optional.items() if value is not None},
    }
    metadata = {"name": name, "namespace": place.namespace}
    return {"apiVersion": istio.TARGET.api_version, "kind": istio.TARGET.name, "metadata": metadata, "spec": spec}


def plugin_release(plugin: IncidentPlugin, name: str, namespace: str, places: Iterable[Place]) -> JSON:
    """The same as a release."""
    secret = {"pullSecretRef": {"name": plugin.secret}} if plugin.secret else {}
    spec: JSON = {
        "artifact": {"image": {"ref": plugin.image, "insecure": True, **secret}},
        "provider": "Istio",
        "gateways": [
            {
                "name": place.entry,
                "namespace": place.namespace,
                "selector": {"matchLabels": place.labels},
                **({"objectName": name} if namespace == place.namespace else {}),
            }
            for place in places
        ],
        "plugin": {**plugin.fields(), **({"config": plugin.config} if plugin.config is not None else {})},
    }
    if plugin.sha256:
        spec["artifact"]["wasmSha256"] = plugin.sha256
    if plugin.checks:
        spec["checks"] = plugin.checks
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": api.API_VERSION, "kind": api.KIND, "metadata": metadata, "spec": spec}


def without_policy(spec: JSON) -> JSON:
    """A WasmPlugin's spec but for the pull policy: with a digest both values mean the same, and a change is a push."""
    return {field: value for field, value in spec.items() if field != "imagePullPolicy"}


LICENCE = {"name": "ISTIO_META_LICENSE", "value": "granted"}
"""A variable of the gateway's container that its agent makes metadata of; `wasm_modules.licensed` looks for it."""


def with_licence(manifest: JSON) -> JSON:
    """A Deployment of gateways with the licence; anything else as it is."""
    if manifest["kind"] == "Deployment":
        manifest["spec"]["template"]["spec"]["containers"][0]["env"].append(LICENCE)
    return manifest
