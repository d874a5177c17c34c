"""Optimiser's parameter groups and the learning rate's course."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

MakeOptimizer = Callable[..., Optimizer]


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """All trainable parameters in two groups: kernels and matrices with weight decay, the rest without.

    Norms, biases and the relative position bias tables do not decay. Source: TDCNet's released code decays convolution
    weights only (but left the tables out of training altogether; here they are trained).
    """
    decayed: list[Tensor] = []
    free: list[Tensor] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            (decayed if parameter.dim() > 1 and not name.endswith("bias.table") else free).append(parameter)
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def warmup_cosine(progress: float, warmup: float, final: float) -> float:
    """Factor on the learning rate: up from 0 to 1 during ``warmup``, then half a cosine down to ``final``.

    Args:
        progress: share of the training that is done, from 0 to 1.
        warmup: share of the training that is warm-up; the rise is quadratic, as published.
        final: factor at the end.
    """
    if progress < warmup:
        return (progress / warmup) ** 2
    rest = min(1.0, (progress - warmup) / max(1e-9, 1 - warmup))
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * rest))
