"""The box of a COCO annotation: as told, or else round its polygons or its run-length mask."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tdcnet.data.formats.common import number, whole
from tdcnet.shown import shown


def box_of(annotation: dict[str, Any]) -> list[float] | str:
    """``x1, y1, x2, y2`` in px of an annotation, or what is wrong with it."""
    box, shape = annotation.get("bbox"), annotation.get("segmentation")
    if box is None or box == []:
        if not shape:
            return "has neither a bbox [x, y, width, height] in px nor a segmentation"
        found = of_mask(shape) if isinstance(shape, dict) else of_polygons(shape)
        if found is None:
            return f"has no bbox, and no box can be told from its segmentation {shown(shape)}"
        return found
    given = [number(value) for value in box] if isinstance(box, list) else []
    values = [value for value in given if value is not None]
    if not len(given) == len(values) == 4:
        return f"bbox is {shown(box)}, expected [x, y, width, height] in px"
    x, y, width, height = values
    return [x, y, x + width, y + height]


def in_corners(
    annotations: list[dict[str, Any]], sizes: dict[Any, tuple[int, int]], to_id: Callable[[object], Any]
) -> object | None:
    """A box that tells that all are ``x1, y1, x2, y2``; None if they are not. One box alone may be large.

    As corners all must lie in their images, and of one the size beyond the image, or of each its ``area``, tells that
    it is none of ``x, y, width, height``.

    Args:
        annotations: of the file.
        sizes: height and width in px by image id.
        to_id: takes an ``image_id`` to such an id.
    """
    outside, by_area, boxes = None, 0, 0
    for annotation in annotations:
        box, area = annotation.get("bbox"), number(annotation.get("area"))
        values = [value for given in box if (value := number(given)) is not None] if isinstance(box, list) else []
        if len(values) != 4 or annotation.get("iscrowd"):
            continue
        x, y, right, bottom = values
        height, width = sizes.get(to_id(annotation.get("image_id")), (math.inf, math.inf))
        if not (x < right <= width + 1 and y < bottom <= height + 1):
            return None
        boxes += 1
        if x + right > width + 1 or y + bottom > height + 1:
            outside = outside or box
        as_corners, as_sides = (right - x) * (bottom - y), right * bottom
        by_area += area is not None and abs(as_corners - area) <= 0.01 * area < 0.1 * abs(as_sides - area)
    told = outside or (annotations[0].get("bbox") if boxes and by_area == boxes else None)
    return told if boxes >= 3 else None


def of_polygons(polygons: object) -> list[float] | None:
    """Box round ``[[x, y, x, y, ..], ..]``, or one polygon alone; None if that is not what it is."""
    if not isinstance(polygons, list) or not polygons:
        return None
    each = polygons if isinstance(polygons[0], list) else [polygons]
    xs: list[float] = []
    ys: list[float] = []
    for polygon in each:
        flat = polygon if isinstance(polygon, list) else []
        if flat and all(isinstance(point, list) and len(point) == 2 for point in flat):
            flat = [value for point in flat for value in point]
        values = [value for given in flat if (value := number(given)) is not None]
        if len(values) < 6 or len(values) % 2 or len(values) != len(flat):
            return None
        xs += values[::2]
        ys += values[1::2]
    return [min(xs), min(ys), max(xs), max(ys)]


def of_mask(mask: dict[str, Any]) -> list[float] | None:
    """Box round the pixels of ``{"size": [height, width], "counts": ..}``, runs of 0 and 1 by turns down the columns.

    The runs are a list, or COCO's compressed text. None if they are of no such kind, do not fit the size, or are empty.
    """
    size, counts = mask.get("size"), mask.get("counts")
    sides = [side for given in size if (side := whole(given)) is not None] if isinstance(size, list) else []
    if len(sides) != 2 or not all(0 < side <= 1 << 20 for side in sides):
        return None
    if isinstance(counts, str):
        runs = _decompress(counts)
    else:
        runs = [run for given in counts if (run := whole(given)) is not None] if isinstance(counts, list) else None
        runs = runs if runs is not None and len(runs) == len(counts) else None  # type: ignore[arg-type]
    height, width = sides
    if not runs or min(runs) < 0 or sum(runs) != height * width:
        return None
    xs: list[int] = []
    ys: list[int] = []
    at = 0
    for turn, run in enumerate(runs):
        if turn % 2 and run:
            first, last = at, at + run - 1
            xs += [first // height, last // height]
            # A run that goes on into the next column reaches from its bottom to its top.
            ys += [first % height, last % height] if xs[-1] == xs[-2] else [0, height - 1]
        at += run
    return [min(xs), min(ys), max(xs) + 1, max(ys) + 1] if xs else None


def _decompress(text: str) -> list[int] | None:
    """Runs from COCO's text: 5 bits a letter, low ones first, a sixth if more follow; later ones are differences."""
    runs: list[int] = []
    value = shift = 0
    for letter in text:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > 60:
            return None
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (1 << shift) if bits & 16 else 0
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return None if shift else runs
