"""Which cells answer for which objects, and what they learn; against a dumber implementation of the same maths."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

pytest.importorskip("torch")

import torch
from torch import Tensor

from training.detection import loss
from training.detection.model import Raw
from visearch.detector import DetectorCard, _grid, decode_yolox

SIDE = 64
GRID = loss.cells(SIDE)
CELLS = len(GRID)
LABELS = 3

sides = st.tuples(*[st.floats(0, SIDE - 8)] * 2, *[st.floats(4, SIDE)] * 2)
boxes = sides.map(lambda s: (s[0], s[1], s[0] + s[2], s[1] + s[3]))


def raw(seed: int, pictures: int = 1) -> Raw:
    random = torch.Generator().manual_seed(seed)
    boxes = torch.randn(pictures, CELLS, 4, generator=random)
    boxes[..., 2:] += torch.log(32 / GRID[:, 2:])  # as large as a half of the picture, more or less
    return Raw(
        boxes,
        torch.randn(pictures, CELLS, generator=random),
        torch.randn(pictures, CELLS, LABELS, generator=random),
    )


def told(*objects: tuple[tuple[float, float, float, float], int]) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes [1, G, 4], labels [1, G] and ignored [1, G] of one picture, padded by one."""
    true_boxes = torch.tensor([[*(box for box, _ in objects), (0.0, 0.0, 0.0, 0.0)]])
    labels = torch.tensor([[*(label for _, label in objects), -1]])
    return true_boxes, labels, torch.zeros_like(labels, dtype=torch.bool)


EVERYTHING = torch.ones(1, LABELS)


def plain_fit(one: tuple[float, ...], other: tuple[float, ...]) -> tuple[float, float]:
    """IoU and generalised IoU, by the book."""
    width = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    height = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    shared = width * height
    union = (one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1]) - shared
    hull = (max(one[2], other[2]) - min(one[0], other[0])) * (max(one[3], other[3]) - min(one[1], other[1]))
    return shared / union, shared / union - (hull - union) / hull


@given(boxes, boxes)
def test_the_fit_of_two_boxes_is_by_the_book(one: tuple[float, ...], other: tuple[float, ...]) -> None:
    ratio, generalised = loss.fit(torch.tensor(one), torch.tensor(other))
    expected = plain_fit(one, other)
    assert float(ratio) == pytest.approx(expected[0], abs=1e-4)
    assert float(generalised) == pytest.approx(expected[1], abs=1e-4)


def test_boxes_are_decoded_as_the_detector_decodes_them() -> None:
    values = {"contract": 1, "kind": "detector", "name": "x", "version": "1", "labels": ["a"], "decode": "yolox"}
    taken: dict[str, object] = {
        "input": {"layout": "nhwc", "color": "rgb", "type": "uint8"},
        "resize": {"position": "center", "colour": 0},
    }
    card = DetectorCard.from_json(
        json.dumps(values | taken | {"height": SIDE, "width": SIDE, "strides": [8, 16, 32]}), ""
    )
    np.testing.assert_array_equal(_grid(card) * [[1, 1, 1]], torch.cat([GRID[:, :2] / GRID[:, 2:], GRID[:, 2:]], 1))
    said = raw(0)
    whole = torch.cat([said.boxes[0], torch.ones(CELLS, 1 + LABELS)], dim=1).numpy()
    expected = decode_yolox(whole, _grid(card))[0]
    np.testing.assert_allclose(loss.decode(said.boxes, GRID)[0], expected, rtol=1e-5, atol=1e-3)


def plain_assign(scores: Tensor, found: Tensor, objects: Tensor, labels: Tensor) -> dict[int, tuple[int, float]]:
    """cell -> (object, score it should give), by loops."""
    good: dict[tuple[int, int], float] = {}
    ratio = {}
    for number, box in enumerate(objects.tolist()):
        middle = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        centres = [(x + s / 2, y + s / 2) for x, y, s in GRID.tolist()]
        nearest = min(range(CELLS), key=lambda cell: math.dist(centres[cell], middle) ** 2)
        inside = [cell for cell, (x, y) in enumerate(centres) if box[0] < x < box[2] and box[1] < y < box[3]]
        for cell in {*inside, nearest}:
            ratio[number, cell] = plain_fit(tuple(found[cell].tolist()), tuple(box))[0]
            score = float(scores[cell, labels[number]])
            good[number, cell] = score**0.5 * ratio[number, cell] ** 6 + 1e-9
    chosen = set()
    for number in range(len(objects)):
        own = sorted((cell for n, cell in good if n == number), key=lambda cell: -good[number, cell])
        if len(own) > 10 and good[number, own[9]] <= good[number, own[10]] * 1.001:
            reject()  # either of two as good as each other may be taken
        chosen |= {(number, cell) for cell in own[:10]}
    answers = {}
    for cell in {cell for _, cell in chosen}:
        answers[cell] = max(sorted(number for number, c in chosen if c == cell), key=lambda number: ratio[number, cell])
    result = {}
    for cell, number in answers.items():
        mine = [c for c, n in answers.items() if n == number]
        top, best = max(good[number, c] for c in mine), max(ratio[number, c] for c in mine)
        result[cell] = (number, good[number, cell] / top * best)
    return result


@settings(max_examples=40)
@given(st.lists(boxes, min_size=1, max_size=5), st.integers(0, 1000))
def test_the_cells_of_objects_are_those_of_a_plain_search(objects: list[tuple[float, ...]], seed: int) -> None:
    said = raw(seed)
    found, scores = loss.decode(said.boxes, GRID)[0], said.log_scores()[0].exp()
    true_boxes = torch.tensor(objects).clamp(max=SIDE)
    labels = torch.arange(len(objects)) % LABELS
    cells, numbers, targets = loss.assign(scores, found, GRID, true_boxes, labels)
    expected = plain_assign(scores, found, true_boxes, labels)
    assert dict(zip(cells.tolist(), numbers.tolist(), strict=True)) == {c: n for c, (n, _) in expected.items()}
    for cell, target in zip(cells.tolist(), targets.tolist(), strict=True):
        assert target == pytest.approx(expected[cell][1], abs=1e-4)


