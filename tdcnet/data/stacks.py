"""Recordings in one file of images: multi-page TIFF, and .npy arrays of frames x height x width."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdcnet.data.cache import Notes, OneFile
from tdcnet.data.errors import DataError
from tdcnet.data.images import check_pixels, decode_tiff, image_header, npy_frames, to_counts, unreadable
from tdcnet.data.tiff import MAGIC, tiff_pages, without_transparency
from tdcnet.files import read_bytes
from tdcnet.limits import MOST_ARRAYS


def holds_several(path: Path) -> str | None:
    """The kind of an image file that holds more than one image, such as ``"TIFF"``; None if it holds one.

    Raises:
        DataError: if it cannot be read.
    """
    header = image_header(path)
    return header.kind if header.pages > 1 else None


class StackFrames(OneFile):
    """The pages of a TIFF file or the frames of a .npy file, as :func:`~tdcnet.data.images.read_grey` gives one.

    They are decoded once, into the cache. A page of another size or depth than the first, or that cannot be decoded,
    keeps its place; reading it raises DataError.

    Args:
        path: the file.
        cache_dir: where the decoded frames go; :func:`default_cache_dir` if None.

    Raises:
        DataError: if the file cannot be read or is cut short.
    """

    def _look(self) -> tuple[int, int]:
        with _Pages(self.path) as pages:
            return len(pages), pages.bytes_each

    def _decode(self, notes: Notes) -> Iterator[NDArray[Any] | None]:
        first: tuple[tuple[int, ...], np.dtype[Any]] | None = None
        bad = 0
        with _Pages(self.path) as pages:
            for at in range(len(pages)):
                try:
                    image = pages.read(at)
                    first = first or (image.shape, image.dtype)
                    if (image.shape, image.dtype) != first:
                        raise DataError(f"{self.path}, page {at}: is of another size or depth than the first")
                except DataError:
                    bad += 1
                    yield None
                else:
                    yield image
        if bad:
            notes.fault = f"{bad} of {len(pages)} pages cannot be read, or are of another size or depth than the first"

    def _undecoded(self, index: int) -> NDArray[Any]:
        with _Pages(self.path) as pages:
            image = pages.read(index)
        if self._known():
            (height, width), dtype = self.form
            raise DataError(
                f"{self.path}, page {index}: is {image.shape[1]}x{image.shape[0]} {image.dtype}, but the first is "
                f"{width}x{height} {dtype}. All pages must have one size and depth: export the odd ones elsewhere"
            )
        return image


class _Pages:
    """Decodes page by page."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.data: Any = read_bytes(path, MOST_ARRAYS)
        except FileNotFoundError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror}). Check the path") from error
        try:
            self.pages = tiff_pages(self.data) if self.data.startswith(MAGIC) else []
            self.frames = None if self.pages else npy_frames(self.data)
        except ValueError as error:
            raise unreadable(path, error) from error
        self.data = without_transparency(self.data, self.pages)
        for page in self.pages:
            check_pixels(path, page.width, page.height)
        if self.frames is not None:
            check_pixels(path, self.frames.shape[2], self.frames.shape[1])
            self.bytes_each = self.frames[0].size * min(2, self.frames.itemsize)
        else:
            self.bytes_each = self.pages[0].width * self.pages[0].height * (1 if self.pages[0].bits <= 8 else 2)

    def __enter__(self) -> _Pages:
        return self

    def __exit__(self, *_: object) -> None:
        self.data = b""

    def __len__(self) -> int:
        return len(self.pages) if self.frames is None else len(self.frames)

    def read(self, at: int) -> NDArray[Any]:
        """Page ``at``; raises DataError."""
        where = f"{self.path}, page {at}"
        try:
            image = self.frames[at] if self.frames is not None else decode_tiff(self.data, self.pages[at])
        except (ValueError, MemoryError) as error:
            raise unreadable(where, error) from error
        return np.ascontiguousarray(to_counts(image, where))
