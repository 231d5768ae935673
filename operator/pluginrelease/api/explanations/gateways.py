"""What is said of the gateways, and of their answers to probes."""

from __future__ import annotations

from pluginrelease.api.conditions import ConditionType
from pluginrelease.api.explanations.values import Elsewhere, Explanation, Section, Then
from pluginrelease.api.reasons import Reason

_GATEWAYS = {
    Reason.LOADED: Explanation(Then.GOES_ON, "Every selected gateway pod was seen running the revision.", "Nothing."),
    Reason.NO_GATEWAY_PODS: Explanation(
        Then.GOES_ON,
        "The selector matches no gateway pod. The plugin is written, so that the first pod starts with it.",
        "Start one, or correct the selector. The message says what was looked for. For Higress the label is the "
        "operator's flag `--higress-gateway-label`.",
    ),
    Reason.POD_NOT_READY: Explanation(
        Then.GOES_ON,
        "The pod is starting, or not ready. After the time that it has to load, whether it would run the plugin "
        "is Unknown.",
        "Run `kubectl describe pod` if it stays. A plugin that cannot be fetched keeps a new pod from being ready.",
    ),
    Reason.POD_UNREACHABLE: Explanation(
        Then.GOES_ON,
        "The pod's admin port could not be asked.",
        "See that the operator may port-forward, and that the pod answers.",
    ),
    Reason.NOT_LOOKED_AT: Explanation(
        Then.GOES_ON,
        "The entry's gateways could not be looked at in this pass, so the rollout awaits them.",
        "Look at the entry's own reason in `status.gateways`.",
        where=(Elsewhere.NOWHERE,),
    ),
    Reason.AWAITING_CONFIG: Explanation(Then.GOES_ON, "The gateway has not received this revision yet.", "Wait."),
    Reason.AWAITING_LISTENER: Explanation(
        Then.GOES_ON,
        "The gateway has the plugin, and the listener that uses it is not there yet.",
        "Wait.",
    ),
    Reason.AWAITING_POSITIVE_SIGN: Explanation(
        Then.GOES_ON,
        "The gateway has the plugin, refuses nothing, and has not yet shown that it runs it.",
        "Wait.",
    ),
    Reason.CONFIG_NOT_DELIVERED: Explanation(
        Then.STAYS,
        "The time is over, and the gateway never received the revision.",
        "See that istiod runs, and that the plugin's selector and phase reach this pod.",
    ),
    Reason.CONFIG_MISMATCH: Explanation(
        Then.STAYS,
        "The gateway has the wanted code with another configuration.",
        "Find out what else writes this WasmPlugin.",
    ),
    Reason.CONTROL_PLANE_STUCK: Explanation(
        Then.WAITS,
        "Nothing arrives at any gateway, and an object keeps Higress's controller from reading any WasmPlugin. "
        "Its priority is beyond 32 bits, in whatever namespace. Nothing is put back, as that would not arrive "
        "either.",
        "Correct or delete the object that the message names. Keep such objects out with [a "
        "policy](../examples/higress-priority-policy.yaml).",
    ),
    Reason.PLACEHOLDER_NOT_REPLACED: Explanation(
        Then.STAYS,
        "The gateway was given `${secret.…}` as text. Higress's controller found no such Secret or key when it "
        "pushed last.",
        "Put it there. The operator makes Higress look again.",
    ),
    Reason.FETCH_FAILED: Explanation(
        Then.STAYS,
        "The gateway could not fetch the module. A running one may keep what it had; a new one answers 403 to "
        "every request.",
        "Read the gateway's words in the message. Most often it is its way to the registry, or the secret.",
    ),
    Reason.RUNNING_UNPROTECTED: Explanation(
        Then.STAYS,
        "The gateway could not fetch the module, or the plugin crashed, and `FAIL_OPEN` lets requests pass without it.",
        "Read which of the two it is. Do soon what `FetchFailed` or `PluginCrashed` say.",
    ),
    Reason.PLUGIN_REJECTED: Explanation(
        Then.STAYS,
        "Envoy refused the module or its configuration. A running gateway goes on with what ran before; a new "
        "one answers 500.",
        "Correct the plugin or `plugin.config`, as the gateway's words say.",
    ),
    Reason.PLUGIN_REFUSED_BY_WORKERS: Explanation(
        Then.STAYS,
        "Envoy accepted a new configuration of the code that runs, and the workers refused it. The plugin runs "
        "on no worker, and requests pass without it, whatever `failStrategy` says.",
        "Correct the plugin, which cannot be configured twice in one VM, or release it with other bytes.",
    ),
    Reason.GATEWAY_CRASHED: Explanation(
        Then.STAYS,
        "The container that runs Envoy ended after the write: by a fault, for want of memory, twice, or in two "
        "pods. What was written is put back or taken off, also with `onFailure: Hold`. It is Unknown, and not "
        "put back, where another release wrote to the gateway later.",
        "Read the gateway's last words in the message. Correct the plugin, or give the gateway more memory. "
        "Then ask for `kubectl pluginrelease retry`.",
    ),
    Reason.GATEWAY_UNRESPONSIVE: Explanation(
        Then.STAYS,
        "Envoy's admin port answered before the write and has not for `checks.load.timeout`: its main thread "
        "hangs. What was written is put back or taken off, also with `onFailure: Hold`.",
        "Delete the pods that the message names, one after the other. A gateway that hangs takes nothing until "
        "it is started again.",
    ),
    Reason.PLUGIN_CRASHED: Explanation(
        Then.STAYS,
        "The plugin trapped while it served. With `FAIL_CLOSE` each worker in which it did answers 503 from "
        "then on. With `FAIL_RELOAD` the gateway starts it again, and this is gone 60 s after the last crash.",
        "Correct the plugin: the message has its own last words. Replacing the pod starts it anew until it "
        "crashes again.",
    ),
    Reason.VM_CRASHED: Explanation(
        Then.GOES_ON,
        "Some plugin of this gateway trapped, several run there, and Envoy does not say which one it was.",
        "Look which plugin's requests fail, or add a probe. Then replace the pod.",
    ),
    Reason.LISTENER_REJECTED: Explanation(
        Then.STAYS,
        "Envoy refuses its listeners' updates because of this plugin.",
        "Correct what its words name.",
    ),
    Reason.LISTENER_STUCK: Explanation(
        Then.STAYS,
        "A listener has not finished warming in time; its last update serves nothing.",
        "Ask the admin port for `/init_dump`, which says what it waits for.",
    ),
    Reason.NOT_REFERENCED: Explanation(
        Then.STAYS,
        "The gateway has the plugin, and none of its listeners uses it.",
        "See that an HTTP listener is there and that no listener update is refused.",
    ),
    Reason.NO_HTTP_LISTENER: Explanation(
        Then.GOES_ON,
        "The gateway has no HTTP listener, so nothing asks for the plugin.",
        "Give it a Gateway with an HTTP server.",
    ),
    Reason.NO_POSITIVE_SIGN: Explanation(
        Then.GOES_ON,
        "The time is over, nothing is refused, and nothing shows that the plugin runs. It is not called Ready.",
        "Restart the pod, or let its statistics be seen; the message says how.",
    ),
    Reason.LOG_INCOMPLETE: Explanation(
        Then.GOES_ON,
        "The log since the write was rotated, or is too long to be read whole. A refusal could have been "
        "missed. The API server serves a log's current file alone.",
        "Restart the pod, or let its statistics be seen.",
    ),
    Reason.UNKNOWN_SHAPE: Explanation(
        Then.GOES_ON,
        "The gateway answered in a way that this version of the operator does not understand.",
        "Use an operator that knows this Envoy, and report it, please.",
    ),
    Reason.LOG_NOT_FOUND: Explanation(
        Then.GOES_ON,
        "The API server has no log of a gateway's container: the pod has gone, or its node has thrown it away.",
        "Wait.",
        where=(Elsewhere.LOG,),
    ),
    Reason.LOGGER_NOT_SET: Explanation(
        Then.GOES_ON,
        "A gateway's log level could not be read or set. The release goes on with fewer signs.",
        "See that the pod's admin port answers.",
        where=(Elsewhere.LOG,),
    ),
    Reason.LOGGER_NOT_RESTORED: Explanation(
        Then.GOES_ON,
        "The release was deleted, and the gateways named did not answer. Their filter logger stays at debug.",
        "Restart the pod, which resets it.",
        where=(Elsewhere.EVENT,),
    ),
    Reason.GATEWAY_NOT_RESTARTED: Explanation(
        Then.GOES_ON,
        "A gateway's agent could not be asked to start Envoy again.",
        "See that the operator may port-forward to the pod; or delete the pod.",
        where=(Elsewhere.LOG,),
    ),
    Reason.SECRET_NOT_DELETED: Explanation(
        Then.GOES_ON,
        "The release was deleted, and the copy of its pull secret could not be deleted in time.",
        "Delete the Secret that the event names.",
        where=(Elsewhere.EVENT,),
    ),
}

