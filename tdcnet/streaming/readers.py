"""Cameras and addresses, opened by OpenCV and FFmpeg: one call a frame, each with an end to its patience."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import av
import cv2
import numpy as np
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from tdcnet.data.errors import DataError
from tdcnet.data.images import MOST_PIXELS, check_pixels, to_counts
from tdcnet.data.video import CONTAINERS, grey_and_shown
from tdcnet.finite import number
from tdcnet.limits import bound
from tdcnet.streaming.addresses import check_address, without_password

PROTOCOLS = "rtsp,rtsps,rtp,udp,tcp,tls,http,https,httpproxy,crypto"
"""What an address may lead to; no files."""
FORMATS = f"{CONTAINERS},rtsp,sdp,mpjpeg,hls"
TIMELESS = {"mpjpeg", "mjpeg", "h264", "hevc", "m4v", "mpegvideo", "ivf", "gif"}
"""Formats whose times FFmpeg makes up from a rate that nobody told."""
MOST_FAULTS = 100
"""Packets one after another that cannot be decoded; then the stream is as good as lost."""


class Picture(NamedTuple):
    """A frame that was read: grey, as people are shown it, and seconds by the stream's own clock if it has one."""

    image: NDArray[Any]
    given: NDArray[Any]
    time: float | None


class Reader(Protocol):
    """An open camera or stream."""

    rate: float | None

    def read(self) -> Picture | None:
        """The next frame; None at the end.

        Raises:
            DataError: if it is lost.
        """
        ...

    def close(self) -> None:
        """Ends it."""
        ...


@dataclass(frozen=True)
class CameraOptions:
    """What a camera is asked for; it may give something else.

    Attributes:
        width, height: px; None for its own.
        fps: frames a second.
        fourcc: of pixels as they come, such as ``Y16`` for 16 bits, ``MJPG``.
        open_s, read_s: seconds until an address that does not answer, or gives no more frames, is lost.
        transport: of RTSP: ``tcp``, which loses nothing, or ``udp``.
    """

    width: int | None = None
    height: int | None = None
    fps: float | None = None
    fourcc: str | None = None
    open_s: float = 10.0
    read_s: float = 10.0
    transport: str = "tcp"

    def __post_init__(self) -> None:
        if self.transport not in ("tcp", "udp"):
            raise ValueError(f"transport is {self.transport!r}; allowed are tcp, udp")
        if self.fourcc is not None and not (0 < len(self.fourcc) <= 4 and self.fourcc.isascii()):
            raise ValueError(f"fourcc is {self.fourcc!r}; expected up to four letters, such as Y16 or MJPG")
        for name in ("open_s", "read_s"):
            number(name, getattr(self, name), 0, 3600, above=True)
        for name in ("width", "height", "fps"):
            if getattr(self, name) is not None:
                number(name, getattr(self, name), 0, 100_000, above=True)


class CameraReader:
    """A camera of this machine, by OpenCV.

    Args:
        device: its number, or a file such as ``/dev/video0``.
        options: what it is asked for.

    Raises:
        DataError: if it cannot be opened.
    """

    def __init__(self, device: int | str, options: CameraOptions) -> None:
        self.name = f"camera {device}"
        path = f"/dev/video{device}" if isinstance(device, int) else device
        if os.name == "posix" and os.path.isdir("/dev") and os.uname().sysname == "Linux":
            if not os.path.exists(path):
                raise DataError(f"{self.name}: there is no {path}. See `ls /dev/video*`; is it plugged in?")
            if not os.access(path, os.R_OK | os.W_OK):
                raise DataError(f"{self.name}: {path} may not be read by this user. Add it to the group `video`")
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
        self._capture = cv2.VideoCapture(device if isinstance(device, int) else path)
        if not self._capture.isOpened():
            raise DataError(f"{self.name}: cannot be opened; another program may hold it, or it is no camera")
        if options.fourcc is not None:
            self._capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*options.fourcc.ljust(4)))
            if options.fourcc.strip().upper() == "Y16":
                self._capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)
        for prop, value in (
            (cv2.CAP_PROP_FRAME_WIDTH, options.width),
            (cv2.CAP_PROP_FRAME_HEIGHT, options.height),
            (cv2.CAP_PROP_FPS, options.fps),
            (cv2.CAP_PROP_BUFFERSIZE, 1),
        ):
            if value is not None:
                self._capture.set(prop, value)
        rate = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.rate: float | None = rate if 0 < rate <= 1000 else None

    def read(self) -> Picture | None:
        """The next frame."""
        good, image = self._capture.read()
        if not good or image is None:
            raise DataError(f"{self.name}: gives no more frames. Is it still plugged in?")
        return picture_of(image, self.name)

    def close(self) -> None:
        """Ends it."""
        self._capture.release()


