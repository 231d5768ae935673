"""Read JSON of a gateway's answers. Whatever has another shape than expected is recorded as unknown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def read_items(text: str, key: str, unknown: list[str]) -> list[Mapping[str, Any]]:
    """Return the entries of a repeated field of every section of a masked config dump."""
    if not text:
        return []
    sections = read_list(read_document(text, unknown, key), "configs", unknown)
    return [item for section in sections for item in read_list(section, key, unknown)]


def read_list(document: Mapping[str, Any], key: str, unknown: list[str]) -> list[Mapping[str, Any]]:
    """Return a list of objects. A field with another content is recorded as unknown."""
    listed = document.get(key, [])
    if isinstance(listed, list) and all(isinstance(item, dict) for item in listed):
        return listed
    unknown.append(f"{key} is not a list of objects")
    return []


def read_document(text: str, unknown: list[str], what: str = "") -> Mapping[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        unknown.append(f"{what} did not answer with a JSON object")
        return {}
    return document


def _as_mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def descend(value: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    for key in path:
        value = _as_mapping(value.get(key))
    return value


def as_text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def as_number(value: Any) -> int | None:
    return value if isinstance(value, int) else None
