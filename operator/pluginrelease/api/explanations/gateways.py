"""Reasons about the gateways, and about their answers to probes."""

from __future__ import annotations

from pluginrelease.api.conditions import ConditionType
from pluginrelease.api.explanations.values import Elsewhere, Explanation, Section, Then
from pluginrelease.api.reasons import Reason

_GATEWAYS = {
    Reason.LOADED: Explanation(Then.GOES_ON, "Every selected gateway pod was seen running the revision.", "Nothing."),
    Reason.RUNNING_NOT_PROVEN: Explanation(
        Then.GOES_ON,
        (
            "A gateway has had these bytes with this configuration since before the write, as after an adoption. So "
            "Envoy loads nothing new, and only the number of its VMs shows that it runs them. Traffic does not "
            "change."
        ),
        "Nothing. The gateway's next start proves it.",
        where=(ConditionType.LOADED, ConditionType.READY),
    ),
    Reason.NO_GATEWAY_PODS: Explanation(
        Then.GOES_ON,
        ("The selector matches no gateway pod. The operator wrote the plugin, so that the first pod starts with it."),
        (
            "Start a gateway, or correct the selector. The message has the labels that the operator looked for. For "
            "Higress, the operator's flag `--higress-gateway-label` sets the label."
        ),
    ),
    Reason.POD_NOT_READY: Explanation(
        Then.GOES_ON,
        (
            "The pod is starting, or is not ready, so its Service sends it no traffic. After `checks.load.timeout` "
            "its state is Unknown: the operator cannot know whether it would run the plugin."
        ),
        ("If it remains, run `kubectl describe pod`. A pod that cannot fetch the plugin does not become ready."),
    ),
    Reason.POD_UNREACHABLE: Explanation(
        Then.GOES_ON,
        "The operator could not read the pod's admin port or log. The pod may serve requests as usual.",
        "Check that the operator may port-forward and read logs, and that the pod answers.",
    ),
    Reason.NOT_LOOKED_AT: Explanation(
        Then.GOES_ON,
        ("The operator could not check the entry's gateways in this pass, so the rollout waits for them."),
        "Read the entry's own reason in `status.gateways`.",
        where=(Elsewhere.NOWHERE,),
    ),
    Reason.AWAITING_CONFIG: Explanation(
        Then.GOES_ON, "The gateway has not received this revision yet. It runs what it ran before.", "Wait."
    ),
    Reason.AWAITING_LISTENER: Explanation(
        Then.GOES_ON,
        "The gateway has received the plugin, and the listener that uses it is not active yet.",
        "Wait.",
    ),
    Reason.AWAITING_POSITIVE_SIGN: Explanation(
        Then.GOES_ON,
        ("The gateway has received the plugin and reports no error, but has not yet shown that it runs the plugin."),
        "Wait.",
    ),
    Reason.CONFIG_NOT_DELIVERED: Explanation(
        Then.STAYS,
        ("`checks.load.timeout` is over, and the gateway has not received the revision. It runs what it ran before."),
        (
            "Check that istiod runs, and that the entry's `selector` or `targetRefs` reach this pod. Name a Gateway "
            "of the Gateway API in `targetRefs`."
        ),
    ),
    Reason.CONFIG_MISMATCH: Explanation(
        Then.STAYS,
        "The gateway runs the revision's code with another configuration.",
        "Find out which other client writes this WasmPlugin.",
    ),
    Reason.CONTROL_PLANE_STUCK: Explanation(
        Then.WAITS,
        (
            "No gateway receives anything: an object prevents Higress's controller from reading any WasmPlugin. A "
            "priority in it is beyond 32 bits; it may be in any namespace. Gateways run what they ran before. The "
            "operator restores nothing, because a rollback would not reach them either."
        ),
        (
            "Correct or delete the object that the message names. [A "
            "policy](../examples/higress-priority-policy.yaml) refuses such objects."
        ),
    ),
    Reason.PLACEHOLDER_NOT_REPLACED: Explanation(
        Then.STAYS,
        (
            "The gateway received `${secret.…}` as text, and the plugin reads it so. Higress's controller did not "
            "find the Secret or its key."
        ),
        "Create the Secret or the key. Then the operator makes Higress read it again.",
    ),
    Reason.FETCH_FAILED: Explanation(
        Then.STAYS,
        (
            "The gateway could not fetch the module. A running gateway may keep what it ran before; a new one answers "
            "403 to every request."
        ),
        (
            "Read the gateway's error in the message. Usually the gateway cannot reach the registry, or the pull "
            "secret is wrong."
        ),
    ),
    Reason.RUNNING_UNPROTECTED: Explanation(
        Then.STAYS,
        (
            "The gateway could not fetch the module, or the plugin crashed. Because of `FAIL_OPEN`, requests pass "
            "without the plugin."
        ),
        ("Read in the message which of the two it is. Then do what `FetchFailed` or `PluginCrashed` says, soon."),
    ),
    Reason.PLUGIN_REJECTED: Explanation(
        Then.STAYS,
        (
            "Envoy rejected the module or its configuration. A running gateway keeps what it ran before; a new one "
            "answers 500 to every request."
        ),
        "Read the gateway's error in the message, and correct the plugin or `plugin.config`.",
    ),
    Reason.PLUGIN_REFUSED_BY_WORKERS: Explanation(
        Then.STAYS,
        (
            "Envoy accepted a new configuration of the code that runs, but its workers refused it. Every request "
            "passes without the plugin, whatever `failStrategy` says."
        ),
        "Correct the plugin, which cannot be configured twice in one VM. Or release it with other bytes.",
    ),
    Reason.GATEWAY_CRASHED: Explanation(
        Then.STAYS,
        (
            "The container that runs Envoy ended after the write: by a fault, out of memory, twice, or in two pods. "
            "The pod serves nothing until it starts again. The operator rolls back or removes the revision, also with "
            "`onFailure: Hold`. If another release wrote to the gateway later, the state is Unknown, and the operator "
            "restores nothing."
        ),
        (
            "Read the gateway's last log lines in the message. Correct the plugin, or give the gateway more memory. "
            "Then run `kubectl pluginrelease retry`."
        ),
    ),
    Reason.GATEWAY_UNRESPONSIVE: Explanation(
        Then.STAYS,
        (
            "Envoy's main thread hangs: its admin port answered before the write, and not since, for "
            "`checks.load.timeout`. Or one of its workers hangs. The operator rolls back or removes the revision, "
            "also with `onFailure: Hold`. But a gateway that hangs receives no change until it starts again."
        ),
        "Delete the pods that the message names, one after another.",
    ),
    Reason.PLUGIN_CRASHED: Explanation(
        Then.STAYS,
        (
            "The plugin trapped while it served requests. With `FAIL_CLOSE`, each worker in which it trapped answers "
            "503 from then on. With `FAIL_RELOAD`, the gateway starts it again, and this reason ends 60 s after the "
            "last crash."
        ),
        (
            "Correct the plugin; the message has its last log line. A new pod starts the plugin again, until it "
            "crashes again."
        ),
    ),
    Reason.VM_CRASHED: Explanation(
        Then.GOES_ON,
        (
            "A plugin of this gateway trapped. Several plugins run there, and Envoy does not report which one it was. "
            "Some requests may fail."
        ),
        "Find out which plugin's requests fail, or add a probe. Then replace the pod.",
    ),
    Reason.LISTENER_REJECTED: Explanation(
        Then.STAYS,
        (
            "Envoy refuses updates of its listeners because of this plugin. It serves the listeners that it had; new "
            "hosts and certificates do not arrive."
        ),
        "Correct what Envoy's error in the message names.",
    ),
    Reason.LISTENER_STUCK: Explanation(
        Then.STAYS,
        (
            "A listener is still warming after `checks.load.timeout`. Envoy serves requests by the listener that it "
            "had before, if there was one."
        ),
        "Read `/init_dump` of the gateway's admin port: it lists what the listener waits for.",
    ),
    Reason.NOT_REFERENCED: Explanation(
        Then.STAYS,
        "The gateway has received the plugin, but none of its listeners uses it. Requests pass without it.",
        "Check `plugin.match`, that an HTTP listener exists, and that Envoy refuses no listener update.",
    ),
    Reason.NO_HTTP_LISTENER: Explanation(
        Then.GOES_ON,
        "The gateway has no HTTP listener, so no listener uses the plugin.",
        "Create a Gateway with an HTTP server for these pods.",
    ),
    Reason.NO_POSITIVE_SIGN: Explanation(
        Then.GOES_ON,
        (
            "`checks.load.timeout` is over. The gateway reports no error, but nothing shows that it runs the plugin, "
            "so the release is not Ready."
        ),
        "Restart the pod, or publish its statistics; the message says how.",
    ),
    Reason.LOG_INCOMPLETE: Explanation(
        Then.GOES_ON,
        (
            "The log since the write was rotated, or is too long to be read completely. The API server returns only a "
            "log's current file, so the operator may have missed an error."
        ),
        "Restart the pod, or publish its statistics; the message says how.",
    ),
    Reason.UNKNOWN_SHAPE: Explanation(
        Then.GOES_ON,
        "The gateway answered in a way that this version of the operator does not understand.",
        "Use an operator that knows this version of Envoy, and please report it.",
    ),
    Reason.LOG_NOT_FOUND: Explanation(
        Then.GOES_ON,
        ("The API server has no log of a gateway's container: the pod is deleted, or its node has removed the log."),
        "Wait.",
        where=(Elsewhere.LOG,),
    ),
    Reason.LOGGER_NOT_SET: Explanation(
        Then.GOES_ON,
        ("The operator could not read or set the log level of a gateway. The release continues with fewer signs."),
        "Check that the pod's admin port answers.",
        where=(Elsewhere.LOG,),
    ),
    Reason.LOGGER_NOT_RESTORED: Explanation(
        Then.GOES_ON,
        (
            "The release was deleted, and the gateways in the message did not answer. Their filter logger stays at "
            "debug."
        ),
        "Restart these pods, which resets the log level.",
        where=(Elsewhere.EVENT,),
    ),
    Reason.GATEWAY_NOT_RESTARTED: Explanation(
        Then.GOES_ON,
        (
            "The operator could not ask a gateway's agent to restart Envoy. Or gateways hang, and "
            "`--leave-hung-gateways` (chart: `operator.restartHungGateways: false`) forbids the operator to restart "
            "them. They keep what they have."
        ),
        (
            "Check that the operator may port-forward to the pod. Or delete the pods that the message names, one "
            "after another."
        ),
        where=(Elsewhere.LOG, Elsewhere.EVENT),
    ),
    Reason.SECRET_NOT_DELETED: Explanation(
        Then.GOES_ON,
        "The release was deleted, but the operator could not delete the copy of its pull secret in time.",
        "Delete the Secret that the event names.",
        where=(Elsewhere.EVENT,),
    ),
    Reason.LEFT_BEHIND: Explanation(
        Then.GOES_ON,
        (
            "The release was deleted with `deletionPolicy: Orphan`, and the operator cannot write some of its "
            "objects. They remain on the gateways, as Orphan asks, with the label `pluginrelease.io/uid`."
        ),
        "Nothing, if the objects should remain. Otherwise delete them.",
        where=(Elsewhere.EVENT,),
    ),
}