def picture_of(image: NDArray[Any], where: str) -> Picture:
    """A picture as OpenCV gives it: grey, or BGR."""
    check_pixels(where, image.shape[1], image.shape[0])
    if image.ndim == 3 and image.shape[2] == 3:
        return Picture(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.cvtColor(image, cv2.COLOR_BGR2RGB), None)
    grey = to_counts(np.squeeze(image), where)
    return Picture(grey, grey, None)


class AddressReader:
    """A stream of a network, by FFmpeg.

    Args:
        address: RTSP or HTTP.
        options: how long to wait, and how RTSP comes.

    Raises:
        DataError: if it cannot be opened.
    """

    def __init__(self, address: str, options: CameraOptions) -> None:
        check_address(address)
        self.name, self._options = without_password(address), options
        given = {
            "protocol_whitelist": PROTOCOLS,
            "format_whitelist": FORMATS,
            "max_pixels": str(bound(MOST_PIXELS)),
            "fflags": "nobuffer",
            "analyzeduration": "2000000",
        }
        if address.lower().startswith("rtsp"):
            given["rtsp_transport"] = options.transport
        try:
            self._container = av.open(address, options=given, timeout=(options.open_s, options.read_s))
        except (FFmpegError, OSError, ValueError) as error:
            raise DataError(f"{self.name}: {_why(error)}") from None  # its text holds the address
        stream = self._container.streams.best("video")
        if not isinstance(stream, VideoStream) or stream.codec_context is None:
            self._container.close()
            raise DataError(f"{self.name}: holds no video that FFmpeg can decode")
        stream.codec_context.options = {"max_pixels": str(bound(MOST_PIXELS))}
        stream.codec_context.thread_count = 1
        rate = stream.average_rate or stream.guessed_rate
        self.rate = float(rate) if rate and 0 < rate <= 1000 else None
        self._stream = stream
        self._has_clock = not set(self._container.format.name.split(",")) & TIMELESS
        self._frames = self._decoded()

    def read(self) -> Picture | None:
        """The next frame."""
        frame = next(self._frames, None)
        if frame is None:
            return None
        grey, given = grey_and_shown(frame, self.name)
        return Picture(grey, given, float(frame.time) if self._has_clock and frame.time is not None else None)

    def close(self) -> None:
        """Ends it."""
        self._container.close()

    def _decoded(self) -> Iterator[VideoFrame]:
        faults = 0
        try:
            for packet in self._container.demux(self._stream):
                try:
                    for frame in packet.decode():
                        faults = 0
                        if not frame.is_corrupt:
                            yield frame
                except FFmpegError:  # one that was torn
                    faults += 1
                    if faults > MOST_FAULTS:
                        raise DataError(f"{self.name}: {faults} parts in a row cannot be decoded") from None
        except EOFError:
            return
        except (FFmpegError, OSError) as error:
            raise DataError(f"{self.name}: {_why(error)}") from None


_REASONS = {
    errno.ECONNREFUSED: "nothing answers at this port; is the camera on, and the port right?",
    errno.EHOSTUNREACH: "the host cannot be reached; is the camera on, and this machine in its network?",
    errno.ENETUNREACH: "the network cannot be reached",
    errno.ETIMEDOUT: "no answer in time",
    errno.EPERM: "not permitted",
    errno.EIO: "the connection broke, or there is no such host",
}


def _why(error: BaseException) -> str:
    """What went wrong, without the address that FFmpeg's own text holds."""
    kind = type(error).__name__
    if "Unauthorized" in kind or "Forbidden" in kind:
        return "name or password are not accepted; give them as rtsp://NAME:PASSWORD@HOST/PATH"
    if "NotFound" in kind:
        return "the server knows no such path"
    if "ExitError" in kind or isinstance(error, TimeoutError):
        return _REASONS[errno.ETIMEDOUT]
    number = getattr(error, "errno", None)
    return _REASONS.get(number, f"cannot be read ({getattr(error, 'strerror', None) or kind})")  # type: ignore[arg-type]
