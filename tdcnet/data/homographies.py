"""Homographies of all clips, computed ahead of training and kept as small files: 3 x 3 numbers a pair, not images."""

from __future__ import annotations

import hashlib
import logging
import os
import time
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tdcnet.data.alignment import Aligner, Prepared
from tdcnet.data.camera import Camera
from tdcnet.data.errors import DataError
from tdcnet.data.sequence import Sequence
from tdcnet.files import check_writable, read_arrays, write_arrays
from tdcnet.processors import processors
from tdcnet.progress import progress_bar
from tdcnet.shown import printable

log = logging.getLogger(__name__)

Homographies = NDArray[np.float32]

_LONGEST = 200  # bytes of a sequence's name in a file's; with T, s and a temporary's additions that stays below 255
_FARTHEST = 1e5  # px; larger than any frame
_LEAST = 1e-3  # determinant of what is no camera's: the aligner itself refuses areas below a half
_CHUNK = 128  # frames that a worker gets at once; at a chunk's start the frames before it are read twice
_FEW = 300  # pairs that are registered before worker processes have started


@dataclass
class HomographyStore:
    """Homographies on disk, one file per sequence, for clips of ``num_frames`` frames ``stride`` apart.

    Args:
        root: folder of the files.
        num_frames: T, frames of a clip.
        stride: frames from one frame of a clip to the next.
        tag: :attr:`Aligner.tag` of the aligner that files must come from; those of another count as missing. With
            None any will do.
    """

    root: Path
    num_frames: int
    stride: int
    tag: str | None = None
    _loaded: dict[str, Homographies | None] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.root = Path(self.root)
        if self.num_frames < 1 or self.stride < 1:
            raise ValueError(f"num_frames is {self.num_frames} and stride {self.stride}; both must be 1 or more")

    def __getstate__(self) -> dict[str, Any]:
        # Workers of a loader read what they need themselves; a spawned one would get megabytes otherwise.
        return self.__dict__ | {"_loaded": {}}

    def path(self, sequence: Sequence) -> Path:
        """The file of a sequence."""
        name = sequence.name
        if len(os.fsencode(name)) > _LONGEST:  # longer than file systems take; the digest tells those that begin alike
            name = f"{name[: _LONGEST // 4]}-{hashlib.sha256(os.fsencode(name)).hexdigest()[:12]}"
        return self.root / f"{name}_T{self.num_frames}_s{self.stride}.npz"

    def get(self, sequence: Sequence, newest: int) -> Homographies | None:
        """Homographies [T, 3, 3] from each frame of the clip that ends at ``newest`` to it, or None if not computed.

        They map pixel-centre coordinates in px of the stored frames; the last is the identity.
        """
        if sequence.name not in self._loaded:
            self._loaded[sequence.name] = self.load(sequence)
        stored = self._loaded[sequence.name]
        if stored is None or np.isnan(stored[newest]).any():
            return None
        return np.concatenate([stored[newest], np.eye(3, dtype=np.float32)[None]])

    def missing(self, sequence: Sequence) -> list[int]:
        """Frames of the split whose clips have no homographies yet."""
        return _missing(sequence, self.load(sequence))

    def load(self, sequence: Sequence) -> Homographies | None:
        """Homographies [N, T - 1, 3, 3] of all frames, NaN where not computed, from disk.

        None if there is no file, or if it cannot be used, which is logged: it is damaged or of an older version, of
        another aligner, of another recording, or of one with other frames or cuts.
        """
        stored = self.look(sequence)
        if isinstance(stored, Unusable):
            log.warning("%s; it is not used", stored)
            return None
        return stored

    def look(self, sequence: Sequence) -> Homographies | Unusable | None:
        """As :meth:`load`, but gives the reason why a file cannot be used instead of logging it."""
        path = self.path(sequence)
        try:
            found = read_arrays(path, ("tag", "segments", "recording", "homographies"))
        except FileNotFoundError:
            return None
        except DataError as error:
            return Unusable("damaged or of an older version", str(error))
        stored, tag = found["homographies"], str(found["tag"])
        if stored.shape != self._shape(sequence) or found["segments"].tolist() != _segments(sequence):
            return Unusable("of other frames", f"{path} was made from other frames than there are now")
        if found["recording"].tolist() != _recording(sequence):
            return Unusable("of another recording", f"{path} was made from another recording of that name")
        if self.tag is not None and tag != self.tag:
            return Unusable("of another aligner", f"{path} was made by aligner {printable(tag)[:80]}, not {self.tag}")
        if stored.dtype != np.float32 or not _usable(stored):
            return Unusable("damaged or of an older version", f"{path} holds what is no homography")
        return stored

    def save(self, sequence: Sequence, array: Homographies, tag: str | None = None) -> None:
        """Writes the homographies [N, T - 1, 3, 3] of a sequence at one stroke: a reader sees the old or the new file.

        Args:
            sequence: its name, length and segments are used.
            array: NaN where not computed.
            tag: of the aligner; that of the store if None.

        Raises:
            ValueError: if the array is not of that shape.
        """
        if array.shape != self._shape(sequence):
            raise ValueError(f"homographies of shape {array.shape}; {sequence.name} needs {self._shape(sequence)}")
        content = {
            "homographies": array.astype(np.float32),
            "tag": np.array(self.tag or "" if tag is None else tag),
            "segments": np.array(_segments(sequence)),
            "recording": np.array(_recording(sequence)),
        }
        write_arrays(self.path(sequence), content)
        self._loaded.pop(sequence.name, None)

    def _shape(self, sequence: Sequence) -> tuple[int, int, int, int]:
        return (len(sequence), self.num_frames - 1, 3, 3)


