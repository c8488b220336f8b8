"""API keys: for everything that changes a collection, and for reading where the settings ask for it."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

from flask import request

from web.problems import Problem

BEARER, HEADER = "Bearer", "X-API-Key"


class Keys:
    """The keys that are accepted. Only their hashes are kept."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._hashes = [_hash(key) for key in keys]

    def __bool__(self) -> bool:
        return bool(self._hashes)

    def accept(self, key: str) -> bool:
        """Whether it is one of the keys; takes as long for a wrong one as for a right one."""
        given = _hash(key)
        return sum(hmac.compare_digest(given, each) for each in self._hashes) > 0


def check_write(keys: Keys) -> None:
    """Let the request pass if it brings a key in a header that no page of another origin can make a browser send.

    Raises:
        Problem: 403 where the server has no keys, 401 where the request has none, 403 where it is the wrong one.
    """
    if not keys:
        raise Problem(403, "no API key is set up, so nothing can be changed; set VISEARCH_API_KEYS and start again")
    _check(keys, _sent_key(basic=False), BEARER)


def check_read(keys: Keys) -> None:
    """Let the request pass if it brings a key, also as the password of HTTP Basic: browsers can ask for that.

    Raises:
        Problem: 401 where the request has none, 403 where it is the wrong one.
    """
    _check(keys, _sent_key(basic=True), 'Basic realm="visearch: any name, an API key as password", charset="UTF-8"')


def _check(keys: Keys, key: str | None, challenge: str) -> None:
    if key is None:
        raise Problem(401, headers={"WWW-Authenticate": challenge})
    if not keys.accept(key):
        status = 401 if challenge.startswith("Basic") else 403  # so that a browser asks again
        raise Problem(status, "the API key is not one of this server's", headers={"WWW-Authenticate": challenge})


def _sent_key(*, basic: bool) -> str | None:
    sent = request.authorization
    if sent is not None and sent.type == "bearer" and sent.token:
        return sent.token
    if basic and sent is not None and sent.type == "basic" and sent.password:
        return sent.password
    return request.headers.get(HEADER)


def _hash(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
