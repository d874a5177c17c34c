"""Times all counts of an evaluation against pycocotools' AP on the same detections, in one run.

python scripts/benchmark_counting.py                    # 50,000 frames with 1 target and 5 detections each
python scripts/benchmark_counting.py --frames 1000000 --without-pycocotools

Counts are those of tdcnet.metrics.DetectionMetrics: AP and AP50, the published P, R and F1, Pd, Fa, and Pd at budgets
of false alarms. Also tells what they hold in memory.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from rich.console import Console
from rich.table import Table
from torch import Tensor

from tdcnet.metrics import DetectionMetrics
from tdcnet.metrics.suite import STATES

SIZE = (512, 640)


def main(arguments: list[str] | None = None) -> int:
    """Times and tells; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=50_000)
    parser.add_argument(
        "--detections", type=int, default=5, help="per frame, one of them near the target (%(default)s)"
    )
    parser.add_argument("--batch", type=int, default=16, help="frames per update (%(default)s)")
    parser.add_argument("--without-pycocotools", action="store_true")
    parser.add_argument("--json", type=Path, help="also writes the figures there")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)

    targets, boxes, scores = made_up(given.frames, given.detections)
    ours, figures, held = count(targets, boxes, scores, given.batch)
    rows = {"all counts of tdcnet": ours}
    if not given.without_pycocotools:
        rows["AP of pycocotools"], average_precision = count_by_pycocotools(targets, boxes, scores)
        if abs(average_precision - figures["AP_all_frames"]) > 1e-9:
            raise RuntimeError(f"AP is {figures['AP_all_frames']}, by pycocotools {average_precision}")
    table = Table("what", "s", title=f"{given.frames} frames, 1 target and {given.detections} detections each")
    for what, seconds in rows.items():
        table.add_row(what, f"{seconds:.2f}")
    console = Console()
    console.print(table)
    if not given.without_pycocotools:
        console.print(f"ratio {ours / rows['AP of pycocotools']:.3f}; AP is the same, {figures['AP_all_frames']:.4f}")
    console.print(f"held at the end: {held / 1e6:.1f} MB, {held / given.frames:.0f} bytes per frame", highlight=False)
    if given.json:
        given.json.write_text(json.dumps({"seconds": rows, "held bytes": held, "figures": figures}, indent=2) + "\n")
    return 0


def made_up(frames: int, detections: int) -> tuple[Tensor, Tensor, Tensor]:
    """True boxes [F, 1, 4], found ones [F, D, 4] and scores [F, D]; the first of each frame is near the target."""
    g = torch.Generator().manual_seed(0)
    frame = torch.tensor(SIZE[::-1])
    centre, side = torch.rand(frames, 1, 2, generator=g) * frame, 4 + 10 * torch.rand(frames, 1, 2, generator=g)
    near = centre + torch.randn(frames, 1, 2, generator=g)
    found = torch.cat((near, torch.rand(frames, detections - 1, 2, generator=g) * frame), dim=1)
    sides = side * (1 + 0.2 * torch.randn(frames, detections, 2, generator=g)).clamp(0.5, 2)
    scores = torch.rand(frames, detections, generator=g)
    scores[:, 0] = scores[:, 0].sqrt()
    return (
        torch.cat((centre - side / 2, centre + side / 2), dim=-1),
        torch.cat((found - sides / 2, found + sides / 2), dim=-1),
        scores,
    )


def count(targets: Tensor, boxes: Tensor, scores: Tensor, batch: int) -> tuple[float, dict[str, float], int]:
    """Seconds, figures, and bytes held at the end."""
    size = torch.tensor(SIZE)
    one, many = torch.zeros(1, dtype=torch.int64), torch.zeros(boxes.shape[1], dtype=torch.int64)
    metric = DetectionMetrics()
    start = time.perf_counter()
    for first in range(0, len(boxes), batch):
        some = range(first, min(first + batch, len(boxes)))
        metric.update(
            [{"boxes": boxes[i], "scores": scores[i], "labels": many} for i in some],
            [{"boxes": targets[i], "labels": one, "size": size} for i in some],
            some,
        )
    figures = metric.compute()
    seconds = time.perf_counter() - start
    return seconds, figures, sum(part.numel() for name in STATES for part in getattr(metric, name))


def count_by_pycocotools(targets: Tensor, boxes: Tensor, scores: Tensor) -> tuple[float, float]:
    """Seconds, with the making of its tables, and AP."""
    frames, detections = scores.shape

    def extents(corners: Tensor) -> np.ndarray:
        return (
            torch.cat((corners[..., :2], corners[..., 2:] - corners[..., :2]), dim=-1).reshape(-1, 4).double().numpy()
        )

    true, found = extents(targets), extents(boxes)
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "images": [{"id": i} for i in range(frames)],
            "categories": [{"id": 1}],
            "annotations": [
                {"id": i + 1, "image_id": i, "category_id": 1, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
                for i, box in enumerate(true.tolist())
            ],
        }
        truth.createIndex()
        owner, ones = np.repeat(np.arange(frames), detections), np.ones(frames * detections)
        results = truth.loadRes(np.column_stack([owner, found, scores.reshape(-1).double().numpy(), ones]))
        evaluation = COCOeval(truth, results, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return time.perf_counter() - start, float(evaluation.stats[0])


if __name__ == "__main__":
    sys.exit(main())
