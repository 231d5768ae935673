"""What is said of the module and the gateways' Envoy."""

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
        "No pod has shown its Envoy version, so not everything could be compared. The plugin is written with "
        "this warning.",
        "See that a gateway pod runs and can be reached.",
    ),
    Reason.REGISTRY_NOT_ACCEPTED_BY_GATEWAY: Explanation(
        Then.STAYS,
        "The operator could fetch the image and a gateway could not. Its image and its pod have no authority "
        "but the usual ones. Or the registry does not tell clients of https that it speaks HTTP.",
        "Set what the message says on the pod that it names. `caSecretRef`, `insecure`, `--registry-ca-file` "
        "and `SSL_CERT_FILE` change only the operator's own pull.",
    ),
    Reason.REGISTRY_TRUST_UNKNOWN: Explanation(
        Then.GOES_ON,
        "The operator trusts more authorities than the usual ones, or goes by a proxy. Whether the gateways "
        "trust the registry and reach it cannot be seen from their pods; the message says why.",
        "See that they do, before it is needed. A gateway that cannot fetch a plugin refuses requests, or lets "
        "them through without it.",
    ),
    Reason.UNKNOWN_ABI: Explanation(
        Then.STAYS,
        "The module announces no Proxy-Wasm ABI that Envoy accepts (0.1.0, 0.2.0, 0.2.1; with Higress 2.1 and "
        "newer also 0.2.100).",
        "Build it with an SDK for one of them. 0.2.100 is Higress's own.",
    ),
    Reason.GATEWAY_TOO_OLD: Explanation(
        Then.STAYS,
        "Plain Go built the module, and some Higress gateway is too old for it: before 2.1.4 (of MSE: 2.0.11). "
        "Or a rule has `ingress` and `service`, and the gateway is older than 2.0.4.",
        "Upgrade the gateway, or do as the message says.",
        where=(ConditionType.COMPATIBLE, ConditionType.APPLIED),
    ),
    Reason.MISSING_HOST_FUNCTION: Explanation(
        Then.STAYS,
        "The module imports what these gateways do not have. The message names each, and the Envoy release that "
        "has it.",
        "Use a newer gateway, or another SDK or toolchain.",
    ),
    Reason.IMPORT_TYPE_MISMATCH: Explanation(
        Then.STAYS,
        "An import has another type than Envoy's function of that name.",
        "Build it with an SDK for the ABI that it announces.",
    ),
    Reason.EXPORT_TYPE_MISMATCH: Explanation(
        Then.STAYS,
        "A callback has another type than Envoy calls it with.",
        "Build it with an SDK for the ABI that it announces.",
    ),
    Reason.MISSING_ALLOCATOR: Explanation(
        Then.STAYS,
        "The module exports neither `malloc` nor `proxy_on_memory_allocate`.",
        "Build it with a Proxy-Wasm SDK.",
    ),
    Reason.NUMBER_NOT_EXACT: Explanation(
        Then.STAYS,
        "`plugin.config`, or the `config` of a rule, has a whole number beyond 2^53 − 1. Istio and `kubectl "
        "apply` carry numbers as doubles: the plugin would be given another one.",
        "Write it as a text, in quotes, and read it as one in the plugin.",
    ),
    Reason.START_CALLS_HOST: Explanation(
        Then.STAYS,
        "The module's start section calls a function of the gateway, or some way through its code leads to one. "
        "It runs while Envoy makes the VM, before the plugin has a context. Envoy dies of it (SIGSEGV), in "
        "every gateway pod. Two functions are harmless there: `emscripten_notify_memory_growth` and "
        "`pthread_equal`.",
        'Set `"exportStart": "_start"` in asconfig.json for AssemblyScript. Else export what it runs as `_initialize`.',
    ),
    Reason.START_TRAPS: Explanation(
        Then.STAYS,
        "The first thing that the module's start section does is to trap.",
        "Correct what it runs.",
    ),
    Reason.RESTRICTED_CALLBACK: Explanation(
        Then.STAYS,
        "The module calls a function of the gateway in its `_initialize`, `main` or `_start` that Envoy does "
        "not allow there.",
        "Call it in `proxy_on_vm_start` or `proxy_on_configure`.",
    ),
    Reason.UNSUPPORTED_BORDER_TYPE: Explanation(
        Then.STAYS,
        "An import or an export is an exception tag, or of a type that V8 does not take there. Such types are "
        "v128, exnref, or a reference of garbage collection; within the module they are fine. V8 ends the "
        "gateway's process (SIGTRAP).",
        "Do not export it; for C++ build without exceptions that cross the border.",
    ),
    Reason.NO_MEMORY: Explanation(
        Then.STAYS_OR_GOES_ON,
        "The module exports no memory. If it calls any function of the gateway, Envoy dies of it (SIGSEGV), at "
        "load or at a request. With Higress it dies in any case. A module that calls none goes on with this "
        "warning.",
        "Build it with a Proxy-Wasm SDK, or export its memory.",
    ),
    Reason.SEVERAL_MEMORIES: Explanation(
        Then.STAYS,
        "The module exports several memories, and Envoy reads the last one.",
        "Export the one that the plugin works with.",
    ),
    Reason.UNSUPPORTED_MEMORY: Explanation(
        Then.STAYS,
        "A memory begins with more than 16,384 pages (1 GiB). Or an imported one is shared, 64-bit or not the "
        "only one.",
        "Build the plugin with one memory of its own.",
    ),
    Reason.UNSUPPORTED_TABLE: Explanation(
        Then.STAYS,
        "A table begins with more than 10,000,000 entries, or two tables are imported.",
        "Build the plugin with smaller tables of its own.",
    ),
    Reason.SEGMENT_OUT_OF_BOUNDS: Explanation(
        Then.STAYS,
        "A data or element segment is put where the memory or the table has no room for it.",
        "Give it more room to begin with.",
    ),
    Reason.UNSUPPORTED_FEATURE: Explanation(
        Then.STAYS_OR_GOES_ON,
        "The module needs a part of the WebAssembly language that the gateway's V8 does not have. From Envoy "
        "1.32 to 1.35, and with Higress before 2.2, the patch release decides. There the release goes on with "
        "this warning.",
        "Build the plugin without it, or use a gateway with Envoy 1.36 or newer.",
    ),
    Reason.NATIVE_CODE: Explanation(
        Then.STAYS_OR_GOES_ON,
        "The module has a custom section `wamr-aot…`. Higress runs the native code in it in the gateway's own "
        "process and in no sandbox. Istio ignores it, so there it is a warning.",
        "Build the plugin without it. Or run the operator with `--allow-native-code` (chart: "
        "`operator.allowNativeCode`), if you own the gateways.",
    ),
    Reason.START_FUNCTION: Explanation(
        Then.GOES_ON,
        "The module has a start section, which calls nothing of the gateway. Whether it traps or ends only a "
        "gateway shows.",
        "Export it as `_initialize`, if the toolchain can.",
    ),
    Reason.IGNORED_EXPORT: Explanation(
        Then.GOES_ON,
        "A callback, `_initialize` or `_start` is exported and is no function, so Envoy never calls it.",
        "Export the function.",
    ),
    Reason.HUGE_FUNCTION: Explanation(
        Then.GOES_ON,
        "One function has more than 500 kB of code. Compiling it holds up the gateway's main thread for seconds "
        "and takes hundreds of MiB.",
        "Make it smaller, or give the gateways the memory.",
    ),
    Reason.LARGE_TABLE: Explanation(
        Then.GOES_ON,
        "The module's tables have more than a million entries; the message has what they cost in each VM.",
        "Make them smaller, or give the gateways the memory.",
    ),
    Reason.CODE_NOT_READ: Explanation(
        Then.GOES_ON,
        "The module has more code than is read, or unknown instructions: which parts of the language it needs "
        "is not known.",
        "Try it on a gateway of its own before.",
    ),
    Reason.NOT_A_REACTOR: Explanation(
        Then.STAYS,
        "A Go module was built as a command: it would run `main` and exit.",
        "Build with `-buildmode=c-shared`, and set up in `init()`.",
    ),
}

COMPATIBLE = Section(
    "Compatible: the module and the gateways' Envoy",
    (ConditionType.COMPATIBLE,),
    _COMPATIBLE,
)
