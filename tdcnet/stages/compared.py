"""What an evaluation is to be compared with, looked at before the work instead of after it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tdcnet.data.clips import ClipDataset
from tdcnet.data.datamodule import ClipDataModule
from tdcnet.deploy.backends import GRAPHS, read_info
from tdcnet.deploy.record import Record
from tdcnet.deploy.weights import WEIGHTS, read_weights
from tdcnet.metrics.matching import Frames
from tdcnet.report.exchange import check_masks, read_predictions

CHECKPOINTS = (".ckpt", ".safetensors", ".pt", ".pth", *GRAPHS)


def is_results(path: Path) -> bool:
    """Whether a path is COCO results of another detector."""
    return path.suffix.lower() == ".json"


def is_masks(path: Path) -> bool:
    """Whether a path is a folder of another detector's masks."""
    return path.is_dir() and not (path / WEIGHTS).is_file()


def check_compared(paths: Sequence[Path], datamodule: ClipDataModule, graphs: bool) -> list[Record]:
    """Sees to it that each path is there, of a kind that is read, and fits the frames that will be evaluated.

    Args:
        paths: as given in ``stage.compare``.
        datamodule: of the evaluation; its validation split is read if results or masks are among them.
        graphs: whether graphs are read, by the runtime that is chosen with ``backend=``.

    Returns:
        The records of the checkpoints among them.

    Raises:
        FileNotFoundError: if one is not there.
        ValueError: if one is of no kind that is read.
        DataError: if results or masks are not of these frames.
        CheckpointError: if a checkpoint cannot be used.
    """
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"stage.compare names {path}, which does not exist. Correct or delete it")
        if not (is_results(path) or path.is_dir() or path.suffix.lower() in CHECKPOINTS):
            suffixes = ", ".join(CHECKPOINTS)
            raise ValueError(
                f"stage.compare names {path}, which is of no kind that is read: a checkpoint ({suffixes}, "
                f"or a folder with {WEIGHTS}), COCO results (.json), or a folder of masks"
            )
    records = []
    for path in paths:
        if is_results(path):
            read_predictions(path, _frames(datamodule.evaluated()), datamodule.classes)
        elif is_masks(path):
            check_masks(path, datamodule.evaluated())
        elif graphs and path.suffix in GRAPHS:
            records.append(read_info(path).record)
        else:
            records.append(read_weights(path).record)
    return records


def _frames(dataset: ClipDataset) -> Frames:
    """The frames to be evaluated, whose sizes nobody knows yet."""
    nothing, none = np.zeros(0, np.int64), np.zeros((0, 4))
    return Frames(
        image_ids=np.arange(len(dataset)),
        sizes=np.full((len(dataset), 2), np.nan),
        target_frames=nothing,
        target_boxes=none,
        target_labels=nothing,
        pred_frames=nothing,
        pred_boxes=none,
        pred_scores=np.zeros(0),
        pred_labels=nothing,
    )
