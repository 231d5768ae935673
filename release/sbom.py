"""The Python packages of the operator's image as CycloneDX 1.6, from the lock that the image is built from.

The lock has each file's hash; the installed packages have licences and dependencies. The base image's system packages
are not included: BuildKit lists those when it builds.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

JSON = dict[str, Any]

CHECKOUT = Path(__file__).resolve().parents[1]
LOCK = CHECKOUT / "requirements" / "operator.txt"
NAME = "pluginrelease-operator"
PIN = re.compile(
    r"^([A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?==([^\s;\\]+)(?: *; *([^\\\n]+?))? *\\\n"
    r"((?:[ ]+--hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)",
    re.MULTILINE,
)
LONGEST_LICENCE = 64
"""Characters of a licence; some packages put the whole text into the field."""


@dataclass(frozen=True)
class Pin:
    """One package of a lock. ``hashes``: SHA-256 of its files. ``marker``: where it is installed."""

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]

    @property
    def purl(self) -> str:
        """Return its package URL, which the document also uses as its id."""
        return f"pkg:pypi/{canonicalize_name(self.name)}@{self.version}"


def read_lock(text: str) -> list[Pin]:
    """Return every pin in the lock's order. Raises ValueError if a line that looks like a pin cannot be read."""
    found = [
        Pin(name, version, marker, tuple(re.findall(r"sha256:([0-9a-f]{64})", hashes)))
        for name, version, marker, hashes in PIN.findall(text)
    ]
    if len(found) != len(re.findall(r"^[A-Za-z0-9]", text, re.MULTILINE)):
        raise ValueError("the lock has a line that is neither a pin with hashes nor a comment")
    return found


def document(pins: Sequence[Pin], version: str) -> JSON:
    """Return the bill of materials. The same lock and version give the same bytes."""
    root = f"pkg:pypi/{NAME}@{version}"
    stamp = hashlib.sha256(repr((version, pins)).encode()).hexdigest()
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, stamp)}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": root,
                "name": NAME,
                "version": version,
                "purl": root,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            }
        },
        "components": [component(pin) for pin in pins],
        "dependencies": list(dependencies(pins, root)),
        "compositions": [{"aggregate": "complete", "dependencies": [root]}],
    }


def component(pin: Pin) -> JSON:
    """Return one package. Its files' hashes are in a reference, because a version has a file for each platform."""
    hashes = [{"alg": "SHA-256", "content": digest} for digest in pin.hashes]
    files = {"type": "distribution", "url": pin.purl, "comment": "the files that the lock admits", "hashes": hashes}
    found: JSON = {"type": "library", "bom-ref": pin.purl, "name": pin.name, "version": pin.version, "purl": pin.purl}
    if licence := licence_of(pin):
        found["licenses"] = [licence]
    found["externalReferences"] = [files]
    if pin.marker:
        found |= {"scope": "optional", "properties": [{"name": "pluginrelease:marker", "value": pin.marker}]}
    return found


def metadata_of(pin: Pin) -> importlib.metadata.PackageMetadata | None:
    """Return the installed package's metadata; None if its marker excludes this platform."""
    try:
        found = importlib.metadata.metadata(pin.name)
    except importlib.metadata.PackageNotFoundError:
        return None
    return found if found["Version"] == pin.version else None


def licence_of(pin: Pin) -> JSON | None:
    """Return its licence: an SPDX expression if it has one, otherwise its own text."""
    metadata = metadata_of(pin)
    if metadata is None:
        return None
    if "License-Expression" in metadata:
        return {"expression": metadata["License-Expression"]}
    classified = [line for line in metadata.get_all("Classifier") or [] if line.startswith("License :: ")]
    own = metadata["License"].strip() if "License" in metadata else ""
    words = classified[0].rpartition(" :: ")[2] if classified else own
    return {"license": {"name": words}} if words and len(words) <= LONGEST_LICENCE else None


def dependencies(pins: Sequence[Pin], root: str) -> Iterator[JSON]:
    """Yield what the operator needs, and what each package needs of the others; extras count as in the lock."""
    known = {canonicalize_name(pin.name): pin.purl for pin in pins}
    yield {"ref": root, "dependsOn": sorted(needed(importlib.metadata.requires(NAME) or [], known))}
    for pin in pins:
        asked = importlib.metadata.requires(pin.name) or [] if metadata_of(pin) else []
        yield {"ref": pin.purl, "dependsOn": sorted(needed(asked, known) - {pin.purl})}


def needed(requirements: Sequence[str], known: dict[Any, str]) -> set[str]:
    """Return the packages of the lock that are required."""
    names = {canonicalize_name(Requirement(text).name) for text in requirements}
    return {known[name] for name in names if name in known}


def differences(found: JSON, pins: Sequence[Pin]) -> list[str]:
    """Return the differences of the document from the lock: a package, a version, or a hash."""
    listed = {
        (each["name"], each["version"]): {
            entry["content"] for reference in each["externalReferences"] for entry in reference["hashes"]
        }
        for each in found["components"]
    }
    locked = {(pin.name, pin.version): set(pin.hashes) for pin in pins}
    said = [f"{name} {version}: not in the document" for name, version in sorted(locked.keys() - listed.keys())]
    said += [f"{name} {version}: not in the lock" for name, version in sorted(listed.keys() - locked.keys())]
    both = sorted(locked.keys() & listed.keys())
    return said + [f"{key[0]} {key[1]}: other hashes" for key in both if locked[key] != listed[key]]


@click.command()
@click.option("--check", is_flag=True, help="Compare FILE with the lock instead of writing it.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def main(check: bool, file: Path) -> None:
    """Write the bill of materials of requirements/operator.txt to FILE."""
    pins = read_lock(LOCK.read_text(encoding="utf-8"))
    if not check:
        file.parent.mkdir(parents=True, exist_ok=True)
        version = importlib.metadata.version(NAME)
        file.write_text(json.dumps(document(pins, version), indent=1) + "\n", encoding="utf-8")
    elif found := differences(json.loads(file.read_text(encoding="utf-8")), pins):
        raise click.ClickException("; ".join(found))
    click.echo(f"{file}: {len(pins)} packages")


if __name__ == "__main__":
    main()
