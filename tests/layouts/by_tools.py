"""Images as people make them: with our own commands, container tools, oras, and as Higress does."""

from __future__ import annotations

from pluginrelease.core.artifact.image_manifests import (
    OCI_LAYER,
    WASM_LAYER,
)
from tests.layouts.book import LayoutCase, LayoutOutcome
from tests.layouts.workshop import WASM_CONFIG, Workshop, packed

LOADED, DENIED = LayoutOutcome.LOADED, LayoutOutcome.DENIED
HIGRESS = "application/vnd.module.wasm"
BUILDAH, ORAS = "buildah", "oras"


# --- our own ---


def pushed(shop: Workshop) -> None:
    shop.ours("push", str(shop.folder / shop.file("any-name.wasm", shop.module)), shop.target)


def copied(shop: Workshop) -> None:
    shop.image((WASM_LAYER, shop.module), tag="source")
    shop.ours("copy", shop.target.replace(":1", ":source"), shop.target)


# --- container tools ---


def docker(shop: Workshop) -> None:
    shop.build("COPY plugin.wasm ./", options=["--format", "docker"])


def oci(shop: Workshop) -> None:
    shop.build("COPY plugin.wasm ./", options=["--format", "oci"])


def last_of_three(shop: Workshop) -> None:
    shop.file("README.md", b"# plugin\n")
    shop.build("COPY README.md ./", "COPY Dockerfile ./", "COPY plugin.wasm ./")


def not_last(shop: Workshop) -> None:
    shop.file("README.md", b"# plugin\n")
    shop.build("COPY plugin.wasm ./", "COPY README.md ./")


def another_name(shop: Workshop) -> None:
    shop.file("main.wasm", shop.module)
    shop.build("COPY main.wasm ./")


def in_a_folder(shop: Workshop) -> None:
    shop.build("COPY plugin.wasm /opt/plugins/plugin.wasm")


def zstd(shop: Workshop) -> None:
    shop.build("COPY plugin.wasm ./", push=["--compression-format", "zstd", "--format", "oci"])


def for_arm(shop: Workshop) -> None:
    shop.build("COPY plugin.wasm ./", options=["--platform", "linux/arm64"])


def for_wasm(shop: Workshop) -> None:
    shop.build("COPY plugin.wasm ./", options=["--platform", "wasi/wasm"])


def of_platforms(shop: Workshop, *platforms: str) -> None:
    """As ``buildah manifest`` makes it: one image for each platform, and an index of them."""
    shop.file("plugin.wasm", shop.module)
    shop.file("Dockerfile", b"FROM scratch\nCOPY plugin.wasm ./\n")
    for platform in platforms:
        shop.buildah("bud", "--manifest", "many", "--platform", platform, ".")
    shop.buildah("manifest", "push", "--all", "--tls-verify=false", "many", f"docker://{shop.target}")


def two_platforms(shop: Workshop) -> None:
    of_platforms(shop, "linux/arm64", "linux/amd64")


def arm_only(shop: Workshop) -> None:
    of_platforms(shop, "linux/arm64")


def as_docker(shop: Workshop) -> None:
    shop.readable("source")
    shop.skopeo("--format", "v2s2")


def by_skopeo(shop: Workshop) -> None:
    shop.readable("source")
    shop.skopeo()


# --- oras ---


def two_layers(shop: Workshop) -> None:
    shop.file("plugin.wasm", shop.module)
    shop.file(
        "runtime-config.json", b'{"type":"envoy_proxy","abiVersions":["v0-097b7f2e4cc1fb490cc1943d0d633655ac3c522f"]}'
    )
    shop.oras(f"runtime-config.json:{WASM_CONFIG}", f"plugin.wasm:{WASM_LAYER}")


def one_layer(shop: Workshop) -> None:
    shop.file("plugin.wasm", shop.module)
    shop.file("runtime-config.json", b"{}")
    shop.oras(f"plugin.wasm:{WASM_LAYER}", config=f"{shop.folder}/runtime-config.json:{WASM_CONFIG}")


def three_layers(shop: Workshop) -> None:
    shop.file("README.md", b"# plugin\n")
    shop.file("plugin.wasm", shop.module)
    shop.file("runtime-config.json", b"{}")
    shop.oras(f"runtime-config.json:{WASM_CONFIG}", "README.md:text/markdown", f"plugin.wasm:{WASM_LAYER}")


def no_type(shop: Workshop) -> None:
    shop.oras(shop.file("plugin.wasm", shop.module))


def a_folder(shop: Workshop) -> None:
    shop.file("plugin/plugin.wasm", shop.module)
    shop.oras(f"plugin:{OCI_LAYER}")


