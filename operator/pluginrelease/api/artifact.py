"""``spec.artifact``: where the plugin comes from, and who must have signed it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pluginrelease.api.metadata import Model
from pluginrelease.api.rules import cel
from pluginrelease.api.values import Duration, Name

# 1.x or >=1.2.3-rc.1; what looks like a range and is none is refused by the pass (`core.registry.tags`)
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

    name: Name = Field(description="Name of the Secret, in the namespace of each entry of spec.gateways.")


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
