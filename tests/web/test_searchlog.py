"""The search log: off unless asked for; then what was searched, shown and clicked, for so many days, and no more."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.pictures import visearch
from tests.web.api import form, image_bytes, in_base64, make_client, problem, search
from visearch.collection import Collection
from visearch.detector import Detector
from visearch.errors import UsageError
from web.config import Config
from web.run import run
from web.searchlog import DAY, FOLDER, Search, SearchLog, Shown, new_query_id


def test_nothing_is_kept_unless_it_is_asked_for(own: Collection) -> None:
    client = make_client(own)
    answer = search(client, "flashlight", item=5)
    assert answer["logged"] is False
    assert not (own.path / FOLDER).exists()
    click = {"query_id": answer["query_id"], "item": answer["matches"][0]["item"], "rank": 0}
    problem(client.post("/api/v1/clicks", json=click), 404, "collection")


def test_what_was_searched_and_shown_is_kept_with_its_pages(own: Collection, detector: Detector) -> None:
    began = time.time()
    client = make_client(own, detector, search_log_days=1)
    assert client.get("/api/v1/collections").json["search_log"] is True
    first = search(client, "flashlight", item=5, limit=3, box=[0, 0, 0.5, 1])
    second = search(client, "flashlight", cursor=first["next_cursor"], limit=2)
    lens = client.post("/api/v1/search/lens", **form(image_bytes(7), limit=2)).json
    shop = search(client, "shop", item=20, limit=2)
    assert first["logged"] and shop["logged"]
    kept = {each.query_id: each for each in _log(client).searches()}
    assert list(kept) == [first["query_id"], lens["query_id"], shop["query_id"]]
    entry = kept[first["query_id"]]
    assert (entry.mode, entry.generation) == ("flashlight", 1)
    assert began <= entry.time <= time.time()
    assert dict(entry.query) == {"item": 5, "box": [0, 0, 0.5, 1], "limit": 3, "diversity": 0}
    shown = [*first["matches"], *second["matches"]]
    assert [(each.item, each.region, each.distance, each.score) for each in entry.shown] == [
        (match["item"], match["region"], match["distance"], match["score"]) for match in shown
    ]
    assert dict(kept[lens["query_id"]].query) == {"picture": "image", "limit": 2}
    assert [each.item for each in kept[shop["query_id"]].shown] == [
        match["item"] for found in shop["objects"] for match in found["matches"]
    ]


def test_a_filter_is_kept_as_it_was_sent(own: Collection) -> None:
    client = make_client(own, search_log_days=1)
    wanted = {"category": ["Rugs"], "price": {"lte": 50}}
    search(client, "flashlight", item=5, filter=wanted)
    (entry,) = _log(client).searches()
    assert entry.query["filter"] == wanted


def test_an_answer_is_given_where_it_cannot_be_kept(own: Collection, caplog: pytest.LogCaptureFixture) -> None:
    client = make_client(own, search_log_days=1)
    assert search(client, "flashlight", item=5, filter={"price": {"lt": 10**30}})["matches"]  # of no size msgpack has
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "a search of home is not in its search log"
    ]
    assert not list(_log(client).searches())
    search(client, "flashlight", item=5)
    assert len(list(_log(client).searches())) == 1


def test_no_picture_and_nobody_is_in_it(own: Collection) -> None:
    client = make_client(own, search_log_days=1)
    data = image_bytes(7)
    client.post("/api/v1/search/lens", **form(data, "my holiday.png"), environ_base={"REMOTE_ADDR": "192.0.2.77"})
    _log(client).close()
    stored = (own.path / FOLDER / "data.mdb").read_bytes()
    for secret in (data[:40], b"holiday", b"192.0.2.77"):
        assert secret not in stored
    assert (own.path / FOLDER / "data.mdb").stat().st_mode & 0o077 == 0


def test_clicks_are_kept_for_what_was_shown(own: Collection) -> None:
    client = make_client(own, search_log_days=1)
    answer = search(client, "flashlight", item=5, limit=3)
    matches = [match["item"] for match in answer["matches"]]
    for rank in (2, 0, 0):
        click = {"query_id": answer["query_id"], "item": matches[rank], "rank": rank}
        assert client.post("/api/v1/clicks", json=click).status_code == 204
    other = next(item for item in range(1, 25) if item not in matches)
    for query_id, item in ((answer["query_id"], other), ("0" * 32, matches[0])):
        response = client.post("/api/v1/clicks", json={"query_id": query_id, "item": item, "rank": 0})
        problem(response, 404, "query_id")
    problem(client.post("/api/v1/clicks", json={"query_id": "x", "item": 1, "rank": 0}), 400, "query_id")
    assert [(each.query_id, each.item, each.rank) for each in _log(client).clicks()] == [
        (answer["query_id"], matches[rank], rank) for rank in (2, 0, 0)
    ]


def test_what_is_older_than_the_days_goes(tmp_path: Path) -> None:
    log = SearchLog(tmp_path, days=2)
    ages = (3 * DAY, 2 * DAY + 60, 2 * DAY - 60, 0)
    ids = []
    for age in ages:
        milliseconds = int((time.time() - age) * 1000)
        ids.append((milliseconds.to_bytes(6) + bytes(10)).hex())
        log.add(Search(ids[-1], time.time() - age, "lens", 1, {}, [Shown(1, 0, 3, 0.5)]))
        assert log.click(ids[-1], 1, 0)
    log.close()
    log = SearchLog(tmp_path, days=2)
    assert [each.query_id for each in log.searches()] == ids[2:]
    assert [each.query_id for each in log.clicks()] == ids[2:]
    log.close()


def test_query_ids_sort_by_time_and_cannot_be_guessed() -> None:
    first = new_query_id()
    time.sleep(0.002)
    second = new_query_id()
    assert first < second
    assert first[12:] != second[12:]


def test_a_collection_with_a_log_is_one_to_the_command_line_too(own: Collection) -> None:
    search(make_client(own, search_log_days=1), "flashlight", item=5)
    assert visearch("info", "--collection", own.path).code == 0
    assert visearch("check", "--collection", own.path).code == 0


def test_the_days_are_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Config.from_settings().search_log_days == 0
    monkeypatch.setenv("VISEARCH_SEARCH_LOG_DAYS", "30")
    assert Config.from_settings().search_log_days == 30
    monkeypatch.setenv("VISEARCH_SEARCH_LOG_DAYS", "10001")
    with pytest.raises(UsageError, match="VISEARCH_SEARCH_LOG_DAYS"):
        Config.from_settings()


def test_an_uploaded_query_by_base64_is_told_as_an_image(own: Collection) -> None:
    client = make_client(own, search_log_days=1)
    search(client, "lens", image=in_base64(image_bytes(7)))
    (entry,) = _log(client).searches()
    assert entry.query["picture"] == "image"


def _log(client: object) -> SearchLog:
    log: SearchLog = client.application.extensions["visearch"].logs["home"]  # type: ignore[attr-defined]
    return log


def test_what_is_written_is_written_in_order(tmp_path: Path) -> None:
    """Else a power cut can leave a log that nothing can read; LMDB promises it only where it syncs its data."""
    log = SearchLog(tmp_path, days=1)
    assert log._environment.flags()["sync"]
    log.close()


def _garbage(data: Path) -> None:
    data.write_bytes(b"x" * 10_000)


def _cut(data: Path) -> None:
    with data.open("rb+") as file:
        file.truncate(data.stat().st_size // 2)


@pytest.mark.parametrize("damage", [_garbage, _cut])
def test_a_broken_log_is_moved_aside_and_the_server_starts(
    own: Collection, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    log = SearchLog(own.path, days=1)
    for _ in range(200):
        log.add(Search(new_query_id(), time.time(), "lens", 1, {}, [Shown(1, 0, 3, 0.5)] * 20))
    log.close()
    damage(own.path / FOLDER / "data.mdb")
    client = make_client(own, search_log_days=1)
    answer = search(client, "flashlight", item=5)
    assert [each.query_id for each in _log(client).searches()] == [answer["query_id"]]
    (aside,) = own.path.glob(f"{FOLDER}-broken-*")
    (line,) = [record.message for record in caplog.records if record.name == "web.searchlog"]
    assert aside.name in line
    assert visearch("check", "--collection", own.path).code == 0


def test_a_log_that_cannot_be_made_keeps_no_server_from_starting(
    own: Collection, caplog: pytest.LogCaptureFixture
) -> None:
    (own.path / FOLDER).write_text("a file")
    assert search(make_client(own, search_log_days=1), "flashlight", item=5)["logged"] is False
    assert "keeps no search log" in caplog.text
    assert (own.path / FOLDER).read_text() == "a file"


def test_the_log_is_closed_when_the_server_ends(own: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISEARCH_SEARCH_LOG_DAYS", "1")
    apps = []
    monkeypatch.setattr("web.run.serve", lambda app, *arguments, **named: apps.append(app))
    own.close()
    run({"home": own.path}, "127.0.0.1", 0, ready=lambda started: None)
    assert apps[0].extensions["visearch"].logs
    SearchLog(own.path, days=1).close()  # LMDB opens nothing twice in a process
