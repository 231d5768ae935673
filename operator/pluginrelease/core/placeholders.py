"""``${secret.namespace/name.key}``: what Higress's controller replaces with a Secret's value, and how to compare texts.

The controller replaces them in a WasmPlugin's JSON as text: all of an object, or none (alibaba/higress
``pkg/ingress/config/ingress_template.go``, since 2.1.0). So a value with JSON syntax in it changes the configuration,
or keeps all placeholders of the object from being replaced. Values are secrets: no message may contain one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar

from pluginrelease.api.reasons import Reason
from pluginrelease.core.errors import Refused

Found = TypeVar("Found")

MEANT = "${secret."
_NAME = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_OURS = re.compile(rf"\$\{{secret\.(?:({_NAME})/)?({_NAME})\.([-._A-Za-z0-9]+)\}}")
# Higress's own pattern, with limits: another type than secret is an error there, and then nothing is replaced
_ANY = re.compile(r"\$\{([^.}/]{1,63})\.(?:[^/}]{1,63}/)?[^.}/]{1,253}\.[^}]+\}")
FORM = "${secret.NAMESPACE/NAME.KEY}"
HIDDEN = "${secret…}"
# a text may end within a value: so many first letters of a value count as a part of it
TELLING = 4


@dataclass(frozen=True)
class Placeholder:
    """One placeholder: its field, its text, and the value that it names. ``namespace`` None: Higress's own."""

    path: str
    text: str
    namespace: str | None
    name: str
    key: str

    def refuse(self, what: str, remedy: str) -> Refused:
        """Return the error of a release because of this placeholder."""
        return Refused(Reason.INVALID_PLACEHOLDER, f"{self.path} has {self.text}, {what}", remedy)


def find(value: Any, path: str) -> Iterator[Placeholder]:
    """Yield the placeholders in a JSON value.

    Raises `Refused` (``InvalidPlaceholder``) for one that the controller would not understand.
    """
    for where, text in _texts(value, path):
        matches = list(_OURS.finditer(text))
        if text.count(MEANT) > len(matches):
            raise Refused(
                Reason.INVALID_PLACEHOLDER,
                f"{where} has {MEANT}… that is not of the form {FORM}: Higress would hand it to the plugin as it is",
                "Name a Secret and one of its keys; a Secret with a dot in its name cannot be named",
            )
        yield from (
            Placeholder(where, match.group(0), match.group(1), match.group(2), match.group(3)) for match in matches
        )


def find_unsupported(text: str) -> str | None:
    """Return a placeholder of another type than secret in an object's JSON.

    If there is one, Higress replaces none at all.
    """
    ended = f"{text}}}"  # as JSON is: otherwise each of many beginnings would be read to the end
    others = (match.group(0) for match in _ANY.finditer(ended) if match.group(1) != "secret")
    return next(others, None)


