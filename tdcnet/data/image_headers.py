"""What an image file says of itself in its first bytes: its kind, size, pages and orientation, without decoding it."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tdcnet.data.pam import pam_header
from tdcnet.data.tiff import MAGIC as TIFF_MAGIC
from tdcnet.data.tiff import exif_orientation, tiff_pages


@dataclass(frozen=True)
class ImageHeader:
    """What was found.

    Attributes:
        kind: such as ``"PNG"``.
        width: px, as stored.
        height: px, as stored.
        pages: images in the file; of a TIFF 2 stands for any number above 1.
        orientation: 1 to 8 as in EXIF: how the stored pixels are to be turned. 1 is as they are.
    """

    kind: str
    width: int
    height: int
    pages: int = 1
    orientation: int = 1


def kind_of(head: bytes) -> str | None:
    """The kind of a file that starts with these bytes (32 will do), or None if it is no image that is known."""
    if head.startswith(TIFF_MAGIC):
        return "TIFF"
    if head[:4] == b"RIFF":
        return "WebP" if head[8:12] == b"WEBP" else None
    if head[4:12] in (b"ftypavif", b"ftypavis"):
        return "AVIF"
    if re.match(rb"P([1-7]|[Ff])\s", head):
        return "PFM" if head[1:2] in b"Ff" else "PNM"
    return next((kind for magic, kind in _MAGIC if head.startswith(magic)), None)


_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"BM", "BMP"),
    (b"\x93NUMPY", "NPY"),
    (b"GIF8", "GIF"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"qoif", "QOI"),
    (b"\x59\xa6\x6a\x95", "Sun"),
)


def read_header(data: bytes) -> ImageHeader | None:
    """The header of an image file, checked for a file that was cut short; None if the kind is not known.

    Raises:
        ValueError: if the file is cut short, damaged or makes no sense; without its name.
    """
    kind = kind_of(data[:32])
    if kind is None:
        return None
    try:
        return _READERS[kind](data)
    except (struct.error, IndexError, OverflowError) as error:
        raise ValueError(f"is cut short (a {kind} of {len(data)} bytes)") from error


def _png(data: bytes) -> ImageHeader:
    # OpenCV 4 gives the upper part of a PNG that ends early, and libpng complains straight to stderr.
    at, pages, orientation, size = 8, 1, 1, None
    while at + 12 <= len(data):
        length, chunk = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            break
        if chunk[:1].isupper() and zlib.crc32(data[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            raise ValueError(f"is damaged (checksum of PNG chunk {chunk.decode('latin-1')} does not match)")
        if chunk == b"IHDR":
            size = struct.unpack_from(">II", data, at + 8)
        elif chunk == b"acTL" and length >= 4:
            pages = max(1, int.from_bytes(data[at + 8 : at + 12], "big"))
        elif chunk == b"eXIf":
            orientation = exif_orientation(data[at + 8 : end - 4])
        elif chunk == b"IEND":
            if size is None:
                break
            return ImageHeader("PNG", size[0], size[1], pages, orientation)
        at = end
    raise ValueError(f"is cut short (a PNG of {len(data)} bytes without its end)")


def _jpeg(data: bytes) -> ImageHeader:
    # OpenCV gives the upper part of a JPEG that ends early. The last scan must be followed by an end marker; one of an
    # embedded thumbnail lies before it.
    if data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):
        raise ValueError(f"is cut short (a JPEG of {len(data)} bytes without its end)")
    at, orientation = 2, 1
    while True:
        marker = data[at + 1]
        if data[at] != 0xFF:
            raise ValueError("is damaged (a JPEG without a marker where one must be)")
        if marker == 0xFF:
            at += 1
        elif marker in (0x01, *range(0xD0, 0xD9)):
            at += 2
        elif marker in (0xD9, 0xDA):
            raise ValueError("is damaged (a JPEG that does not tell its size)")
        else:
            (length,) = struct.unpack_from(">H", data, at + 2)
            if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
                height, width = struct.unpack_from(">HH", data, at + 5)
                return ImageHeader("JPEG", width, height, 1, orientation)
            if marker == 0xE1 and data[at + 4 : at + 10] == b"Exif\0\0":
                orientation = exif_orientation(data[at + 10 : at + 2 + length])
            at += 2 + length


def _webp(data: bytes) -> ImageHeader:
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise ValueError(f"is cut short (a WebP of {len(data)} bytes, should be {end})")
    at, pages, orientation, size = 12, 0, 1, None
    while at + 8 <= end:
        chunk, length = struct.unpack_from("<4sI", data, at)
        body = at + 8
        if chunk == b"VP8X":
            w, h = (1 + int.from_bytes(data[body + i : body + i + 3], "little") for i in (4, 7))
            size = (w, h)
        elif chunk == b"VP8 " and size is None:
            w, h = struct.unpack_from("<HH", data, body + 6)
            size = (w & 0x3FFF, h & 0x3FFF)
        elif chunk == b"VP8L" and size is None:
            (packed,) = struct.unpack_from("<I", data, body + 1)
            size = ((packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1)
        elif chunk == b"ANMF":
            pages += 1
        elif chunk == b"EXIF":
            block = data[body : body + length]
            orientation = exif_orientation(block[6:] if block.startswith(b"Exif\0\0") else block)
        at = body + length + length % 2
    if size is None:
        raise ValueError("is damaged (a WebP that does not tell its size)")
    return ImageHeader("WebP", *size, max(1, pages), orientation)


def _bmp(data: bytes) -> ImageHeader:
    if int.from_bytes(data[14:18], "little") == 12:
        return ImageHeader("BMP", *struct.unpack_from("<HH", data, 18))
    width, height = struct.unpack_from("<ii", data, 18)
    return ImageHeader("BMP", width, abs(height))


def _tiff(data: bytes) -> ImageHeader:
    pages = tiff_pages(data, most=2)
    # OpenCV's libtiff turns the pixels itself.
    return ImageHeader("TIFF", pages[0].width, pages[0].height, len(pages))


def _gif(data: bytes) -> ImageHeader:
    width, height = struct.unpack_from("<HH", data, 6)
    pages = sum(data[at] == 0x2C for at in _gif_blocks(data))
    return ImageHeader("GIF", width, height, max(1, pages))


def _gif_blocks(data: bytes) -> Iterator[int]:
    """Where the blocks of a GIF begin: images (0x2C) and extensions (0x21)."""
    flags = data[10]
    at = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    while data[at] != 0x3B:
        yield at
        if data[at] == 0x2C:
            flags = data[at + 9]
            at += 10 + (3 << (flags & 7) + 1 if flags & 0x80 else 0) + 1
        elif data[at] == 0x21:
            at += 2
        else:
            raise ValueError("is damaged (a GIF without a block where one must be)")
        while data[at]:
            at += 1 + data[at]
        at += 1


def opaque_gif(data: bytes) -> bytes:
    """The file with no colour declared transparent: OpenCV gives black in its place."""
    changed = bytearray(data)
    for at in _gif_blocks(data):
        if data[at : at + 3] == b"\x21\xf9\x04":
            changed[at + 3] &= 0xFE
    return bytes(changed)


def _jpeg2000(data: bytes) -> ImageHeader:
    at = data.find(b"\xff\x4f\xff\x51")
    if at < 0:
        raise ValueError("is damaged (a JPEG 2000 that does not tell its size)")
    x1, y1, x0, y0 = struct.unpack_from(">4I", data, at + 8)
    return ImageHeader("JPEG 2000", x1 - x0, y1 - y0)


def pnm_tokens(data: bytes, count: int) -> tuple[list[int], int]:
    """The numbers in the head of a PGM or its kin, and where its pixels begin; comments are passed over.

    Raises:
        ValueError: if there are fewer.
    """
    between = rb"(?:\s|#[^\r\n]*[\r\n])+"
    match = re.match(rb"P[1-6]" + (between + rb"(\d{1,9})") * count + rb"\s", data)
    if match is None:
        raise ValueError("is cut short or damaged (a PGM or PPM without its size)")
    return [int(text) for text in match.groups()], match.end()


def _pnm(data: bytes) -> ImageHeader:
    form = data[1:2]
    if form == b"7":
        head = pam_header(data)
        width, height, end = head.width, head.height, head.start + head.length
    elif form == b"4":
        (width, height), start = pnm_tokens(data[:4096], 2)
        end = start + height * -(-width // 8)
    elif form in b"56":
        (width, height, highest), start = pnm_tokens(data[:4096], 3)
        end = start + height * width * (1 if form == b"5" else 3) * (1 if highest < 256 else 2)
    else:  # as text
        (width, height), _ = pnm_tokens(data[:4096], 2)
        end = len(data)
    # One may follow the other in a file, says netpbm.
    return ImageHeader("PNM", width, height, 2 if kind_of(data[end : end + 32]) == "PNM" else 1)


def _pfm(data: bytes) -> ImageHeader:
    match = re.match(rb"P[Ff]\s+(\d{1,9})\s+(\d{1,9})\s", data)
    if match is None:
        raise ValueError("is damaged (a PFM without its size)")
    return ImageHeader("PFM", int(match[1]), int(match[2]))


TIME_LAST = 2
"""An array whose last axis is shorter than the other two by this factor is taken for one with the time last.

