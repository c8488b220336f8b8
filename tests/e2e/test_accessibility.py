"""axe finds no violation of WCAG 2.2 A and AA in any view, light or dark; nothing needs sideways scrolling."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.e2e.conftest import DESKTOP, PHONE, SCREENS, OpenPage, Screen
from tests.e2e.store import Served

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
VIEWS = {
    "gallery": "",
    "rooms": "?mode=shop",
    "flashlight": "?mode=flashlight&item=2",
    "shop": "?mode=shop&item=273",
    "camera": "?mode=lens",
    "no such item": "?item=999999",
    "a picture of another device": "?mode=lens&picture=elsewhere",
}


def settle(page: Page) -> None:
    """Wait until nothing more comes."""
    page.wait_for_load_state("networkidle")
    expect(page.locator(".skeleton:visible")).to_have_count(0)


def violations(page: Page) -> list[str]:
    """What axe objects to: rule, and where."""
    found = Axe().run(page, options=RULES).response["violations"]
    return [f"{each['id']}: {node['target']} {node['failureSummary']}" for each in found for node in each["nodes"]]


@pytest.mark.parametrize(
    ("screen", "scheme"),
    [
        pytest.param(SCREENS[0], "light", id="desktop-light"),
        pytest.param(SCREENS[1], "dark", id="phone-dark"),
        pytest.param(SCREENS[0], "dark", id="desktop-dark", marks=pytest.mark.slow),
        pytest.param(SCREENS[1], "light", id="phone-light", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("view", VIEWS)
def test_no_violation(open_page: OpenPage, store: Served, screen: Screen, view: str, scheme: str) -> None:
    page = open_page(store, screen, VIEWS[view], color_scheme=scheme, reduced_motion="reduce", expect=("404",))
    settle(page)
    assert violations(page) == []


@pytest.mark.parametrize("name", ["Filters", "History"])
def test_no_violation_in_dialogs(open_page: OpenPage, store: Served, screen: Screen, name: str) -> None:
    page = open_page(store, screen, reduced_motion="reduce")
    settle(page)
    page.get_by_role("button", name=name).click()
    expect(page.locator("dialog[open]")).to_be_visible()
    assert violations(page) == []


@pytest.mark.parametrize("width", [320, 360, 768, 3840])
@pytest.mark.parametrize("view", ["", "?mode=flashlight&item=2", "?mode=shop&item=273", "?mode=lens"])
def test_nothing_is_wider_than_the_screen(open_page: OpenPage, store: Served, width: int, view: str) -> None:
    page = open_page(store, Screen("any", {"viewport": {"width": width, "height": 900}}), view)
    settle(page)
    wide = page.evaluate(
        """() => [...document.querySelectorAll("body *")]
            .filter(each => each.getBoundingClientRect().right > document.documentElement.clientWidth)
            .map(each => each.outerHTML.slice(0, 90))"""
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= width, wide


@pytest.mark.parametrize("view", ["", "?mode=flashlight&item=2", "?mode=shop&item=273"])
def test_a_phone_shows_the_page_at_its_own_width(open_page: OpenPage, store: Served, view: str) -> None:
    page = open_page(store, SCREENS[1], view)
    settle(page)
    assert page.evaluate("innerWidth") == PHONE["viewport"]["width"]


def test_what_is_touched_is_large_enough(open_page: OpenPage, store: Served) -> None:
    """WCAG 2.2 AA, 2.5.8: 24 by 24 pixels."""
    page = open_page(store, SCREENS[1], "?mode=shop&item=273")
    settle(page)
    small = page.evaluate(
        """() => [...document.querySelectorAll("button, a, select, summary")]
            .filter(each => each.checkVisibility({checkOpacity: true}))
            .map(each => [each.outerHTML.slice(0, 90), each.getBoundingClientRect()])
            .filter(([, {width, height}]) => width && height && (width < 24 || height < 24))
            .map(([html, {width, height}]) => `${width} x ${height}: ${html}`)"""
    )
    assert small == []


def test_nothing_moves_for_those_who_asked_for_that(open_page: OpenPage, store: Served) -> None:
    page = open_page(store, Screen("any", DESKTOP), "?mode=shop&item=273", reduced_motion="reduce")
    settle(page)
    longest = page.evaluate(
        """() => Math.max(...[...document.querySelectorAll("*")].flatMap(each => {
            const {transitionDuration, animationDuration} = getComputedStyle(each);
            return `${transitionDuration},${animationDuration}`.split(",").map(parseFloat);
        }))"""
    )
    assert longest < 0.05  # seconds
