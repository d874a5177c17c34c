"""Going through the folders of a data set: bounded, each folder once, and not out of it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from tdcnet.data.errors import DataError
from tdcnet.limits import FACTOR, bound
from tdcnet.shown import printable

log = logging.getLogger(__name__)

MOST_ENTRIES = 5_000_000
"""Files and folders below one that is named as a whole."""
MOST_LEVELS = 30
"""Folders in folders."""


def walk(folder: Path) -> list[Path]:
    """All files below a folder that are not hidden, folder by folder in order of their names.

    Links are followed, but no folder is gone through twice: a link to the folder it lies in, or to one further up,
    would make the same images appear again and again.

    Raises:
        DataError: if there are more files or levels than are read, or a folder cannot be listed.
    """
    start = Path(os.path.abspath(folder))
    seen = {_identity(path) for path in (start.resolve(), *start.resolve().parents)} - {_identity(start)}
    files: list[Path] = []
    again: list[Path] = []
    waiting, entries = [(folder, 0)], 0
    while waiting:
        at, level = waiting.pop()
        identity = _identity(at)
        if identity in seen:
            again.append(at)
            continue
        seen.add(identity)
        found, folders = _listing(at)
        entries += len(found) + len(folders)
        if entries > bound(MOST_ENTRIES) or level > bound(MOST_LEVELS):
            what = f"{bound(MOST_ENTRIES):,} files" if level <= bound(MOST_LEVELS) else f"{bound(MOST_LEVELS)} levels"
            raise DataError(
                f"{folder}: holds more than {what}, at {printable(at)}. Name a folder further down; if that is right, "
                f"set {FACTOR} to a factor on all bounds"
            )
        files += found
        waiting += [(each, level + 1) for each in reversed(folders)]
    if again:
        log.warning("%s: passed over %d links to folders seen before, such as %s", folder, len(again), again[0])
    return files


def inside(path: Path, roots: Iterable[Path]) -> bool:
    """Whether a path lies below one of some folders as it is written: links there are the user's own."""
    text = os.path.abspath(path)
    places = {place for root in roots for place in (os.path.abspath(root), os.path.realpath(root))}
    return any(text == place or text.startswith(place.rstrip(os.sep) + os.sep) for place in places)


def _listing(folder: Path) -> tuple[list[Path], list[Path]]:
    files: list[Path] = []
    real: list[Path] = []
    linked: list[Path] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir():
                    (linked if entry.is_symlink() else real).append(folder / entry.name)
                elif not entry.name.startswith("."):
                    files.append(folder / entry.name)
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed ({error.strerror}). Check the path and its permissions") from error
    # A folder itself goes before links to it: its labels lie beside it.
    return sorted(files), [*sorted(real), *sorted(linked)]


def _identity(path: Path) -> tuple[int, int] | str:
    try:
        found = path.stat()
    except OSError:
        return str(path)
    return (found.st_dev, found.st_ino) if found.st_ino else os.path.realpath(path)
