"""Videos: every frame that can be decoded, with its depth and its time, whatever the header promises."""

from __future__ import annotations

import logging
import struct
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import av.logging
import cv2
import numpy as np
from av.codec.context import ThreadType
from av.container import InputContainer
from av.error import FFmpegError
from av.sidedata.sidedata import Type as SideDataType
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from tdcnet.data.cache import Notes, OneFile
from tdcnet.data.errors import DataError
from tdcnet.data.images import MOST_PIXELS, UPRIGHT, check_pixels
from tdcnet.limits import bound
from tdcnet.shown import printable

log = logging.getLogger(__name__)

VIDEO_SUFFIXES = (
    *(".mp4", ".avi", ".mov", ".mkv", ".m4v", ".mpg", ".wmv", ".webm"),
    *(".mpeg", ".ts", ".mts", ".m2ts", ".flv", ".mxf", ".ogv", ".3gp", ".asf", ".y4m", ".h264", ".hevc", ".nut"),
)
"""Usual endings of videos; files of others are tried all the same."""

# Not playlists, scripts and series of images, which name other files and addresses.
CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,asf,ogg,flv,mxf,nut,ivf,gif,apng,yuv4mpegpipe,"
    "h264,hevc,vvc,av1,obu,m4v,mjpeg,vc1,dv,rm,wtv,swf,gxf,lvf,dirac,h261,h263"
)
_MOST_FAULTS = 1000  # errors of the container one after another
_TURNS = {
    (1, 0, 0, 1): 1,
    (-1, 0, 0, 1): 2,
    (-1, 0, 0, -1): 3,
    (1, 0, 0, -1): 4,
    (0, 1, 1, 0): 5,
    (0, 1, -1, 0): 6,
    (0, -1, -1, 0): 7,
    (0, -1, 1, 0): 8,
}  # signs of a display matrix -> EXIF orientation


class VideoFrames(OneFile):
    """The frames of a video file, grey, at random, with their times.

    The video is decoded once, to its end, into the cache: how many frames it has is what came, not what its header
    says, and seeking in a compressed video is slow and not exact. Opening it again reads the cache only.

    Frames of 8 bits a colour are uint8, deeper ones uint16: the brightness as stored (a pixel of ``gray12`` is 0 to
    4095), colour as grey. A rotation in the file is applied. A frame that cannot be decoded keeps its place, so that
    those behind it keep their number; reading it raises DataError.

    Args:
        path: a video file that FFmpeg can open.
        cache_dir: where the decoded frames go; :func:`default_cache_dir` if None.

    Attributes:
        path: the file.

    Raises:
        DataError: if the file is missing, no video or too large. From what needs the frames: if there is none.
    """

    def _look(self) -> tuple[int, int]:
        with _opened(self.path) as (_, stream):
            width, height = stream.codec_context.width, stream.codec_context.height
            # Until it is decoded this tells only how much room it will take.
            return _promised(stream), width * height * (2 if _bits(stream.codec_context.format) > 8 else 1)

    def _decode(self, notes: Notes) -> Iterator[NDArray[Any] | None]:
        with _opened(self.path) as (container, stream):
            yield from _Reader(self.path, container, stream, notes)

    def _undecoded(self, index: int) -> NDArray[Any]:
        if not self._known():
            raise DataError(f"{self.path}: not one frame could be decoded. Copy it again")
        raise DataError(f"{self.path}, frame {index}: is damaged and could not be decoded. Copy the file again")


def decode(path: Path) -> Iterator[tuple[NDArray[Any] | None, float]]:
    """The frames of a video as they are decoded, without a cache: grey [H, W] and seconds as the file tells them.

    Raises:
        DataError: if the file is missing, no video or too large, or, at the end, if not one frame could be decoded.
    """
    with _opened(path) as (container, stream):
        notes = Notes()
        reader = _Reader(path, container, stream, notes)
        for image in reader:
            yield image, reader.times[-1]
        if notes.fault:
            log.warning("%s %s", path, notes.fault)
        if not reader.decoded:
            raise DataError(f"{path}: not one frame could be decoded. Copy it again")


