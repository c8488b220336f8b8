"""`visearch index` of servers and shards: what is taken in, what is left alone, and what can be read again."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.pictures import is_one_line, picture, save, stored, visearch
from tests.servers import S3, Web
from tests.tiny_model import write_model
from tests.visearch.test_shards import parquet, tar
from tests.web.api import make_client
from visearch import remote
from visearch.collection import Collection
from visearch.errors import ImageError

COLLECTION = Path(".visearch")
ZERO = dict.fromkeys(("added", "updated", "unchanged", "removed", "skipped", "items"), 0)


@pytest.fixture(autouse=True)
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VISEARCH_MODEL", str(tiny))
    monkeypatch.setattr(remote, "FIRST_PAUSE", 0.01)


def jpeg(seed: int) -> bytes:
    buffer = io.BytesIO()
    picture(seed).save(buffer, "JPEG")
    return buffer.getvalue()


def index(*arguments: object, code: int = 0) -> dict[str, Any]:
    done = visearch("index", *arguments, "--json")
    assert done.code == code, done.err
    return {name: value for name, value in done.json.items() if name != "seconds" and value}


def skipped(path: Path) -> list[tuple[str, str]]:
    with path.open(encoding="utf-8") as file:
        return [(row["path"], row["reason"]) for row in csv.DictReader(file)]


def originals() -> dict[str, bytes]:
    """What can be read again, by source."""
    with Collection.open(COLLECTION) as collection:
        return {item.source: collection.original(item) for item in collection.items()}


# Servers


def test_a_bucket_is_indexed_like_the_folder_with_the_same_pictures(s3: S3, tmp_path: Path) -> None:
    for seed, name in enumerate(("a.jpg", "b.jpg", "c/d.jpg")):
        s3.put(f"shop/{name}", jpeg(seed))
        (tmp_path / "shop" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "shop" / name).write_bytes(jpeg(seed))
    assert index("s3://bucket/shop") == {"added": 3, "items": 3}
    assert index("shop", "--collection", "local") == {"added": 3, "items": 3}
    here = {name.removeprefix(f"{tmp_path}/"): each for name, each in stored(Path("local")).items()}
    there = {name.removeprefix("s3://bucket/"): each for name, each in stored(COLLECTION).items()}
    assert there == here
    assert originals()["s3://bucket/shop/c/d.jpg"] == jpeg(2)


def test_only_what_has_changed_is_fetched_again(s3: S3) -> None:
    for seed in range(4):
        s3.put(f"shop/{seed}.jpg", jpeg(seed))
    index("s3://bucket/shop/")
    s3.put("shop/1.jpg", jpeg(11))
    s3.put("shop/2.jpg", jpeg(2))  # the same again
    s3.delete("shop/3.jpg")
    s3.requests.clear()
    assert index("s3://bucket/shop/") == {"updated": 1, "unchanged": 2, "items": 4}
    assert [s3.fetched(f"shop/{seed}.jpg") for seed in range(3)] == [0, 1, 0]
    assert index("s3://bucket/shop/", "--prune") == {"unchanged": 3, "removed": 1, "items": 3}


def test_a_server_that_does_not_answer_prunes_nothing(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    s3.put("shop/1.jpg", jpeg(1))
    index("s3://bucket/shop/")
    done = visearch("index", "s3://no-such-bucket/shop/", "--prune")
    assert done.code == 2
    assert is_one_line(done.err)
    s3.delete("shop/1.jpg")
    assert visearch("index", "s3://bucket/shop/", "--prune").code == 2  # nothing there at all: most likely a mistake
    assert len(stored(COLLECTION)) == 1


def test_a_manifest_names_objects_beside_files(s3: S3, web: Web, tmp_path: Path) -> None:
    s3.put("a.jpg", jpeg(1))
    web.files["/b.jpg"] = jpeg(2)
    save(tmp_path / "c.png", 3)
    rows = ["s3://bucket/a.jpg,A", f"{web.url}/b.jpg?signature=secret,B", "c.png,C", "s3://bucket/gone.jpg,D"]
    (tmp_path / "catalog.csv").write_text("\n".join(["path,title", *rows]), encoding="utf-8")
    assert index("catalog.csv", "--report", "skipped.csv") == {"added": 3, "skipped": 1, "items": 3}
    titles = {source: each.metadata["title"] for source, each in stored(COLLECTION).items()}
    assert titles == {"s3://bucket/a.jpg": "A", f"{web.url}/b.jpg": "B", str(tmp_path / "c.png"): "C"}
    assert skipped(Path("skipped.csv")) == [("s3://bucket/gone.jpg", "unreadable")]
    before = web.fetched("/b.jpg")
    assert index("catalog.csv") == {"unchanged": 3, "skipped": 1, "items": 3}
    assert web.fetched("/b.jpg") == before


def test_a_manifest_on_a_server_names_what_lies_beside_it(s3: S3) -> None:
    s3.put("shop/pictures/a.jpg", jpeg(1))
    s3.put("shop/catalog.csv", b"path,title\npictures/a.jpg,A\n")
    assert index("s3://bucket/shop/catalog.csv") == {"added": 1, "items": 1}
    assert stored(COLLECTION)["s3://bucket/shop/pictures/a.jpg"].metadata == {"title": "A"}


def test_a_row_with_an_address_that_cannot_be_asked_stops_no_other(web: Web, tmp_path: Path) -> None:
    web.files["/a.jpg"] = jpeg(1)
    wrong = ("ftp://host/a.jpg", "https://me:secret@host/a.jpg", "https://exa[mple/a.jpg?key=secret", "file:///a.jpg")
    (tmp_path / "m.csv").write_text("path\n" + "".join(f"{each}\n" for each in (*wrong, f"{web.url}/a.jpg")))
    assert index("m.csv", "--report", "report.csv") == {"added": 1, "skipped": 4, "items": 1}
    assert [reason for _, reason in skipped(tmp_path / "report.csv")] == ["unreadable"] * 4
    assert "secret" not in (tmp_path / "report.csv").read_text()
    assert b"secret" not in b"".join(path.read_bytes() for path in COLLECTION.rglob("*") if path.is_file())
    done = visearch("index", "https://exa[mple/a.jpg")
    assert done.code == 2
    assert is_one_line(done.err)


def test_a_picture_that_cannot_be_fetched_is_listed_and_tried_again(web: Web) -> None:
    web.files |= {"/p/a.jpg": jpeg(1), "/p/b.jpg": jpeg(2)}
    web.failing["/p/b.jpg"] = [500] * 100
    assert index(f"{web.url}/p/", "--report", "skipped.csv") == {"added": 1, "skipped": 1, "items": 1}
    assert skipped(Path("skipped.csv")) == [(f"{web.url}/p/b.jpg", "unreadable")]
    web.failing.clear()
    assert index(f"{web.url}/p/") == {"added": 1, "unchanged": 1, "items": 2}


def test_a_signature_is_not_in_the_collection(web: Web) -> None:
    web.files["/a.jpg"] = jpeg(1)
    index(f"{web.url}/a.jpg?X-Amz-Signature=secret")
    assert list(stored(COLLECTION)) == [f"{web.url}/a.jpg"]
    assert b"secret" not in b"".join(path.read_bytes() for path in COLLECTION.rglob("*") if path.is_file())


def test_a_server_of_ours_fetches_no_address_that_an_item_names(web: Web) -> None:
    web.files["/a.jpg"] = jpeg(1)
    index(f"{web.url}/a.jpg")
    web.requests.clear()
    with Collection.open(COLLECTION) as collection:
        collection.fetches_urls = False  # as web.run sets it
        item = next(collection.items())
        with pytest.raises(ImageError):
            collection.original(item)
        with collection.store.read() as reader:
            copy = reader.working_copy(item.item_id)
        shown = make_client(collection).get(f"/api/v1/items/{item.item_id}/image")
        assert (shown.status_code, shown.data) == (200, copy)
    assert web.requests == []


def test_what_stands_in_for_an_original_is_not_kept_as_if_it_were_one(web: Web) -> None:
    web.files["/a.jpg"] = jpeg(1)
    index(f"{web.url}/a.jpg")
    with Collection.open(COLLECTION) as collection:
        client = make_client(collection)
        address = client.get("/api/v1/items").json["items"][0]["image_url"]
        kept = client.get(address)
        assert kept.data == web.files["/a.jpg"]
        assert "immutable" in kept.headers["Cache-Control"]
        web.files.clear()
        copy = client.get(address)
        again = client.get(address, headers={"If-None-Match": copy.headers["ETag"]})
    assert copy.status_code == 200
    assert copy.data != kept.data
    assert copy.headers["Cache-Control"] == "private, no-cache"
    assert copy.headers["ETag"] != kept.headers["ETag"]
    assert again.status_code == 304


def test_without_what_reads_its_source_an_item_is_shown_by_its_copy(
    s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(*arguments: object, **options: object) -> None:
        raise ImportError("Install s3fs to access S3")

    s3.put("a.jpg", jpeg(1))
    index("s3://bucket/")
    monkeypatch.setattr("fsspec.filesystem", missing)
    with Collection.open(COLLECTION) as collection:
        item = next(collection.items())
        with pytest.raises(ImageError, match="needs s3fs"):
            collection.original(item)
        assert make_client(collection).get(f"/api/v1/items/{item.item_id}/image").status_code == 200
    other = write_model(tmp_path / "other.onnx", seed=9)
    done = visearch("backfill", "--model", other)  # and it is no other model's picture
    assert done.code == 2
    assert "needs s3fs" in done.err


def test_what_cannot_work_is_said_in_a_line() -> None:
    for source in ("ftp://host/a.jpg", "https://me:secret@host/"):
        done = visearch("index", source)
        assert done.code == 2
        assert is_one_line(done.err)
        assert "secret" not in done.err
    pytest.importorskip("aiohttp", reason="needs aiohttp (the extra `remote`)")
    done = visearch("index", "https://host/", "--watch")
    assert done.code == 2
    assert is_one_line(done.err)


# Shards


def shard_of(kind: str, pictures: Mapping[int, bytes]) -> bytes:
    if kind == "tar":
        beside = {f"{n}.json": json.dumps({"number": n}).encode() for n in pictures}
        return tar(dict(sorted((beside | {f"{n}.jpg": data for n, data in pictures.items()}).items())))
    column = [{"bytes": data, "path": None} for data in pictures.values()]
    return parquet({"image": column, "number": list(pictures)}, row_group_size=2)


def name_in(kind: str, number: int) -> str:
    return f"{number}.jpg" if kind == "tar" else str(number)


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_pictures_of_a_shard_are_indexed_and_can_be_read_again(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{kind}"
    path.write_bytes(shard_of(kind, {n: jpeg(n) for n in range(5)}))
    assert index(path) == {"added": 5, "items": 5}
    sources = {f"{path}#{name_in(kind, n)}": jpeg(n) for n in range(5)}
    assert originals() == sources
    assert [each.metadata for each in stored(COLLECTION).values()] == [{"number": n} for n in range(5)]


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_a_shard_on_a_server_stays_closed_until_it_changes(kind: str, s3: S3) -> None:
    address = s3.put(f"x.{kind}", shard_of(kind, {n: jpeg(n) for n in range(5)}))
    assert index(address) == {"added": 5, "items": 5}
    assert originals()[f"{address}#{name_in(kind, 3)}"] == jpeg(3)
    s3.requests.clear()
    assert index(address) == {"unchanged": 5, "items": 5}
    if kind == "tar":
        assert s3.fetched("x.tar") == 0
    s3.put(f"x.{kind}", shard_of(kind, {n: jpeg(n if n != 2 else 22) for n in range(4)}))
    assert index(address, "--prune") == {"updated": 1, "unchanged": 3, "removed": 1, "items": 4}
    assert originals()[f"{address}#{name_in(kind, 2)}"] == jpeg(22)


def test_a_shard_whose_server_does_not_say_what_it_is_now_loses_nothing(web: Web) -> None:
    web.files["/x.tar"] = shard_of("tar", {n: jpeg(n) for n in range(3)})
    web.files["/y.tar"] = shard_of("tar", {n: jpeg(n) for n in range(3, 6)})
    pattern = f"{web.url}/*.tar"
    assert index(pattern) == {"added": 6, "items": 6}
    web.failing["/x.tar"] = [403] * 50
    assert index(pattern, "--prune") == {"unchanged": 3, "skipped": 1, "items": 6}
    web.failing.clear()
    assert index(pattern, "--prune") == {"unchanged": 6, "items": 6}


def test_a_pattern_prunes_what_it_finds_and_nothing_else(s3: S3) -> None:
    for name in ("a.jpg", "b.jpg", "2023/c.jpg"):
        s3.put(f"shop/{name}", jpeg(ord(name[-5])))
    assert index("s3://bucket/shop/2023/*.jpg") == {"added": 1, "items": 1}
    assert index("s3://bucket/shop/*") == {"added": 2, "items": 3}
    s3.delete("shop/a.jpg")
    assert index("s3://bucket/shop/*", "--prune") == {"unchanged": 1, "removed": 1, "items": 2}
    assert sorted(originals()) == ["s3://bucket/shop/2023/c.jpg", "s3://bucket/shop/b.jpg"]

    s3.put("shop/catalog.csv", b"path\n2023/d.jpg\n")
    s3.put("shop/2023/d.jpg", jpeg(7))
    assert index("s3://bucket/shop/catalog.csv") == {"added": 1, "items": 3}
    assert index("s3://bucket/shop/*", "--prune") == {"unchanged": 1, "items": 3}


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_a_shard_with_an_empty_picture_stays_closed(kind: str, s3: S3) -> None:
    s3.put(f"x.{kind}", shard_of(kind, {1: jpeg(1), 2: b"", 3: jpeg(3)}))
    assert index(f"s3://bucket/x.{kind}") == {"added": 2, "skipped": 1, "items": 2}
    fetched = s3.fetched(f"x.{kind}")
    assert index(f"s3://bucket/x.{kind}") == {"unchanged": 2, "skipped": 1, "items": 2}
    assert s3.fetched(f"x.{kind}") - fetched <= 1  # a look at its beginning


def test_a_pattern_takes_in_shards_and_notices_one_that_is_gone(s3: S3) -> None:
    for n in range(3):
        s3.put(f"shards/x-{n}.tar", shard_of("tar", {n: jpeg(n)}))
    assert index("s3://bucket/shards/*.tar") == {"added": 3, "items": 3}
    s3.delete("shards/x-1.tar")
    assert index("s3://bucket/shards/*.tar", "--prune") == {"unchanged": 2, "removed": 1, "items": 2}


def test_a_removed_picture_of_a_shard_comes_back_as_that_of_a_folder_does(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(shard_of("tar", {n: jpeg(n) for n in range(3)}))
    index(path)
    assert visearch("remove", f"{path}#1.jpg").code == 0
    assert index(path) == {"added": 1, "unchanged": 2, "items": 3}


def test_a_picture_in_a_shard_that_cannot_be_decoded_is_listed_each_time(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(tar({"0.jpg": jpeg(0), "1.jpg": b"no picture", "2.jpg": jpeg(2)}))
    for counts in ({"added": 2}, {"unchanged": 2}):
        assert index(path, "--report", "skipped.csv") == counts | {"skipped": 1, "items": 2}
        assert [source for source, _ in skipped(Path("skipped.csv"))] == [f"{path}#1.jpg"]


@pytest.mark.parametrize("kind", ["tar", "parquet"])
def test_a_damaged_shard_is_listed_stops_nothing_and_prunes_nothing(kind: str, tmp_path: Path) -> None:
    bad, good = tmp_path / f"bad.{kind}", tmp_path / f"good.{kind}"
    whole = shard_of(kind, {n: jpeg(n) for n in range(6)})
    bad.write_bytes(whole)
    good.write_bytes(shard_of(kind, {n: jpeg(n) for n in range(10, 13)}))
    index(bad)
    damaged = bytearray(whole)
    middle = pq.ParquetFile(bad).metadata.row_group(1).column(0).data_page_offset if kind == "parquet" else 0
    damaged[middle : middle + 64] = bytes([255]) * 64
    bad.write_bytes(bytes(damaged) if kind == "parquet" else whole[: len(whole) // 2])
    result = index(bad, good, "--prune", "--report", "skipped.csv")
    assert (result["added"], result["skipped"], result["items"]) == (3, 1, 9)
    assert "removed" not in result
    assert skipped(Path("skipped.csv")) == [(str(bad), "bad-shard")]
    bad.write_bytes(whole)
    assert index(bad, good) == {"unchanged": 9, "items": 9}


def test_a_parquet_file_that_is_none_is_refused_as_a_manifest_is(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"words")
    done = visearch("index", "x.parquet")
    assert done.code == 2
    assert is_one_line(done.err)


def test_the_same_picture_in_a_file_and_a_shard_is_two_items(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(tar({"0.jpg": jpeg(0)}))
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "0.jpg").write_bytes(jpeg(0))
    assert index(path, "own") == {"added": 2, "items": 2}
    assert index("own", path) == {"unchanged": 2, "items": 2}


def test_a_folder_with_shards_in_it_loses_none_of_their_pictures(tmp_path: Path) -> None:
    folder = tmp_path / "all"
    save(folder / "0.png", 0)
    (folder / "x.tar").write_bytes(shard_of("tar", {1: jpeg(1)}))
    index(folder, folder / "x.tar")
    assert index(folder, "--prune") == {"unchanged": 1, "items": 2}
    assert visearch("check").code == 0


def test_a_picture_in_pyarrow_large_binary_is_one(tmp_path: Path) -> None:
    data = parquet({"jpg": pa.array([jpeg(0)], pa.large_binary())})
    (tmp_path / "x.parquet").write_bytes(data)
    assert index("x.parquet") == {"added": 1, "items": 1}
