"""What the page does when things are not as they should be: no network, a failing server, hostile data."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, Route, expect

from tests.e2e.conftest import MILLISECONDS, SCREENS, OpenPage, Screen
from tests.e2e.store import Served, index, serving
from tests.e2e.test_modes import open_room, press, titles

DESKTOP = SCREENS[0]
HOSTILE = '<img src=x onerror="window.pwned=1">"><script>window.pwned=1</script>'
SEARCH = "**/api/v1/search/flashlight"
SHOP = "**/api/v1/search/shop"
HELD_CAMERA = """
    const real = MediaDevices.prototype.getUserMedia;
    const released = new Promise((release) => { window.release = release; });
    window.streams = [];
    MediaDevices.prototype.getUserMedia = async function (wanted) {
      window.streams.push(await real.call(this, wanted));
      await released;
      return window.streams.at(-1);
    };
"""
TRACKS = "window.streams.flatMap((stream) => stream.getTracks().map((track) => track.readyState))"
ADDRESSES = ("javascript:window.pwned=1", "data:text/html,<script>window.pwned=1</script>", " javascript:alert(1)")


def until(page: Page, done: Callable[[], bool]) -> None:
    """Wait, while the page goes on, until something is so; what is expected is for the test to say."""
    deadline = time.monotonic() + MILLISECONDS / 1000
    while not done() and time.monotonic() < deadline:
        page.wait_for_timeout(20)


def test_a_failing_server_is_said_and_can_be_asked_again(open_page: OpenPage, store: Served, screen: Screen) -> None:
    page = open_page(store, screen, expect=("503",))
    expect(page.locator("#gallery-feed a").first).to_be_visible()
    problem = {"type": "about:blank", "title": "Service Unavailable", "status": 503, "detail": "", "request_id": "1"}
    answer = {"status": 503, "content_type": "application/problem+json", "body": json.dumps(problem)}
    page.route("**/api/v1/search/**", lambda route: route.fulfill(**answer))
    page.locator("#gallery-feed a").nth(1).click()
    again = page.get_by_role("button", name="Try again")
    expect(again).to_be_visible()
    page.unroute("**/api/v1/search/**")
    again.click()
    expect(page.locator("#results .title").first).to_be_visible()


def test_being_offline_is_said_and_the_page_goes_on_afterwards(open_page: OpenPage, store: Served) -> None:
    page = open_page(store, DESKTOP, expect=("ERR_INTERNET_DISCONNECTED",))
    expect(page.locator("#gallery-feed a").first).to_be_visible()
    page.context.set_offline(True)
    expect(page.locator("#toast")).to_contain_text("offline")
    page.locator("#gallery-feed a").nth(1).click()
    expect(page.locator("#results")).to_contain_text("offline")
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#results .title").first).to_be_visible()


def test_an_answer_that_comes_late_does_not_replace_a_newer_one(open_page: OpenPage, store: Served) -> None:
    page = open_page(store, DESKTOP, "?mode=flashlight&item=2")
    titles = page.locator("#results .title")
    expect(titles.nth(9)).to_be_attached()
    whole = titles.all_text_contents()[:10]
    held: list[Route] = []

    holding = True

    def hold(route: Route) -> None:
        if holding:
            held.append(route)
        else:
            route.continue_()

    page.route(SEARCH, hold)
    page.locator(".crop").focus()
    for presses in range(1, 4):
        page.keyboard.press("Shift+ArrowLeft")
        deadline = time.monotonic() + MILLISECONDS / 1000
        while len(held) < presses and time.monotonic() < deadline:
            page.wait_for_timeout(20)
    holding = False
    with page.expect_response(SEARCH):
        page.get_by_role("button", name="Whole picture").click()
    assert len(held) >= 3
    for route in held:
        late = route.fetch()
        assert [match["metadata"].get("title") for match in late.json()["matches"]][:10] != whole
        route.fulfill(response=late)
        page.wait_for_timeout(300)
        assert titles.all_text_contents()[:10] == whole


@pytest.mark.parametrize("size", [(1440, 900), (3440, 1440)])
def test_more_pictures_come_as_one_scrolls_until_the_last(
    open_page: OpenPage, store: Served, size: tuple[int, int]
) -> None:
    """On a wide screen a page of them may end before what comes near is out of reach."""
    page = open_page(store, DESKTOP, viewport={"width": size[0], "height": size[1]})
    cards = page.locator("#gallery-feed a")
    expect(cards.first).to_be_visible()
    expect(page.locator("#gallery-count")).to_have_text("363 pictures")
    deadline = time.monotonic() + MILLISECONDS / 1000
    while cards.count() < 363 and time.monotonic() < deadline:
        cards.last.scroll_into_view_if_needed()
        page.wait_for_timeout(50)
    addresses = [card.get_attribute("href") for card in cards.all()]
    assert len(addresses) == len(set(addresses)) == 363


def test_filters_narrow_what_is_shown_and_can_be_taken_off(open_page: OpenPage, store: Served, screen: Screen) -> None:
    page = open_page(store, screen)
    expect(page.locator("#gallery-count")).to_have_text("363 pictures")
    page.locator("#gallery-chips").get_by_role("button", name="Rugs").click()
    expect(page.locator("#gallery-count")).not_to_have_text("363 pictures")
    assert "filter=" in page.url
    page.locator("#gallery-feed a").first.click()
    expect(page.locator("#viewer-title")).to_contain_text("Rug")


@pytest.fixture(scope="module")
def forgetful(homestore: Path) -> Iterator[Served]:
    """A server that keeps the further pages of the latest search alone."""
    with serving(homestore, settings={"pages_kept": 1}) as served:
        yield served


def test_results_that_the_server_has_forgotten_start_again(
    open_page: OpenPage, forgetful: Served, screen: Screen
) -> None:
    page = open_page(forgetful, screen, expect=("422",))
    others: list[int] = []

    def answer_and_forget(route: Route) -> None:
        answer = route.fetch()
        if not others:  # before the page has this answer, its further pages make room for those of another search
            others.append(page.request.post(f"{forgetful.url}api/v1/search/flashlight", data={"item": 9}).status)
        found = answer.json()
        if answer.ok:  # all are close, so that no button stands between the pages
            found["relevant"] = len(found["matches"])
        route.fulfill(response=answer, json=found)

    page.route(SEARCH, answer_and_forget)
    page.goto(f"{forgetful.url}?mode=flashlight&item=2")
    cards, expired = page.locator("#results a.card"), page.get_by_text("These results have expired")
    expect(cards).to_have_count(30)
    cards.last.scroll_into_view_if_needed()
    expect(expired).to_be_visible()
    assert others == [200]
    press(page.get_by_role("button", name="Search again"), screen)
    expect(expired).to_have_count(0)
    cards.last.scroll_into_view_if_needed()
    expect(cards).not_to_have_count(30)
    assert cards.count() > 30
    expect(expired).to_have_count(0)


def test_the_objects_of_a_scene_that_was_left_do_not_come_into_the_next(
    open_page: OpenPage, store_of_lamps: Served, screen: Screen
) -> None:
    page = open_page(store_of_lamps, screen)
    held: list[Route] = []

    def hold_the_first(route: Route) -> None:
        if held:
            route.continue_()
        else:
            held.append(route)

    page.route(SHOP, hold_the_first)
    open_room(page, screen, "room-0002")
    until(page, lambda: len(held) == 1)
    page.go_back()
    open_room(page, screen, "room-0005")
    expect(page.get_by_role("tab")).to_have_count(1)
    expect(titles(page).first).to_be_visible()
    shown, url = titles(page).all_inner_texts(), page.url
    late = held[0].fetch()
    assert [match["product"]["title"] for match in late.json()["objects"][0]["matches"]][: len(shown)] != shown
    held[0].fulfill(response=late)
    page.wait_for_timeout(500)
    assert (titles(page).all_inner_texts(), page.url) == (shown, url)
    press(page.get_by_role("tab"), screen)  # an object of either scene: its products are those of the one that is shown
    assert titles(page).all_inner_texts() == shown


def test_a_camera_that_comes_after_it_was_left_is_turned_off(
    open_page: OpenPage, store: Served, screen: Screen
) -> None:
    page = open_page(store, screen, permissions=["camera"])
    page.add_init_script(HELD_CAMERA)
    page.goto(f"{store.url}?mode=lens")
    until(page, lambda: len(page.evaluate(TRACKS)) == 1)
    press(page.locator("nav a[data-mode=shop]"), screen)
    expect(page.locator("#gallery-feed a").first).to_be_visible()
    assert page.evaluate(TRACKS) == ["live"]
    page.evaluate("window.release()")
    until(page, lambda: page.evaluate(TRACKS) == ["ended"])
    assert page.evaluate(TRACKS) == ["ended"]
    expect(page.locator("#camera-video")).to_have_js_property("srcObject", None)


def filter_of(page: Page) -> Any:
    """The filter in the address."""
    return json.loads(parse_qs(urlsplit(page.url).query)["filter"][0])


def test_a_filter_stays_as_it_is_where_its_panel_changes_nothing(
    open_page: OpenPage, store: Served, screen: Screen
) -> None:
    given = {"category": ["Rugs", "No such"], "price": {"gt": 5, "lte": 300}, "product": {"exists": True}}
    page = open_page(store, screen, f"?filter={quote(json.dumps(given))}")
    panel, show = page.locator("#filters"), page.locator("#filters button[type=submit]")
    press(page.get_by_role("button", name="Filters, 3 on"), screen)
    expect(panel.locator("fieldset").first).to_be_visible()
    press(show, screen)
    expect(panel).to_be_hidden()
    assert filter_of(page) == given
    press(page.get_by_role("button", name="Filters, 3 on"), screen)
    panel.get_by_label("No such").uncheck()
    press(show, screen)
    expect(panel).to_be_hidden()
    assert filter_of(page) == given | {"category": ["Rugs"]}


def test_an_answer_from_a_part_of_the_collection_says_so(open_page: OpenPage, store: Served, screen: Screen) -> None:
    page = open_page(store, screen, "?mode=flashlight&item=2")
    status = page.locator("#results-status")
    expect(status).to_contain_text(" ms")
    expect(status).not_to_contain_text("collection")

    def without_a_shard(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json=answer.json() | {"coverage": 0.759})

    page.route(SEARCH, without_a_shard)
    page.reload()
    expect(status).to_contain_text("Only 75% of the collection could be searched")


@pytest.fixture(scope="module")
def bare(browser: Browser, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collection whose originals are gone, as where their drive is not mounted."""
    folder = tmp_path_factory.mktemp("bare")
    (folder / "pictures").mkdir()
    for number in range(3):
        Image.new("RGB", (800, 600), (80 * number, 90, 200)).save(folder / "pictures" / f"{number}.png")
    collection = index(folder / "collection", tiny, (folder / "pictures",))
    shutil.rmtree(folder / "pictures")
    return collection


