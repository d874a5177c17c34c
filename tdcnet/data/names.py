"""Which recording a frame is of and which of its frames it is, told by the names of all frames of a folder.

Names come from cameras, from tools that cut videos into images, and from tools to label them, which add what is random:
Roboflow ``NAME_png.rf.HASH.jpg``, Label Studio ``8HEX-NAME.png``, FLIR ``video-HASH-frame-000123-HASH.jpg``; or a time.
One name alone does not say which of its digits count, all of them together do: what is random in every name is left
out, and the number is what runs while the rest stays the same. Where that fails, a pattern says it (:func:`naming`).
"""

from __future__ import annotations

import logging
import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tdcnet.data import name_parts
from tdcnet.data.name_patterns import NamePattern
from tdcnet.shown import printable

log = logging.getLogger(__name__)

Key = tuple[str, str]
"""A recording: the folder of its frames, and what their names share."""

REMEDY = """say how to read their names, such as "dataset.names='(?P<recording>.*)_(?P<frame>[0-9]+)'\""""
NAMELESS = "\0"
"""Stands for what names of frames share that share nothing, see :func:`ordered`."""
REGULAR = 0.8
"""Share of equal steps from which on they are the distance of a recording's frames, and others are gaps."""


@dataclass(frozen=True)
class Place:
    """Where a frame belongs.

    Attributes:
        key: of its recording.
        number: grows by one from frame to frame; by more where some are missing.
    """

    key: Key
    number: int


_pattern: ContextVar[NamePattern | None] = ContextVar("names", default=None)


@contextmanager
def naming(pattern: NamePattern | str | None) -> Iterator[None]:
    """Whatever reads names of frames within this block goes by a pattern; by the rule of this module if None.

    Args:
        pattern: a regular expression, see :class:`~tdcnet.data.name_patterns.NamePattern`.

    Raises:
        ValueError: if it is none that can be used.
    """
    token = _pattern.set(NamePattern(pattern) if isinstance(pattern, str) else pattern)
    try:
        yield
    finally:
        _pattern.reset(token)


def given() -> NamePattern | None:
    """The pattern in force, see :func:`naming`."""
    return _pattern.get()


def places(names: Iterable[str], stepped: bool = True) -> dict[str, Place | None]:
    """Recording and number of each frame; frames of different folders are of different recordings.

    Args:
        names: paths with ``/``. Give all there are, of both sides of a split too: the more, the surer.
        stepped: numbers grow by one from frame to frame, whatever the names count in, and where no name of a folder
            tells one, each is a recording of its own. Else numbers are as in the names, times in us, or None.

    Returns:
        By name; None for one that tells no number.

    Raises:
        DataError: if the pattern in force takes too long.
    """
    names = list(dict.fromkeys(names))
    pattern = given()
    if pattern is not None:
        return _by_pattern(names, pattern, stepped)
    folders: dict[str, list[tuple[str, str]]] = {}
    # As text: path objects would take half the time of reading a large file.
    for name in names:
        folder, _, base = posixpath.normpath(name).rpartition("/")
        folders.setdefault(folder, []).append((name, posixpath.splitext(base)[0]))
    found: dict[str, Place | None] = {}
    for folder, each in folders.items():
        found |= _of_folder(folder, each, stepped)
    return {name: found[name] for name in names}


def numbers(names: list[str]) -> list[int | None]:
    """The number in the name of each frame of one recording, whatever else it says; None where it tells none."""
    found = places(names, stepped=False)
    return [None if (place := found[name]) is None else place.number for name in names]


def ordered(paths: Iterable[Path]) -> dict[Key, list[tuple[int, Path]]]:
    """The frames of a folder by recording, each in order; those that tell no number come last, as a recording."""
    paths = sorted(paths, key=lambda path: natural_key(path.name))
    found = places(path.name for path in paths)
    recordings: dict[Key, list[tuple[int, Path]]] = {}
    nameless: list[Path] = []
    for path in paths:
        place = found[path.name]
        if place is None:
            nameless.append(path)
        else:
            recordings.setdefault(place.key, []).append((place.number, path))
    by_name = sorted(recordings, key=lambda key: (natural_key(key[1]), key))
    recordings = {key: sorted(recordings[key], key=lambda each: each[0]) for key in by_name}
    if nameless:
        recordings["", NAMELESS] = [(2 * at, path) for at, path in enumerate(nameless)]
    return recordings


