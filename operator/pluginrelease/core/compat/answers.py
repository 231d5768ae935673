"""What can be said of a module and a gateway: values, and the words for them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from pluginrelease.api.reasons import Reason
from pluginrelease.core.wasm import FunctionType

SHOWN_NAME = 120


class CompatibilityState(StrEnum):
    """The three answers."""

    COMPATIBLE = "Compatible"
    INCOMPATIBLE = "Incompatible"
    UNKNOWN = "Unknown"


@dataclass(frozen=True)
class Compatibility:
    """The answer. ``missing`` names the host functions (``module.name``) that some gateway lacks or may lack."""

    state: CompatibilityState
    reason: Reason
    message: str
    remedy: str = ""
    missing: tuple[str, ...] = ()

    def sentence(self) -> str:
        """What was found, then what to do: the text of a condition."""
        return f"{self.message.rstrip('.')}. {self.remedy}".strip()


@dataclass(frozen=True)
class Warned:
    """Something of a module that does not keep it from being loaded: a word of docs/reasons.md, and what was found."""

    reason: Reason
    message: str

    def __str__(self) -> str:
        return f"{self.reason}: {self.message.rstrip('.')}."


def incompatible(reason: Reason, message: str, remedy: str, missing: tuple[str, ...] = ()) -> Compatibility:
    """A refusal."""
    return Compatibility(CompatibilityState.INCOMPATIBLE, reason, message, remedy, missing)


def abridge(names: Iterable[str]) -> str:
    """The first few of many, so that a condition stays readable."""
    every = list(names)
    return ", ".join(map(sanitize, every[:8])) + (f" and {len(every) - 8} more" if len(every) > 8 else "")


def sanitize(name: str) -> str:
    """A name out of a stranger's module, as it may stand in a condition or on a terminal."""
    clean = name[:SHOWN_NAME]
    if not clean.isprintable():
        clean = "".join(letter if letter.isprintable() else "?" for letter in clean)
    return clean if len(name) <= SHOWN_NAME else clean[:-1] + "…"


def format_type(found: FunctionType | None) -> str:
    """A function's type; a module may give it a thousand parameters."""
    text = str(found)
    return text if len(text) <= SHOWN_NAME else text[: SHOWN_NAME - 1] + "…"
