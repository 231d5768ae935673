"""The gateways, as far as their version says what they have: an Envoy, or a Higress."""

from __future__ import annotations

import re
from dataclasses import dataclass

NEWEST_ENVOY = (1, 40)  # the newest whose tables were read; a newer one may have more functions, not fewer
NEWEST_HIGRESS = (2, 2)
# the first that takes modules of plain Go, by Higress's own documentation (docs, user/wasm-go)
HIGRESS_GO = (2, 1, 4)

Version = tuple[int, int]
HigressVersion = tuple[int, int, int]
ALWAYS: Version = (0, 0)


@dataclass(frozen=True)
class Envoy:
    """A gateway's Envoy. ``development`` is set for a build from before the release of that number."""

    text: str
    release: Version | None
    development: bool = False

    def __str__(self) -> str:
        return self.text

    def has(self, since: Version) -> bool | None:
        """Whether what came with release ``since`` is in this Envoy; None where that cannot be told."""
        if since == ALWAYS:
            return True
        if self.release is None or (self.development and self.release == since):
            return None
        return self.release >= since

    @property
    def newer(self) -> bool:
        """Whether it may have functions that no table here knows."""
        return self.release is not None and self.release > NEWEST_ENVOY


@dataclass(frozen=True)
class Higress:
    """A gateway of Higress, whose Envoy has a Proxy-Wasm host of its own: its Envoy's number says little of it.

    Its WASI functions came in three steps from 2025-03-25 to 2025-04-28 (higress-group/proxy-wasm-cpp-host), after 2.0
    (2.0.4 lacks sched_yield: alibaba/higress#4233) and within 2.1; its documentation names 2.1.4 as the first for
    modules of plain Go, which import them.
    """

    text: str
    release: HigressVersion | None
    exact: bool = True  # False: the patch number is not known, and stands as 0

    def __str__(self) -> str:
        return self.text

    def has(self, since: Version) -> bool | None:
        """Whether what came to Envoy with release ``since`` is in this gateway; None where that cannot be told."""
        if since == ALWAYS:
            return True
        if self.release is None:
            return None
        if self.release >= HIGRESS_GO:
            return True
        return None if self.release >= (2, 1, 0) else False

    def runs_go(self) -> bool | None:
        """Whether it takes what plain Go builds (`HIGRESS_GO`); None where that cannot be told."""
        if self.release is None or (not self.exact and self.release[:2] == HIGRESS_GO[:2]):
            return None
        return self.release >= HIGRESS_GO

    @property
    def newer(self) -> bool:
        """Whether it may have functions that no table here knows."""
        return self.release is not None and self.release[:2] > NEWEST_HIGRESS


Host = Envoy | Higress


def higress(image: str, envoy_version: str | None) -> Higress:
    """Read Higress's version of its gateway's image (``…/gateway:2.1.4``); without one, of its Envoy's.

    Higress 2.2 came with Envoy 1.36 and all before it with 1.27 (higress, .gitmodules), which tells no more. A release
    candidate comes before its release.
    """
    tag = re.search(r":v?(\d{1,4})\.(\d{1,4})\.(\d{1,4})(-(?:rc|alpha|beta)[\w.-]*)?[^/:@]*(?:@|$)", image)
    if tag is not None:
        major, minor, patch, early = tag.groups()
        text = f"{major}.{minor}.{patch}{early or ''}"
        return Higress(text, (int(major), int(minor), int(patch) - bool(early)))
    if envoy_version is not None and envoy(envoy_version).has((1, 36)):
        return Higress("2.2", (2, 2, 0), exact=False)
    return Higress("of an unknown version", None)


def envoy(text: str) -> Envoy:
    """Read an Envoy version: ``1.40.0``, or what /server_info says, ``<commit>/1.40.1-dev/Clean/RELEASE/BoringSSL``.

    ``1.40.1-dev`` comes after 1.40.0 and has all that 1.40 has; ``1.41.0-dev`` comes before 1.41.
    """
    match = re.search(r"(?:^|/)v?(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?(-dev)?", text)
    if match is None:
        return Envoy(text[:80] or "unknown", None)
    major, minor, patch, dev = match.groups()
    short = match.group(0).lstrip("/v")
    return Envoy(short, (int(major), int(minor)), bool(dev) and patch in (None, "0"))
