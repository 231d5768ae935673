"""What ``configFrom`` adds to a plugin's configuration: values of Secrets and ConfigMaps, each at its place.

The values are secrets: no message and no repr of this module contains one. A revision contains their keyed hash
(`compute_keyed_digest`), because a plain hash would show a short password to anyone who tries them all.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.core.errors import Refused

JSON = dict[str, Any]

# of all values of a release, before they are merged: they are stored twice, and etcd takes 1.5 MB for an object
MAX_BYTES = 256 * 1024
MAX_DEPTH = 64
KEY_BYTES = 32
# what is shown instead of a value that is not known, or must not be shown
STAND_IN = "(value of configFrom)"
# a shorter text is in every message, and is no secret
TELLING = 3
# seconds until a value that was refused is read again
RECHECK = 30.0

_VALUE = "value"


@dataclass(frozen=True)
class ConfigValues:
    """The values of one revision, in the order of `list_places`.

    ``digest`` is their keyed hash. An item of ``values`` is ``{"value": …}``, or ``{}`` for an optional one that is
    missing. None: the values were not read.
    """

    digest: str
    values: tuple[JSON, ...] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Place:
    """One item of a ``configFrom``: its field in the spec, and the rule that it belongs to."""

    field: str
    source: api.ConfigSource
    rule: int | None = None

    def refuse(self, reason: Reason, what: str, remedy: str) -> Refused:
        """Return the error of a release because of this item. ``what`` must not contain the value."""
        source = self.source
        text = f"{self.field} takes the key {source.key} of {source.kind} {source.name}, {what}"
        return Refused(reason, text, remedy, recheck=RECHECK)


# ------------------------------------------------------------------------------------------------------ the items


def list_places(plugin: api.Plugin) -> tuple[Place, ...]:
    """Return the items of the plugin's ``configFrom``, then those of its rules."""
    found = [Place(f"plugin.configFrom[{number}]", one) for number, one in enumerate(plugin.config_from or [])]
    for rule, one_rule in enumerate(plugin.match_rules or []):
        path = f"plugin.matchRules[{rule}].configFrom"
        found += [Place(f"{path}[{number}]", one, rule) for number, one in enumerate(one_rule.config_from or [])]
    return tuple(found)


def list_pointers(plugin: api.Plugin, config: str, rules: str) -> list[str]:
    """Return the places of all values in a WasmPlugin's spec, as sorted JSON Pointers.

    ``config`` and ``rules`` are the provider's names for the configuration and the rules.
    """
    found = set[str]()
    for place in list_places(plugin):
        head = f"/{config}" if place.rule is None else f"/{rules}/{place.rule}/config"
        found.add(f"{head}{place.source.path or ''}")
    return sorted(found)


def read_pointer(path: str | None) -> tuple[str, ...]:
    """Return the keys of a JSON Pointer; none for the whole."""
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in (path or "").split("/")[1:])


def is_text(source: api.ConfigSource) -> bool:
    """Return True if the value is one string; False if it is read as YAML or JSON."""
    return source.path is not None and source.format in (None, api.ConfigFormat.TEXT)


# ------------------------------------------------------------------------------------------------------ the values


def decode(place: Place, raw: bytes) -> str:
    """Return the text of a key. Raises `Refused` (``InvalidConfigValue``)."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise place.refuse(
            Reason.INVALID_CONFIG_VALUE, "and its value is not UTF-8", "Store a text there, for example base64"
        ) from None


def check_structure(place: Place, value: Any) -> Any:
    """Return a value that was read as YAML or JSON, if JSON can carry it.

    Raises `Refused` (``InvalidConfigValue``) also for anything but an object if it has no path.
    """
    if place.source.path is None and not isinstance(value, dict):
        raise place.refuse(
            Reason.INVALID_CONFIG_VALUE,
            "and its value is not an object",
            "Store an object there, or set path to the place of the value in the configuration",
        )
    if not _is_plain(value, MAX_DEPTH):
        raise place.refuse(
            Reason.INVALID_CONFIG_VALUE,
            f"and its value is nested more than {MAX_DEPTH} deep, or has a number that is not finite",
            "Store a value there that JSON can carry",
        )
    return value


def refuse_unreadable(place: Place, line: int | None) -> Refused:
    """Return the error of a value that is no YAML. Only the line is named, because a text could be a secret."""
    where = f" in line {line}" if line is not None else ""
    return place.refuse(
        Reason.INVALID_CONFIG_VALUE,
        f"and its value is not the YAML or JSON of one document{where}",
        "Correct the value. Put quotes around texts that YAML could take for something else; a key must occur once",
    )


def check_size(sizes: Sequence[int]) -> None:
    """Raise `Refused` (``ConfigTooLarge``) for more bytes than `MAX_BYTES` in all values."""
    if sum(sizes) > MAX_BYTES:
        raise Refused(
            Reason.CONFIG_TOO_LARGE,
            f"the values of configFrom have {sum(sizes)} bytes in all, and the limit is {MAX_BYTES}",
            "Store smaller values, or let the plugin fetch them",
            recheck=RECHECK,
        )


def _is_plain(value: Any, depth: int) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return depth > 0 and all(isinstance(key, str) and _is_plain(one, depth - 1) for key, one in value.items())
    if isinstance(value, list):
        return depth > 0 and all(_is_plain(one, depth - 1) for one in value)
    return value is None or isinstance(value, str | bool | int)


def found(value: Any) -> JSON:
    """Return the item of `ConfigValues.values` for a value."""
    return {_VALUE: value}


def compute_keyed_digest(key: bytes, values: Sequence[JSON]) -> str:
    """Return 32 hex digits of the values' HMAC-SHA256. Without the key, values cannot be tried against it."""
    return hmac.new(key, write(values), hashlib.sha256).hexdigest()[:32]


