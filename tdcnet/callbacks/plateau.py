"""Tells while it trains that a training has not begun to learn, and what to try."""

from __future__ import annotations

import logging
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from tdcnet.finite import number

log = logging.getLogger(__name__)

TRY = (
    "It may still leave this plateau; if it does not, try trainer.gradient_clip_val=10, loss=small_targets, a lower "
    "module.lr, another seed or a larger batch, and see that boxes lie on their targets (tdcnet check)"
)


class Plateau(pl.Callback):
    """Warns when the network tells targets from background hardly better than one that gives all cells one score.

    That one's objectness loss is known, see :class:`~tdcnet.losses.DetectionLoss`. Both are summed over stretches of
    ``every`` steps. The warning comes after ``steps`` steps and again each time that twice as many have passed.

    Args:
        steps: optimiser's steps before the first warning.
        every: steps of a stretch.
        share: of the loss of the best constant score, above which the network counts as not having learnt.
    """

    def __init__(self, steps: int = 300, every: int = 100, share: float = 0.8) -> None:
        number("callbacks.plateau.steps", steps, 1)
        number("callbacks.plateau.every", every, 1)
        number("callbacks.plateau.share", share, 0, above=True)
        self.every, self.share = every, share
        self.due = steps
        self.warned = False
        self._sums: Tensor | None = None
        self._last_step = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Counts from here."""
        self._sums, self._last_step = None, trainer.global_step

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Adds up, and looks at what has come together."""
        told = trainer.callback_metrics
        if "train/loss_objectness" not in told or "train/loss_constant" not in told:
            return  # a loss of one's own
        both = torch.stack([told["train/loss_objectness"], told["train/loss_constant"]]).double()
        self._sums = both if self._sums is None else self._sums + both
        if trainer.global_step < self._last_step + self.every:
            return
        self._last_step = trainer.global_step
        loss, constant = self._sums.tolist()
        self._sums = None
        if trainer.is_global_zero and constant > 0:
            self._tell(trainer.global_step, loss / constant)

    def _tell(self, step: int, share: float) -> None:
        if share <= self.share:
            if self.warned:
                log.info("step %d: the network has begun to tell targets from background", step)
            self.warned = False
        elif step >= self.due:
            log.warning(
                "step %d: the network tells targets from background hardly better than by giving all places one score "
                "(objectness loss %.0f %% of that). %s",
                step,
                100 * share,
                TRY,
            )
            self.warned = True
            while self.due <= step:
                self.due *= 2
