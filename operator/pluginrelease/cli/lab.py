"""``pluginrelease lab``: the embedded mesh. Its commands are those of the lab."""

from pluginrelease_lab.cli import lab

__all__ = ["lab"]
