"""How much is read of files that one did not write, and how to raise it."""

from __future__ import annotations

import os
from collections.abc import Sequence

MOST_TEXT = 1 << 26
"""Bytes of a text file, such as a list of frames or a table of boxes; a million lines of sixty letters fit."""
MOST_LABELS = 1 << 20
"""Bytes of a text file with the boxes of one frame."""
MOST_MAT = 1 << 24
"""Bytes of a .mat file with the boxes of one recording; those of 15 s have some 20 kB."""
MOST_JSON = 1 << 28
"""Bytes of a JSON file; the annotations of a large data set take some 100 MB, and ten times that in memory."""
MOST_YAML = 1 << 18
"""Bytes of a YAML file, which describes a data set or a run; a thousand class names take some 20 kB."""
MOST_DEPTH = 50
"""Levels of nesting in JSON and YAML."""
MOST_ARRAYS = 1 << 28
"""Bytes of all arrays in a file."""
MOST_CLIP = 100_000_000
"""Pixels of all frames of a clip that a file asks for; nine of 2160 x 3840 have 75 million."""
FACTOR = "TDCNET_LIMITS"
"""Environment variable: a factor on all bounds, for files that are larger for good reason."""


def bound(value: int) -> int:
    """A bound, times the factor that the user has set (:data:`FACTOR`).

    Raises:
        ValueError: if that is not a positive number.
    """
    text = os.environ.get(FACTOR, "1")
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 0 < factor < 1e9:
        raise ValueError(f"{FACTOR} is {text!r}; it must be a positive number, the factor on all bounds of files")
    return int(value * factor)


def clip_fault(size: Sequence[int], num_frames: int) -> str | None:
    """What is wrong with a clip that a file asks for, if it has more than :data:`MOST_CLIP`; None if nothing is.

    Args:
        size: height and width in px.
        num_frames: T.
    """
    height, width = size
    if height * width * num_frames <= (most := bound(MOST_CLIP)):
        return None
    return (
        f"asks for clips of {num_frames} frames of {height} x {width} px, {height * width * num_frames:,} in all; at "
        f"most {most:,} are taken from a file. If that is right, set {FACTOR} to a factor on all bounds"
    )
