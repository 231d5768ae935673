"""Every reason of a condition, event, log line and error: one word that scripts may match.

`api.explanations` says what each means and what to do; docs/reasons.md is generated from it. Where the operator acts
differently for some reasons, it asks their properties, never compares words.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NewType


class Reason(StrEnum):
    """Why something is as it is. A status holds only the words, because another version may know other reasons."""

    # The release
    PENDING = "Pending"
    SUSPENDED = "Suspended"
    SWITCHED_OFF = "SwitchedOff"
    DELETING = "Deleting"
    NOT_REACHED = "NotReached"
    PROGRESS_DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"
    ROLLBACK_TO = "RollbackTo"
    REVISION_NOT_FOUND = "RevisionNotFound"
    REVISION_UNREADABLE = "RevisionUnreadable"
    ROLLBACK_BLOCKED = "RollbackBlocked"
    ROLLBACK_REFUSED_BY_ENVOY = "RollbackRefusedByEnvoy"
    ROLLBACK_FAILED = "RollbackFailed"
    HELD = "Held"
    INVALID_DURATION = "InvalidDuration"
    RELEASE_UNREADABLE = "ReleaseUnreadable"
    TOO_MANY_PODS = "TooManyPods"
    INTERNAL_ERROR = "InternalError"

    # ArtifactReady: the image
    ARTIFACT_READY = "ArtifactReady"
    TAG_NOT_FOLLOWED = "TagNotFollowed"
    INVALID_REFERENCE = "InvalidReference"
    MISSING_TAG = "MissingTag"
    INVALID_SEMVER = "InvalidSemver"
    NO_MATCHING_TAG = "NoMatchingTag"
    TOO_MANY_TAGS = "TooManyTags"
    TAG_LIST_INCOMPLETE = "TagListIncomplete"
    MANIFEST_NOT_FOUND = "ManifestNotFound"
    MANIFEST_GONE = "ManifestGone"
    PULL_SECRET_NOT_FOUND = "PullSecretNotFound"
    INVALID_PULL_SECRET = "InvalidPullSecret"
    CA_SECRET_NOT_FOUND = "CASecretNotFound"
    INVALID_CA_SECRET = "InvalidCASecret"
    INVALID_REGISTRY_CA = "InvalidRegistryCA"
    REGISTRY_NOT_ALLOWED = "RegistryNotAllowed"
    AUTHENTICATION_REQUIRED = "AuthenticationRequired"
    AUTHENTICATION_FAILED = "AuthenticationFailed"
    REGISTRY_CHALLENGE_REFUSED = "RegistryChallengeRefused"
    REGISTRY_REDIRECT_REFUSED = "RegistryRedirectRefused"
    REGISTRY_TLS = "RegistryTLS"
    REGISTRY_UNAVAILABLE = "RegistryUnavailable"
    CACHE_UNAVAILABLE = "CacheUnavailable"
    REGISTRY_REFUSED = "RegistryRefused"
    DIGEST_MISMATCH = "DigestMismatch"
    ARTIFACT_TOO_LARGE = "ArtifactTooLarge"
    MALFORMED_MANIFEST = "MalformedManifest"
    NO_USABLE_PLATFORM = "NoUsablePlatform"
    UNREADABLE_LAYOUT = "UnreadableLayout"
    MALFORMED_LAYER = "MalformedLayer"
    NO_PLUGIN_WASM = "NoPluginWasm"
    NOT_WASM = "NotWasm"
    COMPONENT_NOT_MODULE = "ComponentNotModule"
    TRUNCATED_MODULE = "TruncatedModule"
    MALFORMED_MODULE = "MalformedModule"
    BEYOND_V8_LIMITS = "BeyondV8Limits"
    MODULE_NOT_READ = "ModuleNotRead"
    WASM_MISMATCH = "WasmMismatch"

    # Verified: the signature
    VERIFIED = "Verified"
    NOT_SIGNED = "NotSigned"
    UNTRUSTED_SIGNER = "UntrustedSigner"
    SIGNATURE_INVALID = "SignatureInvalid"
    VERIFICATION_SECRET_NOT_FOUND = "VerificationSecretNotFound"
    INVALID_VERIFICATION_KEY = "InvalidVerificationKey"
    TRUSTED_ROOT_MISSING = "TrustedRootMissing"
    INVALID_TRUSTED_ROOT = "InvalidTrustedRoot"
    INVALID_IDENTITY_PATTERN = "InvalidIdentityPattern"

    # Compatible: the module and the gateways' Envoy
    COMPATIBLE = "Compatible"
    GATEWAY_VERSION_UNKNOWN = "GatewayVersionUnknown"
    REGISTRY_NOT_ACCEPTED_BY_GATEWAY = "RegistryNotAcceptedByGateway"
    REGISTRY_TRUST_UNKNOWN = "RegistryTrustUnknown"
    UNKNOWN_ABI = "UnknownABI"
    GATEWAY_TOO_OLD = "GatewayTooOld"
    MISSING_HOST_FUNCTION = "MissingHostFunction"
    IMPORT_TYPE_MISMATCH = "ImportTypeMismatch"
    EXPORT_TYPE_MISMATCH = "ExportTypeMismatch"
    MISSING_ALLOCATOR = "MissingAllocator"
    NUMBER_NOT_EXACT = "NumberNotExact"
    START_CALLS_HOST = "StartCallsHost"
    START_TRAPS = "StartTraps"
    RESTRICTED_CALLBACK = "RestrictedCallback"
    UNSUPPORTED_BORDER_TYPE = "UnsupportedBorderType"
    NO_MEMORY = "NoMemory"
    SEVERAL_MEMORIES = "SeveralMemories"
    UNSUPPORTED_MEMORY = "UnsupportedMemory"
    UNSUPPORTED_TABLE = "UnsupportedTable"
    SEGMENT_OUT_OF_BOUNDS = "SegmentOutOfBounds"
    UNSUPPORTED_FEATURE = "UnsupportedFeature"
    NATIVE_CODE = "NativeCode"
    START_FUNCTION = "StartFunction"
    IGNORED_EXPORT = "IgnoredExport"
    HUGE_FUNCTION = "HugeFunction"
    LARGE_TABLE = "LargeTable"
    CODE_NOT_READ = "CodeNotRead"
    NOT_A_REACTOR = "NotAReactor"
    LISTENERS_NOT_MATCHED = "ListenersNotMatched"

    # Applied: the objects
    APPLIED = "Applied"
    NAMESPACE_NOT_FOUND = "NamespaceNotFound"
    NAMESPACE_NOT_ALLOWED = "NamespaceNotAllowed"
    ROOT_NAMESPACE_NOT_WATCHED = "RootNamespaceNotWatched"
    GATEWAY_NAMESPACE_NOT_WATCHED = "GatewayNamespaceNotWatched"
    SELECTOR_MISSING = "SelectorMissing"
    SELECTOR_IGNORED = "SelectorIgnored"
    PROXIES_DIFFER = "ProxiesDiffer"
    MATCH_NEVER_APPLIES = "MatchNeverApplies"
    PODS_OVERLAP = "PodsOverlap"
    FOREIGN_FIELDS = "ForeignFields"
    NOT_HIGRESS_NAMESPACE = "NotHigressNamespace"
    GATEWAY_LABEL_DIFFERS = "GatewayLabelDiffers"
    GATEWAYS_NOT_REACHED = "GatewaysNotReached"
    RULE_NEVER_MATCHES = "RuleNeverMatches"
    RESERVED_KEY = "ReservedKey"
    INVALID_PLACEHOLDER = "InvalidPlaceholder"
    PLACEHOLDER_SECRET_NOT_FOUND = "PlaceholderSecretNotFound"
    CONFIG_CHANGED = "ConfigChanged"
    CONFIG_SOURCE_NOT_FOUND = "ConfigSourceNotFound"
    CONFIG_KEY_NOT_FOUND = "ConfigKeyNotFound"
    INVALID_CONFIG_VALUE = "InvalidConfigValue"
    CONFIG_PATH_CONFLICT = "ConfigPathConflict"
    CONFIG_TOO_LARGE = "ConfigTooLarge"
    CONFIG_NOT_KEPT = "ConfigNotKept"
    OBJECT_NOT_OURS = "ObjectNotOurs"
    ROLLED_BACK = "RolledBack"
    ADOPTED_PUT_BACK = "AdoptedPutBack"
    TAKEN_BACK = "TakenBack"
    REMOVED = "Removed"
    REMOVING = "Removing"
    DRIFT_CORRECTED = "DriftCorrected"
    DUPLICATE_PLUGIN = "DuplicatePlugin"
    KIND_NOT_INSTALLED = "KindNotInstalled"
    APPLY_REFUSED = "ApplyRefused"
    ADMISSION_DENIED = "AdmissionDenied"
    OBJECT_TOO_LARGE = "ObjectTooLarge"
    UNKNOWN_FIELD = "UnknownField"

    # The API server
    REQUEST_NOT_SUPPORTED = "RequestNotSupported"
    REQUEST_REFUSED = "RequestRefused"
    UNAUTHORIZED = "Unauthorized"
    FORBIDDEN = "Forbidden"
    QUOTA_EXCEEDED = "QuotaExceeded"
    NAMESPACE_TERMINATING = "NamespaceTerminating"
    WEBHOOK_UNAVAILABLE = "WebhookUnavailable"
    CONFLICT = "Conflict"
    FIELD_CONFLICT = "FieldConflict"
    TOO_MANY_REQUESTS = "TooManyRequests"
    LEASE_NOT_HELD = "LeaseNotHeld"
    LIST_EXPIRED = "ListExpired"
    API_SERVER_UNAVAILABLE = "APIServerUnavailable"
    NOT_THE_API_SERVER = "NotTheAPIServer"
    ANSWER_UNREADABLE = "AnswerUnreadable"
    ANSWER_TOO_LARGE = "AnswerTooLarge"

    # Loaded: the gateways
    LOADED = "Loaded"
    RUNNING_NOT_PROVEN = "RunningNotProven"
    NO_GATEWAY_PODS = "NoGatewayPods"
    POD_NOT_READY = "PodNotReady"
    POD_UNREACHABLE = "PodUnreachable"
    NOT_LOOKED_AT = "NotLookedAt"
    AWAITING_CONFIG = "AwaitingConfig"
    AWAITING_LISTENER = "AwaitingListener"
    AWAITING_POSITIVE_SIGN = "AwaitingPositiveSign"
    CONFIG_NOT_DELIVERED = "ConfigNotDelivered"
    CONFIG_MISMATCH = "ConfigMismatch"
    CONTROL_PLANE_STUCK = "ControlPlaneStuck"
    PLACEHOLDER_NOT_REPLACED = "PlaceholderNotReplaced"
    FETCH_FAILED = "FetchFailed"
    RUNNING_UNPROTECTED = "RunningUnprotected"
    PLUGIN_REJECTED = "PluginRejected"
    PLUGIN_REFUSED_BY_WORKERS = "PluginRefusedByWorkers"
    GATEWAY_CRASHED = "GatewayCrashed"
    GATEWAY_UNRESPONSIVE = "GatewayUnresponsive"
    PLUGIN_CRASHED = "PluginCrashed"
    VM_CRASHED = "VMCrashed"
    LISTENER_REJECTED = "ListenerRejected"
    LISTENER_STUCK = "ListenerStuck"
    NOT_REFERENCED = "NotReferenced"
    NO_HTTP_LISTENER = "NoHttpListener"
    NO_POSITIVE_SIGN = "NoPositiveSign"
    LOG_INCOMPLETE = "LogIncomplete"
    UNKNOWN_SHAPE = "UnknownShape"
    LOG_NOT_FOUND = "LogNotFound"
    LOGGER_NOT_SET = "LoggerNotSet"
    LOGGER_NOT_RESTORED = "LoggerNotRestored"
    GATEWAY_NOT_RESTARTED = "GatewayNotRestarted"
    SECRET_NOT_DELETED = "SecretNotDeleted"
    LEFT_BEHIND = "LeftBehind"

    # Probed: the answers
    PROBED = "Probed"
    AWAITING_PROBES = "AwaitingProbes"
    PROBE_FAILED = "ProbeFailed"
    PROBE_UNANSWERED = "ProbeUnanswered"
    PROBE_PORT_REFUSED = "ProbePortRefused"
    PROBE_PORT_UNKNOWN = "ProbePortUnknown"
    PROBE_PORT_AMBIGUOUS = "ProbePortAmbiguous"

    # The trial
    TRIAL_PASSED = "TrialPassed"
    TRIAL_CRASHED = "TrialCrashed"
    TRIAL_HUNG = "TrialHung"
    TRIAL_REFUSED = "TrialRefused"
    TRIAL_INCONCLUSIVE = "TrialInconclusive"
    TRIAL_UNAVAILABLE = "TrialUnavailable"

    # The command line
    SIGNATURE_NOT_CHECKED = "SignatureNotChecked"
    CREDENTIAL_HELPER_MISSING = "CredentialHelperMissing"
    CREDENTIAL_HELPER_FAILED = "CredentialHelperFailed"
    INVALID_DOCKER_CONFIG = "InvalidDockerConfig"
    SOURCE_MISSING = "SourceMissing"
    NO_GO_MODULE = "NoGoModule"
    NOT_MAIN_PACKAGE = "NotMainPackage"
    SET_UP_IN_MAIN = "SetUpInMain"
    COMPILE_FAILED = "CompileFailed"
    BUILD_TIMEOUT = "BuildTimeout"
    MODULE_TOO_LARGE = "ModuleTooLarge"
    NOT_A_PLUGIN = "NotAPlugin"
    GO_MISSING = "GoMissing"
    ENVOY_MISSING = "EnvoyMissing"
    BUILD_FAILED = "BuildFailed"
    UNKNOWN_PROGRAM = "UnknownProgram"
    UNKNOWN_TOOL = "UnknownTool"
    RELEASE_NOT_FOUND = "ReleaseNotFound"
    GATEWAY_NOT_FOUND = "GatewayNotFound"
    KUBECONFIG_UNUSABLE = "KubeconfigUnusable"
    NOT_IN_TIME = "NotInTime"
    INVALID_MANIFEST = "InvalidManifest"
    DIGEST_UNKNOWN = "DigestUnknown"
    ALREADY_PUT_BACK = "AlreadyPutBack"
    NOTHING_TO_ADAPT = "NothingToAdapt"
    TARGET_NOT_WRITABLE = "TargetNotWritable"
    TARGET_NOT_FOUND = "TargetNotFound"
    INVALID_GATEWAY = "InvalidGateway"
    INVALID_LAYOUT = "InvalidLayout"
    MANIFEST_NOT_IN_LAYOUT = "ManifestNotInLayout"
    NO_MODULE = "NoModule"
    SEVERAL_MODULES = "SeveralModules"
    CEL_MISSING = "CelMissing"
    AMBIGUOUS_YAML = "AmbiguousYaml"
    INVALID_REQUEST = "InvalidRequest"
    INVALID_DUMP = "InvalidDump"

    @classmethod
    def read(cls, word: str) -> Reason | None:
        """Return the reason for a word of a status; None if another version wrote it."""
        try:
            return cls(word)
        except ValueError:
            return None

    @property
    def is_permanent(self) -> bool:
        """Return whether the same bytes are always refused: no registry, Secret or setting could change that."""
        return self.is_of_the_bytes and self is not Reason.DIGEST_MISMATCH

    @property
    def is_of_the_bytes(self) -> bool:
        """Return whether the bytes from the registry are wrong. With all other errors they could not be checked."""
        return self in (
            Reason.ARTIFACT_TOO_LARGE,
            Reason.BEYOND_V8_LIMITS,
            Reason.COMPONENT_NOT_MODULE,
            Reason.DIGEST_MISMATCH,
            Reason.MALFORMED_LAYER,
            Reason.MALFORMED_MANIFEST,
            Reason.MALFORMED_MODULE,
            Reason.NO_PLUGIN_WASM,
            Reason.NO_USABLE_PLATFORM,
            Reason.NOT_WASM,
            Reason.TRUNCATED_MODULE,
            Reason.UNREADABLE_LAYOUT,
        )

    @property
    def is_of_the_signature(self) -> bool:
        """Return whether the signatures were checked and none of them counts."""
        return self in (Reason.NOT_SIGNED, Reason.UNTRUSTED_SIGNER, Reason.SIGNATURE_INVALID)

    @property
    def means_registry_declines(self) -> bool:
        """Return whether the registry answers that it does not have, or does not allow, what was requested."""
        return self in (Reason.REGISTRY_REFUSED, Reason.MANIFEST_NOT_FOUND)

    @property
    def means_revision_gone(self) -> bool:
        """Return whether a revision can no longer be obtained."""
        return self in (
            Reason.CONFIG_NOT_KEPT,
            Reason.REVISION_NOT_FOUND,
            Reason.REVISION_UNREADABLE,
            Reason.MANIFEST_NOT_FOUND,
        )

    @property
    def means_gateway_down(self) -> bool:
        """Return whether the gateway serves no correct response, now or soon: then `onFailure` does not matter."""
        return self in (Reason.GATEWAY_CRASHED, Reason.GATEWAY_UNRESPONSIVE)

    @property
    def means_refused_by_envoy(self) -> bool:
        """Return whether Envoy refuses the plugin, its configuration, or the listeners that use it."""
        return self in (Reason.PLUGIN_REJECTED, Reason.LISTENER_REJECTED, Reason.PLUGIN_REFUSED_BY_WORKERS)

    @property
    def means_crash(self) -> bool:
        """Return whether a plugin trapped while it served: certainly or possibly this one."""
        return self in (Reason.PLUGIN_CRASHED, Reason.VM_CRASHED)

    @property
    def means_not_asked(self) -> bool:
        """Return whether the pod could not be asked: then earlier proof about it is kept."""
        return self in (Reason.POD_UNREACHABLE, Reason.POD_NOT_READY)

    @property
    def means_not_delivered(self) -> bool:
        """Return whether the gateway has not received the revision."""
        return self in (Reason.AWAITING_CONFIG, Reason.CONFIG_NOT_DELIVERED)

    @property
    def lacks_only_proof(self) -> bool:
        """Return whether no failure is known to be this plugin's, and nothing proves yet that it runs."""
        return self in (Reason.AWAITING_POSITIVE_SIGN, Reason.NO_POSITIVE_SIGN, Reason.VM_CRASHED)

    @property
    def is_healed_by_refetch(self) -> bool:
        """Return whether the gateway recovers if the control plane sends the plugin again.

        It does not recover from what Envoy refused: Envoy refuses it again.
        """
        return self in (
            Reason.FETCH_FAILED,
            Reason.RUNNING_UNPROTECTED,
            Reason.CONFIG_NOT_DELIVERED,
            Reason.LISTENER_REJECTED,
        )

    @property
    def may_be_left_behind(self) -> bool:
        """Return whether another push helps if the state lasts.

        Envoy may refuse a listener's update because of an older revision under the plugin's name, removed a moment ago.
        The plugin then loads, but no listener uses it until the next push. Higress reads the Secret of a placeholder
        only when it pushes, and a new Secret causes no push.
        """
        return self in (Reason.AWAITING_LISTENER, Reason.NOT_REFERENCED, Reason.PLACEHOLDER_NOT_REPLACED)

    @property
    def may_block_rollback(self) -> bool:
        """Return whether gateways may refuse, or not receive, the fallback after such a failure."""
        return self in (Reason.PLUGIN_REFUSED_BY_WORKERS, Reason.GATEWAY_UNRESPONSIVE)

    @property
    def is_warning(self) -> bool:
        """Return whether users should see it although the condition, or Ready, stays True; Ready shows it as well."""
        return self in (Reason.MANIFEST_GONE, Reason.FOREIGN_FIELDS, Reason.DUPLICATE_PLUGIN)

    @property
    def is_asked_for(self) -> bool:
        """Return whether a user asked for the state, so that it is no warning."""
        return self in (Reason.SUSPENDED, Reason.ROLLBACK_TO, Reason.SWITCHED_OFF)


# A word of a status that another version may have written: it is passed on, and decides nothing.
StoredReason = NewType("StoredReason", str)
AnyReason = Reason | StoredReason
