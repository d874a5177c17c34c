"""Keeps what a training had when it broke."""

from __future__ import annotations

import logging
from pathlib import Path

import pytorch_lightning as pl

log = logging.getLogger(__name__)


class SaveInterrupted(pl.Callback):
    """Writes ``interrupted.ckpt`` when a training ends in an error or by Ctrl+C, to resume from with ``ckpt_path``.

    With several processes nothing is written, for the others cannot be waited for; ``last.ckpt`` is from the last
    validation.
    (Lightning's OnExceptionCheckpoint deletes its file in the end and resumes from it unasked.)

    Args:
        dirpath: folder of the file.
    """

    def __init__(self, dirpath: str) -> None:
        self.path = Path(dirpath) / "interrupted.ckpt"

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Saves weights, optimiser and all."""
        if trainer.state.fn == "fit" and trainer.global_step > 0 and trainer.world_size == 1:
            trainer.save_checkpoint(self.path)
            log.warning("stopped at step %d; ckpt_path=%s resumes from there", trainer.global_step, self.path)
