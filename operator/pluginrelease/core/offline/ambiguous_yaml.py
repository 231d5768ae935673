"""Scalars without quotes that one reader of YAML takes for another value than the next.

kubectl, Helm and Argo CD read files with go-yaml 2 (sigs.k8s.io/yaml): the words of YAML 1.1 are booleans, and keys are
written as text. Kustomize, and Flux through it, reads with go-yaml 3 (sigs.k8s.io/kustomize/kyaml): ``on`` and ``y``
are text, dates become times, and a key that is no text ends the build. Both take octal and base-2 numbers, which YAML
1.2 and other readers of YAML 1.1 do not share.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class AmbiguousText(StrEnum):
    """The wording of this module; tests compare reasons and named values."""

    BOOLEAN = (
        'Put quotes around {text}: write "{text}", or write {reading}. kubectl, Helm and Argo CD read {reading}; '
        "Kustomize and Flux read the text"
    )
    KEY = (
        'Put quotes around the key {text}: write "{text}". kubectl, Helm and Argo CD read "{reading}"; '
        "Kustomize and Flux read the text"
    )
    KEY_IS_NO_TEXT = (
        'Put quotes around the key {text}: write "{text}". kubectl, Helm and Argo CD read "{reading}"; '
        "Kustomize and Flux fail, because a key must be a text"
    )
    DATE = (
        'Put quotes around {text}: write "{text}". kubectl, Helm and Argo CD read the text; '
        "Kustomize and Flux read a time"
    )
    NUMBER = (
        'Put quotes around {text}: write "{text}", or write the number {reading}. Readers of YAML 1.1 and of YAML 1.2 '
        "differ about it; kubectl reads {reading}"
    )
    SIXTIETHS = (
        'Put quotes around {text}: write "{text}". kubectl reads this text; other readers of YAML 1.1 read a number '
        "in base 60"
    )


@dataclass(frozen=True)
class Ambiguity:
    """What readers differ about; ``between_deployers``: already those do that bring manifests to a cluster."""

    message: str
    between_deployers: bool


_TRUE_OR_FALSE = re.compile(r"y|n|yes|no|on|off", re.IGNORECASE)
# go-yaml 3, resolve.go: allowedTimestampFormats
_DATE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt ][0-9]{1,2}:[0-9]{1,2}:[0-9]{1,2}.*)?")
# yaml.org/type/int.html and float.html
_SIXTIETHS = re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")
# a zero before it, underscores in it, an exponent
_NUMBERS = (
    re.compile(r"[-+]?0([0-9_]+|[ob][0-9_]+)"),
    re.compile(r"[-+]?[0-9][0-9_.]*_[0-9_.]*"),
    re.compile(r"[-+]?([0-9]+|[0-9]*\.[0-9]*)[eE][-+]?[0-9]+"),
)
# kubectl, Helm, Argo CD, Kustomize and Flux agree about these
_ONLY_OTHER_READERS = (AmbiguousText.NUMBER, AmbiguousText.SIXTIETHS)


def find_ambiguity(text: str, reading: Any, *, is_key: bool) -> Ambiguity | None:
    """Return what is ambiguous in a scalar without quotes; ``reading`` is the value that kubectl reads."""
    kind = _judge_key(text, reading) if is_key else _judge_value(text, reading)
    if kind is None:
        return None
    return Ambiguity(kind.format(text=text, reading=show(reading)), kind not in _ONLY_OTHER_READERS)


def _judge_key(text: str, reading: Any) -> AmbiguousText | None:
    if _TRUE_OR_FALSE.fullmatch(text):
        return AmbiguousText.KEY
    if not isinstance(reading, str) or _DATE.fullmatch(text):
        return AmbiguousText.KEY_IS_NO_TEXT
    return AmbiguousText.SIXTIETHS if _SIXTIETHS.fullmatch(text) else None


def _judge_value(text: str, reading: Any) -> AmbiguousText | None:
    if isinstance(reading, bool):
        return AmbiguousText.BOOLEAN if _TRUE_OR_FALSE.fullmatch(text) else None
    if isinstance(reading, (int, float)):
        return AmbiguousText.NUMBER if any(form.fullmatch(text) for form in _NUMBERS) else None
    if _DATE.fullmatch(text):
        return AmbiguousText.DATE
    return AmbiguousText.SIXTIETHS if _SIXTIETHS.fullmatch(text) else None


def show(reading: Any) -> str:
    """Return a value as JSON has it, and a text as it is."""
    if isinstance(reading, str):
        return reading
    return json.dumps(int(reading) if isinstance(reading, float) and reading.is_integer() else reading)
