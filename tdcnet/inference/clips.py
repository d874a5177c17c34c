"""Clips of frames that come one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from tdcnet.data.errors import DataError
from tdcnet.data.sequence import Sequence
from tdcnet.data.transforms import Image


@dataclass(frozen=True)
class Clip:
    """A frame and those before it.

    Attributes:
        newest: position of the frame.
        positions: of the T frames.
        images: T grey images [H, W], oldest first; where there is no older one the first stands for it.
        whole: whether they reach as far back as they are to; the first ones of a recording do not.
    """

    newest: int
    positions: list[int]
    images: list[Image]
    whole: bool


Reach = Callable[[int], tuple[list[int], bool]]
"""Positions of the clip that ends at a frame, oldest first and that frame last, and whether it reaches as far back as
it is to. The oldest never lies before that of the frame before."""


def clips_of(images: Iterable[Image | None], reach: Reach) -> Iterator[Clip]:
    """A clip for each frame as it comes; no more frames are kept than a clip spans.

    Args:
        images: grey images [H, W] of one size and type, in order of time; None for one that is missing. Clips that
            would need it are left out.
        reach: which frames a clip is made of.

    Raises:
        DataError: if a frame is of another size or type than the first.
    """
    kept: dict[int, Image] = {}
    form = None
    for newest, image in enumerate(images):
        if image is None:
            continue
        now = (image.shape, image.dtype)
        if form is not None and now != form:
            raise DataError(
                f"frame {newest} is {image.shape[1]}x{image.shape[0]} {image.dtype}, those before it are "
                f"{form[0][1]}x{form[0][0]} {form[1]}; give recordings of one size one by one"
            )
        form = now
        kept[newest] = image
        wanted, whole = reach(newest)
        for position in [each for each in kept if each < wanted[0]]:
            del kept[position]
        if all(position in kept for position in wanted):
            yield Clip(newest, wanted, [kept[position] for position in wanted], whole)


def evenly(num_frames: int, stride: int) -> Reach:
    """Clips of frames ``stride`` apart, of a recording without gaps."""
    span = stride * (num_frames - 1)
    return lambda newest: ([max(0, newest - back) for back in range(span, -1, -stride)], newest >= span)


def of_sequence(sequence: Sequence, num_frames: int, stride: int) -> Reach:
    """The clips of a recording: over no gap, and by time where frames come at no constant rate."""
    return lambda newest: (
        sequence.clip_indices(newest, num_frames, stride),
        sequence.has_past(newest, num_frames, stride),
    )
