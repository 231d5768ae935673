"""What is said of the objects, and of the API server."""

from __future__ import annotations

from pluginrelease.api.conditions import ConditionType
from pluginrelease.api.explanations.values import Elsewhere, Explanation, Section, Then
from pluginrelease.api.reasons import Reason

_OBJECTS = {
    Reason.APPLIED: Explanation(
        Then.GOES_ON,
        "The WasmPlugin in the cluster carries the revision that is wanted.",
        "Nothing.",
    ),
    Reason.NAMESPACE_NOT_FOUND: Explanation(
        Then.WAITS,
        "The namespace of an entry of `gateways` does not exist. The other entries go on.",
        "Create it.",
    ),
    Reason.NAMESPACE_NOT_ALLOWED: Explanation(
        Then.STAYS,
        "The gateways' namespace does not allow releases of the release's own.",
        "Have its owner set the annotation `pluginrelease.io/allowed-namespaces`; the message has the command.",
    ),
    Reason.SELECTOR_MISSING: Explanation(
        Then.STAYS,
        "An entry of `gateways` has no selector, in a manifest that no API server has seen. To Istio that would "
        "mean every pod.",
        "Name a label of the gateway's pods.",
    ),
    Reason.PODS_OVERLAP: Explanation(
        Then.STAYS,
        "Two entries of `gateways` select the same pod: every request there would run the plugin twice.",
        "Give one of them a narrower selector, or remove it.",
    ),
    Reason.FOREIGN_FIELDS: Explanation(
        Then.STAYS,
        "A WasmPlugin that an entry is to adopt has fields that the release does not set; the message names them.",
        "Set them in the release, or remove them from the object. It is looked at again every half minute.",
    ),
    Reason.NOT_HIGRESS_NAMESPACE: Explanation(
        Then.STAYS,
        "The entry's namespace has no pod of Higress's controller or gateways, or its controller watches "
        "another one. Higress reads the plugins of its own namespace only. It is looked for again every half "
        "minute.",
        "Name the namespace of the installation, usually `higress-system`, in a new release.",
    ),
    Reason.GATEWAY_LABEL_DIFFERS: Explanation(
        Then.STAYS,
        "Higress's controller gives plugins to pods with another label than the operator looks at; its own "
        "arguments say so. It is looked at again every half minute.",
        "Start the operator with the flag in the message; the chart has `operator.higressGatewayLabels`.",
    ),
    Reason.GATEWAYS_NOT_REACHED: Explanation(
        Then.GOES_ON,
        "Higress has deployed gateways for a Gateway each, and no WasmPlugin reaches those.",
        "Send requests that need the plugin through the installation's own gateways.",
        where=(Elsewhere.EVENT,),
    ),
    Reason.RULE_NEVER_MATCHES: Explanation(
        Then.STAYS,
        "No request fulfils a rule's `ingress` or `service`. An Ingress of Higress's own namespace has that "
        "namespace before its name, or a service's name is none.",
        "Write it as the message says.",
    ),
    Reason.RESERVED_KEY: Explanation(
        Then.STAYS,
        "A configuration has one of the keys (`_rules_`, `_match_domain_` …) that Higress's controller writes itself.",
        "Write rules as `plugin.matchRules`.",
    ),
    Reason.INVALID_PLACEHOLDER: Explanation(
        Then.STAYS,
        "Higress would not replace a `${secret.…}` in the plugin's configuration or environment. Its form, a "
        "placeholder of another kind beside it, its value or an old Higress is why. Or it names a Secret that "
        "is not the release's business. The message names the field and never the value.",
        "Correct what it names ([higress.md](higress.md#secrets-in-a-configuration)).",
    ),
    Reason.PLACEHOLDER_SECRET_NOT_FOUND: Explanation(
        Then.WAITS,
        "The Secret, or its key, that a `${secret.…}` names is not there.",
        "Create it; the message has the command.",
    ),
    Reason.OBJECT_NOT_OURS: Explanation(
        Then.STAYS,
        "A WasmPlugin or Secret of the wanted name is somebody else's.",
        "Delete it, rename the entry, or set its `adopt: true`, which never takes over what another release owns.",
    ),
    Reason.ROLLED_BACK: Explanation(
        Then.GOES_ON,
        "The stable revision was put back after a failure. `Ready` says which.",
        "Correct the spec, or ask for `kubectl pluginrelease retry`.",
        where=(ConditionType.APPLIED, Elsewhere.EVENT),
    ),
    Reason.ADOPTED_PUT_BACK: Explanation(
        Then.GOES_ON,
        "The object is as it was before the release adopted it.",
        "Correct the spec, or ask for `kubectl pluginrelease retry`.",
    ),
    Reason.REMOVED: Explanation(
        Then.STAYS,
        "A first release failed, so the plugin was taken off the gateways. `Ready` says why.",
        "Correct the spec, or ask for `kubectl pluginrelease retry`.",
        where=(ConditionType.APPLIED, Elsewhere.GATEWAY_ROW, Elsewhere.EVENT),
    ),
    Reason.REMOVING: Explanation(
        Then.GOES_ON,
        "The entry is gone from the spec, and its object is being taken away.",
        "Wait. If it stays, read the row's message.",
        where=(Elsewhere.GATEWAY_ROW,),
    ),
    Reason.DRIFT_CORRECTED: Explanation(
        Then.GOES_ON,
        "Somebody else had changed or deleted the WasmPlugin, and the operator corrected it.",
        "Find out who did.",
        where=(Elsewhere.EVENT,),
    ),
    Reason.DUPLICATE_PLUGIN: Explanation(
        Then.STAYS,
        "An older PluginRelease puts the same plugin with the same configuration on the same pods.",
        "Delete one of the two, or give them different selectors, configurations or phases.",
    ),
    Reason.KIND_NOT_INSTALLED: Explanation(
        Then.WAITS,
        "The API server does not know the provider's WasmPlugin.",
        "Install Istio's CRDs, or Higress's; the message says which. Ten seconds later releases go on.",
        where=(ConditionType.APPLIED, Elsewhere.COMMAND_LINE),
    ),
    Reason.APPLY_REFUSED: Explanation(
        Then.STAYS,
        "The object does not fit the kind's schema.",
        "Correct what its message names.",
    ),
    Reason.ADMISSION_DENIED: Explanation(
        Then.STAYS,
        "A webhook, a ValidatingAdmissionPolicy or an admission plugin refuses the object; the message names "
        "it. It is asked again every minute.",
        "Change what its message names, or have the policy allow it.",
    ),
    Reason.OBJECT_TOO_LARGE: Explanation(
        Then.STAYS,
        "An object is larger than a request (3 MiB), etcd (1.5 MiB), or annotations (256 KiB) allow.",
        "Make `plugin.config` and `plugin.matchRules` smaller.",
    ),
    Reason.UNKNOWN_FIELD: Explanation(
        Then.STAYS,
        "The definition of the kind in the cluster has no such field. The operator, or a setting of the "
        "release, is newer than it.",
        "Upgrade the CustomResourceDefinition. PluginRelease's comes with the chart, WasmPlugin's with Istio or "
        "Higress.",
    ),
}

