"""Prepare a manifest for server-side apply, and check what the API server made of it.

If an applier gives up the last entry of a map or keyed list, the merge makes the field null
(sigs.k8s.io/structured-merge-diff, ``removingWalker``). A schema that wants an object refuses that null each time.
"""

from __future__ import annotations

from typing import Any

JSON = dict[str, Any]

# fields whose content belongs to the user: an empty map is a value there
FREE = frozenset({"pluginConfig", "defaultConfig", "data"})


def without_empties(manifest: JSON) -> JSON:
    """Return the same object without empty maps and lists. The API conventions treat empty and absent alike.

    Items of a list and the content of a `FREE` field are kept as they are.
    """
    kept = {
        key: without_empties(value) if isinstance(value, dict) and key not in FREE else value
        for key, value in manifest.items()
    }
    return {key: value for key, value in kept.items() if value not in ({}, [])}


def has_nulled_maps(wanted: Any, answered: Any) -> bool:
    """Return True if an empty map or list that was applied came back as null. Applying once more repairs that."""
    if isinstance(wanted, dict) and isinstance(answered, dict):
        return any(has_nulled_maps(value, answered.get(key, value)) for key, value in wanted.items())
    return answered is None and wanted in ({}, [])
