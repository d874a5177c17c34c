"""What a person should know of recordings before they are used: said once, in a line each."""

from __future__ import annotations

import logging
from collections.abc import Sequence as Listed
from contextlib import suppress

import numpy as np

from tdcnet.data.errors import DataError
from tdcnet.data.sequence import Sequence

log = logging.getLogger(__name__)

_LOOKED_AT = 20  # recordings whose size is looked at


def tell_times(sequences: Listed[Sequence], num_frames: int, stride: int) -> None:
    """Warns where frames come at no constant rate, so that clips are taken by time."""
    uneven = [(s, times) for s in sequences if (times := s.uneven_times) is not None]
    if not uneven or num_frames < 2:
        return
    first, times = uneven[0]
    steps = 1000 * np.diff(times)
    log.warning(
        "%d of %d recordings have no constant frame rate, such as %s (%.0f to %.0f ms from frame to frame): clips take "
        "the frames nearest to every %.0f ms",
        len(uneven),
        len(sequences),
        first.name,
        steps.min(),
        steps.max(),
        stride * float(np.median(steps)),
    )


def usual_rate(sequences: Listed[Sequence]) -> float | None:
    """Frames a second, the middle one of those recordings that tell; None if none does."""
    rates = [float(rate) for each in sequences if (rate := getattr(each.frames, "rate", None))]
    return float(np.median(rates)) if rates else None


def tell_scale(name: str, sequences: Listed[Sequence], size: tuple[int, int]) -> float | None:
    """Warns where whole frames are shrunk to less than half; one frame of a recording tells for all.

    Args:
        name: of the data set.
        sequences: recordings with their boxes, if they have any.
        size: height and width of the network input, px.

    Returns:
        px of the input for a px of a frame, the middle one; None if no frame can be read.
    """
    scales: list[tuple[float, tuple[int, int]]] = []
    for sequence in [s for s in sequences if len(s.indices)][:: max(1, len(sequences) // _LOOKED_AT)]:
        with suppress(DataError):
            height, width = sequence.frames.read(int(sequence.indices[0])).shape
            scales.append((min(size[0] / height, size[1] / width), (height, width)))
    if not scales:
        return None
    usual = float(np.median([each for each, _ in scales]))
    scale, (height, width) = min(scales)
    if scale >= 0.5:
        return usual
    boxes = np.concatenate([box for s in sequences for box in s.boxes] or [np.zeros((0, 4), np.float32)])
    side = float(np.median(np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)))) if len(boxes) else 8.0
    log.warning(
        "%s: frames of %dx%d are shrunk to %.2f of their size, %s of %.1f px to %.1f px, and may be lost. "
        "dataset.size=[%d,%d] keeps them (more memory and time), or cut the frames to the part that matters",
        name,
        width,
        height,
        scale,
        "the middle target" if len(boxes) else "a target",
        side,
        side * scale,
        -(-height // 32) * 32,
        -(-width // 32) * 32,
    )
    return usual
