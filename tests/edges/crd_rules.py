"""Every constraint that the CRD puts on what people write, one a row, and further ways to break them.

A row of a CEL rule has no words: the refusal must be the message that the CRD gives the rule."""

from __future__ import annotations

from tests.edges.crd_objects import (
    GATEWAY,
    HIGRESS,
    HTTP,
    PROBE,
    RELEASE,
    ROOT,
    SEMVER,
    SIGNER,
    SOURCE,
    TARGET,
    UNSET,
    VERIFY,
    CrdRule,
    Node,
)

REF = "spec.artifact.image.ref"
FILE = "spec.artifact.http"
SECRET = "spec.artifact.image.pullSecretRef"
THERE = "spec.artifact.image.gatewayPullSecretRef"
CA = "spec.artifact.image.caSecretRef"
SIGNERS = f"{VERIFY}.matchOIDCIdentity"
KEYS = f"{VERIFY}.secretRef"
INTERVAL = "spec.artifact.image.interval"
ENTRY = "spec.gateways[]"
LABELS = f"{ENTRY}.selector.matchLabels"
TARGETS = f"{ENTRY}.targetRefs"
SHA = "spec.artifact.wasmSha256"
TIMEOUT = "spec.checks.load.timeout"
DEADLINE = "spec.rollout.progressDeadline"
WATCH_FOR = "spec.rollout.watchFor"
PROBES = "spec.checks.probes"
ONE = f"{PROBES}[]"
HEADERS = f"{ONE}.headers"
ANSWERED = f"{ONE}.expect.headers"
IMAGE = RELEASE["spec"]["artifact"]["image"]
TARGETED: Node = {"name": "public", "namespace": "edge", "targetRefs": [TARGET]}
SIDECARS: Node = {**GATEWAY, "proxies": "Sidecars"}
NAMED: Node = {**GATEWAY, "objectName": "auth"}
SHOP: Node = {"ingress": ["demo/shop"]}
MATCH = "spec.plugin.matchRules"
ENV = "spec.plugin.env"
LISTENERS = "spec.plugin.match"
CLIENT: Node = {"mode": "CLIENT"}


def spec_of(provider: str, *entries: Node, **plugin: object) -> Node:
    """A whole spec for some gateways."""
    usual = [GATEWAY if provider == "Istio" else HIGRESS]
    return {"provider": provider, "artifact": {"image": IMAGE}, "gateways": [*entries] or usual, "plugin": plugin}


def config_rules(path: str, most: int) -> list[CrdRule]:
    """The rules of a ``configFrom``, which the plugin has and each rule of it."""
    one, whole = f"{path}[]", {key: value for key, value in SOURCE.items() if key != "path"}
    return [
        CrdRule(path, "minItems", [SOURCE], [], "at least 1 item"),
        CrdRule(path, "maxItems", [SOURCE] * most, [SOURCE] * (most + 1), f"must have at most {most} items"),
        CrdRule(one, "cel", {**whole, "format": "YAML"}, {**whole, "format": "Text"}),
        CrdRule(f"{one}.kind", "required", "ConfigMap", UNSET, "kind: Required value"),
        CrdRule(f"{one}.kind", "enum", "ConfigMap", "Deployment", 'supported values: "Secret", "ConfigMap"'),
        CrdRule(f"{one}.name", "required", "a", UNSET, "name: Required value"),
        CrdRule(f"{one}.name", "minLength", "a", "", "at least 1 char"),
        CrdRule(f"{one}.name", "maxLength", "a" * 253, "a" * 254, "may not be more than 253"),
        CrdRule(f"{one}.name", "pattern", "a.b-1", "A", "should match"),
        CrdRule(f"{one}.key", "required", "a", UNSET, "key: Required value"),
        CrdRule(f"{one}.key", "minLength", "a", "", "at least 1 char"),
        CrdRule(f"{one}.key", "maxLength", "a" * 253, "a" * 254, "may not be more than 253"),
        CrdRule(f"{one}.key", "pattern", "_a.B-1", "a/b", "should match"),
        CrdRule(f"{one}.path", "minLength", "/a", "/", "at least 2 chars"),
        CrdRule(f"{one}.path", "maxLength", "/" + "a" * 255, "/" + "a" * 256, "may not be more than 256"),
        CrdRule(f"{one}.path", "pattern", "/a~1b/c d/0", "/a//b", "should match"),
        CrdRule(f"{one}.format", "enum", "YAML", "TOML", 'supported values: "Text", "YAML"'),
    ]


