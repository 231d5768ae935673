"""Results of comparing a module with gateways, and their wording."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from pluginrelease.api.reasons import Reason
from pluginrelease.core.wasm import FunctionType

SHOWN_NAME = 120


class CompatibilityState(StrEnum):
    """Whether gateways can load a module."""

    COMPATIBLE = "Compatible"
    INCOMPATIBLE = "Incompatible"
    UNKNOWN = "Unknown"


@dataclass(frozen=True)
class Compatibility:
    """The result of a comparison.

    ``missing`` lists host functions (``module.name``) that some gateway lacks or may lack.
    """

    state: CompatibilityState
    reason: Reason
    message: str
    remedy: str = ""
    missing: tuple[str, ...] = ()

    def sentence(self) -> str:
        """Return what was found, then what to do: the text of a condition."""
        return f"{self.message.rstrip('.')}. {self.remedy}".strip()


@dataclass(frozen=True)
class Warned:
    """Something odd in a module that does not keep it from loading: a reason of docs/reasons.md, and what was found."""

    reason: Reason
    message: str

    def __str__(self) -> str:
        return f"{self.reason}: {self.message.rstrip('.')}."


def incompatible(reason: Reason, message: str, remedy: str, missing: tuple[str, ...] = ()) -> Compatibility:
    """Return the answer that gateways cannot load the module."""
    return Compatibility(CompatibilityState.INCOMPATIBLE, reason, message, remedy, missing)


def abridge(names: Iterable[str]) -> str:
    """Return the first few of many names, so that a condition stays readable."""
    every = list(names)
    return ", ".join(map(sanitize, every[:8])) + (f" and {len(every) - 8} more" if len(every) > 8 else "")


def sanitize(name: str) -> str:
    """Return a name from a module of unknown origin, safe for a condition or a terminal."""
    clean = name[:SHOWN_NAME]
    if not clean.isprintable():
        clean = "".join(letter if letter.isprintable() else "?" for letter in clean)
    return clean if len(name) <= SHOWN_NAME else clean[:-1] + "…"


def format_type(found: FunctionType | None) -> str:
    """Return a function's type as text, shortened: a module may declare a thousand parameters."""
    text = str(found)
    return text if len(text) <= SHOWN_NAME else text[: SHOWN_NAME - 1] + "…"
