"""Reasons about the image, and about its signature."""

from __future__ import annotations

from pluginrelease.api.conditions import ConditionType
from pluginrelease.api.explanations.values import Elsewhere, Explanation, Section, Then
from pluginrelease.api.reasons import Reason

_ARTIFACT = {
    Reason.ARTIFACT_READY: Explanation(
        Then.GOES_ON,
        "The operator resolved the reference to a digest, fetched the image, and checked every byte.",
        "Nothing.",
    ),
    Reason.TAG_NOT_FOLLOWED: Explanation(
        Then.GOES_ON,
        (
            "`artifact.image.interval` has passed, and the operator could not resolve the tag again. The gateways "
            "keep running the image that they have."
        ),
        "Check the registry. The operator tries again after the next interval.",
    ),
    Reason.INVALID_REFERENCE: Explanation(
        Then.STAYS,
        "`artifact.image.ref` is not an image reference; the message says where the error is.",
        "Write `registry.example.com/team/plugin:1.0.0`. Put an IPv6 address in brackets: `[fd00::1]:5000/plugin:1`.",
        where=(ConditionType.ARTIFACT_READY, Elsewhere.COMMAND_LINE),
    ),
    Reason.MISSING_TAG: Explanation(
        Then.STAYS,
        "The reference has neither a tag nor a digest. The operator never assumes `latest`.",
        "Add the tag or the digest of the version that you want.",
    ),
    Reason.INVALID_SEMVER: Explanation(
        Then.STAYS,
        "`artifact.image.semver` is not a range of versions.",
        "Write `1.x`, `^1.2`, `>=1.2 <2` or `1.2 - 1.4`.",
    ),
    Reason.NO_MATCHING_TAG: Explanation(
        Then.WAITS,
        (
            "No tag of the repository is within `artifact.image.semver`; the message names some tags that exist. The "
            "operator checks again every minute."
        ),
        "Push such a tag, or correct the range.",
    ),
    Reason.TOO_MANY_TAGS: Explanation(
        Then.STAYS,
        "The repository has more than 20,000 tags, or its list of tags is longer than 4 MiB.",
        "Name a tag in `ref`, or use a repository for this plugin alone.",
    ),
    Reason.TAG_LIST_INCOMPLETE: Explanation(
        Then.STAYS_OR_GOES_ON,
        (
            "The registry's list of tags may be incomplete: it ends with a full page, and has no link to a next one. "
            "If the tag that runs is missing in it, the operator does not choose an older one. It uses the highest "
            "tag of the list only if that is newer, or if nothing ran yet. An event reports it."
        ),
        (
            "Configure the registry, or the proxy before it, to page lists as the OCI distribution spec says. Or name "
            "the tag in `ref`."
        ),
        where=(ConditionType.ARTIFACT_READY, Elsewhere.EVENT),
    ),
    Reason.MANIFEST_NOT_FOUND: Explanation(
        Then.WAITS,
        "The registry has no such tag or digest. The operator checks again every minute.",
        "Push the image, or correct the reference.",
    ),
    Reason.MANIFEST_GONE: Explanation(
        Then.GOES_ON,
        (
            "The registry no longer has the image that runs, or the image of a rollback. Gateways that run it keep "
            "running it, and `Ready` stays True with a warning in its message. A new pod cannot fetch it. The "
            "operator checks once in each `--resync`."
        ),
        ("Push the same bytes again, or release another image. Configure the registry not to delete images that run."),
        where=(ConditionType.ARTIFACT_READY, Elsewhere.EVENT),
    ),
    Reason.PULL_SECRET_NOT_FOUND: Explanation(
        Then.WAITS,
        "The Secret in `pullSecretRef` or `gatewayPullSecretRef` does not exist.",
        "Create it; the message has the command.",
    ),
    Reason.INVALID_PULL_SECRET: Explanation(
        Then.STAYS,
        (
            "The Secret has the wrong type, lacks what `kubectl create secret docker-registry` writes, or has a form "
            "that gateways cannot use. Gateways use only an entry for the registry's host (for Docker Hub: "
            "`https://index.docker.io/v1/`). They use no credential helpers, and ignore the whole Secret if one entry "
            "is invalid."
        ),
        "Create it again with one entry for the registry; the message has the command.",
    ),
    Reason.CA_SECRET_NOT_FOUND: Explanation(
        Then.WAITS,
        "The Secret in `caSecretRef` does not exist.",
        "Create it; the message has the command.",
    ),
    Reason.INVALID_CA_SECRET: Explanation(
        Then.STAYS,
        "The Secret in `caSecretRef` has the wrong type, or its key `ca.crt` does not hold PEM certificates.",
        "Create it again; the message has the command.",
    ),
    Reason.INVALID_REGISTRY_CA: Explanation(
        Then.STAYS,
        (
            "The operator cannot read its `--registry-ca-file`, or the file does not hold PEM certificates. The "
            "operator reads it again in every pass."
        ),
        "Write the certificates of the authorities into it, as PEM.",
    ),
    Reason.REGISTRY_NOT_ALLOWED: Explanation(
        Then.STAYS,
        (
            "`--allowed-registries` does not contain this registry. The operator sent no request to it. What ran "
            "keeps running."
        ),
        "Push the plugin to a registry that the message names, or ask for the setting to be extended.",
    ),
    Reason.AUTHENTICATION_REQUIRED: Explanation(
        Then.STAYS,
        (
            "The registry asks for credentials, and the release has none for it. Some registries also answer so if "
            "the repository does not exist."
        ),
        "Check the repository's name. Set `pullSecretRef` to a Secret with an entry for this registry.",
    ),
    Reason.AUTHENTICATION_FAILED: Explanation(
        Then.STAYS,
        "The registry refuses the credentials in the pull secret.",
        "Write credentials into it that may read the repository.",
    ),
    Reason.REGISTRY_CHALLENGE_REFUSED: Explanation(
        Then.STAYS,
        (
            "The registry sends clients for a token to an address that is private, local or otherwise unsafe. "
            "Gateways with Istio 1.27.8, 1.28.5, 1.29.1, 1.30 or newer refuse it, and so does the operator."
        ),
        (
            "Set the registry's realm to an https URL with a public host name. `--private-realms-of` allows it for "
            "some registries, but only to the operator."
        ),
        where=(ConditionType.ARTIFACT_READY, ConditionType.COMPATIBLE),
    ),
    Reason.REGISTRY_REDIRECT_REFUSED: Explanation(
        Then.STAYS,
        (
            "The registry redirects the download to an address that is not allowed. Or its list of tags continues at "
            "another host."
        ),
        (
            "Configure the registry to serve its blobs itself, or from a public https address. Its Link header must "
            "have a path, or its own host."
        ),
    ),
    Reason.REGISTRY_TLS: Explanation(
        Then.STAYS,
        "The operator does not trust the registry's certificate, or the registry answers in plain http.",
        ("Give the registry a certificate. For a registry inside the cluster, set `artifact.image.insecure: true`."),
    ),
    Reason.REGISTRY_UNAVAILABLE: Explanation(
        Then.RETRIES,
        "The registry cannot be reached, does not answer in time, or answers 429 or 5xx.",
        "Check the registry, the network policies and the proxy between.",
    ),
    Reason.CACHE_UNAVAILABLE: Explanation(
        Then.RETRIES,
        (
            "The operator cannot write fetched files to `--cache-dir`. Or the downloads in progress need more than "
            "`--cache-size`."
        ),
        ("Check that the folder is writable and has free space. Raise `--cache-size` if the downloads need it."),
    ),
    Reason.REGISTRY_REFUSED: Explanation(
        Then.STAYS,
        "The registry answers with an error that a retry cannot fix.",
        "Check the reference, and the registry's log.",
    ),
    Reason.DIGEST_MISMATCH: Explanation(
        Then.STAYS,
        "The bytes that the registry sent do not have the digest that was asked for.",
        "Push the image again. If it remains, find out what changes the bytes on the way.",
    ),
    Reason.ARTIFACT_TOO_LARGE: Explanation(
        Then.STAYS,
        "The layer or the module is larger than 256 MiB. A gateway reads no more than that.",
        "Make the module smaller.",
    ),
    Reason.MALFORMED_MANIFEST: Explanation(
        Then.STAYS,
        "The registry's manifest for the image is not valid.",
        "Push the plugin again, for example with `pluginrelease push`.",
    ),
    Reason.NO_USABLE_PLATFORM: Explanation(
        Then.STAYS,
        "The image index has no manifest for linux/amd64. Gateways use only that platform.",
        "Push the plugin as a single image.",
    ),
    Reason.UNREADABLE_LAYOUT: Explanation(
        Then.STAYS,
        "The image's layers have none of the three forms that Istio reads.",
        "Push it with `pluginrelease push`.",
    ),
    Reason.MALFORMED_LAYER: Explanation(
        Then.STAYS,
        "The layer is not a complete tar+gzip archive.",
        "Push the plugin again.",
    ),
    Reason.NO_PLUGIN_WASM: Explanation(
        Then.STAYS,
        "The layer that a gateway reads has no file with the name `plugin.wasm`.",
        "Rename the module to `plugin.wasm`, and put it into the image's last layer.",
    ),
    Reason.NOT_WASM: Explanation(
        Then.STAYS,
        "The file `plugin.wasm` is not a WebAssembly module: it is text, gzip data, a native program …",
        "Push the file that the compiler wrote.",
    ),
    Reason.COMPONENT_NOT_MODULE: Explanation(
        Then.STAYS,
        "The file is a WebAssembly component. Envoy loads only core modules.",
        "Build for `wasm32-wasip1` (Rust) or `GOOS=wasip1` (Go).",
    ),
    Reason.TRUNCATED_MODULE: Explanation(
        Then.STAYS,
        "The module ends too early.",
        "Compare its size with the compiler's output, and push it again.",
    ),
    Reason.MALFORMED_MODULE: Explanation(
        Then.STAYS,
        "A section of the module is not valid.",
        "Build the module again.",
    ),
    Reason.BEYOND_V8_LIMITS: Explanation(
        Then.STAYS,
        (
            "The module exceeds a limit of V8, which runs it in the gateway: types, parameters, local variables … The "
            "message has the number and the limit."
        ),
        "Make the plugin smaller.",
        where=(ConditionType.ARTIFACT_READY, ConditionType.COMPATIBLE),
    ),
    Reason.MODULE_NOT_READ: Explanation(
        Then.STAYS,
        (
            "The module has more of something than the operator reads, or something that the operator does not know; "
            "the message names it. A gateway might load the module."
        ),
        "Make the plugin smaller. If the plugin is correct, please report it.",
    ),
    Reason.WASM_MISMATCH: Explanation(
        Then.STAYS,
        "The module in the image does not have the hash in `artifact.wasmSha256`.",
        "Correct the field, or find out who replaced the module.",
    ),
}

