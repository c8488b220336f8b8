"""`visearch serve`."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import click

from visearch import settings
from visearch.errors import UsageError


@click.command()
@click.option(
    "--collection",
    "collections",
    multiple=True,
    metavar="[NAME=]FOLDER",
    help="A collection to serve; more than once for more, of which the first is meant where a request names none"
    "  [default: VISEARCH_COLLECTION or .visearch]",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0: all there are.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="0: any free one.")
@click.option("--open", "open_page", is_flag=True, help="Open the page in the browser.")
@click.option("--https", is_flag=True, help="Serve over https, which phones ask for before they show their camera.")
@click.option("--cert", type=click.Path(path_type=Path), help="Certificate for --https, PEM  [default: one of our own]")
@click.option("--key", type=click.Path(path_type=Path), help="Its private key, PEM  [default: in the same file]")
@click.option(
    "--ray",
    "address",
    is_flag=False,
    flag_value="local",
    metavar="[ADDRESS]",
    help="Spread the index over the Ray cluster at ADDRESS (`auto`: that of this machine), or over processes of this"
    " machine alone; needs --shards.",
)
@click.option("--shards", type=click.IntRange(1, 1000), help="With --ray: parts that a collection is split into.")
@click.option(
    "--replicas", type=click.IntRange(1, 100), help="With --ray: processes that hold each part.  [default: 1]"
)
@click.option("--access-log", is_flag=True, help="Write a line of JSON for each request on standard error.")
def serve(
    collections: tuple[str, ...],
    host: str,
    port: int,
    open_page: bool,
    https: bool,
    cert: Path | None,
    key: Path | None,
    address: str | None,
    shards: int | None,
    replicas: int | None,
    access_log: bool,
) -> None:
    """Serve collections over HTTP: a page for people at /, an API for programs at /docs.

    It ends with Ctrl-C or SIGTERM, once those who are being answered have their answer.

    \b
    Example:
      visearch serve --open
      visearch serve --https --host 0.0.0.0     (and scan the code it shows with a phone)
      visearch serve --ray auto --shards 4      (on a machine of a Ray cluster)
    """
    if (cert or key) and not https:
        raise UsageError("--cert and --key are for --https")
    if key and not cert:
        raise UsageError(f"--key {key}: needs the certificate that belongs to it, --cert")
    if address is None and (shards or replicas):
        raise UsageError("--shards and --replicas are for --ray")
    if address is not None and not shards:
        raise UsageError("--ray needs --shards N, the number of parts that a collection is split into")
    # Before faiss is imported: OpenMP makes a single search slower, and each thread of the server would have its own.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from web.run import Started, named, run
    from web.shard import Sharding
    from web.tls import server_context

    if access_log:
        logging.getLogger("web.access").setLevel(logging.INFO)

    def tell(started: Started) -> None:
        served = ", ".join(f"{name} ({count} items)" for name, count in started.items.items())
        click.echo(f"{started.here}  {served}")
        _tell_how_a_phone_gets_there(started.network, https)
        click.echo("Ctrl-C ends it", err=True)
        if open_page:
            click.launch(started.here)

    folders = named(collections or (settings.text("collection"),))
    sharding = Sharding(address, shards, replicas or 1) if address is not None and shards else None
    run(folders, host, port, tls=server_context(host, cert, key) if https else None, sharding=sharding, ready=tell)


def _tell_how_a_phone_gets_there(url: str | None, https: bool) -> None:
    if url is None:
        if https:
            click.echo("only this machine can reach it; --host 0.0.0.0 lets a phone in the same network", err=True)
        return
    click.echo(f"{url}  from other machines of the network")
    if not https:
        click.echo("a phone shows its camera only over https: --https", err=True)
    if sys.stdout.isatty():
        import segno

        segno.make(url).terminal(compact=True)
