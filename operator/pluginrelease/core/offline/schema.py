"""Check an object against a structural schema, as the API server does when the object is created.

The order is the server's (apiextensions-apiserver, pkg/registry/customresource and pkg/apiserver/schema): unknown
fields, nulls, defaults, then the schema's own constraints, and the CEL rules if there was no fault before. The caller
evaluates regular expressions and CEL: the server has RE2 and cel-go, and Python has neither.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

JSON = dict[str, Any]
Path = tuple[str | int, ...]
Matches = Callable[[str, str], bool]

CEL = "x-kubernetes-validations"
OPEN = "x-kubernetes-preserve-unknown-fields"
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}
SHOWN_VALUE = 80
# of CEL, as Kubernetes escapes them
_RESERVED = frozenset(
    [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ]
)


@dataclass(frozen=True)
class Fault:
    """One fault, in the API server's words, and its path."""

    path: Path
    message: str

    @property
    def place(self) -> str:
        """``spec.checks.probes[0].name``."""
        parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.path)
        return "".join(parts).removeprefix(".")


@dataclass(frozen=True)
class Rule:
    """A CEL rule, the value that it checks, and the message if it is broken."""

    path: Path
    value: Any
    text: str
    message: str


def find_unknown(schema: JSON, value: Any, path: Path = ()) -> Iterator[Fault]:
    """Yield fields that the schema does not have; an open schema accepts all."""
    if schema.get(OPEN):
        return
    if isinstance(value, list) and "items" in schema:
        for number, item in enumerate(value):
            yield from find_unknown(schema["items"], item, (*path, number))
    if not isinstance(value, dict) or schema.get("type") != "object":
        return
    for key, child in value.items():
        below = schema.get("properties", {}).get(key, schema.get("additionalProperties"))
        fault = Fault((*path, key), "")
        if below is None:
            yield Fault(fault.path, f'unknown field "{fault.place}"')
        else:
            yield from find_unknown(below, child, fault.path)


def is_open(schema: JSON, path: Path) -> bool:
    """Return whether a path is below a field that takes any value, as ``spec.plugin.config`` does."""
    for part in path:
        if schema.get(OPEN):
            return True
        more = schema.get("additionalProperties", {})
        schema = schema.get("items", {}) if isinstance(part, int) else schema.get("properties", {}).get(part, more)
    return False


def apply_defaults(schema: JSON, value: Any) -> Any:
    """Return the value with the schema's defaults. In an object, null counts as absent."""
    if isinstance(value, list):
        return [apply_defaults(schema.get("items", {}), item) for item in value]
    if not isinstance(value, dict):
        return value
    properties: JSON = schema.get("properties", {})
    kept = {key: child for key, child in value.items() if child is not None or schema.get(OPEN)}
    for key, below in properties.items():
        if "default" in below:
            kept.setdefault(key, copy.deepcopy(below["default"]))
    more: JSON = schema.get("additionalProperties", {})
    return {key: apply_defaults(properties.get(key, more), child) for key, child in kept.items()}


def find_faults(schema: JSON, value: Any, matches: Matches, path: Path = ()) -> Iterator[Fault]:
    """Yield what the schema's constraints refuse. ``matches(pattern, text)`` says whether RE2 finds the pattern."""
    if "type" not in schema:
        return
    if not _is(schema["type"], value):
        yield Fault(path, f'must be of type {schema["type"]}: "{_kind(value)}"')
        return
    if "enum" in schema and value not in schema["enum"]:
        listed = ", ".join(json.dumps(allowed) for allowed in schema["enum"])
        yield Fault(path, f"Unsupported value: {_format_value(value)}: supported values: {listed}")
    if isinstance(value, str):
        yield from _text_faults(schema, value, matches, path)
    elif isinstance(value, (int, float)):
        yield from _number_faults(schema, value, path)
    elif isinstance(value, list):
        yield from _list_faults(schema, value, matches, path)
    elif isinstance(value, dict):
        yield from _object_faults(schema, value, matches, path)


def _is(kind: str, value: Any) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES[kind])


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    return next(kind for kind in ("boolean", "integer", "number", "string", "array", "object") if _is(kind, value))


