"""Reasons about the module and the gateways' Envoy."""

from __future__ import annotations

from pluginrelease.api.conditions import ConditionType
from pluginrelease.api.explanations.values import Explanation, Section, Then
from pluginrelease.api.reasons import Reason

_COMPATIBLE = {
    Reason.COMPATIBLE: Explanation(
        Then.GOES_ON,
        "The gateways have every function that the module imports, with the right types.",
        "Nothing.",
    ),
    Reason.GATEWAY_VERSION_UNKNOWN: Explanation(
        Then.GOES_ON,
        (
            "No pod reported its Envoy version, so the operator could not compare everything. It writes the plugin "
            "with this warning."
        ),
        "Check that a gateway pod runs and can be reached.",
    ),
    Reason.REGISTRY_NOT_ACCEPTED_BY_GATEWAY: Explanation(
        Then.STAYS,
        (
            "The operator can fetch the image, but a gateway cannot. The gateway's image and pod trust only the "
            "system's authorities, or the registry does not answer https clients in HTTP."
        ),
        (
            "Set what the message says on the pod that it names. `caSecretRef`, `insecure`, `--registry-ca-file` and "
            "`SSL_CERT_FILE` change only the operator's own pull."
        ),
    ),
    Reason.REGISTRY_TRUST_UNKNOWN: Explanation(
        Then.GOES_ON,
        (
            "The operator trusts additional authorities, or uses a proxy. The gateway pods do not show whether they "
            "trust and reach the registry. The message says why. The operator writes the plugin with this warning."
        ),
        (
            "Check that the gateways trust and reach the registry. A gateway that cannot fetch a plugin refuses "
            "requests, or lets them pass without it."
        ),
    ),
    Reason.UNKNOWN_ABI: Explanation(
        Then.STAYS,
        (
            "The module announces no Proxy-Wasm ABI that Envoy accepts (0.1.0, 0.2.0, 0.2.1; with Higress 2.1 and "
            "newer also 0.2.100)."
        ),
        "Build it with an SDK for one of these. Only Higress accepts 0.2.100.",
    ),
    Reason.GATEWAY_TOO_OLD: Explanation(
        Then.STAYS,
        (
            "The module was built with plain Go, and a Higress gateway is too old for it: before 2.1.4 (of MSE: "
            "2.0.11). Or a rule has `ingress` and `service`, and the gateway is older than 2.0.4."
        ),
        "Upgrade the gateway, or do what the message says.",
        where=(ConditionType.COMPATIBLE, ConditionType.APPLIED),
    ),
    Reason.MISSING_HOST_FUNCTION: Explanation(
        Then.STAYS,
        (
            "The module imports functions that these gateways do not have. The message names each function, and the "
            "Envoy release that has it."
        ),
        "Use a newer gateway, or another SDK or toolchain.",
    ),
    Reason.IMPORT_TYPE_MISMATCH: Explanation(
        Then.STAYS,
        "The type of an import differs from the type of Envoy's function of that name.",
        "Build it with an SDK for the ABI that it announces.",
    ),
    Reason.EXPORT_TYPE_MISMATCH: Explanation(
        Then.STAYS,
        "The type of a callback differs from the type that Envoy calls.",
        "Build it with an SDK for the ABI that it announces.",
    ),
    Reason.MISSING_ALLOCATOR: Explanation(
        Then.STAYS,
        "The module exports neither `malloc` nor `proxy_on_memory_allocate`.",
        "Build it with a Proxy-Wasm SDK.",
    ),
    Reason.NUMBER_NOT_EXACT: Explanation(
        Then.STAYS,
        (
            "`plugin.config`, or the `config` of a rule, has a whole number beyond 2^53 − 1. Istio and `kubectl "
            "apply` convert numbers to doubles, so the plugin would receive another number."
        ),
        "Write the number in quotes, and parse it in the plugin.",
    ),
    Reason.START_CALLS_HOST: Explanation(
        Then.STAYS,
        (
            "The module's start section calls a function of the gateway, or can reach such a call. It runs while "
            "Envoy creates the VM, before the plugin has a context. Envoy would crash (SIGSEGV) in every gateway pod. "
            "Only `emscripten_notify_memory_growth` and `pthread_equal` are harmless there."
        ),
        (
            'For AssemblyScript, set `"exportStart": "_start"` in asconfig.json. For other languages, export the '
            "start code as `_initialize`."
        ),
    ),
    Reason.START_TRAPS: Explanation(
        Then.STAYS,
        "The module's start section traps at its first instruction.",
        "Correct the code that the start section runs.",
    ),
    Reason.RESTRICTED_CALLBACK: Explanation(
        Then.STAYS,
        (
            "The module calls a function of the gateway in its `_initialize`, `main` or `_start`, where Envoy does "
            "not allow it."
        ),
        "Call it in `proxy_on_vm_start` or `proxy_on_configure`.",
    ),
    Reason.UNSUPPORTED_BORDER_TYPE: Explanation(
        Then.STAYS,
        (
            "An import or an export is an exception tag, or has a type that V8 does not accept there. Such types are "
            "v128, exnref, and references of garbage collection; inside the module they are allowed. V8 would stop "
            "the gateway's process (SIGTRAP)."
        ),
        "Do not import or export it. In C++, build without exceptions that leave the module.",
    ),
    Reason.NO_MEMORY: Explanation(
        Then.STAYS_OR_GOES_ON,
        (
            "The module exports no memory. If it calls any function of the gateway, Envoy crashes "
            "(SIGSEGV), at load or at a request. With Higress, Envoy crashes in any case. A module "
            "without such calls loads, with this warning."
        ),
        "Build it with a Proxy-Wasm SDK, or export its memory.",
    ),
    Reason.SEVERAL_MEMORIES: Explanation(
        Then.STAYS,
        "The module exports several memories, and Envoy reads only the last one.",
        "Export only the memory that the plugin uses.",
    ),
    Reason.UNSUPPORTED_MEMORY: Explanation(
        Then.STAYS,
        (
            "The initial size of a memory is more than 16,384 pages (1 GiB). Or an imported memory is shared, is "
            "64-bit, or is not the only memory."
        ),
        "Build the plugin with one memory of its own.",
    ),
    Reason.UNSUPPORTED_TABLE: Explanation(
        Then.STAYS,
        "The initial size of a table is more than 10,000,000 entries, or the module imports two tables.",
        "Build the plugin with smaller tables of its own.",
    ),
    Reason.SEGMENT_OUT_OF_BOUNDS: Explanation(
        Then.STAYS,
        "A data or element segment is outside the initial size of its memory or table.",
        "Make the initial size larger.",
    ),
    Reason.UNSUPPORTED_FEATURE: Explanation(
        Then.STAYS_OR_GOES_ON,
        (
            "The module needs a WebAssembly feature that the gateway's V8 lacks. With Envoy 1.32 to 1.35, and with "
            "Higress before 2.2, it depends on the patch release. There the release continues with this warning."
        ),
        "Build the plugin without the feature, or use a gateway with Envoy 1.36 or newer.",
    ),
    Reason.NATIVE_CODE: Explanation(
        Then.STAYS_OR_GOES_ON,
        (
            "The module has a custom section `wamr-aot…` with native code. Higress runs that code in the gateway's "
            "own process, without a sandbox. Istio ignores it, so there it is only a warning."
        ),
        (
            "Build the plugin without it. If you own the gateways, you can run the operator with "
            "`--allow-native-code` (chart: `operator.allowNativeCode`)."
        ),
    ),
    Reason.START_FUNCTION: Explanation(
        Then.GOES_ON,
        (
            "The module has a start section, which calls no function of the gateway. Only a gateway shows whether it "
            "traps or never ends."
        ),
        "Export it as `_initialize`, if the toolchain can.",
    ),
    Reason.IGNORED_EXPORT: Explanation(
        Then.GOES_ON,
        (
            "The export with the name of a callback, `_initialize` or `_start` is not a function, so Envoy never "
            "calls it."
        ),
        "Export the function under that name.",
    ),
    Reason.HUGE_FUNCTION: Explanation(
        Then.GOES_ON,
        (
            "One function has more than 500 kB of code. To compile it blocks the gateway's main thread for seconds "
            "and needs hundreds of MiB."
        ),
        "Make the function smaller, or give the gateways more memory.",
    ),
    Reason.LARGE_TABLE: Explanation(
        Then.GOES_ON,
        ("The module's tables have more than a million entries. The message has the memory that they need in each VM."),
        "Make the tables smaller, or give the gateways more memory.",
    ),
    Reason.CODE_NOT_READ: Explanation(
        Then.GOES_ON,
        (
            "The module has more code than the operator reads, or instructions that it does not know. So it does not "
            "know which WebAssembly features the module needs."
        ),
        "Try the module first on a gateway without traffic.",
    ),
    Reason.NOT_A_REACTOR: Explanation(
        Then.STAYS,
        "The Go module was built as a command: it would run `main` and exit.",
        "Build it with `-buildmode=c-shared`, and set the plugin up in `init()`.",
    ),
    Reason.LISTENERS_NOT_MATCHED: Explanation(
        Then.GOES_ON,
        "Some listeners of gateway pods match no item of `plugin.match`. Requests to them pass without the plugin.",
        "Nothing, if you want that. Otherwise add the ports of these listeners to `match`.",
    ),
}

COMPATIBLE = Section(
    "Compatible: the module and the gateways' Envoy",
    (ConditionType.COMPATIBLE,),
    _COMPATIBLE,
    intro=(
        "With *stays*, the operator wrote nothing: gateways keep what they run. With *continues*, it writes the "
        "plugin, and the reason is a warning."
    ),
)
