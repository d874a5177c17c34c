"""The range of stored values that becomes 0 to 1 where frames have 16 bits and none is given."""

from __future__ import annotations

from collections.abc import Sequence as Listed
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tdcnet.data.errors import DataError
from tdcnet.data.sequence import Sequence

FRAMES = 64
"""Frames that are looked at, spread evenly over all."""
TAILS = (0.1, 99.9)
"""Percentiles between which values are taken as they are: single hot and dead pixels lie outside."""
MARGIN = 0.1
"""Share of the distance between them that is added on each side, for what is brighter than nearly all."""

_PIXELS = 100_000  # of a frame; more say no more


def grey_level(sequences: Listed[Sequence], given: tuple[float, float] | None) -> float:
    """Stored values that make a grey level: 1 of 8 bits, of 16 bits a 255th of the range ``given`` or found."""
    found = data_range(sequences)
    if found is None:
        return 1.0
    low, high = given or found
    return (high - low) / 255


def data_range(sequences: Listed[Sequence]) -> tuple[float, float] | None:
    """A range of values that holds nearly all pixels of 16-bit frames, with a margin; None if frames have 8 bits.

    It depends on nothing but the frames: the same data give the same range in every process and run. Sensors count in
    12 to 14 bits round an offset, so of 0 to 65535 they fill little: what a network was trained on in 8 bits would be
    nearly flat.

    Args:
        sequences: recordings; frames of their part of the split are looked at. Those that cannot be read are passed
            over, since whoever uses them tells.
    """
    counts = np.cumsum([len(sequence.indices) for sequence in sequences])
    total = int(counts[-1]) if len(counts) else 0
    seen: list[NDArray[Any]] = []
    # Where there are several recordings each has a say, at least up to as many as are looked at.
    for place in np.unique(np.linspace(0, total - 1, min(FRAMES, total)).round().astype(int)).tolist():
        which = int(np.searchsorted(counts, place, side="right"))
        sequence = sequences[which]
        position = int(sequence.indices[place - (int(counts[which - 1]) if which else 0)])
        with suppress(DataError):
            seen.append(some_pixels(sequence.frames.read(position)))
    return range_of(seen)


def some_pixels(frame: NDArray[Any]) -> NDArray[Any]:
    """Pixels of a frame, spread over it, as many as are looked at."""
    flat = frame.ravel()
    return flat[:: max(1, len(flat) // _PIXELS)].copy()


def range_of(frames: Listed[NDArray[Any]]) -> tuple[float, float] | None:
    """The range of some frames' pixels; None if none of them has 16 bits."""
    values = [frame.ravel() for frame in frames if frame.dtype == np.uint16]
    if not values:
        return None
    low, high = np.percentile(np.concatenate(values), TAILS)
    margin = max(MARGIN * (high - low), 8.0)  # a flat scene must not become nothing but noise
    return float(max(0, np.floor(low - margin))), float(min(65535, np.ceil(high + margin)))
