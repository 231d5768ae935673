"""The command ``pluginrelease`` (also ``kubectl pluginrelease``).

Every module of this package is a subcommand and holds the click command of the same name; a keyword of Python has "_"
after it. A module is loaded when its subcommand is used: ``pluginrelease crd`` needs no kopf and no lab.
"""

from __future__ import annotations

import gc
import importlib
import keyword
import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager

import click

from pluginrelease import __version__


class Subcommands(click.Group):
    """Load subcommands from the modules of this package."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        modules = (module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))
        return sorted(name.removesuffix("_") for name in modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        try:
            with collecting_nothing():
                module = importlib.import_module(f"{__name__}.{cmd_name}{'_' * keyword.iskeyword(cmd_name)}")
        except ModuleNotFoundError as missing:
            return without(cmd_name, missing)
        [command] = [
            value for value in vars(module).values() if isinstance(value, click.Command) and value.name == cmd_name
        ]
        return command


@contextmanager
def collecting_nothing() -> Iterator[None]:
    """Search for no garbage meanwhile: modules make none, and the search takes a fifth of the time of all imports."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def without(name: str, missing: ModuleNotFoundError) -> click.Command:
    """Return a substitute for a subcommand whose libraries are not installed, as in the operator's image."""
    if (missing.name or "").partition(".")[0] == __package__.partition(".")[0]:
        raise missing

    def say() -> None:
        raise click.ClickException(
            f"`{name}` needs {missing.name}, which comes with the lab. "
            "In a checkout of pluginrelease: `pip install --require-hashes --no-deps -r requirements/lab.txt "
            "-r requirements/build.txt && pip install --no-deps --no-build-isolation ./lab`."
        )

    return click.Command(
        name,
        callback=say,
        short_help="(not installed: it comes with the extra [lab])",
        context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    )


@click.command(cls=Subcommands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pluginrelease")
def main() -> None:
    """A WebAssembly plugin, from an image to seen running in every Envoy gateway pod."""
