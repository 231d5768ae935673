"""The PluginRelease API, ``pluginrelease.io/v1alpha1``: the only place that spells its fields.

The CRD is generated from these models (`core.crd`). Field names are camelCase on the wire. Strings, lists and maps
have maxima, because the API server charges CEL rules by the worst case. What one object alone can show to be wrong is
refused by a CEL rule in the CRD; what needs a look at the world ends in a condition.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict

GROUP = "pluginrelease.io"
VERSION = "v1alpha1"
KIND = "PluginRelease"
PLURAL = "pluginreleases"
SINGULAR = "pluginrelease"
SHORT_NAME = "prel"
CATEGORIES = ("all", "wasm")
API_VERSION = f"{GROUP}/{VERSION}"

FIELD_MANAGER = "pluginrelease"
FINALIZER = f"{GROUP}/finalizer"
# on what we write: whose it is. Names can be longer than a label's 63 characters, so they are annotations.
UID_LABEL = f"{GROUP}/uid"
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "pluginrelease"
RELEASE_ANNOTATION = f"{GROUP}/release"
# on a PluginRelease: take over an object of the wanted name that is nobody's
ADOPT_ANNOTATION = f"{GROUP}/adopt"
# on a WasmPlugin: the revision it carries
REVISION_ANNOTATION = f"{GROUP}/revision"
# on a WasmPlugin: how often its gateways were made to fetch again (`target.pull_policy` is what makes them)
NUDGE_ANNOTATION = f"{GROUP}/nudge"
# on a PluginRelease, actions: each value is acted on once and then echoed in status.handled. `retry` takes any token;
# `rollback-to` takes a revision of the history, with ":" and any token behind it to ask for the same one again.
RETRY_ANNOTATION = f"{GROUP}/retry"
ROLLBACK_ANNOTATION = f"{GROUP}/rollback-to"
# on a ControllerRevision: the reference as the spec named it, for people
REF_ANNOTATION = f"{GROUP}/ref"
# on a Namespace: which namespaces' releases may write here, a comma-separated list or "*"
ALLOWED_NAMESPACES_ANNOTATION = f"{GROUP}/allowed-namespaces"

MAX_POD_ROWS = 20
MAX_OBSERVED_PODS = 1000
MESSAGE_MAX = 2048


class Model(BaseModel):
    """camelCase on the wire, frozen in the program; unknown fields are the API server's business."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")

    def wire(self) -> dict[str, Any]:
        """The JSON form: camelCase, without what is unset."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


# the API server fills in the defaults below such a field, so that `kubectl get -o yaml` shows them
SHOWN: JsonDict = {"default": {}}


def cel(rule: str, message: str) -> JsonDict:
    """One ``x-kubernetes-validations`` entry; the message says the remedy."""
    return {"rule": rule, "message": message}


def immutable(field: str) -> JsonDict:
    """A field that keeps its first value; the rule stands on the field, as `namespace` is a reserved word of CEL."""
    remedy = f"{field} cannot be changed: make a new PluginRelease and delete this one"
    return {"x-kubernetes-validations": [cel("self == oldSelf", remedy)]}


# ---------------------------------------------------------------------------------------------------- spec

Name = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
NamespaceName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
Duration = Annotated[str, Field(max_length=32, pattern=r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$")]
LabelValue = Annotated[str, Field(max_length=63)]

# 1.x or >=1.2.3-rc.1; what looks like a range and is none is refused by the pass (`core.tag`)
_VERSIONS = r"((>=|<=|~>|[><=~^]) *)?v?[0-9xX*]+(\\.[0-9xX*]+){0,2}(-[0-9A-Za-z.-]+)?"
SemverRange = Annotated[
    str,
    Field(
        min_length=1,
        max_length=128,
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    f"self.split('||').all(one, one.matches('^ *{_VERSIONS}(( +- +| +| *, *){_VERSIONS})* *$'))",
                    "write a range of versions: 1.x, ^1.2, ~1.2.3, >=1.2 <2, 1.2 - 1.4, or several parted by ||",
                )
            ]
        },
    ),
]


class SecretReference(Model):
    """A Secret in the release's own namespace."""

    name: Name = Field(description="Name of the Secret, in the PluginRelease's own namespace.")


class GatewaySecretReference(Model):
    """A Secret in the gateway's namespace."""

    name: Name = Field(description="Name of the Secret, in spec.gateway.namespace.")


