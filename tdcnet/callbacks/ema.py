"""Exponential moving average of the weights."""

from __future__ import annotations

import math
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from tdcnet.detection import DetectionModule


class EMA(pl.Callback):
    """Averages weights and running statistics while training; validation and evaluation use the average.

    After update n the decay is ``decay * (1 - exp(-n / ramp))``, so that the start is forgotten quickly. Only floating
    point tensors are averaged. A checkpoint holds the trained weights as usual and the average under ``"ema"``.

    (Lightning's own WeightAveraging also averages integer buffers such as ``num_batches_tracked``.)

    Args:
        decay: 0.9999 as published.
        ramp: updates; 2000 as published.

    Source: YOLOX (arXiv 2107.08430), as in the released code of TDCNet.
    """

    def __init__(self, decay: float = 0.9999, ramp: float = 2000) -> None:
        if not 0 <= decay < 1 or ramp <= 0:
            raise ValueError(f"decay is {decay}, ramp {ramp}; expected 0 <= decay < 1 and ramp > 0")
        self.decay, self.ramp = decay, ramp
        self.updates = 0
        self.average: dict[str, Tensor] = {}
        self._trained: dict[str, Tensor] = {}
        self._last_step = 0

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Starts from the present weights, or goes on with those of a checkpoint."""
        device = pl_module.device
        source = self.average or _floats(pl_module)
        self.average = {name: value.detach().clone().to(device) for name, value in source.items()}
        self._last_step = trainer.global_step

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Counts steps from here; of a run that is resumed, Lightning knows their number by now only."""
        self._last_step = trainer.global_step

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """One update per optimiser step."""
        if trainer.global_step == self._last_step:
            return
        self._last_step = trainer.global_step
        self.updates += 1
        weight = 1 - self.decay * (1 - math.exp(-self.updates / self.ramp))
        current = _floats(pl_module)
        torch._foreach_lerp_([self.average[n] for n in current], list(current.values()), weight)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Puts the average in place of the trained weights."""
        if trainer.state.fn == "fit" and self.average:
            self._trained = {name: value.detach().clone() for name, value in _floats(pl_module).items()}
            _fill(pl_module, self.average)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Puts the trained weights back."""
        if self._trained:
            _fill(pl_module, self._trained)
            self._trained = {}

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Puts the trained weights back if validation broke off."""
        self.on_validation_end(trainer, pl_module)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Adds the average, and makes sure that ``state_dict`` holds the trained weights even during validation."""
        if self.average:
            checkpoint["ema"] = {
                "average": {n: v.detach().clone() for n, v in self.average.items()},
                "updates": self.updates,
            }
            checkpoint["state_dict"].update({f"model.{n}": v for n, v in self._trained.items()})

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Goes on with a checkpoint's average."""
        if "ema" in checkpoint:
            self.average = dict(checkpoint["ema"]["average"])
            self.updates = int(checkpoint["ema"]["updates"])


def _floats(module: pl.LightningModule) -> dict[str, Tensor]:
    assert isinstance(module, DetectionModule)
    return {n: v for n, v in module.model.state_dict().items() if v.is_floating_point()}


@torch.no_grad()
def _fill(module: pl.LightningModule, values: dict[str, Tensor]) -> None:
    for name, tensor in _floats(module).items():
        tensor.copy_(values[name])
