"""Which cell answers for which object, and how wrong the network is (task alignment: TOOD, arXiv 2108.07755 s3.2).

A cell is the better for an object, the more it scores the object's label and the better its box fits. The best few
cells of each object learn its label, with the fit of their boxes as the score to give, and its box.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from training.detection.model import STRIDES, Raw

CANDIDATES = 10  # cells that answer for an object
SCORE_POWER, FIT_POWER = 0.5, 6.0  # of the two, in how good a cell is
BOX_WEIGHT = 2.0  # of the boxes' loss, where that of the labels weighs 1
LEAST_KNOWN = 0.05  # score of the start model from which its box is learnt from
SURE = 1 - 1e-4  # the largest probability in a logarithm of its complement
LARGEST_LOG_SIZE = 6.0  # of a box, in strides: beyond the largest input


class Targets(NamedTuple):
    """What n pictures' A cells have to say: `scores` [n, A, L] in 0-1, the share `weights` [n, A, L] that each of them
    counts, and `boxes` [n, A, 4] in pixels, which count `box_weights` [n, A]."""

    scores: Tensor
    weights: Tensor
    boxes: Tensor
    box_weights: Tensor


def cells(size: int) -> Tensor:
    """Left, top and stride of every cell of an input of side `size` in pixels: float32 [A, 3]."""
    parts = []
    for stride in STRIDES:
        rows, columns = torch.meshgrid(*[torch.arange(0, size, stride)] * 2, indexing="ij")
        parts.append(torch.stack([columns, rows, torch.full_like(rows, stride)], dim=-1).reshape(-1, 3))
    return torch.cat(parts).float()


def decode(raw: Tensor, grid: Tensor) -> Tensor:
    """Boxes [..., A, 4] (x0, y0, x1, y1 in pixels) of what the network says, [..., A, 4], of the cells `grid`."""
    strides = grid[:, 2:]
    centres = raw[..., :2] * strides + grid[:, :2]
    halves = raw[..., 2:].clamp(max=LARGEST_LOG_SIZE).exp() * strides / 2
    return torch.cat([centres - halves, centres + halves], dim=-1)


def fit(boxes: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Intersection over union of boxes [..., 4] and others [..., 4] (broadcast), and the generalised one (arXiv
    1902.09630), which for boxes apart tells how far."""
    shared = (torch.minimum(boxes[..., 2:], others[..., 2:]) - torch.maximum(boxes[..., :2], others[..., :2])).clamp(
        min=0
    )
    around = torch.maximum(boxes[..., 2:], others[..., 2:]) - torch.minimum(boxes[..., :2], others[..., :2])
    overlap, hull = shared.prod(dim=-1), around.prod(dim=-1)
    areas = [(each[..., 2:] - each[..., :2]).prod(dim=-1) for each in (boxes, others)]
    union = (areas[0] + areas[1] - overlap).clamp(min=1e-6)
    ratio = overlap / union
    return ratio, ratio - (hull - union) / hull.clamp(min=1e-6)