class ImageSource(Model):
    """A plugin that is already an image in an OCI registry."""

    ref: Annotated[str, Field(min_length=1, max_length=512)] = Field(
        description=(
            "The image: registry/repository:tag, or registry/repository@sha256:digest. A tag is resolved to the "
            "digest of its manifest, and only the digest is ever written to a gateway."
        ),
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "!self.contains('://')",
                    "leave the scheme out: write registry.example.com/plugins/auth:1.2, not oci://…; "
                    "a registry without TLS is spelled by artifact.image.insecure",
                ),
                cel(
                    "!self.matches('[[:space:]]')",
                    "an image reference has no white space: registry.example.com/plugins/auth:1.2",
                ),
            ]
        },
    )
    semver: SemverRange | None = Field(
        default=None,
        description=(
            "A range of versions: the highest tag within it is taken, and ref names only the repository. The grammar "
            "is npm's: 1.x, ^1.2, ~1.2.3, >=1.2 <2, 1.2 - 1.4, and || between several; a comma counts as a space. Tags "
            "that are whole versions count, with or without a v before them. A prerelease is taken only where the "
            "range names one of the same version: >=1.2.0-0 takes 1.2.0-rc.1 and not 1.3.0-rc.1."
        ),
    )
    pull_secret_ref: SecretReference | None = Field(
        default=None,
        description=(
            "A Secret of type kubernetes.io/dockerconfigjson. The operator pulls with it, and copies it to the "
            "gateway's namespace for the gateways to pull with."
        ),
    )
    gateway_pull_secret_ref: GatewaySecretReference | None = Field(
        default=None,
        description=(
            "A Secret of type kubernetes.io/dockerconfigjson that is already where the gateways are. The operator "
            "pulls with it, the gateways are told its name, and it is never copied, changed or deleted. A gateway's "
            "namespace that allows releases of another one allows them this, too."
        ),
    )
    interval: Duration | None = Field(
        default=None,
        description=(
            "How often the tag is asked for again; one that moved, or a higher one within semver, starts a rollout of "
            "what it names then. Unset: it is asked for once for each change of the spec. A digest that failed is not "
            "tried again because it is found again."
        ),
    )
    insecure: bool = Field(
        default=False,
        description=(
            "The operator speaks plain HTTP to this registry. It changes only the operator's own pull: the agents in "
            "the gateway pods ask by https, and go on by http where the answer is HTTP, whatever they are told."
        ),
    )
    ca_secret_ref: SecretReference | None = Field(
        default=None,
        description=(
            "A Secret of type Opaque or kubernetes.io/tls whose key ca.crt has PEM certificates. The operator trusts "
            "them, besides the usual authorities, when it pulls from this registry. It changes only the operator's own "
            "pull: the agents in the gateway pods trust what their own image and mounts say, or do not check what "
            "WASM_INSECURE_REGISTRIES names; that is looked at before anything is written."
        ),
    )


Pattern = Annotated[str, Field(min_length=1, max_length=512)]


class OIDCIdentity(Model):
    """Whose keyless signature counts."""

    issuer: Pattern = Field(
        description=(
            "Who must have vouched for the signer: a regular expression (RE2) that matches the whole issuer, for "
            r"example https://token\.actions\.githubusercontent\.com."
        )
    )
    subject: Pattern = Field(
        description=(
            "Who must have signed: a regular expression (RE2) that matches the whole subject of the certificate, for "
            r"example https://github\.com/team/auth/\.github/workflows/release\.yml@refs/tags/.*."
        )
    )


class Verification(Model):
    """Who must have signed the image."""

    provider: Literal["cosign"] = Field(default="cosign", description="The signatures that are read.")
    secret_ref: SecretReference | None = Field(
        default=None,
        description=(
            "A Secret whose keys that end in .pub have PEM public keys. The image must be signed with one of them: "
            "while keys are changed, the old and the new one stand in it."
        ),
    )
    match_oidc_identity: Annotated[list[OIDCIdentity], Field(min_length=1, max_length=16)] | None = Field(
        default=None,
        alias="matchOIDCIdentity",
        description="Keyless signatures count that were made by one of these.",
    )
    trusted_root_secret_ref: SecretReference | None = Field(
        default=None,
        description=(
            "A Secret whose key trusted_root.json says which certificate authorities and transparency logs keyless "
            "signatures rest on. Unset: the operator's own (--trusted-root)."
        ),
    )


class ArtifactSource(Model):
    """Where the plugin comes from."""

    image: ImageSource = Field(
        description="The plugin as an image.",
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "!has(self.interval) || !self.ref.contains('@')",
                    "a digest never moves: leave interval out, or name a tag",
                ),
                cel(
                    "!has(self.semver) || !self.ref.matches('@|:[^/]*$')",
                    "with semver the tag is picked for you: leave tag and digest out of ref",
                ),
                cel(
                    "!has(self.pullSecretRef) || !has(self.gatewayPullSecretRef)",
                    "name one pull secret: pullSecretRef in the release's own namespace, or gatewayPullSecretRef in "
                    "the gateway's",
                ),
            ]
        },
    )
    wasm_sha256: Annotated[str, Field(pattern=r"^[a-f0-9]{64}$", max_length=64)] | None = Field(
        default=None,
        description=(
            "SHA-256 of the bytes of the .wasm file, lower-case hex. When it is given, a module with other bytes is "
            "refused. (Istio's own sha256 is another thing: the digest of the image's manifest.)"
        ),
    )
    verify: Verification | None = Field(
        default=None,
        description="Who must have signed the image. Unset: signatures are not looked for.",
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "has(self.secretRef) || has(self.matchOIDCIdentity)",
                    "say whose signature counts: name a Secret with public keys in secretRef, or who signs without "
                    "keys in matchOIDCIdentity",
                ),
                cel(
                    "!(has(self.secretRef) && has(self.matchOIDCIdentity))",
                    "name keys (secretRef) or identities (matchOIDCIdentity), not both: it would not be clear whether "
                    "one signature is enough",
                ),
                cel(
                    "!has(self.trustedRootSecretRef) || has(self.matchOIDCIdentity)",
                    "trustedRootSecretRef is for keyless signatures: leave it out, or name matchOIDCIdentity",
                ),
            ]
        },
    )


