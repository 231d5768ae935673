"""Where the image of a revision comes from. Only this module knows the kinds of source in ``spec.artifact``.

All other code asks for the image of a source. Another kind of source, for example one that builds an image, is another
branch here, and changes no other module.
"""

from __future__ import annotations

from pluginrelease import api


def find_image(source: api.ArtifactSource) -> api.ImageSource:
    """Return the image of a source: its reference, and how to pull it."""
    return source.image