def assign(
    scores: Tensor, boxes: Tensor, grid: Tensor, true_boxes: Tensor, true_labels: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The cells that answer for the objects of one picture.

    Args:
        scores: of each label, [A, L] in 0-1. boxes: [A, 4] in pixels. grid: [A, 3] of `cells`.
        true_boxes: [G, 4] in pixels. true_labels: int64 [G].

    Returns:
        the cells int64 [m], the object of each int64 [m], and the score [m] in 0-1 that it should give: the best of an
        object's cells its overlap, the others less, as they are worse.
    """
    ratio = fit(boxes[None], true_boxes[:, None])[0]  # [G, A]
    centres = grid[:, :2] + grid[:, 2:] / 2
    inside = (centres > true_boxes[:, None, :2]).all(dim=-1) & (centres < true_boxes[:, None, 2:]).all(dim=-1)
    # An object smaller than the cells has the nearest of the finest one.
    middles = (true_boxes[:, None, :2] + true_boxes[:, None, 2:]) / 2
    nearest = (centres - middles).square().sum(dim=-1).argmin(dim=1)
    inside[torch.arange(len(true_boxes)), nearest] = True
    good = scores[:, true_labels].T ** SCORE_POWER * ratio**FIT_POWER * inside
    good += 1e-9 * inside  # where no box fits at all yet
    best, places = good.topk(min(CANDIDATES, good.shape[1]), dim=1)
    chosen = torch.zeros_like(inside).scatter_(1, places, best > 0)
    # A cell of several objects answers for the one that its box fits best.
    fits = torch.where(chosen, ratio, -1.0)
    objects = fits.argmax(dim=0)
    chosen &= objects[None] == torch.arange(len(true_boxes), device=objects.device)[:, None]
    share = torch.where(chosen, good, 0.0)
    top = share.amax(dim=1, keepdim=True).clamp(min=1e-12)
    target = share / top * torch.where(chosen, ratio, 0.0).amax(dim=1, keepdim=True)
    taken = chosen.any(dim=0).nonzero()[:, 0]
    return taken, objects[taken], target[objects[taken], taken]


def targets(raw: Raw, grid: Tensor, true_boxes: Tensor, true_labels: Tensor, ignored: Tensor, known: Tensor) -> Targets:
    """What the cells have to say of pictures whose objects are told.

    Args:
        raw: what they say now.
        true_boxes, true_labels, ignored: as in `views.Batch`.
        known: float [n, L]: 1 where the picture would tell an object of the label, 0 where nothing is learnt of it.
    """
    with torch.no_grad():
        boxes, scores = decode(raw.boxes, grid), raw.log_scores().exp()
        made = Targets(
            torch.zeros_like(scores),
            known[:, None, :].repeat(1, len(grid), 1),
            torch.zeros_like(boxes),
            torch.zeros_like(scores[..., 0]),
        )
        centres = grid[:, :2] + grid[:, 2:] / 2
        for row in range(len(boxes)):
            for box, label in zip(true_boxes[row][ignored[row]], true_labels[row][ignored[row]], strict=True):
                within = (centres > box[:2]).all(dim=1) & (centres < box[2:]).all(dim=1)
                made.weights[row, within, label] = 0
            told = (true_labels[row] >= 0) & ~ignored[row]
            if not told.any():
                continue
            found, objects, score = assign(scores[row], boxes[row], grid, true_boxes[row, told], true_labels[row, told])
            labels = true_labels[row, told][objects]
            made.scores[row, found, labels] = score
            made.weights[row, found, labels] = 1
            made.boxes[row, found] = true_boxes[row, told][objects]
            made.box_weights[row, found] = score
    return made


def distilled(made: Targets, start: Raw, grid: Tensor, labels: Tensor, rows: Tensor, weight: float) -> Targets:
    """In pictures `rows` (int64 [m]) without boxes, what the start model says of them (`start`, of m pictures) is what
    the cells have to say, and counts `weight`; `labels` int64 are ours of its labels. Others stay as they were."""
    with torch.no_grad():
        theirs = start.log_scores().exp()
        # Several of its labels may be one of ours.
        labels, place = torch.unique(labels, return_inverse=True)
        ours = theirs.new_zeros(*theirs.shape[:2], len(labels))
        ours = ours.scatter_reduce(2, place.expand_as(theirs), theirs, "amax")
        scores = made.scores[rows]
        said = torch.maximum(scores[..., labels], ours)
        fresh = scores[..., labels] == 0
        made.weights[rows[:, None, None], torch.arange(len(grid))[:, None], labels] = torch.where(fresh, weight, 1.0)
        made.scores[rows[:, None, None], torch.arange(len(grid))[:, None], labels] = said
        sure, free = ours.amax(dim=-1), made.box_weights[rows] == 0
        learnt = free & (sure > LEAST_KNOWN)
        made.boxes[rows] = torch.where(learnt[..., None], decode(start.boxes, grid), made.boxes[rows])
        made.box_weights[rows] = torch.where(learnt, weight * sure, made.box_weights[rows])
    return made


def losses(raw: Raw, grid: Tensor, made: Targets) -> dict[str, Tensor]:
    """What is to be made small: cross entropy of the scores, and how badly boxes fit, over all that is to be found."""
    log_scores = raw.log_scores()
    against = torch.log1p(-log_scores.exp().clamp(max=SURE))
    entropy = -(made.scores * log_scores + (1 - made.scores) * against)
    # Less what cannot be avoided where a score is neither 0 nor 1: so that 0 is as good as can be.
    entropy += torch.special.xlogy(made.scores, made.scores) + torch.special.xlogy(1 - made.scores, 1 - made.scores)
    entropy *= made.weights
    answering = made.box_weights > 0
    overlap = fit(decode(raw.boxes, grid)[answering], made.boxes[answering])[1]
    total = made.box_weights.sum().clamp(min=1.0)
    return {
        "labels": entropy.sum() / total,
        "boxes": BOX_WEIGHT * ((1 - overlap) * made.box_weights[answering]).sum() / total,
    }
