"""Pictures of the validation: some frames with boxes, and the precision-recall curve."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from pytorch_lightning.loggers import TensorBoardLogger

from tdcnet.data.transforms import letterbox_matrix, transform_boxes
from tdcnet.detection import DetectionModule
from tdcnet.drawing import contact_sheet, draw_boxes, precision_recall_figure, write_png

log = logging.getLogger(__name__)


class Visualize(pl.Callback):
    """Draws ``samples`` frames, spread evenly over the validation set, with true (green) and found (orange) boxes.

    Writes ``validation.png`` and ``precision_recall.png`` (the latest ones) and adds both to TensorBoard.

    Args:
        dirpath: folder of the pictures.
        samples: frames on the contact sheet.
        score_threshold: least score that is drawn.
    """

    def __init__(self, dirpath: str, samples: int = 12, score_threshold: float = 0.3) -> None:
        self.dirpath, self.samples, self.score_threshold = Path(dirpath), samples, score_threshold
        self._pictures: list[tuple[Any, str]] = []

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forgets the last pictures."""
        self._pictures = []

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draws the first frame of every so many batches."""
        batches = max(1, int(trainer.num_val_batches[dataloader_idx]))
        wanted = {int(i) for i in np.linspace(0, batches - 1, self.samples)}
        if (
            not trainer.is_global_zero
            or trainer.sanity_checking
            or batch_idx not in wanted
            or not outputs["detections"]
        ):
            return
        found = outputs["detections"][0]
        keep = found["scores"] >= self.score_threshold
        frame = batch["frames"][0, -1]
        height, width = batch["original_size"][0].tolist()
        truth, boxes = batch["boxes"][0].cpu().numpy(), found["boxes"][keep].cpu().numpy()
        if tuple(frame.shape) != (height, width):  # drawn on the network's input, to which the boxes go back
            boxes = transform_boxes(boxes, letterbox_matrix((height, width), tuple(frame.shape)))
        if frame.is_floating_point():
            frame = frame * 255
        picture = draw_boxes(
            frame.byte().cpu().numpy(), truth=truth, predictions=boxes, scores=found["scores"][keep].cpu().numpy()
        )
        self._pictures.append((picture, f"{batch['sequence'][0]}  #{int(batch['frame'][0])}"))

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Writes the pictures, if that is possible: a training is worth more."""
        if not trainer.is_global_zero or trainer.sanity_checking:
            return
        try:
            self._write(trainer, pl_module)
        except OSError as error:
            log.warning("no pictures are written to %s: %s", self.dirpath, error.strerror or error)

    def _write(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        board = next((x.experiment for x in trainer.loggers if isinstance(x, TensorBoardLogger)), None)
        if self._pictures:
            sheet = contact_sheet([p for p, _ in self._pictures], [c for _, c in self._pictures], columns=4)
            write_png(self.dirpath / "validation.png", sheet)
            if board is not None:
                board.add_image("val/frames", sheet, trainer.global_step, dataformats="HWC")
        if isinstance(pl_module, DetectionModule) and pl_module.curve is not None:
            recall, precision = pl_module.curve
            figure = precision_recall_figure(recall, precision, title="Validation, IoU 0.5")
            figure.savefig(self.dirpath / "precision_recall.png", dpi=120)
            if board is not None:
                board.add_figure("val/precision_recall", figure, trainer.global_step)
