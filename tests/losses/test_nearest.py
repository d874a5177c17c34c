"""The fixed assignment, by hand, and when it is used."""

from __future__ import annotations

import pytest
import torch

from tdcnet.boxes import cell_grid, decode
from tdcnet.losses import DetectionLoss, NearestCells, SimOTA, in_box_or_cell


def assign(count: int, boxes: list[list[float]], valid: list[bool] | None = None):
    """On 4 x 6 cells of 8 px whose predictions are one cell wide; boxes as cx, cy, w, h."""
    raw = torch.zeros(1, 6, 4, 6)
    found, objectness, classes = decode(raw)
    truth = torch.tensor([boxes]).reshape(1, -1, 4)
    keep = torch.tensor([valid if valid is not None else [True] * len(boxes)])
    centres = (cell_grid(4, 6, raw.device) + 0.5) * 8
    labels = torch.zeros(truth.shape[:2]).long()
    return NearestCells(count)(found, objectness, classes, truth, labels, keep, centres, 8)


def cells(found) -> dict[int, int]:
    return {int(cell): int(found.box[0, cell]) for cell in found.matched[0].nonzero()}


def test_each_box_has_its_nearest_cells() -> None:
    # Cell 8 is the third of the second row, centre (20, 12).
    assert cells(assign(1, [[21.0, 13, 3, 3]])) == {8: 0}
    # Next: to the right (28, 12) at 7.07 px, then below (20, 20).
    assert cells(assign(3, [[21.0, 12.5, 3, 3]])) == {8: 0, 9: 0, 14: 0}
    assert cells(assign(99, [[21.0, 13, 3, 3]])) == dict.fromkeys(range(24), 0)


def test_a_cell_that_two_claim_goes_to_the_nearer() -> None:
    # Both lie in cell 8.
    found = assign(1, [[18.0, 12, 2, 2], [20.5, 12, 2, 2]])
    assert cells(found) == {8: 1}
    # One that the nearer box does not claim stays with the other.
    assert cells(assign(2, [[18.5, 12, 2, 2], [20.5, 12, 2, 2]])) == {7: 0, 8: 1, 9: 1}
    # The box that wins is not the nearest if that one does not claim the cell.
    assert cells(assign(1, [[20.0, 12, 2, 2], [23.9, 12, 2, 2]])) == {8: 0}


def test_similarity_is_the_overlap_with_the_prediction() -> None:
    found = assign(1, [[8.0, 8, 8, 8]])  # decoded boxes of zeros have their corner's cell as centre: cell 0 at (0, 0)
    (cell,) = cells(found)
    x, y = cell % 6 * 8.0, cell // 6 * 8.0
    shared = max(0, 8 - abs(x - 8)) * max(0, 8 - abs(y - 8))
    assert abs(found.similarity[0, cell].item() - shared / (128 - shared)) < 1e-6
    assert found.similarity[0].sum() == found.similarity[0, cell]


def test_padding_and_no_boxes_match_nothing() -> None:
    assert cells(assign(1, [[20.0, 12, 2, 2], [44.0, 28, 2, 2]], [False, True])) == {23: 1}
    assert not assign(1, []).matched.any()


def test_the_loss_uses_it_for_the_first_share_only() -> None:
    torch.manual_seed(1)
    raw = torch.randn(1, 6, 8, 8)
    targets = [{"boxes": torch.tensor([[9.0, 9, 30, 33]]), "labels": torch.tensor([0])}]
    plain, fixed = DetectionLoss(1), DetectionLoss(1, assign=NearestCells(3))
    both = DetectionLoss(1, first=NearestCells(3), first_share=0.25)
    assert plain(raw, targets)["loss"] != fixed(raw, targets)["loss"]
    for progress, expected in ((0.0, fixed), (0.24, fixed), (0.25, plain), (1.0, plain)):
        assert torch.equal(both(raw, targets, progress=progress)["loss"], expected(raw, targets)["loss"]), progress
    assert torch.equal(both(raw, targets)["loss"], plain(raw, targets)["loss"]), "without progress the training is over"


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="from 0 and at most 1"):
        DetectionLoss(1, first=NearestCells(3), first_share=share)


def test_boxes_of_at_least_two_cells() -> None:
    offset = torch.tensor([[[7.9, 0.0], [8.1, 0.0], [4.1, 4.1]]])
    size = torch.full((1, 1, 2), 4.0)
    assert in_box_or_cell(offset, size, 8, least=2).tolist() == [[True, False, True]]
    assert in_box_or_cell(offset, size, 8).tolist() == [[False, False, False]]
    assert SimOTA().inside is not in_box_or_cell