def _format_value(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= SHOWN_VALUE else text[: SHOWN_VALUE - 1] + "…"


def _text_faults(schema: JSON, value: str, matches: Matches, path: Path) -> Iterator[Fault]:
    if len(value) < schema.get("minLength", 0):
        yield Fault(path, f"Invalid value: {_format_value(value)}: should be at least {schema['minLength']} chars long")
    if len(value) > schema.get("maxLength", len(value)):
        yield Fault(path, f"Too long: may not be more than {schema['maxLength']} bytes")
    elif "pattern" in schema and not matches(schema["pattern"], value):
        yield Fault(path, f"Invalid value: {_format_value(value)}: should match '{schema['pattern']}'")


def _number_faults(schema: JSON, value: float, path: Path) -> Iterator[Fault]:
    for keyword, words, broken in (
        ("minimum", "greater", value < schema.get("minimum", value)),
        ("maximum", "less", value > schema.get("maximum", value)),
    ):
        if broken:
            yield Fault(path, f"Invalid value: {value}: should be {words} than or equal to {schema[keyword]}")


def _list_faults(schema: JSON, value: list[Any], matches: Matches, path: Path) -> Iterator[Fault]:
    if len(value) > schema.get("maxItems", len(value)):
        yield Fault(path, f"Too many: {len(value)}: must have at most {schema['maxItems']} items")
        return
    if len(value) < schema.get("minItems", 0):
        yield Fault(path, f"should have at least {schema['minItems']} items")
    for number, item in enumerate(value):
        yield from find_faults(schema.get("items", {}), item, matches, (*path, number))
    seen: list[JSON] = []
    for number, item in enumerate(value):
        keys = schema.get("x-kubernetes-list-map-keys", [])
        key_fields = {key: item[key] for key in keys if isinstance(item, dict) and key in item}
        if key_fields and key_fields in seen:
            yield Fault((*path, number), f"Duplicate value: {json.dumps(key_fields, separators=(',', ':'))}")
        seen.append(key_fields)


def _object_faults(schema: JSON, value: JSON, matches: Matches, path: Path) -> Iterator[Fault]:
    if len(value) > schema.get("maxProperties", len(value)):
        yield Fault(path, f"Too many: {len(value)}: must have at most {schema['maxProperties']} items")
        return
    for name in schema.get("required", []):
        if name not in value:
            yield Fault((*path, name), "Required value")
    properties: JSON = schema.get("properties", {})
    more: JSON = schema.get("additionalProperties", {})
    for key, child in value.items():
        yield from find_faults(properties.get(key, more), child, matches, (*path, key))


def escape_names(schema: JSON, value: Any) -> Any:
    """Return a value as rules see it: the names of properties are escaped, those in a map are not."""
    if isinstance(value, list):
        return [escape_names(schema.get("items", {}), item) for item in value]
    if not isinstance(value, dict):
        return value
    properties: JSON = schema.get("properties", {})
    more: JSON = schema.get("additionalProperties", {})
    return {
        escape_name(key) if key in properties else key: escape_names(properties.get(key, more), child)
        for key, child in value.items()
    }


def escape_name(name: str) -> str:
    """Return a property's name as CEL takes it (k8s.io/apiserver, pkg/cel/escaping.go)."""
    if name in _RESERVED:
        return f"__{name}__"
    for part, escaped in (("__", "__underscores__"), (".", "__dot__"), ("-", "__dash__"), ("/", "__slash__")):
        name = name.replace(part, escaped)
    return name


def find_rules(schema: JSON, value: Any, path: Path = ()) -> Iterator[Rule]:
    """Yield the CEL rules of the fields that exist. Rules about a change (oldSelf) do not apply to a new object."""
    for rule in schema.get(CEL, []):
        if "oldSelf" not in rule["rule"]:
            yield Rule(path, escape_names(schema, value), rule["rule"], rule["message"])
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from find_rules(schema.get("items", {}), item, (*path, number))
    if isinstance(value, dict):
        properties: JSON = schema.get("properties", {})
        more: JSON = schema.get("additionalProperties", {})
        for key, child in value.items():
            yield from find_rules(properties.get(key, more), child, (*path, key))
