from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tdcnet.metrics.mask_protocols import MASK_PROTOCOLS
from tdcnet.metrics.segmentation import MaskMetrics
from tests.conftest import GOLDEN


def masks(*pixels):
    batch = torch.zeros(len(pixels), 6, 8)
    for i, some in enumerate(pixels):
        for y, x in some:
            batch[i, y, x] = 1
    return batch


def test_figures_by_hand():
    targets = masks([(1, 1), (1, 2)], [(4, 4)], [], [])
    predictions = masks([(1, 2)], [(4, 4), (0, 7)], [(5, 0)], [])
    metric = MaskMetrics()
    metric.update(predictions, targets)
    figures = metric.compute()
    assert figures["IoU"] == pytest.approx(2 / 5)
    assert figures["nIoU"] == pytest.approx((1 / 2 + 1 / 2 + 0) / 3)  # nothing on both sides does not count
    assert (figures["Pd_basicirstd"], figures["Fa_basicirstd"]) == (1.0, pytest.approx(2 / (4 * 48)))
    assert figures["frames"] == 4


def test_batches_add_up_and_agree_with_the_golden_counts():
    data = np.load(GOLDEN / "protocols.npz")
    shape = tuple(data["shape"])
    targets, predictions = (
        torch.from_numpy(np.unpackbits(data[name])[: np.prod(shape)].reshape(shape))
        for name in ("targets", "predictions")
    )
    metric = MaskMetrics(tuple(MASK_PROTOCOLS))
    for i in range(0, len(targets), 7):
        metric.update(predictions[i : i + 7].bool(), targets[i : i + 7])
    figures, counts = metric.compute(), data["counts"].sum(axis=0)
    for i, name in enumerate(("basicirstd", "dnanet", "shooting_as_published")):
        assert figures[f"Pd_{name}"] == pytest.approx(counts[3 * i + 1] / counts[3 * i])
        assert figures[f"Fa_{name}"] == pytest.approx(counts[3 * i + 2] / np.prod(shape))


def test_nothing_at_all_and_wrong_shapes():
    metric = MaskMetrics()
    metric.update(masks([]), masks([]))
    figures = metric.compute()
    assert math.isnan(figures["IoU"]) and math.isnan(figures["Pd_basicirstd"]) and figures["Fa_basicirstd"] == 0
    with pytest.raises(ValueError, match=r"\[B, H, W\]"):
        metric.update(masks([]), masks([], []))
    with pytest.raises(ValueError, match="allowed are basicirstd"):
        MaskMetrics(("own",))
