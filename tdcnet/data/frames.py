"""Where frames come from: a folder of images or a video file, both read at random by position."""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tdcnet.data.cache import DecodedFrames, cache_file, cache_name
from tdcnet.data.cache import default_cache_dir as default_cache_dir  # for those who look for it here
from tdcnet.data.errors import DataError
from tdcnet.data.folders import in_order
from tdcnet.data.names import natural_key, numbers
from tdcnet.data.sequence import FrameSource

IMAGE_SUFFIXES = (".png", ".bmp", ".jpg", ".jpeg", ".tif", ".tiff")
VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".m4v", ".mpg", ".wmv", ".webm")

# OpenCV and FFmpeg print what is wrong with a file without naming it; the DataError raised here names it.
# Either variable set by the user wins.
if "OPENCV_LOG_LEVEL" not in os.environ:
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET


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
    """The images in ``folder`` in natural order; hidden files and other suffixes are passed over.

    Raises:
        FileNotFoundError: if there is no such folder.
    """
    with os.scandir(folder) as entries:
        names = [entry.name for entry in entries]
    return natural_sort(
        folder / name for name in names if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")
    )


# -- images ------------------------------------------------------------------------------------------------------------


class ImageFiles:
    """One image file per frame, grey, 8 or 16 bit as stored; colour becomes grey. Can be pickled.

    Args:
        paths: the files in order of time.
    """

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
            DataError: if the file is missing, cut short, no image, neither 8 nor 16 bit, or of another size than the
                frame that was read first.
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


def read_grey(path: Path) -> NDArray[np.generic]:
    """Decodes one image file to grey [H, W], uint8 or uint16 as stored; an EXIF orientation is not applied.

    Raises:
        DataError: if the file is missing, cut short, no image, or neither 8 nor 16 bit.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}). Check the path or copy the file again") from error
    fault = _cut_short(data)
    image = None
    if fault is None:
        fault = f"is not an image that OpenCV can decode ({len(data)} bytes)"
        with_depth = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
        try:
            image = cv2.imdecode(np.frombuffer(data, np.uint8), with_depth)
        except cv2.error as error:
            fault = f"cannot be decoded ({error.err})"
    if image is None:
        raise DataError(f"{path}: {fault}. Copy or export the file again; accepted are {' '.join(IMAGE_SUFFIXES)}")
    if image.dtype not in (np.uint8, np.uint16):
        raise DataError(f"{path}: pixels are {image.dtype}; only 8 and 16 bit unsigned are read. Convert the file")
    return image


def _cut_short(data: bytes) -> str | None:
    """What is missing from a file, or None.

    OpenCV gives the upper part of a JPEG that ends early (up to version 4 of a PNG as well), and libpng and libjpeg
    complain straight to stderr. Both are avoided by looking first.
    """
    if not data:
        return "is empty"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        at = 8
        while at + 12 <= len(data):
            size, kind = struct.unpack_from(">I4s", data, at)
            end = at + 12 + size
            if end > len(data):
                break
            critical = kind[:1].isupper()
            if critical and zlib.crc32(data[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
                return f"is damaged (checksum of PNG chunk {kind.decode('latin-1')} does not match)"
            if kind == b"IEND":
                return None
            at = end
        return f"is cut short (a PNG of {len(data)} bytes without its end)"
    # The last scan must be followed by an end marker; one of an embedded thumbnail lies before it.
    if data.startswith(b"\xff\xd8") and data.rfind(b"\xff\xd9") < data.rfind(b"\xff\xda"):
        return f"is cut short (a JPEG of {len(data)} bytes without its end)"
    return None


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
        first = next((image for image in self._decode() if image is not None), None)
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

    def _decode(self) -> Iterator[NDArray[Any] | None]:
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


# -- video -------------------------------------------------------------------------------------------------------------


class VideoFrames(DecodedFrames):
    """The frames of a video file as grey uint8, at random.

    On the first read the whole video is decoded once, since seeking in a compressed video is slow and not exact.

    Args:
        path: a video file that OpenCV's FFmpeg can open.
        cache_dir: where the decoded frames go; :func:`default_cache_dir` if None.

    Attributes:
        shape: height and width in px.

    Raises:
        DataError: if the file is missing, no video, or does not say how many frames it has. From :meth:`read`: if the
            video holds fewer frames than its header promises and this is one of the missing.
    """

    def __init__(self, path: Path | str, cache_dir: Path | None = None) -> None:
        self.path = Path(path)
        self._cache_dir = Path(cache_dir) if cache_dir is not None else None
        with _opened(self.path) as capture:
            count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
            self.shape = int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)), int(capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        if not count >= 1:
            raise DataError(
                f"{self.path}: does not say how many frames it has. If it is a video, write it into a container that "
                f"does, for example: ffmpeg -i {self.path.name} -c copy {self.path.stem}.mp4"
            )
        super().__init__(str(self.path), int(count))

    def where(self, index: int) -> str:
        """``path#index``."""
        return f"{self.path}#{index}"

    def target(self) -> Path:
        """The file of decoded frames; another one when the video's place, size or time changes."""
        return cache_file(self.path, ".npy", self._cache_dir)

    def needed(self) -> int:
        """Bytes that the decoded frames take."""
        return len(self) * self.shape[0] * self.shape[1]

    def _state(self) -> int:
        return 0  # the file's name tells

    def _decode(self) -> Iterator[NDArray[Any]]:
        height, width = self.shape
        with _opened(self.path) as capture:
            for index in range(len(self)):
                ok, image = capture.read()
                if not ok:
                    return
                if image.shape[:2] != self.shape:
                    raise DataError(
                        f"{self.path}, frame {index}: is {image.shape[1]}x{image.shape[0]}, the header says "
                        f"{width}x{height}. All frames must have one size: encode the video again"
                    )
                yield cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)

    def _undecoded(self, index: int) -> NDArray[np.uint8]:
        if self._frames is None:
            raise DataError(f"{self.path}: not one of {len(self)} frames could be decoded. Copy it again")
        raise DataError(
            f"{self.path}, frame {index}: the header promises {len(self)} frames, only {len(self._frames)} "
            f"could be decoded; the file is cut short or damaged. Copy it again"
        )


