"""Recordings of one frame, in which a detector of motion has nothing to learn from."""

from __future__ import annotations

import logging
from collections.abc import Sequence as Listed
from typing import Literal

from tdcnet.data.errors import DataError
from tdcnet.data.names import REMEDY
from tdcnet.data.sequence import Sequence
from tdcnet.shown import printable

log = logging.getLogger(__name__)

Lone = Literal["error", "allow"]
MOST_LONE = 0.1
"""Share of recordings of one frame that may be chance; with more, names were most likely misread."""


def check_lone(sequences: Listed[Sequence], num_frames: int, where: str, stop: bool) -> None:
    """Looks whether clips of several frames would be one image repeated.

    Args:
        sequences: as read.
        num_frames: of a clip.
        where: data set and split, for messages.
        stop: whether that is an error; else it is only told.

    Raises:
        DataError: if more than :data:`MOST_LONE` of the recordings have one frame, and ``stop``.
    """
    lone = [sequence for sequence in sequences if len(sequence) == 1]
    if num_frames == 1 or len(lone) <= MOST_LONE * len(sequences):
        return
    such = ", ".join(printable(sequence.frames.where(0)) for sequence in lone[:3])
    fault = (
        f"{where}: {len(lone)} of {len(sequences)} recordings have one frame only, such as {such}: a clip of theirs is "
        f"{num_frames} times the same image and shows no motion"
    )
    if not stop:
        log.warning("%s", fault)
        return
    raise DataError(
        f"{fault}. If these frames belong together, {REMEDY} (tdcnet check --names tries it out). If they "
        "are single images, take dataset.num_frames=1; dataset.one_frame_recordings=allow goes on as it is"
    )
