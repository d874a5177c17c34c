"""Frames that are decoded once into a file of raw pixels, and where such files lie."""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import shutil
import threading
import weakref
import zlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdcnet.data.errors import DataError
from tdcnet.data.frame_file import FrameFile, behind, head_of
from tdcnet.data.frame_file import Notes as Notes  # for those who look for it here
from tdcnet.files import replacing
from tdcnet.processors import processors
from tdcnet.progress import progress_bar

log = logging.getLogger(__name__)

_UNDECODED = -1  # in place of a checksum
_CHECKED_EACH = 64  # frames after which room is looked for again
_MOST_OPEN = 500  # of a process: each is a file descriptor, of which many systems give 1024


# -- files -------------------------------------------------------------------------------------------------------------


def default_cache_dir() -> Path:
    """``$TDCNET_CACHE``, or else ``$XDG_CACHE_HOME/tdcnet``, or else ``~/.cache/tdcnet``."""
    if own := os.environ.get("TDCNET_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "tdcnet"


def cache_file(source: Path, suffix: str, cache_dir: Path | None = None) -> Path:
    """Path of what is derived from ``source``; another one as soon as the file's place, size or time changes."""
    stat = source.stat()
    return cache_name(source.stem, f"{source.resolve()}|{stat.st_size}|{stat.st_mtime_ns}", suffix, cache_dir)


def cache_name(stem: str, key: str, suffix: str, cache_dir: Path | None = None) -> Path:
    """Path of what ``key`` tells from everything else in the cache; ``stem`` is for the eye."""
    digest = hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()[:12]
    return (cache_dir or default_cache_dir()) / f"{stem}-{digest}{suffix}"


def check_room(folder: Path, needed: int) -> None:
    """Raises OSError (ENOSPC) if fewer bytes than ``needed`` are free where ``folder`` is, or will be made."""
    there = next((parent for parent in (folder, *folder.absolute().parents) if parent.exists()), Path("/"))
    free = shutil.disk_usage(there).free
    if free < needed:
        raise OSError(errno.ENOSPC, f"only {free / 1e6:.0f} MB are free")


# -- frames ------------------------------------------------------------------------------------------------------------


class DecodedFrames(ABC):
    """The frames of a recording, decoded once and in order into a file, then read from it at random.

    The file is made by :meth:`make`, or on the first read. It is a .npy file of all frames, with more behind it: what
    the sources looked like, the CRC-32 of each frame, its time, and a SHA-256 of all this and the head. It is made anew
    where the sources look otherwise now, where anything but a frame is not as it was written, or where a frame differs
    from its checksum, which is looked at when a process first reads that frame. Several processes may make it at once.
    Can be pickled; the file is opened anew in each process.

    Args:
        name: of the recording, for messages.
        count: of its frames; None if only decoding tells.
    """

    def __init__(self, name: str, count: int | None) -> None:
        self._name, self._count = name, count
        self._form: tuple[tuple[int, int], np.dtype[Any]] | None = None
        self._notes = Notes()
        self._file: FrameFile | None = None
        self._sums: NDArray[np.int64] = np.zeros(0, np.int64)
        self._checked: NDArray[np.bool_] = np.zeros(0, np.bool_)

    def __len__(self) -> int:
        self._ready()
        assert self._count is not None
        return self._count

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_file": None, "_sums": np.zeros(0, np.int64), "_checked": np.zeros(0, np.bool_)}

    @property
    def times(self) -> NDArray[np.float64] | None:
        """Seconds from the first frame, float64 [N]; None if not known."""
        self._ready()
        return self._notes.times

    @property
    def rate(self) -> float | None:
        """Frames a second; None if not known."""
        self._ready()
        return self._notes.rate

    @property
    def fault(self) -> str:
        """What is wrong with the file though frames could be decoded, in words; empty if nothing is."""
        self._ready()
        return self._notes.fault

    @property
    def form(self) -> tuple[tuple[int, int], np.dtype[Any]]:
        """Height and width in px, and type of the pixels, of the frames that were decoded."""
        if self._form is None and not self._open():
            self.make()
        assert self._form is not None
        return self._form

    # What the kinds of recordings tell ----------------------------------------------------------------------------

    @abstractmethod
    def target(self) -> Path:
        """The file of decoded frames."""

    @abstractmethod
    def needed(self) -> int:
        """Bytes that the decoded frames take, as far as is known."""

    def expected(self) -> int:
        """Frames, as far as is known."""
        return len(self)

    @abstractmethod
    def _state(self) -> int:
        """A number, of 64 bits, that is another one when the sources have changed and :meth:`target` is the same."""

    @abstractmethod
    def _decode(self, notes: Notes) -> Iterator[NDArray[Any] | None]:
        """The frames in order, all [H, W] of one dtype; None for one that cannot be decoded. Fills ``notes``."""

    @abstractmethod
    def _undecoded(self, index: int) -> NDArray[Any]:
        """Raises the DataError of a frame that could not be decoded; or gives it, where it can be by now."""

    # What they share --------------------------------------------------------------------------------------------------

    def read(self, index: int) -> NDArray[Any]:
        """Frame ``index`` as [H, W], uint8 or uint16, a copy.

        Raises:
            DataError: if this frame could not be decoded.
            OSError: if the decoded frames cannot be kept (no space, no permission). Not a DataError, since no frame
                is at fault and leaving frames out would hide it.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"{self._name}: frame {index} asked for, allowed are 0 to {len(self) - 1}")
        if self._file is None and not self._open():
            self.make()
        frame = self._checked_frame(index)
        if frame is None:
            log.warning("%s is damaged at frame %d and is made again", self.target(), index)
            self.make()
            frame = self._checked_frame(index)
        if frame is None:
            raise OSError(errno.EIO, f"{self.target()}: damaged as soon as it is written. Check that disk")
        return frame if len(frame) else self._undecoded(index)

    def is_made(self) -> bool:
        """Whether the file is there and was made from the sources as they are now."""
        return self._file is not None or self._open()

    def make(self, step: Callable[[], object] = lambda: None) -> None:
        """Decodes all frames into the file, also where there is one.

        Args:
            step: called after each frame; an exception from it ends the work and leaves nothing behind.

        Raises:
            DataError: if not one frame can be decoded.
            OSError: if the file cannot be written.
        """
        target, self._sums = self.target(), np.zeros(0, np.int64)
        log.debug("decoding %s once into %s", self._name, target)
        try:
            self._write(target, step)
        except OSError as error:
            raise OSError(
                error.errno,
                f"cannot keep the decoded frames of {self._name} in {target.parent} ({error.strerror or error}); they "
                f"take {self.needed() / 1e6:.0f} MB. Make room there, or set dataset.cache_dir (TDCNET_CACHE for "
                "scripts) to a folder that has it and can be written to",
            ) from error
        if not self._open():
            raise OSError(errno.EIO, f"{target}: cannot be read as soon as it is written. Check that disk")

    def _known(self) -> bool:
        return self._count is not None

    def _ready(self) -> None:
        """Has the recording decoded if only that tells what it holds."""
        if self._count is None and not self._open():
            self.make()

    def _checked_frame(self, index: int) -> NDArray[Any] | None:
        """A frame, empty if it was not decoded; None if it is not what was written."""
        assert self._file is not None
        if self._sums[index] == _UNDECODED:
            return np.empty((0, 0), self._file.kept.dtype)
        frame = self._file.read(index)
        if frame is None or (not self._checked[index] and zlib.crc32(frame.data) != self._sums[index]):
            return None
        self._checked[index] = True
        return frame

    def _open(self) -> bool:
        target = self.target()
        try:
            file = FrameFile(target)
        except FileNotFoundError:
            return False
        except (ValueError, OSError, OverflowError) as error:
            log.warning("%s %s, and is made again", target, getattr(error, "strerror", None) or error)
            return False
        kept = file.kept
        if kept.state != self._state():
            log.info("%s has changed, and is decoded again", self._name)
            return False
        if self._count is not None and self._count != len(kept.sums):
            log.warning("%s is of another number of frames, and is made again", target)
            return False
        self._file = file
        self._count, self._notes, self._form = len(kept.sums), kept.notes, (kept.shape[1:], kept.dtype)
        if not np.array_equal(self._sums, kept.sums):
            self._sums, self._checked = kept.sums, np.zeros(len(kept.sums), np.bool_)
        _opened.append(weakref.ref(self))
        if len(_opened) > _MOST_OPEN and (oldest := _opened.popleft()()) is not None:
            oldest._file = None
        if kept.notes.fault and target not in _told:
            _told.add(target)
            log.warning("%s: %s. Copy it again, or go on with those", self._name, kept.notes.fault)
        return True

    def _write(self, target: Path, step: Callable[[], object]) -> None:
        # Plain writes, not a writable map: with a map a full disk would be a bus error.
        check_room(target.parent, self.needed())
        sums: list[int] = []
        notes = Notes()
        first: NDArray[Any] | None = None
        with replacing(target, durable=False) as file:
            for image in self._decode(notes):
                if image is None:
                    sums.append(_UNDECODED)
                else:
                    if first is None:
                        first = image
                        start = file.write(head_of(image.dtype, (0, *image.shape)))
                    file.seek(start + len(sums) * image.nbytes)  # over a frame that is missing, if one is
                    if len(sums) % _CHECKED_EACH == 0:  # a header may promise less than comes
                        check_room(target.parent, _CHECKED_EACH * image.nbytes)
                    data = image.tobytes()
                    file.write(data)
                    sums.append(zlib.crc32(data))
                step()
            if first is None:
                self._undecoded(0)
                raise OSError(errno.EIO, f"{self._name} could not be decoded a moment ago, now it can. Try again")
            head = head_of(first.dtype, (len(sums), *first.shape))
            if len(head) != start:
                raise RuntimeError(f"{target}: numpy's header grew from {start} to {len(head)} bytes")
            file.seek(0)
            file.write(head)
            file.seek(start + len(sums) * first.nbytes)
            file.write(behind(head, first.dtype, first.shape, self._state(), sums, notes))


class OneFile(DecodedFrames):
    """The frames of a recording that is one file, a video or a stack of images, decoded once into the cache.

    How many there are is known once they are decoded, see :meth:`DecodedFrames.make`. A kind of file says in
    :meth:`_look` what it promises before that.

    Args:
        path: the file.
        cache_dir: where the decoded frames go; :func:`default_cache_dir` if None.

    Raises:
        DataError: if the file cannot be read.
    """

    def __init__(self, path: Path | str, cache_dir: Path | None = None) -> None:
        self.path = Path(path)
        self._cache_dir = Path(cache_dir) if cache_dir is not None else None
        super().__init__(str(self.path), None)
        self._expected, self._bytes = (0, 0) if self.path.is_file() and self._open() else self._look()

    @abstractmethod
    def _look(self) -> tuple[int, int]:
        """How many frames the file promises, 0 if it does not say, and the bytes of one."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in px."""
        return self.form[0]

    def where(self, index: int) -> str:
        """``path#index``."""
        return f"{self.path}#{index}"

    def target(self) -> Path:
        """The file of decoded frames; another one when the file's place, size or time changes."""
        return cache_file(self.path, ".npy", self._cache_dir)

    def expected(self) -> int:
        """Frames; before they are decoded as many as the file promises, which may be wrong."""
        return len(self) if self._known() else max(1, self._expected)

    def needed(self) -> int:
        """Bytes that the decoded frames take, as far as is known."""
        if not self._known():
            return self.expected() * self._bytes
        (height, width), dtype = self.form
        return len(self) * height * width * dtype.itemsize

    def _state(self) -> int:
        return 0  # the file's name tells


_opened: deque[weakref.ref[DecodedFrames]] = deque()
_told: set[Path] = set()  # files whose faults this process has told


class _Stopped(Exception):
    pass


# -- many recordings ---------------------------------------------------------------------------------------------------


def decode_ahead(sources: Iterable[object], threads: int | None = None, progress: bool = True) -> None:
    """Makes the files of all recordings that have none yet; says before how much they take.

    Args:
        sources: frames of recordings; those that are not :class:`DecodedFrames` are passed over.
        threads: recordings at once; as many as there are processors if None.
        progress: whether to show a bar.

    Raises:
        OSError: if the disk has no room for them; nothing is decoded then.
    """
    # Both sides of a split may lie in the same recordings.
    asked = {source.target(): source for source in sources if isinstance(source, DecodedFrames)}
    missing = {target: source for target, source in asked.items() if not source.is_made()}
    if not missing:
        return
    folder, needed = next(iter(missing)).parent, sum(source.needed() for source in missing.values())
    frames = sum(source.expected() for source in missing.values())
    said = f"{frames} frames of {len(missing)} recordings, decoded once, take {needed / 1e6:.0f} MB in {folder}"
    try:
        check_room(folder, needed)
    except OSError as error:
        raise OSError(
            error.errno,
            f"{said}, but {error.strerror}. Make room there, set dataset.cache_dir to a folder that has it, or "
            "dataset.decode=on_the_fly, which needs none",
        ) from error
    log.info("%s", said)
    stopped = threading.Event()

    def make(source: DecodedFrames) -> None:
        def step() -> None:
            if stopped.is_set():
                raise _Stopped
            bar.advance(shown)

        try:
            source.make(step)
        except DataError as error:
            log.warning("not decoded: %s", error)  # reading a frame of it tells again, and then it counts

    if threads is None:
        threads = processors()
    # Threads do: nearly all time goes to OpenCV, zlib and the disk, which let others run.
    with progress_bar(not progress) as bar, ThreadPoolExecutor(threads) as executor:
        shown = bar.add_task("decoding frames", total=frames)
        try:
            for future in as_completed([executor.submit(make, source) for source in missing.values()]):
                future.result()
        except BaseException:
            stopped.set()
            executor.shutdown(cancel_futures=True)
            raise
