"""``${secret.namespace/name.key}``: what Higress's controller puts a Secret's value in place of, and its comparison.

The controller replaces them in a WasmPlugin's JSON as text, all or none of an object (alibaba/higress
``pkg/ingress/config/ingress_template.go``, since 2.1.0). So a value that is no plain text in JSON changes the
configuration, or keeps all placeholders of the object in it as they are. Values are secrets: no message has one.
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
# its own, with bounds: what is of another type than secret is an error, and then nothing of the object is replaced
_ANY = re.compile(r"\$\{([^.}/]{1,63})\.(?:[^/}]{1,63}/)?[^.}/]{1,253}\.[^}]+\}")
FORM = "${secret.NAMESPACE/NAME.KEY}"
HIDDEN = "${secret…}"
# the first letters of a value at the end of a text are taken for a piece of it from so many on
TELLING = 4


@dataclass(frozen=True)
class Placeholder:
    """One of them: the field that it stands in, its text, and which value it is for; ``namespace`` None: Higress's."""

    path: str
    text: str
    namespace: str | None
    name: str
    key: str

    def refused(self, what: str, remedy: str) -> Refused:
        """The refusal of a release for this one."""
        return Refused(Reason.INVALID_PLACEHOLDER, f"{self.path} has {self.text}, {what}", remedy)


def find(value: Any, path: str) -> Iterator[Placeholder]:
    """Those in a JSON value; raises `Refused` (InvalidPlaceholder) for one that the controller would not understand."""
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
    """A placeholder of another type than secret in an object's JSON: beside it Higress replaces none at all."""
    ended = f"{text}}}"  # as JSON is: without it each of many beginnings would be read to the end
    others = (match.group(0) for match in _ANY.finditer(ended) if match.group(1) != "secret")
    return next(others, None)


def check_value(placeholder: Placeholder, value: bytes) -> None:
    """Raises `Refused` (InvalidPlaceholder) for a value that does not stand for itself within a text of JSON."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise placeholder.refused("and the value of that key is not UTF-8", "Put a text into the Secret") from None
    if json.dumps(text, ensure_ascii=False) != f'"{text}"' or "${" in text:
        raise placeholder.refused(
            "and the value of that key has a quote, a backslash, a line break or another character that Higress puts "
            "into the configuration's JSON as it is",
            "Put a value without it into the Secret; `kubectl create secret --from-file` keeps a file's last line "
            "break, --from-literal adds none",
        )


# ------------------------------------------------------------------------------------------------------- comparing


def is_same(wanted: Any, given: Any, *, replaced: bool = False) -> bool:
    """Whether two JSON values are equal; 1 and 1.0 are, since Istio carries numbers as doubles; 1 and true are not.

    ``replaced``: a placeholder in ``wanted`` stands for any text but itself.
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
    """A number as the double that it becomes; all else as it is."""
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _same_fields(wanted: Mapping[str, Any], given: Mapping[str, Any], *, replaced: bool) -> bool:
    """Each of the one has its like among the other; keys may have placeholders, too."""
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
    """Sorts keys that only one other can be like before those with placeholders, and of these the longest text first:
    one that is nothing but a placeholder is like every key."""
    return MEANT in key, -len(_OURS.sub("", key))


def read_values(wanted: Any, given: Any) -> Iterator[str]:
    """What a gateway was given in the placeholders' places, wherever the two values are alike enough; the whole texts
    first, as several in one text are separated by what stands between them."""
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
    """What stands in the placeholders' places of a text; None where the text around them differs, or one is still
    there."""
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
    """A text of the gateway without the values that it was given, the longest first; it may end within one."""
    longest_first = sorted({secret for secret in secrets if secret}, key=len, reverse=True)
    for secret in longest_first:
        text = text.replace(secret, HIDDEN)
    for secret in longest_first:
        text = _without_end(text, secret)
    return text


def _without_end(text: str, secret: str) -> str:
    """A text that was cut off within a value."""
    pieces = range(min(len(secret), len(text)), TELLING - 1, -1)
    cut = next((size for size in pieces if text.endswith(secret[:size])), None)
    return text if cut is None else f"{text[:-cut]}{HIDDEN}"


def hide_in(found: Found, secrets: Collection[str]) -> Found:
    """The same for all texts of what was read of a gateway."""
    made: Any = found
    if type(found) is str:  # and no member of an enumeration
        made = hide(str(found), secrets)
    elif isinstance(found, tuple):
        made = tuple(hide_in(item, secrets) for item in found)
    elif is_dataclass(found) and not isinstance(found, type):
        made = replace(found, **{field.name: hide_in(getattr(found, field.name), secrets) for field in fields(found)})
    return made  # type: ignore[no-any-return]


def _texts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Every text of a JSON value, its keys too, with its own path."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield f"{path} (a key of it)", key
            yield from _texts(item, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for place, item in enumerate(value):
            yield from _texts(item, f"{path}[{place}]")
