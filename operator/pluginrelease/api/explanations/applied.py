"""Reasons about the objects, and about the API server."""

from __future__ import annotations

from pluginrelease.api.conditions import ConditionType
from pluginrelease.api.explanations.values import Elsewhere, Explanation, Section, Then
from pluginrelease.api.reasons import Reason

_OBJECTS = {
    Reason.APPLIED: Explanation(
        Then.GOES_ON,
        "The WasmPlugin in the cluster has the revision that the spec asks for.",
        "Nothing.",
    ),
    Reason.NAMESPACE_NOT_FOUND: Explanation(
        Then.WAITS,
        "The namespace of an entry of `gateways` does not exist. The other entries continue.",
        "Create the namespace, or correct the entry.",
    ),
    Reason.NAMESPACE_NOT_ALLOWED: Explanation(
        Then.STAYS,
        "The gateways' namespace does not allow releases from the release's namespace.",
        (
            "Ask the owner of the gateways' namespace to set the annotation `pluginrelease.io/allowed-namespaces`; "
            "the message has the command."
        ),
    ),
    Reason.ROOT_NAMESPACE_NOT_WATCHED: Explanation(
        Then.STAYS,
        (
            "An entry is in Istio's root namespace, where a WasmPlugin applies to pods of every namespace. The "
            "operator has rights in some namespaces only. The other entries continue."
        ),
        (
            "In the entry, name the namespace of the gateway pods. Or install the operator with `gatewayNamespaces: "
            '["*"]`.'
        ),
    ),
    Reason.GATEWAY_NAMESPACE_NOT_WATCHED: Explanation(
        Then.STAYS,
        (
            "The operator has no rights in the entry's namespace, because the chart's `gatewayNamespaces` does not "
            "list it. The other entries continue."
        ),
        "Ask for the namespace to be added to `gatewayNamespaces`, or name another namespace.",
    ),
    Reason.SELECTOR_MISSING: Explanation(
        Then.STAYS,
        (
            "An entry of `gateways` has neither `selector` nor `targetRefs`, and no API server has checked the "
            "manifest. To Istio, such an entry means every pod."
        ),
        "Set `selector` to a label of the gateway pods, or `targetRefs` to their Gateway.",
    ),
    Reason.SELECTOR_IGNORED: Explanation(
        Then.STAYS,
        "An entry's `selector` matches a waypoint. Istio ignores `selector` on waypoints, so the plugin would not "
        "reach that pod.",
        (
            "Replace `selector` by `targetRefs` with the waypoint's Gateway. Or narrow the selector, so that it does "
            "not match the waypoint."
        ),
    ),
    Reason.PROXIES_DIFFER: Explanation(
        Then.STAYS,
        (
            "An entry's selector matches pods whose Envoy is a sidecar, and `proxies: Sidecars` is not set. Or it is "
            "set, and the selector matches pods whose Envoy is not a sidecar."
        ),
        "Narrow the selector, or set `proxies` as the message says.",
    ),
    Reason.MATCH_NEVER_APPLIES: Explanation(
        Then.STAYS,
        (
            "An item of `plugin.match`, or all of `plugin.match`, matches no listener of a gateway pod. Istio would "
            "never run the plugin there."
        ),
        "Set `mode` and `ports` as the message says, or remove `match`.",
    ),
    Reason.PODS_OVERLAP: Explanation(
        Then.STAYS,
        ("Two entries of `gateways` select the same pod. Every request to that pod would run the plugin twice."),
        "Narrow the selector of one entry, or remove one entry.",
    ),
    Reason.FOREIGN_FIELDS: Explanation(
        Then.STAYS,
        (
            "An adopted WasmPlugin has fields that the release does not set; the message names them. Or another "
            "client added such fields to an object that the release owns. Then gateways run the plugin with these "
            "fields, and Applied reports them."
        ),
        (
            "Set these fields in the release, or remove them from the object; the operator checks every 30 s. Or let "
            "the operator remove them: `kubectl annotate prel NAME pluginrelease.io/remove-foreign-fields=ENTRY`."
        ),
    ),
    Reason.NOT_HIGRESS_NAMESPACE: Explanation(
        Then.STAYS,
        (
            "The entry's namespace has no pod of Higress's controller or gateways, or the controller there watches "
            "another namespace. Higress reads plugins only in its own namespace. The operator checks again every 30 "
            "s."
        ),
        "Create a new release that names the namespace of the installation, usually `higress-system`.",
    ),
    Reason.GATEWAY_LABEL_DIFFERS: Explanation(
        Then.STAYS,
        (
            "The arguments of Higress's controller name another gateway label than the operator uses. The operator "
            "checks again every 30 s."
        ),
        "Start the operator with the flag in the message. In the chart, set `operator.higressGatewayLabels`.",
    ),
    Reason.GATEWAYS_NOT_REACHED: Explanation(
        Then.GOES_ON,
        (
            "Higress has deployed separate gateways for Gateway objects. No WasmPlugin reaches them, so requests "
            "there pass without the plugin."
        ),
        "Send requests that need the plugin through the gateways of the installation itself.",
        where=(Elsewhere.EVENT,),
    ),
    Reason.RULE_NEVER_MATCHES: Explanation(
        Then.STAYS,
        (
            "No request can match the `ingress` or `service` of a rule. An Ingress in Higress's own namespace needs "
            "that namespace before its name. Or a service's name is not valid."
        ),
        "Write the value as the message says.",
    ),
    Reason.RESERVED_KEY: Explanation(
        Then.STAYS,
        "A configuration has a key that Higress's controller writes itself (`_rules_`, `_match_domain_` …).",
        "Use `plugin.matchRules` for rules.",
    ),
    Reason.INVALID_PLACEHOLDER: Explanation(
        Then.STAYS,
        (
            "Higress would not replace a `${secret.…}` in the plugin's configuration or environment. Its form or its "
            "value is wrong, another kind of placeholder is beside it, or Higress is too old. Or it names a Secret "
            "that the release may not use. The message names the field and never the value."
        ),
        "Correct the field that the message names ([higress.md](higress.md#secrets-in-a-configuration)).",
    ),
    Reason.PLACEHOLDER_SECRET_NOT_FOUND: Explanation(
        Then.WAITS,
        "The Secret in a `${secret.…}`, or its key, does not exist.",
        "Create it; the message has the command.",
    ),
    Reason.CONFIG_CHANGED: Explanation(
        Then.GOES_ON,
        "A value of `configFrom` is another than before, so another rollout begins. The message has no value.",
        "Nothing.",
        (Elsewhere.EVENT,),
    ),
    Reason.CONFIG_SOURCE_NOT_FOUND: Explanation(
        Then.WAITS,
        "`configFrom` names a Secret or ConfigMap that does not exist. What runs keeps running.",
        "Create it in the release's namespace; the message has the command. Or set `optional: true`.",
    ),
    Reason.CONFIG_KEY_NOT_FOUND: Explanation(
        Then.WAITS,
        "`configFrom` names a key that its Secret or ConfigMap does not have. What runs keeps running.",
        "Add the key, or correct `key`. Or set `optional: true`.",
    ),
    Reason.INVALID_CONFIG_VALUE: Explanation(
        Then.STAYS,
        (
            "A value of `configFrom` cannot be used: it is not UTF-8, not the YAML or JSON of one document, or not an "
            "object where one is needed. With Higress, it has `${`."
        ),
        "Correct the value in the Secret or ConfigMap. Or correct `format` or `path` of the item.",
    ),
    Reason.CONFIG_PATH_CONFLICT: Explanation(
        Then.STAYS,
        "On the way to the `path` of an item of `configFrom`, the configuration has something that is not an object.",
        "Correct `path`, or `plugin.config`.",
    ),
    Reason.CONFIG_TOO_LARGE: Explanation(
        Then.STAYS,
        "The values of `configFrom` have more than 256 KiB in all.",
        "Store smaller values.",
    ),
    Reason.CONFIG_NOT_KEPT: Explanation(
        Then.STAYS,
        (
            "The Secret with a revision's values of `configFrom` was deleted, so this revision cannot be restored in "
            "full. The operator writes nothing for it."
        ),
        "Correct the spec, or roll back to another revision: `kubectl pluginrelease history`.",
    ),
    Reason.OBJECT_NOT_OURS: Explanation(
        Then.STAYS,
        ("A WasmPlugin or Secret of that name exists and belongs to another owner. The operator does not change it."),
        (
            "Delete the object, or rename the entry. Or set the entry's `adopt: true`, which takes the object over "
            "unless another release owns it."
        ),
    ),
    Reason.ROLLED_BACK: Explanation(
        Then.GOES_ON,
        "A revision failed, and the operator restored the stable revision. `Ready` names the failure.",
        "Correct the spec, or run `kubectl pluginrelease retry`.",
        where=(ConditionType.APPLIED, Elsewhere.EVENT),
    ),
    Reason.ADOPTED_PUT_BACK: Explanation(
        Then.GOES_ON,
        "The operator restored the object as it was before the release adopted it.",
        "Correct the spec, or run `kubectl pluginrelease retry`.",
    ),
    Reason.TAKEN_BACK: Explanation(
        Then.GOES_ON,
        (
            "The object belonged to a release of the same name with another uid, as after a restore from a backup. "
            "Now it belongs to this release."
        ),
        "Nothing.",
        where=(Elsewhere.EVENT,),
    ),
    Reason.REMOVED: Explanation(
        Then.STAYS,
        (
            "A first release failed, and nothing ran before. So the operator removed the plugin from the gateways, "
            "and requests pass without it. `Ready` names the failure."
        ),
        "Correct the spec, or run `kubectl pluginrelease retry`.",
        where=(ConditionType.APPLIED, Elsewhere.GATEWAY_ROW, Elsewhere.EVENT),
    ),
    Reason.REMOVING: Explanation(
        Then.GOES_ON,
        "The spec no longer has this entry, and the operator is deleting its object.",
        "Wait. If the row remains, read its message.",
        where=(Elsewhere.GATEWAY_ROW,),
    ),
    Reason.DRIFT_CORRECTED: Explanation(
        Then.GOES_ON,
        "Another client changed or deleted the WasmPlugin, and the operator restored it.",
        "Find out which client changed it.",
        where=(Elsewhere.EVENT,),
    ),
    Reason.DUPLICATE_PLUGIN: Explanation(
        Then.STAYS,
        (
            "An older PluginRelease puts the same plugin with the same configuration on the same pods. Or a "
            "WasmPlugin that no release made does. Every request would run it twice, so the operator does not write "
            "it. If that WasmPlugin came later, or uses the plugin differently, this is only a warning. Then Applied "
            "is True, and `Ready` has the warning in its message."
        ),
        (
            "Delete one of the two, or take the object over (`objectName`, `adopt`). Or give them different "
            "selectors, configurations or phases."
        ),
        where=(ConditionType.APPLIED, Elsewhere.EVENT),
    ),
    Reason.KIND_NOT_INSTALLED: Explanation(
        Then.WAITS,
        "The API server does not know the provider's WasmPlugin.",
        (
            "Install the CRDs of Istio or Higress; the message says which. The operator continues within 10 s after "
            "that."
        ),
        where=(ConditionType.APPLIED, Elsewhere.COMMAND_LINE),
    ),
    Reason.APPLY_REFUSED: Explanation(
        Then.STAYS,
        "The API server refuses the object, because it does not fit the schema of its kind.",
        "Correct the field that the message names.",
    ),
    Reason.ADMISSION_DENIED: Explanation(
        Then.STAYS,
        (
            "A webhook, a ValidatingAdmissionPolicy or an admission plugin refuses the object; the message names it. "
            "The operator tries again every minute."
        ),
        "Correct what the message names, or ask for the policy to allow it.",
    ),
    Reason.OBJECT_TOO_LARGE: Explanation(
        Then.STAYS,
        "An object is larger than a request (3 MiB), etcd (1.5 MiB), or annotations (256 KiB) allow.",
        "Make `plugin.config` and `plugin.matchRules` smaller.",
    ),
    Reason.UNKNOWN_FIELD: Explanation(
        Then.STAYS,
        (
            "The CustomResourceDefinition in the cluster is older than the operator, or than a setting of the "
            "release: it does not have this field."
        ),
        (
            "Upgrade the CustomResourceDefinition. PluginRelease's comes with the chart, WasmPlugin's with Istio or "
            "Higress."
        ),
    ),
}

