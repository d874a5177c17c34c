"""Keeps what a training had when it broke."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from tdcnet.callbacks.checkpoint_io import NotSaved
from tdcnet.callbacks.signals import Stopped
from tdcnet.detection import DetectionModule
from tdcnet.finite import NonFinite

log = logging.getLogger(__name__)


class SaveInterrupted(pl.Callback):
    """Writes ``interrupted.ckpt`` when a training ends in an error or is stopped, to resume from with ``ckpt_path``.

    It is the state after the last whole step. With several processes it is written where all of them stop at once; if
    one of them breaks off, the others cannot be waited for, and there is ``last.ckpt``.
    (Lightning's OnExceptionCheckpoint deletes its file in the end and resumes from it unasked.)

    Args:
        dirpath: folder of the file.
    """

    def __init__(self, dirpath: str) -> None:
        self.path = Path(dirpath) / "interrupted.ckpt"

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Saves weights, optimiser and all."""
        assert isinstance(pl_module, DetectionModule)
        together = trainer.world_size == 1 or isinstance(exception, NonFinite | Stopped)
        if trainer.state.fn != "fit" or trainer.global_step == 0 or not together or isinstance(exception, NotSaved):
            return
        if pl_module.guard.stepping:
            log.warning("stopped in the midst of changing the weights of step %d%s", trainer.global_step, self._else())
            return
        try:
            trainer.save_checkpoint(self.path, weights_only=False)
        except NotSaved as error:
            log.warning("%s%s", error, self._else())
            return
        if trainer.is_global_zero:
            log.warning("stopped at step %d; ckpt_path=%s resumes from there", trainer.global_step, self.path)

    def _else(self) -> str:
        last: Any = self.path.with_name("last.ckpt")
        return f"; ckpt_path={last} resumes from there" if last.is_file() else ""
