"""What was found on a frame."""

from __future__ import annotations

import importlib
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdcnet.deploy import optional
from tdcnet.results import CSV_COLUMNS, csv_rows
from tdcnet.shown import CsvWriter


@dataclass(frozen=True, eq=False)
class Found:
    """Detections of one frame, best first.

    Attributes:
        boxes: float32 [N, 4], xyxy px of the source's frame, right and lower edge exclusive.
        scores: float32 [N], 0 to 1.
        labels: int64 [N], indices into ``classes``.
        classes: names.
        index: position of the frame in its recording, from 0.
        time: seconds from the recording's first frame; None if the source does not tell.
        size: height and width of the frame, px.
        recording: name of the recording; several come from a folder that holds several.
        whole: whether the clip reached as far back as the detector looks. The first frames of a recording have no past,
            and what stands still cannot be told from what moves there.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    index: int
    time: float | None
    size: tuple[int, int]
    recording: str = "frames"
    whole: bool = True

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def names(self) -> list[str]:
        """The class of each."""
        return [self.classes[label] for label in self.labels]

    def to_coco(self, image_id: int | None = None) -> list[dict[str, Any]]:
        """COCO results: ``image_id`` (the frame's index if None), ``category_id`` from 1, ``bbox`` xywh, ``score``."""
        which = self.index if image_id is None else image_id
        return [
            {
                "image_id": which,
                "category_id": int(label) + 1,
                "bbox": [float(x1), float(y1), float(x2 - x1), float(y2 - y1)],
                "score": float(score),
            }
            for (x1, y1, x2, y2), score, label in zip(self.boxes, self.scores, self.labels, strict=True)
        ]

    def to_csv(self, header: bool = True) -> str:
        """Rows of a CSV file, the columns those of ``stage=predict`` (:data:`tdcnet.results.CSV_COLUMNS`)."""
        text = io.StringIO()
        rows = CsvWriter(text)
        if header:
            rows.writerow(CSV_COLUMNS)
        for row in csv_rows(self.index, self.boxes, self.scores, self.names, self.time, self.recording):
            rows.writerow(row)
        return text.getvalue()

    def to_supervision(self) -> Any:
        """``supervision.Detections``.

        Raises:
            MissingPackage: if supervision is not installed.
        """
        if optional.missing(["supervision"]):
            raise optional.MissingPackage("to_supervision needs supervision: `pip install supervision`")
        supervision = importlib.import_module("supervision")
        return supervision.Detections(
            xyxy=self.boxes, confidence=self.scores, class_id=self.labels, data={"class_name": np.array(self.names)}
        )

    def plot(self, frame: NDArray[Any], zoom: int | None = None) -> NDArray[np.uint8]:
        """The frame as a picture, uint8 RGB [H * zoom, W * zoom, 3], with brackets and scores."""
        from tdcnet.drawing import draw_boxes  # brings matplotlib

        names = self.names if len(self.classes) > 1 else None
        return draw_boxes(frame, predictions=self.boxes, scores=self.scores, zoom=zoom, names=names)
