"""SECURITY.md says what is so: the rights are those of the chart, and what it tells a reader to run is made."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
PAGE = (CHECKOUT / "SECURITY.md").read_text(encoding="utf-8")
ROLE = CHECKOUT / "charts/pluginrelease/templates/clusterrole.yaml"


def granted() -> set[str]:
    """The resources of the operator's role, as the template has them."""
    lines = [line for line in ROLE.read_text().splitlines() if line.strip().startswith("resources:")]
    return {name for line in lines for name in yaml.safe_load(line)["resources"]}


def test_every_right_is_explained() -> None:
    """Each resource that the role names is in the page's table; a new right needs its reason here."""
    [table] = re.findall(r"## What the operator may do\n(.*?)\n## ", PAGE, re.DOTALL)
    words = {"customresourcedefinitions": "CRDs", "pluginreleases/status": "their status"}
    missing = [name for name in granted() if words.get(name, name).lower() not in table.lower()]
    assert missing == []


def test_the_page_names_the_workflow_that_signs() -> None:
    """The identity that a reader asks cosign for is the workflow that signs, started by the tags that start it."""
    [identity] = set(re.findall(r"--certificate-identity-regexp '([^']+)'", PAGE))
    signed_by = "https://github.com/acme/pluginrelease/.github/workflows/release.yaml@refs/tags/v0.1.0"
    assert re.match(identity.replace("OWNER", "acme"), signed_by)
    for other in ("ci.yaml@refs/tags/v0.1.0", "release.yaml@refs/heads/main"):
        assert not re.match(
            identity.replace("OWNER", "acme"), signed_by.replace("release.yaml@refs/tags/v0.1.0", other)
        )
    assert not re.match(identity.replace("OWNER", "acme"), signed_by.replace("acme", "evil"))


def test_what_is_verified_is_made() -> None:
    """Image, chart, list and SBOM carry the names that the workflow gives them."""
    workflow = (CHECKOUT / ".github/workflows/release.yaml").read_text(encoding="utf-8")
    for name in ("/pluginrelease-operator", "dist/pluginrelease-operator.cdx.json", "dist/SHA256SUMS", "/charts"):
        assert name in workflow
        assert name.removeprefix("dist/") in PAGE
