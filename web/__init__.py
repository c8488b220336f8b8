"""The HTTP API and the browser UI over collections."""

from importlib.metadata import version

VERSION = version("visearch")
