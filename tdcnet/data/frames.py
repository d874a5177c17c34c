"""Where frames come from: a folder of images, a stack of images in one file, or a video, all read at random."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdcnet.data.cache import DecodedFrames, Notes, cache_name
from tdcnet.data.cache import cache_file as cache_file  # for those who look for them here
from tdcnet.data.cache import default_cache_dir as default_cache_dir
from tdcnet.data.errors import DataError
from tdcnet.data.folders import in_order
from tdcnet.data.images import IMAGE_SUFFIXES as IMAGE_SUFFIXES
from tdcnet.data.images import is_image
from tdcnet.data.images import read_grey as read_grey
from tdcnet.data.names import natural_key, numbers
from tdcnet.data.sequence import FrameSource
from tdcnet.data.stacks import StackFrames, holds_several
from tdcnet.data.video import VIDEO_SUFFIXES as VIDEO_SUFFIXES
from tdcnet.data.video import VideoFrames as VideoFrames

log = logging.getLogger(__name__)

COMPANIONS = (
    *(".txt", ".json", ".xml", ".csv", ".tsv", ".yaml", ".yml", ".md", ".pdf", ".html", ".log", ".ini"),
    *(".db", ".cache", ".mat", ".npz", ".pkl", ".py", ".m", ".sha256", ".md5", ".srt", ".nfo", ".lnk"),
)
"""Endings of files that may lie beside frames without a word."""

_told: set[Path] = set()  # folders whose other files this process has named


# -- names and order ---------------------------------------------------------------------------------------------------


def natural_sort(paths: Iterable[Path]) -> list[Path]:
    """Sorts by the numbers in the file stems as numbers, so that ``2.png`` comes before ``10.png``."""
    return sorted(paths, key=lambda path: (natural_key(path.stem), path.name))


def frame_numbers(paths: Iterable[Path]) -> NDArray[np.int64]:
    """The number of each frame of one recording, told by the names of all, see :mod:`tdcnet.data.names`.

    Raises:
        DataError: if a name tells no number.
    """
    paths = list(paths)
    found = numbers([path.name for path in paths])
    if None in found:
        path = paths[found.index(None)]
        raise DataError(f"{path}: expected a frame number in the name, such as 00000012.png. Rename or remove it")
    return np.array(found, dtype=np.int64)


def list_images(folder: Path) -> list[Path]:
    """The images in ``folder`` in natural order, see :func:`pick_images`.

    Raises:
        FileNotFoundError: if there is no such folder.
    """
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries if not entry.is_dir()]
    return natural_sort(pick_images(folder / name for name in names))


def pick_images(paths: Iterable[Path]) -> list[Path]:
    """Those of ``paths`` that are images, in the same order.

    A file is one by its ending, or by how it begins. Hidden files and :data:`COMPANIONS` are passed over; any others
    are named in a warning, once per folder. An array (.npy) is a frame only in a folder without images of other kinds,
    beside which it may be anything.
    """
    images: list[Path] = []
    others: dict[Path, list[str]] = {}
    for path in paths:
        if path.name.startswith(".") or path.suffix.lower() in COMPANIONS:
            continue
        if path.suffix.lower() in IMAGE_SUFFIXES or is_image(path):
            images.append(path)
        else:
            others.setdefault(path.parent, []).append(path.name)
    pictured = {path.parent for path in images if path.suffix.lower() != ".npy"}
    if len(pictured) and any(path.suffix.lower() == ".npy" for path in images):
        arrays = {path for path in images if path.suffix.lower() == ".npy" and path.parent in pictured}
        images = [path for path in images if path not in arrays]
        for path in arrays:
            others.setdefault(path.parent, []).append(path.name)
    pictured = {path.parent for path in images}
    for folder, names in others.items():
        if folder in pictured and folder not in _told:
            _told.add(folder)
            first = ", ".join(sorted(names)[:3])
            log.warning("%s: passed over %d files that are no images that can be read: %s", folder, len(names), first)
    return images


# -- images ------------------------------------------------------------------------------------------------------------


class ImageFiles:
    """One image file per frame, as :func:`read_grey` gives them. Can be pickled.

    Args:
        paths: the files in order of time.
    """

    times: NDArray[np.float64] | None = None
    """Not known."""

    def __init__(self, paths: Iterable[Path | str]) -> None:
        self.paths = [Path(path) for path in paths]
        self._first: tuple[str, Path] | None = None  # form of the first frame read, and its file

    def __len__(self) -> int:
        return len(self.paths)

    def where(self, index: int) -> str:
        """The path of frame ``index``."""
        return str(self.paths[index])

    def read(self, index: int) -> NDArray[np.generic]:
        """Frame ``index`` as [H, W], uint8 or uint16.

        Raises:
            DataError: if :func:`read_grey` cannot read the file, or if its size or depth is not that of the frame that
                was read first.
        """
        path = self.paths[index]
        image = read_grey(path)
        form = f"{image.shape[1]}x{image.shape[0]} {image.dtype}"
        if self._first is None:
            self._first = form, path
        elif form != self._first[0]:
            raise DataError(
                f"{path}: is {form}, but {self._first[1]} of the same recording is {self._first[0]}. All frames of a "
                f"recording must have one size and depth: move the odd ones to another folder or export them again"
            )
        return image


class DecodedImages(DecodedFrames):
    """The same frames as those of :class:`ImageFiles`, decoded once into one file.

    A file that cannot be decoded is remembered, and reading it gives the error that ``images`` gives.

    Args:
        images: the image files of one recording, one at least.
        cache_dir: where the decoded frames go; :func:`default_cache_dir` if None.
    """

    def __init__(self, images: ImageFiles, cache_dir: Path | None = None) -> None:
        super().__init__(str(images.paths[0].parent), len(images))
        self.images = images
        folders = {path.parent: path.parent.resolve() for path in images.paths}
        key = "|".join(str(folders[path.parent] / path.name) for path in images.paths)
        self._target = cache_name(images.paths[0].parent.name, key, ".npy", cache_dir)
        self._seen: int | None = None

    def where(self, index: int) -> str:
        """The path of frame ``index``."""
        return self.images.where(index)

    def target(self) -> Path:
        """The file of decoded frames; another one for a list of other files."""
        return self._target

    def needed(self) -> int:
        """Bytes that the decoded frames take, if all are like the first that can be read."""
        first = next((image for image in self._decode(Notes()) if image is not None), None)
        return 0 if first is None else len(self) * first.nbytes

    def _state(self) -> int:
        # Once per object, which worker processes get ready: on a network disk thousands of files take their time.
        if self._seen is None:
            digest = hashlib.sha256()
            for path in self.images.paths:
                try:
                    stat = path.stat()
                    digest.update(f"{stat.st_size}|{stat.st_mtime_ns}|".encode())
                except OSError:
                    digest.update(b"missing|")
            self._seen = int.from_bytes(digest.digest()[:8], "little", signed=True)
        return self._seen

    def _decode(self, notes: Notes) -> Iterator[NDArray[Any] | None]:
        images = ImageFiles(self.images.paths)  # of its own: the first that can be read says how all must be
        for index in range(len(images)):
            try:
                yield images.read(index)
            except DataError:
                yield None

    def _undecoded(self, index: int) -> NDArray[Any]:
        good = np.flatnonzero(self._sums >= 0)
        if len(good):
            self.images.read(int(good[0]))  # all others must be like it
        return self.images.read(index)


# -- either ------------------------------------------------------------------------------------------------------------


def open_source(path: Path | str, cache_dir: Path | None = None) -> FrameSource:
    """A folder of images, in the order that their names tell, a file with a stack of images (TIFF, NPY), or a video.

    Raises:
        DataError: if it is none of these; the message lists what is accepted.
    """
    path = Path(path)
    accepted = (
        f"Accepted are a folder of images ({' '.join(IMAGE_SUFFIXES)}), a TIFF or NPY file of several, and a video "
        f"({' '.join(VIDEO_SUFFIXES)})"
    )
    if path.is_file():
        if not is_image(path) and path.suffix.lower() not in IMAGE_SUFFIXES:
            return VideoFrames(path, cache_dir)
        kind = holds_several(path)
        if kind is None:
            raise DataError(f"{path}: is a single image. {accepted}; give the folder it lies in")
        return StackFrames(path, cache_dir) if kind in ("TIFF", "NPY") else VideoFrames(path, cache_dir)
    if not path.is_dir():
        what = "is a pipe or a device" if path.exists() else "there is no such file or folder"
        raise DataError(f"{path}: {what}. {accepted}")
    paths = list_images(path)
    if not paths:
        raise DataError(f"{path}: holds no image. {accepted}")
    return ImageFiles(in_order(paths))
