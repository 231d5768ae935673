"""``spec.artifact``: where the plugin comes from, and who must have signed it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pluginrelease.api.durations import Duration
from pluginrelease.api.metadata import Model
from pluginrelease.api.rules import cel
from pluginrelease.api.values import Name

# 1.x or >=1.2.3-rc.1; a pass refuses texts that only look like a range (`core.registry.tags`)
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
                    "write a range of versions: 1.x, ^1.2, ~1.2.3, >=1.2 <2, 1.2 - 1.4, or several ranges separated "
                    "by ||",
                )
            ]
        },
    ),
]


class SecretReference(Model):
    """A Secret in the release's own namespace."""

    name: Name = Field(
        examples=["registry-keys"], description="Name of the Secret, in the namespace of the PluginRelease."
    )


class GatewaySecretReference(Model):
    """A Secret in the gateway's namespace."""

    name: Name = Field(
        examples=["registry-keys"],
        description="Name of the Secret. It must exist in the namespace of each entry of spec.gateways.",
    )


class ImageSource(Model):
    """A plugin in an OCI registry."""

    ref: Annotated[str, Field(min_length=1, max_length=512)] = Field(
        examples=["registry.example.com/plugins/auth:1.2"],
        description=(
            "The image, as registry/repository:tag or registry/repository@sha256:digest. The operator "
            "resolves a tag to a digest, and writes only the digest to gateways."
        ),
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "!self.contains('://')",
                    "remove the scheme: write registry.example.com/plugins/auth:1.2, not oci://…; for a registry "
                    "without TLS, set artifact.image.insecure",
                ),
                cel(
                    "!self.matches('[[:space:]]')",
                    "remove the white space: an image reference is written as registry.example.com/plugins/auth:1.2",
                ),
            ]
        },
    )
    semver: SemverRange | None = Field(
        default=None,
        examples=["1.x"],
        description=(
            "A range of versions. The operator picks the highest tag in it; ref then names only the "
            "repository. The grammar is npm's: 1.x, ^1.2, ~1.2.3, >=1.2 <2, 1.2 - 1.4. Separate several "
            "ranges by ||. Only tags that are full versions count, with or without a leading v. A prerelease "
            "is picked only if the range names a prerelease of the same version: >=1.2.0-0 picks 1.2.0-rc.1, "
            "not 1.3.0-rc.1."
        ),
    )
    pull_secret_ref: SecretReference | None = Field(
        default=None,
        description=(
            "Pull secret of type kubernetes.io/dockerconfigjson, in the namespace of the PluginRelease. The "
            "operator pulls with it. It copies the Secret to the gateway's namespace, where the gateways pull "
            "with it."
        ),
    )
    gateway_pull_secret_ref: GatewaySecretReference | None = Field(
        default=None,
        description=(
            "Pull secret of type kubernetes.io/dockerconfigjson that already exists in the gateway's "
            "namespace. The operator pulls with it and writes its name to the WasmPlugin. The operator never "
            "copies, changes or deletes it. A namespace that allows releases from another namespace also "
            "allows them to use this Secret."
        ),
    )
    interval: Duration | None = Field(
        default=None,
        examples=["10m"],
        description=(
            "How often the operator resolves the tag again, as a duration. A moved tag, or a higher version "
            "within semver, starts a rollout. Unset: the operator resolves the tag once for each change of "
            "the spec. A digest that failed is not tried again when the tag still names it."
        ),
    )
    insecure: bool = Field(
        default=False,
        description=(
            "If true, the operator pulls over plain HTTP. This setting applies to the operator only. The "
            "agents in the gateway pods always try HTTPS first, and use HTTP if the registry answers in HTTP."
        ),
    )
    ca_secret_ref: SecretReference | None = Field(
        default=None,
        description=(
            "Secret of type Opaque or kubernetes.io/tls, with PEM certificates under the key ca.crt. The "
            "operator trusts them for this registry, in addition to the system's authorities. This setting "
            "applies to the operator only. The agents in the gateway pods trust the authorities of their "
            "image and mounts, or skip the check for hosts in WASM_INSECURE_REGISTRIES. The operator checks "
            "that before it writes anything."
        ),
    )


Pattern = Annotated[str, Field(min_length=1, max_length=512)]


class OIDCIdentity(Model):
    """An identity whose keyless signatures are accepted."""

    issuer: Pattern = Field(
        description=(
            "OIDC issuer of the signer: a regular expression (RE2) that must match the whole issuer. Example: "
            r"https://token\.actions\.githubusercontent\.com."
        )
    )
    subject: Pattern = Field(
        description=(
            "Subject of the signing certificate: a regular expression (RE2) that must match the whole subject. "
            r"Example: https://github\.com/team/auth/\.github/workflows/release\.yml@refs/tags/.*."
        )
    )


