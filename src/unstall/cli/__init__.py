"""The command line: one file per command, loaded when it is called."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from unstall import __version__
from unstall.errors import UnstallError

# command -> (module under unstall.cli, one line for --help). A command is `command` in its module.
COMMANDS: dict[str, tuple[str, str]] = {
    "check": ("check", "Find the blocking calls in your source, with the chain that leads to each."),
    "lab": ("lab", "Prove it: run experiments on real servers under real probes."),
    "fix": ("fix", "Rewrite blocking calls, each rewrite proved before it is offered."),
    "run": ("run", "Start a server as it is, watched: every stall named while it lasts."),
    "probe": ("probe", "Judge the probes of a manifest, and say what to set."),
    "pods": ("pods", "Say why the pods of a cluster were restarted."),
    "explain": ("explain", "Say what a rule finds, why it stalls and what to use instead."),
    "show": ("show", "Print or draw the result of a lab run again from its JSON file."),
}


class LazyGroup(click.Group):
    """Imports a command's module when it is called, so that `unstall check` never pays for the lab."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order people meet them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command; None where there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"unstall.cli.{COMMANDS[cmd_name][0]}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in COMMANDS.items()])

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run, and turn an `UnstallError` into its sentence and exit status 2.

        Called without arguments it is the whole program: the context's ``obj`` is then True.
        """
        kwargs.setdefault("obj", not args and not kwargs)
        try:
            return super().main(*args, **kwargs)
        except UnstallError as error:
            click.echo(f"unstall: {error}", err=True)
            sys.exit(2)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="unstall")
def main() -> None:
    """Your pod was not dead. Its event loop was busy."""
