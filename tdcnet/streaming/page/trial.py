"""A video that somebody hands in at the page, to see what is found on it."""

from __future__ import annotations

import logging
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tdcnet.data.errors import DataError
from tdcnet.streaming.sinks.video import Segments

if TYPE_CHECKING:
    from tdcnet.tracking.stream import TrackStream

log = logging.getLogger(__name__)

MOST_BYTES = 200 << 20
MOST_FRAMES = 3000


class Trial:
    """Looks at one video at a time; another one takes its place when it is done.

    Args:
        track: opens a file as tracks.
    """

    def __init__(self, track: Callable[[Path], TrackStream]) -> None:
        self._track = track
        self._folder = Path(tempfile.mkdtemp(prefix="tdcnet-trial-"))
        self._lock = threading.Lock()
        self._state, self._why, self._frames, self._tracks = "none", "", 0, 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.result: Path | None = None

    def take(self) -> Path | None:
        """Where a video is to be written; None while another one is looked at."""
        with self._lock:
            if self._state in ("taking", "running"):
                return None
            self._state, self._why, self._frames, self._tracks, self.result = "taking", "", 0, 0, None
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder / "given.mp4"

    def refuse(self, why: str) -> None:
        """It was not taken."""
        self._state, self._why = "failed", why
        (self._folder / "given.mp4").unlink(missing_ok=True)

    def begin(self) -> None:
        """It is there."""
        self._state = "running"
        self._thread = threading.Thread(target=self._run, name="trial", daemon=True)
        self._thread.start()

    def told(self) -> dict[str, Any]:
        """How it is: ``none``, ``taking``, ``running``, ``done`` or ``failed`` and why."""
        return {"state": self._state, "why": self._why, "frames": self._frames, "tracks": self._tracks}

    def close(self) -> None:
        """Ends it; its files are removed."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(10)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self) -> None:
        sink = Segments(self._folder / "out", seconds=1e9)
        try:
            ids = set()
            with self._track(self._folder / "given.mp4") as stream:
                for tracked in self._some(stream):
                    sink.add(tracked, ())
                    ids |= {track.id for track in tracked.confirmed}
                    self._frames, self._tracks = self._frames + 1, len(ids)
            sink.close()
            self.result = sink.files[0] if sink.files else None
            self._state = "done"
        except DataError as error:
            self._state, self._why = "failed", str(error).replace(str(self._folder / "given.mp4"), "the video")
        except Exception:
            log.exception("a video that was handed in")
            self._state, self._why = "failed", "it could not be looked at; the log tells why"
        finally:
            sink.close()
            (self._folder / "given.mp4").unlink(missing_ok=True)

    def _some(self, stream: TrackStream) -> Iterator[Any]:
        for count, tracked in enumerate(stream):
            if self._stop.is_set():
                return
            yield tracked
            if count + 1 >= MOST_FRAMES:
                self._why = f"only its first {MOST_FRAMES} frames were looked at"
                return
