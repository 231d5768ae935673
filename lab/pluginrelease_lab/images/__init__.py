"""Container images for the lab's real node, built with buildah, without a Docker engine and a registry."""
