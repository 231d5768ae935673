"""Find what is tried: a module with the release that a gateway would run it by."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.cli import _manifest
from pluginrelease.cli._access import explain_at_terminal
from pluginrelease.cli._look import find_module, refuse_no_target, split_folder_and_tag
from pluginrelease.core import compat, sources, wasm
from pluginrelease.core.artifact import image_manifests
from pluginrelease.core.artifact.image_manifests import Digest
from pluginrelease.core.compat import HIGRESS_ABI, Envoy, abi_rewrite
from pluginrelease.core.errors import Refused, ReleaseError
from pluginrelease.core.mesh import providers
from pluginrelease.core.rollout.candidate import Candidate
from pluginrelease.core.wasm import Module
from pluginrelease.edges.oci import layouts, registry
from pluginrelease.edges.oci.access import Access
from pluginrelease.edges.toolchain import builder

MANIFESTS = (".yaml", ".yml", ".json")
# files by which another language's source is recognized, and how it is built
OTHER_SOURCES = {
    "Cargo.toml": ("Rust", "cargo build --release --target wasm32-wasip1"),
    "package.json": ("AssemblyScript", "npm run asbuild"),
    "WORKSPACE": ("C++", "bazel build //…"),
    "CMakeLists.txt": ("C++", "cmake --build"),
    "build.zig": ("Zig", "zig build"),
}
MAX_CONFIG_BYTES = 1_500_000
STOCK = "stock Envoy runs it here. Higress's own Envoy may differ"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Overrides:
    """What options say about the plugin. None: what the release says, or the API's default."""

    config: dict[str, Any] | None = None
    name: str | None = None
    fail_strategy: str | None = None
    env: tuple[tuple[str, str], ...] = ()
    provider: str | None = None
    gateway: str | None = None
    release: str | None = None
    module: str | None = None


@dataclass(frozen=True)
class Subject:
    """What is tried. ``content``: the bytes for Envoy, which may be adapted from ``module``."""

    target: str
    candidate: Candidate
    content: bytes
    module: Module
    notes: tuple[str, ...] = ()


def find(target: str, given: Overrides, envoy: Envoy, access: Access, say: Say) -> Subject:
    """Return what a target is. Raises `ReleaseError` for what cannot be read, built or adapted."""
    release = read_release(target, given.release)
    source = given.module or ("" if release is not None else target)
    found = _find_bytes(source, access, say) if source else _fetch(release, access)
    module = wasm.read(found.content)
    made = release or make_release(target, found.digest, _guess_provider(module, given))
    made = _override(made, given)
    placement = _manifest.choose_placements(made, given.gateway)[0]
    providers.check(placement)
    content, notes = _adapt(found.content, module, envoy, made.spec.provider)
    artifact = _make_artifact(made, found.digest)
    return Subject(target, Candidate(placement, artifact), content, module, notes)


def read_release(target: str, name: str | None) -> api.Release | None:
    """Return the release of a manifest; None if the target is none."""
    if target != "-" and not (target.endswith(MANIFESTS) and Path(target).is_file()):
        return None
    return _manifest.load(Path(target), name, "default")


def read_config(text: str) -> dict[str, Any]:
    """Return a configuration: the text of a JSON or YAML object, or the name of a file with one, as ``@FILE``.

    Raises `Refused` (InvalidManifest).
    """
    try:
        if text.startswith("@"):
            with Path(text[1:]).open(encoding="utf-8") as file:
                text = file.read(MAX_CONFIG_BYTES)
        found = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise Refused(Reason.INVALID_MANIFEST, f"the configuration cannot be read: {error}", CONFIG) from None
    if not isinstance(found, dict):
        raise Refused(Reason.INVALID_MANIFEST, "the configuration is no object", CONFIG)
    return found


CONFIG = "Write a JSON or YAML object, or @FILE with one."


@dataclass(frozen=True)
class _Bytes:
    content: bytes
    digest: str


def _find_bytes(target: str, access: Access, say: Say) -> _Bytes:
    path = Path(target)
    if path.is_file():
        return _as_bytes(find_module(path, access.max_bytes))
    if (layout := split_folder_and_tag(target)) is not None:
        image = layouts.open_layout(*layout)
        return _Bytes(image.module()[1], str(image.digest))
    if path.is_dir():
        return _build(path, say)
    if target.endswith(".wasm") or target.startswith((".", "/")):
        raise refuse_no_target(target)
    return _pull(target, access)


def _as_bytes(content: bytes) -> _Bytes:
    return _Bytes(content, str(Digest.of(content)))


