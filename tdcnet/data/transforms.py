"""Geometry of one sample: one 3x3 matrix from the stored image to the network input, and what follows it.

A matrix maps *edge* coordinates, in which pixel i covers [i, i + 1), so that boxes transform without offsets. It holds
scale, mirror and translation only; letterbox, crop, flip and jitter are all of this kind. Homographies between frames
are in *pixel-centre* coordinates (OpenCV's), in which pixel i is at i.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # what works on data alone starts without it
    import torch

Matrix = NDArray[np.float64]
Image = NDArray[Any]
Rect = tuple[int, int, int, int]

GREY = 128
_TO_EDGE = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5], [0.0, 0.0, 1.0]])
_TO_CENTRE = np.array([[1.0, 0.0, -0.5], [0.0, 1.0, -0.5], [0.0, 0.0, 1.0]])
_INVERSE_LINEAR = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP


def full_scale(image: NDArray[Any]) -> float:
    """The value of white: the largest of an integer type, 1 of a float."""
    return float(np.iinfo(image.dtype).max) if image.dtype.kind in "ui" else 1.0


def letterbox_matrix(original_size: tuple[int, int], size: tuple[int, int]) -> Matrix:
    """Scales an image to fit and centres it, as published (TDCNET.md, Input).

    The scaled image has ``int(side * scale)`` px per side and starts at a whole px, so the two axes' scales may differ
    by less than one px over the side.

    Args:
        original_size: height and width of the stored image, px.
        size: height and width of the network input, px.

    Returns:
        float64 [3, 3], edge coordinates.
    """
    (h, w), (out_h, out_w) = original_size, size
    scale = min(out_w / w, out_h / h)
    new_w, new_h = max(1, int(w * scale)), max(1, int(h * scale))
    left, top = (out_w - new_w) // 2, (out_h - new_h) // 2
    return np.array([[new_w / w, 0.0, left], [0.0, new_h / h, top], [0.0, 0.0, 1.0]])


def transform_boxes(boxes: NDArray[np.float32], matrix: Matrix) -> NDArray[np.float32]:
    """Boxes under a matrix of scale, mirror and translation.

    Args:
        boxes: float32 [N, 4], ``x1, y1, x2, y2`` px of the stored image.
        matrix: float64 [3, 3], edge coordinates.

    Returns:
        float32 [N, 4], upper left corner first whatever the mirror; not clipped.
    """
    corners = boxes.reshape(-1, 2, 2) * np.diag(matrix)[:2] + matrix[:2, 2]
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1).astype(np.float32)


def scale_half(half: NDArray[np.floating], factor: NDArray[np.float64], margin: float) -> NDArray[np.float64]:
    """Half the sides of boxes round targets that are shown larger or smaller.

    Args:
        half: [N, 2], half the width and the height, px.
        factor: [2], on what is shown, in x and y.
        margin: px; so far the boxes reach beyond what is seen of a target, and that does not grow with it.

    Returns:
        float64 [N, 2].
    """
    scaled: NDArray[np.float64] = np.maximum(half - margin, 0) * factor + np.minimum(half, margin)
    return scaled


def clip_boxes(boxes: NDArray[np.float32], size: tuple[int, int], min_side: float = 1.0) -> NDArray[np.float32]:
    """Boxes cut at the border of an image, no side shorter than ``min_side`` px.

    A side that would be shorter is widened round its middle and moved inside: a target of one pixel is still a target.

    Args:
        boxes: float32 [N, 4], xyxy px.
        size: height and width of the image, px.
        min_side: px.

    Returns:
        float32 [N, 4].
    """
    limit = np.array([size[1], size[0]], np.float64)
    low, high = np.clip(boxes[:, :2], 0, limit), np.clip(boxes[:, 2:], 0, limit)
    side = np.maximum(high - low, min_side)
    low = np.clip((low + high - side) / 2, 0, limit - side)
    return np.concatenate([low, low + side], axis=1).astype(np.float32)


def undo_letterbox(boxes: torch.Tensor, original_size: tuple[int, int], size: tuple[int, int]) -> torch.Tensor:
    """Detections on a letterboxed input, in px of the stored image.

    Args:
        boxes: [N, 4], xyxy px of the network input.
        original_size: height and width of the stored image, px.
        size: height and width of the network input, px.

    Returns:
        [N, 4], same dtype and device, clipped to the stored image.
    """
    h, w = (int(side) for side in original_size)
    matrix = letterbox_matrix((h, w), size)
    scale = boxes.new_tensor([matrix[0, 0], matrix[1, 1]] * 2)
    start = boxes.new_tensor([matrix[0, 2], matrix[1, 2]] * 2)
    return ((boxes - start) / scale).clamp(min=boxes.new_zeros(4), max=boxes.new_tensor([w, h, w, h]))


def content_rect(original_size: tuple[int, int], matrix: Matrix, size: tuple[int, int]) -> Rect:
    """Where the input shows the image and not padding: the px whose centre falls on it.

    Returns:
        ``x1, y1, x2, y2`` px of the network input, exclusive right and lower edge; empty if the image is out of view.
    """
    spans = []
    for axis, length in ((0, original_size[1]), (1, original_size[0])):
        ends = (matrix[axis, 2], matrix[axis, 2] + matrix[axis, axis] * length)
        limit = size[1 - axis]
        start = min(max(math.ceil(min(ends) - 0.5), 0), limit)
        spans.append((start, max(start, min(math.ceil(max(ends) - 0.5), limit))))
    return spans[0][0], spans[1][0], spans[0][1], spans[1][1]


def fill_outside(clip: Image, rect: Rect, value: float) -> None:
    """Sets all pixels of ``clip`` [T, H, W] outside ``rect`` to ``value``, in place."""
    x1, y1, x2, y2 = rect
    clip[:, :y1] = value
    clip[:, y2:] = value
    clip[:, y1:y2, :x1] = value
    clip[:, y1:y2, x2:] = value


def warp_clip(
    frames: Sequence[Image],
    matrix: Matrix,
    size: tuple[int, int],
    homographies: NDArray[np.floating] | None = None,
    fill: float = GREY,
    warped: Image | None = None,
) -> Image:
    """A clip as the network sees it, each frame in one bilinear warp from the stored image.

    With homographies each frame is registered onto the newest. Where a registered frame has no pixel the newest
    frame's stands, so that the difference between them is zero there and shows no edge.

    Args:
        frames: T grey images [H0, W0] of one size and dtype, oldest first; the same array may occur several times.
        matrix: float64 [3, 3], stored image -> network input, edge coordinates; scale, mirror and translation.
        size: height and width of the network input, px.
        homographies: [T, 3, 3], each frame -> newest frame, pixel-centre coordinates; None leaves frames as they are.
        fill: grey level of the padding.
        warped: what this function gave for the same clip without homographies, to save doing it again.

    Returns:
        [T, H, W] of the frames' dtype.
    """
    original_size = frames[-1].shape[0], frames[-1].shape[1]
    x1, y1, x2, y2 = rect = content_rect(original_size, matrix, size)
    out = np.empty((len(frames), *size), frames[-1].dtype)
    fill_outside(out, rect, fill)
    if x2 <= x1 or y2 <= y1:
        return out
    content = out[:, y1:y2, x1:x2]
    if homographies is None:
        warp = _warper(matrix, original_size, rect)
        done: dict[int, int] = {}
        for t, frame in enumerate(frames):
            first = done.setdefault(id(frame), t)
            if first == t:
                warp(frame, content[t])
            else:
                content[t] = content[first]
        return out

    if warped is None:
        warped = warp_clip(frames, matrix, size, fill=fill)
    offset = np.array([[1.0, 0.0, x1], [0.0, 1.0, y1], [0.0, 0.0, 1.0]])
    inverses = np.linalg.inv(_TO_CENTRE @ matrix @ _TO_EDGE @ homographies.astype(np.float64)) @ offset
    still = (homographies == _IDENTITY).all(axis=(1, 2))
    for t, frame in enumerate(frames):
        if still[t] or frame is frames[-1]:
            content[t] = warped[t, y1:y2, x1:x2]
            continue
        content[t] = warped[-1, y1:y2, x1:x2]
        cv2.warpPerspective(frame, inverses[t], (x2 - x1, y2 - y1), content[t], _INVERSE_LINEAR, cv2.BORDER_TRANSPARENT)
    return out


_IDENTITY = np.eye(3)


def _warper(matrix: Matrix, original_size: tuple[int, int], rect: Rect) -> Callable[[Image, Image], None]:
    """The cheapest exact way to fill ``rect`` of the network input: ``warp(frame, view of the input)``."""
    x1, y1, x2, y2 = rect
    columns, rows = _Axis(matrix, 0, original_size[1], x1, x2), _Axis(matrix, 1, original_size[0], y1, y2)
    if columns.is_slice and rows.is_slice:
        window = rows.slice(), columns.slice()

        def cut(frame: Image, out: Image) -> None:
            out[:] = frame[window]

        return cut

    if columns.window is not None and rows.window is not None:
        part = rows.window, columns.window
        order = slice(None, None, rows.sign), slice(None, None, columns.sign)

        def resize(frame: Image, out: Image) -> None:
            out[:] = cv2.resize(frame[part], (x2 - x1, y2 - y1), interpolation=cv2.INTER_LINEAR)[order]

        return resize

    inverse = np.array([[columns.step, 0.0, columns.first], [0.0, rows.step, rows.first]])
    # Replicating the border costs twice the time and matters only where the border is in view.
    border = cv2.BORDER_TRANSPARENT if columns.is_inside and rows.is_inside else cv2.BORDER_REPLICATE

    def warp(frame: Image, out: Image) -> None:
        cv2.warpAffine(frame, inverse, (x2 - x1, y2 - y1), out, _INVERSE_LINEAR, border)

    return warp


class _Axis:
    """One axis of a warp from ``length`` stored px to the px ``start`` .. ``end - 1`` of the input."""

    def __init__(self, matrix: Matrix, axis: int, length: int, start: int, end: int) -> None:
        scale = float(matrix[axis, axis])
        self.count = end - start
        # Edge coordinate of the stored image's first edge, relative to start.
        self.shift = float(matrix[axis, 2]) - start
        self.sign = 1 if scale > 0 else -1
        # Stored position, by pixel centres, of input px start, and what one more px adds.
        self.step = 1 / scale
        self.first = (0.5 - self.shift) * self.step - 0.5
        ends = self.first, self.first + self.step * (self.count - 1)
        self.is_slice = abs(scale) == 1 and self.shift.is_integer()
        self.window = self._window(length)
        self.is_inside = min(ends) >= 0 and max(ends) <= length - 1

    def _window(self, length: int) -> slice | None:
        """The stored px that the input px show, if resizing them gives what a warp gives, only several times as fast.

        Resizing does not look beyond the window, and need not unless it enlarges a part of the image.
        """
        edges = sorted((-self.shift * self.step, (self.count - self.shift) * self.step))
        low, high = round(edges[0]), round(edges[1])
        exact = abs(edges[0] - low) < 1e-6 and abs(edges[1] - high) < 1e-6 and 0 <= low < high <= length
        return slice(low, high) if exact and ((low, high) == (0, length) or abs(self.step) >= 1) else None

    def slice(self) -> slice:
        first = round(self.first)
        stop = first + self.sign * self.count
        return slice(first, stop if stop >= 0 else None, self.sign)
