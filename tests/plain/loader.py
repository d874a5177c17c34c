"""The published loader, step by step: what loading is measured against.

Nothing here is clever. Each sample decodes ten PNG files, five registered frames and five as they came, makes each
three channels, letterboxes it, and stacks them as floats. A frame is decoded again for every clip that it is in. Copies
are made where the published code makes them; OpenCV decodes and resizes, which is no slower than what that code uses.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

GREY = 128


class PublishedLoader(Dataset[tuple[np.ndarray, np.ndarray]]):
    """Samples as the published code makes them.

    Args:
        clips: of each sample the files of its T registered frames and of its T frames, oldest first, and its boxes,
            float32 [N, 4] xyxy px of the stored image.
        size: height and width of the samples, px.
    """

    def __init__(self, clips: list[tuple[list[Path], list[Path], np.ndarray]], size: tuple[int, int]) -> None:
        self.clips, self.size = clips, size

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, item: int) -> tuple[np.ndarray, np.ndarray]:
        """Both clips, registered first, float32 [3, 2 T, H, W] in [0, 1], and boxes, float32 [N, 4] xyxy px of them."""
        registered, frames, boxes = self.clips[item]
        images = []
        for path in [*registered, *frames]:
            image, (left, top, scale_x, scale_y) = letterbox(colour(path), self.size)
            images.append(image.astype(np.float32))
        both = np.array(images).astype(np.float32)
        both /= 255
        boxes = boxes * [scale_x, scale_y, scale_x, scale_y] + [left, top, left, top]
        return both.transpose(3, 0, 1, 2), boxes.astype(np.float32)


def collate(samples: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, Any]:
    """``aligned`` and ``frames`` [B, 3, T, H, W], boxes as a list."""
    both = torch.from_numpy(np.array([clips for clips, _ in samples]))
    aligned, frames = both.chunk(2, dim=2)
    return {"aligned": aligned, "frames": frames, "boxes": [torch.from_numpy(boxes) for _, boxes in samples]}


def colour(path: Path) -> np.ndarray:
    """An image file as uint8 [H, W, 3]."""
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def letterbox(image: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, tuple[int, int, float, float]]:
    """An image scaled to fit, centred, padded with grey, [H, W, 3]; its left, top, and scales in x and y."""
    (h, w), (out_h, out_w) = image.shape[:2], size
    scale = min(out_w / w, out_h / h)
    new_w, new_h = int(w * scale), int(h * scale)
    left, top = (out_w - new_w) // 2, (out_h - new_h) // 2
    canvas = np.full((out_h, out_w, 3), GREY, np.uint8)
    canvas[top : top + new_h, left : left + new_w] = cv2.resize(image, (new_w, new_h), interpolation=cv2.INTER_LINEAR)
    return canvas, (left, top, new_w / w, new_h / h)
