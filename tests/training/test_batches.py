"""What a step sees: the law of the mix, the right labels, the same batches however they are made."""

from __future__ import annotations

import multiprocessing
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch")

import torch
from PIL import Image

from tests.pictures import picture as smooth
from tests.training.tiny_run import CHANNEL, EMBEDDING, SCHEDULE, folder_of_classes, loose_pictures, recipe_of
from training import augment, data, validation
from training.batches import REPLACEMENTS, Batch, Batches, Mix, view
from training.recipe import Data, Recipe
from visearch import embedder, images
from visearch.errors import VisearchError

sizes_and_shares = st.lists(
    st.tuples(st.integers(1, 40), st.floats(0.05, 5, allow_nan=False)), min_size=1, max_size=5
).map(lambda pairs: ([size for size, _ in pairs], [share for _, share in pairs]))


# The mix


@given(sizes_and_shares, st.integers(1, 12), st.integers(0, 40))
def test_every_set_is_shown_as_often_as_its_share_says(
    sets: tuple[list[int], list[float]], batch: int, steps: int
) -> None:
    sizes, shares = sets
    mix = Mix(sizes, shares, batch, seed=0)
    slots = [slot for step in range(steps) for slot in mix.step(step)]
    assert len(slots) == steps * batch
    counts = Counter(number for number, _ in slots)
    for number, share in enumerate(shares):
        due = len(slots) * share / sum(shares)
        assert abs(counts[number] - due) <= len(sizes)
        # Turns come one after the other, none twice, none left out.
        assert [turn for each, turn in slots if each == number] == list(range(counts[number]))


@given(st.integers(1, 30), st.integers(0, 5), st.integers(0, 2**31))
def test_a_set_shows_all_of_its_pictures_before_one_of_them_again(size: int, lap: int, seed: int) -> None:
    mix = Mix([size], [1.0], 1, seed)
    assert sorted(mix.picture(0, turn) for turn in range(lap * size, (lap + 1) * size)) == list(range(size))


def test_laps_sets_and_seeds_have_orders_of_their_own() -> None:
    mix = Mix([50, 50], [1.0, 1.0], 1, seed=0)
    orders = {
        tuple(mix.picture(0, turn) for turn in range(50)),
        tuple(mix.picture(0, turn) for turn in range(50, 100)),
        tuple(mix.picture(1, turn) for turn in range(50)),
        tuple(Mix([50, 50], [1.0, 1.0], 1, seed=1).picture(0, turn) for turn in range(50)),
    }
    assert len(orders) == 4


def test_a_uniform_batch_holds_as_many_of_each_set() -> None:
    mix = Mix([3, 1000, 20], [1.0, 1.0, 1.0], 12, seed=0)
    for step in (0, 1, 17, 12345):
        assert Counter(number for number, _ in mix.step(step)) == {0: 4, 1: 4, 2: 4}


def test_an_epoch_shows_the_largest_set_once() -> None:
    assert Mix([30, 600, 20], [1.0, 1.0, 1.0], 12, seed=0).steps_per_epoch() == 150
    assert Mix([30, 600], [30.0, 600.0], 63, seed=0).steps_per_epoch() == 10  # proportional: that is everything once


# Batches


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """A large and a small labelled set that share two heads' classes only in part, and pictures without labels."""
    return recipe_of(
        Data("large", folder_of_classes(tmp_path / "large", each=6), heads={"colour": "class", "kind": "class"}),
        Data("small", folder_of_classes(tmp_path / "small", 2, ("red", "blue"), seed=50), heads={"colour": "class"}),
        Data("loose", loose_pictures(tmp_path / "loose")),
        schedule=replace(SCHEDULE, steps_per_epoch=0),
    )


def batches_of(recipe: Recipe, rank: int = 0, world: int = 1) -> Batches:
    return Batches(data.read(recipe), recipe, rank=rank, world=world)


def assert_same(left: Batch, right: Batch) -> None:
    assert torch.equal(left.images, right.images)
    assert torch.equal(left.held, right.held)
    assert left.labels.keys() == right.labels.keys()
    for head, parts in left.labels.items():
        assert all(torch.equal(one, other) for one, other in zip(parts, right.labels[head], strict=True))


