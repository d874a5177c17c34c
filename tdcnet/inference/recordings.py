"""What detectors are given: files or arrays, as grey frames in order of time."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tdcnet.data import intensity
from tdcnet.data.errors import MOST_TOLD, DataError, Policy
from tdcnet.data.folders import sources
from tdcnet.data.images import grey_of
from tdcnet.data.notices import tell_times
from tdcnet.data.sequence import Sequence
from tdcnet.data.transforms import Image
from tdcnet.data.views import Range
from tdcnet.inference.clips import Reach, evenly, of_sequence
from tdcnet.shown import shown

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Recording:
    """Grey frames in order of time, and what is known about them.

    Attributes:
        name: of the recording.
        images: grey [H, W], uint8 or uint16; None for one that cannot be read.
        reach: which frames a clip is made of.
        live: whether each frame is to be done with before the next one is asked for.
        given: frames as they came where that is another thing, by position, until they are handed back.
        sequence: the recording in files.
        missing: why frames could not be read.
    """

    name: str
    images: Iterator[Image | None]
    reach: Reach
    live: bool = False
    given: dict[int, Any] = field(default_factory=dict)
    sequence: Sequence | None = None
    missing: list[str] = field(default_factory=list)

    @property
    def length(self) -> int | None:
        """Frames; None if that is not known."""
        return None if self.sequence is None else len(self.sequence)

    @property
    def rate(self) -> float | None:
        """Frames a second; None if that is not known."""
        return None if self.sequence is None else getattr(self.sequence.frames, "rate", None)

    def time(self, index: int) -> float | None:
        """Seconds of a frame from the first; None if that is not known."""
        times = None if self.sequence is None else getattr(self.sequence.frames, "times", None)
        return None if times is None else float(times[index])

    def where(self, index: int) -> str:
        """Where a frame comes from."""
        return f"{self.name}#{index}" if self.sequence is None else self.sequence.frames.where(index)


def recordings_of(
    source: Any,
    num_frames: int,
    stride: Callable[[float | None], int],
    on_bad_frame: Policy = "error",
    cache_dir: Path | None = None,
) -> Iterator[Recording]:
    """The recordings of a source, for clips of so many frames.

    Args:
        source: a path; a list of paths; or an iterable of arrays [H, W] or [H, W, 3] (RGB).
        num_frames: T.
        stride: frames from one frame of a clip to the next, for frames a second, or None if they are not known.
        on_bad_frame: about a frame of a file that cannot be read.
        cache_dir: where decoded videos are kept.

    Raises:
        DataError: if there is no such file, or nothing in it that can be read.
    """
    paths = [source] if _is_path(source) else list(source) if isinstance(source, list | tuple) else []
    if not paths or not all(map(_is_path, paths)):
        if not isinstance(source, Iterable):
            raise DataError(f"source is {shown(source)}; expected a path, a list of paths, or arrays one by one")
        given: dict[int, Any] = {}
        yield Recording("frames", _grey_of(source, given), evenly(num_frames, stride(None)), live=True, given=given)
        return
    for path in paths:
        for each in sources(Path(path).expanduser(), cache_dir):
            step = stride(getattr(each.frames, "rate", None))
            tell_times([each], num_frames, step)
            missing: list[str] = []
            images = _frames_of(each, missing, on_bad_frame)
            yield Recording(each.name, images, of_sequence(each, num_frames, step), sequence=each, missing=missing)


def _is_path(source: Any) -> bool:
    return isinstance(source, str | os.PathLike)


def _frames_of(sequence: Sequence, missing: list[str], on_bad_frame: Policy) -> Iterator[Image | None]:
    for index in range(len(sequence.frames)):
        try:
            yield np.asarray(sequence.frames.read(index))
        except DataError as error:
            if on_bad_frame == "error":
                raise
            missing.append(str(error))
            if len(missing) <= MOST_TOLD:
                log.warning("left out: %s", error)
            yield None


def _grey_of(images: Iterable[Any], given: dict[int, Any]) -> Iterator[Image]:
    """Arrays as grey frames; each as it came is kept in ``given`` until it is taken out."""
    for number, image in enumerate(images):
        given[number] = image
        yield grey_of(image, number)


def with_range(recording: Recording, given: Range | None) -> tuple[Iterator[Image | None], Range | None]:
    """The frames, and the values that are 0 and 1 if they have 16 bits: those given, or else what the frames hold."""
    head: list[Image | None] = []
    first = None
    while first is None:
        one = list(itertools.islice(recording.images, 1))
        if not one:
            return iter(head), None
        head += one
        first = one[0]
    if first.dtype == np.uint8:
        return itertools.chain(head, recording.images), None
    if given is None:
        if recording.sequence is None:
            head += itertools.islice(recording.images, intensity.FRAMES - 1)
            found = intensity.range_of([intensity.some_pixels(each) for each in head if each is not None])
        else:
            found = intensity.data_range([recording.sequence])
        given = found or (0.0, 65535.0)
        log.info(
            "%s: frames have 16 bits; %.0f to %.0f, nearly all values, become 0 to 1 (intensity_range sets others)",
            recording.name,
            *given,
        )
    return itertools.chain(head, recording.images), given
