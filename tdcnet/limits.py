"""How much is read of files that one did not write, and how to raise it."""

from __future__ import annotations

import os

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