class Selector(Model):
    """Which gateway pods."""

    match_labels: Annotated[dict[str, LabelValue], Field(max_length=32)] = Field(
        description="Labels that a gateway pod must carry, all of them.",
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "self.size() > 0",
                    "name at least one label of the gateway's pods, for example istio: ingressgateway; "
                    "an empty selector would mean every pod",
                ),
                cel(
                    "self.all(k, k.size() > 0 && !k.contains('*') && !self[k].contains('*'))",
                    "Istio takes neither wildcards nor empty label names in a selector: write the label and its "
                    "value, for example istio: ingressgateway",
                ),
            ]
        },
    )


class Gateway(Model):
    """The gateways that are to run the plugin."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "self.provider != 'Istio' || has(self.selector)",
                    "provider Istio needs selector.matchLabels with a label of the gateway's pods, for example istio: "
                    "ingressgateway",
                ),
                cel(
                    "self.provider != 'Higress' || !has(self.selector)",
                    "leave selector out: Higress gives a plugin to all gateway pods of its installation; which "
                    "requests get it is said by plugin.matchRules",
                ),
            ]
        }
    )

    provider: Literal["Istio", "Higress"] = Field(
        description="The mesh whose gateways these are. It cannot be changed.",
        json_schema_extra=immutable("gateway.provider"),
    )
    namespace: NamespaceName = Field(
        description=(
            "Namespace of the gateway pods, and of the WasmPlugin that is written. In Istio's root namespace "
            "(istio-system by default) a WasmPlugin reaches the selected pods of every namespace. With Higress it is "
            "the namespace of the installation, usually higress-system: Higress reads no other. A namespace other "
            "than the release's own must allow it with the annotation pluginrelease.io/allowed-namespaces. "
            "It cannot be changed."
        ),
        json_schema_extra=immutable("gateway.namespace"),
    )
    selector: Selector | None = Field(
        default=None,
        description=(
            "Selects the gateway pods by their labels. Istio needs it; Higress has one selector for its whole "
            "installation, and it stays out."
        ),
    )


class Phase(StrEnum):
    """Where in the filter chain Istio puts the plugin."""

    AUTHN = "AUTHN"
    AUTHZ = "AUTHZ"
    STATS = "STATS"


class FailStrategy(StrEnum):
    """What a gateway does with requests when the plugin fails at run time or cannot be fetched."""

    FAIL_CLOSE = "FAIL_CLOSE"
    FAIL_OPEN = "FAIL_OPEN"
    FAIL_RELOAD = "FAIL_RELOAD"


class EnvironmentVariable(Model):
    """A variable in the environment that the module sees."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "has(self.value) != has(self.valueFrom)",
                    "give value, or valueFrom: HOST for the variable of that name in the gateway's own container",
                ),
                cel(
                    "!self.name.startsWith('ISTIO_META_')",
                    "names that begin with ISTIO_META_ are Istio's own, and its agent takes them away: choose another",
                ),
            ]
        }
    )

    name: Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[!-<>-~]+$")] = Field(
        description="Its name; unique in the list."
    )
    value: Annotated[str, Field(max_length=2048)] | None = Field(
        default=None,
        description="Its value. Anybody who may read the release or the gateway's dump reads it: no passwords here.",
    )
    value_from: Literal["HOST"] | None = Field(
        default=None,
        description="HOST: what the variable of this name is in the gateway's container; absent there, absent here.",
    )


RouteName = Annotated[str, Field(min_length=1, max_length=317)]
Domain = Annotated[str, Field(min_length=1, max_length=253)]
ServiceName = Annotated[str, Field(min_length=1, max_length=317)]


