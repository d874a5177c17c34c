"""A clip as the network sees it: what training, evaluation and prediction have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdcnet.data.transforms import GREY, Image, Matrix, content_rect, fill_outside, warp_clip

Register = Callable[[NDArray[Any], NDArray[Any]], NDArray[np.float32]]
"""``register(frame, newest)`` gives the homography [3, 3] frame -> newest in pixel-centre coordinates."""
Range = tuple[float, float]


def check_range(intensity_range: Sequence[float] | None) -> None:
    """Sees to it that the values that become 0 and 1 are two, the second the larger one; None is none.

    Raises:
        ValueError: if they are not.
    """
    if intensity_range is None:
        return
    if len(intensity_range) != 2:
        raise ValueError(f"intensity_range is {list(intensity_range)}; expected two values, such as [20000,30000]")
    low, high = intensity_range
    if not -1e9 < low < high < 1e9:
        raise ValueError(f"intensity_range is {low}, {high}; the second value must be the larger one")


def register_clip(images: Sequence[Image], register: Register) -> NDArray[np.float32]:
    """Homographies [T, 3, 3] of each frame onto the newest, the last one; an array that comes twice is registered once.

    Args:
        images: T grey images [H, W], oldest first.
        register: of one frame onto another.
    """
    found = {id(images[-1]): np.eye(3, dtype=np.float32)}
    for image in images:
        if id(image) not in found:
            found[id(image)] = register(image, images[-1])
    return np.stack([found[id(image)] for image in images])


def view(
    images: Sequence[Image], matrix: Matrix, size: tuple[int, int], homographies: NDArray[np.floating] | None = None
) -> tuple[Image, Image]:
    """A clip's frames and the same registered onto the newest, [T, H, W] each, of the images' type.

    Where nothing moved (or ``homographies`` is None) both are one array: half the bytes to hand over.

    Args:
        images: T grey images [H0, W0] as stored, oldest first.
        matrix: float64 [3, 3], stored image -> network input, edge coordinates.
        size: height and width of the network input, px.
        homographies: [T, 3, 3], each frame -> newest, pixel-centre coordinates.
    """
    frames = warp_clip(images, matrix, size)
    if homographies is None or not (homographies != np.eye(3)).any():
        return frames, frames
    return frames, warp_clip(images, matrix, size, homographies, warped=frames)


def to_unit(clip: Image, intensity_range: Range) -> NDArray[np.float32]:
    """A clip of 16-bit values as float32 in [0, 1]; values beyond the range are 0 or 1."""
    low, high = intensity_range
    values = (clip.astype(np.float32) - np.float32(low)) / np.float32(high - low)
    return np.clip(values, 0, 1, out=values)


def pad_grey(clip: Image, original_size: tuple[int, int], matrix: Matrix, size: tuple[int, int]) -> None:
    """Makes what is not on the stored image grey, in place."""
    grey = GREY if clip.dtype == np.uint8 else GREY / 255
    fill_outside(clip, content_rect(original_size, matrix, size), grey)
