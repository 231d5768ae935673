"""YAML as kubectl reads it, with the line of every field.

kubectl (sigs.k8s.io/yaml) knows no timestamps and no numbers in base 60, takes 1e3 for a number, writes keys that are
numbers as text, and refuses a key that is there twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from pluginrelease.core.offline.schema import Fault, Path

MAX_NODES = 200_000
MAX_DEPTH = 100


class _Loader(yaml.SafeLoader):
    """Scalars by kubectl's rules."""

    bool_values = {**yaml.SafeLoader.bool_values, "y": True, "n": False}  # noqa: RUF012  # as PyYAML declares it


_KEPT = ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:null", "tag:yaml.org,2002:merge")
_Loader.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0] in _KEPT]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_MERGE = "tag:yaml.org,2002:merge"
_BOOL = re.compile(r"[yYnN]$")
_INT = re.compile(r"[-+]?(?:0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)$")
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$|[-+]?\.(?:inf|Inf|INF)$|\.(?:nan|NaN|NAN)$"
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", _BOOL, list("yYnN"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", _INT, list("-+0123456789"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))


@dataclass
class Document:
    """One document: its value, the line on which each path begins (from 1), and keys that are there twice."""

    value: Any
    lines: dict[Path, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def line(self, path: Path) -> int:
        """The line of a field, or of the nearest one above it that is there."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def read(text: str) -> Iterator[Document]:
    """The documents of a file; empty ones are left out, and those in a List are taken out of it.

    Raises `yaml.YAMLError` for what is no YAML, and for what would take too much to read.
    """
    loader = _Loader(text)
    try:
        while loader.check_node() and (node := loader.get_node()) is not None:
            document = Document(None)
            document.value = _Walk(loader, document).value(node, ())
            if document.value is not None:
                yield from _unpack_list(document)
    except (RecursionError, ValueError, OverflowError) as error:
        raise yaml.YAMLError(f"it cannot be read: {type(error).__name__}: {str(error)[:100]}") from None
    finally:
        loader.dispose()


def _unpack_list(document: Document) -> Iterator[Document]:
    whole = document.value
    if not (isinstance(whole, dict) and whole.get("kind") == "List" and isinstance(whole.get("items"), list)):
        yield document
        return
    for number, item in enumerate(whole["items"]):
        head: Path = ("items", number)
        lines = {path[2:]: line for path, line in document.lines.items() if path[:2] == head}
        faults = [Fault(fault.path[2:], fault.message) for fault in document.faults if fault.path[:2] == head]
        yield Document(item, lines, faults)


@dataclass
class _Walk:
    """From nodes to values."""

    loader: _Loader
    document: Document
    nodes: int = 0

    def value(self, node: yaml.Node, path: Path) -> Any:
        self.nodes += 1
        if self.nodes > MAX_NODES or len(path) > MAX_DEPTH:
            raise yaml.YAMLError(f"it has more than {MAX_NODES} values, or is nested more than {MAX_DEPTH} deep")
        self.document.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(child, (*path, number)) for number, child in enumerate(node.value)]
        return self.scalar(node)

    def scalar(self, node: yaml.Node) -> Any:
        """``<<`` is a word where it is no key."""
        value = "<<" if node.tag == _MERGE else self.loader.construct_object(node)
        return _join_surrogates(value) if isinstance(value, str) else value

    def mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        own = {self.key(key) for key, _ in node.value if key.tag != _MERGE}
        for key, child in node.value:
            if key.tag == _MERGE:
                merged = self.value(child, (*path, "<<"))
                for part in reversed(merged if isinstance(merged, list) else [merged]):
                    found |= {name: value for name, value in (part or {}).items() if name not in own}
                continue
            name = self.key(key)
            below: Path = (*path, name)
            if below in self.document.lines:
                place = Fault(below, "").place
                self.document.faults.append(Fault(below, f'key "{place}" is there twice'))
            self.document.lines[below] = key.start_mark.line + 1
            found[name] = self.value(child, below)
        return found

    def key(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise yaml.YAMLError(f"line {node.start_mark.line + 1}: a key is no text")
        value = self.scalar(node)
        if value is None:
            raise yaml.YAMLError(f"line {node.start_mark.line + 1}: a key is null")
        return str(value).lower() if isinstance(value, bool) else str(value)


def _join_surrogates(text: str) -> str:
    """A character beyond 16 bits that JSON spells in two halves, as one; PyYAML leaves them apart."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
