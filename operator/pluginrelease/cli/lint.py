"""``pluginrelease lint``: check manifests in a pipeline like the API server."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click
import yaml

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.cli import _signed
from pluginrelease.cli._access import with_registry_options
from pluginrelease.cli._look import look
from pluginrelease.cli._signed import Signers
from pluginrelease.cli._view import make_readable
from pluginrelease.cli.inspect import for_option
from pluginrelease.core.compat.gateway_versions import Meant
from pluginrelease.core.errors import Refused
from pluginrelease.core.mesh import providers
from pluginrelease.core.mesh.placement import Placement, placements
from pluginrelease.core.offline import manifest, schema
from pluginrelease.core.offline.inspection import Usability
from pluginrelease.core.offline.schema import Fault
from pluginrelease.core.rollout import placements as carried
from pluginrelease.core.wording import count_noun
from pluginrelease.edges import cel, documents
from pluginrelease.edges.documents import Document
from pluginrelease.edges.oci.access import Access

MAX_FILE_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Flaw:
    """One finding: a line of the file, a field, and why it is wrong."""

    line: int
    release: str
    path: str
    reason: Reason
    message: str


@dataclass
class Linted:
    """One file: its number of PluginReleases and of other objects, and its findings."""

    file: str
    releases: int = 0
    skipped: int = 0
    answer: Usability = Usability.USABLE
    findings: list[Flaw] = field(default_factory=list)
    warnings: list[Flaw] = field(default_factory=list)

    def add(self, answer: Usability, *findings: Flaw) -> None:
        """Add findings. A refusal outweighs a check that was not possible."""
        self.findings += findings
        if self.answer is not Usability.REFUSED and answer is not Usability.USABLE:
            self.answer = answer

    def as_json(self) -> dict[str, Any]:
        return {
            "file": self.file,
            "ok": self.answer is Usability.USABLE,
            "releases": self.releases,
            "skipped": self.skipped,
            "findings": [vars(finding) for finding in self.findings],
            "warnings": [vars(warning) for warning in self.warnings],
        }


@dataclass(frozen=True)
class Online:
    """How to check the images as well."""

    access: Access
    meant: Meant | None
    signers: Signers


@click.command("lint")
@click.argument("files", metavar="FILE…", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True))
@click.option("--online", is_flag=True, help="Also inspect each release's image.")
@for_option
@click.option(
    "--key",
    "keys",
    type=click.Path(path_type=Path, dir_okay=False),
    multiple=True,
    help="A public key of the Secret in artifact.verify.secretRef. Repeatable.",
)
@click.option(
    "--trusted-root",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A trusted_root.json, for artifact.verify without keys.",
)
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@with_registry_options
def lint(
    files: tuple[Path, ...],
    online: bool,
    meant: Meant | None,
    keys: tuple[Path, ...],
    trusted_root: Path | None,
    output: str,
    access: Access,
) -> None:
    """Check the PluginReleases in YAML or JSON files; "-" is stdin.

    The command checks schema, CEL rules and unknown fields like the API server, and configurations like the operator.
    It finds what tools read differently in a configuration, such as an unquoted "on".
    It counts objects of other kinds and skips them.

    Exit codes: 0: no findings, 1: there are findings, 2: something could not be checked.
    """
    if meant is not None and not online:
        raise click.UsageError("--for checks images: add --online")
    if (keys or trusted_root) and not online:
        raise click.UsageError("--key and --trusted-root check images: add --online")
    looked = Online(access, meant, Signers(keys, trusted_root)) if online else None
    seen = [lint_file(file, looked) for file in files]
    if output == "json":
        click.echo(json.dumps([linted.as_json() for linted in seen], indent=2, ensure_ascii=False))
    else:
        for line in lines(seen):
            click.echo(make_readable(line))
    answers = {linted.answer for linted in seen}
    sys.exit(
        next(
            (usability for usability in (Usability.REFUSED, Usability.NOT_LOOKED) if usability in answers),
            Usability.USABLE,
        )
    )


def lines(seen: list[Linted]) -> Iterator[str]:
    """Yield the report for people: one line per finding in a compiler's form, and one with counts."""
    for linted in seen:
        yield from (line(linted.file, found) for found in linted.findings)
        yield from (line(linted.file, found, "warning: ") for found in linted.warnings)
    releases, skipped = sum(linted.releases for linted in seen), sum(linted.skipped for linted in seen)
    wrong, odd = sum(len(linted.findings) for linted in seen), sum(len(linted.warnings) for linted in seen)
    counts = [count_noun(releases, "PluginRelease"), f"{count_noun(skipped, 'other object')} not checked"]
    counts += [count_noun(wrong, "finding"), *([count_noun(odd, "warning")] if odd else [])]
    yield ", ".join(counts)


