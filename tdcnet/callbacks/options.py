"""What a training was done with, kept in its checkpoints so that one that goes on from it otherwise is told so."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pytorch_lightning as pl

from tdcnet.callbacks.ema import EMA
from tdcnet.data.sequence import Sequence

ORDER = ("seed", "dataset.batch_size", "dataset.samples_per_epoch", "dataset.balance", "processes")
"""Those that decide which clips a batch is made of."""
DATA = (
    *("batch_size", "samples_per_epoch", "balance", "train_step", "num_frames", "stride", "align"),
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
        EVALUATED: fingerprint(data.val_dataset.sequences) if data.val_dataset is not None else "",
    }


def changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    """In words, by name, what differs of the options that both tell."""
    both = [key for key in now if key in before and key != EVALUATED]
    return {key: f"{key} {now[key]} (was {before[key]})" for key in both if now[key] != before[key]}


def fingerprint(sequences: Iterable[Sequence]) -> str:
    """Of the frames of a split and their boxes, wherever they lie."""
    digest = hashlib.sha256()
    for sequence in sequences:
        digest.update(sequence.name.encode(errors="surrogateescape") + b"\0" + sequence.indices.tobytes())
        for at in sequence.indices:
            digest.update(np.int64(len(sequence.labels[at])).tobytes() + sequence.boxes[at].tobytes())
            digest.update(sequence.labels[at].tobytes())
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
