"""The files of a prediction: detections, an annotated video, a contact sheet."""

from __future__ import annotations

import logging
import math
import os
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tdcnet.drawing import VideoWriter, contact_sheet, draw_boxes, write_png
from tdcnet.files import Closing
from tdcnet.inference.found import Found
from tdcnet.inference.predictions import Prediction
from tdcnet.results import DetectionWriter

log = logging.getLogger(__name__)

SHEET_WIDTH = 640
"""Largest width of a frame on a contact sheet, px."""
USUAL_RATE = 30.0
"""Frames a second of a video of frames whose rate is not known."""


class _Shown(NamedTuple):
    best: float
    frame: NDArray[np.uint8]
    found: Found


class PredictionWriter(Closing):
    """Writes ``NAME.csv``, ``NAME.json`` (COCO), ``NAME.mp4`` and ``NAME.png`` of a recording while the frames come.

    A context manager. Where its block ends in an exception, what there is is called ``NAME.partial.csv`` and so on.

    Args:
        folder: of the files; it is made.
        prediction: what is written; the files are called after its recording.
        name: of the files and of the recording in them, where several are called alike.
        fps: frames a second of the video; None for those of the source, or 30 where it does not tell.
        draw_threshold: least score of a box in video and pictures; the files hold all detections. None draws all.
        sheet: frames on the contact sheet: the one with the highest score in each of as many equal parts; 0 for none.
        video: whether there is to be one.

    Attributes:
        files: that were written, when it is closed.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        prediction: Prediction,
        name: str | None = None,
        fps: float | None = None,
        draw_threshold: float | None = None,
        sheet: int = 12,
        video: bool = True,
    ) -> None:
        if sheet < 0:
            raise ValueError(f"sheet is {sheet}; expected a number of frames, or 0 for no sheet")
        self.prediction, self.draw_threshold, self.sheet = prediction, draw_threshold or 0.0, sheet
        self.files: list[Path] = []
        self._base = Path(folder) / (name or prediction.name)
        self._detections = DetectionWriter(self._base, prediction.classes, name or prediction.name)
        rate = fps or min(max(prediction.rate or USUAL_RATE, 1.0), 240.0)  # players know neither a frame an hour
        self._video = VideoWriter(self._named("mp4"), rate) if video else None
        self._named("partial.png").unlink(missing_ok=True)  # of an earlier run
        self._best: dict[int, _Shown] = {}
        self._part = 1 if prediction.length is None else max(1, math.ceil(prediction.length / max(1, sheet)))
        self._open = True

    def add(self, frame: NDArray[Any], found: Found) -> None:
        """Writes a frame as the prediction gives it."""
        where = self.prediction.where(found.index)
        boxes = {"boxes": found.boxes, "scores": found.scores, "labels": found.labels}
        self._detections.add(found.index, where, found.size, boxes, found.time)
        picture = self._as_shown(frame)
        if self._video is not None:
            self._video.add(self._drawn(picture, found))
        if not self.sheet:
            return
        best = float(found.scores.max(initial=0.0))
        part = found.index // self._part
        if part not in self._best or best > self._best[part].best:
            self._best[part] = _Shown(best, picture.copy(), found)
        while len(self._best) > self.sheet:  # more than was known: two parts become one
            self._part *= 2
            merged: dict[int, _Shown] = {}
            for at, each in self._best.items():
                merged[at // 2] = max(merged.get(at // 2, each), each, key=lambda one: one.best)
            self._best = merged

    def close(self, complete: bool = True) -> None:
        """Finishes the files; unless ``complete``, by names that tell so. A second call does nothing."""
        if not self._open:
            return
        self._open = False
        writer, video = self._detections, self._video
        if video is not None:
            video.close(complete)
        writer.close(complete)
        self.files = list(
            (writer.csv_path, writer.json_path) if complete else (writer.partial_csv, writer.partial_json)
        )
        if video is not None and video.num_frames:
            self.files.append(video.path if complete else video.partial)
        if self._best:
            self.files.append(write_png(self._named("png" if complete else "partial.png"), self._sheet()))
        if not complete:
            log.warning("stopped before the end: frames up to there are in %s", ", ".join(map(str, self.files)))

    def _named(self, ending: str) -> Path:
        return self._base.with_name(f"{self._base.name}.{ending}")

    def _as_shown(self, frame: NDArray[Any]) -> NDArray[np.uint8]:
        """A frame as bright as the network sees it, in all frames alike."""
        if frame.dtype == np.uint8:
            return frame
        low, high = self.prediction.intensity_range or (float(frame.min()), float(frame.max()))
        return ((frame - low) / max(1e-9, high - low) * 255).clip(0, 255).astype(np.uint8)

    def _drawn(self, picture: NDArray[np.uint8], found: Found, width: int | None = None) -> NDArray[np.uint8]:
        keep = found.scores >= self.draw_threshold
        names = [name for name, kept in zip(found.names, keep, strict=True) if kept] if len(found.classes) > 1 else None
        boxes = found.boxes[keep]
        if width is not None and picture.shape[1] > width:  # brackets are drawn on what is shrunk, to be seen
            factor = width / picture.shape[1]
            picture = np.asarray(
                cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), np.uint8
            )
            return draw_boxes(picture, None, boxes * factor, found.scores[keep], 1, names)
        return draw_boxes(picture, None, boxes, found.scores[keep], names=names)

    def _sheet(self) -> NDArray[np.uint8]:
        chosen = [self._best[part] for part in sorted(self._best)]
        pictures = [self._drawn(each.frame, each.found, SHEET_WIDTH) for each in chosen]
        return contact_sheet(pictures, [self._caption(each) for each in chosen], columns=4)

    def _caption(self, shown: _Shown) -> str:
        time = "" if shown.found.time is None else f"  {shown.found.time:.2f} s"
        return f"#{shown.found.index}{time}  " + (f"{shown.best:.2f}" if shown.best else "nothing")
