"""Pairs of centres, worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tdcnet.metrics import matching
from tdcnet.metrics.matching import Frames, match_centres, match_frames


def boxes(*centres: tuple[float, float]) -> Tensor:
    """Boxes of 4 x 2 px round the centres."""
    c = torch.tensor(centres).reshape(-1, 2)
    return torch.cat([c - torch.tensor([2.0, 1.0]), c + torch.tensor([2.0, 1.0])], 1)


def test_nearest_pair_goes_first() -> None:
    targets = boxes((0, 0), (4, 0))
    # The first detection is nearer to target 0 (1.75 px) than to target 1 (2.25 px), but the second has nothing else.
    preds = boxes((1.75, 0), (0.5, 0))
    assert match_centres(preds, targets).tolist() == [1, 0]
    assert match_centres(preds.flip(0), targets).tolist() == [0, 1]


def test_the_limit_itself_counts() -> None:
    target = boxes((10, 10))
    assert match_centres(boxes((13, 10)), target, distance=3.0).tolist() == [0]
    assert match_centres(boxes((13, 14)), target, distance=5.0).tolist() == [0]
    assert match_centres(boxes((13.0001, 10)), target, distance=3.0).tolist() == [-1]


def test_a_target_is_found_once() -> None:
    assert match_centres(boxes((1, 0), (0, 0), (0, 1)), boxes((0, 0))).tolist() == [-1, 0, -1]


def test_equally_far_pairs_go_by_score_then_index() -> None:
    preds, target = boxes((1, 0), (-1, 0)), boxes((0, 0))
    assert match_centres(preds, target).tolist() == [0, -1]
    assert match_centres(preds, target, scores=torch.tensor([0.2, 0.9])).tolist() == [-1, 0]


def test_within_class() -> None:
    preds, targets = boxes((0, 0), (1, 0)), boxes((0, 0))
    zero, one = torch.tensor([0, 1]), torch.tensor([1])
    assert match_centres(preds, targets, pred_labels=zero, target_labels=one).tolist() == [-1, 0]
    with pytest.raises(ValueError, match="both pred_labels and target_labels"):
        match_centres(preds, targets, pred_labels=zero)


@pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 2), (3, 0)])
def test_nothing_to_match(n: int, m: int) -> None:
    assert match_centres(torch.zeros(n, 4), torch.zeros(m, 4)).tolist() == [-1] * n


def many_frames(seed: int = 0) -> tuple[list[dict[str, Tensor]], list[dict[str, Tensor]]]:
    """40 crowded frames, some without detections or targets; scores with ties."""
    g = torch.Generator().manual_seed(seed)
    preds, targets = [], []
    for i in range(40):
        n, m = (0 if i % 7 == 3 else i % 6), (0 if i % 5 == 2 else i % 4)
        preds.append(
            {
                "boxes": boxes(*(torch.rand(n, 2, generator=g) * 8).tolist()),
                "scores": (torch.rand(n, generator=g) * 5).round() / 5,
                "labels": torch.randint(2, (n,), generator=g),
            }
        )
        targets.append(
            {
                "boxes": boxes(*(torch.rand(m, 2, generator=g) * 8).tolist()),
                "labels": torch.randint(2, (m,), generator=g),
            }
        )
    return preds, targets


@pytest.mark.parametrize("at_once", [3, 1_000_000])
def test_many_frames_are_matched_as_each_alone(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "_PAIRS_AT_ONCE", at_once)
    preds, targets = many_frames()
    together = match_frames(Frames.from_lists(preds, targets)).tolist()
    alone, first = [], 0
    for p, t in zip(preds, targets, strict=True):
        # By the definition: the smallest remaining entry of the table of distances, again and again.
        centres = [(b[:, :2] + b[:, 2:]).double() / 2 for b in (p["boxes"], t["boxes"])]
        table = torch.cdist(*centres)
        found = [-1] * len(table)
        while table.numel() and table.min() <= 3.0:
            i, j = divmod(int(table.argmin()), table.shape[1])
            found[i] = first + j
            table[i, :] = table[:, j] = torch.inf
        alone += found
        first += len(t["boxes"])
    assert together == alone
    assert sum(t >= 0 for t in together) > 20


def test_score_order_lets_the_best_choose_first() -> None:
    preds = [{"boxes": boxes((1.75, 0), (0.5, 0)), "scores": torch.tensor([0.9, 0.8]), "labels": torch.zeros(2)}]
    targets = [{"boxes": boxes((0, 0), (4, 0)), "labels": torch.zeros(2)}]
    assert match_frames(Frames.from_lists(preds, targets), order="score").tolist() == [0, -1]
    preds[0]["scores"] = torch.tensor([0.9, 0.9])
    assert match_frames(Frames.from_lists(preds, targets), order="score").tolist() == [1, 0]


def test_hits_above_a_threshold_do_not_depend_on_it() -> None:
    frames = Frames.from_lists(*many_frames(1))
    every = match_frames(frames, order="score")
    for threshold in (0.2, 0.4, 0.8):
        some = match_frames(frames.above(threshold), order="score")
        assert some.tolist() == every[frames.pred_scores >= torch.tensor(threshold).item()].tolist()


def test_a_score_at_the_threshold_stays() -> None:
    scores = torch.tensor([0.7, 0.69999])
    preds = [{"boxes": torch.zeros(2, 4), "scores": scores, "labels": torch.zeros(2)}]
    frames = Frames.from_lists(preds, [{"boxes": torch.zeros(0, 4), "labels": torch.zeros(0)}])
    assert len(frames.above(0.7).pred_scores) == 1


def test_bad_input_is_named() -> None:
    good = {"boxes": torch.zeros(1, 4), "scores": torch.zeros(1), "labels": torch.zeros(1)}
    with pytest.raises(ValueError, match="1 predictions, 2 targets"):
        Frames.from_lists([good], [good, good])
    with pytest.raises(ValueError, match="image_id 7: a prediction needs boxes, scores, labels; scores is missing"):
        Frames.from_lists([{"boxes": torch.zeros(1, 4), "labels": torch.zeros(1)}], [good], [7])
    with pytest.raises(ValueError, match=r"boxes \[1, 5\]"):
        Frames.from_lists([good], [good | {"boxes": torch.zeros(1, 5)}])
    with pytest.raises(ValueError, match=r"scores \[2\]"):
        Frames.from_lists([good | {"scores": torch.zeros(2)}], [good])
    with pytest.raises(ValueError, match=r"image_id 7.*not finite"):
        Frames.from_lists([good | {"scores": torch.tensor([float("nan")])}], [good], torch.tensor([7]))
    with pytest.raises(ValueError, match="height, width"):
        Frames.from_lists([good], [good | {"size": torch.tensor([1, 2, 3])}])
