"""What is said of the image, and of its signature."""

from __future__ import annotations

from pluginrelease.api.conditions import ConditionType
from pluginrelease.api.explanations.values import Elsewhere, Explanation, Section, Then
from pluginrelease.api.reasons import Reason

_ARTIFACT = {
    Reason.ARTIFACT_READY: Explanation(
        Then.GOES_ON,
        "The reference was resolved to a digest, and every byte was fetched and checked.",
        "Nothing.",
    ),
    Reason.TAG_NOT_FOLLOWED: Explanation(
        Then.GOES_ON,
        "`artifact.image.interval` has passed, and the registry could not be asked what the tag names now. What "
        "runs goes on.",
        "Look at the registry. It is asked again after the next interval.",
    ),
    Reason.INVALID_REFERENCE: Explanation(
        Then.STAYS,
        "`artifact.image.ref` is not an image reference; the message says where it breaks.",
        "Write `registry.example.com/team/plugin:1.0.0`. Put an IPv6 address in brackets: `[fd00::1]:5000/plugin:1`.",
        where=(ConditionType.ARTIFACT_READY, Elsewhere.COMMAND_LINE),
    ),
    Reason.MISSING_TAG: Explanation(
        Then.STAYS,
        "The reference has neither a tag nor a digest. `latest` is never made up.",
        "Name the version that is wanted.",
    ),
    Reason.INVALID_SEMVER: Explanation(
        Then.STAYS,
        "`artifact.image.semver` is not a range of versions.",
        "Write `1.x`, `^1.2`, `>=1.2 <2` or `1.2 - 1.4`.",
    ),
    Reason.NO_MATCHING_TAG: Explanation(
        Then.WAITS,
        "No tag of the repository is within `artifact.image.semver`; the message names some that there are. It "
        "is looked for again every minute.",
        "Push one, or correct the range.",
    ),
    Reason.TOO_MANY_TAGS: Explanation(
        Then.STAYS,
        "The repository has more than 20,000 tags, or a list of them longer than 4 MiB.",
        "Name a tag in `ref`, or keep the plugin's releases in a repository of their own.",
    ),
    Reason.TAG_LIST_INCOMPLETE: Explanation(
        Then.STAYS_OR_GOES_ON,
        "The registry's list of tags may be cut: it ends with a full page, and nothing leads further. A tag "
        "that ran before and is missing there is not taken for deleted, so no older version comes. Where "
        "nothing ran yet, or the highest in the list is newer, that is taken. An event says so.",
        "Have the registry, or the proxy before it, page its lists as the OCI distribution spec says. Or name "
        "the tag in `ref`.",
        where=(ConditionType.ARTIFACT_READY, Elsewhere.EVENT),
    ),
    Reason.MANIFEST_NOT_FOUND: Explanation(
        Then.WAITS,
        "The registry has no such tag or digest. It is looked for again every minute.",
        "Push it, or correct the reference.",
    ),
    Reason.PULL_SECRET_NOT_FOUND: Explanation(
        Then.WAITS,
        "The Secret that `pullSecretRef` or `gatewayPullSecretRef` names is not there.",
        "Create it; the message has the command.",
    ),
    Reason.INVALID_PULL_SECRET: Explanation(
        Then.STAYS,
        "The Secret is of another type, or has not what `kubectl create secret docker-registry` makes, or "
        "gateways cannot use it. Gateways look for the registry's host alone (for Docker Hub, for "
        "`https://index.docker.io/v1/`). They use no credential helpers, and read nothing where one entry is "
        "broken.",
        "Make it anew with one entry for the registry; the message has the command.",
    ),
    Reason.CA_SECRET_NOT_FOUND: Explanation(
        Then.WAITS,
        "The Secret that `caSecretRef` names is not there.",
        "Create it; the message has the command.",
    ),
    Reason.INVALID_CA_SECRET: Explanation(
        Then.STAYS,
        "The Secret that `caSecretRef` names is of another type, or its key `ca.crt` is not PEM certificates.",
        "Make it anew; the message has the command.",
    ),
    Reason.INVALID_REGISTRY_CA: Explanation(
        Then.STAYS,
        "The operator's `--registry-ca-file` cannot be read, or is not PEM certificates. It is read again at "
        "every pass.",
        "Put the authorities' certificates into it, as PEM.",
    ),
    Reason.REGISTRY_NOT_ALLOWED: Explanation(
        Then.STAYS,
        "The operator takes plugins from other registries only (`--allowed-registries`). Nothing was asked. "
        "What runs goes on.",
        "Push the plugin to one that the message names, or have the setting extended.",
    ),
    Reason.AUTHENTICATION_REQUIRED: Explanation(
        Then.STAYS,
        "The registry wants credentials and none were given for it. Some registries say the same of a "
        "repository that does not exist.",
        "Name a secret that has an entry for this registry. Check the repository's name.",
    ),
    Reason.AUTHENTICATION_FAILED: Explanation(
        Then.STAYS,
        "The registry refuses the credentials in the pull secret.",
        "Put credentials into it that may read the repository.",
    ),
    Reason.REGISTRY_CHALLENGE_REFUSED: Explanation(
        Then.STAYS,
        "The registry names a private, local or otherwise unsafe address to fetch tokens from. Gateways with "
        "Istio 1.27.8, 1.28.5, 1.29.1, 1.30 or newer refuse it, and so does the operator.",
        "Set the registry's realm to an https URL with a public host name. Name registries that may with "
        "`--private-realms-of`, for the operator's own part.",
        where=(ConditionType.ARTIFACT_READY, ConditionType.COMPATIBLE),
    ),
    Reason.REGISTRY_REDIRECT_REFUSED: Explanation(
        Then.STAYS,
        "The registry sends the download to a place that it must not send anybody to. Or it says that its list "
        "of tags goes on at another host.",
        "Let it serve its blobs itself, or from a public https address. Let its Link header name its own host, "
        "or a path alone.",
    ),
    Reason.REGISTRY_TLS: Explanation(
        Then.STAYS,
        "The registry's certificate cannot be trusted, or it speaks plain http.",
        "Give it a certificate; for a registry inside the cluster set `artifact.image.insecure: true`.",
    ),
    Reason.REGISTRY_UNAVAILABLE: Explanation(
        Then.RETRIES,
        "The registry cannot be reached, does not finish in time, or answers 429 or 5xx.",
        "Look at the registry, the network policy and the proxy between.",
    ),
    Reason.CACHE_UNAVAILABLE: Explanation(
        Then.RETRIES,
        "The operator cannot write what it fetches to `--cache-dir`. Or what is being fetched at once does not "
        "fit into `--cache-size`.",
        "See that the folder can be written and has room.",
    ),
    Reason.REGISTRY_REFUSED: Explanation(
        Then.STAYS,
        "The registry answers with an error that another try does not heal.",
        "Look at the reference, and at the registry's log.",
    ),
    Reason.DIGEST_MISMATCH: Explanation(
        Then.STAYS,
        "The bytes are not those of the digest.",
        "Push again. If it stays, look for what changes the bytes on their way.",
    ),
    Reason.ARTIFACT_TOO_LARGE: Explanation(
        Then.STAYS,
        "The layer or the module is larger than 256 MiB, the most that a gateway reads.",
        "Make the module smaller.",
    ),
    Reason.MALFORMED_MANIFEST: Explanation(
        Then.STAYS,
        "What the registry has as the image's manifest cannot be read as one.",
        "Push the plugin again, for example with `pluginrelease push`.",
    ),
    Reason.NO_USABLE_PLATFORM: Explanation(
        Then.STAYS,
        "The image index has no manifest for linux/amd64, the only one that a gateway takes.",
        "Push the plugin as a single image.",
    ),
    Reason.UNREADABLE_LAYOUT: Explanation(
        Then.STAYS,
        "The image's layers are not in one of the three forms that Istio reads.",
        "Push it with `pluginrelease push`.",
    ),
    Reason.MALFORMED_LAYER: Explanation(
        Then.STAYS,
        "The layer is not a whole tar+gzip archive.",
        "Push the plugin again.",
    ),
    Reason.NO_PLUGIN_WASM: Explanation(
        Then.STAYS,
        "There is no file called `plugin.wasm` in the layer that a gateway reads.",
        "Call it so, in the image's last layer.",
    ),
    Reason.NOT_WASM: Explanation(
        Then.STAYS,
        "`plugin.wasm` is something else: text, gzip data, a native program …",
        "Push the file that the compiler wrote.",
    ),
    Reason.COMPONENT_NOT_MODULE: Explanation(
        Then.STAYS,
        "It is a WebAssembly component; Envoy loads core modules only.",
        "Build for `wasm32-wasip1` (Rust) or `GOOS=wasip1` (Go).",
    ),
    Reason.TRUNCATED_MODULE: Explanation(
        Then.STAYS,
        "The module ends too early.",
        "Compare its size with what the compiler wrote, and push it again.",
    ),
    Reason.MALFORMED_MODULE: Explanation(
        Then.STAYS,
        "A section of the module says what cannot be.",
        "Build it anew.",
    ),
    Reason.BEYOND_V8_LIMITS: Explanation(
        Then.STAYS,
        "The module has more of something than V8 takes, which runs it in the gateway: types, parameters, local "
        "variables … The message has the number and the limit.",
        "Make the plugin smaller.",
        where=(ConditionType.ARTIFACT_READY, ConditionType.COMPATIBLE),
    ),
    Reason.MODULE_NOT_READ: Explanation(
        Then.STAYS,
        "The module has more of something than is read here, or something unknown; the message says what. A "
        "gateway might take it.",
        "Make the plugin smaller. Report a plugin that is right as it is, please.",
    ),
    Reason.WASM_MISMATCH: Explanation(
        Then.STAYS,
        "`artifact.wasmSha256` names other bytes than the image has.",
        "Correct the field, or find out who replaced the module.",
    ),
}