def declared_rate(path: Path) -> float | None:
    """Frames a second that a video's header promises; None if it tells none.

    Raises:
        DataError: if the file is missing, no video or too large.
    """
    with _opened(path) as (_, stream):
        told = stream.average_rate or stream.guessed_rate
        return float(told) if told else None


def declared_length(path: Path) -> int | None:
    """Frames that a video's header promises; None if it tells none.

    Raises:
        DataError: if the file is missing, no video or too large.
    """
    with _opened(path) as (_, stream):
        return stream.frames or None


def grey_and_shown(frame: VideoFrame, where: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """A frame as grey [H, W], uint8 or uint16, and as people are shown it: RGB [H, W, 3] where it is colour.

    Raises:
        DataError: if it is too large, or its pixels are of a kind that is not read.
    """
    grey = _grey(frame, Path(where))
    if grey.dtype != np.uint8 or frame.format.name.startswith("gray"):
        return grey, grey
    return grey, np.ascontiguousarray(UPRIGHT[_orientation(frame)](_converted(frame, "rgb24")))


def open_videos(paths: Iterable[Path], cache_dir: Path | None = None) -> list[VideoFrames]:
    """Those of ``paths`` that can be opened, to have them decoded together; opening one alone tells what is wrong."""
    found = []
    for path in paths:
        with suppress(DataError):
            found.append(VideoFrames(path, cache_dir))
    return found


# -- reading -----------------------------------------------------------------------------------------------------------


@contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    if not path.is_file():
        what = "is no file but a pipe, a device or a folder" if path.exists() else "there is no such video file"
        raise DataError(f"{path}: {what}. Check the path")
    try:
        # "file:", or a name with a colon would be taken for an address.
        options = {"format_whitelist": CONTAINERS, "protocol_whitelist": "file", "max_pixels": str(bound(MOST_PIXELS))}
        container = av.open(f"file:{path}", options=options, metadata_errors="replace")
    except (FFmpegError, ValueError, OSError) as error:
        raise DataError(
            f"{path}: cannot be opened as a video by FFmpeg ({path.stat().st_size} bytes); it is cut short or no "
            f"video. Copy it again; usual are {' '.join(VIDEO_SUFFIXES[:8])}"
        ) from error
    with container:
        stream = container.streams.best("video")
        if not isinstance(stream, VideoStream) or stream.codec_context is None:
            raise DataError(f"{path}: holds no video that FFmpeg can decode. Give another file")
        check_pixels(path, stream.codec_context.width, stream.codec_context.height)
        stream.codec_context.options = {"max_pixels": str(bound(MOST_PIXELS))}
        # One thread a video, in which FFmpeg also says what it finds wrong; several videos are decoded at once.
        stream.thread_type = ThreadType.NONE
        stream.codec_context.thread_count = 1
        yield container, stream


class _Reader:
    """Decodes a video to its end; iterating gives grey frames, and None for one that could not be decoded."""

    def __init__(self, path: Path, container: InputContainer, stream: VideoStream, notes: Notes) -> None:
        self.path, self.container, self.stream, self.notes = path, container, stream, notes
        self.times: list[float] = []
        self.lost: list[float] = []  # times of packets that could not be decoded and have no place yet
        self.shape: tuple[tuple[int, int], np.dtype[Any]] | None = None
        self.decoded = self.broken = self.patched = self.odd = self.reached = 0
        self.said: list[Any] = []  # what FFmpeg says while it reads: level, part, text

    def __iter__(self) -> Iterator[NDArray[Any] | None]:
        with _listening() as self.said:
            yield from self._images()
        self.notes.times, self.notes.rate = self._clean_times()
        self.notes.fault = self._fault()

    def _images(self) -> Iterator[NDArray[Any] | None]:
        for frame in self._frames():
            time = float("nan") if frame.time is None else float(frame.time)
            for lost in sorted(self.lost):
                if not lost >= time:
                    self.lost.remove(lost)
                    self.times.append(lost)
                    yield None
            self.times.append(time)
            image = _grey(frame, self.path)
            form = (image.shape[:2], image.dtype)
            self.shape = self.shape or (form[0], form[1])
            if form != self.shape:
                self.odd += 1
                yield None
                continue
            self.decoded += 1
            yield image

    def _frames(self) -> Iterator[VideoFrame]:
        delayed = self.stream.codec_context.codec.delay  # else each packet gives its frame at once
        for packet in self._packets():
            heard, came = len(self.said), 0
            try:
                for frame in packet.decode():
                    self.patched += frame.is_corrupt or len(self.said) > heard
                    heard, came = len(self.said), came + 1
                    yield frame
                lost = len(self.said) > heard and not came and not delayed
                self.patched += len(self.said) > heard and not lost
            except FFmpegError:
                lost = True
            if lost:
                self.broken += 1
                told = packet.dts if packet.pts is None else packet.pts
                self.lost.append(float("nan") if told is None else float(told * packet.time_base))

    def _packets(self) -> Iterator[Any]:
        faults, ended = 0, False
        while not ended and faults < _MOST_FAULTS:
            try:
                for packet in self.container.demux(self.stream):
                    faults = 0
                    if packet.pos is not None:
                        self.reached = max(self.reached, packet.pos + packet.size)
                    yield packet
                ended = True
            except EOFError:
                ended = True
            except FFmpegError:
                faults += 1
                self.broken += faults == 1

    def _clean_times(self) -> tuple[NDArray[np.float64] | None, float | None]:
        """Seconds from the first frame, always growing, and frames a second; None where the file tells neither."""
        told = self.stream.average_rate or self.stream.guessed_rate
        declared = float(told) if told else None
        times = np.array(self.times, np.float64)
        bad = ~np.isfinite(times)
        steps = np.diff(times[~bad])
        growing = steps[steps > 0]
        # AVI has no times but places, which come out of order with some codecs.
        untimed = self.container.format.name == "avi" and len(growing) < len(steps)
        if len(times) < 2 or not len(growing) or bad.sum() > len(times) / 2 or untimed:
            return (np.arange(len(times)) / declared, declared) if declared else (None, None)
        places = np.arange(len(times))
        times[bad] = np.interp(places[bad], places[~bad], times[~bad])
        steps, middle = np.diff(times), float(np.median(growing))
        steps[steps <= 0] = middle  # streams put one behind the other begin their time anew
        times = np.concatenate([[0.0], np.cumsum(steps)])
        span, count = float(times[-1]), len(times) - 1
        # Times are rounded, often to 1 ms.
        agrees = declared is not None and abs(span - count / declared) <= max(0.002, 0.005 * span)
        return times, declared if agrees else count / span

    def _fault(self) -> str:
        """What is wrong with the file, in words; empty if nothing is."""
        faults = []
        if short := self._cut_short():
            faults.append(short)
        for count, what in (
            (self.broken, "parts cannot be decoded"),
            (self.patched, "parts are damaged and patched up by the decoder"),
            (self.odd, "frames are of another size or depth than the first"),
        ):
            if count:
                faults.append(f"{count} {what}")
        size = self.path.stat().st_size
        if not faults and size - self.reached > 0.1 * size + 100_000 + 100 * len(self.times):
            faults.append(f"only the first {self.reached:,} of its {size:,} bytes could be used")
        if not faults:
            return ""
        told = f" (FFmpeg: {printable(' '.join(str(self.said[0][2]).split()))[:80]})" if self.said else ""
        return f"is cut short or damaged: {'; '.join(faults)}{told}; {self.decoded} frames came"

    def _cut_short(self) -> str:
        stream, times = self.stream, [time for time in self.times if np.isfinite(time)]
        if stream.duration is not None and stream.time_base is not None:
            length = float(stream.duration * stream.time_base)
        elif self.container.duration is not None and len(self.container.streams) == 1:
            length = self.container.duration / 1e6
        else:
            return ""
        interval = max(float(np.median(np.abs(np.diff(times)))) if len(times) > 1 else 0.0, _interval(stream))
        came = (max(times) - min(times) if times else 0.0) + interval
        # Where the file has a table of its frames it tells to the frame, else it may be a little off.
        slack = (1.5 if stream.frames else 2.5) * interval
        if length - came <= slack or 0 < stream.frames <= len(self.times):
            return ""
        promised = f"{stream.frames} frames in " if stream.frames else ""
        return f"its header promises {promised}{length:.2f} s, it ends after {came:.2f} s"


_listeners = 0
_lock = threading.Lock()


@contextmanager
def _listening() -> Iterator[list[Any]]:
    """What FFmpeg says of errors in this thread; damage that it patches up is told in no other way."""
    global _listeners
    with _lock:
        _listeners += 1
        av.logging.set_level(av.logging.ERROR)
        av.logging.set_skip_repeated(False)
    try:
        with av.logging.Capture(local=True) as said:
            yield said
    finally:
        with _lock:
            _listeners -= 1
            if not _listeners:
                av.logging.set_level(None)
                av.logging.set_skip_repeated(True)


def _interval(stream: VideoStream) -> float:
    return float(1 / stream.average_rate) if stream.average_rate else 0.0


def _promised(stream: VideoStream) -> int:
    if stream.frames:
        return int(stream.frames)
    length = stream.duration * stream.time_base if stream.duration and stream.time_base else None
    if length is None and isinstance(stream.container, InputContainer) and stream.container.duration:
        length = Fraction(stream.container.duration, 1_000_000)
    return int(length * stream.average_rate) if length and stream.average_rate else 0


def _bits(form: Any) -> int:
    return max((component.bits for component in form.components), default=8) if form is not None else 8


def _grey(frame: VideoFrame, path: Path) -> NDArray[Any]:
    """A frame as grey [H, W], uint8 or uint16, upright."""
    check_pixels(path, frame.width, frame.height)
    image = _eight_bits(frame) if _bits(frame.format) <= 8 else _deep(frame, path)
    return np.ascontiguousarray(UPRIGHT[_orientation(frame)](image))


def _eight_bits(frame: VideoFrame) -> NDArray[Any]:
    # As OpenCV does it, to the bit.
    colour = _converted(frame, "bgr24")
    return cv2.cvtColor(colour, cv2.COLOR_BGR2GRAY)


def _converted(frame: VideoFrame, form: str) -> NDArray[Any]:
    # In this thread: a worker process that is forked while FFmpeg has threads of its own waits for them for ever.
    return frame.reformat(format=form, interpolation="BICUBIC", threads=1).to_ndarray()


def _deep(frame: VideoFrame, path: Path) -> NDArray[Any]:
    name, form = frame.format.name, frame.format
    if _bits(form) > 16 or "f32" in name or "f16" in name:
        raise DataError(f"{path}: has pixels of {name}; 8 to 16 bits are read. Convert it on a scale that you choose")
    if form.is_rgb:
        # Exact for 16 bits, and for fewer spread over them.
        colour = _converted(frame, "rgb48le")
        return cv2.cvtColor(np.ascontiguousarray(colour, np.uint16), cv2.COLOR_RGB2GRAY)
    if name.startswith(("gray", "yuv")) and name.endswith(("le", "be")):
        plane = frame.planes[0]
        values = np.frombuffer(memoryview(plane), "<u2" if name.endswith("le") else ">u2")
        rows = values[: plane.line_size // 2 * frame.height].reshape(frame.height, plane.line_size // 2)
        return rows[:, : frame.width].astype(np.uint16)
    return _converted(frame, "gray16le")


def _orientation(frame: VideoFrame) -> int:
    matrix = cast(Any, frame.side_data).get(SideDataType.DISPLAYMATRIX)
    if matrix is None:
        return 1
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(memoryview(matrix))[:36])
    return _TURNS.get((_sign(a), _sign(b), _sign(c), _sign(d)), 1)


def _sign(value: int) -> int:
    return (value > 1 << 15) - (value < -(1 << 15))
