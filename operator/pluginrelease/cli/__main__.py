"""``python -m pluginrelease.cli``: the same command, run by this interpreter."""

from pluginrelease.cli import main

main(prog_name="pluginrelease")
