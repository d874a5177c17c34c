"""Counts the frames that could not be read, and tells in the end."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from tdcnet.shown import printable

log = logging.getLogger(__name__)


class BadFrames(pl.Callback):
    """Collects the messages of skipped frames (``dataset.on_bad_frame=skip``) in ``bad_frames.txt`` and sums them up.

    Args:
        dirpath: folder of the file; each message is written as it comes, so a broken run keeps them. Every process of a
            distributed run writes its own file.
    """

    def __init__(self, dirpath: str) -> None:
        self.dirpath = Path(dirpath)
        self.messages: set[str] = set()
        self.count = 0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Collects from a training batch."""
        self._collect(trainer, batch)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Collects from a validation batch."""
        self._collect(trainer, batch)

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Collects from a prediction batch."""
        self._collect(trainer, batch)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Tells how many there were."""
        if self.count:
            log.warning(
                "%d times a frame could not be read and was skipped (%d different ones): see %s",
                self.count,
                len(self.messages),
                self.dirpath,
            )

    def _collect(self, trainer: pl.Trainer, batch: dict[str, Any]) -> None:
        messages = batch["bad_frames"]
        self.count += len(messages)
        new = [m for m in dict.fromkeys(messages) if m not in self.messages]
        if new:
            self.messages.update(new)
            self.dirpath.mkdir(parents=True, exist_ok=True)
            rank = f"_{trainer.global_rank}" if trainer.world_size > 1 else ""
            with (self.dirpath / f"bad_frames{rank}.txt").open("a", encoding="utf-8") as file:
                file.writelines(f"{printable(message)}\n" for message in new)
