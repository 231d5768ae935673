"""The chart of a release: packaged, pushed to a real registry, and installed from there."""

from __future__ import annotations

import json
import tarfile
from typing import Any

import pytest
import yaml

import pluginrelease
from pluginrelease_lab import Lab, operator
from release import chart
from release.chart import PublishedImage
from tests.edges import scheduling
from tests.release.conftest import IMAGE, SOURCE, PublishedChart

NAMESPACE = "from-registry"
FROM = ("--version", pluginrelease.__version__, "--plain-http")


def inside(published: PublishedChart, name: str) -> Any:
    """A YAML file of the archive."""
    with tarfile.open(published.archive) as archive:
        found = archive.extractfile(f"pluginrelease/{name}")
        assert found
        return yaml.safe_load(found.read())


def test_it_names_its_own_image(published: PublishedChart) -> None:
    """The defaults have repository and digest, and nothing else is other than in the checkout."""
    values = inside(published, "values.yaml")
    assert (values["image"]["repository"], values["image"]["digest"]) == (IMAGE.repository, IMAGE.digest)
    values["image"] |= {"repository": "pluginrelease-operator", "digest": ""}
    assert values == yaml.safe_load((chart.CHART / "values.yaml").read_text())


def test_a_catalogue_finds_what_it_shows(published: PublishedChart) -> None:
    """Home, image, links and whether it is a prerelease; and what was there stays."""
    about = inside(published, "Chart.yaml")
    notes = about["annotations"]
    assert (about["home"], about["sources"]) == (SOURCE, [SOURCE])
    assert yaml.safe_load(notes["artifacthub.io/images"]) == [{"name": "operator", "image": str(IMAGE)}]
    [install, *_] = yaml.safe_load(notes["artifacthub.io/links"])
    assert install["url"] == f"{SOURCE}/blob/v{pluginrelease.__version__}/docs/install.md"
    assert notes["artifacthub.io/prerelease"] == "false"
    assert "artifacthub.io/crds" in notes


def test_the_page_of_a_link_is_there(published: PublishedChart) -> None:
    """Each link leads to a file of the checkout."""
    for link in yaml.safe_load(inside(published, "Chart.yaml")["annotations"]["artifacthub.io/links"]):
        assert (chart.CHECKOUT / link["url"].partition("/blob/")[2].partition("/")[2]).is_file()


@pytest.mark.parametrize("digest", ["", "latest", "sha256:abc"])
def test_an_image_without_a_digest_is_refused(digest: str) -> None:
    """A chart that names a tag would install another image tomorrow."""
    with pytest.raises(ValueError, match="digest"):
        PublishedImage("registry.example.com/a", digest)


def test_values_of_another_shape_are_refused() -> None:
    """The image is never left out without a word."""
    with pytest.raises(ValueError, match=r"no image\.repository"):
        chart.pin("picture:\n  repository: a\n  digest: b\n", IMAGE)


def test_it_is_pulled_as_it_was_pushed(published: PublishedChart) -> None:
    """The registry has the digest that the push printed, which is what is signed."""
    said = operator.helm("show", "chart", f"oci://{published.repository}@{published.digest}", "--plain-http")
    assert yaml.safe_load(said)["version"] == pluginrelease.__version__


def test_it_is_installed_from_the_registry(lab: Lab, published: PublishedChart) -> None:
    """`helm install oci://…` brings a pod of the image that the chart names; an uninstall takes it away.

    It has a name of its own: its uninstall would take the rights of an operator that runs on the same lab.
    """
    where = ["--namespace", NAMESPACE, "--kubeconfig", lab.kubeconfig]
    lab.kubectl("create", "namespace", NAMESPACE)
    with scheduling.running(lab, NAMESPACE):
        adopting = ["--take-ownership", "--force-conflicts", "--wait", "--timeout=50s"]
        operator.helm("install", NAMESPACE, f"oci://{published.repository}", *FROM, *adopting, *where)
    [pod] = json.loads(lab.kubectl("get", "pods", "-n", NAMESPACE, "-o", "json"))["items"]
    assert pod["spec"]["containers"][0]["image"] == str(IMAGE)
    operator.helm("uninstall", NAMESPACE, "--wait", "--cascade=foreground", *where)
    assert lab.kubectl("get", "deployments", "-n", NAMESPACE, "-o", "name") == ""
    lab.kubectl("delete", "namespace", NAMESPACE, "--wait=false")
