"""The same modes with the model that ships."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.conftest import SCREENS, SEEN_BY_CAMERA, OpenPage
from tests.e2e.store import PHOTOS, PRODUCTS, ROOMS, Served, index, serving, true_box
from visearch import models

DESKTOP, PHONE = SCREENS
FIRST = 3
SHOPPED = (
    ("room-0075", "demo-00214"),
    ("room-0061", "demo-00191"),
    ("room-0070", "demo-00146"),
)  # stool, shelf, ottoman


@pytest.fixture(scope="module")
def real_store(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The home store under the shipped model, with the detector that is installed, if one is."""
    with serving(index(tmp_path_factory.mktemp("real") / "homestore", models.default_model())) as served:
        yield served


def test_lens_finds_the_product_that_the_camera_sees(open_page: OpenPage, real_store: Served) -> None:
    page = open_page(real_store, PHONE, permissions=["camera"])
    page.locator("nav a[data-mode=lens]").tap()
    video = page.locator("#camera-video")
    expect(video).to_have_js_property("readyState", 4)  # enough data
    page.get_by_role("button", name="Search with this picture").tap()
    expect(page.locator("#results .title").first).to_be_visible()
    page.wait_for_load_state("networkidle")
    first = page.locator("#results .title").all_inner_texts()[:FIRST]
    assert PRODUCTS[PHOTOS[SEEN_BY_CAMERA]["product"]]["title"] in first


@pytest.mark.parametrize(("room", "product"), SHOPPED)
def test_shop_the_look_finds_the_product_in_a_box(
    open_page: OpenPage, real_store: Served, room: str, product: str
) -> None:
    item = len(PRODUCTS) + list(ROOMS).index(room) + 1  # ids are given in the order of the sources
    box = ",".join(str(edge) for edge in true_box(room, product))
    page = open_page(real_store, DESKTOP, f"?mode=shop&item={item}&box={box}")
    expect(page.locator("#results .title").first).to_be_visible()
    page.wait_for_load_state("networkidle")
    first = page.locator("#results .title").all_inner_texts()[:FIRST]  # others of its group may be before it
    assert PRODUCTS[product]["title"] in first