def test_an_object_smaller_than_a_cell_is_answered_for() -> None:
    made = loss.targets(raw(0), GRID, *told(((17.0, 17.0, 19.0, 19.0), 1)), EVERYTHING)
    assert (made.box_weights[0] >= 0).all()
    cells = made.boxes[0].abs().sum(dim=1).nonzero()
    assert len(cells) == 1
    assert made.boxes[0, cells[0, 0]].tolist() == [17, 17, 19, 19]


def test_what_is_ignored_is_neither_right_nor_wrong() -> None:
    true_boxes, labels, ignored = told(((8.0, 8.0, 40.0, 40.0), 1), ((48.0, 48.0, 64.0, 64.0), 2))
    ignored[0, 0] = True
    made = loss.targets(raw(0), GRID, true_boxes, labels, ignored, EVERYTHING)
    centres = GRID[:, :2] + GRID[:, 2:] / 2
    within = ((centres > 8) & (centres < 40)).all(dim=1)
    assert (made.weights[0, within, 1] == 0).all()
    assert (made.weights[0, within][:, [0, 2]] == 1).all(), "its place is still no place of another label"
    assert (made.weights[0, ~within] == 1).all()
    assert made.scores[0, :, 1].sum() == 0
    assert made.scores[0, :, 2].sum() > 0


def gradients(said: Raw, made: loss.Targets) -> Raw:
    leaves = Raw(*(part.clone().requires_grad_() for part in said))
    torch.autograd.backward(sum(loss.losses(leaves, GRID, made).values(), torch.zeros(())))
    return Raw(*(torch.zeros_like(leaf) if leaf.grad is None else leaf.grad for leaf in leaves))


def test_of_a_label_that_a_set_does_not_tell_nothing_is_learnt() -> None:
    known = torch.tensor([[1.0, 0.0, 1.0]])
    said = raw(3)
    made = loss.targets(said, GRID, *told(((8.0, 8.0, 40.0, 40.0), 0)), known)
    gradient = gradients(said, made)
    assert (gradient.classes[..., 1] == 0).all()
    assert (gradient.classes[..., [0, 2]] != 0).any()


def test_a_product_pasted_where_its_label_is_not_told_is_learnt() -> None:
    known = torch.tensor([[1.0, 0.0, 1.0]])
    said = raw(3)
    gradient = gradients(said, loss.targets(said, GRID, *told(((8.0, 8.0, 40.0, 40.0), 1)), known))
    assert (gradient.classes[..., 1] != 0).any()


def test_what_the_start_model_says_is_learnt_where_nothing_is_told() -> None:
    """A step down the gradient brings what is said nearer to what the start model says, of its labels alone."""
    said, start = raw(1), raw(2)
    start = Raw(start.boxes, start.objectness, start.classes[..., :2])  # it knows two labels, ours 0 and 2
    ours, rows = torch.tensor([0, 2]), torch.tensor([0])
    nothing = told()
    unknown = torch.tensor([[1.0, 0.0, 1.0]])

    def distance(now: Raw) -> float:
        return float((now.log_scores().exp()[..., ours] - start.log_scores().exp()).abs().sum())

    made = loss.distilled(loss.targets(said, GRID, *nothing, unknown), start, GRID, ours, rows, 1.0)
    gradient = gradients(said, made)
    assert (gradient.classes[..., 1] == 0).all()
    after = Raw(*(part - 0.5 * slope for part, slope in zip(said, gradient, strict=True)))
    assert distance(after) < distance(said)
    sure = start.log_scores().exp().amax(dim=-1) > loss.LEAST_KNOWN
    torch.testing.assert_close(made.boxes[sure], loss.decode(start.boxes, GRID)[sure])
    assert (made.box_weights > 0).equal(sure)


def test_of_several_start_labels_that_are_one_of_ours_the_surer_counts() -> None:
    said, start = raw(1), raw(2)
    start = Raw(start.boxes, start.objectness, start.classes[..., :2])
    known, rows = torch.tensor([[0.0, 1.0, 0.0]]), torch.tensor([0])
    made = loss.distilled(loss.targets(said, GRID, *told(), known), start, GRID, torch.tensor([1, 1]), rows, 1.0)
    torch.testing.assert_close(made.scores[0, :, 1], start.log_scores().exp()[0].amax(dim=-1))


def test_of_an_object_that_is_found_as_it_is_the_boxes_have_no_loss() -> None:
    box = (16.0, 16.0, 48.0, 48.0)
    said = raw(0)
    centre = torch.tensor([32.0, 32.0])
    said.boxes[..., :2] = (centre - GRID[:, :2]) / GRID[:, 2:]
    said.boxes[..., 2:] = torch.log(32 / GRID[:, 2:])
    made = loss.targets(said, GRID, *told((box, 1)), EVERYTHING)
    assert float(loss.losses(said, GRID, made)["boxes"]) == pytest.approx(0, abs=1e-5)
    assert made.scores[0, :, 1].max() == pytest.approx(1, abs=1e-5)


def test_without_objects_there_is_a_finite_loss_and_no_box_to_learn() -> None:
    said = raw(0)
    made = loss.targets(said, GRID, *told(), EVERYTHING)
    gradient = gradients(said, made)
    assert (gradient.boxes == 0).all()
    assert (gradient.objectness > 0).all(), "it is less sure everywhere"