@dataclass(frozen=True)
class Unusable:
    """Why a stored file is not used: the kind of reason, and all that is to be said."""

    kind: str
    said: str

    def __str__(self) -> str:
        return self.said


@dataclass
class Summary:
    """What :func:`align_sequences` did.

    Attributes:
        pairs: pairs of frames, each counted once.
        skipped: those of them with a frame that could not be used; their homography is the identity.
        fallbacks: those left unregistered since too little was to be seen, by cause.
        seconds: wall time.
        problems: messages about bad frames, each once.
    """

    pairs: int = 0
    skipped: int = 0
    fallbacks: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    @property
    def pairs_per_second(self) -> float:
        """Speed over all processes together."""
        return self.pairs / self.seconds if self.seconds > 0 else 0.0

    def __str__(self) -> str:
        text = f"{self.pairs} pairs of frames registered in {self.seconds:.1f} s ({self.pairs_per_second:.0f} a second)"
        if self.fallbacks:
            causes = "; ".join(f"{count} x {cause}" for cause, count in sorted(self.fallbacks.items()))
            text += f", {sum(self.fallbacks.values())} of them left as they are ({causes})"
        if self.skipped:
            text += f", {self.skipped} skipped for bad frames, the first: {self.problems[0]}"
        return text

    def _add(self, other: Summary) -> None:
        self.pairs += other.pairs
        self.skipped += other.skipped
        for cause, count in other.fallbacks.items():
            self.fallbacks[cause] = self.fallbacks.get(cause, 0) + count
        self.problems += [problem for problem in other.problems if problem not in self.problems]


