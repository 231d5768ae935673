"""The fields of the API for ``docs/api.md``: a section for each top-level field, from the schema of the CRD."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pluginrelease.api.crd import JSON, object_schema

BEGIN = "<!-- fields of {part}: written by `make crds` -->"
END = "<!-- end of fields -->"


def fill(page: str) -> str:
    """Return the page with the sections between its marks renewed. Raises ValueError if a mark is missing."""
    for part in ("spec", "status"):
        begin = BEGIN.format(part=part)
        page, found = re.subn(
            f"{re.escape(begin)}.*?{re.escape(END)}",
            lambda _, begin=begin, part=part: f"{begin}\n{render(part)}\n\n{END}",  # type: ignore[misc]
            page,
            flags=re.DOTALL,
        )
        if found != 1:
            raise ValueError(f"the page needs the line {begin} once, and {END} after it")
    return page


def render(part: str) -> str:
    """Return the rules of ``spec`` or ``status`` as a whole, and then a section for each of its fields."""
    schema = object_schema()["properties"][part]
    rules = [f"Rules for all of `{part}`:\n\n{list_rules(schema, '')}"] if find_rules(schema) else []
    required = schema.get("required", [])
    sections = [section(part, name, node, name in required) for name, node in schema["properties"].items()]
    return "\n\n".join(["", *rules, *sections])


def section(part: str, name: str, node: JSON, is_required: bool) -> str:
    """Return the section of a top-level field: the field itself, and a list of all fields below it."""
    lines = [f"### {part}.{name}", f"*{kind(node, is_required)}.* {prose(node)}"]
    below = [item(path, child, needed) for path, child, needed in fields(node.get("items", node), name + mark(node))]
    return "\n\n".join([*lines, *filter(None, [list_rules(node, ""), "\n".join(below)])])


def item(path: str, node: JSON, is_required: bool) -> str:
    """Return a field as an item of a list, with its rules below it."""
    line = f"* **`{path}`** – *{kind(node, is_required)}.* {prose(node)}"
    return "\n".join([line, *filter(None, [list_rules(node, "  ")])])


def fields(node: JSON, path: str) -> Iterator[tuple[str, JSON, bool]]:
    """Yield every field below a node as (path, schema, whether it is required), parents first; ``[]`` marks a list."""
    for name, child in node.get("properties", {}).items():
        here = f"{path}.{name}"
        yield here, child, name in node.get("required", [])
        yield from fields(child.get("items", child), here + mark(child))


def mark(node: JSON) -> str:
    """Return what the path of a list's items ends with."""
    return "[]" if node["type"] == "array" else ""


def kind(node: JSON, is_required: bool) -> str:
    """Return the type, and whether the field is required."""
    return f"{name_type(node)}, **required**" if is_required else name_type(node)


def name_type(node: JSON) -> str:
    """Return the type in the words of a reader of YAML."""
    if "enum" in node:
        return " or ".join(f"`{value}`" for value in node["enum"])
    if node["type"] == "array":
        return f"list of {node['items']['type']}s"
    if "additionalProperties" in node:
        return f"map of {node['additionalProperties']['type']}s"
    return str(node["type"])


def prose(node: JSON) -> str:
    """Return the description, with examples and placeholders as code."""
    return mark_code(str(node.get("description", "")))


def mark_code(text: str) -> str:
    """Return a text in which Markdown leaves examples, paths with asterisks and placeholders as they are."""
    text = re.sub(r"(Default|Example): (.+?)\.(?= Example: |$)", r"\1: `\2`.", text)
    outside = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([<>*])", r"\\\1", part) for part in outside)


def list_rules(node: JSON, indent: str) -> str:
    """Return the rules of a field, and of the items of a list, in the words of their refusals."""
    return "\n".join(f"{indent}* Refused with: *{mark_code(message)}*." for message in find_rules(node))


def find_rules(node: JSON) -> list[str]:
    """Return the messages of the rules of a node and of its items."""
    nodes = (node, node.get("items", {}))
    return [rule["message"] for schema in nodes for rule in schema.get("x-kubernetes-validations", [])]