class Verification(Model):
    """Which signatures the image must have."""

    provider: Literal["cosign"] = Field(default="cosign", description="Format of the signatures.")
    secret_ref: SecretReference | None = Field(
        default=None,
        description=(
            "Secret with PEM public keys, under keys that end in .pub. The image must be signed with one of "
            "them. To rotate a key, keep the old and the new one in the Secret for a while."
        ),
    )
    match_oidc_identity: Annotated[list[OIDCIdentity], Field(min_length=1, max_length=16)] | None = Field(
        default=None,
        alias="matchOIDCIdentity",
        description="Identities whose keyless signatures are accepted. One of them must have signed the image.",
    )
    trusted_root_secret_ref: SecretReference | None = Field(
        default=None,
        description=(
            "Secret with the certificate authorities and transparency logs for keyless signatures, under the "
            "key trusted_root.json. Unset: the operator uses the file of its --trusted-root option."
        ),
    )


class HttpSource(Model):
    """A plugin on an HTTP server."""

    url: Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[!-~]+$")] = Field(
        examples=["https://files.example.com/auth-1.2.wasm"],
        description=(
            "URL of the .wasm file, or of a gzip or tar archive of it. Neither the operator nor the gateways send "
            "credentials. Each gateway pod fetches the file when it starts, so it must stay there."
        ),
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "!self.startsWith('file:')",
                    "publish the file on an HTTP server, or push it as an image: a file:// module is in each gateway "
                    "pod, where the operator cannot check it before it runs",
                ),
                cel(
                    "self.matches('^https?://[^/?#@]+/[^?#@]*$') || self.startsWith('file:')",
                    "write https://host/path or http://host/path, without user, query and fragment; for an image in a "
                    "registry, use artifact.image",
                ),
            ]
        },
    )
    sha256: Annotated[str, Field(pattern=r"^[a-f0-9]{64}$", max_length=64)] = Field(
        examples=["5ba36bd7e92741471693841bf94e90b4b9b12a202016808f4aeeea7e7e863095"],
        description=(
            "SHA-256 of the .wasm file, in lower-case hex; not of an archive of it. The operator and the gateways "
            "refuse other bytes."
        ),
    )


class ArtifactSource(Model):
    """Where the plugin comes from."""

    http: HttpSource | None = Field(
        default=None, description="Istio only. The file on an HTTP server that is the plugin, instead of an image."
    )
    image: ImageSource | None = Field(
        default=None,
        description="The image that contains the plugin.",
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "!has(self.interval) || !self.ref.contains('@')",
                    "remove interval, or use a tag in ref: a digest never changes",
                ),
                cel(
                    "!has(self.semver) || !self.ref.matches('@|:[^/]*$')",
                    "remove tag and digest from ref: with semver, the operator picks the tag",
                ),
                cel(
                    "!has(self.pullSecretRef) || !has(self.gatewayPullSecretRef)",
                    "set only one pull secret: pullSecretRef in the release's own namespace, or gatewayPullSecretRef "
                    "in the gateway's namespace",
                ),
            ]
        },
    )
    wasm_sha256: Annotated[str, Field(pattern=r"^[a-f0-9]{64}$", max_length=64)] | None = Field(
        default=None,
        examples=["5ba36bd7e92741471693841bf94e90b4b9b12a202016808f4aeeea7e7e863095"],
        description=(
            "SHA-256 of the .wasm file, in lower-case hex. The operator refuses a module with other bytes. "
            "This is not the sha256 of Istio's WasmPlugin, which is the digest of the image's manifest."
        ),
    )
    verify: Verification | None = Field(
        default=None,
        description="Which signatures the image must have. Unset: the operator does not check signatures.",
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "has(self.secretRef) || has(self.matchOIDCIdentity)",
                    "say which signatures to accept: set secretRef to a Secret with public keys, or matchOIDCIdentity "
                    "to identities that sign without keys",
                ),
                cel(
                    "!(has(self.secretRef) && has(self.matchOIDCIdentity))",
                    "remove secretRef or matchOIDCIdentity: with both it is unclear whether one signature is enough",
                ),
                cel(
                    "!has(self.trustedRootSecretRef) || has(self.matchOIDCIdentity)",
                    "remove trustedRootSecretRef, or set matchOIDCIdentity: a trusted root is used only for keyless "
                    "signatures",
                ),
            ]
        },
    )