def align_sequences(
    sequences: Iterable[Sequence],
    store: HomographyStore,
    aligner: Aligner,
    *,
    processes: int | None = None,
    progress: bool = True,
) -> Summary:
    """Computes and stores the homographies of all clips that have none yet.

    A sequence is stored when it is complete; a run that was interrupted starts again with the first incomplete one.
    A bad frame costs its pairs only: they get the identity, are counted and reported.

    Args:
        sequences: recordings with names of their own; the clips are those that end at their ``indices``.
        store: where homographies go. Those of another aligner are replaced.
        aligner: registers a pair.
        processes: worker processes; none of its own with 1. As many as there are processors if None, or none for little
            work.
        progress: whether to show a bar.

    Raises:
        ValueError: if ``processes`` is less than 1.
        FolderError: before anything is computed, if the store's folder cannot be written to.
    """
    if processes is not None and processes < 1:
        raise ValueError(f"processes is {processes}; must be 1 or more")
    began, summary = time.monotonic(), Summary()
    target = HomographyStore(store.root, store.num_frames, store.stride, aligner.tag)
    results: dict[str, Homographies] = {}
    left: dict[str, int] = {}
    tasks: list[_Task] = []
    refused: dict[str, list[Unusable]] = {}
    for sequence in sequences:
        stored = target.look(sequence)
        if isinstance(stored, Unusable):
            refused.setdefault(stored.kind, []).append(stored)
            stored = None
        frames = _missing(sequence, stored)
        if not frames:
            continue
        if stored is not None:
            results[sequence.name] = stored
        at_once = _CHUNK if aligner.by == "pairs" else len(frames)  # by keyframes all frames before count
        chunks = [frames[i : i + at_once] for i in range(0, len(frames), at_once)]
        left[sequence.name] = len(chunks)
        tasks += [(sequence, chunk) for chunk in chunks]
    for kind, files in refused.items():  # a line for all of a kind: a new version finds every file old
        log.warning("%d files of homographies are %s and are made again, such as: %s", len(files), kind, files[0])
    pairs = sum(len(chunk) for _, chunk in tasks) * (store.num_frames - 1)
    if processes is None:
        processes = processors() if pairs > _FEW else 1
    if tasks:
        check_writable(target.root, "Homographies are kept there; dataset.homography_dir names another folder")
    with progress_bar(not progress or not tasks) as bar:
        shown = bar.add_task("aligning frames", total=sum(len(chunk) for _, chunk in tasks))
        for (sequence, chunk), (rows, part) in _run(tasks, target, aligner, min(processes, len(tasks))):
            if sequence.name not in results:
                results[sequence.name] = np.full(target._shape(sequence), np.nan, np.float32)
            results[sequence.name][chunk] = rows
            summary._add(part)
            left[sequence.name] -= 1
            if not left[sequence.name]:
                target.save(sequence, _joined(results.pop(sequence.name), target.look(sequence)))
                store._loaded.pop(sequence.name, None)
            bar.advance(shown, len(chunk))
    for problem in summary.problems:
        log.warning("not registered: %s", problem)
    summary.seconds = time.monotonic() - began
    return summary


_Task = tuple[Sequence, list[int]]


def _run(
    tasks: list[_Task], store: HomographyStore, aligner: Aligner, processes: int
) -> Iterator[tuple[_Task, tuple[Homographies, Summary]]]:
    if processes <= 1:
        with _one_thread():
            for task in tasks:
                yield task, _align(*task, store, aligner)
        return
    # Spawned, since forking a process whose libraries run threads can hang; an executor, since a pool waits for ever
    # for a worker that was killed.
    executor = ProcessPoolExecutor(processes, get_context("spawn"), initializer=cv2.setNumThreads, initargs=(1,))
    try:
        futures = {executor.submit(_align, *task, store, aligner): task for task in tasks}
        for future in as_completed(futures):
            yield futures.pop(future), future.result()
    finally:
        executor.shutdown(cancel_futures=True)


@contextmanager
def _one_thread() -> Iterator[None]:
    # Frames are too small for OpenCV's threads to gain anything.
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def _align(
    sequence: Sequence, newest_frames: list[int], store: HomographyStore, aligner: Aligner
) -> tuple[Homographies, Summary]:
    """Homographies [len(newest_frames), T - 1, 3, 3] of the clips that end at these frames."""
    if aligner.by == "keyframes":
        return _align_by_keyframes(sequence, newest_frames, store, aligner)
    summary = Summary()
    window: dict[int, Prepared | None] = {}

    def prepared(index: int) -> Prepared | None:
        if index not in window:
            window[index] = _prepared(sequence, index, aligner, summary)
        return window[index]

    rows = np.empty((len(newest_frames), store.num_frames - 1, 3, 3), np.float32)
    for row, newest in zip(rows, newest_frames, strict=True):
        clip = sequence.clip_indices(newest, store.num_frames, store.stride)[:-1]
        for index in [index for index in window if index < min(clip, default=newest)]:
            del window[index]
        found = {newest: np.eye(3, dtype=np.float32)}
        for index in clip:
            if index not in found:
                found[index] = _pair(prepared(index), prepared(newest), aligner, sequence, newest, summary)
        row[:] = [found[index] for index in clip]
    return rows, summary


