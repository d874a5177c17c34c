"""What the pages of a TIFF file are by its description: frames one after the other, or channels and planes as well."""

from __future__ import annotations

import math
import re

REMEDY = (
    "Save one channel and plane as a stack with a page per frame (in ImageJ Image > Color > Split Channels, or "
    "Image > Stacks > Tools > Make Substack)"
)
_NAMES = {"C": "channels", "Z": "planes", "T": "times"}


def images_of_imagej(description: bytes) -> int:
    """How many images ImageJ says there are; 1 if it does not."""
    return _number(description, b"images") if description.startswith(b"ImageJ=") else 1


def check_axes(description: bytes, pages: int, samples: int) -> None:
    """Sees to it that pages follow each other along one axis.

    That one is taken for time whatever it is called: ImageJ calls frames slices unless told otherwise, and tifffile
    channels. A file with no more pages than its longest axis is one of several in which the rest lies.

    Args:
        description: of the first page.
        pages: in the file.
        samples: of a pixel; OME counts red, green and blue as channels.

    Raises:
        ValueError: if there are two axes, such as channels and times, by ImageJ, OME or tifffile.
    """
    if pages < 2:
        return
    if description.startswith(b"ImageJ="):
        keys = {"C": b"channels", "Z": b"slices", "T": b"frames"}
        _check({axis: _number(description, key) for axis, key in keys.items()}, pages)
    elif re.match(rb"\s*(?:\xef\xbb\xbf)?\s*<(?:\?xml|!--|OME|ome)", description):
        _check_ome(description, pages, samples)
    elif (shape := re.match(rb'\s*\{.*?"shape": *\[([\d, ]+)\]', description, re.DOTALL)) is not None:
        _check_shape([int(n) for n in re.findall(rb"\d{1,9}", shape[1])], pages)


def _check(sizes: dict[str, int], pages: int) -> None:
    if sum(size > 1 for size in sizes.values()) > 1 and pages > max(sizes.values()):
        told = " x ".join(f"{size} {_NAMES[axis]}" for axis, size in sizes.items() if size > 1)
        raise ValueError(f"holds {told} in {pages} pages, expected frames alone. {REMEDY}")


def _check_ome(description: bytes, pages: int, samples: int) -> None:
    images = re.findall(rb"<(?:\w+:)?Pixels\b([^>]*)", description)
    if not images:
        return
    each = [
        {axis: int(found[1]) if (found := _attribute(image, axis)) else 1 for axis in ("C", "Z", "T")}
        for image in images
    ]
    sizes = each[0]
    if sizes["C"] % max(1, samples) == 0:
        sizes["C"] //= max(1, samples)
    _check(sizes, pages)
    if len(each) > 1 and pages > max(max(e.values()) for e in each):
        raise ValueError(f"holds {len(each)} recordings in {pages} pages, expected one. Save each as a file of its own")


def _attribute(image: bytes, axis: str) -> re.Match[bytes] | None:
    return re.search(rb"\bSize" + axis.encode() + rb"\s*=\s*[\"'](\d{1,9})[\"']", image)


def _check_shape(shape: list[int], pages: int) -> None:
    """tifffile's: the leading axes are those of the pages."""
    axes: list[int] = []
    while shape and math.prod(axes) < pages:
        axes.append(shape.pop(0))
    several = [axis for axis in axes if axis > 1]
    if math.prod(axes) == pages and len(several) > 1:
        told = " x ".join(map(str, several))
        raise ValueError(f"holds {told} images by its description, expected frames alone. {REMEDY}")


def _number(description: bytes, key: bytes) -> int:
    found = re.search(rb"^" + key + rb"=(\d{1,9})\s*$", description, re.MULTILINE)
    return int(found[1]) if found else 1
