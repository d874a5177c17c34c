"""Targets of other clips put into a clip: moving ones as targets, standing ones as what must not be taken for one.

A few recordings show few backgrounds, and each target on one of them only. What is pasted is the target's difference to
its own surroundings, added to the new ones and fading out at its edge.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from tdcnet.data.transforms import Image, full_scale, scale_half

MARGIN = 0.3
"""How far beyond the box, as a fraction of its sides, the surroundings that are cut out with it reach."""
LEAST_MOTION = 2.0
"""px over a clip; what moves by less would be both a target and a decoy."""
CLEAR = 4.0
"""Least height of a target over the deviation of what is round it."""
TRIES = 8

Points = NDArray[np.float64]


def track(boxes: Sequence[NDArray[np.float32]], which: int) -> NDArray[np.float64] | None:
    """The box of one target on every frame of a clip, [T, 4] xyxy px: the nearest one, from the newest frame back.

    Args:
        boxes: per frame [N, 4], oldest first.
        which: the target's number on the newest frame.

    Returns:
        None if a frame has no box.
    """
    found = [boxes[-1][which].astype(np.float64)]
    for frame in reversed(boxes[:-1]):
        if not len(frame):
            return None
        distance = np.abs(_centre(frame.astype(np.float64)) - _centre(found[-1])).sum(axis=1)
        found.append(frame[int(distance.argmin())].astype(np.float64))
    return np.stack(found[::-1])


def moves(boxes: NDArray[np.float64]) -> bool:
    """Whether a tracked target [T, 4] moves enough to be told from what stands still."""
    centres = _centre(boxes)
    return bool(np.linalg.norm(centres - centres[-1], axis=1).max() >= LEAST_MOTION)


def cut(images: Sequence[Image], boxes: NDArray[np.float64]) -> tuple[list[NDArray[np.float32]], Points] | None:
    """What a target adds to its surroundings on each frame, and where it is.

    The surroundings are taken as a plane through the patch's edge.

    Args:
        images: T frames [H, W].
        boxes: [T, 4] xyxy px.

    Returns:
        T patches of one size and their upper left px (x, y), [T, 2]. None if a patch would leave its image, or if the
        target does not stand out clearly from what is round it: that would be pasted, too.
    """
    sides = (boxes[:, 2:] - boxes[:, :2]).max(axis=0)
    width, height = (int(np.ceil(side * (1 + 2 * MARGIN))) + 2 for side in sides)
    corners = np.round(_centre(boxes) - np.array([width, height]) / 2).astype(int)
    y, x = np.mgrid[:height, :width].reshape(2, -1).astype(np.float64)
    plane = np.stack([np.ones_like(x), x, y], axis=1)
    edge = (np.minimum(x, width - 1 - x) < 2) | (np.minimum(y, height - 1 - y) < 2)
    fit = plane @ np.linalg.pinv(plane[edge])
    radius = np.hypot((x + 0.5) / width * 2 - 1, (y + 0.5) / height * 2 - 1)
    fade = ((1 - radius) / 0.3).clip(0, 1)
    patches = []
    for image, (left, top) in zip(images, corners.tolist(), strict=True):
        if left < 0 or top < 0 or left + width > image.shape[1] or top + height > image.shape[0]:
            return None
        patch = image[top : top + height, left : left + width].astype(np.float64).ravel()
        rest = patch - fit @ patch[edge]
        if np.abs(rest * fade).max() < max(CLEAR * rest[edge].std(), 8 * full_scale(image) / 255):
            return None
        patches.append((rest * fade).reshape(height, width).astype(np.float32))
    return patches, corners.astype(np.float64)


def changed(
    patches: Sequence[NDArray[np.float32]],
    corners: Points,
    boxes: NDArray[np.float64],
    scale: float,
    gain: float,
    margin: float = 0.0,
) -> tuple[list[NDArray[np.float32]], Points, NDArray[np.float64]]:
    """A target made smaller or larger round its centre, and dimmer or brighter.

    Args:
        patches: T of one size, and their upper left px ``corners`` [T, 2], as :func:`cut` gives them.
        boxes: [T, 4] xyxy px.
        scale: factor on its sides.
        gain: factor on its contrast.
        margin: the part of the boxes, px from each edge, that stays; see :class:`~tdcnet.data.augment.Augment`.

    Returns:
        the same three anew. A patch has whole pixels: by how much that changes the factor, the boxes follow.
    """
    height, width = patches[0].shape
    new = max(1, round(width * scale)), max(1, round(height * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    resized = [gain * cv2.resize(patch, new, interpolation=how) for patch in patches]
    middle = corners + np.array([width, height]) / 2
    factor = np.array(new) / (width, height)
    moved = np.round(middle - np.array(new) / 2)
    centre = moved + np.array(new) / 2 + (_centre(boxes) - middle) * factor
    half = scale_half((boxes[:, 2:] - boxes[:, :2]) / 2, factor, margin)
    return resized, moved, np.concatenate([centre - half, centre + half], axis=1)


def stands_out(image: Image, patch: NDArray[np.float32], corner: NDArray[np.float64]) -> bool:
    """Whether a patch added there would be seen: not lost in a saturated or a rough place."""
    left, top = np.round(corner).astype(int).tolist()
    there = image[max(0, top) : top + patch.shape[0], max(0, left) : left + patch.shape[1]].astype(np.float32)
    if there.shape != patch.shape:
        return False
    change = np.abs((there + patch).clip(0, full_scale(image)) - there).max()
    return bool(change >= 0.7 * np.abs(patch).max() and change >= 2 * there.std())


def add(images: list[Image], patches: Sequence[NDArray[np.float32]], corners: Points) -> None:
    """Adds a patch to each frame, in place, its upper left px at the corner (x, y); what lies outside is cut off."""
    for image, patch, (x, y) in zip(images, patches, np.round(corners).astype(int).tolist(), strict=True):
        height, width = image.shape
        left, top = max(0, x), max(0, y)
        right, bottom = min(width, x + patch.shape[1]), min(height, y + patch.shape[0])
        if right <= left or bottom <= top:
            continue
        part = patch[top - y : bottom - y, left - x : right - x]
        changed = (image[top:bottom, left:right] + part).clip(0, full_scale(image))
        image[top:bottom, left:right] = changed.round() if np.issubdtype(image.dtype, np.integer) else changed


def visible(
    matrix: NDArray[np.float64], size: tuple[int, int], original_size: tuple[int, ...]
) -> tuple[float, float, float, float]:
    """The part of the stored image (height, width) that a sample of ``size`` shows, xyxy px; see ``transforms.py``."""
    ends = np.linalg.inv(matrix) @ np.array([[0, size[1]], [0, size[0]], [1, 1]], np.float64)
    (x1, x2), (y1, y2) = np.sort(ends[:2], axis=1)
    return max(x1, 0.0), max(y1, 0.0), min(x2, float(original_size[1])), min(y2, float(original_size[0]))


def seen_by_camera(path: Points, homographies: NDArray[np.float32] | None) -> Points:
    """Where a path [T, 2] in the newest frame's coordinates lies on each frame, the camera's motion considered."""
    if homographies is None:
        return path
    back = np.linalg.inv(homographies.astype(np.float64))
    points = np.einsum("tij,tj->ti", back, np.concatenate([path, np.ones((len(path), 1))], axis=1))
    seen: Points = points[:, :2] / points[:, 2:]
    return seen


def place(
    shape: tuple[int, ...],
    region: tuple[float, float, float, float],
    taken: NDArray[np.float64],
    rng: np.random.Generator,
) -> Points | None:
    """A random centre (x, y) for a patch of ``shape`` (height, width) in ``region`` (xyxy px), clear of other boxes.

    None if there is no room.
    """
    x1, y1, x2, y2 = region
    size = np.array(shape[::-1], np.float64)
    low = np.array([x1, y1]) + size / 2
    high = np.array([x2, y2]) - size / 2
    if (high <= low).any():
        return None
    for _ in range(TRIES):
        centre = rng.uniform(low, high)
        reach = (size + taken[:, 2:] - taken[:, :2]) / 2
        if not (np.abs(_centre(taken) - centre) < reach).all(axis=1).any():
            return centre
    return None


def _centre(boxes: NDArray[np.float64]) -> Points:
    centre: Points = (boxes[..., :2] + boxes[..., 2:]) / 2
    return centre
