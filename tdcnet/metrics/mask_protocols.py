"""How published codes count Pd and Fa on masks, exactly, so that their tables can be compared with.

Each function takes the prediction and the target mask of one frame, [H, W] (or their :class:`Components`, where several
protocols look at the same masks), and gives :class:`MaskCounts`; sum those over frames. Pd = hits / targets, Fa = false
pixels / all pixels, over all frames together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from tdcnet.masks import Components, Mask, components

Masked = Mask | Components

MATCH_DISTANCE = 3.0
"""px between the centroids of a hit; less than this, in the codes that count by centroids."""


@dataclass(frozen=True)
class MaskCounts:
    """Targets, hit targets and false pixels of one frame or, summed, of many."""

    targets: int = 0
    hits: int = 0
    false_pixels: int = 0

    def __add__(self, other: MaskCounts) -> MaskCounts:
        return MaskCounts(self.targets + other.targets, self.hits + other.hits, self.false_pixels + other.false_pixels)


def basicirstd(prediction: Masked, target: Masked, distance: float = MATCH_DISTANCE) -> MaskCounts:
    """Components against components, in raster order.

    Each target takes the first prediction not yet taken whose centroid is less than ``distance`` px away. False pixels
    are those of predictions nobody took.

    Source: BasicIRSTD (github.com/XinyiYing/BasicIRSTD).
    """
    found, wanted = _pair(prediction, target)
    hits = _first_come(found, wanted, distance)
    return MaskCounts(len(wanted), len(hits), int(found.areas.sum() - found.areas[hits].sum()))


def dnanet(prediction: Masked, target: Masked, distance: float = MATCH_DISTANCE) -> MaskCounts:
    """As :func:`basicirstd`, but false alarms are told by area, which is a known bug: use it for old tables only.

    A prediction counts as false only if no hit prediction of the frame has its number of pixels; a false alarm as
    large as a hit vanishes.

    Source: DNANet (Li et al., IEEE TIP 2022) and the many codes that took its metric over.
    """
    found, wanted = _pair(prediction, target)
    hits = _first_come(found, wanted, distance)
    false = ~np.isin(found.areas, found.areas[hits])
    return MaskCounts(len(wanted), len(hits), int(found.areas[false].sum()))


def shooting(
    prediction: Masked, target: Masked, hit_margin: int = 1, shield_margin: int = 4, border_bug: bool = False
) -> MaskCounts:
    """Pixel by pixel: a target is hit by a positive pixel near it, and positives far from all targets are false.

    Args:
        hit_margin: a target is hit when a positive pixel lies within so many px, along both axes, of one of its own.
        shield_margin: a positive pixel is false when no target pixel lies within so many px along both axes.
        border_bug: as published: a target pixel nearer than the margin to the upper or left border has an empty
            neighbourhood (a slice from a negative index), so it is neither hit nor shields anything.

    Source: DTUM (Li et al., IEEE TNNLS 2023), DeepPro.
    """
    found, wanted = _pair(prediction, target)
    positive = found.labels > 0
    near = _dilate(positive, hit_margin)
    shape = wanted.labels.shape
    reach = wanted.labels * _inner(shape, hit_margin) if border_bug else wanted.labels
    hits = np.unique(reach[near & (reach > 0)])
    shields = (wanted.labels > 0) & _inner(shape, shield_margin) if border_bug else wanted.labels > 0
    return MaskCounts(len(wanted), len(hits), int((positive & ~_dilate(shields, shield_margin)).sum()))


def shooting_as_published(prediction: Masked, target: Masked) -> MaskCounts:
    """:func:`shooting` with its published border bug."""
    return shooting(prediction, target, border_bug=True)


MASK_PROTOCOLS: dict[str, Callable[[Masked, Masked], MaskCounts]] = {
    "basicirstd": basicirstd,
    "dnanet": dnanet,
    "shooting": shooting,
    "shooting_as_published": shooting_as_published,
}


def _pair(prediction: Masked, target: Masked) -> tuple[Components, Components]:
    found, wanted = (x if isinstance(x, Components) else components(x) for x in (prediction, target))
    if found.labels.shape != wanted.labels.shape:
        raise ValueError(
            f"the prediction is {found.labels.shape}, the target {wanted.labels.shape}; expected one shape [H, W]"
        )
    return found, wanted


def _first_come(found: Components, wanted: Components, distance: float) -> list[int]:
    """The predictions that are hits: per target, in order, the first one in order that is still free and near."""
    near = np.linalg.norm(wanted.centroids[:, None] - found.centroids[None], axis=-1) < distance
    taken: list[int] = []
    for row in near:
        free = [i for i in np.flatnonzero(row).tolist() if i not in taken]
        taken += free[:1]
    return taken


def _dilate(mask: Mask, margin: int) -> Mask:
    """All pixels within ``margin`` px, along both axes, of a pixel of the mask."""
    side = 2 * margin + 1
    return cv2.dilate(mask.astype(np.uint8), np.ones((side, side), np.uint8)) > 0


def _inner(shape: tuple[int, ...], margin: int) -> Mask:
    """All pixels but those nearer than ``margin`` to the upper or the left border."""
    inner = np.zeros(shape, np.bool_)
    inner[margin:, margin:] = True
    return inner
