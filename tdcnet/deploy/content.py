"""What a file of tensors and plain data may hold at all, looked at before anything is computed with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from tdcnet.deploy.errors import CheckpointError
from tdcnet.limits import FACTOR, bound
from tdcnet.shown import shown

MOST_ENTRIES = 1_000_000
"""Values in a checkpoint, each counted wherever it stands; the largest network here, trained, has some 10,000."""
DEEPEST = 20
"""Levels of nesting."""


def check_content(content: object, where: object) -> None:
    """Sees to it that a content is of a size that its file can hold, and made of tensors that lie in memory.

    Lists may stand in one another and in many places, and a tensor may repeat one number a million times, so that a
    small file becomes what no memory holds.

    Args:
        content: as :func:`torch.load` gave it.
        where: the file, for messages.

    Raises:
        CheckpointError: naming what is wrong.
    """
    entries, most = 0, bound(MOST_ENTRIES)
    waiting: list[tuple[Any, str, int]] = [(content, "", 0)]
    while waiting:
        value, name, depth = waiting.pop()
        entries += 1
        if entries > most or depth > DEEPEST:
            raise CheckpointError(
                f"{where} is refused: it holds more than {most:,} entries or {DEEPEST} levels of them; it is damaged, "
                f"or no file of this project. If that is right, set {FACTOR} to a factor on all bounds"
            )
        if isinstance(value, Tensor):
            _check_tensor(value, name, where)
        inside = value.items() if isinstance(value, Mapping) else ()
        if isinstance(value, list | tuple | set | frozenset):
            inside = enumerate(value)  # type: ignore[assignment]
        waiting += [(each, f"{name}.{key}" if name else str(key), depth + 1) for key, each in inside]


def _check_tensor(tensor: Tensor, name: str, where: object) -> None:
    if tensor.layout != torch.strided or tensor.device.type == "meta" or tensor.is_quantized or tensor.is_nested:
        raise CheckpointError(f"{where}: tensor {shown(name)} is of a kind that no training here has")
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise CheckpointError(
            f"{where}: tensor {shown(name)} is {tuple(tensor.shape)}, more numbers than the file holds. It is damaged, "
            "or made to fill memory"
        )
