"""Tracks as lines of files: JSON, CSV, MOTChallenge text. What is written is there at once, also after kill -9."""

from __future__ import annotations

import functools
import itertools
import json
import os
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from tdcnet.results import write_json
from tdcnet.shown import CsvWriter
from tdcnet.streaming import rows

if TYPE_CHECKING:
    from tdcnet.streaming.alarms import Alarm
    from tdcnet.tracking.stream import Tracked


STDOUT = "-"
"""Stands for standard output."""


@functools.cache
def claim_stdout() -> TextIO:
    """Standard output for data alone: whatever else is said from now on goes to standard error."""
    sys.stdout.flush()
    data = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    return data


class _Lines:
    """A text file that grows line by line; lines that a full disk kept from it are left out."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file: TextIO | None = None
        if str(path) == STDOUT:
            self._file = claim_stdout()
        else:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            torn = self.path.is_file() and _is_torn(self.path)  # by a power cut
            self._file = self.path.open("a", encoding="utf-8", newline="", buffering=1)
            if torn:
                self._file.write("\n")

    def write(self, text: str) -> None:
        if text and self._file is not None:
            self._file.write(text)
            self._file.flush()

    def close(self) -> None:
        """Ends it."""
        if self._file is not None and str(self.path) != STDOUT:
            self._file.close()
        self._file = None


def _is_torn(path: Path) -> bool:
    """Whether the last line of a file does not end."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 1))
        return file.read(1) not in (b"", b"\n")


class JsonLines(_Lines):
    """A JSON object a frame that has a track, or an alarm; see :func:`tdcnet.streaming.rows.line`.

    Args:
        path: the file, which is gone on with where it is there; ``-`` for standard output.
        every: frames without either, too.
        at: whether it is told when frames arrived, which only of live ones says something.
    """

    def __init__(self, path: str | Path, every: bool = False, at: bool = False) -> None:
        super().__init__(path)
        self._every, self._at = every, at

    def add(self, tracked: Tracked, alarms: Sequence[Alarm]) -> None:
        """The next frame."""
        if self._every or alarms or tracked.confirmed:
            self.write(json.dumps(rows.line(tracked, alarms, self._at), ensure_ascii=False) + "\n")


class Csv(_Lines):
    """A row a track and frame, of :data:`tdcnet.streaming.rows.COLUMNS`.

    Args:
        path: the file, which is gone on with where it is there.
    """

    def __init__(self, path: str | Path) -> None:
        new = str(path) == STDOUT or not Path(path).is_file() or not Path(path).stat().st_size
        super().__init__(path)
        assert self._file is not None
        self._rows = CsvWriter(self._file)
        if new:
            self._rows.writerow(rows.COLUMNS)

    def add(self, tracked: Tracked, alarms: Sequence[Alarm]) -> None:
        """The next frame."""
        for row in rows.csv_rows(tracked):
            self._rows.writerow(row)
        if self._file is not None:
            self._file.flush()


class Mot(_Lines):
    """MOTChallenge text: ``frame,id,x,y,w,h,score,class,-1,-1``.

    Args:
        path: the file; one that is there is replaced,
        keep: or gets the time of its last line into its name.
    """

    def __init__(self, path: str | Path, keep: bool = False) -> None:
        path = Path(path)
        if path.is_file() and keep and path.stat().st_size:
            last = datetime.fromtimestamp(path.stat().st_mtime).strftime("%Y%m%d_%H%M%S")
            ends = itertools.chain([""], (f"-{number}" for number in itertools.count(2)))
            names = (path.with_name(f"{path.stem}_{last}{end}{path.suffix}") for end in ends)
            path.rename(next(free for free in names if not free.exists()))
        elif path.is_file():  # no device or pipe, which are written to as they are
            path.unlink()
        super().__init__(path)

    def add(self, tracked: Tracked, alarms: Sequence[Alarm]) -> None:
        """The next frame."""
        told = rows.mot_rows(tracked, tracked.frame.index + 1)
        self.write("".join(f"{row}\n" for row in told))


class CocoVid:
    """COCO for video: ``videos``, ``images``, ``annotations`` with ``track_id`` and ``score``, ``categories``.

    Args:
        path: the file; it is written at the end, beside its place first.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._videos: dict[str, int] = {}
        self._images: list[dict[str, Any]] = []
        self._annotations: list[dict[str, Any]] = []
        self._classes: tuple[str, ...] = ()

    def add(self, tracked: Tracked, alarms: Sequence[Alarm]) -> None:
        """The next frame."""
        frame, found = tracked.frame, tracked.seen.found
        self._classes = found.classes
        video = self._videos.setdefault(frame.recording, len(self._videos) + 1)
        height, width = found.size
        image: dict[str, Any] = {
            "id": len(self._images) + 1,
            "video_id": video,
            "frame_id": frame.index,
            "width": width,
        }
        image |= {"height": height, "file_name": f"{frame.recording}#{frame.index}"}
        self._images.append(image if frame.time is None else image | {"time": round(frame.time, 4)})
        for track in tracked.confirmed:
            x1, y1, x2, y2 = (round(float(value), 2) for value in track.box)
            told: dict[str, Any] = {"id": len(self._annotations) + 1, "image_id": image["id"], "video_id": video}
            told |= {"track_id": track.id, "category_id": track.label + 1, "bbox": [x1, y1, x2 - x1, y2 - y1]}
            self._annotations.append(
                told | {"area": (x2 - x1) * (y2 - y1), "iscrowd": 0, "score": round(track.score, 4)}
            )

    def close(self) -> None:
        """Writes the file."""
        content = {
            "videos": [{"id": number, "name": name} for name, number in self._videos.items()],
            "images": self._images,
            "annotations": self._annotations,
            "categories": [{"id": i + 1, "name": name} for i, name in enumerate(self._classes)],
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self.path, content)
