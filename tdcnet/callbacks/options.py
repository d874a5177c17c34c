"""What a training was done with, kept in its checkpoints so that one that goes on from it otherwise is told so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl

from tdcnet.callbacks.ema import EMA

ORDER = ("seed", "dataset.batch_size", "dataset.samples_per_epoch", "dataset.balance", "processes")
"""Those that decide which clips a batch is made of."""
DATA = (
    *("batch_size", "samples_per_epoch", "balance", "train_step", "num_frames", "stride", "align", "align_by"),
    *("size", "train_size", "intensity_range"),
)
"""Options of the data set."""
EVALUATED = "evaluated"
"""Fingerprint of the validation's frames and boxes: figures of two that differ cannot be compared."""


def options_of(trainer: pl.Trainer) -> dict[str, Any]:
    """Options by name, as plain data."""
    data: Any = getattr(trainer, "datamodule", None)
    if data is None:
        return {}
    averages = [each.decay for each in trainer.callbacks if isinstance(each, EMA)]  # type: ignore[attr-defined]
    return {
        "seed": data.seed,
        "processes": trainer.world_size,
        **{f"dataset.{key}": _plain(getattr(data, key)) for key in DATA},
        "trainer.accumulate_grad_batches": trainer.accumulate_grad_batches,
        "callbacks.ema.decay": averages[0] if averages else None,
        EVALUATED: "" if data.val_dataset is None else data.val_dataset.fingerprint,
    }


def changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    """In words, by name, what differs of the options that both tell."""
    both = [key for key in now if key in before and key != EVALUATED]
    return {key: f"{key} {now[key]} (was {before[key]})" for key in both if now[key] != before[key]}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
