"""The operations of the HTTP API, a module each for what belongs together."""

from web.api import about, health, items, objects, search

__all__ = ["about", "health", "items", "objects", "search"]
