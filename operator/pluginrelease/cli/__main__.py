"""``python -m pluginrelease.cli``: the same command, by the interpreter that runs this."""

from pluginrelease.cli import main

main(prog_name="pluginrelease")
