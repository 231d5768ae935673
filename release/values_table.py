"""Render the chart's values as the table in its README, from values.yaml and values.schema.json."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

JSON = dict[str, Any]
BEGIN = "<!-- values: written by `make manifests` -->"
END = "<!-- end of values -->"


def fill(page: str, chart: Path) -> str:
    """Return the page with a new table between its marks. Raises ValueError if a mark is missing."""
    pattern = f"{re.escape(BEGIN)}.*?{re.escape(END)}"
    page, found = re.subn(pattern, lambda _: f"{BEGIN}\n{table(chart)}\n{END}", page, flags=re.DOTALL)
    if found != 1:
        raise ValueError(f"the page needs the line {BEGIN} once, and {END} after it")
    return page


def table(chart: Path) -> str:
    """Return one row for each value that can be set, in the order of values.yaml."""
    defaults = yaml.safe_load((chart / "values.yaml").read_text(encoding="utf-8"))
    schema = json.loads((chart / "values.schema.json").read_text(encoding="utf-8"))
    rows = [f"| `{path}` | {shown(value)} | {prose(node)} |" for path, value, node in leaves(defaults, schema)]
    return "\n".join(["| Value | Default | What it is |", "|---|---|---|", *rows])


def leaves(defaults: JSON, schema: JSON, path: str = "") -> Iterator[tuple[str, Any, JSON]]:
    """Yield every value as (path, default, schema). Maps and lists that are passed on count as one."""
    for name, value in defaults.items():
        here, node = f"{path}.{name}" if path else name, schema["properties"][name]
        if node.get("properties"):
            yield from leaves(value, node, here)
        else:
            yield here, value, node


def shown(value: Any) -> str:
    """Return a default as a user would write it; an empty one is left out."""
    return "" if value in ("", [], {}) else f"`{json.dumps(value).strip(chr(34))}`"


def prose(node: JSON) -> str:
    """Return the description and the allowed values. A bar is replaced, because it would end a cell."""
    choice = f" One of {', '.join(node['enum'])}." if "enum" in node else ""
    return f"{node['description']}{choice}".replace("|", "\\|")
