"""Ctrl+C and SIGTERM end a run between two batches."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

import pytorch_lightning as pl
import torch


class Stopped(BaseException):
    """The run was asked to stop. (As KeyboardInterrupt, nothing that takes care of errors is to stop it.)

    Attributes:
        signum: by which signal.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.signum = signum


def stop_anywhere() -> None:
    """Has SIGINT and SIGTERM raise :class:`Stopped` wherever they come, until a loop takes them."""

    def stop(signum: int, frame: FrameType | None) -> None:
        raise Stopped(signum)

    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, stop)


class StopAtSignal(pl.Callback):
    """Raises :class:`Stopped` before the next batch after SIGINT or SIGTERM, in all processes at once.

    Then nothing is half done, and what there is can be saved. A second signal ends the process where it is. (Lightning
    lets go of a run in the midst of a step, and has its processes talk to each other inside of a signal handler.)

    Attributes:
        signum: what was received, 0 for nothing.
    """

    def __init__(self) -> None:
        self.signum = 0

    def on_sanity_check_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Takes the signals."""
        self._take()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Takes the signals."""
        self._take()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Takes the signals."""
        self._take()

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Takes the signals."""
        self._take()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Stops if it is time."""
        self._stop(trainer)

    def on_validation_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Stops if it is time."""
        self._stop(trainer)

    def on_predict_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Stops if it is time."""
        self._stop(trainer)

    def _take(self) -> None:
        # Lightning has set its own just before, and sets back in the end what there was.
        if threading.current_thread() is threading.main_thread():
            for signum in (signal.SIGINT, signal.SIGTERM):
                signal.signal(signum, self._note)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if self.signum:
            os._exit(128 + signum)
        self.signum = signum

    def _stop(self, trainer: pl.Trainer) -> None:
        signum = self.signum
        if trainer.world_size > 1:
            # They must stop at the same batch, whichever of them was told to.
            told = torch.tensor(signum, device=trainer.strategy.root_device)
            signum = int(trainer.strategy.reduce(told, reduce_op="max"))
        if signum:
            raise Stopped(signum)
