"""All figures together, in one process and in two."""

from __future__ import annotations

import json
import math
import os
import pickle
import subprocess
import sys
import warnings
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import torch
from torch import Tensor

from tdcnet.metrics import DetectionMetrics, FrameCollector, PdAtFalseAlarms, PdFa
from tdcnet.metrics.matching import Frames
from tdcnet.metrics.outcomes import Outcomes, at_threshold, average_precision, roc_area
from tdcnet.metrics.published import published_scores
from tdcnet.metrics.rules import within
from tdcnet.metrics.suite import AT_ONCE, DETECTION, FRAME, PAIR, STATES, TARGET
from tdcnet.metrics.tiny_boxes import dot_pairs

SIZE = torch.tensor([64, 80])
Data = tuple[list[dict[str, Tensor]], list[dict[str, Tensor]]]

KEYS = [
    *("AP50", "AP", "P", "R", "F1"),
    *("AP50_all_frames", "AP_all_frames", "P_all_frames", "R_all_frames", "F1_all_frames"),
    *("Pd", "Fa", "false_alarms_per_frame", "false_alarms_per_megapixel", "precision", "F1_at_threshold"),
    *("Pd@1", "threshold@1", "Pd@0.1", "threshold@0.1", "Pd@0.05", "threshold@0.05", "ROC_area", "centre_AP"),
    *("AP50_DotD", "AP_DotD", "AP50_SAFit", "AP_SAFit"),
    *("hits", "false_alarms", "targets", "frames", "empty_frames"),
]


