"""Where the operator looks when it has rights in some namespaces only, and what it says of an entry out of reach."""

from __future__ import annotations

import pytest

from pluginrelease.api import PLURAL
from pluginrelease.core.apiserver.scope import Scope
from pluginrelease.core.errors import Refused
from pluginrelease.core.mesh import providers, reach, target
from pluginrelease.core.mesh.placement import placements
from tests.harness.releases import release

ALL, GATEWAYS, RELEASES = Scope(), Scope((), ("edge", "istio-ingress")), Scope(("team",), ())
NARROW = Scope(("team", "other"), ("edge",))


@pytest.mark.parametrize(
    ("scope", "releases", "plugins", "reason"),
    [
        (ALL, [None], [None], "one list of the cluster"),
        (RELEASES, [None], [None], "releases elsewhere may be on the same gateways"),
        (GATEWAYS, [None], ["edge", "istio-ingress"], "one list for each gateways' namespace"),
        (NARROW, ["team", "other"], ["edge"], "nothing of the cluster"),
    ],
)
def test_where_all_objects_of_a_kind_are(scope: Scope, releases: list[str], plugins: list[str], reason: str) -> None:
    """Releases are looked for where they are watched only if there is no right to look elsewhere."""
    assert [*scope.places(PLURAL)] == releases, reason
    assert [*scope.places("wasmplugins")] == [*scope.places("pods")] == plugins, reason


MESH = target.MeshSettings(istio_root_namespace="mesh-root")


@pytest.mark.parametrize(
    ("scope", "namespace", "reason"),
    [
        (ALL, "anywhere", None),
        (ALL, "mesh-root", None),
        (GATEWAYS, "edge", None),
        (GATEWAYS, "anywhere", "GatewayNamespaceNotWatched"),
        (GATEWAYS, "mesh-root", "RootNamespaceNotWatched"),
        (Scope((), ("mesh-root",)), "mesh-root", "RootNamespaceNotWatched"),
        (RELEASES, "anywhere", None),
    ],
)
def test_an_entry_out_of_reach_is_refused(scope: Scope, namespace: str, reason: str | None) -> None:
    """Istio's root namespace is out of reach of any list, also of one that has it: plugins there reach all others."""
    [placement] = placements(release(spec__gateways=[entry(namespace)]))
    where = providers.mesh_of(placement.spec).pods(placement.gateway, MESH)
    if reason is None:
        reach.check(placement, where, scope)
        return
    with pytest.raises(Refused) as raised:
        reach.check(placement, where, scope)
    assert raised.value.reason == reason
    assert namespace in raised.value.message
    assert raised.value.remedy


def entry(namespace: str) -> dict[str, object]:
    return {"name": "public", "namespace": namespace, "selector": {"matchLabels": {"istio": "gw"}}}
