"""What all tests share: a lab for each mesh, all session long; their programs are ready before any clock runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import pluginrelease_lab as labs
from pluginrelease.edges.toolchain import builder
from pluginrelease_lab import binaries, blueprint

ROOT = Path(__file__).resolve().parents[1]
NEEDED = (*blueprint.PROGRAMS, "kubectl", "helm")
READERS = ("kubectl", "kubeconform")
SIGNING = ("registry", "cosign", "cosign-2")


def pytest_collection_finish(session: pytest.Session) -> None:
    """A first run builds programs for minutes: outside of the tests' time limits, and telling what it does."""
    used = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    needed = (
        *(NEEDED if {"lab", "higress_lab"} & used else ()),
        *(SIGNING if "cosign" in used else ()),
        *(READERS if "readers" in used else ()),
    )
    if needed:
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        binaries.ensure(tuple(dict.fromkeys(needed)), report=reporter.write_line if reporter else print)


@pytest.fixture(scope="session")
def labs_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Where the session's labs are. Their logs stay in pytest's temporary directory."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLUGINRELEASE_LAB_DIR", str(tmp_path_factory.mktemp("labs")))
        yield


@pytest.fixture(scope="session")
def lab(labs_folder: None) -> Iterator[labs.Lab]:
    """A running lab with two gateways."""
    with labs.up(f"tests-{os.getpid()}", gateways=2) as running:
        yield running


@pytest.fixture(scope="session")
def higress_lab(labs_folder: None) -> Iterator[labs.Lab]:
    """Another one, where an installation of Higress has one gateway."""
    with labs.up(f"tests-higress-{os.getpid()}", gateways=1, mesh="higress") as running:
        yield running


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Builds a plugin of examples/ or tests/fixtures/plugins once in a session."""
    folder, done = tmp_path_factory.mktemp("plugins"), dict[str, Path]()

    def build(name: str) -> Path:
        if name not in done:
            [source] = [it for it in (ROOT / "examples" / name, ROOT / "tests/fixtures/plugins" / name) if it.exists()]
            done[name] = folder / f"{name}.wasm"
            builder.compile_go(source, done[name], deadline=300)
        return done[name]

    return build