OBJECTS = Section(
    "Applied: the objects",
    (ConditionType.APPLIED,),
    _OBJECTS,
    intro=(
        "With *stays*, *waits* or *retries*, the operator wrote nothing new for the entry: its gateways keep what "
        "they run, unless the row says otherwise."
    ),
)

_API_SERVER = {
    Reason.REQUEST_NOT_SUPPORTED: Explanation(
        Then.STAYS,
        "The API server knows the kind, but refuses this kind of request (405, 406 or 415).",
        "Find out which server serves the kind. It must support server-side apply.",
    ),
    Reason.REQUEST_REFUSED: Explanation(
        Then.STAYS,
        "The API server refuses a read, or refuses a write with an unexpected code.",
        "Correct what the message names.",
    ),
    Reason.UNAUTHORIZED: Explanation(
        Then.WAITS,
        (
            "The API server does not accept this login: its token has expired, or belongs to another cluster. The "
            "operator cannot write a status, so it reports this in its log and at `/readyz`."
        ),
        "Log in again, or renew the kubeconfig. In a pod, the kubelet renews the token.",
        where=(Elsewhere.ANY_STEP, Elsewhere.LOG, Elsewhere.COMMAND_LINE),
    ),
    Reason.FORBIDDEN: Explanation(
        Then.WAITS,
        "The operator, or the user of the command, lacks the permission that the message names.",
        "Grant it to the operator's ServiceAccount; the chart's roles have every permission that it needs.",
        where=(Elsewhere.ANY_STEP, Elsewhere.LOG, Elsewhere.COMMAND_LINE),
    ),
    Reason.QUOTA_EXCEEDED: Explanation(
        Then.WAITS,
        (
            "A ResourceQuota of the namespace leaves no room for the object. The API server answers 403, but no "
            "permission is missing. The operator tries again every minute."
        ),
        "Raise the quota that the message names, or delete objects that you do not need.",
    ),
    Reason.NAMESPACE_TERMINATING: Explanation(
        Then.WAITS,
        "The namespace is being deleted, and the API server creates nothing in it.",
        (
            "Wait until the namespace is gone and create it again, or use another namespace. If it remains, read its "
            "`status.conditions`: they name what blocks the deletion."
        ),
    ),
    Reason.WEBHOOK_UNAVAILABLE: Explanation(
        Then.RETRIES,
        (
            "The API server must call a webhook to admit or convert the object, and the webhook does not answer "
            "correctly."
        ),
        ("Check that the webhook's pods run, that its Service reaches them, and that its certificate is valid."),
    ),
    Reason.CONFLICT: Explanation(
        Then.RETRIES,
        "Another client changed or created the object during the write.",
        "Wait. If it happens again, find out which client writes the object.",
    ),
    Reason.FIELD_CONFLICT: Explanation(
        Then.RETRIES,
        ("Another client created an object of that name during the write. The message names the field managers."),
        "Wait for the next check, which reports the owner (`ObjectNotOurs`).",
    ),
    Reason.TOO_MANY_REQUESTS: Explanation(
        Then.RETRIES,
        (
            "The API server is overloaded and refuses requests (429). The operator waits as long as Retry-After says, "
            "at most a minute."
        ),
        "Wait. If it remains, check the API server's priority levels and flow schemas.",
    ),
    Reason.LEASE_NOT_HELD: Explanation(
        Then.RETRIES,
        (
            "The operator did not renew its Lease in time. Another operator may act now, so this one writes nothing "
            "and exits. The holder of the Lease continues."
        ),
        "Check the API server, and `kubectl get lease pluginrelease -n kube-system`.",
    ),
    Reason.LIST_EXPIRED: Explanation(
        Then.RETRIES,
        "The operator read a long list more slowly than the API server keeps its pages.",
        "Wait. If it remains, check the API server's load.",
    ),
    Reason.API_SERVER_UNAVAILABLE: Explanation(
        Then.RETRIES,
        "The API server did not answer, or answered with an internal error.",
        "Check the API server.",
    ),
    Reason.NOT_THE_API_SERVER: Explanation(
        Then.RETRIES,
        (
            "Another server answered instead of the API server: a proxy's page, a redirect, or another service's "
            "JSON. The operator never uses such an answer, and never takes its 404 for a deleted object."
        ),
        "Check the proxy or load balancer between, `HTTPS_PROXY` and `NO_PROXY`.",
    ),
    Reason.ANSWER_UNREADABLE: Explanation(
        Then.RETRIES,
        "An answer, or an event of a watch, ended in the middle.",
        "Wait. If it remains, check the proxy or load balancer between.",
    ),
    Reason.ANSWER_TOO_LARGE: Explanation(
        Then.RETRIES,
        (
            "An answer of the API server was larger than 64 MiB, or a refusal larger than 4 MiB. The operator did not "
            "read all of it."
        ),
        "Narrow the selector.",
    ),
}

API_SERVER = Section(
    "The API server",
    (Elsewhere.ANY_STEP,),
    _API_SERVER,
    intro="Any step can end with one of these, and so can a command. Meanwhile gateways keep what they run.",
)
