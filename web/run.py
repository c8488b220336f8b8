"""What `visearch serve` does: open the collections, make the application, warm it, serve it."""

from __future__ import annotations

import logging
import re
import ssl
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from visearch import detector, images
from visearch.collection import Collection
from visearch.detector import Detector
from visearch.errors import UsageError
from web.app import close_logs, create_app
from web.config import Config
from web.serve import listen, serve, urls
from web.shard import Sharding

USUAL = ".visearch"  # the folder's name where a collection lies beside its pictures: says nothing
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Started:
    """What is served, and where: `here` is the URL on this machine, `network` that for others, None where none gets
    through. `items` is how many items each collection has, by name."""

    here: str
    network: str | None
    items: Mapping[str, int]
    detector: str | None


def named(arguments: Iterable[str]) -> dict[str, Path]:
    """Collections by name, of `NAME=FOLDER` or `FOLDER`, whose name is then the folder's.

    Raises:
        UsageError: two have the same name, or a folder's name is none that an address can hold.
    """
    found: dict[str, Path] = {}
    for argument in arguments:
        name, equals, folder = argument.partition("=")
        if not equals or not NAME.fullmatch(name):
            name, folder = _name_of(Path(argument)), argument
        if not NAME.fullmatch(name):
            raise UsageError(f"--collection {argument}: give it a name: --collection NAME={argument}")
        if name in found:
            raise UsageError(
                f"--collection {argument}: {found[name]} is called {name} too; name one: --collection NAME={argument}"
            )
        found[name] = Path(folder)
    return found


def _name_of(folder: Path) -> str:
    path = folder.resolve()
    return (path.parent if path.name == USUAL else path).name.replace(" ", "-").lstrip(".")


def run(
    folders: Mapping[str, Path],
    host: str,
    port: int,
    *,
    tls: ssl.SSLContext | None = None,
    sharding: Sharding | None = None,
    ready: Callable[[Started], None],
) -> None:
    """Serve the collections until SIGTERM or SIGINT. `ready` is called when the first request would be a fast one. With
    `sharding` their indexes are spread over a Ray cluster.

    Raises:
        VisearchError: a collection, the model, a setting or the address is not as it should be.
    """
    config = Config.from_settings()
    with listen(host, port) as listener, ExitStack() as opened:
        open_one = _opener(sharding, len(folders), opened)
        collections = {name: opened.enter_context(open_one(folder)) for name, folder in folders.items()}
        found = detector.find_detector()
        app = create_app(collections, found, config=replace(config, hosts=config.hosts | {host.lower()}))
        opened.callback(close_logs, app)
        for collection in collections.values():
            collection.fetches_urls = False
            _warm(collection, found)
            opened.enter_context(collection.following())
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # a short queue is no news; a full one gets 429
        here, network = urls(listener, "https" if tls else "http")
        items = {name: len(collection) for name, collection in collections.items()}
        started = Started(here, network, items, found.name if found else None)
        serve(app, listener, tls=tls, ready=lambda: ready(started))


def _opener(sharding: Sharding | None, count: int, opened: ExitStack) -> Callable[[Path], Collection]:
    """What opens each of `count` collections; what they need is opened with them."""
    if sharding is None:
        return Collection.open
    from web.sharded import ShardedCollection, cluster  # they need Ray, which is no part of the base install

    opened.enter_context(cluster(sharding, count))
    return lambda folder: ShardedCollection(folder, sharding)


def _warm(collection: Collection, found: Detector | None) -> None:
    """Load what a query needs, by asking one: the model, the index and the pages of both."""
    first = next(collection.items(), None)
    collection.embedder  # noqa: B018 (also an empty collection is told now that its model is broken)
    thumbnail = None if first is None else collection.thumbnail(first.item_id)
    if thumbnail:
        collection.search(thumbnail)
        if found is not None:
            found.detect(images.decode(thumbnail))