def segment_starts(frames: list[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    """Position of the first frame after the last gap before each: ``[1, 2, 5, 6]`` -> ``[0, 0, 2, 2]``."""
    cut = np.diff(np.array(frames, dtype=np.int64), prepend=frames[:1]) != 1
    return np.maximum.accumulate(np.where(cut, np.arange(len(frames)), 0)).astype(np.int64)


def natural_key(stem: str) -> tuple[str | int, ...]:
    """Sorts by numbers as numbers: ``2`` comes before ``10``."""
    # re.split with a group alternates text and digits, so equal positions always hold equal types.
    return tuple(int(part) if i % 2 else part for i, part in enumerate(re.split(r"([0-9]{1,4000})", stem)))


# -- by a pattern ------------------------------------------------------------------------------------------------------


def _by_pattern(names: list[str], pattern: NamePattern, stepped: bool) -> dict[str, Place | None]:
    found: dict[str, Place | None] = {}
    times: dict[Key, list[tuple[str, int]]] = {}
    for name, match in zip(names, pattern.match(names), strict=True):
        if match is None:
            found[name] = None
            continue
        recording, number = match
        folder = "" if pattern.of_paths and pattern.names_recording else posixpath.dirname(posixpath.normpath(name))
        found[name] = Place((folder, recording), number)
        times.setdefault((folder, recording), []).append((name, number))
    if missed := [name for name, place in found.items() if place is None]:
        log.warning(
            "dataset.names=%s matches %d of %d names; it does not match %s",
            pattern.text,
            len(names) - len(missed),
            len(names),
            ", ".join(printable(name) for name in missed[:3]),
        )
    for key, each in times.items() if stepped else ():
        steps = _steps([number for _, number in each], pattern.by_time)
        found |= {name: Place(key, number) for (name, _), number in zip(each, steps, strict=True)}
    return found


# -- by what all names tell --------------------------------------------------------------------------------------------


def _of_folder(folder: str, names: list[tuple[str, str]], stepped: bool) -> dict[str, Place | None]:
    """Places of names (each with its stem) of one folder."""
    read = name_parts.read([stem for _, stem in names])
    numbered: dict[str, list[tuple[str, int]]] = {}
    by_time: set[str] = set()
    found: dict[str, Place | None] = {}
    for (name, _), each in zip(names, read, strict=True):
        if each is None:
            found[name] = None
        else:
            numbered.setdefault(each.recording, []).append((name, each.number))
            if each.is_time:
                by_time.add(each.recording)
    if not numbered and stepped:
        return {name: Place((folder, stem), 0) for name, stem in names}
    for recording, frames in numbered.items():
        steps = [number for _, number in frames]
        steps = _steps(steps, recording in by_time) if stepped else steps
        found |= {name: Place((folder, recording), number) for (name, _), number in zip(frames, steps, strict=True)}
    return found


def _steps(values: list[int], by_time: bool) -> list[int]:
    """Numbers that grow by one, from numbers that grow by another step or from times.

    Every fifth frame of a video is a recording of a fifth of its rate, not one in which frames are missing.
    """
    each = sorted(set(values))
    steps = [after - before for before, after in pairwise(each)]
    if by_time:
        if len(steps) < 2:  # one cannot tell what is missing between two times
            return [each.index(value) for value in values]
        middle = sorted(steps)[len(steps) // 2]
        at, number = {each[0]: 0}, 0
        for value, step in zip(each[1:], steps, strict=True):
            number += 1 if step <= 1.5 * middle else max(2, round(step / middle))
            at[value] = number
        return [at[value] for value in values]
    step, times = Counter(steps).most_common(1)[0] if len(steps) >= 3 else (1, 0)
    if step > 1 and times >= REGULAR * len(steps) and all(value % step == each[0] % step for value in each):
        return [value // step for value in values]
    return values


__all__ = [
    "REMEDY",
    "Key",
    "NamePattern",
    "Place",
    "given",
    "naming",
    "natural_key",
    "numbers",
    "ordered",
    "places",
    "segment_starts",
]
