"""Which cells count as inside a box: rules for SimOTA, by name.

A rule takes the offsets of cells from a box's centre, ``[..., A, 2]`` in px and not below 0, the box's width and height
``[..., 1, 2]`` in px and the cells' distance in px, and gives bool ``[..., A]``.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

Inside = Callable[[Tensor, Tensor, int], Tensor]


def in_box(offset: Tensor, size: Tensor, stride: int) -> Tensor:
    """Cells whose centre lies in the box. Source: YOLOX (arXiv 2107.08430).

    In a box of 4 px there is none in three of four cases, at a stride of 8.
    """
    return (offset < size / 2).all(-1)


def in_box_or_cell(offset: Tensor, size: Tensor, stride: int, least: float = 1.0) -> Tensor:
    """The same, with boxes counted as ``least`` strides wide and high where they are smaller.

    At 1 that is the cell that the box's centre lies in: a box of any size has one. This project's own rule; others let
    the least candidate be of one or two strides, too (STAL, in YOLO26).
    """
    return (offset <= (size / 2).clamp(min=least * stride / 2)).all(-1)
