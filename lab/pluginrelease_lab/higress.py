"""The lab's substitute for Higress's controller: it turns Higress's WasmPlugins into Istio's, by Higress's rules.

`translate` does what Higress 2.2 does with one WasmPlugin (higress-group/higress, ``convertIstioWasmPlugin`` in
``pkg/ingress/config/ingress_config.go``), with its traps. A ``pluginConfig`` hides all rules. A disabled rule is left
out, which disables nothing. A route type other than HTTP replaces the route's name. A rule without a condition is an
error, and then the last accepted version stays active.

Higress sends the result to its istiod by MCP. Here it is an object of Istio's kind in the API server with the label
`LABEL`, so it must also pass that kind's validation, which Higress's own never meets. Only name and spec are sent: no
label and no annotation of the WasmPlugin reaches istiod. A change of any WasmPlugin makes Higress send all of them. Its
istiod sends none to gateways unless the spec of one has changed, and then all as new versions. Here all are written
again then, with an increased number, and otherwise none.

Placeholders for Secrets are replaced as in Higress's ``pkg/ingress/config/ingress_template.go``: as text in the JSON of
the whole object. All of them are replaced, or none if one is missing or the JSON becomes invalid. A Secret whose value
is in use is watched. Another Secret that appears or disappears later is noticed at the next push.

Higress reads the WasmPlugins of all namespaces and uses those of its own. Its kind accepts a priority beyond 32 bits,
but such a priority anywhere breaks the whole list: nothing is read until that object is gone.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from base64 import b64decode
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import aiohttp

from pluginrelease_lab import blueprint
from pluginrelease_lab.blueprint import Blueprint
from pluginrelease_lab.kubeapi import ApiError, KubeApi, Object
from pluginrelease_lab.meshes import HIGRESS
from pluginrelease_lab.processes import Argv, Program

NAMESPACE = HIGRESS.namespace
SELECTOR = {"higress": f"{NAMESPACE}-higress-gateway"}
LABEL = "pluginrelease.io/lab"
LABELLED = "translated"
PUSH = "pluginrelease.io/lab-push"
_PLUGINS = "/apis/extensions.higress.io/v1alpha1/wasmplugins"
_TRANSLATED = f"/apis/extensions.istio.io/v1alpha1/namespaces/{NAMESPACE}/wasmplugins"
_PASSED_ON = (
    "url",
    "sha256",
    "imagePullPolicy",
    "imagePullSecret",
    "verificationKey",
    "pluginName",
    "pluginConfig",
    "phase",
    "failStrategy",
    "priority",
    "vmConfig",
)
_PLACEHOLDER = re.compile(r"\$\{([^.}/]+)\.(?:([^/}]+)/)?([^.}/]+)\.([^}]+)\}")
_SECRETS = "/api/v1/secrets"
# its informer ignores these (pkg/ingress/kube/secret/controller.go)
_OF_NO_INTEREST = "fieldSelector=type!%3Dhelm.sh/release.v1,type!%3Dkubernetes.io/service-account-token"
_CONDITIONS = (("_match_route_", "ingress"), ("_match_service_", "service"), ("_match_domain_", "domain"))
_AGAIN_AFTER = 0.5
_GONE = 410  # the version to watch from is too old


class InvalidPlugin(Exception):
    """Higress refuses the WasmPlugin. The text is what its log says after ``err:``."""


def translate(spec: Object) -> Object | None:
    """Return the spec of Istio's WasmPlugin for one of Higress; None if it is no longer sent. Raises InvalidPlugin."""
    made: Object = {"selector": {"matchLabels": SELECTOR}}
    made |= {field: spec[field] for field in _PASSED_ON if spec.get(field) is not None}
    if "pluginConfig" in made:
        return made
    disabled = spec.get("defaultConfigDisable", False)
    rules = list(_rules(spec))
    if disabled and not rules:
        return None
    config = None if disabled else spec.get("defaultConfig")
    if spec.get("matchRules"):
        config = {**(config or {}), **({"_rules_": rules} if rules else {})}
    return made if config is None else {**made, "pluginConfig": config}


def _rules(spec: Object) -> Iterator[Object]:
    """Yield the configuration of each rule with its conditions, which the plugin's SDK finds under ``_rules_``."""
    for rule in spec.get("matchRules", []):
        if rule.get("configDisable"):
            continue
        conditions = {key: _values(rule, field) for key, field in _CONDITIONS if rule.get(field)}
        if not conditions:
            raise InvalidPlugin(f"invalid match rule has no match condition, rule:{json.dumps(rule)}")
        yield {**(rule.get("config") or {}), **conditions}


