"""The errors a user can meet. Each message is one line: what was wrong, with which file or field, what to do."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class VisearchError(Exception):
    """Base of every error that is shown to a user as one line."""

    exit_code = 1

    @property
    def message(self) -> str:
        """The one line to show."""
        return " ".join(str(self).split())


class UsageError(VisearchError):
    """A command or call was put wrongly (exit code 2)."""

    exit_code = 2


class BoxError(UsageError):
    """A box is not four fractions x0 < x1, y0 < y1 within the picture."""


class FilterError(UsageError):
    """A filter is malformed; the message names the key."""


class ImageError(VisearchError):
    """A picture cannot be used. `reason` is a short stable word for reports, one of images.REASONS or "unreadable"."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@contextmanager
def naming(picture: str | Path) -> Iterator[None]:
    """An ImageError within says which picture it is of: for decoding, which sees bytes alone."""
    try:
        yield
    except ImageError as error:
        raise ImageError(error.reason, f"{picture}: {error.message}") from None


class ModelError(VisearchError):
    """A model is missing, broken, or not the one a generation was made with."""


class StoreError(VisearchError):
    """The collection cannot be opened or written."""


class LeaseError(StoreError):
    """Another process is at a long job that only one can do at a time."""


class IndexFileError(VisearchError):
    """A derived index file is missing, truncated or of another version; it can be rebuilt from the store."""
