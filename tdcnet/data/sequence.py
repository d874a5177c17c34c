"""One recording with its boxes: what every data set reader gives and every consumer takes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class FrameSource(Protocol):
    """The frames of one recording in order of time.

    One that knows when they were taken has ``times``, seconds from the first frame, float64 [N], growing; and ``rate``,
    frames a second.
    """

    def __len__(self) -> int: ...

    def read(self, index: int) -> NDArray[np.generic]:
        """Frame ``index`` as a grey image [H, W], uint8 or uint16 as stored.

        Raises:
            DataError: if the frame is missing or cannot be decoded; the message names the file.
        """
        ...

    def where(self, index: int) -> str:
        """Where frame ``index`` comes from, for messages and results: a path, or ``path#index`` in a video."""
        ...


@dataclass(frozen=True, eq=False)
class Sequence:
    """A recording, the boxes on its frames, and which of its frames belong to the split.

    Frames are counted by position (0 is the first one on disk), whatever number is in their file name.

    Attributes:
        name: unique within the data set; also the name of cached files (no path separator).
        frames: all frames of the recording, those outside the split too, since they may be history.
        boxes: per frame, float32 [N, 4], ``x1, y1, x2, y2`` in px of the stored image, exclusive right and lower edge,
            first pixel 0. N is 0 on an empty frame.
        labels: per frame, int64 [N], indices into ``classes``.
        indices: positions of the frames that belong to the split, ascending; empty frames among them count.
        segment_start: int64 [len(frames)]; position of the earliest frame that a clip ending at each frame may reach.
        aligned_files: per frame the stored registered frames, oldest first and the frame itself last, or None where
            there are none; None if the data set has none at all.
        classes: names that the labels index into, the same in all sequences of a side; empty if they are not known.
        target_ids: per frame, int64 [N], which target each box is: the same number on all frames of the recording, each
            once a frame. None if the data set does not tell.
    """

    name: str
    frames: FrameSource
    boxes: list[NDArray[np.float32]]
    labels: list[NDArray[np.int64]]
    indices: NDArray[np.int64]
    segment_start: NDArray[np.int64]
    aligned_files: list[tuple[Path, ...] | None] | None = None
    classes: tuple[str, ...] = ()
    target_ids: list[NDArray[np.int64]] | None = None

    def __post_init__(self) -> None:
        n = len(self.frames)
        for what, length in (
            ("boxes", len(self.boxes)),
            ("labels", len(self.labels)),
            ("target_ids", n if self.target_ids is None else len(self.target_ids)),
            ("segment_start", len(self.segment_start)),
        ):
            if length != n:
                raise ValueError(f"sequence {self.name}: {length} {what} for {n} frames; they must be one per frame")

    def __len__(self) -> int:
        return len(self.frames)

    @cached_property
    def uneven_times(self) -> NDArray[np.float64] | None:
        """Seconds of each frame, float64 [N], where they do not come at a constant rate; None where they do.

        They do as long as no step is more than half of the middle one off: with those a clip would be the same.
        """
        times = getattr(self.frames, "times", None)
        if times is None or len(times) < 3:
            return None
        steps = np.diff(times)
        middle = float(np.median(steps))
        return times if np.abs(steps - middle).max() > middle / 2 else None

    def clip_indices(self, newest: int, num_frames: int, stride: int = 1) -> list[int]:
        """Positions of the clip that ends at ``newest``, oldest first.

        Frames are ``stride`` apart; one before the start of the segment is replaced by the segment's first frame. Where
        frames come at no constant rate they are ``stride`` times the middle distance in time apart, as near as there
        are frames.
        """
        first = int(self.segment_start[newest])
        times = self.uneven_times
        if times is not None:
            step = stride * float(np.median(np.diff(times)))
            wanted = times[newest] - step * np.arange(num_frames - 1, -1, -1)
            low = max(first, int(np.searchsorted(times, wanted[0])) - 1)
            distances = np.abs(times[low : newest + 1] - wanted[:, None])
            return [low + int(position) for position in distances.argmin(axis=1)]
        return [max(first, newest - stride * back) for back in reversed(range(num_frames))]

    def has_past(self, newest: int, num_frames: int, stride: int = 1) -> bool:
        """Whether the clip that ends at ``newest`` reaches as far back as it is to: not at the start of a segment."""
        first = int(self.segment_start[newest])
        times = self.uneven_times
        if times is not None:
            step = float(np.median(np.diff(times)))
            return bool(times[newest] - times[first] >= (stride * (num_frames - 1) - 0.5) * step)
        return newest - stride * (num_frames - 1) >= first
