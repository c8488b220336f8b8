"""Objects on servers: what is asked of them, what is said when they fail, and what is kept secret."""

from __future__ import annotations

import logging

import pytest

from tests.servers import S3, Web
from visearch import remote
from visearch.errors import ImageError, UsageError

PICTURES = frozenset({".jpg", ".png"})


# S3


def test_a_prefix_is_listed_folder_by_folder_with_what_its_pictures_are_now(s3: S3) -> None:
    for key in ("list/b.jpg", "list/a.png", "list/words.txt", "list/.hidden.jpg", "list/c/d.jpg", "list/.e/f.jpg"):
        s3.put(key, key.encode())
    listed = dict(remote.listing("s3://bucket/list", PICTURES))
    assert list(listed) == ["s3://bucket/list/a.png", "s3://bucket/list/b.jpg", "s3://bucket/list/c/d.jpg"]
    assert all(status == remote.status(address) for address, status in listed.items())
    assert all(status is not None and status.size == len(name) - len("s3://bucket/") for name, status in listed.items())


def test_an_object_is_another_when_its_bytes_are_and_not_when_it_is_only_written_again(s3: S3) -> None:
    address = s3.put("etag.jpg", b"one")
    before = remote.status(address)
    s3.put("etag.jpg", b"one")
    assert remote.status(address) == before
    s3.put("etag.jpg", b"two")
    assert remote.status(address) not in (before, None)


def test_bytes_of_an_object_come_in_one_request_and_no_more_than_the_limit(
    s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISEARCH_MAX_FILE_MEGABYTES", "0.001")
    s3.put("exact.jpg", bytes(1000))
    s3.put("over.jpg", bytes(1001))
    s3.requests.clear()
    assert remote.read("s3://bucket/exact.jpg") == bytes(1000)
    assert s3.requests == ["GET /bucket/exact.jpg"]
    with pytest.raises(ImageError) as error:
        remote.read("s3://bucket/over.jpg")
    assert error.value.reason == "too-large"


def test_what_is_not_there_is_told_from_what_cannot_be_asked(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    assert remote.status("s3://bucket/nothing.jpg") is None
    with pytest.raises(ImageError, match="no such object"):
        remote.read("s3://bucket/nothing.jpg")
    with pytest.raises(UsageError, match="cannot be listed"):
        list(remote.listing("s3://no-such-bucket/", PICTURES))


def test_a_pattern_names_objects(s3: S3) -> None:
    for name in ("x-0.tar", "x-1.tar", "y.tar"):
        s3.put(f"shards/{name}", b"")
    assert remote.matching("s3://bucket/shards/x-*.tar") == [f"s3://bucket/shards/x-{n}.tar" for n in (0, 1)]


# HTTP


def test_a_page_of_links_is_a_folder(web: Web) -> None:
    web.files |= {"/p/a.jpg": b"a", "/p/q/b.png": b"b", "/p/q/words.txt": b"", "/other.jpg": b""}
    assert [address for address, _ in remote.listing(f"{web.url}/p/", PICTURES)] == [
        f"{web.url}/p/a.jpg",
        f"{web.url}/p/q/b.png",
    ]


def test_a_folder_within_that_cannot_be_listed_is_no_empty_folder(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "FIRST_PAUSE", 0.01)
    web.files |= {"/p/a.jpg": b"a", "/p/q/b.png": b"b"}
    web.failing["/p/q/"] = [500] * remote.ATTEMPTS
    with pytest.raises(UsageError, match="p/q/: cannot be listed"):
        list(remote.listing(f"{web.url}/p/", PICTURES))


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_fails_for_a_while_is_asked_again(web: Web, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "FIRST_PAUSE", 0.01)
    web.files["/a.jpg"] = b"a"
    web.failing["/a.jpg"] = [status, status]
    assert remote.read(f"{web.url}/a.jpg") == b"a"
    web.failing["/a.jpg"] = [status] * 100
    with pytest.raises(ImageError, match=f"the server answers {status}"):
        remote.read(f"{web.url}/a.jpg")
    assert len(web.failing["/a.jpg"]) == 100 - remote.ATTEMPTS


@pytest.mark.parametrize(("status", "missing"), [(404, True), (410, True), (403, False), (401, False)])
def test_a_server_that_refuses_is_not_asked_again(web: Web, status: int, missing: bool) -> None:
    web.files["/a.jpg"] = b"a"
    web.failing["/a.jpg"] = [status] * 10
    with pytest.raises(ImageError) as error:
        remote.read(f"{web.url}/a.jpg")
    assert error.value.reason == "unreadable"
    assert web.fetched("/a.jpg") == 1
    if missing:
        assert remote.status(f"{web.url}/a.jpg") is None
    else:
        with pytest.raises(ImageError, match=str(status)):
            remote.status(f"{web.url}/a.jpg")


def test_a_silent_server_is_given_up(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISEARCH_REMOTE_SECONDS", "0.1")
    monkeypatch.setattr(remote, "FIRST_PAUSE", 0.01)
    web.silent.add("/a.jpg")
    with pytest.raises(ImageError, match="too slow"):
        remote.read(f"{web.url}/a.jpg")


def test_a_server_that_is_not_there_is_no_missing_object(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("aiohttp", reason="needs aiohttp (the extra `remote`)")
    monkeypatch.setattr(remote, "FIRST_PAUSE", 0.01)
    for ask in (remote.status, remote.read):
        with pytest.raises(ImageError, match="cannot be read"):
            ask("http://127.0.0.1:9/a.jpg")


def test_an_answer_without_end_stops_at_the_limit(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISEARCH_MAX_FILE_MEGABYTES", "0.1")
    web.endless.add("/a.jpg")
    with pytest.raises(ImageError) as error:
        remote.read(f"{web.url}/a.jpg")
    assert error.value.reason == "too-large"


@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "no ranges"])
def test_a_large_object_is_read_and_jumped_in_though_the_server_fails_now_and_then(
    web: Web, ranges: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(remote, "READ_AHEAD", 1 << 16)
    content = bytes(range(256)) * 1024
    web.files["/x.tar"], web.ranges = content, ranges
    with remote.open_seekable(f"{web.url}/x.tar") as file:
        web.failing["/x.tar"] = [503]
        assert file.read() == content
        file.seek(100_000)
        assert file.read(10) == content[100_000:100_010]


# What is kept secret, and refused


def test_a_signature_is_asked_with_and_neither_stored_nor_said(web: Web, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    web.files["/a b.jpg"] = b"a"
    signed = f"{web.url}/a%20b.jpg?X-Amz-Signature=secret%2Fkey%3D"
    assert remote.name_of(signed) == f"{web.url}/a%20b.jpg"
    web.files["/a%20b.jpg"] = b"a"
    assert remote.read(signed) == b"a"
    assert web.requests[-1][1].endswith("/a%20b.jpg?X-Amz-Signature=secret%2Fkey%3D")
    web.failing["/a%20b.jpg"] = [403] * 9
    with pytest.raises(ImageError) as error:
        remote.read(signed)
    assert "secret" not in str(error.value) + caplog.text


def test_a_password_in_an_address_is_refused_without_repeating_it() -> None:
    for address in ("https://me:secret@host/a.jpg", "s3://key:secret@bucket/a.jpg"):
        with pytest.raises(UsageError) as error:
            remote.check(address)
        assert "secret" not in error.value.message


def test_an_unknown_kind_of_source_names_those_there_are() -> None:
    with pytest.raises(UsageError, match="s3, gs, http, https"):
        remote.check("ftp://host/a.jpg")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(UsageError, match="pip install s3fs"):
        remote.check("s3://bucket/a.jpg")
