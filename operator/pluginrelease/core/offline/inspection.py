"""What is known of a plugin before a gateway loads it, and if a gateway could use it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

from pluginrelease.api.reasons import Reason
from pluginrelease.core import compat
from pluginrelease.core.compat.gateway_versions import Meant
from pluginrelease.core.errors import Refused, ReleaseError
from pluginrelease.core.wasm import Module


class Usability(IntEnum):
    """The answers. They are the exit codes of the command."""

    USABLE = 0
    REFUSED = 1
    NOT_LOOKED = 2


@dataclass(frozen=True)
class Objection:
    """One reason against the plugin: a reason of docs/reasons.md, what was found and what to do."""

    reason: Reason
    message: str


@dataclass(frozen=True)
class Inspected:
    """What was read of a target. ``digest`` is the image manifest's; ``sha256`` (hex) is the module's."""

    target: str
    digest: str | None = None
    layout: str | None = None
    sha256: str | None = None
    module: Module | None = None


@dataclass(frozen=True)
class Inspection:
    """A target, the gateway that the user named if any, and the answer.

    Without a gateway it refuses only what no gateway accepts.
    """

    found: Inspected
    meant: Meant | None
    answer: Usability
    reasons: tuple[Objection, ...] = ()
    unsure: tuple[str, ...] = ()  # imported functions that not every gateway has, if no gateway is named
    warnings: tuple[Objection, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the JSON that docs/inspect.md specifies."""
        module = self.found.module
        return {
            "target": self.found.target,
            "digest": self.found.digest,
            "layout": self.found.layout,
            "wasm": None if module is None else _wasm(module, self.found.sha256),
            "for": None if self.meant is None else str(self.meant),
            "ok": self.answer is Usability.USABLE,
            "reasons": [{"reason": reason.reason, "message": reason.message} for reason in self.reasons],
            "warnings": [{"reason": warning.reason, "message": warning.message} for warning in self.warnings],
        }


def _wasm(module: Module, sha256: str | None) -> dict[str, Any]:
    return {
        "sha256": sha256,
        "size": module.size,
        "abi": module.abi.replace("_", "."),
        "toolchain": module.toolchain,
        "toolchainVersion": module.toolchain_version,
        "imports": [str(imported) for imported in module.imports],
        "exports": [export.name for export in module.exports],
    }


def inspect(found: Inspected, meant: Meant | None, errors: tuple[ReleaseError, ...] = ()) -> Inspection:
    """Return the answer for what was found.

    ``errors``: what else would keep the gateway from fetching it, such as a registry's challenge.
    """
    if found.module is None:
        return report_failed(found, meant, *errors)
    hosts, provider = (meant.hosts, meant.provider) if meant else ((), "Istio")
    allowed = meant is not None and meant.allow_native
    odd = compat.find_warnings(found.module, hosts, provider, allow_native=allowed)
    answers = compat.compare(found.module, hosts, provider, allow_native=allowed)
    warnings = tuple(Objection(warning.reason, warning.message) for warning in odd)
    return replace(_conclude(found, meant, answers, errors), warnings=warnings)


def _conclude(
    found: Inspected, meant: Meant | None, answers: tuple[compat.Compatibility, ...], errors: tuple[ReleaseError, ...]
) -> Inspection:
    refusals = tuple(Objection(error.reason, error.sentence()) for error in errors)
    wrong = tuple(
        Objection(answer.reason, answer.sentence())
        for answer in answers
        if answer.state is compat.CompatibilityState.INCOMPATIBLE
    )
    if wrong or refusals:
        return Inspection(found, meant, Usability.REFUSED, wrong + refusals)
    if answers[0].state is compat.CompatibilityState.COMPATIBLE:
        return Inspection(found, meant, Usability.USABLE)
    if meant is None:
        return Inspection(found, meant, Usability.USABLE, unsure=answers[0].missing)
    told = Objection(answers[0].reason, _describe_unknown(answers[0], meant))
    return Inspection(found, meant, Usability.NOT_LOOKED, (told,))


def _describe_unknown(answer: compat.Compatibility, meant: Meant) -> str:
    """Replace the operator's remedy, which mentions pods; there are none here."""
    message = answer.message
    if meant.unknown:
        message = f"Whether {meant} has all functions that the module imports is not known: {meant.unknown}"
    return f"{message}. Name an exact version (--for envoy@…), or let the operator read the versions from the pods."


def report_failed(found: Inspected, meant: Meant | None, *errors: ReleaseError) -> Inspection:
    """Return the answer for what could not be read: refused if the artifact is at fault, else not checked."""
    about_artifact = all(isinstance(error, Refused) and error.reason.is_of_the_bytes for error in errors)
    answer = Usability.REFUSED if errors and about_artifact else Usability.NOT_LOOKED
    return Inspection(found, meant, answer, tuple(Objection(error.reason, error.sentence()) for error in errors))
