"""A line after every validation, for terminals and log files alike."""

from __future__ import annotations

import logging

import pytorch_lightning as pl

from tdcnet.detection import DetectionModule

log = logging.getLogger(__name__)


class ReportValidation(pl.Callback):
    """Logs epoch, step, time and the main figures of each validation during training.

    The time is the training's, with that of the run that it goes on from.
    """

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Logs the line."""
        if trainer.sanity_checking or trainer.state.fn != "fit" or not trainer.is_global_zero:
            return
        assert isinstance(pl_module, DetectionModule)
        figures = pl_module.results
        loss = trainer.callback_metrics.get("loss")
        log.info(
            "epoch %d, step %d, %.1f min: loss %.2f, AP50 %.3f, Pd %s at 1 / 0.1 / 0.05 false alarms per frame",
            trainer.current_epoch + 1,
            trainer.global_step,
            pl_module.minutes,
            float("nan") if loss is None else float(loss),
            figures["AP50"],
            " / ".join(f"{figures.get(f'Pd@{b}', float('nan')):.3f}" for b in ("1", "0.1", "0.05")),
        )