def _values(rule: Object, field: str) -> list[str]:
    """Return the values of one condition.

    A route type other than HTTP replaces each route's name: a bug of Higress.
    """
    values: list[str] = rule[field]
    kind = rule.get("routeType", "HTTP")
    return [kind] * len(values) if field == "ingress" and kind != "HTTP" else values


class Undecodable(Exception):
    """One object breaks the list or the watch of all."""


def decoded(plugin: Object) -> Object:
    """Return the WasmPlugin if it fits Go's type."""
    priority = plugin.get("spec", {}).get("priority") or 0
    if not -(2**31) <= priority < 2**31:
        raise Undecodable(f"json: cannot unmarshal number {priority} into Go value of type int32")
    return plugin


class Unreplaced(Exception):
    """Higress leaves the object's placeholders as they are. The text is what its log says."""


def placeholders(spec: Object) -> list[tuple[str, str, str, str]]:
    """Return type, namespace ("" for Higress's own), name and key of each placeholder, in the order of the JSON."""
    return [(match[1], match[2] or "", match[3], match[4]) for match in _PLACEHOLDER.finditer(_json(spec))]


def replaced(spec: Object, value_of: Callable[[str, str, str, str], str]) -> Object:
    """Return the spec with values instead of placeholders.

    Raises Unreplaced, as ``value_of`` does for a missing value.
    """
    text = _json(spec)
    for match in list(_PLACEHOLDER.finditer(text)):
        text = text.replace(match[0], value_of(match[1], match[2] or NAMESPACE, match[3], match[4]), 1)
    try:
        made: Object = json.loads(text)
    except ValueError:
        raise Unreplaced("failed to unmarshal substituted config") from None
    return made


def _json(spec: Object) -> str:
    return json.dumps(spec, separators=(",", ":"), ensure_ascii=False)


