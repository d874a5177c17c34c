"""Annotated video in segments that can be read whenever the program ends, and pictures of alarms."""

from __future__ import annotations

import logging
import re
import time
from collections import deque
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import cv2
import numpy as np
from av.error import FFmpegError
from av.video.stream import VideoStream

from tdcnet.data.safe_names import safe_name
from tdcnet.finite import number
from tdcnet.streaming.pictures import Painter, Picture

if TYPE_CHECKING:
    from tdcnet.streaming.alarms import Alarm
    from tdcnet.tracking.stream import Tracked

log = logging.getLogger(__name__)

# A player finds the tables in each part, and a part is written every second: what was cut off is at most that.
FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"}
TICK = Fraction(1, 90_000)
PAUSE = 10.0
"""Seconds after a fault until the next file is begun."""
VIDEO = re.compile(r".+_\d{8}_\d{6}(_\d+)?\.mp4")
PICTURE = re.compile(r".+_\d{8}_\d{6}_\d{6,}_.+\.jpg")
"""Names of what is written here; nothing else in a folder is ever removed."""


def _of_before(folder: Path, names: re.Pattern[str]) -> list[Path]:
    """Files of earlier runs, the oldest first."""
    found = [path for path in folder.iterdir() if names.fullmatch(path.name)]
    return sorted(found, key=lambda path: path.stat().st_mtime)


