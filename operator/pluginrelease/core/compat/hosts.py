"""What a gateway's version says about its features: for Envoy and for Higress."""

from __future__ import annotations

import re
from dataclasses import dataclass

NEWEST_ENVOY = (1, 40)  # the newest release whose tables were read; a newer one may have more functions, never fewer
NEWEST_HIGRESS = (2, 2)
# the first that runs modules of plain Go, according to Higress's documentation (docs, user/wasm-go)
HIGRESS_GO = (2, 1, 4)

Version = tuple[int, int]
HigressVersion = tuple[int, int, int]
ALWAYS: Version = (0, 0)


@dataclass(frozen=True)
class Envoy:
    """A gateway's Envoy. ``development`` is set for a build from before the release with that number."""

    text: str
    release: Version | None
    development: bool = False

    def __str__(self) -> str:
        return self.text

    def has(self, since: Version) -> bool | None:
        """Return whether this Envoy has what release ``since`` added; None if that is not known."""
        if since == ALWAYS:
            return True
        if self.release is None or (self.development and self.release == since):
            return None
        return self.release >= since

    @property
    def is_newer(self) -> bool:
        """Return True if it may have functions that the tables here do not list."""
        return self.release is not None and self.release > NEWEST_ENVOY


@dataclass(frozen=True)
class Higress:
    """A gateway of Higress. Its Envoy has its own Proxy-Wasm host, so Envoy's version says little about it.

    The fork added its WASI functions in three steps from 2025-03-25 to 2025-04-28 (higress-group/proxy-wasm-cpp-host),
    after 2.0 (2.0.4 lacks sched_yield: alibaba/higress#4233) and during 2.1. Modules of plain Go import them; the
    documentation names 2.1.4 as the first release for such modules.
    """

    text: str
    release: HigressVersion | None
    exact: bool = True  # False: the patch number is not known, and is 0 here

    def __str__(self) -> str:
        return self.text

    def has(self, since: Version) -> bool | None:
        """Return whether this gateway has what Envoy release ``since`` added; None if that is not known."""
        if since == ALWAYS:
            return True
        if self.release is None:
            return None
        if self.release >= HIGRESS_GO:
            return True
        return None if self.release >= (2, 1, 0) else False

    def runs_go(self) -> bool | None:
        """Return whether it runs modules of plain Go (`HIGRESS_GO`); None if that is not known."""
        if self.release is None or (not self.exact and self.release[:2] == HIGRESS_GO[:2]):
            return None
        return self.release >= HIGRESS_GO

    @property
    def is_newer(self) -> bool:
        """Return True if it may have functions that the tables here do not list."""
        return self.release is not None and self.release[:2] > NEWEST_HIGRESS


Host = Envoy | Higress


def higress(image: str, envoy_version: str | None) -> Higress:
    """Read Higress's version from its gateway's image (``…/gateway:2.1.4``), or else from its Envoy's version.

    Higress 2.2 has Envoy 1.36, and all earlier releases have 1.27 (higress, .gitmodules), so 1.27 says no more. A
    release candidate is earlier than its release.
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
    """Read an Envoy version: ``1.40.0``, or as in /server_info ``<commit>/1.40.1-dev/Clean/RELEASE/BoringSSL``.

    ``1.40.1-dev`` is later than 1.40.0 and has all that 1.40 has; ``1.41.0-dev`` is earlier than 1.41.
    """
    match = re.search(r"(?:^|/)v?(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?(-dev)?", text)
    if match is None:
        return Envoy(text[:80] or "unknown", None)
    major, minor, patch, dev = match.groups()
    short = match.group(0).lstrip("/v")
    return Envoy(short, (int(major), int(minor)), bool(dev) and patch in (None, "0"))
