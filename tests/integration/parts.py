"""Parts for tests that configs name: a reader of two classes, and a logger without its package."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tdcnet.data.formats import irstd_uav
from tdcnet.data.sequence import Sequence


def read(*arguments: Any, **options: Any) -> list[Sequence]:
    found = irstd_uav.read(*arguments, **options)
    return [
        replace(s, labels=[np.full(len(each), int(s.name) % 2) for each in s.labels], classes=("drone", "bird"))
        for s in found
    ]


def absent_logger(**_: Any) -> None:
    """Stands for a logger whose package is not installed."""
    raise ModuleNotFoundError("Requirement 'wandb>=0.12.10' not met")


def broken_logger(**_: Any) -> None:
    """Stands for one with a fault of its own."""
    raise ZeroDivisionError("division by zero")
