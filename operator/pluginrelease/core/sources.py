"""Where the image of a revision comes from. Only this module knows the kinds of source in ``spec.artifact``.

All other code asks for the image of a source. Another kind of source, for example one that builds an image, is another
branch here, and changes no other module.
"""

from __future__ import annotations

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.core.errors import Refused


def find_image(source: api.ArtifactSource) -> api.ImageSource:
    """Return the image of a source: its reference, and how to pull it.

    A file on an HTTP server is like an image by digest: its reference is ``URL@sha256:hex``, which no image has, and
    which `core.artifact.downloads` reads.
    """
    if source.http is not None:
        return api.ImageSource.model_construct(ref=f"{source.http.url}@sha256:{source.http.sha256}")
    if source.image is None:
        raise Refused(
            Reason.INVALID_REFERENCE, "spec.artifact has neither image nor http", "Set artifact.image or artifact.http"
        )
    return source.image


def split_download(image: str) -> tuple[str, str] | None:
    """Return URL and SHA-256 of a file on an HTTP server, from its reference; None for an image."""
    url, at, digest = image.rpartition("@sha256:")
    return (url, digest) if at and "://" in url else None
