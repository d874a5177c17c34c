"""Tracks as plain data: what goes into files and over the network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tdcnet.streaming.alarms import Alarm
    from tdcnet.tracking.stream import Tracked
    from tdcnet.tracking.tracker import TrackPoint

COLUMNS = ("frame", "time", "id", "x1", "y1", "x2", "y2", "score", "label", "state", "vx", "vy", "age", "video")
"""Of a CSV file: position of the frame from 0, seconds, id of the track, corners in px, score, name of the class,
``confirmed`` or ``coasting``, velocity in px per second, age in seconds, name of the recording."""


def point(track: TrackPoint, classes: Sequence[str]) -> dict[str, Any]:
    """A track at a frame."""
    return {
        "id": track.id,
        "box": [round(float(value), 2) for value in track.box],
        "score": round(track.score, 4),
        "label": classes[track.label] if track.label < len(classes) else str(track.label),
        "state": track.state,
        "velocity": [round(value, 2) for value in track.velocity],
        "age": round(track.age, 3),
    }


def clock(at: float) -> str:
    """Seconds since 1970 as people and databases read them, UTC to the millisecond."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


def line(tracked: Tracked, alarms: Sequence[Alarm], at: bool = False) -> dict[str, Any]:
    """A frame with its confirmed tracks, and the alarms that began there; if asked for, when it arrived."""
    frame, classes = tracked.frame, tracked.seen.found.classes
    told: dict[str, Any] = {"frame": frame.index, "time": None if frame.time is None else round(frame.time, 4)}
    if at:
        told["at"] = clock(frame.at)
    told["video"] = frame.recording
    told["tracks"] = [point(track, classes) for track in tracked.confirmed]
    if alarms:
        told["alarms"] = [alarm_line(each) for each in alarms]
    return told


def alarm_line(alarm: Alarm) -> dict[str, Any]:
    """An alarm."""
    return {
        "alarm": alarm.number,
        "rule": alarm.rule,
        "frame": alarm.index,
        "time": None if alarm.time is None else round(alarm.time, 4),
        "at": clock(alarm.at),
        "video": alarm.recording,
        **point(alarm.track, ()),
        "label": alarm.name,
    }


def csv_rows(tracked: Tracked) -> list[list[Any]]:
    """Rows of :data:`COLUMNS`."""
    frame, classes = tracked.frame, tracked.seen.found.classes
    rows = []
    for track in tracked.confirmed:
        told = point(track, classes)
        time = "" if frame.time is None else f"{frame.time:.4f}"
        box, speed = told["box"], told["velocity"]
        state = (told["score"], told["label"], track.state, *speed, told["age"], frame.recording)
        rows.append([frame.index, time, track.id, *box, *state])
    return rows


def mot_box(box: Iterable[float]) -> str:
    """A box ``x1, y1, x2, y2`` in px from 0 as MOTChallenge text has it: ``x,y,w,h``, px from 1."""
    x1, y1, x2, y2 = (float(value) for value in box)
    return f"{x1 + 1:.2f},{y1 + 1:.2f},{x2 - x1:.2f},{y2 - y1:.2f}"


def mot_rows(tracked: Tracked, number: int) -> list[str]:
    """Lines of MOTChallenge text; frames and px count from 1.

    Args:
        tracked: a frame.
        number: of the frame, from 1.
    """
    return [
        f"{number},{track.id},{mot_box(track.box)},{track.score:.4f},{track.label + 1},-1,-1"
        for track in tracked.confirmed
    ]
