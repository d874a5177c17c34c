"""What a detector sees of clips, and what it finds there, in px of the frame."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import numpy as np
import torch
from torch import Tensor

from tdcnet.data.alignment import Aligner, Model
from tdcnet.data.errors import Policy, Problems
from tdcnet.data.transforms import Matrix
from tdcnet.data.views import Range, check_range, pad_grey, to_unit, view
from tdcnet.finite import number
from tdcnet.inference.clips import Clip
from tdcnet.inference.found import Found
from tdcnet.inference.layouts import Layout, Tiling, layout_of
from tdcnet.inference.tiles import Detections

if TYPE_CHECKING:
    from tdcnet.inference.detector import Detector

log = logging.getLogger(__name__)

AT_ONCE = 8
"""Views that go through the network together."""
SHRUNK = 0.5
"""A frame that is fitted in at less than this is told."""
MODELS = get_args(Model)
Views = list[tuple[Tensor, Tensor]]
"""Registered and plain frames [T, H, W] of each view of a clip; one tensor where nothing moved."""


@dataclass(frozen=True)
class Options:
    """How frames are shown and what is kept; see :meth:`~tdcnet.inference.detector.Detector.predict`.

    Raises:
        ValueError: if one is out of range.
    """

    threshold: float
    tile: Tiling = "auto"
    scale: float | None = None
    stride: int | None = None
    align: bool | Model = True
    intensity_range: Range | None = None
    on_bad_frame: Policy = "error"

    def __post_init__(self) -> None:
        number("threshold", self.threshold, 0, 1)
        if self.scale is not None:
            number("scale", self.scale, 0, 100, above=True)
        if self.stride is not None:
            number("stride", self.stride, 1)
        if self.tile not in (True, False, "auto"):
            raise ValueError(f"tile is {self.tile!r}; expected True, False or 'auto'")
        if self.align not in (True, False, *MODELS):
            raise ValueError(f"align is {self.align!r}; expected True, False or one of {', '.join(MODELS)}")
        check_range(self.intensity_range)
        Problems(self.on_bad_frame)

    def aligner(self, num_frames: int) -> Aligner | None:
        """What registers the clips of a recording."""
        if self.align in (False, "none") or num_frames < 2:
            return None
        model: Model = "homography" if self.align in (True, False) else self.align  # type: ignore[assignment]
        return Aligner(model, "keyframes")


class Viewer:
    """Shows the clips of one recording to a detector.

    Args:
        detector: what looks.
        options: how.
        name: of the recording, for the log.
    """

    def __init__(self, detector: Detector, options: Options, name: str) -> None:
        self.detector, self.options, self.name = detector, options, name
        self.intensity_range: Range | None = None
        scale = options.scale if options.scale is not None else detector.record.scale
        self._scale = scale or 1.0
        self._layout: Layout | None = None
        self._frame: tuple[int, int] | None = None

    def views(self, clip: Clip) -> Views:
        """What the network is given of a clip; frames of 16 bits by ``intensity_range``."""
        return [self._view(clip, matrix) for matrix in self._layout_of(clip).matrices]

    def detect(self, clips: Sequence[tuple[Clip, Views]]) -> list[Found]:
        """What is found at the newest frame of each clip, but for its time.

        Args:
            clips: with their views.
        """
        detections = self._detect([each for _, views in clips for each in views])
        found = []
        for clip, views in clips:
            part, detections = detections[: len(views)], detections[len(views) :]
            found.append(self._told(self._layout_of(clip).gather(part), clip))
        return found

    def _layout_of(self, clip: Clip) -> Layout:
        newest = clip.images[-1]
        frame = newest.shape[0], newest.shape[1]
        if self._layout is not None and frame == self._frame:
            return self._layout
        self._frame = frame
        detector, options, size = self.detector, self.options, self.detector.size
        layout = layout_of(frame, size, options.tile, self._scale, detector.nms_iou, detector.max_detections)
        self._layout = layout
        shrunk = min(size[0] / frame[0], size[1] / frame[1])
        if options.tile is False and shrunk < SHRUNK:
            log.warning(
                "%s: frames of %dx%d px are shrunk to %.2f of their size, and small targets may be lost; "
                "tile=auto keeps them, in more time",
                *(self.name, frame[1], frame[0], shrunk),
            )
        if len(layout.matrices) > 1:
            log.info(
                "%s: frames of %dx%d px are looked at in %d tiles of %dx%d px; tile=false or a smaller scale is faster",
                *(self.name, frame[1], frame[0], len(layout.matrices), size[1], size[0]),
            )
        return layout

    def _view(self, clip: Clip, matrix: Matrix) -> tuple[Tensor, Tensor]:
        size, images = self.detector.size, clip.images
        frames, aligned = view(images, matrix, size, clip.homographies)
        same = aligned is frames
        if frames.dtype != np.uint8:
            assert self.intensity_range is not None
            frames = to_unit(frames, self.intensity_range)
            aligned = frames if same else to_unit(aligned, self.intensity_range)
            for each in (frames,) if same else (frames, aligned):
                pad_grey(each, (images[-1].shape[0], images[-1].shape[1]), matrix, size)
        tensor = torch.from_numpy(frames)
        return tensor if same else torch.from_numpy(aligned), tensor

    def _detect(self, views: Views) -> list[Detections]:
        """Detections of each view, in px of the input."""
        detections: list[Detections] = []
        for start in range(0, len(views), AT_ONCE):
            part = views[start : start + AT_ONCE]
            frames = torch.stack([each[1] for each in part])
            moved = not all(each[0] is each[1] for each in part)
            aligned = torch.stack([each[0] for each in part]) if moved else frames
            detections += self.detector.detect(aligned, frames, self.options.threshold)
        return detections

    def _told(self, found: Detections, clip: Clip) -> Found:
        newest = clip.images[-1]
        return Found(
            boxes=found["boxes"].numpy(),
            scores=found["scores"].numpy(),
            labels=found["labels"].numpy(),
            classes=tuple(self.detector.classes),
            index=clip.newest,
            time=None,
            size=(int(newest.shape[0]), int(newest.shape[1])),
            recording=self.name,
            whole=clip.whole,
        )
