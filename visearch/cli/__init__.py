"""The command line. Each command parses its arguments and calls the library.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done but files were skipped (with --strict), 130 interrupted.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading

import click

from visearch.cli.generations import backfill, generations_group
from visearch.cli.indexing import index
from visearch.cli.models import models_group
from visearch.cli.options import INTERRUPTED, printable
from visearch.cli.searching import evaluate, search
from visearch.cli.serving import serve
from visearch.cli.training import ablate, train
from visearch.cli.upkeep import backup, check, export, info, remove
from visearch.errors import VisearchError


def main() -> None:
    """Entry point: every known error is one line on standard error and an exit code."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    if threading.current_thread() is threading.main_thread():
        # Ended by a service manager or `timeout`, a command removes what it has half made, as after Ctrl-C.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        cli(standalone_mode=False)
    except VisearchError as error:
        _fail(error.message, error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        hint = f"; see `{context.command_path} --help`" if context is not None else ""
        _fail(" ".join(error.format_message().split()).removesuffix(".") + hint, error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted", INTERRUPTED)
    except BrokenPipeError:  # the reader of a pipe has seen enough
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        _fail(f"{error.filename or 'input or output'}: {error.strerror or error}", 1)


def _fail(message: str, code: int) -> None:
    click.echo(f"Error: {printable(message)}", err=True)
    sys.exit(code)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="visearch", prog_name="visearch")
def cli() -> None:
    """Search pictures by pictures: index a folder, then ask it with a photo or a crop.

    \b
    Example:
      visearch index ./images
      visearch search photo.jpg
    """


for command in (index, search, serve, evaluate, info, check, remove, export, backup, train, ablate):
    cli.add_command(command)
for command in (backfill, generations_group, models_group):
    cli.add_command(command)
