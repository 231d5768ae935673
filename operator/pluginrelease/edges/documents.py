"""YAML as kubectl reads it, with the line of every field.

kubectl (sigs.k8s.io/yaml) has no timestamps and no numbers in base 60, reads 1e3 as a number, turns numeric keys into
text, and refuses duplicate keys.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import yaml

from pluginrelease.core.offline.ambiguous_yaml import Ambiguity, find_ambiguity
from pluginrelease.core.offline.schema import Fault, Path

MAX_NODES = 200_000
MAX_DEPTH = 100


class _Loader(yaml.SafeLoader):
    """Read scalars by kubectl's rules."""

    bool_values = {**yaml.SafeLoader.bool_values, "y": True, "n": False}  # noqa: RUF012  # as PyYAML declares it

    def compose_scalar_node(self, anchor: dict[Any, yaml.Node]) -> yaml.ScalarNode:
        """Compose a scalar; a tag says what it is, as quotes do: ``!!str on`` is not plain."""
        is_tagged = self.peek_event().tag is not None  # type: ignore[no-untyped-call]
        node = super().compose_scalar_node(anchor)
        node.style = "'" if is_tagged and node.style is None else node.style
        return node


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
    """One document: its value, the line of each path (from 1), its duplicate keys, and its ambiguous scalars.

    ``ambiguous`` has the path of each key and value that tools read differently.
    """

    value: Any
    lines: dict[Path, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    ambiguous: list[tuple[Path, Ambiguity]] = field(default_factory=list)

    def line(self, path: Path) -> int:
        """Return the line of a field, or of the nearest existing parent."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def read(text: str) -> Iterator[Document]:
    """Return the documents of a file. Empty ones are skipped, and the items of a List are separate documents.

    Raises `yaml.YAMLError` for invalid YAML, and for YAML that is too expensive to read.
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


class UnreadableText(Exception):
    """A text that is not the YAML of one document. Its message has nothing of the text; ``line`` counts from 1."""

    def __init__(self, line: int | None) -> None:
        super().__init__(f"line {line}")
        self.line = line


def read_one(text: str) -> Document:
    """Return the only document of a text. Raises `UnreadableText`."""
    try:
        found = list(read(text))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise UnreadableText(mark.line + 1 if mark else None) from None
    if len(found) != 1:
        raise UnreadableText(None)
    return found[0]


def _unpack_list(document: Document) -> Iterator[Document]:
    whole = document.value
    if not (isinstance(whole, dict) and whole.get("kind") == "List" and isinstance(whole.get("items"), list)):
        yield document
        return
    for number, item in enumerate(whole["items"]):
        head: Path = ("items", number)
        lines = {path[2:]: line for path, line in document.lines.items() if path[:2] == head}
        faults = [Fault(fault.path[2:], fault.message) for fault in document.faults if fault.path[:2] == head]
        ambiguous = [(path[2:], found) for path, found in document.ambiguous if path[:2] == head]
        yield Document(item, lines, faults, ambiguous)


@dataclass
class _Walk:
    """Convert nodes to values."""

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
        value = self.scalar(node)
        self.note_ambiguity(node, path, value, is_key=False)
        return value

    def note_ambiguity(self, node: yaml.Node, path: Path, reading: Any, *, is_key: bool) -> None:
        """Keep what tools read differently, if the scalar has no quotes."""
        is_plain = isinstance(node, yaml.ScalarNode) and node.style is None
        if is_plain and (found := find_ambiguity(node.value, reading, is_key=is_key)):
            self.document.ambiguous.append((path, found))

    def scalar(self, node: yaml.Node) -> Any:
        """Return a scalar's value. ``<<`` is plain text if it is not a key."""
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
            self.note_ambiguity(key, below, self.scalar(key), is_key=True)
            found[name] = self.value(child, below)
        return found

    def key(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise yaml.YAMLError(f"line {node.start_mark.line + 1}: a key is not text")
        value = self.scalar(node)
        if value is None:
            raise yaml.YAMLError(f"line {node.start_mark.line + 1}: a key is null")
        if isinstance(value, float):
            return _write_float(value)
        return str(value).lower() if isinstance(value, bool) else str(value)


def _write_float(value: float) -> str:
    """Write a number as kubectl writes a key: Go's strconv.FormatFloat(value, 'g', -1, 64)."""
    if not math.isfinite(value):
        return {"inf": ".inf", "-inf": "-.inf"}.get(str(value), ".nan")
    digits = len(Decimal(repr(value)).normalize().as_tuple().digits)
    exponent = int(f"{value:e}".rpartition("e")[2])
    return f"{value:.{max(digits, 6)}g}" if -4 <= exponent < 6 else f"{value:.{digits - 1}e}"


def _join_surrogates(text: str) -> str:
    """Join surrogates: JSON writes a character beyond 16 bits in two halves, and PyYAML does not join them."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
