"""What the page does when things are not as they should be: no network, a failing server, hostile data."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Route, expect

from tests.e2e.conftest import MILLISECONDS, SCREENS, OpenPage, Screen
from tests.e2e.store import Served, index, serving

DESKTOP = SCREENS[0]
HOSTILE = '<img src=x onerror="window.pwned=1">"><script>window.pwned=1</script>'
SEARCH = "**/api/v1/search/flashlight"
ADDRESSES = ("javascript:window.pwned=1", "data:text/html,<script>window.pwned=1</script>", " javascript:alert(1)")


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


def test_more_pictures_come_as_one_scrolls_until_the_last(open_page: OpenPage, store: Served) -> None:
    page = open_page(store, DESKTOP)
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