def line(file: str, found: Flaw, kind: str = "") -> str:
    """Return one finding as a line."""
    where = f"{found.release}: " if found.release else ""
    field = f"{found.path}: " if found.path else ""
    return f"{file}:{found.line}: {where}{field}{kind}{found.message} ({found.reason})"


def lint_file(file: Path, online: Online | None) -> Linted:
    """Check one file."""
    result = Linted(str(file))
    try:
        for document in documents.read(read_text(file)):
            if not manifest.is_release(document.value):
                result.skipped += 1
                continue
            result.releases += 1
            judge_document(document, result)
            if online is not None:
                inspect(document, result, online)
    except (OSError, UnicodeDecodeError, Refused) as error:
        told = error.sentence() if isinstance(error, Refused) else f"it cannot be read: {error}"
        reason = error.reason if isinstance(error, Refused) else Reason.TARGET_NOT_FOUND
        result.add(Usability.NOT_LOOKED, Flaw(1, "", "", reason, told))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        told = getattr(error, "problem", None) or str(error)
        result.add(
            Usability.REFUSED,
            Flaw(mark.line + 1 if mark else 1, "", "", Reason.INVALID_MANIFEST, f"it is no YAML: {told}"),
        )
    return result


def read_text(file: Path) -> str:
    """Return the content of a file. Raises OSError, UnicodeDecodeError, or `Refused` if it is too large."""
    with click.open_file(str(file), encoding="utf-8") as stream:
        text: str = stream.read(MAX_FILE_BYTES + 1)
    if len(text) > MAX_FILE_BYTES:
        raise Refused(Reason.INVALID_MANIFEST, f"{file} is larger than {MAX_FILE_BYTES} characters", "Split it.")
    return text


def judge_document(document: Document, result: Linted) -> None:
    """Add what the API server would refuse."""
    faults = (*document.faults, *manifest.find_faults(document.value, cel.matches, cel.find_violation))
    told = [
        Flaw(document.line(fault.path), title(document), fault.place, Reason.INVALID_MANIFEST, fault.message)
        for fault in faults
    ]
    told += () if told else find_later_refusals(document)
    told += judge_spelling(document, result)
    if told:
        result.add(Usability.REFUSED, *sorted(told, key=lambda finding: finding.line))


def judge_spelling(document: Document, result: Linted) -> list[Flaw]:
    """Return what kubectl and Flux read differently; warn of what other readers do.

    Only where a field takes any value: the schema says of all others what they are.
    """
    findings: list[Flaw] = []
    for path, found in document.ambiguous:
        if schema.is_open(manifest.object_schema(), path):
            place = Fault(path, "").place
            flaw = Flaw(document.line(path), title(document), place, Reason.AMBIGUOUS_YAML, found.message)
            (findings if found.between_deployers else result.warnings).append(flaw)
    return findings


