"""Recordings on their way through a detector: frame by frame, as they are asked for."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tdcnet.data.alignment import AlignBy, Aligner, Model
from tdcnet.data.errors import DataError, Policy, Problems
from tdcnet.data.transforms import Image, Matrix
from tdcnet.data.views import Range, check_range, pad_grey, to_unit, view
from tdcnet.finite import number
from tdcnet.inference.clips import Clip, clips_of
from tdcnet.inference.found import Found
from tdcnet.inference.layouts import Layout, Tiling, layout_of
from tdcnet.inference.recordings import Recording, with_range
from tdcnet.inference.registration import Registration, registration
from tdcnet.inference.tiles import Detections

if TYPE_CHECKING:
    from tdcnet.inference.detector import Detector

log = logging.getLogger(__name__)

AT_ONCE = 8
"""Views of files that go through the network together."""
SHRUNK = 0.5
"""A frame that is fitted in at less than this is told."""


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
        if self.align not in (True, False, *get_args(Model)):
            raise ValueError(f"align is {self.align!r}; expected True, False or one of {', '.join(get_args(Model))}")
        check_range(self.intensity_range)
        Problems(self.on_bad_frame)

    def register(self, num_frames: int, span: int, by: AlignBy) -> Registration | None:
        """What registers the clips of a recording, which reach back ``span`` frames."""
        if self.align in (False, "none") or num_frames < 2:
            return None
        model: Model = "homography" if self.align in (True, False) else self.align  # type: ignore[assignment]
        return registration(Aligner(model, by), span + num_frames)


class Prediction(Iterator[tuple[Image, Found]]):
    """A recording's frames with what was found on each, made as they are asked for.

    Attributes:
        name: of the recording.
        length: frames; None where they come one by one.
        rate: frames a second; None if that is not known.
        classes: names by label.
        threshold: least score.
        intensity_range: 16-bit values that are 0 and 1 to the network; None before the first frame, and for 8 bits.
        missing: why frames were left out (``on_bad_frame="skip"``), a sentence each.
    """

    def __init__(self, detector: Detector, recording: Recording, options: Options, stride: int, scale: float) -> None:
        self.detector, self.recording, self.options = detector, recording, options
        self.name, self.length, self.rate = recording.name, recording.length, recording.rate
        self.classes, self.threshold = detector.classes, options.threshold
        self.intensity_range: Range | None = None
        self.missing = recording.missing
        self._scale, self._span = scale, stride * (detector.num_frames - 1)
        self._found = self._run()

    def __next__(self) -> tuple[Image, Found]:
        return next(self._found)

    def where(self, index: int) -> str:
        """Where a frame comes from."""
        return self.recording.where(index)

    def _run(self) -> Iterator[tuple[Image, Found]]:
        recording, detector = self.recording, self.detector
        images, self.intensity_range = with_range(
            recording, self.options.intensity_range or detector.record.intensity_range
        )
        by: AlignBy = "keyframes" if detector.record.align_by == "keyframes" else "pairs"
        register = self.options.register(detector.num_frames, self._span, by)
        if register is not None:
            images = register.watch(images, recording.reach)
        layout: Layout | None = None
        waiting: list[tuple[Clip, list[tuple[Tensor, Tensor]]]] = []

        def flush() -> Iterator[tuple[Image, Found]]:
            if layout is None:
                return
            detections = self._detect([each for _, views in waiting for each in views])
            for at, (clip, views) in enumerate(waiting):
                found = layout.gather(detections[at * len(views) : (at + 1) * len(views)])
                yield recording.given.pop(clip.newest, clip.images[-1]), self._told(found, clip)
            waiting.clear()

        try:
            for clip in clips_of(images, recording.reach):
                newest = clip.images[-1]
                if layout is None:
                    layout = self._layout((newest.shape[0], newest.shape[1]))
                moved = None if register is None else register.of(clip)
                waiting.append((clip, [self._view(clip.images, matrix, moved) for matrix in layout.matrices]))
                if recording.live or len(waiting) * len(layout.matrices) >= AT_ONCE:
                    yield from flush()
        except DataError:
            yield from flush()  # what came before the bad frame is whole
            raise
        yield from flush()

    def _layout(self, frame: tuple[int, int]) -> Layout:
        size, options = self.detector.size, self.options
        layout = layout_of(frame, size, options.tile, self._scale, self.detector.nms_iou, self.detector.max_detections)
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

    def _view(self, images: list[Image], matrix: Matrix, moved: NDArray[np.float32] | None) -> tuple[Tensor, Tensor]:
        size = self.detector.size
        frames, aligned = view(images, matrix, size, moved)
        same = aligned is frames
        if frames.dtype != np.uint8:
            assert self.intensity_range is not None
            frames = to_unit(frames, self.intensity_range)
            aligned = frames if same else to_unit(aligned, self.intensity_range)
            for each in (frames,) if same else (frames, aligned):
                pad_grey(each, (images[-1].shape[0], images[-1].shape[1]), matrix, size)
        tensor = torch.from_numpy(frames)
        return tensor if same else torch.from_numpy(aligned), tensor

    def _detect(self, views: Sequence[tuple[Tensor, Tensor]]) -> list[Detections]:
        """Detections of each view, in px of the input."""
        detections: list[Detections] = []
        for start in range(0, len(views), AT_ONCE):
            part = views[start : start + AT_ONCE]
            frames = torch.stack([each[1] for each in part])
            moved = not all(each[0] is each[1] for each in part)
            aligned = torch.stack([each[0] for each in part]) if moved else frames
            detections += self.detector.detect(aligned, frames, self.threshold)
        return detections

    def _told(self, found: Detections, clip: Clip) -> Found:
        newest = clip.images[-1]
        return Found(
            boxes=found["boxes"].numpy(),
            scores=found["scores"].numpy(),
            labels=found["labels"].numpy(),
            classes=tuple(self.classes),
            index=clip.newest,
            time=self.recording.time(clip.newest),
            size=(int(newest.shape[0]), int(newest.shape[1])),
            recording=self.name,
            whole=clip.whole,
        )


class Predictions(Iterator[tuple[Image, Found]]):
    """All frames of a source with what was found on each; :meth:`recordings` gives them one recording at a time.

    Either is to be gone through once.
    """

    def __init__(self, predictions: Iterator[Prediction]) -> None:
        self._recordings = predictions
        self._frames = itertools.chain.from_iterable(predictions)

    def __next__(self) -> tuple[Image, Found]:
        return next(self._frames)

    def recordings(self) -> Iterator[Prediction]:
        """The recordings of the source, in order."""
        return self._recordings

    def save(self, folder: str | os.PathLike[str], **options: object) -> list[Path]:
        """Writes each recording's detections, video and contact sheet.

        Args:
            folder: for the files; it is made.
            options: of :class:`~tdcnet.inference.writer.PredictionWriter`.

        Returns:
            the files that were written.
        """
        from tdcnet.inference.writer import PredictionWriter  # brings matplotlib

        files: list[Path] = []
        for prediction in self._recordings:
            with PredictionWriter(folder, prediction, **options) as writer:  # type: ignore[arg-type]
                for frame, found in prediction:
                    writer.add(frame, found)
            files += writer.files
        return files
