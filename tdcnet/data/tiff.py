"""What a TIFF file says of its pages before one of them is decoded."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tdcnet.data.tiff_axes import check_axes, images_of_imagej

Buffer = bytes | memoryview

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB = 0, 1, 2
MULTIPLIED = 1
"""Transparency that the pixels have been multiplied by: what they were is lost where it is not full."""

_MOST_PAGES = 10_000_000
_MOST_VALUES = 64  # of a tag that is looked at; strips' offsets are not
_MOST_TEXT = 1 << 20  # bytes of a description; OME's is XML with much before the sizes
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 6: 1, 7: 1, 8: 2, 9: 4, 13: 4, 16: 8, 17: 8, 18: 8}  # bytes per value, by type
_CODES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}


@dataclass(frozen=True)
class TiffPage:
    """One page.

    Attributes:
        at: its place among all pages of the file, thumbnails and masks included.
        width: px.
        height: px.
        bits: per sample.
        samples: per pixel.
        kind: ``"u"``, ``"i"`` or ``"f"``, unsigned, signed or float.
        photometric: meaning of the values, 0 if white is zero.
        orientation: 1 to 8, as in EXIF.
        planar: whether each sample has a plane of its own.
        transparency: what the samples after grey or colour are: 0 not said, 1 (:data:`MULTIPLIED`) and 2 transparency;
            None if there are none.
        transparency_at: where in the file that is written, first byte and the one after the last.
    """

    at: int
    width: int
    height: int
    bits: int
    samples: int
    kind: str
    photometric: int
    orientation: int
    planar: bool
    transparency: int | None = None
    transparency_at: tuple[int, int] = (0, 0)


def tiff_pages(data: Buffer, most: int = _MOST_PAGES) -> list[TiffPage]:
    """The pages of a TIFF or BigTIFF file that are frames: thumbnails and transparency masks are not.

    Args:
        data: the file.
        most: pages to look for; with 2 it costs little to see whether there is more than one.

    Raises:
        ValueError: if it is cut short or makes no sense, or if all are looked for and they are of channels and times,
            or planes; without the file's name.
    """
    found: list[TiffPage] = []
    text, stacked = b"", 1
    for at, tags in enumerate(_directories(data)):
        stacked = max(stacked, _first(tags, _METAMORPH, 1))
        if at == 0 and 270 in tags:
            text = bytes(tags[270])
        if _first(tags, 254, 0) & 0b101:  # a smaller version, or a mask
            continue
        found.append(_page(at, tags))
        if len(found) >= most:
            break
    if not found:
        raise ValueError("has no page")
    for declared, program in ((images_of_imagej(text), "ImageJ"), (stacked, "MetaMorph")):
        if len(found) == 1 and declared > 1:
            raise ValueError(
                f"holds {declared} images of {program} in one page; save it as a stack with a page per image"
            )
    if len(found) < most:
        check_axes(text, len(found), found[0].samples)
    return found


def without_transparency(data: Buffer, pages: Iterable[TiffPage]) -> Buffer:
    """The file with samples of no said meaning in place of transparency, which libtiff multiplies 8-bit pixels by."""
    spans = [page.transparency_at for page in pages if page.transparency]
    if not spans:
        return data
    changed = bytearray(data)
    for start, end in spans:
        changed[start:end] = bytes(len(changed[start:end]))
    return bytes(changed)


def exif_orientation(data: Buffer) -> int:
    """The orientation in a block of EXIF, which is a TIFF; 1 if there is none."""
    try:
        tags = next(_directories(data), {})
        found = _first(tags, 274, 1)
    except ValueError:
        return 1
    return found if 1 <= found <= 8 else 1


def _page(at: int, tags: dict[int, Sequence[int]]) -> TiffPage:
    if 256 not in tags or 257 not in tags:
        raise ValueError("has a page without width and height")
    orientation = _first(tags, 274, 1)
    return TiffPage(
        at,
        _first(tags, 256, 0),
        _first(tags, 257, 0),
        _first(tags, 258, 1),
        _first(tags, 277, 1),
        {2: "i", 3: "f"}.get(_first(tags, 339, 1), "u"),
        _first(tags, 262, 1),
        orientation if 1 <= orientation <= 8 else 1,
        _first(tags, 284, 1) == 2,
        _first(tags, _EXTRA, 0) if _EXTRA in tags else None,
        (_first(tags, -_EXTRA, 0), _first(tags, -_EXTRA, 0) + tags[-_EXTRA][1]) if _EXTRA in tags else (0, 0),
    )


def _first(tags: dict[int, Sequence[int]], tag: int, default: int) -> int:
    values = tags.get(tag)
    return int(values[0]) if values else default


def _directories(data: Buffer) -> Iterator[dict[int, Sequence[int]]]:
    """Yields the tags of each page as a dict of their values."""
    if len(data) < 8 or bytes(data[:4]) not in MAGIC:
        raise ValueError("is no TIFF")
    order = "<" if data[0] == 0x49 else ">"
    big = 0x2B in data[2:4]
    offset, count, step, inline = ("Q", "Q", 20, 8) if big else ("I", "H", 12, 4)
    try:
        (at,) = struct.unpack_from(order + offset, data, 8 if big else 4)
        seen: set[int] = set()
        while at:
            if at in seen:
                raise ValueError("has pages that follow each other in a circle")
            seen.add(at)
            (entries,) = struct.unpack_from(order + count, data, at)
            start = at + struct.calcsize(order + count)
            if start + entries * step > len(data):
                raise ValueError("is cut short")
            tags: dict[int, Sequence[int]] = {}
            for entry in range(start, start + entries * step, step):
                tag, kind = struct.unpack_from(order + "HH", data, entry)
                if tag == _METAMORPH:
                    tags[tag] = struct.unpack_from(order + offset, data, entry + 4)  # how many, one for each image
                elif tag in _WANTED and kind in _SIZES:
                    number, at = _place(data, order, offset, entry, kind, inline)
                    tags[tag] = _values(data, order, number, at, kind)
                    tags[-tag] = (at, number * _SIZES[kind])  # no tag is below zero
            yield tags
            (at,) = struct.unpack_from(order + offset, data, start + entries * step)
    except (struct.error, OverflowError) as error:
        raise ValueError("is cut short") from error


_EXTRA = 338
_METAMORPH = 33629
_WANTED = {254, 256, 257, 258, 262, 270, 274, 277, 284, _EXTRA, 339}


def _place(data: Buffer, order: str, offset: str, entry: int, kind: int, inline: int) -> tuple[int, int]:
    """How many values an entry has, and where they are."""
    (number,) = struct.unpack_from(order + offset, data, entry + 4)
    at = entry + 4 + struct.calcsize(order + offset)
    if number * _SIZES[kind] > inline:
        (at,) = struct.unpack_from(order + offset, data, at)
    return number, at


def _values(data: Buffer, order: str, number: int, at: int, kind: int) -> Sequence[int]:
    if kind in (2, 7):
        return bytes(data[at : at + min(number, _MOST_TEXT)])
    return struct.unpack_from(f"{order}{min(number, _MOST_VALUES)}{_CODES[kind]}", data, at)