def frames(n: int = 31) -> Data:
    """Frames with 0 to 2 targets and 0 to 4 detections; scores with ties between frames."""
    g = torch.Generator().manual_seed(2)
    preds, targets = [], []
    for i in range(n):
        m, extra = i % 3, (i // 3) % 3
        corner = torch.rand(m, 2, generator=g) * 50
        boxes = torch.cat([corner, corner + 8], 1)
        noise = torch.rand(extra, 2, generator=g) * 60
        found = torch.cat([boxes + torch.randn(m, 4, generator=g), torch.cat([noise, noise + 8], 1)])
        preds.append(
            {
                "boxes": found,
                "scores": (torch.rand(m + extra, generator=g) * 20).round() / 20,
                "labels": torch.zeros(m + extra).long(),
            }
        )
        targets.append({"boxes": boxes, "labels": torch.zeros(m).long(), "size": SIZE})
    return preds, targets


Collecting = TypeVar("Collecting", DetectionMetrics, FrameCollector)


def collect(metric: Collecting, data: Data, ids: list[int], batch: int = 4) -> Collecting:
    """Feeds the frames with these positions; their ids are 10 * position + 3."""
    for start in range(0, len(ids), batch):
        some = ids[start : start + batch]
        metric.update([data[0][i] for i in some], [data[1][i] for i in some], [10 * i + 3 for i in some])
    return metric


def test_figures_are_those_of_the_parts() -> None:
    data = frames()
    metric = collect(DetectionMetrics(score_threshold=0.4, distance=2.0), data, list(range(31)))
    result = metric.compute()
    assert list(result) == KEYS
    assert all(type(v) is float for v in result.values())
    for suffix, only_annotated in (("", True), ("_all_frames", False)):
        for key, value in published_scores(*data, only_annotated).items():
            assert result[key + suffix] == pytest.approx(value, abs=1e-12)
    pd_fa, swept = PdFa(score_threshold=0.4, distance=2.0), PdAtFalseAlarms(distance=2.0)
    pd_fa.update(*data)
    swept.update(*data)
    for key, tensor in {**pd_fa.compute(), **swept.compute()}.items():
        assert result[key] == pytest.approx(tensor.item(), abs=1e-12)
    together = Frames.from_lists(*data, image_ids=[10 * i + 3 for i in range(31)])
    outcomes = Outcomes.of(together, ["all"] * 31, rule=within(2.0))
    told = at_threshold(outcomes, 0.4)
    assert result["false_alarms_per_megapixel"] == pytest.approx(told["false_alarms_per_megapixel"])
    assert (result["precision"], result["F1_at_threshold"]) == pytest.approx((told["precision"], told["F1"]))
    assert (result["ROC_area"], result["centre_AP"]) == pytest.approx((roc_area(outcomes), average_precision(outcomes)))
    assert (result["frames"], result["empty_frames"], result["targets"]) == (31, 11, 30)
    assert 0 < result["Pd@0.1"] < result["Pd@1"] <= 1


def test_repeated_frames_count_once_and_order_is_nothing() -> None:
    data = frames()
    once = collect(DetectionMetrics(), data, list(range(31))).compute()
    order = torch.randperm(31, generator=torch.Generator().manual_seed(0)).tolist()
    assert collect(DetectionMetrics(), data, [*order, 4, 4, 0, 30], batch=7).compute() == once


def test_collected_frames_are_those_given_each_once_by_id() -> None:
    data = frames()
    order = torch.randperm(31, generator=torch.Generator().manual_seed(0)).tolist()
    found = collect(FrameCollector(), data, [*order, 4, 4, 0, 30], batch=7).frames()
    expected = Frames.from_lists(*data, image_ids=[10 * i + 3 for i in range(31)])
    for column in vars(expected):
        np.testing.assert_array_equal(getattr(found, column), getattr(expected, column), err_msg=column)
    assert DetectionMetrics().figures(found) == collect(DetectionMetrics(), data, list(range(31))).compute()


def test_boxes_are_forgotten_once_matched() -> None:
    """What is held grows by a few bytes per frame, detection and target, and waiting frames are few."""
    data = frames()
    metric = DetectionMetrics()
    rounds = 2 * AT_ONCE // 31 + 1
    for k in range(rounds):
        metric.update(*data, [31 * k + i for i in range(31)])
    held = sum(part.numel() for name in STATES for part in getattr(metric, name))
    detections, targets = (sum(len(d["labels"]) for d in part) for part in data)
    waiting = metric._waiting_frames
    assert waiting < AT_ONCE
    matched = (31 * rounds - waiting) // 31
    pairs = len(dot_pairs(Frames.from_lists(*data))[0])
    kinds = (FRAME.itemsize, DETECTION.itemsize, TARGET.itemsize, PAIR.itemsize)
    assert held == matched * sum(n * size for n, size in zip((31, detections, targets, pairs), kinds, strict=True))
    assert kinds == (44, 17, 8, 12)
    result = metric.compute()
    assert result["frames"] == 31 * rounds
    assert result["Pd"] == pytest.approx(collect(DetectionMetrics(), data, list(range(31))).compute()["Pd"])


def test_curve() -> None:
    data = frames()
    metric = collect(DetectionMetrics(), data, list(range(31)))
    recall, precision = metric.curve()
    result = metric.compute()
    assert recall.tolist() == pytest.approx([k / 100 for k in range(101)])
    assert precision.mean() == pytest.approx(result["AP50"])
    assert metric.curve(all_frames=True)[1].mean() == pytest.approx(result["AP50_all_frames"])
    metric.reset()
    collect(metric, data, [0])
    assert np.isnan(metric.curve()[1]).all()  # frame 0 has no target: nothing of the former run is left


def test_no_predictions_no_targets_no_frames() -> None:
    none = {"boxes": torch.tensor([]), "scores": torch.tensor([]), "labels": torch.tensor([])}
    metric = DetectionMetrics(image_size=(64, 80))
    metric.update([none], [{"boxes": torch.tensor([[0.0, 0, 5, 5]]), "labels": torch.zeros(1)}], torch.tensor([1]))
    result = metric.compute()
    assert [result[k] for k in ("AP50", "P", "R", "F1", "Pd", "Fa", "Pd@1")] == [0] * 7
    assert result["threshold@1"] == math.inf
    metric.reset()
    metric.update([none], [none], [1])
    result = metric.compute()
    assert all(math.isnan(result[k]) for k in ("AP50", "AP", "P", "R", "F1", "Pd", "Pd@1"))
    assert (result["Fa"], result["empty_frames"]) == (0, 1)
    with pytest.warns(UserWarning, match="before the ``update`` method"):
        result = DetectionMetrics().compute()
    assert result["frames"] == 0 and math.isnan(result["Fa"])


def test_a_cast_or_copy_of_the_module_loses_nothing() -> None:
    data = frames()
    expected = collect(DetectionMetrics(), data, list(range(31))).compute()
    metric = collect(DetectionMetrics(), data, list(range(20)))
    metric = pickle.loads(pickle.dumps(metric.to(torch.bfloat16)))
    assert collect(metric, data, list(range(20, 31))).compute() == expected


def test_a_missing_size_is_named() -> None:
    preds, targets = frames(1)
    with pytest.raises(ValueError, match="image_id 8: Fa needs the size"):
        DetectionMetrics().update(preds, [{k: v for k, v in targets[0].items() if k != "size"}], [8])


def test_two_processes_give_what_one_gives(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    # This process is rank 0: a second child would only cost another import of torch.
    child = subprocess.Popen(
        [sys.executable, "-W", "error", __file__, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": path},
        stderr=subprocess.PIPE,
        text=True,
    )
    data = frames()
    pd_fa, swept = PdFa(), PdAtFalseAlarms()
    pd_fa.update(*data)
    swept.update(*data)
    expected = {
        "all": collect(DetectionMetrics(), data, list(range(31))).compute(),
        "one_idle": collect(DetectionMetrics(), data, list(range(9))).compute(),
        "boxes": Frames.from_lists(*data).pred_boxes.tolist(),
        "pd_fa": {k: v.item() for k, v in pd_fa.compute().items()},
        "swept": {k: v.item() for k, v in swept.compute().items()},
        "local_frames": 16,
    }
    try:
        mine = figures_across_processes(0, tmp_path)
        _, errors = child.communicate(timeout=60)
    finally:
        child.kill()
    assert child.returncode == 0, errors
    # As text, in which what cannot be told is equal to itself.
    assert json.dumps(mine, sort_keys=True) == json.dumps(expected, sort_keys=True)
    assert json.dumps(json.loads((tmp_path / "1.json").read_text()), sort_keys=True) == json.dumps(
        expected, sort_keys=True
    )


def figures_across_processes(rank: int, folder: Path) -> dict[str, object]:
    """What a process of two sees; rank 1 has no frame at all for two of the metrics."""
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=2, timeout=timedelta(seconds=60)
    )
    try:
        data = frames()
        # As a distributed sampler deals 31 frames to two processes: every second one, frame 0 again at the end.
        dealt = list(range(31))[rank::2] + ([0] if rank == 1 else [])
        metric = collect(DetectionMetrics(), data, dealt)
        idle, pd_fa, swept = DetectionMetrics(), PdFa(), PdAtFalseAlarms()
        if rank == 0:
            collect(idle, data, list(range(9)))
            swept.update(*data)
        boxes = collect(FrameCollector(), data, dealt)
        own = [i for i in dealt if i % 2 == rank]
        pd_fa.update([data[0][i] for i in own], [data[1][i] for i in own])
        with warnings.catch_warnings():
            # torchmetrics warns of a process without an update, which is what is tried here.
            warnings.filterwarnings("ignore", message=".*before the ``update`` method")
            results: dict[str, object] = {
                "all": metric.compute(),
                "one_idle": idle.compute(),
                "boxes": boxes.frames().pred_boxes.tolist(),
                "pd_fa": {k: v.item() for k, v in pd_fa.compute().items()},
                "swept": {k: v.item() for k, v in swept.compute().items()},
            }
    finally:
        torch.distributed.destroy_process_group()
    # After compute a process has its own frames again.
    return results | {"local_frames": sum(row.numel() for row in metric.frame_rows) // FRAME.itemsize}


if __name__ == "__main__":
    where = Path(sys.argv[1])
    (where / "1.json").write_text(json.dumps(figures_across_processes(1, where)))


def test_a_budget_that_the_frames_are_too_few_for_is_not_told() -> None:
    data = frames()
    result = collect(DetectionMetrics(budgets=(0.05, 0.01, 0.0)), data, list(range(31))).compute()
    assert math.isnan(result["Pd@0.01"]) and math.isnan(result["threshold@0.01"])
    assert result["Pd@0.05"] >= result["Pd@0"] >= 0
    metric = DetectionMetrics(budgets=(0.01,))
    for k in range(4):  # 124 frames allow for one false alarm
        metric.update(*data, [31 * k + i for i in range(31)])
    assert metric.compute()["Pd@0.01"] >= 0
