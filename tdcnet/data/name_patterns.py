"""A pattern of one's own for the names of frames: ``dataset.names``."""

from __future__ import annotations

import json
import re
import subprocess
import sys

from tdcnet.data.errors import DataError
from tdcnet.data.name_parts import microseconds
from tdcnet.limits import bound
from tdcnet.shown import printable

MOST_PATTERN = 2_000
"""Letters of a pattern."""
MOST_SECONDS = 20
"""For all names of a folder or a list."""

# Python's own matcher cannot be stopped, and some patterns take longer than anyone lives: (a+)+b.
_WORK = """
import json, re, sys
pattern, names, paths = json.load(sys.stdin)
pattern = re.compile(pattern)
found = []
for name in names:
    base = name if paths else name.rpartition("/")[2]
    match = pattern.search(base) or pattern.search(base.rpartition(".")[0] or base)
    found.append(match and match.groupdict())
json.dump(found, sys.stdout)
"""


class NamePattern:
    """A regular expression that finds recording and frame in a name.

    It is looked for in the name without folders, with its ending and then without; frames of two folders are of two
    recordings. One that holds a ``/`` is looked for in the path instead, as listed or below the root of the data set,
    and then the group ``recording`` alone tells recordings apart.

    Args:
        text: with the named group ``frame`` (digits) or ``time`` (seconds, a count of seconds, ms, us or ns since 1970,
            or year to second as in 20240131_123059_123), and with ``recording`` unless a folder is one.

    Attributes:
        by_time: whether it finds times.
        of_paths: whether folders are a part of what it looks at.
        names_recording: whether it has the group ``recording``.
        asked: whether it has been used.

    Raises:
        ValueError: if it is no such expression.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        example = "such as (?P<recording>.*)_(?P<frame>[0-9]+)"
        if not isinstance(text, str) or not text or len(text) > MOST_PATTERN:
            raise ValueError(f"dataset.names must be a regular expression of 1 to {MOST_PATTERN} letters, {example}")
        try:
            groups = set(re.compile(text).groupindex)
        except (re.error, RecursionError, OverflowError) as error:
            raise ValueError(
                f"dataset.names={printable(text)} is no regular expression ({error}); expected is one {example}"
            ) from error
        if unknown := groups - {"recording", "frame", "time"}:
            raise ValueError(
                f"dataset.names={printable(text)} has the group {sorted(unknown)[0]!r}; allowed are recording, frame "
                "and time"
            )
        if len(groups & {"frame", "time"}) != 1:
            raise ValueError(
                f"dataset.names={printable(text)} must have one of the named groups frame and time, {example}"
            )
        self.asked = False
        self.by_time, self.names_recording = "time" in groups, "recording" in groups
        self.of_paths = "/" in text

    def __repr__(self) -> str:
        return f"NamePattern({self.text!r})"

    def match(self, names: list[str]) -> list[tuple[str, int] | None]:
        """Recording and number, or time in us, of each name; None where nothing is found.

        Raises:
            DataError: if it takes too long.
        """
        self.asked = True
        if not names:
            return []
        seconds = bound(MOST_SECONDS)
        asked = json.dumps([self.text, names, self.of_paths])  # in ASCII, whatever the names hold
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-S", "-c", _WORK],
                input=asked.encode(),
                capture_output=True,
                timeout=seconds,
                check=True,
            )
        except subprocess.TimeoutExpired as error:
            raise DataError(
                f"dataset.names={printable(self.text)} takes more than {seconds} s for {len(names)} names, such as "
                f"{printable(names[0])}. Write it without repetitions of repetitions, such as (a+)+ or (.*)*"
            ) from error
        except subprocess.CalledProcessError as error:
            last = (error.stderr or b"").decode(errors="replace").strip().rpartition("\n")[2]
            raise DataError(f"dataset.names={printable(self.text)} cannot be used ({last}). Write a simpler one") from (
                error
            )
        return [self._found(groups) for groups in json.loads(done.stdout)]

    def _found(self, groups: dict[str, str | None] | None) -> tuple[str, int] | None:
        if groups is None:
            return None
        text = (groups.get("time") if self.by_time else groups.get("frame")) or ""
        if self.by_time:
            number = microseconds(text)
        else:
            number = int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else None
        return None if number is None else (groups.get("recording") or "", number)
