"""Each mode, from a fresh page to a correct result, on a desktop and on a phone.

The tiny model tells colours apart, not kinds of things: what is looked for here is what that is enough for.
"""

from __future__ import annotations

import re

from playwright.sync_api import Locator, Page, expect

from tests.e2e.conftest import SCREENS, SEEN_BY_CAMERA, OpenPage, Screen
from tests.e2e.store import DEMO, PHOTOS, PRODUCTS, ROOMS, Served, true_box

ENOUGH_DATA = 4  # HTMLMediaElement.HAVE_ENOUGH_DATA
ROOM, IN_ROOM = "room-0002", "demo-00005"  # a painting on the wall
SEEN = PRODUCTS[PHOTOS[SEEN_BY_CAMERA]["product"]]
SETTLED = "box => Promise.allSettled(box.getAnimations({subtree: true}).map((animation) => animation.finished))"


def titles(page: Page) -> Locator:
    """The titles of the results, best first."""
    return page.locator("#results .title")


def press(locator: Locator, screen: Screen) -> None:
    """Click, or touch."""
    if screen.touch:
        locator.tap()
    else:
        locator.click()


def open_room(page: Page, screen: Screen, room: str) -> None:
    """Through the page, from anywhere: Shop the Look, then that room."""
    press(page.locator("nav a[data-mode=shop]"), screen)
    place = list(ROOMS).index(room)
    press(page.locator("#gallery-feed a").nth(place), screen)
    expect(page.locator("#stage-image")).to_be_visible()


def draw(page: Page, screen: Screen, box: tuple[float, float, float, float]) -> None:
    """Draw a box on the picture that is shown."""
    press(page.locator("#stage-draw"), screen)
    frame = page.locator("#frame")
    frame.scroll_into_view_if_needed()
    page.locator(".crop").evaluate(SETTLED)  # it glides to where it begins
    for handle, x, y in (("nw", box[0], box[1]), ("se", box[2], box[3])):
        place = frame.bounding_box()
        grip = page.locator(f"[data-handle={handle}]").bounding_box()
        assert place is not None
        assert grip is not None
        start = (grip["x"] + grip["width"] / 2, grip["y"] + grip["height"] / 2)
        end = (place["x"] + x * place["width"], place["y"] + y * place["height"])
        drag(page, screen, start, end)


