"""What the class of a cell that answers for a box is to become, from how well its box fits: rules, by name."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

ClassTarget = Callable[[Tensor], Tensor]
"""``similarity [M]`` from 0 to 1 -> target [M]."""


def overlap(similarity: Tensor) -> Tensor:
    """The IoU itself, so that the score tells how good the box is. Source: YOLOX (arXiv 2107.08430)."""
    return similarity


def hard(similarity: Tensor) -> Tensor:
    """One: the class is right, however the box lies. With IoU, that is 0.1 to 0.2 for small targets at first."""
    return torch.ones_like(similarity)
