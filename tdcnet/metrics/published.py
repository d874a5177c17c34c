"""P, R, F1 and AP50 exactly as TDCNet published them (AAAI 2026, arXiv 2511.09352, and its released code)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from tdcnet.metrics.coco import Curves, evaluate
from tdcnet.metrics.matching import Frames


def published_scores(
    preds: Sequence[Mapping[str, Tensor]], targets: Sequence[Mapping[str, Tensor]], only_annotated: bool = True
) -> dict[str, float]:
    """``AP50``, ``P``, ``R`` and ``F1`` of COCO's evaluation at IoU 0.5.

    Args:
        preds: per frame ``boxes`` [N, 4] xyxy px, ``scores`` [N], ``labels`` [N]; published with score >= 0.001 after
            NMS at IoU 0.5.
        targets: per frame ``boxes``, ``labels``.
        only_annotated: as published, frames without a target are left out, and so are the false alarms on them.
    """
    everywhere, annotated = evaluate(Frames.from_lists(preds, targets), ious=(0.5,))
    return scores_of(annotated if only_annotated else everywhere)


def scores_of(curves: Curves) -> dict[str, float]:
    """``AP50``, ``P``, ``R`` and ``F1`` of curves whose first IoU threshold is 0.5.

    R is the final recall and P the mean of the 101 interpolated precisions before R, ``mean(precision[:int(100 R)])``;
    the rounding of ``100 R`` in floating point is the published one too. P is not the precision at any one threshold.
    With several classes the curves are averaged over classes first; published was one class.

    Returns:
        Fractions of 1. All NaN without targets; P and F1 are 0 where R < 0.01 leaves no precision to average.
    """
    precision, final_recall = curves.at_iou50()
    recall = float(final_recall)
    if recall != recall:
        return dict.fromkeys(("AP50", "P", "R", "F1"), float("nan"))
    points = precision[: int(100 * recall)]
    p = float(points.mean()) if len(points) else 0.0
    f1 = 2 * p * recall / (p + recall) if p + recall > 0 else 0.0
    return {"AP50": curves.ap50, "P": p, "R": recall, "F1": f1}