@pytest.fixture(scope="module")
def store_without_originals(bare: Path) -> Iterator[Served]:
    """That collection."""
    with serving(bare) as served:
        yield served


@pytest.fixture(scope="module")
def two_stores(homestore: Path, bare: Path) -> Iterator[Served]:
    """Two collections; the first is the one where none is named."""
    with serving(f"shop={homestore}", f"few={bare}") as served:
        yield served


def test_where_originals_are_gone_thumbnails_are_shown(
    open_page: OpenPage, store_without_originals: Served, screen: Screen
) -> None:
    page = open_page(store_without_originals, screen, expect=("404",))
    expect(page.locator("#gallery-feed .photo.loaded")).to_have_count(3)
    expect(page.locator(".photo.broken")).to_have_count(0)
    page.locator("#gallery-feed a").first.click()
    expect(page.locator("#viewer")).to_be_visible()
    until(page, lambda: bool(page.locator("#stage-image").evaluate("image => image.naturalWidth > 0")))
    assert page.locator("#stage-image").evaluate("image => image.naturalWidth") > 0
    assert "no-preview" not in str(page.locator("#frame").get_attribute("class"))


def test_the_choice_of_a_collection_is_that_of_the_page(open_page: OpenPage, two_stores: Served) -> None:
    page = open_page(two_stores, DESKTOP, expect=("404",))
    choice = page.get_by_label("Collection", exact=True)
    expect(choice).to_have_value("shop")
    choice.select_option("few")
    expect(page.locator("#gallery-count")).to_have_text("3 pictures")
    page.go_back()
    expect(page.locator("#gallery-count")).to_have_text("363 pictures")
    expect(choice).to_have_value("shop")
    choice.select_option("few")
    expect(page.locator("#gallery-count")).to_have_text("3 pictures")
    page.reload()
    expect(choice).to_have_value("few")


