"""A folder of images of one's own as recordings: separate ones apart, and no clip over a gap."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tdcnet.data import names
from tdcnet.data.errors import DataError
from tdcnet.data.names import Key
from tdcnet.data.safe_names import recording_word, safe_name, safe_names
from tdcnet.data.sequence import FrameSource, Sequence
from tdcnet.data.walks import walk
from tdcnet.shown import printable

log = logging.getLogger(__name__)

Numbered = list[tuple[int, Path]]

STACKS = (".tif", ".tiff", ".npy")
"""Files that may hold a recording, an image per page."""


def in_order(paths: Iterable[Path]) -> list[Path]:
    """The images of a folder that is one recording, in order; if it holds several after all, one after the other.

    Raises:
        DataError: if two have one number.
    """
    return [path for frames in _ordered(paths).values() for _, path in frames]


def running_numbers(paths: Iterable[Path]) -> NDArray[np.int64]:
    """Numbers of frames in order as :func:`in_order` gives them: a gap, or another recording, leaves one out."""
    numbers: list[int] = []
    last: tuple[Key, int] | None = None
    paths = list(paths)
    found = names.places(path.name for path in paths)
    for path in paths:
        place = found[path.name]
        follows = place is not None and last is not None and place.key == last[0]
        step = place.number - last[1] if follows and place is not None and last is not None else 2
        numbers.append(numbers[-1] + max(1, step) if numbers else 0)
        last = None if place is None else (place.key, place.number)
    return np.array(numbers, dtype=np.int64)


def recordings(folder: Path, paths: list[Path]) -> list[tuple[str, list[Path], NDArray[np.int64]]]:
    """The recordings that images of a folder (or of those in it) make.

    Images whose names tell of no other one of their recording are put together, each on its own.

    Args:
        folder: the recordings are called after it.
        paths: the images.

    Returns:
        Name, frames in order, and for each the position of the first that a clip which ends at it may reach.

    Raises:
        DataError: if two images of a recording have one number.
    """
    lone: list[Path] = []
    found: list[tuple[str, list[Path], NDArray[np.int64]]] = []
    base = folder.resolve().name or "frames"
    by_folder: dict[Path, list[Path]] = {}
    for path in paths:
        by_folder.setdefault(path.parent, []).append(path)
    several = len(by_folder) > 1
    for place, each in by_folder.items():
        ordered = _ordered(each)
        for (_, shared), frames in ordered.items():
            if len(frames) == 1 or shared == names.NAMELESS:
                lone += [path for _, path in frames]
                continue
            parts = [base, *(place.relative_to(folder).parts if several else ())]
            if len(ordered) > 1 and (word := recording_word(shared)):
                parts.append(word)
            numbers = [number for number, _ in frames]
            starts = names.segment_starts(numbers)
            _tell_gaps(numbers, starts, frames)
            found.append(("_".join(parts), [path for _, path in frames], starts))
    if lone and (found or len(lone) > 1):
        log.warning(
            "%s: %d of %d images have no other image of their recording beside them, such as %s; each is looked at "
            "alone, as if nothing moved. If they do belong together, %s",
            folder,
            len(lone),
            len(paths),
            printable(lone[0].name),
            names.REMEDY,
        )
    if lone:
        found.append((f"{base}_single" if found else base, lone, np.arange(len(lone), dtype=np.int64)))
    if len(found) > 1:
        log.info("%s: holds %d recordings, which are looked at one by one", folder, len(found))
    unique = safe_names(name for name, _, _ in found)
    return [(name, frames, starts) for name, (_, frames, starts) in zip(unique, found, strict=True)]


def sources(path: Path, cache_dir: Path | None = None) -> list[Sequence]:
    """The recordings of a video, a stack, or a folder of images, stacks, videos, or folders of images, without boxes.

    Raises:
        DataError: if there are none, or two images of a recording have one number.
    """
    from tdcnet.data.frames import ImageFiles, open_source  # these know this module, too
    from tdcnet.data.stacks import holds_several

    images = _images_in(path) if path.is_dir() else []
    if path.is_dir() and not images and (videos := videos_in(path)):
        each_own = safe_names(video.stem for video in videos)
        return [unlabelled(name, open_source(v, cache_dir)) for name, v in zip(each_own, videos, strict=True)]
    if not images:
        return [unlabelled(safe_name(path.stem or path.resolve().stem), open_source(path, cache_dir))]
    if all(image.suffix.lower() in STACKS and holds_several(image) for image in images):
        each = safe_names(image.stem for image in images)
        return [unlabelled(name, open_source(image, cache_dir)) for name, image in zip(each, images, strict=True)]
    return [unlabelled(name, ImageFiles(frames), starts) for name, frames, starts in recordings(path, images)]


def videos_in(folder: Path) -> list[Path]:
    """The videos of a folder, or else of the folders in it, in order.

    None where there are images: these would be copies of them.
    """
    from tdcnet.data.frames import VIDEO_SUFFIXES

    def among(files: Iterable[Path]) -> list[Path]:
        of_kind = (file for file in files if file.suffix.lower() in VIDEO_SUFFIXES)
        return [file for file in of_kind if file.is_file() and not file.name.startswith(".")]

    videos = among(folder.iterdir()) or among(walk(folder))
    if videos and (images := _images_in(folder)):
        if images[0].parent != folder and videos[0].parent == folder:
            log.warning(
                "%s: %d videos are passed over, since a folder in it holds images, such as %s; name them",
                *(folder, len(videos), printable(str(images[0].relative_to(folder)))),
            )
        return []
    return sorted(videos, key=lambda each: names.natural_key(str(each)))


def _images_in(folder: Path) -> list[Path]:
    """Those of a folder, or else of the folders in it."""
    from tdcnet.data.frames import list_images

    images = list_images(folder)
    if not images:
        folders = sorted({file.parent for file in walk(folder)}, key=lambda each: names.natural_key(str(each)))
        images = [image for place in folders for image in list_images(place)]
    return images


def unlabelled(name: str, frames: FrameSource, segment_start: NDArray[np.int64] | None = None) -> Sequence:
    """A sequence of every frame of a source, without boxes."""
    n = len(frames)
    return Sequence(
        name=name,
        frames=frames,
        boxes=[np.zeros((0, 4), np.float32)] * n,
        labels=[np.zeros(0, np.int64)] * n,
        indices=np.arange(n),
        segment_start=np.zeros(n, np.int64) if segment_start is None else segment_start,
    )


def _ordered(paths: Iterable[Path]) -> dict[Key, Numbered]:
    ordered = names.ordered(paths)
    for frames in ordered.values():
        for (number, before), (same, after) in pairwise(frames):
            if number == same:
                raise DataError(
                    f"{before.parent}: {printable(before.name)} and {printable(after.name)} are the same frame number. "
                    f"Leave one of them in the folder, or {names.REMEDY}"
                )
    return ordered


def _tell_gaps(numbers: list[int], starts: NDArray[np.int64], frames: Numbered) -> None:
    cuts = np.flatnonzero((starts == np.arange(len(starts))) & (starts > 0))
    if len(cuts):
        first = int(cuts[0])
        log.warning(
            "%s: frames are missing in %d places, such as %d after %s; no clip reaches over them",
            frames[0][1].parent,
            len(cuts),
            numbers[first] - numbers[first - 1] - 1,
            printable(frames[first - 1][1].name),
        )
