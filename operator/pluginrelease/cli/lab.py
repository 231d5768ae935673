"""``pluginrelease lab``: the embedded mesh; its commands are the lab's own."""

from pluginrelease_lab.cli import lab

__all__ = ["lab"]
