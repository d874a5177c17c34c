"""How frames of any size are shown to a network of one: fitted in, or in tiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tdcnet.data.transforms import Matrix, letterbox_matrix, undo_letterbox
from tdcnet.inference.tiles import OVERLAP, Detections, merge, tiles_of

Tiling = bool | Literal["auto"]
ALIKE = 0.02
"""Up to this share of it another scale is the same."""


@dataclass(frozen=True)
class Layout:
    """How frames of one size are shown to the network: as a whole, or in tiles.

    Attributes:
        matrices: stored frame -> input of each view, float64 [3, 3], edge coordinates.
        gather: detections of the views, in px of the input -> those of the frame.
    """

    matrices: list[Matrix]
    gather: Callable[[Sequence[Detections]], Detections]


def layout_of(
    frame: tuple[int, int],
    size: tuple[int, int],
    tile: Tiling = "auto",
    scale: float = 1.0,
    nms_iou: float = 0.5,
    max_detections: int = 100,
) -> Layout:
    """How frames are shown to a network.

    Args:
        frame: height and width of the stored frames, px.
        size: of the network's input.
        tile: ``"auto"`` fits frames into the input that are of about ``scale`` there, and shows others at that scale,
            in overlapping tiles if need be; True does so with all, False with none.
        scale: px of the input for a px of a frame.
        nms_iou, max_detections: of what tiles give, as :func:`~tdcnet.inference.tiles.merge` takes them.
    """
    h, w = frame
    scaled = max(1, round(h * scale)), max(1, round(w * scale))
    fitted = min(size[0] / h, size[1] / w)
    if tile is False or (tile == "auto" and abs(fitted / scale - 1) < ALIKE):
        return Layout(
            [letterbox_matrix(frame, size)],
            lambda found: found[0] | {"boxes": undo_letterbox(found[0]["boxes"], frame, size)},
        )
    tiles = tiles_of(scaled, size, min(OVERLAP, min(size) // 2))
    factor = np.array([scaled[1] / w, scaled[0] / h])
    resize = np.diag([*factor, 1.0])

    def gather(found: Sequence[Detections]) -> Detections:
        whole = merge(found, tiles, nms_iou, max_detections)
        boxes = whole["boxes"] / whole["boxes"].new_tensor([*factor, *factor])
        limit = boxes.new_tensor([w, h, w, h])
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        shown = ((centres >= 0) & (centres < limit[:2])).all(1)  # not on the padding of a frame smaller than a tile
        whole["boxes"] = boxes.clamp(min=limit.new_zeros(4), max=limit)
        return {key: value[shown] for key, value in whole.items()}

    return Layout([np.asarray(each.matrix @ resize) for each in tiles], gather)