GATEWAYS = Section(
    "Loaded: the gateways",
    (ConditionType.LOADED,),
    _GATEWAYS,
    intro=(
        "These stand on a pod's row in `status.pods`, and on an entry's in `status.gateways`, too. Which signs each "
        "rests on is in [signs.md](signs.md)."
    ),
)

_PROBES = {
    Reason.PROBED: Explanation(
        Then.GOES_ON,
        "Every connection to every gateway pod was answered as `checks.probes` expect.",
        "Nothing.",
    ),
    Reason.AWAITING_PROBES: Explanation(
        Then.WAITS,
        "A probe fails, for less than 10 s until now. It is asked again before it counts.",
        "Wait.",
    ),
    Reason.PROBE_FAILED: Explanation(
        Then.STAYS,
        "A gateway pod answers otherwise than a probe expects. The message names the pod, the probe, what "
        "differs and on how many connections.",
        "Ask the gateway the same. If the answer is right, correct the probe's `expect`.",
    ),
    Reason.PROBE_UNANSWERED: Explanation(
        Then.STAYS,
        "A gateway pod gave no whole answer: the connection was refused or broke, TLS failed, or the time was over.",
        "See that the pod's port answers, and that the operator may port-forward.",
    ),
    Reason.PROBE_PORT_REFUSED: Explanation(
        Then.STAYS,
        "The probe names one of Istio's own ports, 15000 to 15099. They are never asked.",
        "Name the port of a listener, or none.",
    ),
    Reason.PROBE_PORT_UNKNOWN: Explanation(
        Then.STAYS,
        "The gateway has no listener on the port that the probe names. Or none of its scheme has the plugin.",
        "Name a port in the pod that a Gateway asks for; a Service's own port may be another.",
    ),
    Reason.PROBE_PORT_AMBIGUOUS: Explanation(
        Then.STAYS,
        "The probe names no port, and several listeners of its scheme have the plugin.",
        "Name one of the ports in the message.",
    ),
}

PROBES = Section(
    "Probed: the answers",
    (ConditionType.PROBED,),
    _PROBES,
    intro="What is asked, how often and on which ports is in [probes.md](probes.md).",
)