def wasm_to_oci(shop: Workshop) -> None:
    shop.file("plugin.wasm", shop.module)
    shop.file("config.json", b"{}")
    shop.oras(
        "plugin.wasm:application/vnd.wasm.content.layer.v1+wasm",
        config=f"{shop.folder}/config.json:application/vnd.wasm.config.v1+json",
    )


def cncf(shop: Workshop) -> None:
    shop.file("plugin.wasm", shop.module)
    shop.file("config.json", b'{"architecture":"wasm","os":"wasip1"}')
    shop.oras("plugin.wasm:application/wasm", config=f"{shop.folder}/config.json:application/vnd.wasm.config.v0+json")


# --- Higress ---


def higress(shop: Workshop) -> None:
    """As its build script pushes it: what the console shows first, the module's archive last."""
    higress_files(shop)
    shop.oras(f"spec.yaml:{HIGRESS}.spec.v1+yaml", f"README.md:{HIGRESS}.doc.v1+markdown", f"plugin.tar.gz:{OCI_LAYER}")


def higress_first(shop: Workshop) -> None:
    higress_files(shop)
    shop.oras(f"plugin.tar.gz:{OCI_LAYER}", f"README.md:{HIGRESS}.doc.v1+markdown")


def higress_files(shop: Workshop) -> None:
    shop.file("spec.yaml", b"apiVersion: 1.0.0\ninfo: {name: plugin}\n")
    shop.file("README.md", b"# plugin\n")
    shop.file("plugin.tar.gz", packed(("plugin.wasm", shop.module)))


def chart(shop: Workshop) -> None:
    shop.helm()


CASES = [
    LayoutCase("push", "one tar+gzip layer (OCI)", "`pluginrelease push`", LOADED, pushed),
    LayoutCase("copy", "higress#4528's image, repacked", "`pluginrelease copy`", LOADED, copied),
    LayoutCase("docker", "`FROM scratch`, `COPY plugin.wasm ./`, Docker format", BUILDAH, LOADED, docker),
    LayoutCase("oci", "the same, OCI format", BUILDAH, LOADED, oci),
    LayoutCase("last-of-three", "three layers, plugin.wasm in the last", BUILDAH, LOADED, last_of_three),
    LayoutCase("not-last", "two layers, plugin.wasm in the first", BUILDAH, DENIED, not_last, "NoPluginWasm"),
    LayoutCase("another-name", "`COPY main.wasm ./`", BUILDAH, DENIED, another_name, "NoPluginWasm"),
    LayoutCase("in-a-folder", "`COPY plugin.wasm /opt/plugins/`", BUILDAH, LOADED, in_a_folder),
    LayoutCase("zstd", "layer compressed with zstd", BUILDAH, DENIED, zstd, "UnreadableLayout"),
    LayoutCase("for-arm", "one image, linux/arm64, no index", BUILDAH, LOADED, for_arm),
    LayoutCase("for-wasm", "one image, wasi/wasm, no index", BUILDAH, LOADED, for_wasm),
    LayoutCase("two-platforms", "index of linux/arm64 and linux/amd64", BUILDAH, LOADED, two_platforms),
    LayoutCase("arm-only", "index of linux/arm64 alone", BUILDAH, DENIED, arm_only, "NoUsablePlatform"),
    LayoutCase("by-skopeo", "copied as it is", "skopeo", LOADED, by_skopeo),
    LayoutCase("as-docker", "converted to Docker's format", "skopeo", LOADED, as_docker),
    LayoutCase("two-layers", "artifact: configuration and module as layers", ORAS, LOADED, two_layers),
    LayoutCase(
        "one-layer", "artifact: module as its one layer (higress#4528)", ORAS, DENIED, one_layer, "UnreadableLayout"
    ),
    LayoutCase("three-layers", "artifact with a README", ORAS, DENIED, three_layers, "UnreadableLayout"),
    LayoutCase("no-type", "`oras push REF plugin.wasm`, no media type", ORAS, DENIED, no_type, "UnreadableLayout"),
    LayoutCase("a-folder", "a folder as a tar+gzip layer", ORAS, LOADED, a_folder),
    LayoutCase("wasm-to-oci", "wasm-to-oci's media types", ORAS, DENIED, wasm_to_oci, "UnreadableLayout"),
    LayoutCase("cncf", "the CNCF's artifact (application/wasm)", ORAS, DENIED, cncf, "UnreadableLayout"),
    LayoutCase("higress", "Higress's: spec, README, plugin.tar.gz last", ORAS, LOADED, higress),
    LayoutCase("higress-first", "the same, plugin.tar.gz first", ORAS, DENIED, higress_first, "UnreadableLayout"),
    LayoutCase("chart", "a chart with plugin.wasm in it", "helm", DENIED, chart, "UnreadableLayout"),
]
