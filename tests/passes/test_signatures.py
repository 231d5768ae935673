"""A release that says who must have signed its image: nothing else gets to a gateway."""

from __future__ import annotations

from pathlib import Path

import pytest

from pluginrelease.core.artifact import image_manifests
from pluginrelease.edges.oci import registry
from pluginrelease.edges.oci.access import Access
from tests import wasm_modules
from tests.edges.real_cosign import Cosign, Form
from tests.edges.real_registry import Real
from tests.harness.cluster import GATEWAY_NAMESPACE, JSON, LabCluster, conditions, is_ready, observed, ready, unique


@pytest.fixture(scope="module")
def cosign(tmp_path_factory: pytest.TempPathFactory) -> Cosign:
    return Cosign(tmp_path_factory.mktemp("cosign"))


def key_secret(name: str, **keys: bytes) -> JSON:
    """A Secret of public keys."""
    data = {f"{key}.pub": pem.decode() for key, pem in keys.items()}
    metadata = {"name": name, "namespace": GATEWAY_NAMESPACE}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data}


def test_only_what_was_signed(cluster: LabCluster, cosign: Cosign, tmp_path: Path) -> None:
    """A signed image runs, and status names the key. An unsigned one is refused before any write, and what ran before
    goes on; signed, it is let through. Another policy is asked of what runs already, and a failed look at it takes
    nothing off."""
    name = unique("signed")
    secret = f"{name}-keys"
    place = image_manifests.parse(f"{cluster.lab.registry_host}/tests/{name}:1")
    ref = f"{cluster.lab.registry}/tests/{name}:1"

    def push(plugin: str) -> str:
        path = tmp_path / f"{plugin}.wasm"
        path.write_bytes(wasm_modules.answering(plugin))
        digest = registry.push(place, path, Access(insecure=True))
        return f"{place.name}@{digest}"

    def apply(**verify: JSON) -> None:
        source = {"image": {"ref": ref, "insecure": True}, "verify": verify}
        cluster.apply(cluster.manifest(name, ref, artifact=source))

    first = push(f"{name}-1")
    cosign.sign(first, "team", Form.BUNDLE_BY_3)
    apply(secretRef={"name": secret})
    cluster.await_reason(name, "VerificationSecretNotFound")
    cluster.apply(key_secret(secret, team=cosign.key("team")))
    cluster.retry(name)
    running = cluster.await_ready(name)
    known = running["status"]["artifact"]
    assert (first.partition("@")[2], "key team.pub") == (known["digest"], known["signer"])
    assert conditions(running)["Verified"]["reason"] == "Verified"
    cluster.await_answers(lambda status, headers, _: (status, headers.get("x-plugin")) == (200, f"{name}-1"))
    written = cluster.get("wasmplugin", GATEWAY_NAMESPACE, name)

    second = push(f"{name}-2")
    cluster.lab.kubectl("annotate", "prel", name, "-n", GATEWAY_NAMESPACE, "pluginrelease.io/retry=1", "--overwrite")
    refused = cluster.await_reason(name, "NotSigned")
    found = conditions(refused)
    assert (found["Stalled"]["status"], refused["status"]["phase"]) == ("True", "Refused")
    assert (found["Verified"]["status"], found["Applied"]["reason"]) == ("False", "NotReached")
    assert second.partition("@")[2] in found["Verified"]["message"]
    assert "signer" not in refused["status"]["artifact"]
    assert (
        cluster.get("wasmplugin", GATEWAY_NAMESPACE, name)["metadata"]["resourceVersion"]
        == (written["metadata"]["resourceVersion"])
    )
    cluster.await_answers(lambda status, headers, _: (status, headers.get("x-plugin")) == (200, f"{name}-1"))

    cosign.sign(second, "team", Form.TAG_BY_2)
    cluster.lab.kubectl("annotate", "prel", name, "-n", GATEWAY_NAMESPACE, "pluginrelease.io/retry=2", "--overwrite")
    cluster.await_release(
        name, lambda it: is_ready(it) and it["status"]["artifact"]["digest"] == second.partition("@")[2]
    )
    cluster.await_answers(lambda status, headers, _: (status, headers.get("x-plugin")) == (200, f"{name}-2"))

    cluster.apply(key_secret(f"{secret}-new", new=cosign.key("new")))
    apply(secretRef={"name": f"{secret}-new"})
    distrusted = cluster.await_reason(name, "UntrustedSigner")
    assert observed(distrusted)
    cluster.await_answers(lambda status, headers, _: (status, headers.get("x-plugin")) == (200, f"{name}-2"))
    cosign.sign(second, "new")
    cluster.lab.kubectl("annotate", "prel", name, "-n", GATEWAY_NAMESPACE, "pluginrelease.io/retry=3", "--overwrite")
    trusted = cluster.await_release(
        name, lambda it: is_ready(it) and it["status"]["artifact"].get("signer") == "key new.pub"
    )
    assert trusted["status"]["stableRevision"] == distrusted["status"]["stableRevision"]
    assert ready(trusted)["status"] == "True"

    wish = f"pluginrelease.io/rollback-to={running['status']['stableRevision']}"
    cluster.lab.kubectl("annotate", "prel", name, "-n", GATEWAY_NAMESPACE, wish)
    back = cluster.await_reason(name, "UntrustedSigner")
    assert first.partition("@")[2] in conditions(back)["Verified"]["message"], "an old revision, by today's policy"
    cluster.await_answers(lambda status, headers, _: (status, headers.get("x-plugin")) == (200, f"{name}-2"))