ARTIFACT = Section(
    "ArtifactReady: the image",
    (ConditionType.ARTIFACT_READY,),
    _ARTIFACT,
    intro="These end a pass before the write: gateways keep what they run.",
)

_SIGNATURE = {
    Reason.VERIFIED: Explanation(
        Then.GOES_ON,
        (
            "`artifact.verify` accepts a signature of the image, or of the index that led to it. The "
            "message and `status.artifact.signer` name the signer."
        ),
        "Nothing.",
    ),
    Reason.NOT_SIGNED: Explanation(
        Then.STAYS,
        (
            "The registry has no signature of the image. The operator checks again every minute, because images are "
            "signed after the push."
        ),
        "Sign the image, by its digest.",
    ),
    Reason.UNTRUSTED_SIGNER: Explanation(
        Then.STAYS,
        (
            "The image has signatures, but none is by a key or an identity in `artifact.verify`. Or a signature was "
            "changed after it was made."
        ),
        "Find out who signed the image. Sign it with the right key, or correct `artifact.verify`.",
    ),
    Reason.SIGNATURE_INVALID: Explanation(
        Then.STAYS,
        (
            "The signatures are about another image, are broken, or do not verify with the trusted root. "
            "The message says which."
        ),
        "Sign the image again.",
    ),
    Reason.VERIFICATION_SECRET_NOT_FOUND: Explanation(
        Then.WAITS,
        "A Secret in `artifact.verify` does not exist.",
        "Create it; the message has the command.",
    ),
    Reason.INVALID_VERIFICATION_KEY: Explanation(
        Then.STAYS,
        "The Secret has no key whose name ends in `.pub`. Or such a key is not a public key in PEM.",
        "Add `cosign.pub` to the Secret.",
    ),
    Reason.TRUSTED_ROOT_MISSING: Explanation(
        Then.STAYS,
        (
            "`artifact.verify` asks for a keyless signature, and neither the release nor the operator has a trusted "
            "root."
        ),
        "Set `trustedRootSecretRef`, or start the operator with `--trusted-root`.",
    ),
    Reason.INVALID_TRUSTED_ROOT: Explanation(
        Then.STAYS,
        "The trusted root is not valid.",
        "Create it again with `cosign trusted-root create`, or use the one of Sigstore's public instance.",
    ),
    Reason.INVALID_IDENTITY_PATTERN: Explanation(
        Then.STAYS,
        "`issuer` or `subject` is not a regular expression of RE2.",
        "Correct the expression that the message names.",
    ),
}

SIGNATURE = Section(
    "Verified: the signature",
    (ConditionType.VERIFIED,),
    _SIGNATURE,
    intro=(
        "Only with `artifact.verify`; [signatures.md](signatures.md) says what is checked. Gateways keep what they run."
    ),
)