def _align_by_keyframes(
    sequence: Sequence, newest_frames: list[int], store: HomographyStore, aligner: Aligner
) -> tuple[Homographies, Summary]:
    """The same by one registration of every frame up to the last of these."""
    summary = Summary()

    def register(frame: Prepared, key: Prepared) -> tuple[Homographies, str | None]:
        summary.pairs += 1
        homography, cause = aligner.register(frame, key)
        if cause is not None:
            summary.fallbacks[cause] = summary.fallbacks.get(cause, 0) + 1
        return homography, cause

    camera = Camera(register)
    rows = np.empty((len(newest_frames), store.num_frames - 1, 3, 3), np.float32)
    row_of = {newest: row for newest, row in zip(newest_frames, rows, strict=True)}
    first = min(int(sequence.segment_start[newest]) for newest in newest_frames)
    for position in range(first, max(newest_frames) + 1):
        clip = sequence.clip_indices(position, store.num_frames, store.stride)[:-1]
        if position == first or min(clip, default=first) == position:  # nothing before it counts, as in a stream
            camera.cut()
        if (ready := _prepared(sequence, position, aligner, summary)) is not None:
            try:
                camera.add(position, ready)
            except DataError as error:  # of another size
                summary.problems.append(f"{sequence.frames.where(position)}: {error}")
        if position in row_of:
            summary.skipped += len({index for index in clip if not {index, position} <= camera.poses.keys()})
            row_of[position][:] = [camera.between(index, position) for index in clip]
            camera.forget(min(clip, default=position))
    return rows, summary


def _prepared(sequence: Sequence, index: int, aligner: Aligner, summary: Summary) -> Prepared | None:
    """A frame ready for registration; None if it is bad, which is noted."""
    try:
        return aligner.prepare(sequence.frames.read(index))
    except DataError as error:
        where = sequence.frames.where(index)
        summary.problems.append(str(error) if where in str(error) else f"{where}: {error}")
        return None


def _pair(
    frame: Prepared | None,
    newest: Prepared | None,
    aligner: Aligner,
    sequence: Sequence,
    index: int,
    summary: Summary,
) -> Homographies:
    summary.pairs += 1
    identity = np.eye(3, dtype=np.float32)
    if frame is None or newest is None:
        summary.skipped += 1
        return identity
    try:
        homography, cause = aligner.register(frame, newest)
    except DataError as error:
        summary.skipped += 1
        summary.problems.append(f"{sequence.frames.where(index)}: {error}")
        return identity
    if cause is not None:
        summary.fallbacks[cause] = summary.fallbacks.get(cause, 0) + 1
    return homography


def _recording(sequence: Sequence) -> int:
    """A checksum that tells recordings of one name apart: what their files are called, and how large some are.

    Not where they lie, which may change, and not what they hold, which would take reading them.
    """
    last = len(sequence) - 1
    told = []
    for index in sorted({0, last // 2, last}) if last >= 0 else []:
        where = sequence.frames.where(index)
        file = Path(where if os.path.exists(where) else where.rpartition("#")[0])
        size = file.stat().st_size if file.is_file() else -1
        told.append(f"{file.parent.name}/{file.name}|{size}")
    return zlib.crc32("\n".join(told).encode("utf-8", "surrogateescape"))


def _usable(stored: Homographies) -> bool:
    """Whether all of it are homographies or not computed yet, and could be of a camera from frame to frame."""
    rows = stored.reshape(len(stored), -1)
    if rows.shape[1] == 0:
        return True
    missing = np.isnan(rows)
    if (missing.any(axis=1) != missing.all(axis=1)).any():
        return False
    found = stored[~missing.all(axis=1)].reshape(-1, 3, 3).astype(np.float64)
    if not np.isfinite(found).all() or (np.abs(found) > _FARTHEST).any():
        return False
    return bool((np.abs(found[:, 2, 2] - 1) < 0.5).all() and (np.linalg.det(found) > _LEAST).all())


def _joined(computed: Homographies, stored: Homographies | Unusable | None) -> Homographies:
    """What was computed, and where nothing was, what another process has stored meanwhile."""
    if stored is None or isinstance(stored, Unusable):
        return computed
    return np.where(np.isnan(computed), stored, computed)


def _missing(sequence: Sequence, stored: Homographies | None) -> list[int]:
    return [int(t) for t in sequence.indices if stored is None or np.isnan(stored[t]).any()]


def _segments(sequence: Sequence) -> int:
    """A checksum of the cuts of a recording, and of its times if they are uneven: clips differ when these do."""
    times = sequence.uneven_times
    cuts = zlib.crc32(np.ascontiguousarray(sequence.segment_start, np.int64).tobytes())
    return cuts if times is None else zlib.crc32(np.ascontiguousarray(times, np.float64).tobytes(), cuts)