class MatchRule(Model):
    """Which requests get a configuration of their own. The first rule of the list that matches a request counts."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "has(self.ingress) || has(self.domain) || has(self.service)",
                    "say which requests the rule is for, by ingress, domain or service: Higress ignores a WasmPlugin "
                    "with a rule for none, and goes on with the one before. What is for all requests is plugin.config",
                ),
                cel(
                    "!has(self.domain) || (!has(self.ingress) && !has(self.service))",
                    "domain cannot stand beside ingress or service: plugins look at only one of them. Make two rules",
                ),
                cel(
                    "!has(self.configDisabled) || !self.configDisabled",
                    "leave the rule out: Higress does not switch the plugin off for these requests, but gives them "
                    "another rule or plugin.config. To keep the plugin off requests, set plugin.configDisabled and "
                    "write rules for those that are to have it",
                ),
            ]
        }
    )

    ingress: Annotated[list[RouteName], Field(min_length=1, max_length=32)] | None = Field(
        default=None,
        description=(
            "Names of routes: namespace/name of an Ingress; of one in Higress's own namespace, as are those of its "
            "console, the name alone. Beside service, both must match."
        ),
    )
    domain: Annotated[list[Domain], Field(min_length=1, max_length=32)] | None = Field(
        default=None,
        description="Hosts that are asked for: api.example.com, *.example.com or api.*, without a port.",
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "self.all(domain, domain.matches('^([*]?[^*:/ ]+|[^*:/ ]+[*]|[*])$'))",
                    "a domain is a host without scheme, port and path, with at most one * that is its first or its "
                    "last character: api.example.com, *.example.com or api.*",
                )
            ]
        },
    )
    service: Annotated[list[ServiceName], Field(min_length=1, max_length=32)] | None = Field(
        default=None,
        description=(
            "Services that requests go to: echo.demo.svc.cluster.local, or with a port echo.demo.svc.cluster.local:80."
        ),
    )
    config: dict[str, JsonValue] | None = Field(
        default=None,
        description="The plugin's configuration for these requests, instead of plugin.config.",
        json_schema_extra={"x-kubernetes-preserve-unknown-fields": True},
    )
    config_disabled: bool | None = Field(
        default=None,
        description=(
            "Only false: Higress's configDisable leaves the rule out and does not keep the plugin off these requests."
        ),
    )


class Plugin(Model):
    """How the gateways run the plugin; the fields of Istio's WasmPlugin, and some that only Higress has."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "!has(self.configDisabled) || !self.configDisabled || "
                    "(has(self.matchRules) && self.matchRules.size() > 0)",
                    "with configDisabled and without matchRules Higress takes the plugin off all gateways: name the "
                    "requests that are to have it in matchRules, or delete the PluginRelease",
                )
            ]
        }
    )

    name: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        default=None,
        description="The plugin's name inside its module (Envoy's root_id), for a module that has several.",
    )
    phase: Phase | None = Field(
        default=None,
        description="Where in the filter chain: before authentication, authorization or stats; unset: after them.",
    )
    priority: Annotated[int, Field(ge=-(2**31), le=2**31 - 1)] | None = Field(
        default=None,
        description=(
            "Order within the phase, higher first. Unset comes after every number, also negative ones. Higress needs "
            "it: plugins of no or of the same priority have no order there that lasts."
        ),
        json_schema_extra={"format": "int32"},
    )
    fail_strategy: FailStrategy = Field(
        default=FailStrategy.FAIL_CLOSE,
        description=(
            "What happens to requests when the plugin fails: FAIL_CLOSE refuses them, FAIL_OPEN lets them through "
            "without the plugin, FAIL_RELOAD (Istio 1.27 and newer, not Higress) starts the plugin anew and refuses "
            "meanwhile."
        ),
    )
    config: dict[str, JsonValue] | None = Field(
        default=None,
        description="The plugin's configuration, given to it as JSON. With Higress: for requests that no rule is for.",
        json_schema_extra={"x-kubernetes-preserve-unknown-fields": True},
    )
    config_disabled: bool | None = Field(
        default=None,
        description="Higress: the plugin acts only on requests that matchRules name; config is not used.",
    )
    match_rules: Annotated[list[MatchRule], Field(max_length=64)] | None = Field(
        default=None, description="Higress: other configurations for some requests. The first rule that matches counts."
    )
    env: Annotated[list[EnvironmentVariable], Field(max_length=256)] | None = Field(
        default=None,
        description="The environment that the module sees.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )


class LoadCheck(Model):
    """The look at the gateways."""

    timeout: Duration = Field(
        default="2m",
        description="How long every gateway pod has to show the plugin loaded before the release is called failed.",
    )


HeaderMap = Annotated[dict[str, Annotated[str, Field(max_length=1024)]], Field(max_length=16)]
HEADER_RULES: JsonDict = {
    "x-kubernetes-validations": [
        cel(
            "self.all(name, name.matches('^[A-Za-z0-9-]+$') && !self[name].matches('[[:cntrl:]]'))",
            "a header's name is letters, digits and hyphens, and its value has no line breaks",
        ),
        cel(
            "self.all(name, !(name.lowerAscii() in ['host', 'content-length', 'transfer-encoding', 'connection']))",
            "Host is spelled by the probe's host; Content-Length, Transfer-Encoding and Connection are the operator's",
        ),
    ]
}


class ProbeExpectation(Model):
    """What a gateway pod must answer."""

    status: Annotated[int, Field(ge=100, le=599)] = Field(default=200, description="The status code.")
    headers: HeaderMap | None = Field(
        default=None,
        description="Headers of the answer, each with exactly this value; upper and lower case of names is one.",
        json_schema_extra=HEADER_RULES,
    )
    body_contains: Annotated[str, Field(min_length=1, max_length=1024)] | None = Field(
        default=None, description="A text in the first 64 KiB of the answer's body."
    )


class Scheme(StrEnum):
    """How a probe speaks to the gateway."""

    HTTP = "HTTP"
    HTTPS = "HTTPS"


class ProbeMethod(StrEnum):
    """Methods that a probe may use."""

    GET = "GET"
    HEAD = "HEAD"
    POST = "POST"
    PUT = "PUT"
    PATCH = "PATCH"
    DELETE = "DELETE"
    OPTIONS = "OPTIONS"


class Probe(Model):
    """A request that each gateway pod must answer as expected, through its own listener.

    It is made over fresh connections, three times as many as the gateway has worker threads, since one dead worker
    answers one request in so many.
    """

    name: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")] = Field(
        description="What messages call it; unique in the release."
    )
    scheme: Scheme = Field(
        default=Scheme.HTTP,
        description=(
            "HTTPS sends host as the server name (SNI). The certificate is not checked: it is the gateway's own."
        ),
    )
    host: (
        Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?$")] | None
    ) = Field(default=None, description="The Host that is asked for. Needed for HTTPS.")
    port: Annotated[int, Field(ge=1, le=65535)] | None = Field(
        default=None,
        description=(
            "A port that one of the gateway's own listeners has, in the pod. Unset: the one listener of this scheme "
            "that has the plugin. No other port can be asked."
        ),
    )
    method: ProbeMethod = Field(default=ProbeMethod.GET, description="The request's method.")
    path: Annotated[str, Field(min_length=1, max_length=2048, pattern=r"^/[!-~]*$")] = Field(
        default="/", description="The request's path, with its query."
    )
    headers: HeaderMap | None = Field(
        default=None,
        description="Headers of the request. Anybody who may read the release reads them: no passwords here.",
        json_schema_extra=HEADER_RULES,
    )
    body: Annotated[str, Field(max_length=4096)] | None = Field(default=None, description="The request's body.")
    expect: ProbeExpectation = Field(
        default_factory=ProbeExpectation, description="What must be answered.", json_schema_extra=SHOWN
    )