def _build(folder: Path, say: Say) -> _Bytes:
    """Build Go source. Raises `Refused` (SourceMissing) for another language, with its command."""
    for name, (language, command) in OTHER_SOURCES.items():
        if (folder / name).is_file() and not any(folder.glob("*.go")):
            raise Refused(
                Reason.SOURCE_MISSING,
                f"{folder} has a {name}, so its source is {language}, and only Go source is built here",
                f"Build it (`{command}`), and name the .wasm file.",
            )
    with tempfile.TemporaryDirectory(prefix="pluginrelease-build-") as place:
        built = builder.compile_go(
            folder, Path(place) / "plugin.wasm", tick=lambda seconds, _: say(f"compiling … {seconds:.0f} s")
        )
        say(f"built {folder} in {built.seconds:.1f} s with Go {built.go}")
        return _as_bytes(built.path.read_bytes())


def _pull(target: str, access: Access) -> _Bytes:
    reference = image_manifests.parse(target)
    try:
        digest = registry.resolve(reference, access).digest
        return _Bytes(registry.pull(reference.pinned(digest), access).wasm, str(digest))
    except ReleaseError as error:
        raise explain_at_terminal(error) from None


def _fetch(release: api.Release | None, access: Access) -> _Bytes:
    """Fetch the image of a release."""
    assert release is not None  # noqa: S101 - the caller has a release if it has no other source
    image = sources.find_image(release.spec.artifact)
    if image.semver:
        raise Refused(
            Reason.DIGEST_UNKNOWN,
            f"The release asks for {image.ref} in the range {image.semver}",
            "Name the module with --module IMAGE:TAG.",
        )
    return _pull(image.ref, replace(access, insecure=access.insecure or bool(image.insecure)))


def _guess_provider(module: Module, given: Overrides) -> str:
    only_higress = HIGRESS_ABI in module.abis and not any(abi in compat.ACCEPTED_ABIS for abi in module.abis)
    return given.provider or ("Higress" if only_higress else "Istio")


def make_release(target: str, digest: str, provider: str) -> api.Release:
    """Return a release for a module that has none: the API's defaults, and the name of the file or image."""
    stem = Path(target.split("@")[0].rstrip("/")).name.partition(":")[0].removesuffix(".wasm")
    name = re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")[:60].strip("-") or "plugin"
    namespace = "higress-system" if provider == "Higress" else "istio-system"
    entry: dict[str, Any] = {"name": "trial", "namespace": namespace, "objectName": name}
    if provider == "Istio":
        entry["selector"] = {"matchLabels": {"istio": "ingressgateway"}}
    manifest = {
        "apiVersion": api.API_VERSION,
        "kind": api.KIND,
        "metadata": {"name": name, "namespace": namespace, "uid": _manifest.UNKNOWN_UID},
        "spec": {
            "provider": provider,
            "artifact": {"image": {"ref": f"trial.example/{name}@{digest}"}},
            "gateways": [entry],
        },
        "status": {},
    }
    return api.Release.model_validate(manifest)


def _override(release: api.Release, given: Overrides) -> api.Release:
    plugin = release.spec.plugin
    env = [api.EnvironmentVariable(name=name, value=value) for name, value in given.env]
    changes: dict[str, Any] = {
        "config": given.config,
        "name": given.name,
        "fail_strategy": None if given.fail_strategy is None else api.FailStrategy(given.fail_strategy),
        "env": [*[old for old in plugin.env or [] if old.name not in dict(given.env)], *env] or None,
    }
    fresh = plugin.model_copy(update={name: value for name, value in changes.items() if value is not None})
    return release.model_copy(update={"spec": release.spec.model_copy(update={"plugin": fresh})})


def _make_artifact(release: api.Release, digest: str) -> api.ArtifactStatus:
    ref = sources.find_image(release.spec.artifact).ref
    repository = image_manifests.parse_repository(ref)
    return _manifest.make_pinned(repository, Digest.parse(digest), ref)


def _adapt(content: bytes, module: Module, envoy: Envoy, provider: str) -> tuple[bytes, tuple[str, ...]]:
    """Return bytes that stock Envoy loads, and what may be different in Higress.

    Raises `Refused` for a module that needs functions that only Higress has.
    """
    accepted = any(abi in compat.ACCEPTED_ABIS for abi in module.abis)
    if accepted or HIGRESS_ABI not in module.abis:
        return content, (STOCK,) if provider == "Higress" else ()
    adapted = abi_rewrite.adapt(content, envoy)
    own = "the module has Higress's own ABI 0.2.100, and an adapted copy is tried, as `pluginrelease adapt` makes it"
    return adapted.content, (own, *adapted.differences)
