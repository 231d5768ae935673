"""Container images for the lab's real node, built with buildah: no Docker engine and no registry is needed."""
