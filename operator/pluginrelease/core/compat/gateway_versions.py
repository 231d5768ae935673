"""Map a gateway's name and version, such as ``istio@1.31``, to its Envoy, for checks before any gateway exists.

Istio's page of supported releases gives the Envoy branch of each Istio release (istio.io,
docs/releases/supported-releases, "Supported Envoy Versions"). It says that "releases tend to map one to one":

* 1.16 → 1.24, 1.17 → 1.25, 1.19 → 1.27, 1.20 → 1.28, 1.21 → 1.29
* 1.29 → 1.37, 1.30 → 1.38, 1.31 → 1.39

A pod may run another Envoy. The operator reads the version from the pods.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pluginrelease.api.reasons import Reason
from pluginrelease.core.compat import Envoy, Higress, Host
from pluginrelease.core.errors import Refused

ISTIO_ENVOY = {(1, minor): (1, minor + 8) for minor in range(16, 32)}
HIGRESS = ((2, 0), (2, 1), (2, 2))
FORM = "istio@1.31, higress@2.2 or envoy@1.40"
_TEXT = re.compile(r"(istio|higress|envoy)@v?(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?")


@dataclass(frozen=True)
class Meant:
    """A gateway that the user named.

    ``hosts`` is empty if this version is not in the tables, and ``unknown`` says so. ``agent``: the Istio version of
    the agent that fetches modules, if known. ``allow_native``: its owner allows native code in modules.
    """

    name: str
    version: str
    hosts: tuple[Host, ...]
    unknown: str = ""
    agent: str = ""
    allow_native: bool = False

    @property
    def provider(self) -> str:
        """Return the provider as the API names it."""
        return "Higress" if self.name == "higress" else "Istio"

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


def read(text: str) -> Meant:
    """Read ``istio@1.31``, ``higress@2.1.4`` or ``envoy@1.40``; a patch number is optional.

    Raises `Refused` (``InvalidGateway``) for another form. A version that no table has is no error; the result says so.
    """
    match = _TEXT.fullmatch(text.strip().lower())
    if match is None:
        raise Refused(Reason.INVALID_GATEWAY, f"{text[:80]!r} names no gateway and version", f"Write {FORM}.")
    name, major, minor, patch = match.groups()
    version = f"{major}.{minor}" + (f".{patch}" if patch else "")
    release = (int(major), int(minor))
    if name == "envoy":
        return Meant(name, version, (Envoy(version, release),))
    if name == "istio":
        return _istio(version, release)
    return _higress(version, release, int(patch) if patch else None)


def _istio(version: str, release: tuple[int, int]) -> Meant:
    envoy = ISTIO_ENVOY.get(release)
    if envoy is None:
        return Meant("istio", version, (), _explain_unknown("Istio", version, list(ISTIO_ENVOY)), version)
    return Meant("istio", version, (Envoy(f"{envoy[0]}.{envoy[1]} (Istio {version})", envoy),), agent=version)


def _higress(version: str, release: tuple[int, int], patch: int | None) -> Meant:
    if release not in HIGRESS:
        return Meant("higress", version, (), _explain_unknown("Higress", version, list(HIGRESS)))
    return Meant("higress", version, (Higress(version, (*release, patch or 0), exact=patch is not None),))


def _explain_unknown(name: str, version: str, known: list[tuple[int, int]]) -> str:
    first, last = (".".join(map(str, minor)) for minor in (known[0], known[-1]))
    return f"which functions {name} {version} has is not known here: {first} to {last} are"
