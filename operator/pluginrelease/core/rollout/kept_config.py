"""The Secrets that the operator keeps in a release's namespace: the values of each revision, and the key of their hash.

They never change. The garbage collector deletes them with the release. Without the values of a revision it could not be
put back in full, because the user's own Secret may have changed or gone.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.core import config_values, revision
from pluginrelease.core.config_values import KEY_BYTES, ConfigValues
from pluginrelease.core.errors import Refused
from pluginrelease.core.rollout import plan

JSON = dict[str, Any]

VALUES_TYPE, VALUES_KEY = f"{api.GROUP}/config", "values.json"
HASH_KEY_TYPE, HASH_KEY_KEY = f"{api.GROUP}/config-key", "key"


def name_values(release: api.Release, wanted: str) -> str:
    """Return the name of the Secret with the values of a revision."""
    return f"{revision.name(release, wanted)}-config"


def name_key(release: api.Release) -> str:
    """Return the name of the Secret with the key of the release's hashes."""
    return f"{release.metadata.name}-config-key"


def render_values(release: api.Release, wanted: str, config: ConfigValues) -> JSON:
    """Return the Secret with the values of a revision."""
    raw = config_values.write(config.values or ())
    return _render(release, name_values(release, wanted), VALUES_TYPE, VALUES_KEY, raw)


def render_key(release: api.Release, key: bytes) -> JSON:
    """Return the Secret with the key of the release's hashes."""
    return _render(release, name_key(release), HASH_KEY_TYPE, HASH_KEY_KEY, key)


def _render(release: api.Release, name: str, kind: str, key: str, raw: bytes) -> JSON:
    own = release.metadata
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": kind,
        "immutable": True,
        "metadata": {
            "name": name,
            "namespace": own.namespace,
            "labels": {api.MANAGED_BY_LABEL: api.MANAGED_BY, api.UID_LABEL: own.uid},
            "annotations": {api.RELEASE_ANNOTATION: f"{own.namespace}/{own.name}"},
            "ownerReferences": [release.as_owner()],
        },
        "data": {key: base64.b64encode(raw).decode()},
    }


def read_values(release: api.Release, wanted: str, digest: str, found: JSON | None) -> ConfigValues:
    """Return the values of a revision. Raises `Refused` (``ConfigNotKept``) if they are not there any more."""
    raw = _read(release, found, VALUES_KEY)
    values = config_values.read(raw) if raw is not None else None
    if values is None:
        raise Refused(
            Reason.CONFIG_NOT_KEPT,
            f"the values of configFrom of revision {wanted} are gone: Secret {release.metadata.namespace}/"
            f"{name_values(release, wanted)} does not have them",
            "Correct the spec, or roll back to another revision: kubectl pluginrelease history",
        )
    return ConfigValues(digest, values)


def read_key(release: api.Release, found: JSON | None) -> bytes | None:
    """Return the key; None if there is none that can be used."""
    key = _read(release, found, HASH_KEY_KEY)
    return key if key is not None and len(key) == KEY_BYTES else None


def _read(release: api.Release, found: JSON | None, key: str) -> bytes | None:
    """Return one value of a Secret of ours."""
    if found is None or not plan.is_ours(release, found):
        return None
    try:
        return base64.b64decode(found["data"][key], validate=True)
    except (KeyError, TypeError, binascii.Error):
        return None


def refuse_foreign(release: api.Release, found: JSON) -> Refused:
    """Return the error of a Secret of the wanted name that is not the release's."""
    own = found["metadata"]
    return Refused(
        Reason.OBJECT_NOT_OURS,
        f"Secret {own['namespace']}/{own['name']} exists and was not made by this PluginRelease, which needs this name",
        "Delete it, or give it another name",
        recheck=plan.RECHECK,
    )


def is_current(release: api.Release, wanted: JSON, found: JSON) -> bool:
    """Return True if a Secret of ours has these data, and this release as its owner."""
    owners = found["metadata"].get("ownerReferences") or []
    has_owner = any(owner.get("uid") == release.metadata.uid for owner in owners)
    return has_owner and found.get("data") == wanted["data"]
