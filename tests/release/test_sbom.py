"""The bill of materials is the lock of the image, no more and no less."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import pluginrelease
from release import sbom
from tests.core import test_locks as locks

TEXT = sbom.LOCK.read_text(encoding="utf-8")
PINS = sbom.read_lock(TEXT)
DOCUMENT = sbom.document(PINS, pluginrelease.__version__)


def test_every_package_of_the_image_is_in_it() -> None:
    """What is installed on any Python and either architecture stands there with its version, and nothing else does."""
    installed = {pair for environment in locks.ENVIRONMENTS for pair in locks.pins("operator.txt", environment).items()}
    assert {(each["name"], each["version"]) for each in DOCUMENT["components"]} == installed


def test_every_hash_of_the_lock_is_in_it() -> None:
    """Each file that pip admits is one that the document has, under its package."""
    for pin, entry in zip(PINS, DOCUMENT["components"], strict=True):
        [files] = entry["externalReferences"]
        block = TEXT[TEXT.index(f"{pin.name}=={pin.version}") :].split("\n")
        count = next(number for number, line in enumerate(block[1:]) if "--hash" not in line)
        assert len(files["hashes"]) == count
        assert all(f"--hash=sha256:{each['content']}" in TEXT for each in files["hashes"])


def test_it_says_what_needs_what() -> None:
    """The operator needs kopf and not yarl's own needs; every reference leads to a component."""
    needs = {each["ref"]: each["dependsOn"] for each in DOCUMENT["dependencies"]}
    root = DOCUMENT["metadata"]["component"]["bom-ref"]
    assert any(ref.startswith("pkg:pypi/kopf@") for ref in needs[root])
    assert not any(ref.startswith("pkg:pypi/propcache@") for ref in needs[root])
    known = {each["bom-ref"] for each in DOCUMENT["components"]} | {root}
    assert set(needs) == known
    assert {ref for refs in needs.values() for ref in refs} <= known


def test_it_has_licences() -> None:
    """Nearly every package says under which licence it is."""
    silent = [each["name"] for each in DOCUMENT["components"] if "licenses" not in each]
    assert len(silent) <= 2
    by_name = {each["name"]: each.get("licenses") for each in DOCUMENT["components"]}
    assert by_name["pyyaml"] == [{"license": {"name": "MIT License"}}]


def test_the_same_lock_gives_the_same_bytes() -> None:
    """Nothing of the moment or the machine is in it; another version gives another document."""
    again = sbom.document(sbom.read_lock(TEXT), pluginrelease.__version__)
    assert json.dumps(again) == json.dumps(DOCUMENT)
    assert sbom.document(PINS, "9.9")["serialNumber"] != DOCUMENT["serialNumber"]


def test_what_is_written_passes_the_check(tmp_path: Path) -> None:
    """`--check` agrees with what was just written, and names what was changed since."""
    file = tmp_path / "sbom.json"
    assert CliRunner().invoke(sbom.main, [str(file)]).exit_code == 0
    assert CliRunner().invoke(sbom.main, ["--check", str(file)]).exit_code == 0
    file.write_text(file.read_text().replace(PINS[0].version, "0.0.1"))
    changed = CliRunner().invoke(sbom.main, ["--check", str(file)])
    assert changed.exit_code == 1
    assert f"{PINS[0].name} 0.0.1: " in changed.output


@pytest.mark.parametrize(("change", "said"), [("remove", "document"), ("hash", "hash")])
def test_a_difference_is_named(change: str, said: str) -> None:
    """A package that is missing, and a file with another hash."""
    found = copy.deepcopy(DOCUMENT)
    if change == "remove":
        del found["components"][3]
    else:
        found["components"][3]["externalReferences"][0]["hashes"][0]["content"] = "0" * 64
    [difference] = sbom.differences(found, PINS)
    assert difference.startswith(f"{PINS[3].name} {PINS[3].version}: ")
    assert said in difference


def test_a_line_that_is_not_read_is_refused() -> None:
    """A pin without hashes would be missing from the document without a word."""
    with pytest.raises(ValueError, match="pin"):
        sbom.read_lock(TEXT + "unhashed==1.0\n")
