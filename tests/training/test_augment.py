"""Random views: where a crop may lie, colours against a step-by-step computation, a phone's mild faults."""

from __future__ import annotations

import colorsys

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from tests.pictures import picture
from training import augment
from visearch.images import WHOLE

seeds = st.integers(0, 2**32)
sides = st.integers(1, 4000)


def boxes() -> st.SearchStrategy[tuple[float, float, float, float]]:
    edge = st.tuples(st.floats(0, 0.9), st.floats(0.01, 1)).map(lambda pair: (pair[0], min(1.0, pair[0] + pair[1])))
    return st.tuples(edge, edge).map(lambda pair: (pair[0][0], pair[1][0], pair[0][1], pair[1][1]))


@given(seeds, sides, sides, st.one_of(st.just(WHOLE), boxes()), st.floats(0.05, 1))
def test_a_crop_is_a_part_of_the_picture(
    seed: int, width: int, height: int, box: tuple[float, float, float, float], least: float
) -> None:
    x0, y0, x1, y1 = augment.random_region(np.random.default_rng(seed), width, height, box, least)
    assert 0 <= x0 < x1 <= 1
    assert 0 <= y0 < y1 <= 1
    if box != WHOLE:  # it holds at most the context and the shift around the box
        margin = augment.BOX_CONTEXT + augment.BOX_SHIFT + 1e-9
        assert x0 >= box[0] - margin * (box[2] - box[0])
        assert y1 <= box[3] + margin * (box[3] - box[1])


@given(seeds, st.floats(0.05, 1))
def test_a_crop_of_a_square_keeps_its_share_and_is_not_distorted_much(seed: int, least: float) -> None:
    x0, y0, x1, y1 = augment.random_region(np.random.default_rng(seed), 1000, 1000, WHOLE, least)
    wide, high = x1 - x0, y1 - y0
    assert 3 / 4 - 1e-6 <= wide / high <= 4 / 3 + 1e-6
    assert wide * high >= least - 1e-6


@given(seeds, st.one_of(st.just(WHOLE), boxes()), st.floats(0.05, 1))
@example(0, WHOLE, 1.0)
def test_a_part_lies_within_the_box_and_keeps_its_share(
    seed: int, box: tuple[float, float, float, float], least: float
) -> None:
    x0, y0, x1, y1 = augment.random_part(np.random.default_rng(seed), box, least)
    assert box[0] - 1e-9 <= x0 < x1 <= box[2] + 1e-9
    assert box[1] - 1e-9 <= y0 < y1 <= box[3] + 1e-9
    share = (x1 - x0) * (y1 - y0) / ((box[2] - box[0]) * (box[3] - box[1]))
    assert least - 1e-6 <= share <= 1 + 1e-6


def test_no_jitter_changes_nothing() -> None:
    image = picture(3)
    changed = augment.change_colours(np.random.default_rng(0), image, 0.0)
    assert np.array_equal(np.asarray(changed), np.asarray(image))


def test_colours_change_as_one_change_after_the_other_would() -> None:
    """Mid colours, so that nothing is cut off on the way."""
    image = Image.fromarray(np.random.default_rng(1).integers(100, 156, (32, 32, 3)).astype(np.uint8))
    strength = 0.2
    for seed in range(20):
        random = np.random.default_rng(seed)
        brightness, contrast, saturation = random.uniform(1 - strength, 1 + strength, 3)
        angle = 2 * np.pi * augment.HUE * strength * random.uniform(-1, 1)

        pixels = np.asarray(image).astype(float)
        axis = np.full(3, 3**-0.5)
        along = (pixels @ axis)[..., None] * axis
        pixels = along + np.cos(angle) * (pixels - along) + np.sin(angle) * np.cross(axis, pixels)
        luma = (pixels @ augment.LUMA)[..., None]
        pixels = luma + saturation * (pixels - luma)
        mean = float((np.asarray(image) @ augment.LUMA).mean())
        pixels = brightness * (mean + contrast * (pixels - mean))

        changed = np.asarray(augment.change_colours(np.random.default_rng(seed), image, strength)).astype(float)
        assert np.abs(changed - pixels).max() <= 1.5  # rounding, of the mean too


def test_hue_turns_and_grey_stays_grey() -> None:
    turned = np.array([200.0, 80.0, 80.0]) @ augment._turn_hue(2 * np.pi / 3).T
    assert np.allclose(turned, [80, 200, 80])  # red became green
    hue = colorsys.rgb_to_hsv(*(turned / 255))[0]
    assert np.isclose(hue, 1 / 3)
    assert np.allclose(np.full(3, 90.0) @ augment._turn_hue(0.7).T, 90)


def test_a_phone_changes_some_pictures_and_none_beyond_recognition() -> None:
    image = picture(5, (64, 64))
    pixels = np.asarray(image).astype(float)
    changes = []
    for seed in range(200):
        made = augment.as_by_phone(np.random.default_rng(seed), image)
        assert made.size == image.size
        assert made.mode == "RGB"
        again = augment.as_by_phone(np.random.default_rng(seed), image)
        assert np.array_equal(np.asarray(made), np.asarray(again))
        changes.append(np.abs(np.asarray(made) - pixels).mean())
    untouched = sum(change == 0 for change in changes) / len(changes)
    assert 1 - augment.PHONE <= untouched + 0.1 < 0.95
    assert max(changes) < 30
