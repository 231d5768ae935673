"""What the tests of the chart share: its values with what each changes, and how it is rendered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from pluginrelease_lab import operator

CHECKOUT = Path(__file__).resolve().parents[2]
CHART = CHECKOUT / "charts" / "pluginrelease"
NAMESPACE = "chart-test"
RELEASE = "chart-test"
FULLNAME = "chart-test-pluginrelease"

Node = dict[str, Any]

# every value with another one than the default's, as --set-json takes it, and where it shows in the rendered text
EFFECTS = [
    ('image.repository="registry.example.com/ops"', 'image: "registry.example.com/ops:0.1.0"'),
    ('image.tag="9.9"', 'image: "pluginrelease-operator:9.9"'),
    (f'image.digest="sha256:{"0" * 64}"', f'image: "pluginrelease-operator@sha256:{"0" * 64}"'),
    ('image.pullPolicy="Always"', "imagePullPolicy: Always"),
    ('imagePullSecrets=[{"name":"keys"}]', "imagePullSecrets:\n        - name: keys"),
    ('nameOverride="prel"', "app.kubernetes.io/name: prel"),
    ('fullnameOverride="other"', "kind: Deployment\nmetadata:\n  name: other\n"),
    ('commonLabels={"cost-center":"4711"}', '    cost-center: "4711"'),
    ("replicas=2", "  replicas: 2\n"),
    ("crds.install=false", ""),
    ("crds.keep=false", ""),
    ("serviceAccount.create=false", ""),
    ('serviceAccount.name="robot"', "serviceAccountName: robot"),
    ('serviceAccount.annotations={"cloud.example.com/role":"a"}', "annotations:\n    cloud.example.com/role: a"),
    ("rbac.create=false", ""),
    ("rbac.aggregateToUserRoles=false", ""),
    ('watchNamespaces=["team-a"]', "- --namespace=team-a"),
    ('gatewayNamespaces=["edge"]', "- --gateway-namespace=edge"),
    ('operator.filterLogger="leave"', "- --filter-logger=leave"),
    ('operator.istioRootNamespace="mesh"', "- --istio-root-namespace=mesh"),
    ('operator.leaseNamespace="operators"', "- --lease-namespace=operators"),
    ('operator.resync="90s"', "- --resync=90s"),
    ("operator.livenessPort=9090", "containerPort: 9090"),
    ("operator.metricsPort=9091", "- --metrics-port=9091"),
    ('operator.logFormat="text"', "- --log-format=text"),
    ('operator.logLevel="debug"', "- --log-level=debug"),
    ('operator.gatewayContainer="envoy"', "- --gateway-container=envoy"),
    ('operator.higressGatewayLabels=["team-a:higress=edge"]', "- --higress-gateway-label=team-a:higress=edge"),
    ("operator.gatewayAdminPort=9901", "- --gateway-admin-port=9901"),
    ("operator.allowPrivateRealms=true", "- --allow-private-realms"),
    ('operator.allowedRegistries=["ghcr.io/team"]', "- --allowed-registries=ghcr.io/team"),
    ('operator.privateRealmsOf=["registry.internal:5000"]', "- --private-realms-of=registry.internal:5000"),
    ("operator.allowNativeCode=true", "- --allow-native-code"),
    ("operator.restartHungGateways=false", "- --leave-hung-gateways"),
    ('operator.cacheSize="2Gi"', "- --cache-size=2Gi"),
    ('operator.trustedRootConfigMap="sigstore"', "configMap:\n            name: sigstore"),
    ('operator.registryCAConfigMap="corporate"', "configMap:\n            name: corporate"),
    ('operator.registryCAKey="ca-bundle.crt"', "- --registry-ca-file=/etc/pluginrelease/registry-ca/ca-bundle.crt"),
    ('extraArgs=["--namespace=team-a"]', '- "--namespace=team-a"'),
    ('env=[{"name":"HTTPS_PROXY","value":"http://proxy:3128"}]', "            - name: HTTPS_PROXY"),
    ('volumes=[{"name":"company","secret":{"secretName":"company-ca"}}]', "secretName: company-ca"),
    ('volumeMounts=[{"name":"tmp","mountPath":"/etc/company"}]', "mountPath: /etc/company"),
    ('resources={"limits":{"memory":"2Gi"}}', "memory: 2Gi"),
    ('deploymentLabels={"tier":"edge"}', "    tier: edge"),
    ('deploymentAnnotations={"reloader":"on"}', "annotations:\n    reloader: "),
    ('podLabels={"team":"edge"}', "        team: edge"),
    ('podAnnotations={"note":"here"}', "annotations:\n        note: here"),
    ('podSecurityContext={"runAsUser":1234}', "runAsUser: 1234"),
    ('containerSecurityContext={"privileged":false}', "privileged: false"),
    ('openshift.adaptSecurityContext="force"', ""),
    ('priorityClassName="system-cluster-critical"', "priorityClassName: system-cluster-critical"),
    ('nodeSelector={"disk":"ssd"}', "nodeSelector:\n        disk: ssd"),
    ('tolerations=[{"key":"gpu","operator":"Exists"}]', "tolerations:\n        - key: gpu"),
    ('affinity={"nodeAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[]}}', "affinity:\n        nodeAff"),
    (
        'topologySpreadConstraints=[{"maxSkew":1,"topologyKey":"zone","whenUnsatisfiable":"ScheduleAnyway"}]',
        "topologySpreadConstraints:\n        - maxSkew: 1",
    ),
    ("flowControl.enabled=false", ""),
    ("flowControl.shares=9", "nominalConcurrencyShares: 9"),
    ("uninstall.guard=false", ""),
    ("metrics.scrapeAnnotations=true", 'prometheus.io/port: "8081"'),
    ("metrics.podMonitor.enabled=true", "kind: PodMonitor"),
    ('metrics.podMonitor.interval="15s"', "interval: 15s"),
    ('metrics.podMonitor.labels={"release":"kube-prometheus"}', "release: kube-prometheus"),
    ("metrics.rules.enabled=true", "alert: PluginReleaseRunningUnprotected"),
    ('metrics.rules.labels={"release":"kube-prometheus"}', "release: kube-prometheus"),
    ("metrics.dashboard.enabled=true", '    {\n      "title": "PluginReleases"'),
    ('metrics.dashboard.labels={"folder":"gateways"}', "folder: gateways"),
    ("networkPolicy.enabled=true", "kind: NetworkPolicy"),
    ('networkPolicy.metricsFrom=[{"namespaceSelector":{}}]', "from:\n        - namespaceSelector: {}"),
]

# what another value must be for one to have an effect
NEEDS = {
    'operator.registryCAKey="ca-bundle.crt"': 'operator.registryCAConfigMap="corporate"',
    "serviceAccount.create=false": 'serviceAccount.name="theirs"',
    "uninstall.guard=false": "crds.keep=false",
    'metrics.podMonitor.interval="15s"': "metrics.podMonitor.enabled=true",
    'metrics.podMonitor.labels={"release":"kube-prometheus"}': "metrics.podMonitor.enabled=true",
    'metrics.rules.labels={"release":"kube-prometheus"}': "metrics.rules.enabled=true",
    'metrics.dashboard.labels={"folder":"gateways"}': "metrics.dashboard.enabled=true",
    'networkPolicy.metricsFrom=[{"namespaceSelector":{}}]': "networkPolicy.enabled=true",
}


def leaves(schema: Node, path: str = "") -> Iterator[tuple[str, Node]]:
    """Every value that can be set, with its schema; maps and lists that are passed on count as one."""
    for name, child in schema["properties"].items():
        here = f"{path}.{name}" if path else name
        if child.get("properties"):
            yield from leaves(child, here)
        else:
            yield here, child


def text_of(*values: str) -> str:
    """What `helm template` prints."""
    settings = [part for value in values for part in ("--set-json", value)]
    return operator.helm("template", "pluginrelease", CHART, *settings)


def rendered(*arguments: str | Path) -> list[Node]:
    """Every object, hooks included, of a chart that is rendered with these arguments of Helm."""
    text = operator.helm("template", "pluginrelease", CHART, "--namespace", NAMESPACE, *arguments)
    return [manifest for manifest in yaml.safe_load_all(text) if manifest]


def by_kind(manifests: list[Node], kind: str) -> list[Node]:
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def only(manifests: list[Node], kind: str) -> Node:
    """The one of that kind."""
    [found] = by_kind(manifests, kind)
    return found


def containers(manifests: list[Node]) -> list[Node]:
    """The containers of the Deployment's pod."""
    found: list[Node] = only(manifests, "Deployment")["spec"]["template"]["spec"]["containers"]
    return found
