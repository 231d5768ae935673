"""The walls between modules: each contract of import-linter in pyproject.toml holds what its name says."""

from __future__ import annotations

import ast
import itertools
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
SOURCE = CHECKOUT / "operator" / "pluginrelease"
LAB = CHECKOUT / "lab" / "pluginrelease_lab"
CONTRACTS = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]

# what core may take from Python: nothing of it acts, asks the time or waits
PURE = {
    *("__future__", "abc", "array", "base64", "binascii", "bisect", "collections", "contextlib", "copy", "dataclasses"),
    *("datetime", "decimal", "enum", "fractions", "functools", "hashlib", "heapq", "hmac", "io", "ipaddress"),
    *("itertools", "json", "math", "operator", "posixpath", "re", "statistics", "string", "struct", "tarfile"),
    *("textwrap", "types", "typing", "unicodedata", "urllib", "zlib"),
}

# for each contract an import, in a module that there is or in a new one, that breaks it
LAYERS = "the packages are layers: each imports only what is below it"
CORE = "the packages of the core are layers"
CONTROLLER = "the modules of the controller are layers"
EDGES = "each outside world has an edge of its own"
CIRCLES = "nothing imports in a circle"
OFFENCES = [
    (LAYERS, "core/rollout/plan.py", "from pluginrelease.controller import reading"),
    (LAYERS, "core/new.py", "from pluginrelease.edges import cel"),
    (LAYERS, "edges/new.py", "from pluginrelease.controller import artifacts"),
    (LAYERS, "api/new.py", "from pluginrelease.core import errors"),
    (LAYERS, "new.py", ""),
    (CORE, "core/gateway/logs.py", "from pluginrelease.core.rollout import plan"),
    (CORE, "core/new.py", ""),
    (CONTROLLER, "controller/looking.py", "from pluginrelease.controller import preflight"),
    (CONTROLLER, "controller/steps.py", "from pluginrelease.controller.actions import observe"),
    (CONTROLLER, "controller/new.py", ""),
    (EDGES, "edges/envoy/tunnel.py", "from pluginrelease.edges.kubernetes import client"),
    (EDGES, "edges/new.py", ""),
    (CIRCLES, "core/gateway/logs.py", "from pluginrelease.core.gateway import observations"),
    (CIRCLES, "../pluginrelease_lab/blueprint.py", "from pluginrelease_lab import gateway"),
    ("the operator never needs the lab", "cli/run.py", "from pluginrelease.cli import demo"),
    ("of the command line, only the lab's own subcommands need it", "cli/new.py", "from pluginrelease_lab import host"),
    ("core is pure: no I/O, no clock, no logging", "core/new.py", "import time"),
    ("registries: oras only in distribution", "edges/envoy/tunnel.py", "import oras.client"),
    (
        "registries: requests only in the edge of registries, and for the lab's downloads",
        "edges/new.py",
        "import requests",
    ),
    (
        "registries: requests only in the edge of registries, and for the lab's downloads",
        "controller/artifacts.py",
        "import urllib3",
    ),
    ("the API server: the kubernetes client only in login", "edges/envoy/admin.py", "from kubernetes import client"),
    (
        "the API server's events: kopf only in handlers and the command that starts it",
        "controller/context.py",
        "import kopf",
    ),
    (
        "signatures: cryptography, sigstore and RE2 only in signatures",
        "core/registry/transport.py",
        "from cryptography import x509",
    ),
    ("signatures: cryptography, sigstore and RE2 only in signatures", "edges/new.py", "import re2"),
    ("gateways: h11 and ijson only where pods are asked through the API server", "edges/oci/registry.py", "import h11"),
    (
        "the API server and gateways: aiohttp only in their edges and in the lab",
        "edges/oci/registry.py",
        "import aiohttp",
    ),
    ("Prometheus: its client only in metrics", "controller/measuring.py", "import prometheus_client"),
    ("CEL only in cel", "core/offline/schema.py", "from cel_expr_python import cel"),
    (
        "programs are started only by the edges of toolchains and of a person's desk, and by the lab",
        "edges/oci/blobs.py",
        "import subprocess",
    ),
    ("networks are made only by the lab", "edges/envoy/admin.py", "from pyroute2 import IPRoute"),
    ("people: click only in commands", "controller/handlers.py", "import click"),
    ("core and edges log nothing: the shell does", "edges/kubernetes/client.py", "import structlog"),
    ("core and edges log nothing: the shell does", "edges/new.py", "import logging"),
    ("YAML only where it is read or written: commands, kubeconfigs, the lab", "core/rollout/plan.py", "import yaml"),
    ("ranges of versions only in tag", "core/compat/hosts.py", "import nodesemver"),
    ("models are made in api and core", "edges/oci/registry.py", "import pydantic"),
]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The packages in a place of their own."""
    for package in (SOURCE, LAB):
        shutil.copytree(package, tmp_path / package.name, ignore=shutil.ignore_patterns("__pycache__", "tools"))
    shutil.copy(CHECKOUT / "pyproject.toml", tmp_path)
    return tmp_path


def broken(copy: Path) -> set[str]:
    """The contracts that import-linter finds broken there."""
    lint = Path(sys.executable).parent / "lint-imports"
    run = [str(lint), "--config", "pyproject.toml", "--no-cache"]
    environment = os.environ | {"COLUMNS": "200", "NO_COLOR": "1"}
    ended = subprocess.run(run, cwd=copy, env=environment, capture_output=True, text=True, timeout=60, check=False)
    found = {line.removesuffix(" BROKEN") for line in ended.stdout.splitlines() if line.endswith(" BROKEN")}
    assert (ended.returncode == 0) is (found == set()), ended.stdout + ended.stderr
    return found


def test_every_contract_is_broken_once() -> None:
    """No contract stands here only by its name, and each tells by its name which it is."""
    assert {name for name, _, _ in OFFENCES} == {contract["name"] for contract in CONTRACTS}
    assert len({contract["name"] for contract in CONTRACTS}) == len(CONTRACTS)


def test_the_copy_is_whole(copy: Path) -> None:
    """What is there breaks nothing, so that it is the offence that does."""
    assert broken(copy) == set()


@pytest.mark.parametrize(("name", "module", "line"), OFFENCES, ids=[f"{module} {line}" for _, module, line in OFFENCES])
def test_an_offence(copy: Path, name: str, module: str, line: str) -> None:
    """One import at a place where it must not be, within a function as well, and the contract is broken."""
    with (copy / SOURCE.name / module).open("a") as file:
        file.write(f"\n\ndef offend() -> None:\n    {line or 'pass'}\n")
    assert name in broken(copy)


def imported(folder: Path) -> Iterator[tuple[Path, str]]:
    """Every module of others that is imported below a folder, by the first part of its name."""
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            yield from ((path, name.partition(".")[0]) for name in names if not name.startswith(SOURCE.name))


def test_every_library_has_a_contract() -> None:
    """A library that is new somewhere is given the modules that may import it."""
    protected = set(itertools.chain.from_iterable(contract.get("protected_modules", ()) for contract in CONTRACTS))
    found = (*imported(SOURCE), *imported(LAB))
    libraries = {name for _, name in found if name not in sys.stdlib_module_names}
    assert libraries - protected == set()
    assert protected - libraries - set(sys.stdlib_module_names) == {"pluginrelease_lab"}


def test_core_takes_only_what_is_pure() -> None:
    """Of Python's own modules core imports those that are listed here, and the contract forbids none of them."""
    libraries = {"pydantic", "nodesemver"}
    assert [(path.name, name) for path, name in imported(SOURCE / "core") if name not in PURE | libraries] == []
    [forbidden] = [
        contract["forbidden_modules"] for contract in CONTRACTS if contract["name"].startswith("core is pure")
    ]
    assert PURE & set(forbidden) == set()