class Segments:
    """Annotated video, a file every so many seconds, or around alarms only.

    Args:
        folder: for the files, ``NAME_YYYYmmdd_HHMMSS.mp4`` by the clock of the machine.
        rate: frames a second that the file promises; frames are shown when they came.
        seconds: length of a file.
        alarms_only: files begin ``before`` seconds before an alarm and end ``after`` seconds after the last one.
        before, after: seconds.
        keep: files; the oldest ones are removed beyond that, 0 keeps all.
    """

    def __init__(
        self,
        folder: str | Path,
        rate: float = 30.0,
        seconds: float = 600.0,
        alarms_only: bool = False,
        before: float = 5.0,
        after: float = 5.0,
        keep: int = 0,
    ) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        number("seconds", seconds, 0, above=True)
        number("before", before, 0, 3600)
        number("after", after, 0)
        number("keep", keep, 0)
        self._rate, self._seconds, self._keep = rate, seconds, int(keep)
        self._alarms_only, self._before, self._after = alarms_only, before, after
        self._painter = Painter()
        self._waiting: deque[tuple[float, bytes]] = deque()  # JPEG, or the seconds before an alarm fill the memory
        self._until = -np.inf
        self._file: _Mp4 | None = None
        self._again, self._last = -np.inf, -np.inf
        self._base, self._count = "", 0
        self._kept = deque(_of_before(self.folder, VIDEO))
        self.files: list[Path] = []

    def add(self, tracked: Tracked, alarms: Sequence[Alarm]) -> None:
        """The next frame."""
        now = tracked.frame.arrival if tracked.frame.time is None else tracked.frame.time
        picture = self._painter.draw(tracked)
        if now < self._last:  # another recording
            self._until = -np.inf
            self._waiting.clear()
            self._end()
        self._last = now
        if alarms:
            self._until = now + self._after
        if self._alarms_only and now > self._until:
            self._end()
            self._wait(now, picture)
            return
        if self._file is not None and now - self._file.start >= self._seconds:
            self._end()
        if self._file is not None and self._file.size != picture.shape[:2]:
            self._end()
        if self._file is None:
            if time.monotonic() < self._again:  # a disk that was full: not a new file for each frame
                return
            self._file = self._begin(tracked.frame.recording, picture)
            for at, told in self._waiting:
                old = cv2.imdecode(np.frombuffer(told, np.uint8), cv2.IMREAD_COLOR)
                if old is not None and old.shape[:2] == self._file.size:
                    self._file.add(np.asarray(cv2.cvtColor(old, cv2.COLOR_BGR2RGB), np.uint8), at)
            self._waiting.clear()
        try:
            self._file.add(picture, now)
        except (OSError, FFmpegError):
            self._again = time.monotonic() + PAUSE
            self._end()
            raise

    def close(self) -> None:
        """Ends the file."""
        self._end()

    def _wait(self, now: float, picture: Picture) -> None:
        good, told = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        if good:
            self._waiting.append((now, told.tobytes()))
        while self._waiting and self._waiting[0][0] < now - self._before:
            self._waiting.popleft()

    def _begin(self, name: str, picture: Picture) -> _Mp4:
        base = f"{safe_name(name)}_{time.strftime('%Y%m%d_%H%M%S')}"
        self._count = self._count + 1 if base == self._base else 1  # names go on where an older file was removed
        self._base = base
        while (path := self.folder / (f"{base}_{self._count}.mp4" if self._count > 1 else f"{base}.mp4")).exists():
            self._count += 1
        try:
            made = _Mp4(path, (picture.shape[0], picture.shape[1]), self._rate)
        except (OSError, FFmpegError):
            self._again = time.monotonic() + PAUSE
            raise
        self.files.append(path)
        self._kept.append(path)
        while self._keep and len(self._kept) > self._keep:
            self._kept.popleft().unlink(missing_ok=True)
        return made

    def _end(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            file.close()


class _Mp4:
    """One file, H.264, in fragments of a second."""

    def __init__(self, path: Path, size: tuple[int, int], rate: float) -> None:
        self.size = size
        self.start = -np.inf
        self._container = av.open(str(path), "w", format="mp4", options=FRAGMENTED)
        nominal = Fraction(max(1.0, min(rate, 1000.0))).limit_denominator(1001)
        stream: Any = self._container.add_stream("libx264", rate=nominal)
        assert isinstance(stream, VideoStream)
        stream.height, stream.width = (side + side % 2 for side in size)
        stream.pix_fmt = "yuv420p"
        stream.options = {"preset": "ultrafast", "tune": "zerolatency", "crf": "20"}
        stream.codec_context.thread_count = 1
        stream.codec_context.time_base = TICK
        stream.codec_context.gop_size = max(1, round(nominal))
        self._stream, self._pts = stream, -1

    def add(self, picture: Picture, now: float) -> None:
        if self.start == -np.inf:
            self.start = now
        height, width = (side % 2 for side in self.size)
        if height or width:
            picture = np.asarray(cv2.copyMakeBorder(picture, 0, height, 0, width, cv2.BORDER_REPLICATE), np.uint8)
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        self._pts = max(self._pts + 1, round((now - self.start) / TICK))
        frame.pts, frame.time_base = self._pts, TICK
        for packet in self._stream.encode(frame):
            self._container.mux(packet)

    def close(self) -> None:
        try:
            for packet in self._stream.encode(None):
                self._container.mux(packet)
        except (OSError, FFmpegError) as error:
            log.warning("a video could not be ended as it should: %s", type(error).__name__)
        finally:
            try:
                self._container.close()
            except (OSError, FFmpegError):
                log.warning("a video could not be closed; its last second may be lost")


class Snapshots:
    """A picture of each alarm: ``RECORDING_YYYYmmdd_HHMMSS_ALARM_RULE.jpg``.

    Args:
        folder: for the pictures.
        keep: of them; the oldest are removed beyond that, 0 keeps all.
    """

    def __init__(self, folder: str | Path, keep: int = 0) -> None:
        number("keep", keep, 0)
        self.folder, self._keep = Path(folder), int(keep)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._painter = Painter()
        self._files = deque(_of_before(self.folder, PICTURE))

    def add(self, tracked: Tracked, alarms: Sequence[Alarm]) -> None:
        """The next frame."""
        if not alarms:
            self._painter.follow(tracked)
            return
        picture = cv2.cvtColor(self._painter.draw(tracked), cv2.COLOR_RGB2BGR)
        good, told = cv2.imencode(".jpg", picture)
        for alarm in alarms if good else ():
            when = f"{time.strftime('%Y%m%d_%H%M%S')}_{alarm.number:06d}"
            path = self.folder / f"{safe_name(alarm.recording)}_{when}_{safe_name(alarm.rule)}.jpg"
            path.write_bytes(told.tobytes())
            self._files.append(path)
            while self._keep and len(self._files) > self._keep:
                self._files.popleft().unlink(missing_ok=True)

    def close(self) -> None:
        """Nothing is open."""
