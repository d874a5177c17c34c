"""SimOTA and YOLOX's loss as published, one image, one box and one cell at a time: what the fast form is compared with.

Source: YOLOX (Ge et al., arXiv 2107.08430, section 3) and the released code of TDCNet; formulas in plain Python.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

Box = tuple[float, float, float, float]
"""Centre x, centre y, width, height, px."""


class Cell(NamedTuple):
    """What the network says of one cell, and where its centre lies, px."""

    centre: tuple[float, float]
    box: Box
    objectness: float
    classes: tuple[float, ...]
    """Logits, as is the objectness."""


class Truth(NamedTuple):
    """A target."""

    box: Box
    label: int


def iou(a: Box, b: Box) -> float:
    """Intersection over union."""
    width = min(a[0] + a[2] / 2, b[0] + b[2] / 2) - max(a[0] - a[2] / 2, b[0] - b[2] / 2)
    height = min(a[1] + a[3] / 2, b[1] + b[3] / 2) - max(a[1] - a[3] / 2, b[1] - b[3] / 2)
    shared = max(width, 0.0) * max(height, 0.0)
    return shared / max(a[2] * a[3] + b[2] * b[3] - shared, 1e-12)


def sigmoid(x: float) -> float:
    """1 / (1 + e^-x)."""
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def cross_entropy(probability: float, target: float) -> float:
    """Binary, with logarithms no less than -100."""
    hit = math.log(probability) if probability > 0 else -100.0
    miss = math.log(1 - probability) if probability < 1 else -100.0
    return -target * max(hit, -100.0) - (1 - target) * max(miss, -100.0)


@dataclass(frozen=True)
class Rules:
    """What may be other than published."""

    own_cell: float = 0.0
    """A cell counts as inside, too, that holds the box's centre; then this is the cells' distance, px."""
    prior: bool = False
    """Whether distance costs: 10 ** min(2 d - 1, 4)."""


PUBLISHED = Rules()


def is_inside(cell: Cell, truth: Truth, rules: Rules = PUBLISHED) -> bool:
    """Whether a cell's centre lies in the box, or the box's centre in the cell if that counts."""
    in_box = all(abs(cell.centre[i] - truth.box[i]) < truth.box[2 + i] / 2 for i in (0, 1))
    if not rules.own_cell:
        return in_box
    return all(abs(cell.centre[i] - truth.box[i]) <= max(truth.box[2 + i] / 2, rules.own_cell / 2) for i in (0, 1))


def is_near(cell: Cell, truth: Truth, stride: float) -> bool:
    """Whether a cell's centre lies in a square of five strides round the box's centre."""
    return all(abs(cell.centre[i] - truth.box[i]) < 2.5 * stride for i in (0, 1))


def cost(cell: Cell, truth: Truth, stride: float, rules: Rules = PUBLISHED) -> float:
    """What it costs that this cell answers for this box."""
    of_class = 0.0
    for k, logit in enumerate(cell.classes):
        probability = math.sqrt(sigmoid(logit) * sigmoid(cell.objectness))
        of_class += cross_entropy(probability, 1.0 if k == truth.label else 0.0)
    outside = not (is_inside(cell, truth, rules) and is_near(cell, truth, stride))
    if rules.prior:
        of_class += 10 ** min(2 * math.dist(cell.centre, truth.box[:2]) / stride - 1, 4)
    return of_class - 3 * math.log(iou(truth.box, cell.box) + 1e-8) + (1e5 if outside else 0.0)


def assign(cells: Sequence[Cell], truths: Sequence[Truth], stride: float, rules: Rules = PUBLISHED) -> dict[int, int]:
    """Index of each cell that answers, with the index of the box it answers for."""
    candidates = [
        i for i, cell in enumerate(cells) if any(is_inside(cell, t, rules) or is_near(cell, t, stride) for t in truths)
    ]
    claims: dict[int, list[int]] = {}
    for which, truth in enumerate(truths):
        best = sorted((iou(truth.box, cells[i].box) for i in candidates), reverse=True)[:10]
        count = max(1, int(sum(best)))
        for i in sorted(candidates, key=lambda i: cost(cells[i], truth, stride, rules))[:count]:
            claims.setdefault(i, []).append(which)
    return {
        i: min(range(len(truths)) if len(boxes) > 1 else boxes, key=lambda w: cost(cells[i], truths[w], stride, rules))
        for i, boxes in claims.items()
    }


def loss(
    images: Sequence[tuple[Sequence[Cell], Sequence[Truth]]], stride: float, rules: Rules = PUBLISHED
) -> tuple[float, float, float]:
    """Its parts for box, objectness and class, of a batch."""
    of_box = of_objectness = of_class = 0.0
    matched = 0
    for cells, truths in images:
        found = assign(cells, truths, stride, rules)
        matched += len(found)
        for i, cell in enumerate(cells):
            of_objectness += cross_entropy(sigmoid(cell.objectness), 1.0 if i in found else 0.0)
            if i in found:
                truth = truths[found[i]]
                overlap = iou(truth.box, cell.box)
                of_box += 1 - overlap**2
                for k, logit in enumerate(cell.classes):
                    of_class += cross_entropy(sigmoid(logit), overlap if k == truth.label else 0.0)
    n = max(1, matched)
    return 5 * of_box / n, of_objectness / n, of_class / n
