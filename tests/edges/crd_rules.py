"""Every constraint that the CRD puts on what people write, one a row, and further ways to break them."""

from __future__ import annotations

from tests.edges.crd_objects import (
    GATEWAY,
    HIGRESS,
    PROBE,
    RELEASE,
    ROOT,
    SEMVER,
    SIGNER,
    UNSET,
    VERIFY,
    Node,
    Rule,
)

REF = "spec.artifact.image.ref"
SECRET = "spec.artifact.image.pullSecretRef"
THERE = "spec.artifact.image.gatewayPullSecretRef"
CA = "spec.artifact.image.caSecretRef"
SIGNERS = f"{VERIFY}.matchOIDCIdentity"
KEYS = f"{VERIFY}.secretRef"
INTERVAL = "spec.artifact.image.interval"
ENTRY = "spec.gateways[]"
LABELS = f"{ENTRY}.selector.matchLabels"
SHA = "spec.artifact.wasmSha256"
TIMEOUT = "spec.checks.load.timeout"
DEADLINE = "spec.rollout.progressDeadline"
PROBES = "spec.checks.probes"
ONE = f"{PROBES}[]"
HEADERS = f"{ONE}.headers"
ANSWERED = f"{ONE}.expect.headers"
IMAGE = RELEASE["spec"]["artifact"]["image"]
NAMED: Node = {**GATEWAY, "objectName": "auth"}
SHOP: Node = {"ingress": ["demo/shop"]}
MATCH = "spec.plugin.matchRules"
ENV = "spec.plugin.env"


def spec_of(provider: str, *entries: Node, **plugin: object) -> Node:
    """A whole spec for some gateways."""
    usual = [GATEWAY if provider == "Istio" else HIGRESS]
    return {"provider": provider, "artifact": {"image": IMAGE}, "gateways": [*entries] or usual, "plugin": plugin}


def entries(count: int, **changes: object) -> list[Node]:
    """So many entries, each with a selector and an object of its own."""
    return [
        {**GATEWAY, "name": f"g{n}", "selector": {"matchLabels": {"gateway": f"g{n}"}}, **changes} for n in range(count)
    ]


HTTPS = {"name": "secure", "scheme": "HTTPS"}

