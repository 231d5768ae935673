"""Keep the values of ``configFrom`` for each revision, and the key of their hash, in Secrets of the operator's."""

from __future__ import annotations

import secrets
from typing import Any

from pluginrelease import api
from pluginrelease.controller import writing
from pluginrelease.controller.pass_context import PassContext
from pluginrelease.controller.reading import ObjectReader
from pluginrelease.core.config_values import KEY_BYTES, ConfigValues
from pluginrelease.core.rollout import kept_config, plan
from pluginrelease.edges.kubernetes.resources import SECRETS, type_meta

JSON = dict[str, Any]


async def keep(work: PassContext, release: api.Release, revision: str, config: ConfigValues | None) -> None:
    """Keep the values of a revision, unless they are kept already. Raises `Refused` (ObjectNotOurs)."""
    if config is None or config.values is None:
        return
    wanted = kept_config.render_values(release, revision, config)
    await keep_secret(work, release, wanted, "the values of configFrom are kept for a rollback")


async def keep_secret(work: PassContext, release: api.Release, wanted: JSON, why: str) -> None:
    """Write one of our Secrets, unless it is there. Data of an immutable Secret never change: it is replaced."""
    known = await find(work.reader, release, wanted["metadata"]["name"])
    if known is not None and not plan.is_ours(release, known):
        raise kept_config.refuse_foreign(release, known)
    if known is not None and known.get("data") != wanted["data"]:
        await writing.delete(work, release, known)
        known = None
    if known is not None and kept_config.is_current(release, wanted, known):
        return
    own = known["metadata"] if known else {}
    first = plan.find_first(release, known) if known else None
    write = plan.Write(wanted, own.get("uid"), why, version=own.get("resourceVersion"), first=first)
    await writing.apply(work, release, write)


async def find(reader: ObjectReader, release: api.Release, name: str) -> JSON | None:
    """Return a Secret in the release's namespace; None if there is none."""
    found = await reader.get(SECRETS, release.metadata.namespace, name)
    return {**found, **type_meta(SECRETS)} if found is not None else None


async def recall(reader: ObjectReader, release: api.Release, revision: str, digest: str) -> ConfigValues:
    """Return the values of a revision. Raises `Refused` (ConfigNotKept) if they are not kept."""
    found = await find(reader, release, kept_config.name_values(release, revision))
    return kept_config.read_values(release, revision, digest, found)


async def forget(work: PassContext, release: api.Release, revision_name: str) -> None:
    """Delete the values of a revision that is not kept any longer. ``revision_name``: its ControllerRevision."""
    found = await find(work.reader, release, f"{revision_name}-config")
    if found is not None and plan.is_ours(release, found):
        await writing.delete(work, release, found)


async def find_key(work: PassContext, release: api.Release) -> bytes:
    """Return the key of the release's hashes; make it if there is none. Raises `Refused` (ObjectNotOurs)."""
    known = await find(work.reader, release, kept_config.name_key(release))
    key = kept_config.read_key(release, known) or secrets.token_bytes(KEY_BYTES)
    await keep_secret(work, release, kept_config.render_key(release, key), "the key for hashes of values is kept")
    return key
