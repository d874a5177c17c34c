"""Ends a training that no longer gets better."""

from __future__ import annotations

import math
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping

from tdcnet.detection import DetectionModule


class StopEarly(EarlyStopping):
    """Lightning's, but a figure that cannot be told (AP50 without a target) is not one that does not rise.

    Args:
        monitor: ``val/NAME`` of a figure.
        **options: Lightning's own: ``mode``, ``patience``, ``min_delta``.
    """

    def __init__(self, monitor: str, **options: Any) -> None:
        # At a validation's end, so that a checkpoint that is written then has it counted.
        super().__init__(monitor, **options, check_on_train_epoch_end=False)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Ends a resumed run that was over."""
        if self.wait_count >= self.patience:
            trainer.should_stop = True

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Counts the validations without a better figure."""
        assert isinstance(pl_module, DetectionModule)
        if not math.isnan(pl_module.results.get(self.monitor.removeprefix("val/"), 0.0)):
            super().on_validation_end(trainer, pl_module)