GATEWAYS = Section(
    "Loaded: the gateways",
    (ConditionType.LOADED,),
    _GATEWAYS,
    intro=(
        "These are also in the rows of `status.pods` and `status.gateways`. [signs.md](signs.md) lists the signs for "
        "each. During a rollout, a reason with *stays* fails the revision: the operator rolls back, unless "
        "`rollout.onFailure` is Hold."
    ),
)

_PROBES = {
    Reason.PROBED: Explanation(
        Then.GOES_ON,
        "Every connection to every gateway pod answered as `checks.probes` expects.",
        "Nothing.",
    ),
    Reason.AWAITING_PROBES: Explanation(
        Then.WAITS,
        "A probe has failed for less than 10 s. The operator repeats it before the failure counts.",
        "Wait.",
    ),
    Reason.PROBE_FAILED: Explanation(
        Then.STAYS,
        (
            "The answer of a gateway pod differs from what a probe expects. The message names the pod, the probe, the "
            "difference, and the number of connections."
        ),
        "Send the same request to the gateway. If the answer is right, correct the probe's `expect`.",
    ),
    Reason.PROBE_UNANSWERED: Explanation(
        Then.STAYS,
        (
            "A gateway pod gave no complete answer: the connection was refused or broke, TLS failed, or the time was "
            "over."
        ),
        "Check that the pod's port answers, and that the operator may port-forward.",
    ),
    Reason.PROBE_PORT_REFUSED: Explanation(
        Then.STAYS,
        "The probe names one of Istio's own ports, 15000 to 15099. The operator sends no probe to them.",
        "Name the port of a listener, or remove `port`.",
    ),
    Reason.PROBE_PORT_UNKNOWN: Explanation(
        Then.STAYS,
        ("The gateway has no listener on the probe's port. Or no listener of the probe's scheme has the plugin."),
        "Name a port of the pod that a Gateway opens. A Service's port can be another one.",
    ),
    Reason.PROBE_PORT_AMBIGUOUS: Explanation(
        Then.STAYS,
        "The probe names no port, and several listeners of its scheme have the plugin.",
        "Set the probe's `port` to one of the ports in the message.",
    ),
}

PROBES = Section(
    "Probed: the answers",
    (ConditionType.PROBED,),
    _PROBES,
    intro="What is asked, how often and on which ports is in [probes.md](probes.md).",
)
