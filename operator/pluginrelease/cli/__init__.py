"""The command ``pluginrelease`` (also ``kubectl pluginrelease``).

Every module of this package is a subcommand: it holds the click command that is named after the module. A module is
loaded when its subcommand is asked for: ``pluginrelease crd`` needs no kopf and no lab.
"""

from __future__ import annotations

import importlib
import pkgutil

import click

from pluginrelease import __version__


class Subcommands(click.Group):
    """The modules beside this one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        try:
            module = importlib.import_module(f"{__name__}.{cmd_name}")
        except ModuleNotFoundError as missing:
            return without(cmd_name, missing)
        [command] = [
            value for value in vars(module).values() if isinstance(value, click.Command) and value.name == cmd_name
        ]
        return command


def without(name: str, missing: ModuleNotFoundError) -> click.Command:
    """Stands in for a subcommand of the lab where the package was installed without it, as in the operator's image."""
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