def drag(page: Page, screen: Screen, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Drag with the mouse or a finger."""
    steps = [tuple(a + (b - a) * part / 8 for a, b in zip(start, end, strict=True)) for part in range(9)]
    if not screen.touch:
        page.mouse.move(*steps[0])
        page.mouse.down()
        for step in steps:
            page.mouse.move(*step)
        page.mouse.up()
        return
    touch = page.context.new_cdp_session(page)  # Playwright's own touchscreen only taps
    kinds = ["touchStart", *["touchMove"] * (len(steps) - 1)]
    for kind, (x, y) in zip(kinds, steps, strict=True):
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    touch.detach()


def test_shop_the_look_finds_the_product_in_a_drawn_box(open_page: OpenPage, store: Served, screen: Screen) -> None:
    page = open_page(store, screen)
    open_room(page, screen, ROOM)
    draw(page, screen, true_box(ROOM, IN_ROOM))
    product = PRODUCTS[IN_ROOM]
    expect(titles(page).first).to_have_text(product["title"])
    card = page.locator("#results li.product").first
    expect(card.locator(".price")).to_contain_text(f"{product['price']:g}")
    expect(card.locator(".stock")).to_be_visible()
    expect(card.locator("a.visit")).to_have_attribute("href", product["url"])
    assert "box=" in page.url


def test_shop_the_look_has_a_dot_and_a_tab_for_each_object(
    open_page: OpenPage, store_of_lamps: Served, screen: Screen
) -> None:
    page = open_page(store_of_lamps, screen)
    open_room(page, screen, ROOM)
    dot = page.locator(".dot")
    expect(dot).to_have_count(1)  # the lamp that this detector sees everywhere
    expect(dot).to_have_attribute("aria-label", "Lighting")
    press(dot, screen)
    expect(dot).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("tab", name="Lighting")).to_have_attribute("aria-selected", "true")
    expect(page.locator("#results li.product").first).to_be_visible()
    lamps = {row["title"] for row in PRODUCTS.values() if row["category"] == "Lighting"}
    assert titles(page).first.inner_text() in lamps


def test_flashlight_follows_the_crop_of_a_picture_of_ones_own(
    open_page: OpenPage, store: Served, screen: Screen
) -> None:
    page = open_page(store, screen)
    page.locator("#file-picture").set_input_files(DEMO / ROOMS[ROOM]["path"])
    expect(page.locator("#stage-image")).to_be_visible()
    whole = page.locator("#results a.card").first
    expect(whole).to_be_visible()
    before = whole.get_attribute("href")
    draw(page, screen, true_box(ROOM, IN_ROOM))
    expect(titles(page).first).to_have_text(PRODUCTS[IN_ROOM]["title"])
    assert page.locator("#results a.card").first.get_attribute("href") != before


def test_flashlight_shows_look_alikes_of_a_picture_that_is_opened(
    open_page: OpenPage, store: Served, screen: Screen
) -> None:
    page = open_page(store, screen)
    press(page.locator("#gallery-feed a").nth(1), screen)
    product = PRODUCTS["demo-00002"]
    expect(page.locator("#viewer-title")).to_have_text(product["title"])
    expect(titles(page).first).to_be_visible()
    same_design = {row["title"] for row in PRODUCTS.values() if row["group"] == product["group"]} - {product["title"]}
    assert titles(page).first.inner_text() in same_design
    page.go_back()
    expect(page.locator("#gallery-feed a").first).to_be_visible()


def test_lens_finds_what_the_camera_sees(open_page: OpenPage, store: Served, screen: Screen) -> None:
    page = open_page(store, screen, permissions=["camera"])
    press(page.locator("nav a[data-mode=lens]"), screen)
    shutter = page.get_by_role("button", name="Search with this picture")
    expect(shutter).to_be_visible()
    expect(page.locator("#camera-video")).to_have_js_property("readyState", ENOUGH_DATA)
    press(shutter, screen)
    expect(titles(page).first).to_have_text(SEEN["title"])
    assert page.evaluate("document.getElementById('camera-video').srcObject") is None  # the camera is off again


def test_lens_asks_before_it_turns_the_camera_on_and_says_what_to_do_when_refused(
    open_page: OpenPage, store: Served, screen: Screen
) -> None:
    page = open_page(store, screen)
    press(page.locator("nav a[data-mode=lens]"), screen)
    press(page.get_by_role("button", name="Turn on the camera"), screen)
    expect(page.locator("#camera-title")).to_have_text("The camera is blocked for this page")
    with page.expect_file_chooser() as chooser:
        press(page.get_by_role("button", name="Choose a picture"), screen)
    chooser.value.set_files(DEMO / PHOTOS[SEEN_BY_CAMERA]["path"])
    expect(titles(page).first).to_have_text(SEEN["title"])


def test_a_picture_can_be_pasted_and_dropped(open_page: OpenPage, store: Served) -> None:
    page = open_page(store, SCREENS[0])
    data = (DEMO / PHOTOS[SEEN_BY_CAMERA]["path"]).read_bytes()
    for event, carrier in (("paste", "clipboardData"), ("drop", "dataTransfer")):
        page.goto(f"{store.url}?mode=lens")
        expect(page.get_by_role("button", name="Turn on the camera")).to_be_visible()
        page.evaluate(
            """([event, carrier, bytes]) => {
                const held = new DataTransfer();
                held.items.add(new File([new Uint8Array(bytes)], "photo.jpg", {type: "image/jpeg"}));
                const kind = event === "paste" ? ClipboardEvent : DragEvent;
                document.body.dispatchEvent(new kind(event, {[carrier]: held, bubbles: true, cancelable: true}));
            }""",
            [event, carrier, list(data)],
        )
        expect(titles(page).first).to_have_text(SEEN["title"])


def test_a_view_can_be_shared_by_its_address_and_found_again_in_the_history(
    open_page: OpenPage, store: Served, screen: Screen
) -> None:
    page = open_page(store, screen)
    open_room(page, screen, ROOM)
    draw(page, screen, true_box(ROOM, IN_ROOM))
    expect(titles(page).first).to_have_text(PRODUCTS[IN_ROOM]["title"])
    expect(page).to_have_url(re.compile("box="))

    other = open_page(store, screen, page.url.removeprefix(store.url))
    expect(titles(other).first).to_have_text(PRODUCTS[IN_ROOM]["title"])

    page.goto(store.url)
    press(page.get_by_role("button", name="History"), screen)
    press(page.locator("#history-body a").first, screen)
    expect(titles(page).first).to_have_text(PRODUCTS[IN_ROOM]["title"])
