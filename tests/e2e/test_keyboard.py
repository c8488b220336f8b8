"""Without a mouse: every mode by Tab, Enter and the arrow keys, with the focus always visible."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.e2e.conftest import SCREENS, OpenPage
from tests.e2e.store import PRODUCTS, ROOMS, Served, true_box

DESKTOP = SCREENS[0]
ENOUGH_DATA = 4  # HTMLMediaElement.HAVE_ENOUGH_DATA
ROOM, IN_ROOM = "room-0003", "demo-00011"  # a painting on the wall
STEP = 0.02  # of the picture, an arrow key
MOST_TABS = 60


def tab_to(page: Page, selector: str) -> None:
    """Press Tab until what matches has the focus, and look whether one sees that it has."""
    for _ in range(MOST_TABS):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            break
    else:
        raise AssertionError(f"{selector} is not reached by {MOST_TABS} times Tab")
    assert page.evaluate(
        """() => {
            const seen = getComputedStyle(document.activeElement);
            return document.activeElement.matches(":focus-visible")
                && (parseFloat(seen.outlineWidth) > 0 && seen.outlineStyle !== "none" || seen.boxShadow !== "none");
        }"""
    ), f"{selector} has the focus, but nobody sees it"


def press(page: Page, key: str, times: int) -> None:
    """A key, many times."""
    for _ in range(times):
        page.keyboard.press(key)


def test_the_first_tab_offers_to_skip_to_the_pictures(open_page: OpenPage, store: Served) -> None:
    page = open_page(store, DESKTOP)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the pictures"
    page.keyboard.press("Enter")
    tab_to(page, "#main a, #main button")


def test_flashlight(open_page: OpenPage, store: Served) -> None:
    page = open_page(store, DESKTOP)
    expect(page.locator("#gallery-feed a").nth(1)).to_be_visible()
    tab_to(page, "#gallery-feed li:nth-child(1) a")
    tab_to(page, "#gallery-feed a")
    page.keyboard.press("Enter")
    expect(page.locator("#viewer-title")).to_be_focused()
    expect(page.locator("#results .title").first).to_be_visible()
    tab_to(page, "#results a.card")
    page.keyboard.press("Escape")
    expect(page.locator("#gallery-title")).to_be_visible()
    assert page.evaluate("document.activeElement.matches('#gallery-feed a')")  # back to where one was


def test_shop_the_look_with_a_box_drawn_by_arrow_keys(open_page: OpenPage, store: Served) -> None:
    page = open_page(store, DESKTOP)
    tab_to(page, "nav a[data-mode=shop]")
    page.keyboard.press("Enter")
    cards = page.locator("#gallery-feed a")
    expect(cards.nth(2)).to_be_visible()
    for _ in range(list(ROOMS).index(ROOM) + 1):
        tab_to(page, "#gallery-feed a")
    page.keyboard.press("Enter")
    expect(page.locator("#stage-image")).to_be_visible()
    tab_to(page, "#stage-draw")
    page.keyboard.press("Enter")
    expect(page.locator(".crop")).to_be_focused()
    x0, y0, x1, y1 = true_box(ROOM, IN_ROOM)
    press(page, "Shift+ArrowLeft", round((0.5 - (x1 - x0)) / STEP))
    press(page, "Shift+ArrowUp", round((0.5 - (y1 - y0)) / STEP))
    press(page, "ArrowLeft" if x0 < 0.25 else "ArrowRight", round(abs(x0 - 0.25) / STEP))
    press(page, "ArrowUp" if y0 < 0.25 else "ArrowDown", round(abs(y0 - 0.25) / STEP))
    expect(page.locator("#results .title").first).to_have_text(PRODUCTS[IN_ROOM]["title"])
    tab_to(page, "#results a.visit")


def test_lens(open_page: OpenPage, store: Served) -> None:
    page = open_page(store, DESKTOP, permissions=["camera"])
    tab_to(page, "nav a[data-mode=lens]")
    page.keyboard.press("Enter")
    expect(page.locator("#camera-video")).to_have_js_property("readyState", ENOUGH_DATA)  # allowed before, so it is on
    tab_to(page, "#camera-shutter")
    page.keyboard.press("Enter")
    expect(page.locator("#results .title").first).to_be_visible()
    assert "picture=" in page.url


def test_dialogs_take_the_focus_and_give_it_back(open_page: OpenPage, store: Served) -> None:
    page = open_page(store, DESKTOP)
    expect(page.locator("#gallery-feed a").first).to_be_visible()
    for name in ("filter-open", "history-open"):
        tab_to(page, f"#{name}")
        page.keyboard.press("Enter")
        expect(page.locator("dialog[open]")).to_be_visible()
        for _ in range(3):
            page.keyboard.press("Tab")
            inside = "document.activeElement.contains(document.querySelector('dialog[open]'))"  # the browser's own bar
            assert page.evaluate(f"document.activeElement.closest('dialog[open]') !== null || {inside}")
        page.keyboard.press("Escape")
        expect(page.locator("dialog[open]")).to_have_count(0)
        expect(page.locator(f"#{name}")).to_be_focused()
