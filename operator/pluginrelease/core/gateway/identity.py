"""The plugin that gateways are asked about, and one run of a gateway: what names in their answers mean."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pluginrelease.api import times
from pluginrelease.core import placeholders, sources

_TRANSLATED = "~istio-translated-wasmplugin"


@dataclass(frozen=True)
class DesiredPlugin:
    """The plugin that every selected gateway pod should run.

    ``namespace`` and ``name`` are the WasmPlugin's. ``digest_hex`` is the manifest's SHA-256 without prefix. ``config``
    is the plugin's configuration (None and {} are the same). ``fail_strategy`` is FAIL_CLOSE, FAIL_OPEN or FAIL_RELOAD.
    ``env`` is the module's environment; None for a value that each gateway sets itself. ``image`` is the repository
    with the digest, as in the WasmPlugin's url, "" if it does not matter. ``replaces``: the control plane replaces
    placeholders with values of Secrets. ``values``: texts of values of Secrets in ``config``, which no message may
    contain.
    """

    namespace: str
    name: str
    digest_hex: str
    config: Mapping[str, Any] | None = field(repr=False)
    fail_strategy: str
    env: Mapping[str, str | None] = field(default_factory=dict)
    image: str = ""
    replaces: bool = False
    values: frozenset[str] = field(default=frozenset(), repr=False)

    @property
    def has_placeholders(self) -> bool:
        """Return True if the text that a gateway receives is not known exactly."""
        return self.replaces and placeholders.MEANT in json.dumps([self.config, self.env])

    def is_given(self, config: Any, env: Mapping[str, str | None]) -> bool:
        """Return True if a gateway with this configuration and environment received what is wanted."""
        return placeholders.is_same((dict(self.config or {}), self.env), (config, env), replaced=self.replaces)

    def ecds_name_matches(self, name: str) -> bool:
        """Return True if an extension configuration belongs to this WasmPlugin, in any Istio version.

        Its name is ``NS.NAME`` up to 1.20, then has a prefix that changed twice, and from 1.30 on it is that of a
        translated TrafficExtension. A TrafficExtension without that suffix is another object, even with the same name.
        """
        prefix, _, last = name.rpartition("/")
        if "trafficextension" in prefix:
            return last == f"{self.namespace}.{self.name}{_TRANSLATED}"
        return last == f"{self.namespace}.{self.name}"

    def plugin_name_matches(self, name: str) -> bool:
        """Return True if a name in a log line or a statistic is this plugin's (Envoy's PluginConfig.name)."""
        prefix, _, last = name.rstrip(".").rpartition("/")
        if prefix and "istio.io/" not in prefix:
            return False  # a path, or a repository of that name
        return last.removesuffix(_TRANSLATED) == f"{self.namespace}.{self.name}"

    def is_module(self, told: str) -> bool:
        """Return True if a module that Istio's agent names is this one.

        The agent names it by url, or by the plugin's name if a Secret is missing. The same digest may come from two
        repositories, of which one fails.
        """
        _, is_url, image = told.partition("://")
        if not is_url:
            return self.plugin_name_matches(told)
        download = sources.split_download(self.image)
        if download is not None:
            return told == download[0]
        return self.digest_hex in told and (not self.image or image == self.image)


# characters of base64url, 6 bits each: among 2,000 pods two share a mark once in half a million releases
POD_MARK = 7
RUN_MARK = 4


def pod_mark(uid: str) -> str:
    """Return a short hash of a pod's UID. Status stores one for each pod of a release."""
    return _short(uid, POD_MARK)


def _short(text: str, length: int) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())[:length].decode()


@dataclass(frozen=True, order=True)
class Incarnation:
    """One run of one pod's Envoy, by short hashes of the pod's UID and of the start.

    A verification holds for one run.
    """

    pod: str
    run: str

    @classmethod
    def of(cls, uid: str, started_at: datetime) -> Incarnation:
        """Return the run of this pod's Envoy that began at this time, by the gateway's clock."""
        return cls(pod_mark(uid), _short(times.format_micro_time(started_at), RUN_MARK))
