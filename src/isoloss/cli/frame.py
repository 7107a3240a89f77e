"""The command line's frame: the program, what it prints to, and how it ends."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from isoloss import __version__
from isoloss.errors import IsolossError
from isoloss.usage import usage_error

app = typer.Typer(
    name="isoloss",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "How many times less of a resource does a new learning algorithm need to match an old one, "
        "how sure are we, and does the gain hold with scale?\n\n"
        "Start with [bold]isoloss run studies/quickstart.toml[/], or bring your own runs: "
        "[bold]isoloss gain runs.csv --baseline A --candidate B[/]."
    ),
)


def screen() -> Console:
    """Standard output."""
    return Console(highlight=False)


def errors() -> Console:
    """Standard error."""
    return Console(stderr=True, highlight=False)


def print_json(value: Any) -> None:
    """JSON on standard output; a number that JSON lacks is a bug, not a word."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"isoloss {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Entry point: bad input is one line on standard error and exit code 2."""
    try:
        try:
            # left to itself it boxes a usage error over several lines; an exit code comes back and isn't raised
            sys.exit(app(standalone_mode=False))
        except Exception as error:
            if not hasattr(error, "format_message"):  # a fault of the command line, not of what it names
                raise
            if type(error).__name__ == "NoArgsIsHelpError":  # the help has been shown
                sys.exit(2)
            raise usage_error(error) from None
    except IsolossError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"[bold red]isoloss:[/] {escape(str(error))}")
        sys.exit(2)
    except typer.Abort:
        errors().print("isoloss: stopped.")
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(141)