class Checks(Model):
    """What must be seen before Ready."""

    load: LoadCheck = Field(default_factory=LoadCheck, description="The look at the gateways.", json_schema_extra=SHOWN)
    probes: Annotated[list[Probe], Field(max_length=16)] = Field(
        default=[],
        description=(
            "Requests that every gateway pod must answer as expected, before Ready and at every look after. One that "
            "fails before the write and passes after it also proves that the plugin runs."
        ),
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "x-kubernetes-validations": [
                cel(
                    "self.all(probe, probe.scheme != 'HTTPS' || has(probe.host))",
                    "a probe of scheme HTTPS needs host: it is the name that the gateway picks the certificate by",
                )
            ],
        },
    )


class OnFailure(StrEnum):
    """What happens when a revision does not come to run in every gateway pod."""

    ROLLBACK = "Rollback"
    HOLD = "Hold"


class Rollout(Model):
    """How a new revision comes to the gateways, and what happens when it does not."""

    progress_deadline: Duration = Field(
        default="10m",
        description=(
            "How long a rollout may take, from the change of the spec to Ready. After it the release is Stalled; what "
            "was written and is still awaited counts as failed."
        ),
    )
    on_failure: OnFailure = Field(
        default=OnFailure.ROLLBACK,
        description=(
            "When the gateways refuse a revision, cannot fetch it or fail its probes: Rollback puts back the last "
            "revision that ran everywhere, or takes the plugin off when there is none; Hold leaves it as it is. "
            "Where gateways crash or hang, Hold does the same as Rollback. "
            "After Ready, trouble is told and nothing is put back."
        ),
    )


class DeletionPolicy(StrEnum):
    """What happens to the plugin on the gateways when the PluginRelease is deleted."""

    DELETE = "Delete"
    ORPHAN = "Orphan"


class Spec(Model):
    """What should run, and where."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "self.gateway.provider == 'Higress' || (!has(self.plugin.matchRules) && "
                    "(!has(self.plugin.configDisabled) || !self.plugin.configDisabled))",
                    "only Higress has plugin.matchRules and plugin.configDisabled: leave them out for Istio",
                ),
                cel(
                    "self.gateway.provider != 'Higress' || self.plugin.failStrategy != 'FAIL_RELOAD'",
                    "Higress does not know FAIL_RELOAD: write FAIL_CLOSE or FAIL_OPEN. Its gateways start a plugin "
                    "that crashed again",
                ),
                cel(
                    "self.gateway.provider != 'Higress' || has(self.plugin.priority)",
                    "with Higress give plugin.priority, a number that no other plugin of this phase has: without one "
                    "the order of plugins there changes by itself",
                ),
            ]
        }
    )

    suspend: bool = Field(
        default=False,
        description="Nothing is written while true: what runs goes on running, and is no longer looked at.",
    )
    deletion_policy: DeletionPolicy = Field(
        default=DeletionPolicy.DELETE,
        description="On deletion of the PluginRelease: Delete takes the plugin off the gateways, Orphan leaves it.",
    )
    artifact: ArtifactSource = Field(description="Where the plugin comes from.")
    gateway: Gateway = Field(description="The gateways that are to run it.")
    plugin: Plugin = Field(default_factory=Plugin, description="How the gateways run it.", json_schema_extra=SHOWN)
    checks: Checks = Field(
        default_factory=Checks, description="What must be seen before Ready.", json_schema_extra=SHOWN
    )
    rollout: Rollout = Field(
        default_factory=Rollout,
        description="How a new revision comes to the gateways, and what happens when it does not.",
        json_schema_extra=SHOWN,
    )
    revision_history_limit: Annotated[int, Field(ge=0, le=100)] = Field(
        default=10,
        description="How many old revisions are kept to roll back to, beside the stable one and the wanted one.",
    )


# -------------------------------------------------------------------------------------------------- status


class ConditionType(StrEnum):
    """The conditions of a release. Ready, Reconciling and Stalled follow kstatus."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    ARTIFACT_READY = "ArtifactReady"
    VERIFIED = "Verified"
    COMPATIBLE = "Compatible"
    APPLIED = "Applied"
    LOADED = "Loaded"
    PROBED = "Probed"


