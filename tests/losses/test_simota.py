"""The assignment against a plain one, on random cases."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from tdcnet.boxes import STRIDE, cell_grid, corners, decode
from tdcnet.losses import DetectionLoss, SimOTA, SoftCentrePrior, in_box_or_cell
from tests.plain import simota

KINDS = ("one", "several", "crowded", "large", "sure", "empty", "mixed", "tied", "extreme", "grid")


def draw(kind: str, seed: int, classes: int):
    """Raw output [B, 5 + classes, h, w] of a network that is good for some boxes, and targets of that kind."""
    rng = np.random.default_rng([KINDS.index(kind), seed, classes])
    h, w = 8, 10
    raw = torch.from_numpy(rng.normal(0, 1, (2, 5 + classes, h, w))).float()
    raw[:, 2:4] *= 0.7
    targets = []
    for image in range(2):
        count = {"one": 1, "several": 3, "crowded": 6, "empty": 0, "large": 2, "sure": 2, "mixed": 4, "tied": 2}.get(
            kind, 3
        )
        if kind == "mixed" and image == 1:
            count = 0
        centre = rng.uniform(0, [w * STRIDE, h * STRIDE], (count, 2))
        if kind == "grid":  # some cells' centres lie exactly as far away as near ones may
            centre = np.round(centre / 4) * 4
        if kind == "crowded":  # all want the same few cells
            centre = rng.uniform(30, 42, (count, 2))
        low, high = {"large": (30, 200), "sure": (16, 40)}.get(kind, (2, 12))
        size = np.exp(rng.uniform(np.log(low), np.log(high), (count, 2)))
        boxes = torch.from_numpy(np.concatenate([centre, size], 1)).float()
        if kind == "tied":
            boxes[1, :2] = boxes[0, :2] + 1
        if kind == "extreme":  # logarithms below -10 on both sides
            raw[image, 4:] *= 4
        if kind in ("sure", "large"):  # predictions that fit, so that IoUs add up to more than ten of them count
            grid = cell_grid(h, w, raw.device)
            for box in boxes:
                near = ((grid + 0.5) * STRIDE - box[:2]).abs().amax(1) < 40
                at = near.nonzero()[:, 0]
                noise = torch.from_numpy(rng.normal(0, 0.05, (len(at), 4))).float()
                raw[image].view(5 + classes, -1)[:2, at] = (box[:2] / STRIDE - grid[at] + noise[:, :2]).T
                raw[image].view(5 + classes, -1)[2:4, at] = (torch.log(box[2:] / STRIDE) + noise[:, 2:]).T
        labels = torch.from_numpy(rng.integers(0, classes, count))
        targets.append({"boxes": corners(boxes), "labels": labels})
    return raw, targets


def plainly(raw, targets):
    boxes, objectness, classes = decode(raw)
    centres = (cell_grid(*raw.shape[-2:], raw.device) + 0.5) * STRIDE
    images = []
    for b, target in enumerate(targets):
        xyxy = target["boxes"]
        cxcywh = torch.cat(((xyxy[:, :2] + xyxy[:, 2:]) / 2, xyxy[:, 2:] - xyxy[:, :2]), 1)
        cells = [
            simota.Cell(tuple(c), tuple(box), o, tuple(k))
            for c, box, o, k in zip(
                centres.tolist(), boxes[b].tolist(), objectness[b].tolist(), classes[b].tolist(), strict=True
            )
        ]
        truths = [simota.Truth(tuple(t), k) for t, k in zip(cxcywh.tolist(), target["labels"].tolist(), strict=True)]
        images.append((cells, truths))
    return images


RULES = {
    "published": (simota.PUBLISHED, SimOTA()),
    "own cell": (simota.Rules(own_cell=STRIDE), SimOTA(inside=in_box_or_cell)),
    "prior": (simota.Rules(prior=True), SimOTA(prior=SoftCentrePrior())),
    "both": (simota.Rules(STRIDE, True), SimOTA(inside=in_box_or_cell, prior=SoftCentrePrior())),
}


@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_loss_is_the_plain_one(kind, classes, rules):
    """Which cells answer for which boxes decides all three parts."""
    plain, assign = RULES[rules]
    for seed in range(6 if rules == "published" else 3):
        raw, targets = draw(kind, seed, classes)
        images = plainly(raw, targets)
        losses = DetectionLoss(classes, assign)(raw, targets)
        matched = sum(len(simota.assign(cells, truths, STRIDE, plain)) for cells, truths in images)
        assert losses["matched"] == max(1, matched), (kind, seed)
        expected = torch.tensor(simota.loss(images, STRIDE, plain))
        found = torch.stack([losses[f"loss_{part}"] for part in ("box", "objectness", "class")])
        assert_close(found, expected, rtol=2e-4, atol=2e-4)


def test_the_cases_reach_what_they_are_for():
    counts = {kind: [] for kind in KINDS}
    for kind in KINDS:
        for seed in range(6):
            for cells, truths in plainly(*draw(kind, seed, 1)):
                sums = [sum(sorted((simota.iou(t.box, c.box) for c in cells), reverse=True)[:10]) for t in truths]
                counts[kind].append((len(simota.assign(cells, truths, STRIDE)), max(sums, default=0)))
    assert max(total for _, total in counts["sure"]) > 9, "ten cells of one box"
    assert any(n == 0 for n, _ in counts["empty"])
