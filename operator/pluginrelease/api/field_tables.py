"""The fields of the API as tables for ``docs/api.md``, from the same schema that the CRD carries."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from pluginrelease.api.crd import JSON, object_schema

BEGIN = "<!-- fields of {part}: written by `make crds` -->"
END = "<!-- end of fields -->"


def fill(page: str) -> str:
    """The page with the tables between its marks renewed. Raises ValueError when a mark is missing."""
    for part in ("spec", "status"):
        begin = BEGIN.format(part=part)
        page, found = re.subn(
            f"{re.escape(begin)}.*?{re.escape(END)}",
            lambda _, begin=begin, part=part: f"{begin}\n{table(part)}\n{END}",  # type: ignore[misc]
            page,
            flags=re.DOTALL,
        )
        if found != 1:
            raise ValueError(f"the page needs the line {begin} once, and {END} after it")
    return page


def table(part: str) -> str:
    """One row for each field below ``spec`` or ``status``."""
    schema = object_schema()["properties"][part]
    whole = [f"| `{part}` | object | {prose(schema)} |"] if schema.get("x-kubernetes-validations") else []
    rows = [f"| `{path}` | {kind(node, needed)} | {prose(node)} |" for path, node, needed in fields(schema)]
    return "\n".join(["| Field | Type | What it is |", "|---|---|---|", *whole, *rows])


def fields(node: JSON, path: str = "") -> Iterator[tuple[str, JSON, bool]]:
    """Every field below a node as (path, schema, whether it is required), parents first; ``[]`` marks a list."""
    for name, child in node.get("properties", {}).items():
        here = f"{path}.{name}" if path else name
        yield here, child, name in node.get("required", [])
        if child["type"] == "array":
            yield from fields(child["items"], f"{here}[]")
        else:
            yield from fields(child, here)


def kind(node: JSON, needed: bool) -> str:
    """Type, whether it must be there, and the default."""
    words = [one_of(node)]
    if needed:
        words.append("**required**")
    if node.get("default", {}) != {}:
        words.append(f"default `{json.dumps(node['default']).strip(chr(34))}`")
    return ", ".join(words)


def one_of(node: JSON) -> str:
    """The type in words a reader of YAML uses."""
    if "enum" in node:
        return " or ".join(f"`{value}`" for value in node["enum"])
    if node["type"] == "array":
        return f"list of {node['items']['type']}s"
    if "additionalProperties" in node:
        return f"map of {node['additionalProperties']['type']}s"
    return str(node["type"])


def prose(node: JSON) -> str:
    """The description, then the rules of the field, and of each item of a list, in the words of their refusals."""
    items = node.get("items", {})
    rules = [rule["message"] for schema in (node, items) for rule in schema.get("x-kubernetes-validations", [])]
    text = " ".join([node.get("description", ""), *(f"*{rule}.*" for rule in rules)])
    return text.replace("|", "\\|").strip()