def find_later_refusals(document: Document) -> Iterator[Flaw]:
    """Yield what the operator refuses although the API server accepts it, as far as this needs no cluster."""
    entries, told = document.value["spec"]["gateways"], set[str]()
    for number, entry in enumerate(entries):
        own = {"name": "", "namespace": entry["namespace"], "uid": "", **document.value["metadata"]}
        release = api.Release.model_validate({**document.value, "metadata": own, "status": {}})
        placement = placements(release)[number]
        yield from find_shared_object(document, placement, number)
        try:
            providers.check(placement)
        except Refused as error:
            if error.sentence() not in told:
                line = document.line(("spec", "plugin"))
                yield Flaw(line, title(document), "spec.plugin", error.reason, error.sentence())
            told.add(error.sentence())


def find_shared_object(document: Document, placement: Placement, number: int) -> Iterator[Flaw]:
    """Yield a finding if an earlier entry has the same object: a default name can equal an explicit one."""
    namespace, name = carried.object_place(placement)
    for other in placements(placement.release)[:number]:
        if carried.object_place(other) == (namespace, name):
            path = ("spec", "gateways", number)
            text = (
                f"Invalid value: entries {other.name} and {placement.name} would both write {namespace}/{name}: give "
                "each an objectName of its own"
            )
            yield Flaw(document.line(path), title(document), f"spec.gateways[{number}]", Reason.INVALID_MANIFEST, text)
            return


def title(document: Document) -> str:
    """Return namespace and name, as far as the document has them."""
    metadata = document.value.get("metadata")
    own = metadata if isinstance(metadata, dict) else {}
    return "/".join(str(own[key])[:253] for key in ("namespace", "name") if own.get(key))


def inspect(document: Document, result: Linted, online: Online) -> None:
    """Check the image that the manifest names, if it can be reached."""
    artifact = document.value["spec"].get("artifact")
    if isinstance(artifact, dict) and isinstance(artifact.get("http"), dict):
        inspect_download(document, result, online, artifact["http"])
        return
    try:
        image = document.value["spec"]["artifact"]["image"]
        ref, semver, insecure = image["ref"], image.get("semver"), image.get("insecure") is True
    except (KeyError, TypeError, AttributeError):
        return  # the schema reports it
    if not isinstance(ref, str) or not isinstance(semver, str | None):
        return
    access = replace(online.access, insecure=insecure or online.access.insecure)
    answer = look(ref, online.meant, access, semver=semver, only_registry=True)
    path = ("spec", "artifact", "image", "ref")
    where, number = title(document), document.line(path)
    findings = (Flaw(number, where, ".".join(path), reason.reason, reason.message) for reason in answer.reasons)
    result.add(answer.answer, *findings)
    result.warnings += (
        Flaw(number, where, ".".join(path), warning.reason, warning.message) for warning in answer.warnings
    )
    asked = _signed.read_policy(document.value["spec"]["artifact"])
    if asked is not None and answer.found.digest is not None:
        verify(document, result, answer.found.target, asked, replace(online, access=access))


def inspect_download(document: Document, result: Linted, online: Online, http: dict[str, Any]) -> None:
    """Check the file on an HTTP server that the manifest names."""
    url, sha256 = http.get("url"), http.get("sha256")
    if not isinstance(url, str) or not isinstance(sha256, str):
        return  # the schema reports it
    answer = look(f"{url}@sha256:{sha256}", online.meant, replace(online.access, insecure=True), only_registry=True)
    path = ("spec", "artifact", "http", "url")
    where, number = title(document), document.line(path)
    result.add(
        answer.answer,
        *(Flaw(number, where, ".".join(path), reason.reason, reason.message) for reason in answer.reasons),
    )


def verify(document: Document, result: Linted, target: str, asked: api.Verification, online: Online) -> None:
    """Check whether an existing image is signed as the manifest asks."""
    found = _signed.find_objection(target, asked, online.signers, online.access)
    if found is not None:
        answer, error = found
        path = ("spec", "artifact", "verify")
        result.add(answer, Flaw(document.line(path), title(document), ".".join(path), error.reason, error.sentence()))