ARTIFACT = Section(
    "ArtifactReady: the image",
    (ConditionType.ARTIFACT_READY,),
    _ARTIFACT,
)

_SIGNATURE = {
    Reason.VERIFIED: Explanation(
        Then.GOES_ON,
        "A signature of the image, or of the index that led to it, is by somebody whom `artifact.verify` names. "
        "The message and `status.artifact.signer` say by whom.",
        "Nothing.",
    ),
    Reason.NOT_SIGNED: Explanation(
        Then.STAYS,
        "The registry has no signature of the image. It is looked for again every minute, as signing comes "
        "after pushing.",
        "Sign it, by its digest.",
    ),
    Reason.UNTRUSTED_SIGNER: Explanation(
        Then.STAYS,
        "There are signatures, and none is by a key or an identity that `artifact.verify` names. Or one was "
        "changed after it was made.",
        "Sign it with the right key, or correct `artifact.verify`. Find out who signed it.",
    ),
    Reason.SIGNATURE_INVALID: Explanation(
        Then.STAYS,
        "What is there is about another image, is broken, or does not stand against the trusted root; the "
        "message says which.",
        "Sign the image anew.",
    ),
    Reason.VERIFICATION_SECRET_NOT_FOUND: Explanation(
        Then.WAITS,
        "A Secret that `artifact.verify` names is not there.",
        "Create it; the message has the command.",
    ),
    Reason.INVALID_VERIFICATION_KEY: Explanation(
        Then.STAYS,
        "The Secret has no key that ends in `.pub`, or one that is not a public key in PEM.",
        "Put `cosign.pub` into it.",
    ),
    Reason.TRUSTED_ROOT_MISSING: Explanation(
        Then.STAYS,
        "A keyless signature is asked for, and neither the release nor the operator has a trusted root.",
        "Name `trustedRootSecretRef`, or give the operator one with `--trusted-root`.",
    ),
    Reason.INVALID_TRUSTED_ROOT: Explanation(
        Then.STAYS,
        "The trusted root is not one that can be used.",
        "Make it anew with `cosign trusted-root create`, or take the public instance's.",
    ),
    Reason.INVALID_IDENTITY_PATTERN: Explanation(
        Then.STAYS,
        "`issuer` or `subject` is not a regular expression that RE2 reads.",
        "Correct it.",
    ),
}

SIGNATURE = Section(
    "Verified: the signature",
    (ConditionType.VERIFIED,),
    _SIGNATURE,
    intro=(
        "Only where `artifact.verify` asks for one; [signatures.md](signatures.md) says what is checked. What runs "
        "goes on running."
    ),
)