def test_core_does_not_ask() -> None:
    """No clock and no file either by a module that is pure but for that."""
    asks = {"now", "utcnow", "today", "urlopen", "open", "print", "input"}
    found = [
        (path.name, node.lineno)
        for path in sorted((SOURCE / "core").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and (getattr(node.func, "attr", None) or getattr(node.func, "id", "")) in asks
        if not any(keyword.arg == "fileobj" for keyword in node.keywords)  # a tar archive in memory
    ]
    assert found == []


def test_one_module_knows_the_kinds_of_source() -> None:
    """What is not the API itself asks `core.sources` for the image that a source comes to."""
    product = CHECKOUT / "operator" / "pluginrelease"
    asked = [
        f"{path.relative_to(product)}:{node.lineno}"
        for path in sorted(product.rglob("*.py"))
        if path.relative_to(product).parts[0] != "api" and path.name != "sources.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr == "image" and is_source(node.value)
    ]
    assert asked == []


def is_source(node: ast.expr) -> bool:
    """Whether an expression is ``….spec.artifact``, ``spec.artifact`` or ``source``."""
    match node:
        case ast.Attribute(value=ast.Attribute(attr="spec") | ast.Name(id="spec"), attr="artifact"):
            return True
        case ast.Name(id="source"):
            return True
    return False
