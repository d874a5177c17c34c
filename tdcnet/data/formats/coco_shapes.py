"""The box of a COCO annotation: as told, or else round its polygons or its run-length mask."""

from __future__ import annotations

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