def test_an_index_that_was_signed(cluster: LabCluster, cosign: Cosign, tmp_path: Path) -> None:
    """The index that the tag names carries the signature: it is remembered beside the digest that runs, so that another
    policy can be asked of that digest later."""
    name = unique("multi")
    place = image_manifests.parse(f"{cluster.lab.registry_host}/tests/{name}:amd64")
    path = tmp_path / "plugin.wasm"
    path.write_bytes(wasm_modules.answering(name))
    child = registry.push(place, path, Access(insecure=True))
    entry = {"mediaType": image_manifests.OCI_MANIFEST, "digest": str(child), "size": 401}
    index = Real(cluster.lab.registry_host).manifest(
        place.repository, "1", image_manifests.OCI_INDEX, {"manifests": [entry]}
    )
    cosign.sign(f"{place.name}@{index}", "team")

    ref = f"{cluster.lab.registry}/tests/{name}:1"
    for secret in (f"{name}-keys", f"{name}-same-keys"):
        cluster.apply(key_secret(secret, team=cosign.key("team")))
        source = {"image": {"ref": ref, "insecure": True}, "verify": {"secretRef": {"name": secret}}}
        cluster.apply(cluster.manifest(name, ref, artifact=source))
        known = cluster.await_ready(name)["status"]["artifact"]
        assert (known["digest"], known["index"], known["signer"]) == (str(child), index, "key team.pub")
    assert str(index) in conditions(cluster.release(name))["Verified"]["message"]


def test_what_is_asked_without_a_way_to_tell(cluster: LabCluster, tmp_path: Path) -> None:
    """A keyless policy where nobody gave a trusted root is refused with the remedy, one that asks for nothing by the
    API server itself."""
    name = unique("keyless")
    ref = cluster.push(wasm_modules.answering(name), tmp_path)
    image = {"ref": ref, "insecure": True}
    identity = {"issuer": "https://issuer.example", "subject": "https://team/.*"}
    cluster.apply(cluster.manifest(name, ref, artifact={"image": image, "verify": {"matchOIDCIdentity": [identity]}}))
    told = cluster.await_reason(name, "TrustedRootMissing")
    assert "--trusted-root" in ready(told)["message"]
    assert cluster.get("wasmplugin", GATEWAY_NAMESPACE, name) is None
    with pytest.raises(Exception, match="set secretRef"):
        cluster.apply(
            cluster.manifest(unique("empty"), ref, artifact={"image": image, "verify": {"provider": "cosign"}})
        )
