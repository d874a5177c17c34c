"""What ``stage=predict`` writes: detections, an annotated video, a contact sheet."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray

from tdcnet.drawing import VideoWriter, contact_sheet, draw_boxes, write_png
from tdcnet.results import DetectionWriter

log = logging.getLogger(__name__)


class PredictionWriter(pl.Callback):
    """Writes ``NAME.csv``, ``NAME.json`` (COCO), ``NAME.mp4`` and ``NAME.png`` while the frames come.

    Where that stops early, what there is is called ``NAME.partial.csv`` and so on.

    Args:
        dirpath: folder of the files.
        fps: frames per second of the video; None for those of the source, or 30 where it does not tell.
        draw_threshold: least score of a box in video and pictures; the files hold all detections.
        sheet: frames on the contact sheet: the one with the highest score in each of as many equal parts of the clip.
    """

    def __init__(self, dirpath: str, fps: float | None = None, draw_threshold: float = 0.3, sheet: int = 12) -> None:
        self.dirpath, self.fps = Path(dirpath), fps
        self.draw_threshold, self.sheet = draw_threshold, sheet
        self.files: list[Path] = []
        self._best: dict[int, tuple[float, int, NDArray[Any], NDArray[Any]]] = {}

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Opens the files."""
        dataset = trainer.predict_dataloaders.dataset  # type: ignore[union-attr]
        self._sequence = dataset.sequences[0]
        self._total = max(1, len(dataset))
        base = self.dirpath / self._sequence.name
        classes = pl_module.checkpoint_info.get("classes", ["target"])  # type: ignore[union-attr, operator]
        self._times = getattr(self._sequence.frames, "times", None)
        self._detections = DetectionWriter(base, classes, self._sequence.name, timed=self._times is not None)
        rate = self.fps or getattr(self._sequence.frames, "rate", None) or 30.0
        # Players know neither a frame an hour nor thousands a second.
        self._video = VideoWriter(base.with_name(f"{base.name}.mp4"), rate if self.fps else min(max(rate, 1.0), 240.0))
        base.with_name(f"{base.name}.partial.png").unlink(missing_ok=True)  # of an earlier run
        self._range = dataset.intensity_range
        self._base = base

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Writes a batch."""
        for position, size, found in zip(
            batch["frame"].tolist(), batch["original_size"].tolist(), outputs, strict=True
        ):
            seconds = None if self._times is None else float(self._times[position])
            self._detections.add(position, self._sequence.frames.where(position), size, found, seconds)
            keep = found["scores"] >= self.draw_threshold
            boxes, scores = found["boxes"][keep].cpu().numpy(), found["scores"][keep].cpu().numpy()
            self._video.add(self._picture(position, boxes, scores))
            part, best = position * self.sheet // len(self._sequence), float(scores.max()) if len(scores) else 0.0
            if part not in self._best or best > self._best[part][0]:
                self._best[part] = best, position, boxes, scores  # drawn again at the end: pictures take a MB each

    def _picture(self, position: int, boxes: NDArray[Any], scores: NDArray[Any]) -> NDArray[np.uint8]:
        frame = np.asarray(self._sequence.frames.read(position))
        if frame.dtype != np.uint8:  # as bright as the network sees it, in all frames alike
            low, high = self._range or (float(frame.min()), float(frame.max()))
            frame = ((frame - low) / max(1.0, high - low) * 255).clip(0, 255).astype(np.uint8)
        return draw_boxes(frame, predictions=boxes, scores=scores)

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Closes the files and writes the contact sheet."""
        self._close(complete=True)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Keeps what there is, by a name that tells so."""
        if hasattr(self, "_base") and not self.files:
            self._close(complete=False)
            log.warning("stopped before the end: frames up to there are in %s", ", ".join(map(str, self.files)))

    def _close(self, complete: bool) -> None:
        writer, video = self._detections, self._video
        video.close(complete)
        writer.close(complete)
        self.files = [
            *((writer.csv_path, writer.json_path) if complete else (writer.partial_csv, writer.partial_json)),
            *([video.path if complete else video.partial] if video.num_frames else []),
        ]
        if self._best:
            chosen = [self._best[part] for part in sorted(self._best)]
            pictures = [self._picture(position, boxes, scores) for _, position, boxes, scores in chosen]
            captions = [
                f"#{position}  {best:.2f}" if best else f"#{position}  nothing" for best, position, *_ in chosen
            ]
            sheet = contact_sheet(pictures, captions, columns=4)
            ending = "png" if complete else "partial.png"
            self.files.append(write_png(self._base.with_name(f"{self._base.name}.{ending}"), sheet))