class Condition(Model):
    """A metav1.Condition."""

    type: str = Field(max_length=316, description="Which condition.")
    status: Literal["True", "False", "Unknown"] = Field(description="Unknown: it cannot be told, or was not looked at.")
    reason: Annotated[str, Field(min_length=1, max_length=1024)] = Field(description="Why, in one CamelCase word.")
    message: Annotated[str, Field(max_length=32768)] = Field(
        default="", description="What was found, and then what to do."
    )
    last_transition_time: Annotated[str, Field(max_length=64)] = Field(
        description="When the status last changed.", json_schema_extra={"format": "date-time"}
    )
    observed_generation: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="The generation of the spec that it is about."
    )


class ArtifactStatus(Model):
    """The artifact that was resolved, fetched and checked last."""

    ref: str = Field(description="The reference as the spec names it, with semver that of the tag that was picked.")
    semver: str | None = Field(default=None, description="The range that the tag was picked from.")
    asked_at: str | None = Field(
        default=None,
        description="When the registry was last asked what the reference names.",
        json_schema_extra={"format": "date-time"},
    )
    image: str = Field(description="The repository with the digest: what is written to the gateways.")
    digest: str = Field(description="Digest of the image's manifest.")
    wasm_sha256: str = Field(description="SHA-256 of the bytes of the .wasm file.")
    size: int = Field(description="Size of the .wasm file in bytes.", json_schema_extra={"format": "int64"})
    layout: str = Field(description="How the image carries the module: DockerCompat, OCICompat or OCIArtifact.")
    abi: str | None = Field(default=None, description="The proxy-wasm ABI version the module exports.")
    toolchain: str | None = Field(default=None, description="What built the module, with its version where known.")
    index: str | None = Field(
        default=None, description="Digest of the image index that the reference named, where it named one."
    )
    signer: str | None = Field(
        default=None, description="Whose signature was verified: the name of a key, or who signed without one."
    )
    policy: str | None = Field(
        default=None, description="Which artifact.verify the signature was verified by: ten hex digits of it."
    )


class TargetStatus(Model):
    """The object that was written to the gateway's namespace."""

    api_version: str = Field(description="Its API version.")
    kind: str = Field(description="WasmPlugin.")
    namespace: str = Field(description="Its namespace: spec.gateway.namespace.")
    name: str = Field(description="Its name, made from the release's.")
    uid: str | None = Field(default=None, description="Which object of that name.")


class PodStatus(Model):
    """What was seen in one gateway pod."""

    name: str = Field(description="Name of the pod.")
    namespace: str = Field(description="Namespace of the pod.")
    state: Literal["Loaded", "Pending", "Unhealthy", "Unknown"] = Field(description="What the signs in it amount to.")
    revision: str | None = Field(default=None, description="The revision that was seen running in it.")
    reason: str = Field(description="Why, in one CamelCase word.")
    message: Annotated[str, Field(max_length=MESSAGE_MAX)] = Field(
        default="", description="What was seen, where it can in the gateway's own words."
    )


class GatewaysStatus(Model):
    """What was seen in the selected gateway pods: exact counts, and at most 20 rows, failures first."""

    desired: int = Field(description="How many gateway pods the selector finds.")
    loaded: int = Field(description="How many of them were seen running the wanted revision.")
    failed: int = Field(description="How many of them were seen refusing it.")
    summary: str = Field(description="loaded/desired, for the column.")
    pods: Annotated[list[PodStatus], Field(max_length=MAX_POD_ROWS)] = Field(
        default_factory=list, description="At most 20 pods, failures first."
    )


class RaisedLogger(Model):
    """A log level that the operator raised on a pod, to be put back; noted before it is raised."""

    namespace: str = Field(description="Namespace of the pod.")
    pod: str = Field(description="Name of the pod.")
    uid: str = Field(description="Which pod of that name.")
    level: str = Field(description="The level of Envoy's filter logger before.")


