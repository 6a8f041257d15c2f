"""The command `retlib`.

Each part of the library brings its own commands: a module that defines functions and imports what they need
inside them, so that `retlib --help` stays quick. A group is added with ``app.add_typer``, a single command
with ``app.command``.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated

import typer

from retlib.audit.commands import audit
from retlib.data.commands import app as data_app
from retlib.predict.command import predict
from retlib.study.commands import reproduce

app = typer.Typer(
    name="retlib",
    help="Re-run studies of retinal vessel segmentation.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(data_app)
app.command()(audit)
app.command()(predict)
app.command()(reproduce)


def _print_version(wanted: bool) -> None:
    if wanted:
        from retlib import __version__

        typer.echo(__version__)
        raise typer.Exit()


Version = Annotated[bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)]


@app.callback()
def _options(version: Version = False) -> None:
    """Take the options that stand before a command."""


def main() -> None:
    """Run the command line; a wrong argument or file ends in one line on stderr and exit code 2.

    With the environment variable ``RETLIB_DEBUG`` set, the traceback is shown instead. A name that the terminal's
    encoding cannot show is escaped.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except (ValueError, OSError) as error:
        if os.environ.get("RETLIB_DEBUG"):
            raise
        typer.echo(f"retlib: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