@contextmanager
def _opened(path: Path) -> Iterator[cv2.VideoCapture]:
    if not path.is_file():
        raise DataError(f"{path}: there is no such video file. Check the path")
    # FFmpeg by name: OpenCV would otherwise go on to take a name with digits for a series of images.
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        if not capture.isOpened():
            raise DataError(
                f"{path}: cannot be opened as a video by OpenCV's FFmpeg ({path.stat().st_size} bytes); it is cut "
                f"short or no video. Copy it again; usual are {' '.join(VIDEO_SUFFIXES)}"
            )
        yield capture
    finally:
        capture.release()


# -- either ------------------------------------------------------------------------------------------------------------


def open_source(path: Path | str, cache_dir: Path | None = None) -> FrameSource:
    """A folder of images, in the order that their names tell, or a video file.

    Raises:
        DataError: if it is neither; the message lists what is accepted.
    """
    path = Path(path)
    accepted = (
        f"Accepted are a folder of images ({' '.join(IMAGE_SUFFIXES)}) and a video file ({' '.join(VIDEO_SUFFIXES)})"
    )
    if path.is_file():
        if path.suffix.lower() in IMAGE_SUFFIXES:
            raise DataError(f"{path}: is a single image. {accepted}; give the folder it lies in")
        return VideoFrames(path, cache_dir)
    if not path.is_dir():
        raise DataError(f"{path}: there is no such file or folder. {accepted}")
    paths = list_images(path)
    if not paths:
        raise DataError(f"{path}: holds no image. {accepted}")
    return ImageFiles(in_order(paths))