@pytest.fixture(scope="module")
def hostile(browser: Browser, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A collection whose names, titles, sellers and links try to run code."""
    folder = tmp_path_factory.mktemp("hostile")
    with (folder / "items.jsonl").open("w") as manifest:
        for number, address in enumerate((*ADDRESSES, "https://shop.example/?<script>")):
            name = f"{number}<b onmouseover=alert(1)>.png"
            Image.new("RGB", (64, 48), (40 * number, 90, 200)).save(folder / name)
            row: dict[str, object] = {
                "path": name,
                "product": str(number),
                "title": HOSTILE,
                "seller": HOSTILE,
                "url": address,
            }
            row |= {
                "price": 1,
                "price_currency": HOSTILE,
                "availability": HOSTILE,
                "category": HOSTILE,
                HOSTILE: HOSTILE,
            }
            manifest.write(json.dumps(row) + "\n")
    with serving(index(folder / "collection", tiny, (folder / "items.jsonl",))) as served:
        yield served


def test_hostile_names_titles_and_links_are_inert(open_page: OpenPage, hostile: Served) -> None:
    page = open_page(hostile, DESKTOP)
    expect(page.locator("#gallery-feed a").first).to_be_visible()
    for path in (
        "",
        "?mode=flashlight&item=1",
        "?mode=shop&item=1",
        "?mode=shop",
        f"?filter={HOSTILE}&box={HOSTILE}",
    ):
        page.goto(hostile.url + path)
        page.wait_for_load_state("networkidle")
        page.get_by_role("button", name="Filters").click()
        page.keyboard.press("Escape")
        assert page.evaluate("window.pwned") is None
        links = page.locator("main a").evaluate_all("links => links.map(link => link.protocol)")
        assert set(links) <= {"http:", "https:"}
        assert page.locator("img[src=x], main script, main b").count() == 0
    assert page.get_by_text("onerror").count() > 0 or page.locator("[alt*=onerror]").count() > 0