def write(values: Sequence[JSON]) -> bytes:
    """Return the values as canonical JSON, for the Secret that keeps them."""
    return json.dumps(list(values), sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def read(raw: bytes) -> tuple[JSON, ...] | None:
    """Return the values that `write` wrote; None for anything else."""
    try:
        values = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, list) or not all(isinstance(one, dict) for one in values):
        return None
    return tuple(values)


# ------------------------------------------------------------------------------------------------------- the merge


def fill(plugin: api.Plugin, known: ConfigValues | None) -> api.Plugin:
    """Return the plugin with its values in its configurations. A value that is not known is `STAND_IN`.

    An object that is merged over a whole configuration, and is not known, adds nothing.

    Raises `Refused` (``ConfigPathConflict``) if something on the way to a place is not an object.
    """
    places = list_places(plugin)
    if not places:
        return plugin
    values = known.values if known is not None and known.values is not None else None
    given = values if values is not None else [_stand_in(place) for place in places]
    config: JSON = dict(plugin.config or {})
    rules = [dict(rule.config or {}) for rule in plugin.match_rules or []]
    for place, one in zip(places, given, strict=False):
        if _VALUE not in one:
            continue
        if place.rule is None:
            config = put(config, place, one[_VALUE])
        else:
            rules[place.rule] = put(rules[place.rule], place, one[_VALUE])
    filled = [
        rule.model_copy(update={"config": made}) if rule.config_from else rule
        for rule, made in zip(plugin.match_rules or [], rules, strict=True)
    ]
    changed: JSON = {"config": config} if plugin.config_from else {}
    return plugin.model_copy(update={**changed, **({"match_rules": filled} if filled else {})})


def _stand_in(place: Place) -> JSON:
    return found(STAND_IN) if place.source.path is not None else {}


def put(config: JSON, place: Place, value: Any) -> JSON:
    """Return a configuration with a value at its place. Raises `Refused` (``ConfigPathConflict``)."""
    made: JSON = _put(config, read_pointer(place.source.path), value, place)
    return made


def _put(config: Any, keys: tuple[str, ...], value: Any, place: Place) -> Any:
    if not keys:
        return merge(config, value)
    if config is not None and not isinstance(config, dict):
        raise place.refuse(
            Reason.CONFIG_PATH_CONFLICT,
            f"and on the way to {place.source.path} the configuration has something that is not an object",
            "Correct path, or the configuration: a value can be put into an object only",
        )
    known: JSON = config or {}
    return {**known, keys[0]: _put(known.get(keys[0]), keys[1:], value, place)}


def merge(under: Any, over: Any) -> Any:
    """Return one JSON value over another: objects are merged key by key, everything else is replaced."""
    if not isinstance(under, dict) or not isinstance(over, dict):
        return over
    return {**under, **{key: merge(under[key], one) if key in under else one for key, one in over.items()}}


# ------------------------------------------------------------------------------------------------------- the texts


def list_secrets(plugin: api.Plugin, known: ConfigValues | None) -> frozenset[str]:
    """Return the texts of the values from Secrets, also as JSON writes them. No message may contain them."""
    values = known.values if known is not None else None
    secret = (
        one[_VALUE]
        for place, one in zip(list_places(plugin), values or (), strict=False)
        if place.source.kind == "Secret" and _VALUE in one
    )
    return frozenset(text for value in secret for text in _texts(value) if len(text) >= TELLING)


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts and numbers of a JSON value, its keys too."""
    if isinstance(value, str):
        yield value
        yield value.strip()
        yield json.dumps(value)[1:-1]
        yield json.dumps(value, ensure_ascii=False)[1:-1]
    elif isinstance(value, bool) or value is None:
        return
    elif isinstance(value, int | float):
        yield json.dumps(value)
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from _texts(key)
            yield from _texts(one)
    else:
        for one in value:
            yield from _texts(one)


def mask(spec: Any, pointers: Sequence[str]) -> Any:
    """Return a WasmPlugin's spec with `STAND_IN` at these places, as far as it has them."""
    for pointer in pointers:
        spec = _mask(spec, read_pointer(pointer))
    return spec


def _mask(value: Any, keys: tuple[str, ...]) -> Any:
    if not keys:
        return STAND_IN
    if isinstance(value, dict) and keys[0] in value:
        return {**value, keys[0]: _mask(value[keys[0]], keys[1:])}
    if isinstance(value, list) and keys[0].isdecimal() and int(keys[0]) < len(value):
        at = int(keys[0])
        return [*value[:at], _mask(value[at], keys[1:]), *value[at + 1 :]]
    return value
