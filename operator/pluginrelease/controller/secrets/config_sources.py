"""Read the values that ``configFrom`` names, in the release's namespace."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from typing import Any

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.controller.reading import ObjectReader
from pluginrelease.controller.secrets.secret_field import RETRY
from pluginrelease.core import config_values
from pluginrelease.core.config_values import ConfigValues, Place
from pluginrelease.core.errors import Waiting
from pluginrelease.edges import documents
from pluginrelease.edges.kubernetes.resources import CONFIG_MAPS, SECRETS

JSON = dict[str, Any]


async def read(reader: ObjectReader, release: api.Release, key: bytes) -> ConfigValues:
    """Return all values, and their hash with this key.

    Raises `Waiting` (ConfigSourceNotFound, ConfigKeyNotFound), `Refused` (InvalidConfigValue, ConfigTooLarge).
    """
    places = config_values.list_places(release.spec.plugin)
    raws = [await read_raw(reader, release, place) for place in places]
    config_values.check_size([len(raw) for raw in raws if raw is not None])
    values = tuple([await parse(place, raw) for place, raw in zip(places, raws, strict=True)])
    read_values = ConfigValues(config_values.compute_keyed_digest(key, values), values)
    config_values.fill(release.spec.plugin, read_values)  # each value has a place, or the spec is refused here
    return read_values


async def read_raw(reader: ObjectReader, release: api.Release, place: Place) -> bytes | None:
    """Return the bytes of one key; None for an optional one that is missing."""
    source, namespace = place.source, release.metadata.namespace
    found = await reader.get(SECRETS if source.kind == "Secret" else CONFIG_MAPS, namespace, source.name)
    raw = find_value(place, found) if found is not None else None
    if raw is not None or source.optional:
        return raw
    reason = Reason.CONFIG_SOURCE_NOT_FOUND if found is None else Reason.CONFIG_KEY_NOT_FOUND
    lacks = "which does not exist" if found is None else f"which has no key {source.key}"
    raise Waiting(
        reason,
        f"{place.field} names {source.kind} {namespace}/{source.name}, {lacks}",
        f"Create it: {command(namespace, source)}. Or set optional: true",
        retry_after=RETRY,
    )


def find_value(place: Place, found: JSON) -> bytes | None:
    """Return the bytes of a key of a Secret or ConfigMap; None if it has no such key."""
    key = place.source.key
    if place.source.kind == "ConfigMap" and key in (found.get("data") or {}):
        return str(found["data"][key]).encode()
    encoded = (found.get("data") if place.source.kind == "Secret" else found.get("binaryData")) or {}
    try:
        return base64.b64decode(encoded[key], validate=True) if key in encoded else None
    except (TypeError, binascii.Error):
        raise place.refuse(
            Reason.INVALID_CONFIG_VALUE, "and its value is not base64", "Create the object again with kubectl"
        ) from None


def command(namespace: str, source: api.ConfigSource) -> str:
    """Return the command that creates the object."""
    kind = "secret generic" if source.kind == "Secret" else "configmap"
    return f"kubectl -n {namespace} create {kind} {source.name} --from-file={source.key}=…"


async def parse(place: Place, raw: bytes | None) -> JSON:
    """Return the value of one key as an item of `ConfigValues.values`."""
    if raw is None:
        return {}
    text = config_values.decode(place, raw)
    if config_values.is_text(place.source):
        return config_values.found(text)
    value = await asyncio.to_thread(read_structure, place, text)
    return config_values.found(config_values.check_structure(place, value))


def read_structure(place: Place, text: str) -> Any:
    """Return a text as the YAML or JSON of one document.

    Raises `Refused` (InvalidConfigValue) also for a key that is there twice, and for a scalar that kubectl and Flux
    read differently.
    """
    try:
        return json.loads(text, object_pairs_hook=without_duplicates, parse_constant=refuse_constant)
    except (ValueError, RecursionError):
        return read_yaml(place, text)


def without_duplicates(pairs: list[tuple[str, Any]]) -> JSON:
    """Return an object of JSON. Raises `ValueError` for a key that is there twice."""
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError
    return made


def refuse_constant(text: str) -> None:
    """Raise `ValueError` for NaN and Infinity, which are no JSON."""
    raise ValueError


def read_yaml(place: Place, text: str) -> Any:
    """Return the one document of a text in YAML."""
    try:
        document = documents.read_one(text)
    except documents.UnreadableText as error:
        raise config_values.refuse_unreadable(place, error.line) from None
    odd = [fault.path for fault in document.faults]
    odd += [path for path, ambiguity in document.ambiguous if ambiguity.between_deployers]
    if odd:
        raise config_values.refuse_unreadable(place, document.line(odd[0]))
    return document.value
