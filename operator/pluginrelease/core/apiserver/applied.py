"""What a server-side apply is given, and what became of it.

The API server's merge makes null of a map or keyed list whose last entry the applier gives up
(sigs.k8s.io/structured-merge-diff, ``removingWalker``). A schema that wants an object refuses that null, at every try.
"""

from __future__ import annotations

from typing import Any

JSON = dict[str, Any]

# fields whose content is somebody's own: there an empty map is a value
FREE = frozenset({"pluginConfig", "defaultConfig", "data"})


def without_empties(manifest: JSON) -> JSON:
    """The same object without empty maps and lists; the API conventions make no difference between empty and absent.

    What stands in a list stays as it is, and so does the content of a `FREE` field.
    """
    kept = {
        key: without_empties(value) if isinstance(value, dict) and key not in FREE else value
        for key, value in manifest.items()
    }
    return {key: value for key, value in kept.items() if value not in ({}, [])}


def has_nulled_maps(wanted: Any, answered: Any) -> bool:
    """Whether an empty map or list of what was applied came back as null, which the same apply once more mends."""
    if isinstance(wanted, dict) and isinstance(answered, dict):
        return any(has_nulled_maps(value, answered.get(key, value)) for key, value in wanted.items())
    return answered is None and wanted in ({}, [])