OBJECTS = Section(
    "Applied: the objects",
    (ConditionType.APPLIED,),
    _OBJECTS,
)

_API_SERVER = {
    Reason.REQUEST_NOT_SUPPORTED: Explanation(
        Then.STAYS,
        "The kind is there and does not do what is asked: 405, 406 or 415.",
        "See what serves it; it takes server-side apply.",
    ),
    Reason.REQUEST_REFUSED: Explanation(
        Then.STAYS,
        "The API server refuses a question, or refuses something with a code that nobody expects.",
        "Look at what its message names.",
    ),
    Reason.UNAUTHORIZED: Explanation(
        Then.WAITS,
        "The API server does not know this login: a token that has run out, or one of another cluster. The "
        "operator says so in its log and at `/readyz`, as it can write no status.",
        "Log in again, or renew the kubeconfig. In a pod the kubelet renews the token.",
        where=(Elsewhere.ANY_STEP, Elsewhere.LOG, Elsewhere.COMMAND_LINE),
    ),
    Reason.FORBIDDEN: Explanation(
        Then.WAITS,
        "The operator, or whoever runs the command, may not do this.",
        "Grant it to the operator's ServiceAccount; the chart's ClusterRole has it all.",
        where=(Elsewhere.ANY_STEP, Elsewhere.LOG, Elsewhere.COMMAND_LINE),
    ),
    Reason.QUOTA_EXCEEDED: Explanation(
        Then.WAITS,
        "A ResourceQuota of the namespace leaves no room for the object. It is a 403, too, and no missing "
        "right. It is tried again every minute.",
        "Raise the quota that the message names, or delete what is not needed.",
    ),
    Reason.NAMESPACE_TERMINATING: Explanation(
        Then.WAITS,
        "The namespace is being deleted, and takes nothing new.",
        "Wait until it is gone and make it again, or make a release for another. Read its `status.conditions`: "
        "they say what keeps it.",
    ),
    Reason.WEBHOOK_UNAVAILABLE: Explanation(
        Then.RETRIES,
        "A webhook has to be asked about the object, or to convert it, and does not answer as it should.",
        "See that its pods run, that its Service reaches them and that its certificate is valid.",
    ),
    Reason.CONFLICT: Explanation(
        Then.RETRIES,
        "The object changed, or appeared, while it was being written.",
        "Wait. If it stays, find out who else writes it.",
    ),
    Reason.FIELD_CONFLICT: Explanation(
        Then.RETRIES,
        "Somebody made an object of the wanted name meanwhile; the message says which fields are whose.",
        "Wait for the next look, which says whose it is: `ObjectNotOurs`.",
    ),
    Reason.TOO_MANY_REQUESTS: Explanation(
        Then.RETRIES,
        "The API server has more requests than it takes. What it asks for with Retry-After is heeded, up to a minute.",
        "Wait. If it stays, see its priority levels and flow schemas.",
    ),
    Reason.LIST_EXPIRED: Explanation(
        Then.RETRIES,
        "A list took longer than the API server keeps its pages.",
        "Wait. If it stays, look at the API server's load.",
    ),
    Reason.API_SERVER_UNAVAILABLE: Explanation(
        Then.RETRIES,
        "The API server did not answer, or answered with a fault of its own.",
        "Look at the API server.",
    ),
    Reason.NOT_THE_API_SERVER: Explanation(
        Then.RETRIES,
        "Something else answered in its place: a proxy's page, a redirect, another service's JSON. It is never "
        "taken for an object, and its 404 never for one that is gone.",
        "Look at the proxy or load balancer between, at `HTTPS_PROXY` and `NO_PROXY`.",
    ),
    Reason.ANSWER_UNREADABLE: Explanation(
        Then.RETRIES,
        "An answer, or an event of a watch, broke off.",
        "Wait. If it stays, look at the proxy or load balancer between.",
    ),
    Reason.ANSWER_TOO_LARGE: Explanation(
        Then.RETRIES,
        "An answer of the API server was larger than 64 MiB, or a refusal larger than 4 MiB.",
        "Narrow the selector.",
    ),
}

API_SERVER = Section(
    "The API server",
    (Elsewhere.ANY_STEP,),
    _API_SERVER,
    intro="Any step can end with one of these, and so can a command.",
)
