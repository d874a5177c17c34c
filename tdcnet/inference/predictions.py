"""Recordings on their way through a detector: frame by frame, as they are asked for."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tdcnet.data.errors import DataError
from tdcnet.data.transforms import Image
from tdcnet.data.views import Range
from tdcnet.inference.clips import Clip, ClipStream
from tdcnet.inference.found import Found
from tdcnet.inference.recordings import Recording, with_range
from tdcnet.inference.viewer import AT_ONCE, Options, Viewer, Views

if TYPE_CHECKING:
    from tdcnet.inference.detector import Detector


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

    def __init__(self, detector: Detector, recording: Recording, options: Options) -> None:
        self.detector, self.recording, self.options = detector, recording, options
        self.name, self.length, self.rate = recording.name, recording.length, recording.rate
        self.classes, self.threshold = detector.classes, options.threshold
        self.intensity_range: Range | None = None
        self.missing = recording.missing
        self._viewer = Viewer(detector, options, recording.name)
        self._found = self._run()

    def __next__(self) -> tuple[Image, Found]:
        return next(self._found)

    def where(self, index: int) -> str:
        """Where a frame comes from."""
        return self.recording.where(index)

    def _run(self) -> Iterator[tuple[Image, Found]]:
        recording, viewer, options = self.recording, self._viewer, self.options
        images, self.intensity_range = with_range(
            recording, options.intensity_range or self.detector.record.intensity_range
        )
        viewer.intensity_range = self.intensity_range
        stream = ClipStream(recording.reach, options.aligner(self.detector.num_frames), True, recording.name)
        waiting: list[tuple[Clip, Views]] = []

        def flush() -> Iterator[tuple[Image, Found]]:
            for (clip, _), found in zip(waiting, viewer.detect(waiting), strict=True):
                frame = recording.given.pop(clip.newest, clip.images[-1])
                yield frame, replace(found, time=recording.time(clip.newest))
            waiting.clear()

        try:
            for clip in filter(None, map(stream.add, images)):
                waiting.append((clip, viewer.views(clip)))
                if recording.live or sum(len(views) for _, views in waiting) >= AT_ONCE:
                    yield from flush()
        except DataError:
            yield from flush()  # what came before the bad frame is whole
            raise
        yield from flush()


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