def test_labels_are_those_of_the_pictures(recipe: Recipe) -> None:
    batches = batches_of(recipe)
    classes = data.read(recipe).classes["colour"]
    for step in range(6):
        batch = batches.make(step)
        assert batch.images.shape == (6, 32, 32, 3)
        assert batch.images.dtype == torch.uint8
        rows, ids = batch.labels["colour"]
        assert len(rows) == 4
        brightest = batch.images[rows].float().mean(dim=(1, 2)).argmax(dim=1).tolist()
        assert brightest == [CHANNEL[classes[class_id]] for class_id in ids.tolist()]


def test_a_picture_counts_for_every_head_it_is_labelled_for_and_no_other(recipe: Recipe) -> None:
    batch = batches_of(recipe).make(3)
    colour, kind = (set(batch.labels[head][0].tolist()) for head in ("colour", "kind"))
    assert len(kind) == 2
    assert kind < colour
    assert set(batch.held.tolist()) == set(range(6)) - colour


def test_a_labelled_set_may_be_held_to_the_start_model_too(recipe: Recipe) -> None:
    batch = batches_of(replace(recipe, data=(recipe.data[0], replace(recipe.data[1], distill=True)))).make(0)
    small = set(batch.labels["colour"][0].tolist()) - set(batch.labels["kind"][0].tolist())
    assert set(batch.held.tolist()) == small
    assert len(small) == 3


def test_the_same_batches_whatever_the_workers_and_wherever_one_begins(recipe: Recipe) -> None:
    batches = batches_of(recipe)
    alone = list(batches.iterate(0, 5, workers=0))
    for one, other in zip(alone[2:], batches.iterate(2, 5, workers=2), strict=True):
        assert_same(one, other)
    assert not torch.equal(alone[0].images, alone[1].images)
    assert not torch.equal(alone[0].images, batches_of(replace(recipe, seed=1)).make(0).images)


def test_processes_share_out_the_joint_batch(recipe: Recipe) -> None:
    joint = batches_of(replace(recipe, schedule=replace(recipe.schedule, batch=12))).make(4)
    parts = [batches_of(recipe, rank, 2).make(4) for rank in range(2)]
    assert torch.equal(torch.cat([part.images for part in parts]), joint.images)
    assert sum(len(part.held) for part in parts) == len(joint.held)


def test_every_process_sees_every_set(recipe: Recipe) -> None:
    """Two sets take turns, so that every second picture is of the same."""
    two = replace(recipe, data=(recipe.data[0], recipe.data[2]))
    for step in range(3):
        for rank in range(2):
            batch = batches_of(two, rank, 2).make(step)
            assert len(batch.labels["colour"][0]) == len(batch.held) == 3


def test_a_box_is_what_is_shown_with_a_little_around_it(tmp_path: Path) -> None:
    pixels = np.zeros((100, 100, 3), np.uint8)
    pixels[20:60, 30:70] = (250, 0, 0)
    Image.fromarray(pixels).save(tmp_path / "scene.png")
    (tmp_path / "scene.jsonl").write_text('{"path": "scene.png", "label": "a", "box": [0.3, 0.2, 0.7, 0.6]}\n')
    recipe = recipe_of(
        Data("scenes", tmp_path / "scene.jsonl", heads={"h": "label"}), schedule=replace(SCHEDULE, jitter=0.0, crop=0.9)
    )
    shown = batches_of(recipe).make(0).images[..., 0].float().mean(dim=(1, 2))
    # Of the whole picture 16% is red; of the box and 20% on every side, 51%.
    assert shown.min() > 0.45 * 250


WIDE = (0.1, 0.4, 0.9, 0.6)  # four times as wide as high


def scene(folder: Path) -> Path:
    """A dark photo, so that white is none of it."""
    Image.fromarray(np.asarray(smooth(1, (600, 600))) // 3).save(folder / "scene.jpg", quality=95)
    return folder / "scene.jpg"


def test_a_padded_view_is_what_the_model_sees_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augment, "PHONE", 0.0)
    monkeypatch.setattr(augment, "PADDED_BOX", 1.0)
    path, size = scene(tmp_path), 96
    card = validation.card_of(recipe_of(embedding=replace(EMBEDDING, size=size)))
    for seed in range(4):
        shown = view(path, WIDE, size, crop=0.4, jitter=0.0, random=np.random.default_rng(seed))
        again = np.random.default_rng(seed)  # draws the same part
        region = augment.loosen(again, WIDE)
        again.uniform()
        region = augment.random_part(again, region, augment.LEAST_PADDED)
        used = embedder.prepare(card, images.decode(path.read_bytes()), region).astype(int)
        if again.uniform() < 0.5:
            used = used[:, ::-1]
        assert np.abs(shown - used).mean() < 1.5
        assert np.array_equal(shown == 255, used == 255)


