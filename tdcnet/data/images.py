"""One image from a file, grey and upright, with the values that its pixels have."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tdcnet.data.errors import DataError
from tdcnet.data.image_headers import ImageHeader, kind_of, npy_header, opaque_gif, pnm_tokens, read_header
from tdcnet.data.pam import decode_pam
from tdcnet.data.tiff import BLACK_IS_ZERO, MULTIPLIED, RGB, WHITE_IS_ZERO, TiffPage, tiff_pages, without_transparency
from tdcnet.files import open_regular, read_bytes
from tdcnet.limits import FACTOR, bound

IMAGE_SUFFIXES = (
    *(".png", ".bmp", ".jpg", ".jpeg", ".tif", ".tiff"),
    *(".webp", ".pgm", ".ppm", ".pnm", ".pbm", ".pam", ".npy", ".jp2", ".j2k", ".avif", ".gif", ".qoi"),
)
"""Usual endings of image files; files of others are looked into."""

MOST_PIXELS = 100_000_000
"""Of an image or a frame of a video."""
MOST_BYTES = 1 << 30
"""Of a file that holds one image."""

_MOST_DECODED = 1 << 29  # bytes of a TIFF's page, which may have wide numbers and many samples

_GREY = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
_CHANNELS = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
UPRIGHT: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: image[::-1, ::-1].swapaxes(0, 1),
    8: lambda image: np.rot90(image),
}
"""What turns stored pixels upright, by EXIF orientation."""

# OpenCV prints what is wrong with a file without naming it; the DataError raised here names it. A level set by the user
# wins.
if "OPENCV_LOG_LEVEL" not in os.environ:
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def read_grey(path: Path) -> NDArray[Any]:
    """Decodes an image file to grey [H, W], upright.

    Args:
        path: a file of any kind that OpenCV, Pillow or numpy (.npy) can decode.

    Returns:
        uint8 or uint16, the values as stored, colour as grey. An orientation in the file (EXIF) is applied, and white
        is the highest value also where the file stores it as zero. Numbers of another type come as uint16 if that
        holds every one of them.

    Raises:
        DataError: if the file is missing, cut short, no image, too large, holds several images, or has values that
            fit into neither 8 nor 16 bits.
    """
    return _read(path, _GREY)


def read_channels(path: Path) -> NDArray[Any]:
    """The same as :func:`read_grey`, with the colours as they are: [H, W, C], without transparency."""
    image = _read(path, _CHANNELS)
    return image.reshape(*image.shape[:2], -1)


def is_image(path: Path) -> bool:
    """Whether a file begins as an image does that :func:`read_grey` knows; of a pipe or a device it is not asked."""
    try:
        with open_regular(path) as file:
            return kind_of(file.read(32)) is not None
    except (OSError, ValueError):
        return False


def check_pixels(path: object, width: int, height: int) -> None:
    """Raises DataError if an image has no pixel, or more than :data:`MOST_PIXELS`."""
    if width < 1 or height < 1:
        raise DataError(f"{path}: is damaged (says that it has {width}x{height} px). Copy or export it again")
    if width * height > (most := bound(MOST_PIXELS)):
        raise DataError(
            f"{path}: has {width}x{height} px, at most {most:,} are read. If that is right, set {FACTOR} to a factor "
            "on all bounds"
        )


def to_counts(image: NDArray[Any], where: object) -> NDArray[Any]:
    """Grey [H, W] of any type as uint8 or uint16, without changing a value.

    Raises:
        DataError: if a value does not fit.
    """
    if image.dtype in (np.uint8, np.uint16):
        return image
    if image.dtype == np.bool_:
        return image.astype(np.uint8) * np.uint8(255)
    low, high = (float(value) for value in (image.min(), image.max()))
    if low >= 0 and high <= 65535 and (image.dtype.kind in "ui" or (image == np.floor(image)).all()):
        return image.astype(np.uint16)
    raise DataError(
        f"{where}: pixels are {image.dtype} from {low:g} to {high:g}; only 8 and 16 bit unsigned are read, and whole "
        "numbers that fit into those. Convert the files on a scale that you choose, such as degrees Celsius to "
        "hundredths of a kelvin: ((image + 273.15) * 100).round().astype('uint16')"
    )


def image_header(path: Path) -> ImageHeader:
    """What an image file says of itself, without decoding it.

    Raises:
        DataError: if it cannot be read or is no image.
    """
    return _header(path, _bytes(path))


# -- decoding ----------------------------------------------------------------------------------------------------------


def _bytes(path: Path) -> bytes:
    try:
        return read_bytes(path, MOST_BYTES)
    except FileNotFoundError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}). Check the path or copy the file again") from error


def _header(path: Path, data: bytes) -> ImageHeader:
    if not data:
        raise unreadable(path, "is empty")
    try:
        header = read_header(data)
    except ValueError as error:
        raise unreadable(path, error) from error
    if header is None:
        raise unreadable(path, f"is not an image that can be decoded ({len(data)} bytes)")
    check_pixels(path, header.width, header.height)
    return header


def unreadable(path: object, fault: object) -> DataError:
    """The error of an image file that cannot be decoded."""
    return DataError(f"{path}: {fault}. Copy or export the file again; usual are {' '.join(IMAGE_SUFFIXES)}")


def _read(path: Path, flags: int) -> NDArray[Any]:
    data = _bytes(path)
    header = _header(path, data)
    if header.pages > 1:
        raise _several(path, header)
    try:
        image = _decode(data, header, flags)
        if image.ndim == 3 and image.dtype not in (np.uint8, np.uint16):
            raise ValueError(f"is colour of type {image.dtype}, expected grey")
    except (ValueError, MemoryError) as error:
        raise unreadable(path, error) from error
    return np.ascontiguousarray(to_counts(image, path))


def _several(path: Path, header: ImageHeader) -> DataError:
    remedy = {
        "TIFF": f"As a recording of its pages it is given alone (source={path.name}); in a folder of frames save each "
        "page as a file of its own, such as 000000.tif",
        "NPY": f"As a recording it is given alone (source={path.name}); in a folder of frames save each frame as a "
        "file of its own, such as 000000.npy",
    }.get(header.kind, "Make a video of it, or save each as a file of its own")
    count = "several" if header.kind in ("TIFF", "AVIF", "PNM") else str(header.pages)
    return DataError(f"{path}: holds {count} images, expected one. {remedy}")


def _decode(data: bytes, header: ImageHeader, flags: int) -> NDArray[Any]:
    """The pixels, upright."""
    if header.kind == "NPY":
        return npy_frames(data)[0]
    if header.kind == "TIFF":
        pages = tiff_pages(data, most=1)
        return decode_tiff(without_transparency(data, pages), pages[0], flags)
    if header.kind == "PNM" and data[1:2] in (b"2", b"5"):
        return _pgm(data, header)
    if header.kind == "PNM" and data[1:2] == b"7":
        image = decode_pam(data)
        return image if image.ndim == 2 else _as_asked(image[:, :, ::-1], flags)
    if header.kind == "GIF":
        data = opaque_gif(data)
    image = _pillow(data, header.kind, flags) if header.kind in ("QOI", "Sun") else _opencv(data, flags)
    return UPRIGHT[header.orientation](image)


def _opencv(data: Any, flags: int) -> NDArray[Any]:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise ValueError(f"cannot be decoded ({error.err})") from error
    if image is None:
        raise ValueError(f"is not an image that OpenCV can decode ({len(data)} bytes)")
    return image


_OF_PILLOW = (OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, struct.error)


def _pillow(data: Any, kind: str, flags: int) -> NDArray[Any]:
    """What OpenCV does not know; size and kind have been looked at before."""
    from PIL import Image, QoiImagePlugin, SunImagePlugin, TiffImagePlugin

    # The one that is meant: some of Pillow's others start programs.
    readers: dict[str, Callable[[io.BytesIO], Any]] = {
        "QOI": QoiImagePlugin.QoiImageFile,
        "Sun": SunImagePlugin.SunImageFile,
        "TIFF": TiffImagePlugin.TiffImageFile,
    }
    try:
        with readers[kind](io.BytesIO(data)) as file:
            mode = file.mode if file.mode.startswith(("I", "F")) else "L" if file.mode in ("1", "L") else "RGB"
            image = np.asarray(file if mode == file.mode else file.convert(mode))
    except (*_OF_PILLOW, Image.DecompressionBombError) as error:
        raise ValueError(f"is not an image that can be decoded ({error})") from error
    if image.ndim == 2:
        return image
    return _as_asked(image[:, :, ::-1], flags)


def _as_asked(colour: NDArray[Any], flags: int) -> NDArray[Any]:
    """Blue, green and red [H, W, 3], or grey [H, W]."""
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(colour), cv2.COLOR_BGR2GRAY) if flags == _GREY else colour)


def decode_tiff(data: Any, page: TiffPage, flags: int = _GREY) -> NDArray[Any]:
    """One page of a TIFF file, upright; see :func:`read_grey`.

    Args:
        data: the file as :func:`~tdcnet.data.tiff.without_transparency` gives it.
        page: of it, as it was before.
        flags: of OpenCV.

    Raises:
        ValueError: if it cannot be decoded; without the file's name.
    """
    grey = page.photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO)
    if page.samples not in (1, 2, 3, 4) or (grey and page.samples > 2):
        raise ValueError(f"has {page.samples} samples a pixel, expected grey or colour. Save one channel as grey")
    if page.samples > 2 and page.bits > 8 and page.photometric != RGB:
        # OpenCV takes any colours of more than 8 bits for red, green and blue.
        raise ValueError(f"is a TIFF of {page.bits} bits whose colours are not RGB; save it as plain grey")
    if page.width * page.height * page.samples * page.bits > 8 * (most := bound(_MOST_DECODED)):
        raise ValueError(f"is a TIFF that takes more than {most:,} bytes; set {FACTOR} to a factor on all bounds")
    if page.bits > 8 and (page.samples == 2 or (page.planar and page.samples > 1)):
        # OpenCV gives 8 bits of the first, and other pixels of the second.
        form = "with transparency" if page.samples == 2 else "of a plane per colour"
        raise ValueError(f"is a TIFF of {page.bits} bits {form}, which is not read; save it as plain grey")
    try:
        ok, images = cv2.imdecodemulti(np.frombuffer(data, np.uint8), flags, range=(page.at, page.at + 1))
    except cv2.error:
        ok, images = False, ()
    if ok and len(images) == 1:
        image = np.asarray(images[0])
        if page.transparency == MULTIPLIED:
            _check_opaque(data, page)
    elif _pillow_can(page):
        image = _pillow(data, "TIFF", flags)  # tiles of 16 px, 2 and 4 bits, newer compressions
    else:
        raise ValueError(f"is not a TIFF that can be decoded ({page.bits} bits, {len(data)} bytes)")
    if page.bits in (10, 12, 14):
        image = np.right_shift(image, 16 - page.bits)  # OpenCV fills up the lower bits
    if page.photometric == WHITE_IS_ZERO and image.dtype != np.uint8:  # OpenCV turns these itself
        if page.kind != "u" or page.bits > 16:
            raise ValueError(f"is a TIFF of {image.dtype} in which white is zero; save it with black as zero")
        image = (1 << page.bits) - 1 - image
    return image


def _pillow_can(page: TiffPage) -> bool:
    plain = page.at == 0 and page.kind == "u" and page.orientation == 1 and page.transparency != MULTIPLIED
    return plain and (page.bits <= 8 or page.samples == 1)


def _check_opaque(data: Any, page: TiffPage) -> None:
    _, images = cv2.imdecodemulti(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED, range=(page.at, page.at + 1))
    image = np.asarray(images[0])
    if image.ndim < 3 or image.shape[2] != 4 or int(image[:, :, 3].min()) < (1 << page.bits) - 1:
        raise ValueError(
            "is a TIFF whose pixels have been multiplied by their transparency (associated alpha); save it without "
            "transparency"
        )


def npy_frames(data: Any) -> NDArray[Any]:
    """The frames in a .npy file, [N, H, W] of any type.

    Raises:
        ValueError: if it is cut short, or of another shape; without the file's name.
    """
    shape, dtype, fortran, start = npy_header(bytes(data[:20_000]))
    size = dtype.itemsize * int(np.prod(shape, dtype=object))
    if start + size != len(data):
        raise ValueError(f"is cut short or damaged (a .npy of {len(data)} bytes, should be {start + size})")
    array = np.frombuffer(data, dtype, offset=start).reshape(shape, order="F" if fortran else "C")
    array = array.astype(dtype.newbyteorder("="), copy=False)
    return array if array.ndim == 3 else array[None]


def _pgm(data: bytes, header: ImageHeader) -> NDArray[Any]:
    # OpenCV does not notice if one is cut short, and knows those in text not well.
    (width, height, highest), start = pnm_tokens(data[:4096], 3)
    if not 1 <= highest <= 65535:
        raise ValueError(f"is damaged (a PGM whose highest value is {highest})")
    dtype, count = np.dtype(np.uint8 if highest < 256 else ">u2"), width * height
    if data[1:2] == b"5":
        if len(data) < start + count * dtype.itemsize:
            raise ValueError(f"is cut short (a PGM of {len(data)} bytes)")
        values = np.frombuffer(data, dtype, count, start)
    else:
        words = data[start:].split(None, count)[:count]
        if len(words) < count or not all(word.isdigit() and len(word) < 6 for word in words):
            raise ValueError(f"is cut short or damaged (a PGM with {len(words)} of {count} numbers)")
        values = np.array([min(int(word), 65535) for word in words], np.uint16)
    if int(values.max()) > highest:
        raise ValueError(f"is damaged (a PGM with values above {highest})")
    return values.reshape(height, width).astype(np.uint8 if highest < 256 else np.uint16)


def grey_of(given: Any, number: int) -> NDArray[Any]:
    """An array as a grey frame.

    Raises:
        DataError: if it is no image.
    """
    array = np.asarray(given)
    colour = array.ndim == 3 and array.shape[2] == 3
    if not (array.ndim == 2 or colour) or not array.size or array.dtype.kind not in "buif":
        raise DataError(
            f"frame {number} is an array {np.shape(given)} of {array.dtype}; expected [height, width] or "
            "[height, width, 3]"
        )
    counts = to_counts(array, f"frame {number}")
    return cv2.cvtColor(np.ascontiguousarray(counts), cv2.COLOR_RGB2GRAY) if colour else counts