def check_value(placeholder: Placeholder, value: bytes) -> None:
    """Raise `Refused` (``InvalidPlaceholder``) for a value that changes when it is put into a JSON string."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise placeholder.refuse("and the value of that key is not UTF-8", "Put a text into the Secret") from None
    if json.dumps(text, ensure_ascii=False) != f'"{text}"' or "${" in text:
        raise placeholder.refuse(
            "and the value of that key has a quote, a backslash, a line break or another character that Higress puts "
            "into the configuration's JSON as it is",
            "Put a value without it into the Secret; `kubectl create secret --from-file` keeps a file's last line "
            "break, --from-literal adds none",
        )


# ------------------------------------------------------------------------------------------------------- comparing


def is_same(wanted: Any, given: Any, *, replaced: bool = False) -> bool:
    """Return True if two JSON values are equal.

    1 and 1.0 are, because Istio carries numbers as doubles; 1 and true are not.

    ``replaced``: a placeholder in ``wanted`` matches any text except itself.
    """
    if isinstance(wanted, Mapping) and isinstance(given, Mapping):
        return _same_fields(wanted, given, replaced=replaced)
    if isinstance(wanted, list | tuple) and isinstance(given, list | tuple):
        pairs = zip(wanted, given, strict=False)
        return len(wanted) == len(given) and all(is_same(value, other, replaced=replaced) for value, other in pairs)
    if isinstance(wanted, str) and isinstance(given, str) and replaced:
        return _match_values(wanted, given) is not None
    return type(as_double(wanted)) is type(as_double(given)) and as_double(wanted) == as_double(given)


def as_double(value: Any) -> Any:
    """Return a number as the double that it becomes; other values unchanged."""
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _same_fields(wanted: Mapping[str, Any], given: Mapping[str, Any], *, replaced: bool) -> bool:
    """Return True if each field has an equal one in the other object. Keys may contain placeholders, too."""
    if not replaced:
        return wanted.keys() == given.keys() and all(is_same(value, given[key]) for key, value in wanted.items())
    left = dict(given)
    for key, value in sorted(wanted.items(), key=lambda item: _sort_key(item[0])):
        candidates = left if MEANT in key else [key]
        like = (
            candidate for candidate in candidates if candidate in left and _match_values(key, candidate) is not None
        )
        found = next((candidate for candidate in like if is_same(value, left[candidate], replaced=True)), None)
        if found is None:
            return False
        del left[found]
    return not left


def _sort_key(key: str) -> tuple[bool, int]:
    """Sort keys without placeholders first, because each matches one key only; then those with the longest text.

    A key that is only a placeholder matches every key.
    """
    return MEANT in key, -len(_OURS.sub("", key))


def read_values(wanted: Any, given: Any) -> Iterator[str]:
    """Yield the values that a gateway received instead of placeholders, as far as the two values match.

    Whole texts come first. Several values in one text are separated by the text between them.
    """
    if isinstance(wanted, Mapping) and isinstance(given, Mapping):
        for key in wanted.keys() & given.keys():
            yield from read_values(wanted[key], given[key])
        for key in (key for key in wanted if MEANT in key):
            for other in given.keys() - wanted.keys():
                yield from read_values(key, other)
                yield from read_values(wanted[key], given[other])
    elif isinstance(wanted, list | tuple) and isinstance(given, list | tuple):
        for value, other in zip(wanted, given, strict=False):
            yield from read_values(value, other)
    elif isinstance(wanted, str) and isinstance(given, str):
        found = _match_values(wanted, given)
        yield from (given, *found) if found else ()


def _match_values(wanted: str, given: str) -> tuple[str, ...] | None:
    """Return the values for the placeholders of a text; None if the text around them differs, or one is still there."""
    literals = _OURS.split(wanted)[:: _OURS.groups + 1]
    if len(literals) == 1:
        return () if wanted == given else None
    first, last = literals[0], literals[-1]
    if not (given.startswith(first) and given.endswith(last)) or len(given) < len(first) + len(last):
        return None
    place, end = len(first), len(given) - len(last)
    found: list[str] = []
    for literal in literals[1:-1]:
        try:
            after = given.index(literal, place, end)
        except ValueError:
            return None
        found.append(given[place:after])
        place = after + len(literal)
    there = (*found, given[place:end])
    return None if any(_OURS.search(part) for part in there) else there


def hide(text: str, secrets: Collection[str]) -> str:
    """Return a text of the gateway without the values that it received, the longest first.

    The text may end within one.
    """
    longest_first = sorted({secret for secret in secrets if secret}, key=len, reverse=True)
    for secret in longest_first:
        text = text.replace(secret, HIDDEN)
    for secret in longest_first:
        text = _without_end(text, secret)
    return text


def _without_end(text: str, secret: str) -> str:
    """Return a text without a value that was cut off at its end."""
    pieces = range(min(len(secret), len(text)), TELLING - 1, -1)
    cut = next((size for size in pieces if text.endswith(secret[:size])), None)
    return text if cut is None else f"{text[:-cut]}{HIDDEN}"


def hide_in(found: Found, secrets: Collection[str]) -> Found:
    """Hide the values in all texts of what was read from a gateway."""
    made: Any = found
    if type(found) is str:  # and no member of an enumeration
        made = hide(str(found), secrets)
    elif isinstance(found, tuple):
        made = tuple(hide_in(item, secrets) for item in found)
    elif is_dataclass(found) and not isinstance(found, type):
        made = replace(found, **{field.name: hide_in(getattr(found, field.name), secrets) for field in fields(found)})
    return made  # type: ignore[no-any-return]


def _texts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yield every text of a JSON value, its keys too, with its path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield f"{path} (a key of it)", key
            yield from _texts(item, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for place, item in enumerate(value):
            yield from _texts(item, f"{path}[{place}]")