RULES: list[Rule] = [
    Rule("metadata.name", "cel", "a" * 200, "a" * 201, "200 characters at most"),
    Rule("spec", "required", RELEASE["spec"], UNSET, "spec: Required value"),
    Rule("spec.artifact", "required", {"image": IMAGE}, UNSET, "spec.artifact: Required value"),
    Rule("spec.gateways", "required", [GATEWAY], UNSET, "spec.gateways: Required value"),
    Rule("spec.gateways", "minItems", entries(1), [], "should have at least 1 item"),
    Rule("spec.gateways", "maxItems", entries(64), entries(65), "must have at most 64 items"),
    Rule(
        "spec.gateways",
        "cel 0",
        [*entries(2), {**GATEWAY, "name": "c", "namespace": "elsewhere"}],
        [*entries(2), {**entries(1)[0], "name": "c"}],
        "two entries of gateways have the same namespace and selector: every request would run the plugin twice",
    ),
    Rule(
        "spec.gateways",
        "cel 1",
        [*entries(1, objectName="a"), {**NAMED, "objectName": "a", "namespace": "elsewhere"}],
        [*entries(1, objectName="a"), {**NAMED, "objectName": "a"}],
        "two entries of gateways have the same namespace and objectName: give each object a name of its own",
    ),
    Rule(f"{ENTRY}.name", "required", "public", UNSET, "name: Required value"),
    Rule(f"{ENTRY}.name", "minLength", "p", "", "at least 1 char"),
    Rule(f"{ENTRY}.name", "maxLength", "p" * 63, "p" * 64, "may not be more than 63"),
    Rule(f"{ENTRY}.name", "pattern", "public-2", "public.2", "should match"),
    Rule(f"{ENTRY}.objectName", "minLength", "o", "", "at least 1 char"),
    Rule(f"{ENTRY}.objectName", "maxLength", "o" * 253, "o" * 254, "may not be more than 253"),
    Rule(f"{ENTRY}.objectName", "pattern", "auth.public-2", "Auth", "should match"),
    Rule("spec.deletionPolicy", "enum", "Orphan", "Keep", 'supported values: "Delete", "Orphan"'),
    Rule("spec.artifact.image", "required", IMAGE, UNSET, "spec.artifact.image: Required value"),
    Rule(REF, "required", "a/b:1", UNSET, "spec.artifact.image.ref: Required value"),
    Rule(REF, "minLength", "a", "", "at least 1 char"),
    Rule(REF, "maxLength", "a" * 512, "a" * 513, "may not be more than 512"),
    Rule(REF, "cel 0", "localhost:5000/auth@sha256:" + "0" * 64, "oci://a/b:1", "leave the scheme out: write"),
    Rule(REF, "cel 1", "a/b:1", "a/b: 1", "has no white space"),
    Rule(f"{SECRET}.name", "required", "keys", UNSET, "pullSecretRef.name: Required value"),
    Rule(f"{SECRET}.name", "minLength", "k", "", "at least 1 char"),
    Rule(f"{SECRET}.name", "maxLength", "k" * 253, "k" * 254, "may not be more than 253"),
    Rule(f"{SECRET}.name", "pattern", "pull.keys-2", "Keys", "should match"),
    Rule(f"{THERE}.name", "required", "keys", UNSET, "gatewayPullSecretRef.name: Required value"),
    Rule(f"{THERE}.name", "minLength", "k", "", "at least 1 char"),
    Rule(f"{THERE}.name", "maxLength", "k" * 253, "k" * 254, "may not be more than 253"),
    Rule(f"{THERE}.name", "pattern", "pull.keys-2", "Keys", "should match"),
    Rule(
        "spec.artifact.image",
        "cel 2",
        {"ref": "a/b:1", "gatewayPullSecretRef": {"name": "a"}},
        {"ref": "a/b:1", "pullSecretRef": {"name": "a"}, "gatewayPullSecretRef": {"name": "a"}},
        "name one pull secret",
    ),
    Rule(f"{CA}.name", "required", "ca", UNSET, "caSecretRef.name: Required value"),
    Rule(f"{CA}.name", "minLength", "c", "", "at least 1 char"),
    Rule(f"{CA}.name", "maxLength", "c" * 253, "c" * 254, "may not be more than 253"),
    Rule(f"{CA}.name", "pattern", "registry.ca-2", "CA", "should match"),
    Rule(f"{VERIFY}.provider", "enum", "cosign", "notation", 'supported values: "cosign"'),
    Rule(VERIFY, "cel 0", {"secretRef": {"name": "a"}}, {}, "say whose signature counts"),
    Rule(
        VERIFY,
        "cel 1",
        {"matchOIDCIdentity": [SIGNER]},
        {"secretRef": {"name": "a"}, "matchOIDCIdentity": [SIGNER]},
        "not both",
    ),
    Rule(
        VERIFY,
        "cel 2",
        {"trustedRootSecretRef": {"name": "a"}, "matchOIDCIdentity": [SIGNER]},
        {"trustedRootSecretRef": {"name": "a"}, "secretRef": {"name": "a"}},
        "trustedRootSecretRef is for keyless signatures",
    ),
    Rule(SIGNERS, "minItems", [SIGNER], [], "should have at least 1 items"),
    Rule(SIGNERS, "maxItems", [SIGNER] * 16, [SIGNER] * 17, "must have at most 16 items"),
    *(
        Rule(f"{SIGNERS}[].{field}", *row)
        for field in SIGNER
        for row in (
            ("required", "a", UNSET, f"matchOIDCIdentity[0].{field}: Required value"),
            ("minLength", "a", "", "at least 1 char"),
            ("maxLength", "a" * 512, "a" * 513, "may not be more than 512"),
        )
    ),
    *(
        Rule(f"{place}.name", *row)
        for place in (KEYS, ROOT)
        for row in (
            ("required", "keys", UNSET, f"{place}.name: Required value"),
            ("minLength", "k", "", "at least 1 char"),
            ("maxLength", "k" * 253, "k" * 254, "may not be more than 253"),
            ("pattern", "cosign.keys-2", "Keys", "should match"),
        )
    ),
    Rule(INTERVAL, "maxLength", "1m" * 16, "1m" * 16 + "1s", "may not be more than 32"),
    Rule(INTERVAL, "pattern", "1h30m", "5 minutes", "should match"),
    Rule(
        "spec.artifact.image",
        "cel 0",
        {"ref": "a/b:1", "interval": "5m"},
        {"ref": "a/b@sha256:" + "0" * 64, "interval": "5m"},
        "a digest never moves",
    ),
    Rule(
        "spec.artifact.image",
        "cel 1",
        {"ref": "localhost:5000/a/b", "semver": "1.x"},
        {"ref": "localhost:5000/a/b:1", "semver": "1.x"},
        "leave tag and digest out of ref",
    ),
    Rule(SEMVER, "cel", ">=1.2.0-rc.1 <2 || ~> v3.1 || 4.* , <4.5 || 5.0 - 6", "latest", "write a range of versions"),
    Rule(SEMVER, "minLength", "*", "", "at least 1 char"),
    Rule(SEMVER, "maxLength", ("1 || " * 26)[:-4] + " ", "1 || " * 26, "may not be more than 128"),
    Rule(SHA, "pattern", "0af9" * 16, "0AF9" * 16, "should match"),
    Rule(SHA, "maxLength", "0" * 64, "0" * 65, "may not be more than 64"),
    Rule("spec.provider", "required", "Istio", UNSET, "provider: Required value"),
    Rule("spec.provider", "enum", "Istio", "Linkerd", 'supported values: "Istio"'),
    Rule(f"{ENTRY}.namespace", "required", "edge", UNSET, "namespace: Required value"),
    Rule(f"{ENTRY}.namespace", "minLength", "e", "", "at least 1 char"),
    Rule(f"{ENTRY}.namespace", "maxLength", "e" * 63, "e" * 64, "may not be more than 63"),
    Rule(f"{ENTRY}.namespace", "pattern", "edge-2", "edge.2", "should match"),
    Rule(
        "spec",
        "cel 3",
        spec_of("Istio", *entries(2)),
        spec_of("Istio", GATEWAY, {"name": "bare", "namespace": "edge"}),
        "provider Istio needs selector.matchLabels in each entry of gateways",
    ),
    Rule(
        "spec",
        "cel 4",
        spec_of("Higress", HIGRESS, priority=1),
        spec_of("Higress", GATEWAY, priority=1),
        "leave selector out of every entry of gateways: Higress gives a plugin to all",
    ),
    Rule(
        "spec",
        "cel 0",
        spec_of("Higress", priority=1, matchRules=[SHOP]),
        spec_of("Istio", priority=1, matchRules=[SHOP]),
        "only Higress has plugin.matchRules",
    ),
    Rule(
        "spec",
        "cel 1",
        spec_of("Higress", priority=1, failStrategy="FAIL_OPEN"),
        spec_of("Higress", priority=1, failStrategy="FAIL_RELOAD"),
        "Higress does not know FAIL_RELOAD",
    ),
    Rule("spec", "cel 2", spec_of("Higress", priority=0), spec_of("Higress"), "with Higress give plugin.priority"),
    Rule(
        "spec.plugin",
        "cel",
        {"configDisabled": True, "matchRules": [SHOP]},
        {"configDisabled": True, "matchRules": []},
        "Higress takes the plugin off all gateways",
    ),
    Rule(MATCH, "maxItems", [SHOP] * 64, [SHOP] * 65, "64 items"),
    Rule(f"{MATCH}[]", "cel 0", {"service": ["a:80"]}, {"config": {"on": True}}, "say which requests the rule is for"),
    Rule(
        f"{MATCH}[]",
        "cel 1",
        {"ingress": ["a"], "service": ["b"]},
        {"ingress": ["a"], "domain": ["b"]},
        "domain cannot stand beside ingress or service",
    ),
    Rule(
        f"{MATCH}[]",
        "cel 2",
        {**SHOP, "configDisabled": False},
        {**SHOP, "configDisabled": True},
        "leave the rule out: Higress does not switch the plugin off",
    ),
    Rule(f"{MATCH}[].ingress", "minItems", ["a"], [], "at least 1 item"),
    Rule(f"{MATCH}[].ingress", "maxItems", ["a"] * 32, ["a"] * 33, "32 items"),
    Rule(f"{MATCH}[].ingress[]", "minLength", "a", "", "at least 1 char"),
    Rule(f"{MATCH}[].ingress[]", "maxLength", "a" * 317, "a" * 318, "may not be more than 317"),
    Rule(f"{MATCH}[].domain", "minItems", ["a"], [], "at least 1 item"),
    Rule(f"{MATCH}[].domain", "maxItems", ["a"] * 32, ["a"] * 33, "32 items"),
    Rule(f"{MATCH}[].domain", "cel", ["*.example.com", "api.*", "*"], ["a.example.com:80"], "without scheme, port"),
    Rule(f"{MATCH}[].domain[]", "minLength", "a", "", "at least 1 char"),
    Rule(f"{MATCH}[].domain[]", "maxLength", "a" * 253, "a" * 254, "may not be more than 253"),
    Rule(f"{MATCH}[].service", "minItems", ["a"], [], "at least 1 item"),
    Rule(f"{MATCH}[].service", "maxItems", ["a"] * 32, ["a"] * 33, "32 items"),
    Rule(f"{MATCH}[].service[]", "minLength", "a", "", "at least 1 char"),
    Rule(f"{MATCH}[].service[]", "maxLength", "a" * 317, "a" * 318, "may not be more than 317"),
    Rule(
        ENV,
        "maxItems",
        [{"name": f"E{n}", "value": ""} for n in range(256)],
        [{"name": f"E{n}", "value": ""} for n in range(257)],
        "256 items",
    ),
    Rule(f"{ENV}[]", "cel 0", {"name": "A", "valueFrom": "HOST"}, {"name": "A"}, "give value, or valueFrom: HOST"),
    Rule(
        f"{ENV}[]",
        "cel 1",
        {"name": "META", "value": "a"},
        {"name": "ISTIO_META_A", "value": "a"},
        "names that begin with ISTIO_META_ are Istio's own",
    ),
    Rule(f"{ENV}[].name", "required", "A", UNSET, "name: Required value"),
    Rule(f"{ENV}[].name", "minLength", "A", "", "at least 1 char"),
    Rule(f"{ENV}[].name", "maxLength", "A" * 256, "A" * 257, "may not be more than 256"),
    Rule(f"{ENV}[].name", "pattern", "a.b-C_1", "A=B", "should match"),
    Rule(f"{ENV}[].value", "maxLength", "v" * 2048, "v" * 2049, "may not be more than 2048"),
    Rule(f"{ENV}[].valueFrom", "enum", "HOST", "INLINE", 'supported values: "HOST"'),
    Rule(LABELS, "required", {"istio": "edge"}, UNSET, "matchLabels: Required value"),
    Rule(LABELS, "maxProperties", {f"l{n}": "" for n in range(32)}, {f"l{n}": "" for n in range(33)}, "32 items"),
    Rule(LABELS, "cel 0", {"istio": "edge"}, {}, "an empty selector would mean every pod"),
    Rule(LABELS, "cel 1", {"istio.io/edge": ""}, {"istio": "in*"}, "neither wildcards nor empty label names"),
    Rule(f"{LABELS}{{}}", "maxLength", {"istio": "v" * 63}, {"istio": "v" * 64}, "may not be more than 63"),
    Rule("spec.plugin.name", "minLength", "r", "", "at least 1 char"),
    Rule("spec.plugin.name", "maxLength", "r" * 256, "r" * 257, "may not be more than 256"),
    Rule("spec.plugin.phase", "enum", "AUTHN", "UNSPECIFIED_PHASE", 'supported values: "AUTHN", "AUTHZ", "STATS"'),
    Rule("spec.plugin.priority", "minimum", -(2**31), -(2**31) - 1, "greater than or equal to -2147483648"),
    Rule("spec.plugin.priority", "maximum", 2**31 - 1, 2**31, "less than or equal to 2147483647"),
    Rule("spec.plugin.failStrategy", "enum", "FAIL_RELOAD", "FAIL_NEVER", 'supported values: "FAIL_CLOSE"'),
    Rule(TIMEOUT, "pattern", "1h2m3.5s", "2 minutes", "should match"),
    Rule(TIMEOUT, "maxLength", "1m" * 16, "1m" * 17, "may not be more than 32"),
    Rule(
        PROBES, "maxItems", [{"name": f"p{n}"} for n in range(16)], [{"name": f"p{n}"} for n in range(17)], "16 items"
    ),
    Rule(PROBES, "cel", [HTTPS | {"host": "shop.example.com"}], [PROBE, HTTPS], "a probe of scheme HTTPS needs host"),
    Rule(f"{ONE}.name", "required", "hello", UNSET, "name: Required value"),
    Rule(f"{ONE}.name", "minLength", "h", "", "at least 1 char"),
    Rule(f"{ONE}.name", "maxLength", "h" * 63, "h" * 64, "may not be more than 63"),
    Rule(f"{ONE}.name", "pattern", "hello-2", "hello.2", "should match"),
    Rule(f"{ONE}.scheme", "enum", "HTTP", "GRPC", 'supported values: "HTTP", "HTTPS"'),
    Rule(f"{ONE}.host", "minLength", "h", "", "at least 1 char"),
    Rule(f"{ONE}.host", "maxLength", "h" * 253, "h" * 254, "may not be more than 253"),
    Rule(f"{ONE}.host", "pattern", "Shop-2.example.com", "shop.example.com:8443", "should match"),
    Rule(f"{ONE}.port", "minimum", 1, 0, "greater than or equal to 1"),
    Rule(f"{ONE}.port", "maximum", 65535, 65536, "less than or equal to 65535"),
    Rule(f"{ONE}.method", "enum", "OPTIONS", "CONNECT", 'supported values: "GET", "HEAD"'),
    Rule(f"{ONE}.path", "minLength", "/", "", "at least 1 char"),
    Rule(f"{ONE}.path", "maxLength", "/" * 2048, "/" * 2049, "may not be more than 2048"),
    Rule(f"{ONE}.path", "pattern", "/a?b=%20~", "/a b", "should match"),
    Rule(f"{ONE}.body", "maxLength", "b" * 4096, "b" * 4097, "may not be more than 4096"),
    Rule(HEADERS, "maxProperties", {f"x-{n}": "" for n in range(16)}, {f"x-{n}": "" for n in range(17)}, "16 items"),
    Rule(f"{HEADERS}{{}}", "maxLength", {"allow": "v" * 1024}, {"allow": "v" * 1025}, "may not be more than 1024"),
    Rule(HEADERS, "cel 0", {"X-Allow-2": "true; ä"}, {"x_allow": "true"}, "letters, digits and hyphens"),
    Rule(HEADERS, "cel 1", {"x-host": "a"}, {"Host": "a"}, "Host is spelled by the probe's host"),
    Rule(f"{ONE}.expect.status", "minimum", 100, 99, "greater than or equal to 100"),
    Rule(f"{ONE}.expect.status", "maximum", 599, 600, "less than or equal to 599"),
    Rule(ANSWERED, "maxProperties", {f"x-{n}": "" for n in range(16)}, {f"x-{n}": "" for n in range(17)}, "16 items"),
    Rule(f"{ANSWERED}{{}}", "maxLength", {"via": "v" * 1024}, {"via": "v" * 1025}, "may not be more than 1024"),
    Rule(ANSWERED, "cel 0", {"X-Hello": "world"}, {"x hello": "world"}, "letters, digits and hyphens"),
    Rule(ANSWERED, "cel 1", {"x-connection": "a"}, {"Connection": "close"}, "Host is spelled by the probe's host"),
    Rule(f"{ONE}.expect.bodyContains", "minLength", "b", "", "at least 1 char"),
    Rule(f"{ONE}.expect.bodyContains", "maxLength", "b" * 1024, "b" * 1025, "may not be more than 1024"),
    Rule(DEADLINE, "pattern", "1h2m3.5s", "2 minutes", "should match"),
    Rule(DEADLINE, "maxLength", "1m" * 16, "1m" * 17, "may not be more than 32"),
    Rule("spec.rollout.onFailure", "enum", "Hold", "Ignore", 'supported values: "Rollback", "Hold"'),
    Rule("spec.revisionHistoryLimit", "minimum", 0, -1, "greater than or equal to 0"),
    Rule("spec.revisionHistoryLimit", "maximum", 100, 101, "less than or equal to 100"),
]
MORE_REFUSED: list[tuple[str, object, str]] = [
    ("spec.artifact.image", {"ref": "a/b@sha256:" + "0" * 64, "semver": "1.x"}, "leave tag and digest out of ref"),
    (SEMVER, "1.x ||", "write a range of versions"),
    (SEMVER, "1.x; 2.x", "write a range of versions"),
    (SEMVER, "!=1.2.3", "write a range of versions"),
    (SEMVER, "1.2.3.4", "write a range of versions"),
    (REF, "a/b:1\n", "has no white space"),
    (REF, "https://registry.example.com/a:1", "leave the scheme out"),
    (LABELS, {"*": "edge"}, "neither wildcards"),
    ("spec.gateways", [GATEWAY, GATEWAY], 'Duplicate value: {"name":"public"}'),
    ("spec.gateways", [NAMED, {**NAMED, "name": "b"}], "same namespace and selector"),
    (
        "spec",
        spec_of("Higress", HIGRESS, {**HIGRESS, "name": "b"}, priority=1),
        "same namespace and selector: every request would run the plugin twice",
    ),
    (f"{ENTRY}.adopt", "yes", "must be of type boolean"),
    (LABELS, {"": "edge"}, "empty label names"),
    ("spec.plugin.config", ["not", "an", "object"], "must be of type object"),
    ("spec.suspend", "yes", "must be of type boolean"),
    (PROBES, [PROBE, {**PROBE, "path": "/other"}], 'Duplicate value: {"name":"hello"}'),
    (HEADERS, {"": "a"}, "letters, digits and hyphens"),
    (HEADERS, {"x-a:": "a"}, "letters, digits and hyphens"),
    (HEADERS, {"x-a": "a\r\nx-b: b"}, "no line breaks"),
    (HEADERS, {"CONTENT-length": "0"}, "are the operator's"),
    (HEADERS, {"transfer-encoding": "chunked"}, "are the operator's"),
    (HEADERS, {"Connection": "close"}, "are the operator's"),
    (ANSWERED, {"x-a": "a\n"}, "no line breaks"),
    (f"{MATCH}[].domain", ["https://a.example.com"], "without scheme"),
    (f"{MATCH}[].domain", ["a.*.com"], "at most one *"),
    (f"{MATCH}[]", {"domain": ["a"], "service": ["b"]}, "Make two rules"),
    (f"{MATCH}[]", {}, "is plugin.config"),
    ("spec.plugin.configDisabled", True, "name the requests that are to have it"),
    (ENV, [{"name": "A", "value": ""}, {"name": "A", "valueFrom": "HOST"}], 'Duplicate value: {"name":"A"}'),
    (f"{ENV}[]", {"name": "A", "value": "", "valueFrom": "HOST"}, "give value, or valueFrom: HOST"),
    (f"{ONE}.path", "hello", "should match"),
    (f"{ONE}.path", "/a\r\nx-b: b", "should match"),
]