Its frames would be more than twice as high as wide, which no usual camera gives, not even one that stands on its side.
"""


def npy_header(data: bytes) -> tuple[tuple[int, ...], np.dtype[Any], bool, int]:
    """Shape (without a last axis of one), type, Fortran order and start of the numbers of a .npy file.

    Raises:
        ValueError: if it is damaged, holds anything but numbers, or seems to have the time last.
    """
    size = {1: 2, 2: 4}.get(data[6] if len(data) > 6 else 0)
    if size is None:
        raise ValueError("is a .npy of a version that is not read; save it with numpy.save")
    start = 8 + size
    end = start + int.from_bytes(data[8:start], "little")
    if end > len(data) or end - start > 10_000:
        raise ValueError("is cut short or damaged (a .npy without its head)")
    # Not by numpy, whose parser takes whatever Python expression stands there and fails in as many ways.
    match = re.fullmatch(
        rb"\{'descr': '([<>|=][biuf]\d{1,2})', 'fortran_order': (True|False), 'shape': \(((?:\d{1,10},? ?)*)\), \}\s*",
        data[start:end],
    )
    if match is None:
        raise ValueError("is a .npy that holds something else than an array of plain numbers")
    try:
        dtype = np.dtype(match[1].decode())
    except TypeError as error:
        raise ValueError("is a .npy of numbers of an unknown type") from error
    shape = tuple(int(n) for n in re.findall(rb"\d+", match[3]))
    colours = (3, 4)
    if len(shape) == 3 and 1 < shape[2] <= min(shape[:2]) / TIME_LAST and shape[2] not in colours:
        raise ValueError(
            f"is an array of shape {list(shape)}, expected frames x height x width, and seems to be height x width x "
            "frames. Save numpy.moveaxis(array, -1, 0), or array[..., None] if its frames are so narrow"
        )
    return shape[:-1] if len(shape) in (3, 4) and shape[-1] == 1 else shape, dtype, match[2] == b"True", end


def _npy(data: bytes) -> ImageHeader:
    shape, _, _, _ = npy_header(data)
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] in (3, 4)):
        raise ValueError(
            f"is an array of shape {list(shape)}; expected grey, height x width, or frames x height x width"
        )
    return ImageHeader("NPY", shape[-1], shape[-2], shape[0] if len(shape) == 3 else 1)


def _qoi(data: bytes) -> ImageHeader:
    return ImageHeader("QOI", *struct.unpack_from(">II", data, 4))


def _sun(data: bytes) -> ImageHeader:
    return ImageHeader("Sun", *struct.unpack_from(">II", data, 4))


def _avif(data: bytes) -> ImageHeader:
    sizes = [struct.unpack_from(">II", data, match.end() + 4) for match in re.finditer(b"ispe", data[:65536])]
    if not sizes:
        raise ValueError("is damaged (an AVIF that does not tell its size)")
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    # Quarter turns against the clock, and then a mirror: 0 up to down, 1 left to right.
    turn, mirror = (re.search(name + b"(.)", data[:65536], re.DOTALL) for name in (b"irot", b"imir"))
    turned = {None: (1, 8, 3, 6), 0: (4, 5, 2, 7), 1: (2, 7, 4, 5)}[mirror[1][0] & 1 if mirror else None]
    orientation = turned[turn[1][0] & 3 if turn else 0]
    return ImageHeader("AVIF", width, height, 2 if data[8:12] == b"avis" else 1, orientation)


_READERS: dict[str, Callable[[bytes], ImageHeader]] = {
    "PNG": _png,
    "JPEG": _jpeg,
    "WebP": _webp,
    "BMP": _bmp,
    "TIFF": _tiff,
    "GIF": _gif,
    "JPEG 2000": _jpeg2000,
    "PNM": _pnm,
    "PFM": _pfm,
    "NPY": _npy,
    "QOI": _qoi,
    "Sun": _sun,
    "AVIF": _avif,
}
