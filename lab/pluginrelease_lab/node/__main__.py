"""``python -m pluginrelease_lab.node [--install]``: list or install the system packages that a real node lacks."""

from __future__ import annotations

import sys

from pluginrelease_lab.node import packages

if __name__ == "__main__":
    sys.exit(packages.main(sys.argv[1:]))
