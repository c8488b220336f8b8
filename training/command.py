"""Commands run as `python -m training.<module>`: for those who work on the models, not in `visearch --help`."""

from __future__ import annotations

import sys

import click

from visearch.cli.options import INTERRUPTED
from visearch.errors import VisearchError


def run(command: click.Command) -> None:
    """Run a command as `visearch` runs its own: a known error is one line and an exit code."""
    try:
        command(standalone_mode=False)
    except VisearchError as error:
        _fail(error.message, error.exit_code)
    except click.ClickException as error:
        _fail(error.format_message(), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted", INTERRUPTED)


def _fail(message: str, code: int) -> None:
    click.echo(f"Error: {message}", err=True)
    sys.exit(code)