def entries(count: int, **changes: object) -> list[Node]:
    """So many entries, each with a selector and an object of its own."""
    return [
        {**GATEWAY, "name": f"g{n}", "selector": {"matchLabels": {"gateway": f"g{n}"}}, **changes} for n in range(count)
    ]


def numbered(count: int) -> list[Node]:
    """So many ports."""
    return [{"number": number} for number in range(1, count + 1)]


HTTPS = {"name": "secure", "scheme": "HTTPS"}

RULES: list[CrdRule] = [
    CrdRule("metadata.name", "cel", "a" * 200, "a" * 201),
    CrdRule("spec", "required", RELEASE["spec"], UNSET, "spec: Required value"),
    CrdRule("spec.artifact", "required", {"image": IMAGE}, UNSET, "spec.artifact: Required value"),
    CrdRule("spec.gateways", "required", [GATEWAY], UNSET, "spec.gateways: Required value"),
    CrdRule("spec.gateways", "minItems", entries(1), [], "should have at least 1 item"),
    CrdRule("spec.gateways", "maxItems", entries(64), entries(65), "must have at most 64 items"),
    CrdRule(
        "spec.gateways",
        "cel 0",
        [*entries(2), {**GATEWAY, "name": "c", "namespace": "elsewhere"}],
        [*entries(2), {**entries(1)[0], "name": "c"}],
    ),
    CrdRule(
        "spec.gateways",
        "cel 1",
        [*entries(1, objectName="a"), {**NAMED, "objectName": "a", "namespace": "elsewhere"}],
        [*entries(1, objectName="a"), {**NAMED, "objectName": "a"}],
    ),
    CrdRule(f"{ENTRY}.name", "required", "public", UNSET, "name: Required value"),
    CrdRule(f"{ENTRY}.name", "minLength", "p", "", "at least 1 char"),
    CrdRule(f"{ENTRY}.name", "maxLength", "p" * 63, "p" * 64, "may not be more than 63"),
    CrdRule(f"{ENTRY}.name", "pattern", "public-2", "public.2", "should match"),
    CrdRule(f"{ENTRY}.objectName", "minLength", "o", "", "at least 1 char"),
    CrdRule(f"{ENTRY}.objectName", "maxLength", "o" * 253, "o" * 254, "may not be more than 253"),
    CrdRule(f"{ENTRY}.objectName", "pattern", "auth.public-2", "Auth", "should match"),
    CrdRule(f"{ENTRY}.proxies", "enum", "Sidecars", "Waypoints", 'supported values: "Gateways", "Sidecars"'),
    CrdRule(ENTRY, "cel 1", SIDECARS, {**TARGETED, "proxies": "Sidecars"}),
    CrdRule(TARGETS, "minItems", [TARGET], [], "should have at least 1 items"),
    CrdRule(TARGETS, "maxItems", [TARGET], [TARGET, {**TARGET, "name": "b"}], "must have at most 1 item"),
    CrdRule(f"{TARGETS}[].group", "required", TARGET["group"], UNSET, "group: Required value"),
    CrdRule(f"{TARGETS}[].group", "enum", TARGET["group"], "networking.istio.io", "supported values"),
    CrdRule(f"{TARGETS}[].kind", "required", "Gateway", UNSET, "kind: Required value"),
    CrdRule(f"{TARGETS}[].kind", "enum", "Gateway", "Service", 'supported values: "Gateway"'),
    CrdRule(f"{TARGETS}[].name", "required", "public", UNSET, "name: Required value"),
    CrdRule(f"{TARGETS}[].name", "minLength", "p", "", "at least 1 char"),
    CrdRule(f"{TARGETS}[].name", "maxLength", "p" * 63, "p" * 64, "may not be more than 63"),
    CrdRule(f"{TARGETS}[].name", "pattern", "public.shop-2", "Public", "should match"),
    CrdRule("spec.deletionPolicy", "enum", "Orphan", "Keep", 'supported values: "Delete", "Orphan"'),
    CrdRule("spec.artifact", "cel 0", {"http": HTTP}, {"http": HTTP, "image": IMAGE}),
    CrdRule("spec.artifact", "cel 1", {"http": HTTP}, {"http": HTTP, "verify": {"secretRef": {"name": "a"}}}),
    CrdRule("spec.artifact", "cel 2", {"http": HTTP}, {"http": HTTP, "wasmSha256": "0" * 64}),
    CrdRule(f"{FILE}.url", "required", HTTP["url"], UNSET, "url: Required value"),
    CrdRule(f"{FILE}.url", "minLength", "http://a/b", "", "at least 1 char"),
    CrdRule(
        f"{FILE}.url", "maxLength", "http://a/" + "b" * 1015, "http://a/" + "b" * 1016, "may not be more than 1024"
    ),
    CrdRule(f"{FILE}.url", "pattern", "http://a/b%20c", "http://a/b c", "should match"),
    CrdRule(f"{FILE}.url", "cel 0", HTTP["url"], "file:///opt/auth.wasm"),
    CrdRule(f"{FILE}.url", "cel 1", "http://a:8080/b/c.tar.gz", "https://user@files.example.com/auth.wasm"),
    CrdRule(f"{FILE}.sha256", "required", "0" * 64, UNSET, "sha256: Required value"),
    CrdRule(f"{FILE}.sha256", "maxLength", "a" * 64, "a" * 65, "may not be more than 64"),
    CrdRule(f"{FILE}.sha256", "pattern", "0" * 64, "sha256:" + "0" * 57, "should match"),
    CrdRule(REF, "required", "a/b:1", UNSET, "spec.artifact.image.ref: Required value"),
    CrdRule(REF, "minLength", "a", "", "at least 1 char"),
    CrdRule(REF, "maxLength", "a" * 512, "a" * 513, "may not be more than 512"),
    CrdRule(REF, "cel 0", "localhost:5000/auth@sha256:" + "0" * 64, "oci://a/b:1"),
    CrdRule(REF, "cel 1", "a/b:1", "a/b: 1"),
    CrdRule(f"{SECRET}.name", "required", "keys", UNSET, "pullSecretRef.name: Required value"),
    CrdRule(f"{SECRET}.name", "minLength", "k", "", "at least 1 char"),
    CrdRule(f"{SECRET}.name", "maxLength", "k" * 253, "k" * 254, "may not be more than 253"),
    CrdRule(f"{SECRET}.name", "pattern", "pull.keys-2", "Keys", "should match"),
    CrdRule(f"{THERE}.name", "required", "keys", UNSET, "gatewayPullSecretRef.name: Required value"),
    CrdRule(f"{THERE}.name", "minLength", "k", "", "at least 1 char"),
    CrdRule(f"{THERE}.name", "maxLength", "k" * 253, "k" * 254, "may not be more than 253"),
    CrdRule(f"{THERE}.name", "pattern", "pull.keys-2", "Keys", "should match"),
    CrdRule(
        "spec.artifact.image",
        "cel 2",
        {"ref": "a/b:1", "gatewayPullSecretRef": {"name": "a"}},
        {"ref": "a/b:1", "pullSecretRef": {"name": "a"}, "gatewayPullSecretRef": {"name": "a"}},
    ),
    CrdRule(f"{CA}.name", "required", "ca", UNSET, "caSecretRef.name: Required value"),
    CrdRule(f"{CA}.name", "minLength", "c", "", "at least 1 char"),
    CrdRule(f"{CA}.name", "maxLength", "c" * 253, "c" * 254, "may not be more than 253"),
    CrdRule(f"{CA}.name", "pattern", "registry.ca-2", "CA", "should match"),
    CrdRule(f"{VERIFY}.provider", "enum", "cosign", "notation", 'supported values: "cosign"'),
    CrdRule(VERIFY, "cel 0", {"secretRef": {"name": "a"}}, {}),
    CrdRule(
        VERIFY,
        "cel 1",
        {"matchOIDCIdentity": [SIGNER]},
        {"secretRef": {"name": "a"}, "matchOIDCIdentity": [SIGNER]},
    ),
    CrdRule(
        VERIFY,
        "cel 2",
        {"trustedRootSecretRef": {"name": "a"}, "matchOIDCIdentity": [SIGNER]},
        {"trustedRootSecretRef": {"name": "a"}, "secretRef": {"name": "a"}},
    ),
    CrdRule(SIGNERS, "minItems", [SIGNER], [], "should have at least 1 items"),
    CrdRule(SIGNERS, "maxItems", [SIGNER] * 16, [SIGNER] * 17, "must have at most 16 items"),
    *(
        CrdRule(f"{SIGNERS}[].{field}", *row)
        for field in SIGNER
        for row in (
            ("required", "a", UNSET, f"matchOIDCIdentity[0].{field}: Required value"),
            ("minLength", "a", "", "at least 1 char"),
            ("maxLength", "a" * 512, "a" * 513, "may not be more than 512"),
        )
    ),
    *(
        CrdRule(f"{place}.name", *row)
        for place in (KEYS, ROOT)
        for row in (
            ("required", "keys", UNSET, f"{place}.name: Required value"),
            ("minLength", "k", "", "at least 1 char"),
            ("maxLength", "k" * 253, "k" * 254, "may not be more than 253"),
            ("pattern", "cosign.keys-2", "Keys", "should match"),
        )
    ),
    CrdRule(INTERVAL, "maxLength", "1m" * 16, "1m" * 16 + "1s", "may not be more than 32"),
    CrdRule(INTERVAL, "pattern", "1h30m", "5 minutes", "should match"),
    CrdRule(
        "spec.artifact.image",
        "cel 0",
        {"ref": "a/b:1", "interval": "5m"},
        {"ref": "a/b@sha256:" + "0" * 64, "interval": "5m"},
    ),
    CrdRule(
        "spec.artifact.image",
        "cel 1",
        {"ref": "localhost:5000/a/b", "semver": "1.x"},
        {"ref": "localhost:5000/a/b:1", "semver": "1.x"},
    ),
    CrdRule(SEMVER, "cel", ">=1.2.0-rc.1 <2 || ~> v3.1 || 4.* , <4.5 || 5.0 - 6", "latest"),
    CrdRule(SEMVER, "minLength", "*", "", "at least 1 char"),
    CrdRule(SEMVER, "maxLength", ("1 || " * 26)[:-4] + " ", "1 || " * 26, "may not be more than 128"),
    CrdRule(SHA, "pattern", "0af9" * 16, "0AF9" * 16, "should match"),
    CrdRule(SHA, "maxLength", "0" * 64, "0" * 65, "may not be more than 64"),
    CrdRule("spec.provider", "required", "Istio", UNSET, "provider: Required value"),
    CrdRule("spec.provider", "enum", "Istio", "Linkerd", 'supported values: "Istio"'),
    CrdRule(f"{ENTRY}.namespace", "required", "edge", UNSET, "namespace: Required value"),
    CrdRule(f"{ENTRY}.namespace", "minLength", "e", "", "at least 1 char"),
    CrdRule(f"{ENTRY}.namespace", "maxLength", "e" * 63, "e" * 64, "may not be more than 63"),
    CrdRule(f"{ENTRY}.namespace", "pattern", "edge-2", "edge.2", "should match"),
    CrdRule(
        "spec",
        "cel 3",
        spec_of("Istio", *entries(2)),
        spec_of("Istio", GATEWAY, {"name": "bare", "namespace": "edge"}),
    ),
    CrdRule(
        "spec",
        "cel 4",
        spec_of("Higress", HIGRESS, priority=1),
        spec_of("Higress", GATEWAY, priority=1),
    ),
    CrdRule(
        "spec",
        "cel 0",
        spec_of("Higress", priority=1, matchRules=[SHOP]),
        spec_of("Istio", priority=1, matchRules=[SHOP]),
    ),
    CrdRule(
        "spec",
        "cel 1",
        spec_of("Higress", priority=1, failStrategy="FAIL_OPEN"),
        spec_of("Higress", priority=1, failStrategy="FAIL_RELOAD"),
    ),
    CrdRule("spec", "cel 5", spec_of("Higress", priority=1), spec_of("Higress", priority=1, match=[CLIENT])),
    CrdRule("spec", "cel 6", spec_of("Istio", match=[CLIENT]), spec_of("Istio", match=[CLIENT, {"mode": "SERVER"}])),
    CrdRule(
        "spec",
        "cel 7",
        {**spec_of("Istio", SIDECARS, match=[{"mode": "SERVER"}]), "checks": {"probes": []}},
        {**spec_of("Istio", SIDECARS), "checks": {"probes": [PROBE]}},
    ),
    CrdRule(LISTENERS, "minItems", [CLIENT], [], "should have at least 1 items"),
    CrdRule(LISTENERS, "maxItems", [CLIENT] * 16, [CLIENT] * 17, "must have at most 16 items"),
    CrdRule(f"{LISTENERS}[]", "cel", CLIENT, {}),
    CrdRule(f"{LISTENERS}[].mode", "enum", "CLIENT_AND_SERVER", "OUTBOUND", "supported values"),
    CrdRule(f"{LISTENERS}[].ports", "minItems", [{"number": 1}], [], "should have at least 1 items"),
    CrdRule(f"{LISTENERS}[].ports", "maxItems", numbered(16), numbered(17), "must have at most 16 items"),
    CrdRule(f"{LISTENERS}[].ports[].number", "required", 8080, UNSET, "number: Required value"),
    CrdRule(f"{LISTENERS}[].ports[].number", "minimum", 1, 0, "greater than or equal to 1"),
    CrdRule(f"{LISTENERS}[].ports[].number", "maximum", 65535, 65536, "less than or equal to 65535"),
    CrdRule("spec", "cel 2", spec_of("Higress", priority=0), spec_of("Higress")),
    CrdRule(
        "spec",
        "cel 8",
        {**spec_of("Istio"), "artifact": {"http": HTTP}},
        {**spec_of("Higress", priority=1), "artifact": {"http": HTTP}},
    ),
    CrdRule(
        "spec.plugin",
        "cel",
        {"configDisabled": True, "matchRules": [SHOP]},
        {"configDisabled": True, "matchRules": []},
    ),
    CrdRule(MATCH, "maxItems", [SHOP] * 64, [SHOP] * 65, "64 items"),
    CrdRule(f"{MATCH}[]", "cel 0", {"service": ["a:80"]}, {"config": {"on": True}}),
    CrdRule(
        f"{MATCH}[]",
        "cel 1",
        {"ingress": ["a"], "service": ["b"]},
        {"ingress": ["a"], "domain": ["b"]},
    ),
    CrdRule(
        f"{MATCH}[]",
        "cel 2",
        {**SHOP, "configDisabled": False},
        {**SHOP, "configDisabled": True},
    ),
    CrdRule(f"{MATCH}[].ingress", "minItems", ["a"], [], "at least 1 item"),
    CrdRule(f"{MATCH}[].ingress", "maxItems", ["a"] * 32, ["a"] * 33, "32 items"),
    CrdRule(f"{MATCH}[].ingress[]", "minLength", "a", "", "at least 1 char"),
    CrdRule(f"{MATCH}[].ingress[]", "maxLength", "a" * 317, "a" * 318, "may not be more than 317"),
    CrdRule(f"{MATCH}[].domain", "minItems", ["a"], [], "at least 1 item"),
    CrdRule(f"{MATCH}[].domain", "maxItems", ["a"] * 32, ["a"] * 33, "32 items"),
    CrdRule(f"{MATCH}[].domain", "cel", ["*.example.com", "api.*", "*"], ["a.example.com:80"]),
    CrdRule(f"{MATCH}[].domain[]", "minLength", "a", "", "at least 1 char"),
    CrdRule(f"{MATCH}[].domain[]", "maxLength", "a" * 253, "a" * 254, "may not be more than 253"),
    CrdRule(f"{MATCH}[].service", "minItems", ["a"], [], "at least 1 item"),
    CrdRule(f"{MATCH}[].service", "maxItems", ["a"] * 32, ["a"] * 33, "32 items"),
    CrdRule(f"{MATCH}[].service[]", "minLength", "a", "", "at least 1 char"),
    CrdRule(f"{MATCH}[].service[]", "maxLength", "a" * 317, "a" * 318, "may not be more than 317"),
    *config_rules("spec.plugin.configFrom", 32),
    *config_rules(f"{MATCH}[].configFrom", 8),
    CrdRule(
        ENV,
        "maxItems",
        [{"name": f"E{n}", "value": ""} for n in range(256)],
        [{"name": f"E{n}", "value": ""} for n in range(257)],
        "256 items",
    ),
    CrdRule(f"{ENV}[]", "cel 0", {"name": "A", "valueFrom": "HOST"}, {"name": "A"}),
    CrdRule(
        f"{ENV}[]",
        "cel 1",
        {"name": "META", "value": "a"},
        {"name": "ISTIO_META_A", "value": "a"},
    ),
    CrdRule(f"{ENV}[].name", "required", "A", UNSET, "name: Required value"),
    CrdRule(f"{ENV}[].name", "minLength", "A", "", "at least 1 char"),
    CrdRule(f"{ENV}[].name", "maxLength", "A" * 256, "A" * 257, "may not be more than 256"),
    CrdRule(f"{ENV}[].name", "pattern", "a.b-C_1", "A=B", "should match"),
    CrdRule(f"{ENV}[].value", "maxLength", "v" * 2048, "v" * 2049, "may not be more than 2048"),
    CrdRule(f"{ENV}[].valueFrom", "enum", "HOST", "INLINE", 'supported values: "HOST"'),
    CrdRule(LABELS, "required", {"istio": "edge"}, UNSET, "matchLabels: Required value"),
    CrdRule(LABELS, "maxProperties", {f"l{n}": "" for n in range(32)}, {f"l{n}": "" for n in range(33)}, "32 items"),
    CrdRule(LABELS, "cel 0", {"istio": "edge"}, {}),
    CrdRule(LABELS, "cel 1", {"istio.io/edge": ""}, {"istio": "in*"}),
    CrdRule(f"{LABELS}{{}}", "maxLength", {"istio": "v" * 63}, {"istio": "v" * 64}, "may not be more than 63"),
    CrdRule("spec.plugin.name", "minLength", "r", "", "at least 1 char"),
    CrdRule("spec.plugin.name", "maxLength", "r" * 256, "r" * 257, "may not be more than 256"),
    CrdRule("spec.plugin.phase", "enum", "AUTHN", "UNSPECIFIED_PHASE", 'supported values: "AUTHN", "AUTHZ", "STATS"'),
    CrdRule("spec.plugin.priority", "minimum", -(2**31), -(2**31) - 1, "greater than or equal to -2147483648"),
    CrdRule("spec.plugin.priority", "maximum", 2**31 - 1, 2**31, "less than or equal to 2147483647"),
    CrdRule("spec.plugin.failStrategy", "enum", "FAIL_RELOAD", "FAIL_NEVER", 'supported values: "FAIL_CLOSE"'),
    CrdRule(TIMEOUT, "pattern", "1h2m3.5s", "2 minutes", "should match"),
    CrdRule(TIMEOUT, "maxLength", "1m" * 16, "1m" * 17, "may not be more than 32"),
    CrdRule(
        PROBES, "maxItems", [{"name": f"p{n}"} for n in range(16)], [{"name": f"p{n}"} for n in range(17)], "16 items"
    ),
    CrdRule(PROBES, "cel", [HTTPS | {"host": "shop.example.com"}], [PROBE, HTTPS]),
    CrdRule(f"{ONE}.name", "required", "hello", UNSET, "name: Required value"),
    CrdRule(f"{ONE}.name", "minLength", "h", "", "at least 1 char"),
    CrdRule(f"{ONE}.name", "maxLength", "h" * 63, "h" * 64, "may not be more than 63"),
    CrdRule(f"{ONE}.name", "pattern", "hello-2", "hello.2", "should match"),
    CrdRule(f"{ONE}.scheme", "enum", "HTTP", "GRPC", 'supported values: "HTTP", "HTTPS"'),
    CrdRule(f"{ONE}.host", "minLength", "h", "", "at least 1 char"),
    CrdRule(f"{ONE}.host", "maxLength", "h" * 253, "h" * 254, "may not be more than 253"),
    CrdRule(f"{ONE}.host", "pattern", "Shop-2.example.com", "shop.example.com:8443", "should match"),
    CrdRule(f"{ONE}.port", "minimum", 1, 0, "greater than or equal to 1"),
    CrdRule(f"{ONE}.port", "maximum", 65535, 65536, "less than or equal to 65535"),
    CrdRule(f"{ONE}.method", "enum", "OPTIONS", "CONNECT", 'supported values: "GET", "HEAD"'),
    CrdRule(f"{ONE}.path", "minLength", "/", "", "at least 1 char"),
    CrdRule(f"{ONE}.path", "maxLength", "/" * 2048, "/" * 2049, "may not be more than 2048"),
    CrdRule(f"{ONE}.path", "pattern", "/a?b=%20~", "/a b", "should match"),
    CrdRule(f"{ONE}.body", "maxLength", "b" * 4096, "b" * 4097, "may not be more than 4096"),
    CrdRule(HEADERS, "maxProperties", {f"x-{n}": "" for n in range(16)}, {f"x-{n}": "" for n in range(17)}, "16 items"),
    CrdRule(f"{HEADERS}{{}}", "maxLength", {"allow": "v" * 1024}, {"allow": "v" * 1025}, "may not be more than 1024"),
    CrdRule(HEADERS, "cel 0", {"X-Allow-2": "true; ä"}, {"x_allow": "true"}),
    CrdRule(HEADERS, "cel 1", {"x-host": "a"}, {"Host": "a"}),
    CrdRule(f"{ONE}.expect.status", "minimum", 100, 99, "greater than or equal to 100"),
    CrdRule(f"{ONE}.expect.status", "maximum", 599, 600, "less than or equal to 599"),
    CrdRule(
        ANSWERED, "maxProperties", {f"x-{n}": "" for n in range(16)}, {f"x-{n}": "" for n in range(17)}, "16 items"
    ),
    CrdRule(f"{ANSWERED}{{}}", "maxLength", {"via": "v" * 1024}, {"via": "v" * 1025}, "may not be more than 1024"),
    CrdRule(ANSWERED, "cel 0", {"X-Hello": "world"}, {"x hello": "world"}),
    CrdRule(ANSWERED, "cel 1", {"x-connection": "a"}, {"Connection": "close"}),
    CrdRule(f"{ONE}.expect.bodyContains", "minLength", "b", "", "at least 1 char"),
    CrdRule(f"{ONE}.expect.bodyContains", "maxLength", "b" * 1024, "b" * 1025, "may not be more than 1024"),
    CrdRule(DEADLINE, "pattern", "1h2m3.5s", "2 minutes", "should match"),
    CrdRule(WATCH_FOR, "pattern", "0s", "never", "should match"),
    CrdRule(WATCH_FOR, "maxLength", "1m" * 16, "1m" * 17, "may not be more than 32"),
    CrdRule(DEADLINE, "maxLength", "1m" * 16, "1m" * 17, "may not be more than 32"),
    CrdRule("spec.rollout.onFailure", "enum", "Hold", "Ignore", 'supported values: "Rollback", "Hold"'),
    CrdRule("spec.revisionHistoryLimit", "minimum", 0, -1, "greater than or equal to 0"),
    CrdRule("spec.revisionHistoryLimit", "maximum", 100, 101, "less than or equal to 100"),
]
# a path, a value, and the words of the refusal or the CEL rule at that path
MORE_REFUSED: list[tuple[str, object, str]] = [
    ("spec.artifact.image", {"ref": "a/b@sha256:" + "0" * 64, "semver": "1.x"}, "cel 1"),
    (SEMVER, "1.x ||", "cel"),
    (SEMVER, "1.x; 2.x", "cel"),
    (SEMVER, "!=1.2.3", "cel"),
    (SEMVER, "1.2.3.4", "cel"),
    (REF, "a/b:1\n", "cel 1"),
    (f"{FILE}.url", "https://files.example.com/auth.wasm?token=a", "cel 1"),
    (f"{FILE}.url", "https://files.example.com/auth.wasm#a", "cel 1"),
    (f"{FILE}.url", "oci://registry.example.com/auth:1", "cel 1"),
    (f"{FILE}.url", "https://files.example.com", "cel 1"),
    (REF, "https://registry.example.com/a:1", "cel 0"),
    (LABELS, {"*": "edge"}, "cel 1"),
    ("spec.gateways", [GATEWAY, GATEWAY], 'Duplicate value: {"name":"public"}'),
    ("spec.gateways", [NAMED, {**NAMED, "name": "b"}], "cel 0"),
    (
        "spec.gateways",
        [HIGRESS, {**HIGRESS, "name": "b"}],
        "cel 0",
    ),
    (f"{ENTRY}.adopt", "yes", "must be of type boolean"),
    (LABELS, {"": "edge"}, "cel 1"),
    ("spec.plugin.config", ["not", "an", "object"], "must be of type object"),
    ("spec.suspend", "yes", "must be of type boolean"),
    (PROBES, [PROBE, {**PROBE, "path": "/other"}], 'Duplicate value: {"name":"hello"}'),
    (HEADERS, {"": "a"}, "cel 0"),
    (HEADERS, {"x-a:": "a"}, "cel 0"),
    (HEADERS, {"x-a": "a\r\nx-b: b"}, "cel 0"),
    (HEADERS, {"CONTENT-length": "0"}, "cel 1"),
    (HEADERS, {"transfer-encoding": "chunked"}, "cel 1"),
    (HEADERS, {"Connection": "close"}, "cel 1"),
    (ANSWERED, {"x-a": "a\n"}, "cel 0"),
    (f"{MATCH}[].domain", ["https://a.example.com"], "cel"),
    (f"{MATCH}[].domain", ["a.*.com"], "cel"),
    (f"{MATCH}[]", {"domain": ["a"], "service": ["b"]}, "cel 1"),
    (f"{MATCH}[]", {}, "cel 0"),
    ("spec.plugin", {"configDisabled": True}, "cel"),
    (ENV, [{"name": "A", "value": ""}, {"name": "A", "valueFrom": "HOST"}], 'Duplicate value: {"name":"A"}'),
    (f"{ENV}[]", {"name": "A", "value": "", "valueFrom": "HOST"}, "cel 0"),
    (f"{ONE}.path", "hello", "should match"),
    (f"{ONE}.path", "/a\r\nx-b: b", "should match"),
]