class Translator:
    """Follow the WasmPlugins of `NAMESPACE`, and send the last accepted version of each."""

    def __init__(self, api: KubeApi) -> None:
        self._api = api
        self._seen: dict[str, str] = {}
        self._accepted: dict[str, Object] = {}
        self._handed: dict[str, Object] | None = None
        self._pushes = 0
        self._in_use: set[tuple[str, str]] = set()
        self._one_at_a_time = asyncio.Lock()

    async def follow(self) -> None:
        """Follow forever."""
        await asyncio.gather(self._again_and_again(self._follow_plugins), self._again_and_again(self._follow_secrets))

    async def _again_and_again(self, follow: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await follow()
            except Undecodable as error:
                say("error", f"Failed to watch *v1alpha1.WasmPlugin: {error}")
            except (ApiError, aiohttp.ClientError, TimeoutError, OSError) as error:
                say("warn", f"lab: looking again: {error!r}")
            await asyncio.sleep(_AGAIN_AFTER)

    async def _follow_plugins(self) -> None:
        await self._follow(await self._catch_up())

    async def _follow_secrets(self) -> None:
        """Push when a Secret changes whose value was sent; ignore other changes of Secrets."""
        listed = await self._api.get(f"{_SECRETS}?{_OF_NO_INTEREST}&limit=1")
        version = listed["metadata"]["resourceVersion"]
        async for kind, found in self._api.watch(_SECRETS, f"{_OF_NO_INTEREST}&resourceVersion={version}"):
            if kind == "ERROR":
                return
            own = found["metadata"]
            if kind != "DELETED" and (own["namespace"], own["name"]) in self._in_use:
                await self._hand_over()

    async def _catch_up(self) -> str:
        """Process what changed while nothing watched; return the version to watch from."""
        listed = await self._api.get(_PLUGINS)
        mine = [item for item in map(decoded, listed["items"]) if item["metadata"]["namespace"] == NAMESPACE]
        there = {item["metadata"]["name"]: item for item in mine}
        changed = [self._take_in(item) for item in there.values()]
        changed += [self._forget(name) for name in set(self._seen) - set(there)]
        if any(changed) or self._handed is None:  # what an earlier translator sent is not known
            await self._hand_over()
        return str(listed["metadata"]["resourceVersion"])

    async def _follow(self, version: str) -> None:
        async for kind, found in self._api.watch(_PLUGINS, f"resourceVersion={version}"):
            if kind == "ERROR":
                raise ApiError(int(found.get("code", _GONE)), str(found.get("message", "")))
            if decoded(found)["metadata"]["namespace"] != NAMESPACE:
                continue
            changed = self._forget(found["metadata"]["name"]) if kind == "DELETED" else self._take_in(found)
            if changed:
                await self._hand_over()

    def _take_in(self, plugin: Object) -> bool:
        """Return whether this is news. Accept it, remove it, or refuse it and keep the former version."""
        name, version = plugin["metadata"]["name"], plugin["metadata"]["resourceVersion"]
        if self._seen.get(name) == version:
            return False
        self._seen[name] = version
        try:
            spec = translate(plugin.get("spec", {}))
        except InvalidPlugin as error:
            say("error", f"invalid wasmPlugin:{name}, err:{error}")
            return True
        if spec is None:
            say("info", f"wasmPlugin:{name} will not be transferred to istio since config disabled")
            self._accepted.pop(name, None)
        else:
            self._accepted[name] = spec
        return True

    def _forget(self, name: str) -> bool:
        self._seen.pop(name, None)
        return self._accepted.pop(name, None) is not None

    async def _hand_over(self) -> None:
        """Send all accepted plugins as new versions, and no others; do nothing if no spec has changed."""
        async with self._one_at_a_time:
            wanted = {name: await self._replace(name, spec) for name, spec in self._accepted.items()}
            if wanted != self._handed:
                await self._hand_over_all(wanted)

    async def _replace(self, name: str, spec: Object) -> Object:
        """Return the spec with its placeholders' values, or unchanged."""
        found = {(of, space or NAMESPACE, secret) for of, space, secret, _ in placeholders(spec)}
        data = {(space, secret): await self._secret(space, secret) for of, space, secret in found if of == "secret"}

        def value_of(of: str, space: str, secret: str, key: str) -> str:
            if of != "secret":
                raise Unreplaced(f"unsupported value type: {of}")
            values = data[space, secret]
            if values is None:
                raise Unreplaced(f"secret {space}/{secret} not found")
            if key not in values:
                raise Unreplaced(f"key {key} not found in secret {space}/{secret}")
            self._in_use.add((space, secret))
            return b64decode(values[key]).decode(errors="replace")

        try:
            return replaced(spec, value_of)
        except Unreplaced as error:
            say("error", f"Failed to process template for config {NAMESPACE}/{name}: {error}")
            return spec

    async def _secret(self, namespace: str, name: str) -> Object | None:
        """Return the data of a Secret; None if there is none that Higress would read."""
        listed = await self._api.get(f"/api/v1/namespaces/{namespace}/secrets?{_OF_NO_INTEREST},metadata.name%3D{name}")
        return next((item.get("data", {}) for item in listed["items"]), None)

    async def _hand_over_all(self, wanted: dict[str, Object]) -> None:
        self._pushes += 1
        listed = await self._api.get(f"{_TRANSLATED}?labelSelector={LABEL}%3D{LABELLED}")
        there = {item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in listed["items"]}
        for name, spec in wanted.items():
            try:
                await self._write(name, spec, there.get(name))
            except ApiError as error:
                if error.status >= 500:
                    raise
                say(
                    "error",
                    f"lab: Istio's kind does not take wasmPlugin:{name}, which Higress would hand over: {error}",
                )
        for name in set(there) - set(wanted):
            await self._api.send("DELETE", f"{_TRANSLATED}/{name}", {})
        self._handed = wanted

    async def _write(self, name: str, spec: Object, version: str | None) -> None:
        """Replace the whole object: a server-side apply sets a configuration to null when it becomes empty."""
        about: Object = {"name": name, "namespace": NAMESPACE, "labels": {LABEL: LABELLED}}
        about["annotations"] = {PUSH: str(self._pushes)}
        made = {"apiVersion": "extensions.istio.io/v1alpha1", "kind": "WasmPlugin", "metadata": about, "spec": spec}
        if version is None:
            await self._api.send("POST", _TRANSLATED, made)
        else:
            about["resourceVersion"] = version
            await self._api.send("PUT", f"{_TRANSLATED}/{name}", made)


def say(level: str, text: str) -> None:
    """Print a line in the form of Higress's controller."""
    now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    print(f"{now}\t{level}\tingress\t{text}", flush=True)


def controller(lab: Blueprint) -> Program:
    """Return the translator as a part of the lab."""
    argv: Argv = [sys.executable, "-P", Path(__file__), lab.state]
    packages = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return Program("higress-controller", argv, lab.log("higress-controller"), env=packages)


async def run(lab: Blueprint) -> None:
    """Translate until the process is ended."""
    async with KubeApi(lab.api_inside, lab.tokens.higress, lab.ca_file) as api:
        await Translator(api).follow()


if __name__ == "__main__":
    asyncio.run(run(blueprint.load(Path(sys.argv[1]))))
