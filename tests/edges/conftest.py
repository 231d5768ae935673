"""What several tests of the edges share: registries, an Envoy, and the CRD in the lab's API server."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from pluginrelease import api
from pluginrelease.cli import crd
from pluginrelease_lab import operator
from pluginrelease_lab.host import Lab
from tests.edges import plain_envoy, real_registry
from tests.edges.real_registry import Real

CRD_NAME = f"crd/{api.PLURAL}.{api.GROUP}"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    """A registry that lets everybody in."""
    with real_registry.running(tmp_path_factory.mktemp("plain")) as real:
        yield real


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Real]:
    """A registry with a password, and with the realm that the module calls REALM, if it does."""
    realm = getattr(request.module, "REALM", real_registry.REALM)
    with real_registry.guarded(tmp_path_factory.mktemp("private"), realm) as real:
        yield real


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[plain_envoy.Gateway]:
    """One Envoy for all tests of a file; each has a listener of its own."""
    with plain_envoy.running(tmp_path_factory.mktemp("envoy")) as one:
        yield one


@pytest.fixture(scope="module")
def cluster(lab: Lab, request: pytest.FixtureRequest) -> Lab:
    """The lab with the CRD, and with the namespace that the module calls NAMESPACE; that stays, for other modules."""
    lab.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=crd.text())
    lab.kubectl("wait", operator.ESTABLISHED, "--timeout=30s", CRD_NAME)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": request.module.NAMESPACE}}
    lab.kubectl("apply", "-f", "-", stdin=json.dumps(namespace))
    return lab