class PodBaseline(Model):
    """A gateway's counters before the write, for one run of its Envoy; absent where the gateway hides them."""

    uid: str = Field(description="Which pod.")
    started_at: str = Field(description="When this run of its Envoy began.", json_schema_extra={"format": "date-time"})
    config_reload: int | None = Field(default=None, description="Modules loaded anew by a change of configuration.")
    config_fail: int | None = Field(default=None, description="Configurations that Envoy could not use.")
    update_rejected: int | None = Field(
        default=None, description="Updates of the plugin's configuration that Envoy refused."
    )
    vm_created: int | None = Field(default=None, description="Virtual machines started.")
    vm_reloads: int | None = Field(default=None, description="Virtual machines started anew after a failure.")
    named: bool | None = Field(default=None, description="Whether Envoy had statistics of the plugin's own name.")
    digest_hex: Annotated[str, Field(max_length=64)] | None = Field(
        default=None, description="The manifest's digest in the name of the file that the gateway had."
    )
    crashes: int | None = Field(
        default=None, description="How often the plugin crashed, where that is counted (Higress)."
    )
    restarts: int | None = Field(
        default=None, description="How often the container that runs Envoy was restarted, of a pod that was well."
    )
    image: Annotated[str, Field(max_length=8)] | None = Field(
        default=None, description="Of that container's image: eight hex digits of its name's SHA-256."
    )
    others_updated: str | None = Field(
        default=None,
        description="When another plugin of this gateway was last updated.",
        json_schema_extra={"format": "date-time"},
    )


class SilentPod(Model):
    """A pod whose admin port takes connections and does not answer."""

    uid: str = Field(description="Which pod.")
    since: str = Field(description="Since when.", json_schema_extra={"format": "date-time"})


class VerifiedPod(Model):
    """One run of one pod's Envoy, seen running the revision."""

    uid: str = Field(description="Which pod.")
    started_at: str = Field(description="When this run of its Envoy began.", json_schema_extra={"format": "date-time"})


class Proof(Model):
    """What was proved before this revision was written; it holds in gateways that never got to see the new one."""

    load: str = Field(description="What the gateways had loaded.")
    verified: Annotated[list[VerifiedPod], Field(max_length=MAX_OBSERVED_PODS)] = Field(
        default_factory=list, description="Pods in which it was seen running."
    )


class Nudge(Model):
    """How often gateways that could not fetch the plugin were made to try again."""

    count: int = Field(description="How often; the WasmPlugin carries the same number.")
    tries: int = Field(description="How often since everything ran.")
    at: str = Field(description="When last.", json_schema_extra={"format": "date-time"})


class Observation(Model):
    """What the look at the gateways started from: kept here so that a restarted operator goes on from it."""

    revision: str = Field(description="The revision this observation is about.")
    load: str = Field(
        default="", description="What a gateway loads of it: artifact, plugin name, configuration and failStrategy."
    )
    since: str = Field(
        description="Taken before the write: log lines and Envoys older than it say nothing about this revision.",
        json_schema_extra={"format": "date-time"},
    )
    baselines: Annotated[list[PodBaseline], Field(max_length=MAX_OBSERVED_PODS)] = Field(
        default_factory=list, description="The gateways' counters before the write."
    )
    raised_loggers: Annotated[list[RaisedLogger], Field(max_length=MAX_OBSERVED_PODS)] = Field(
        default_factory=list, description="Log levels to be put back."
    )
    verified: Annotated[list[VerifiedPod], Field(max_length=MAX_OBSERVED_PODS)] = Field(
        default_factory=list, description="Pods in which the revision was seen running."
    )
    silent: Annotated[list[SilentPod], Field(max_length=MAX_OBSERVED_PODS)] = Field(
        default_factory=list, description="Pods whose admin port does not answer any more."
    )
    before: Proof | None = Field(default=None, description="What ran before, and in which pods it was seen running.")
    failed_before: Annotated[list[str], Field(max_length=16)] = Field(
        default_factory=list,
        description="Probes that failed in every pod before the write: now they tell new from old.",
    )
    probes_failing_since: str | None = Field(
        default=None,
        description="Since when probes fail without a break.",
        json_schema_extra={"format": "date-time"},
    )
    nudge: Nudge | None = Field(default=None, description="How often gateways were made to fetch anew.")


class RolloutFailure(Model):
    """Why a revision did not come to run everywhere."""

    revision: str = Field(description="Which revision failed.")
    reason: str = Field(description="Why, in one CamelCase word.")
    message: Annotated[str, Field(max_length=MESSAGE_MAX)] = Field(description="What the gateways said.")
    at: str = Field(description="When.", json_schema_extra={"format": "date-time"})


class Detour(Model):
    """How gateways are healed whose Envoy refuses, or does not take, what is put back after a failure."""

    via: str | None = Field(
        default=None, description="A kept revision of other bytes, that runs before the one that is put back."
    )
    tried_others: bool | None = Field(default=None, description="Whether one of other bytes has had its turn.")
    restarted: Annotated[list[str], Field(max_length=MAX_OBSERVED_PODS)] = Field(
        default_factory=list, description="Pods whose Envoy was ended, so that it starts again with what is written."
    )
    restarted_at: str | None = Field(
        default=None, description="When the last of them was.", json_schema_extra={"format": "date-time"}
    )
    off_since: str | None = Field(
        default=None,
        description="Since when the plugin is off, for the time that old listeners drain.",
        json_schema_extra={"format": "date-time"},
    )
    was_off: bool | None = Field(default=None, description="Whether it has been off for that.")
    given_up: bool | None = Field(default=None, description="Whether nothing is left that could heal them.")