def test_a_set_may_be_cropped_and_coloured_in_its_own_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for effect in ("PHONE", "PHONE_BALANCE"):
        monkeypatch.setattr(augment, effect, 1.0)
    for effect in ("PHONE_BLUR", "PHONE_NOISE", "PHONE_JPEG"):
        monkeypatch.setattr(augment, effect, 0.0)
    pixels = np.full((64, 64, 3), 40, np.uint8)
    pixels[:8] = pixels[-8:] = 200  # bright at the top and at the bottom
    for folder in ("plain", "changed"):
        (tmp_path / folder / "grey").mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / folder / "grey" / "0.png")
    recipe = recipe_of(
        Data("plain", tmp_path / "plain", heads={"h": "class", "plain": "class"}, crop=1.0, jitter=0.0),
        Data("changed", tmp_path / "changed", heads={"h": "class"}),
        schedule=replace(SCHEDULE, batch=24, jitter=0.3, crop=0.2),
    )
    batch = batches_of(recipe).make(0)
    plain = set(batch.labels["plain"][0].tolist())
    assert len(plain) == 12
    grey = {row for row, image in enumerate(batch.images.int()) if (image.amax(2) - image.amin(2)).max() <= 1}
    whole = {row for row, image in enumerate(batch.images) if image[0].min() > 150 and image[-1].min() > 150}
    assert grey == plain
    assert plain <= whole
    assert len(whole) < 24


def test_colours_and_cameras_leave_the_white_around_a_box_white(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(augment, "PHONE", 1.0)
    monkeypatch.setattr(augment, "PADDED_BOX", 1.0)
    path, size = scene(tmp_path), 64
    for seed in range(20):
        shown = view(path, WIDE, size, crop=0.4, jitter=0.3, random=np.random.default_rng(seed))
        inside = (shown != 255).any(axis=(1, 2))
        rows = np.flatnonzero(inside)
        assert inside[rows[0] : rows[-1] + 1].all()
        assert 0 < len(rows) < size / 2  # the rest is white to the last bit, above and below
        assert abs(rows[0] - (size - 1 - rows[-1])) <= 1


def test_a_picture_that_cannot_be_decoded_is_replaced_and_told(recipe: Recipe) -> None:
    batches = batches_of(recipe)
    broken = recipe.data[1].path / "red" / "0.png"
    broken.write_bytes(broken.read_bytes()[:90])
    made = [batches.make(step) for step in range(4)]
    told = [path for batch in made for path, _ in batch.unreadable]
    assert set(told) == {broken}
    assert all(len(batch.labels["colour"][0]) == 4 for batch in made)
    assert all(batch.images.amax(dim=(1, 2, 3)).min() > 0 for batch in made)
    # What stands in for it is the same again.
    assert_same(made[0], batches.make(0))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_set_of_nothing_but_broken_pictures_is_one_line(recipe: Recipe, workers: int) -> None:
    batches = batches_of(recipe)
    for path in recipe.data[1].path.glob("*/*.png"):
        path.write_bytes(b"")
    with pytest.raises(
        VisearchError, match=rf"^data set small: {REPLACEMENTS} pictures.*the file has no bytes|empty"
    ) as error:
        list(batches.iterate(0, 2, workers))
    assert "Traceback" not in error.value.message
    assert not multiprocessing.active_children()  # though the error, and what it keeps, is still there


def test_a_worker_that_dies_is_told_where_a_batch_is_taken(recipe: Recipe) -> None:
    """Not in the middle of whatever the run is at, as torch would have it."""
    before = signal.getsignal(signal.SIGCHLD)
    coming = batches_of(recipe).iterate(0, 1000, workers=1)
    next(coming)
    assert signal.getsignal(signal.SIGCHLD) is before
    (worker,) = multiprocessing.active_children()
    worker.kill()
    with pytest.raises(VisearchError, match="a process that decodes pictures died"):
        list(coming)
    assert not multiprocessing.active_children()


def test_closed_it_leaves_no_process_behind(recipe: Recipe) -> None:
    coming = batches_of(recipe).iterate(0, 5, workers=2)
    next(coming)
    assert len(multiprocessing.active_children()) == 2
    coming.close()
    assert not multiprocessing.active_children()
