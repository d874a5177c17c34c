"""IRDST, real part, in the form TDCNet, SSTNet and others use (Sun et al., RDIAN, TGRS 2023).

Layout::

    root/images/SCENE/0.bmp  (or png, unpadded)
    root/matches/SCENE/0/img_1.png .. img_5.png                  (may be absent)
    root/train.txt, root/val.txt      .../images/1/0.bmp x1,y1,x2,y2,0 ...

The lists also go by ``coco_train_IRDST.txt`` and ``coco_val_IRDST.txt``. Odd scenes train, even scenes validate.

A scene is not a video: it joins several without saying where one ends. Clips stop where the target jumps.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tdcnet.data.errors import Problems
from tdcnet.data.formats import common
from tdcnet.data.sequence import Sequence

CLASSES: tuple[str, ...] = ("target",)
ALIGNED = 5


def read(
    root: Path | str,
    split: str,
    *,
    problems: Problems | None = None,
    cache_dir: Path | None = None,
    jump: float | None = 20.0,
) -> list[Sequence]:
    """Reads one side of the split, a sequence per scene.

    Stored registered frames whose window of four past frames reaches over a cut are left out (None): they were made
    from another video. With ``jump=None`` only gaps in the frame numbers cut.

    Args:
        root: the folder that holds ``images`` and the lists.
        split: ``"train"`` or ``"val"``.
        problems: what to do with bad lines, boxes and frames; stops at the first if None.
        cache_dir: not used here; all readers take the same arguments.
        jump: centres of the nearest boxes of neighbouring frames further apart than this, in px, are a cut.

    Raises:
        FileNotFoundError: if the root, ``images`` or the list is missing.
        DataError: at the first problem (policy ``"error"``), or if the split holds no usable frame.
    """
    del cache_dir
    common.check_split(split)
    root, problems = Path(root), problems or Problems()
    images = common.find(root, ["images"], "folder of IRDST frames")
    list_file = common.find(root, [f"{split}.txt", f"coco_{split}_IRDST.txt"], f"list of the IRDST {split!r} split")
    sequences = []
    for name, listed in common.read_list(list_file, len(CLASSES), problems).items():
        recording = common.load_recording(images, name, listed, list_file, problems)
        if recording is None:
            continue
        starts = segment_starts(recording.numbers, recording.boxes, jump)
        aligned = common.aligned_files(root, recording, "img_{}.png", ALIGNED)
        if aligned is not None:
            aligned = [
                None if start > 0 and at - start < ALIGNED - 1 else files
                for at, (start, files) in enumerate(zip(starts, aligned, strict=True))
            ]
        sequences.append(recording.sequence(starts, aligned))
    return common.not_empty(sequences, split, list_file)


def segment_starts(
    numbers: NDArray[np.int64], boxes: list[NDArray[np.float32]], jump: float | None
) -> NDArray[np.int64]:
    """Position of the first frame of the video that each frame seems to be in.

    A cut is a gap in the frame numbers, or a jump. Beside a frame without boxes there is nothing to tell a jump by, and
    no cut is made.

    Args:
        numbers: frame numbers on disk, ascending, [N].
        boxes: per frame [M, 4], ``x1, y1, x2, y2`` in px.
        jump: px, or None for no cut at jumps.
    """
    starts = np.zeros(len(numbers), np.int64)
    for at in range(1, len(numbers)):
        gap = numbers[at] != numbers[at - 1] + 1
        cut = gap or (jump is not None and _distance(boxes[at - 1], boxes[at]) > jump)
        starts[at] = at if cut else starts[at - 1]
    return starts


def _distance(before: NDArray[np.float32], after: NDArray[np.float32]) -> float:
    """Between the centres of the two nearest boxes of two frames, in px; 0 if either frame has none."""
    if not len(before) or not len(after):
        return 0.0
    centres = [(boxes[:, :2] + boxes[:, 2:]) / 2 for boxes in (before, after)]
    return float(np.linalg.norm(centres[0][:, None] - centres[1][None], axis=-1).min())