class RolloutStatus(Model):
    """The rollout under way, or the last one."""

    generation: int = Field(
        description="The generation of the spec that it is about.", json_schema_extra={"format": "int64"}
    )
    started_at: str = Field(description="When it began.", json_schema_extra={"format": "date-time"})
    completed_at: str | None = Field(
        default=None,
        description="When every gateway pod was first seen running it.",
        json_schema_extra={"format": "date-time"},
    )
    rollback_to: str | None = Field(
        default=None, description="The old revision that was asked for, instead of the spec's."
    )
    failure: RolloutFailure | None = Field(
        default=None, description="Why it failed; it is not tried again until the spec changes or somebody asks for it."
    )
    puts_back: str | None = Field(
        default=None, description="The revision that is put back after the failure; empty: the plugin is taken off."
    )
    put_back_at: str | None = Field(
        default=None,
        description="When every gateway pod was first seen running that again.",
        json_schema_extra={"format": "date-time"},
    )
    detour: Detour | None = Field(default=None, description="How gateways are healed that refuse what is put back.")
    adopted: bool | None = Field(
        default=None, description="Whether the object was somebody else's before; then it is never taken off."
    )


class Handled(Model):
    """Values of the action annotations that were acted on."""

    retry: str | None = Field(default=None, description="Of pluginrelease.io/retry.")
    rollback_to: str | None = Field(default=None, description="Of pluginrelease.io/rollback-to.")


class HistoryState(StrEnum):
    """What became of a revision."""

    DEPLOYING = "Deploying"
    STABLE = "Stable"
    SUPERSEDED = "Superseded"
    OVERTAKEN = "Overtaken"
    FAILED = "Failed"


class HistoryEntry(Model):
    """One revision that was written to the gateways."""

    revision: str = Field(description="Which revision.")
    number: int = Field(description="Counts up with every rollout.", json_schema_extra={"format": "int64"})
    state: HistoryState = Field(
        description=(
            "Deploying: under way; Stable: runs everywhere; Superseded: ran everywhere until another did; Overtaken: "
            "another came before it ran everywhere; Failed."
        )
    )
    ref: str = Field(description="The reference as the spec named it.")
    digest: str = Field(description="Digest of the image's manifest.")
    reason: str | None = Field(default=None, description="Why it failed, in one CamelCase word.")
    first_deployed: str = Field(description="When it was first written.", json_schema_extra={"format": "date-time"})
    last_deployed: str = Field(description="When it was last written.", json_schema_extra={"format": "date-time"})


class Status(Model):
    """What was seen. Written by the operator alone."""

    observed_generation: int = Field(
        default=-1,
        description="The generation of the spec that the last pass was about; -1 before the first.",
        json_schema_extra={"format": "int64"},
    )
    phase: str | None = Field(
        default=None, description="One word for people; programs read the conditions, never this."
    )
    conditions: Annotated[list[Condition], Field(max_length=16)] = Field(
        default_factory=list,
        description="The state of the release, one condition a type; Ready is always there after the first pass.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    target_revision: str | None = Field(
        default=None, description="The revision that is wanted: artifact, plugin and gateway in one hash."
    )
    stable_revision: str | None = Field(
        default=None, description="The revision that was last seen running in every selected gateway pod."
    )
    artifact: ArtifactStatus | None = Field(
        default=None, description="The artifact that was resolved, fetched and checked last."
    )
    target: TargetStatus | None = Field(
        default=None, description="The object that was written to the gateway's namespace."
    )
    gateways: GatewaysStatus | None = Field(default=None, description="What was seen in the selected gateway pods.")
    rollout: RolloutStatus | None = Field(default=None, description="The rollout under way, or the last one.")
    history: Annotated[list[HistoryEntry], Field(max_length=102)] = Field(
        default_factory=list, description="The revisions that were written to the gateways, newest first."
    )
    handled: Handled | None = Field(
        default=None, description="The action annotations that were acted on, by their values."
    )
    observation: Observation | None = Field(
        default=None, description="What the look at the gateways started from; the operator's own notes."
    )


class Metadata(Model):
    """The part of an object's metadata that the operator reads."""

    name: str
    namespace: str
    uid: str
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: str = ""
    deletion_timestamp: str | None = None
    finalizers: list[str] = Field(default_factory=list)
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class Release(Model):
    """A PluginRelease as it is in the API server."""

    metadata: Metadata
    spec: Spec
    status: Status = Field(default_factory=Status)

    def as_owner(self) -> dict[str, Any]:
        """The owner reference of what goes with the release; the garbage collector honours it in its namespace only."""
        return {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "name": self.metadata.name,
            "uid": self.metadata.uid,
            "controller": True,
            "blockOwnerDeletion": False,
        }
